"""The class host_cpu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.model.entity import Entity, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class HostCpu(Entity, name="host_cpu", role=Role.POOL_OPERATOR, measured=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    host: m.Host = runtime("TODO host", bound="host_CPUs", kept=True)
    number: int = runtime("TODO number", default=0, kept=True)
    vendor: str = runtime("TODO vendor", default="")
    speed: int = runtime("TODO speed", default=0)
    modelname: str = runtime("TODO modelname", default="")
    stepping: str = runtime("TODO stepping", default="")
    flags: str = runtime("TODO flags", default="")
    features: str = runtime("TODO features", default="")
    utilisation: float = runtime("TODO utilisation", default=0.0, quiet=True)
    cpu_pool: tuple[Entity, ...] = runtime("TODO cpu pool", default=(), to="cpu_pool")
    family: int = runtime("TODO family", default=0)
    model: int = runtime("TODO model", default=0)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})

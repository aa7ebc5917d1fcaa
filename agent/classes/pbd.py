"""The class PBD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class PBD(Entity, role=Role.POOL_OPERATOR, creates=True, destroys=True, lane="SR"):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    host: m.Host = constructor("TODO host", bound="PBDs")
    SR: m.SR = constructor("TODO SR", bound="PBDs", cascade=True)
    device_config: Mapping[str, str] = constructor("TODO device config")
    currently_attached: bool = runtime("TODO currently attached", default=False)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})

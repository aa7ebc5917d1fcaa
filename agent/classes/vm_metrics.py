"""The class VM_metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.classes.enums import DomainType
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class VMMetrics(Entity, name="VM_metrics", role=Role.VM_ADMIN, measured=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    memory_actual: int = runtime("TODO memory actual", default=0, quiet=True)
    VCPUs_number: int = runtime("TODO VCPUs number", default=0)
    VCPUs_utilisation: Mapping[int, float] = runtime("TODO VCPUs utilisation", default={}, quiet=True)
    VCPUs_CPU: Mapping[int, int] = runtime("TODO VCPUs CPU", default={}, quiet=True)
    VCPUs_params: Mapping[str, str] = runtime("TODO VCPUs params", default={})
    VCPUs_flags: Mapping[int, tuple[str, ...]] = runtime("TODO VCPUs flags", default={})
    state: tuple[str, ...] = runtime("TODO state", default=())
    start_time: datetime = runtime("TODO start time", default=EPOCH, kept=True)
    last_updated: datetime = runtime("TODO last updated", default=EPOCH, quiet=True)
    install_time: datetime = runtime("TODO install time", default=EPOCH, kept=True)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    hvm: bool = runtime("TODO hvm", default=False)
    nested_virt: bool = runtime("TODO nested virt", default=False)
    nomigrate: bool = runtime("TODO nomigrate", default=False)
    current_domain_type: DomainType = runtime("TODO current domain type", default=DomainType.UNSPECIFIED)
    numa_optimised: bool = constructor("TODO numa optimised", default=False)
    numa_nodes: int = constructor("TODO numa nodes", default=0)
    numa_node_memory: Mapping[int, int] = runtime("TODO numa node memory", default={})

"""The class host_metrics. Where the numbers come from is the driver's business."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.classes import checks
from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class HostMetrics(Entity, name="host_metrics", role=Role.POOL_OPERATOR, measured=True):
    """How much memory the host has, and whether the hypervisor answers. It is measured when somebody reads it."""

    uuid: str = runtime("permanent name of these numbers")
    memory_total: int = runtime("bytes of memory that the hypervisor has for all, itself included", default=0)
    memory_free: int = runtime("bytes of memory that no machine and not the hypervisor has", default=0, quiet=True)
    last_updated: datetime = runtime("when the numbers were measured", default=EPOCH, quiet=True)
    live: bool = runtime("does the hypervisor answer the agent", default=False)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )

"""The class host_metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class HostMetrics(Entity, name="host_metrics", role=Role.POOL_OPERATOR, measured=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    memory_total: int = runtime("TODO memory total", default=0)
    memory_free: int = runtime("TODO memory free", default=0, quiet=True)
    last_updated: datetime = runtime("TODO last updated", default=EPOCH, quiet=True)
    live: bool = runtime("TODO live", default=False)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})

"""The class VIF_metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class VIFMetrics(Entity, name="VIF_metrics", role=Role.VM_ADMIN, measured=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    io_read_kbs: float = runtime("TODO io read kbs", default=0.0, quiet=True)
    io_write_kbs: float = runtime("TODO io write kbs", default=0.0, quiet=True)
    last_updated: datetime = runtime("TODO last updated", default=EPOCH, quiet=True)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})

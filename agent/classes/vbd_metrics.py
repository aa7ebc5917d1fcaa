"""The class VBD_metrics."""

from __future__ import annotations

from datetime import datetime

from agent.model.entity import Entity, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class VBDMetrics(Entity, name="VBD_metrics", role=Role.VM_ADMIN, measured=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    io_read_kbs: float = runtime("TODO io read kbs", default=0.0, quiet=True)
    io_write_kbs: float = runtime("TODO io write kbs", default=0.0, quiet=True)
    last_updated: datetime = runtime("TODO last updated", default=EPOCH, quiet=True)

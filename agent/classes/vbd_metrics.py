"""The class VBD_metrics. Where the numbers come from is the driver's business."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.classes import checks
from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class VBDMetrics(Entity, name="VBD_metrics", role=Role.VM_ADMIN, measured=True):
    """What a block device of a machine carries. It is measured when somebody reads it."""

    uuid: str = runtime("permanent name of these numbers")
    io_read_kbs: float = runtime(
        "KiB/s that the guest reads, from the host's counters of the device; 0 while it is not attached",
        default=0.0,
        quiet=True,
    )
    io_write_kbs: float = runtime(
        "KiB/s that the guest writes, from the host's counters of the device; 0 while it is not attached",
        default=0.0,
        quiet=True,
    )
    last_updated: datetime = runtime("when the numbers were measured", default=EPOCH, quiet=True)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )

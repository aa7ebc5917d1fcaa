"""The class PIF_metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class PIFMetrics(Entity, name="PIF_metrics", role=Role.POOL_OPERATOR, measured=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    io_read_kbs: float = runtime("TODO io read kbs", default=0.0, quiet=True)
    io_write_kbs: float = runtime("TODO io write kbs", default=0.0, quiet=True)
    last_updated: datetime = runtime("TODO last updated", default=EPOCH, quiet=True)
    carrier: bool = runtime("TODO carrier", default=False)
    vendor_id: str = runtime("TODO vendor id", default="")
    vendor_name: str = runtime("TODO vendor name", default="")
    device_id: str = runtime("TODO device id", default="")
    device_name: str = runtime("TODO device name", default="")
    speed: int = runtime("TODO speed", default=0)
    duplex: bool = runtime("TODO duplex", default=False)
    pci_bus_path: str = runtime("TODO pci bus path", default="")
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})

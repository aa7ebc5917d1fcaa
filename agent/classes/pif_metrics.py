"""The class PIF_metrics. Where the numbers come from is the driver's business."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.classes import checks
from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class PIFMetrics(Entity, name="PIF_metrics", role=Role.POOL_OPERATOR, measured=True):
    """What a network card of the host carries, and what it is. The rates are measured when somebody reads them."""

    uuid: str = runtime("permanent name of these numbers")
    io_read_kbs: float = runtime("KiB/s that the host receives, from its counters", default=0.0, quiet=True)
    io_write_kbs: float = runtime("KiB/s that the host sends, from its counters", default=0.0, quiet=True)
    last_updated: datetime = runtime("when the numbers were measured", default=EPOCH, quiet=True)
    carrier: bool = runtime("does the card see a link", default=False)
    vendor_id: str = runtime("PCI number of the maker; empty where unknown", default="")
    vendor_name: str = runtime("name of the maker; empty where unknown", default="")
    device_id: str = runtime("PCI number of the model; empty where unknown", default="")
    device_name: str = runtime("name of the model; empty where unknown", default="")
    speed: int = runtime("Mbit/s of the link; 0 where unknown", default=0)
    duplex: bool = runtime("can the link send and receive at once", default=False)
    pci_bus_path: str = runtime("PCI address of the card, such as 0000:03:00.0; empty where unknown", default="")
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )

"""The class PPCI. Which devices there are, the driver sees; how a machine gets one is the class DPCI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model.entity import Entity, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

NO_LIST = "; empty where the host has no list of them (pci.ids)"


class PPCI(Entity, role=Role.POOL_OPERATOR):
    """A PCI device of the host, as Linux in the control domain shows it. xapi's class PCI shows the same devices."""

    uuid: str = runtime("permanent name of this device")
    host: m.Host = runtime("host that has the device", bound="PPCIs", kept=True)
    domain: int = runtime("first number of its address", default=0, kept=True)
    bus: int = runtime("second number of its address", default=0, kept=True)
    slot: int = runtime("third number of its address", default=0, kept=True)
    func: int = runtime("last number of its address: one piece of hardware may have several", default=0, kept=True)
    name: str = runtime("its address as Linux writes it, such as 0000:00:1f.2", default="", kept=True)
    vendor_id: int = runtime("number of the maker, such as 32902 (0x8086)", default=0)
    vendor_name: str = runtime(f"name of the maker{NO_LIST}", default="")
    device_id: int = runtime("number of the model, among those of the maker", default=0)
    device_name: str = runtime(f"name of the model{NO_LIST}", default="")
    revision_id: int = runtime("number of the model's revision", default=0)
    class_code: int = runtime("what kind of device it is: class and subclass, such as 512 (0x0200)", default=0)
    class_name: str = runtime(f"what kind of device it is, such as Ethernet controller{NO_LIST}", default="")
    subsystem_vendor_id: int = runtime("number of the maker of the board", default=0)
    subsystem_vendor_name: str = runtime(f"name of the maker of the board{NO_LIST}", default="")
    subsystem_id: int = runtime("number of the board, among those of its maker", default=0)
    subsystem_name: str = runtime(f"name of the board{NO_LIST}", default="")
    driver: str = runtime(
        "driver of the host that has the device; pciback for one set aside for machines, empty for none", default=""
    )

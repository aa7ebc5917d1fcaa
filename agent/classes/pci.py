"""The class PCI: xapi's view of the devices that the class PPCI shows in the original API's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

NO_LIST = "; empty where the host has no list of them (pci.ids)"


class PCI(Entity, role=Role.POOL_OPERATOR):
    """A PCI device of the host, in xapi's words. A machine gets one by the class DPCI."""

    uuid: str = runtime("permanent name of this device")
    class_id: str = constructor("what kind of device it is: class and subclass in four hexadecimal digits", default="")
    class_name: str = constructor(f"what kind of device it is, such as Ethernet controller{NO_LIST}", default="")
    vendor_id: str = constructor("number of the maker in four hexadecimal digits", default="")
    vendor_name: str = constructor(f"name of the maker{NO_LIST}", default="")
    device_id: str = constructor("number of the model in four hexadecimal digits", default="")
    device_name: str = constructor(f"name of the model{NO_LIST}", default="")
    host: m.Host = constructor("host that has the device", bound="PCIs")
    pci_id: str = constructor("its address as Linux writes it, such as 0000:00:1f.2", default="")
    dependencies: tuple[m.PCI, ...] = runtime("the other functions of the same piece of hardware", default=())
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    subsystem_vendor_id: str = constructor("number of the maker of the board in four hexadecimal digits", default="")
    subsystem_vendor_name: str = constructor(f"name of the maker of the board{NO_LIST}", default="")
    subsystem_device_id: str = constructor("number of the board in four hexadecimal digits", default="")
    subsystem_device_name: str = constructor(f"name of the board{NO_LIST}", default="")
    driver_name: str = constructor(
        "driver of the host that has the device; pciback for one set aside for machines, empty for none", default=""
    )

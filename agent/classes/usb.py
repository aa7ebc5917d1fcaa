"""The classes PUSB, USB_group and VUSB: the host's USB devices, their kinds, and what machines are given of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.classes.enums import VusbOperation
from agent.classes.lifecycle import derive_vusb
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

NOTES = "notes of clients, which the agent keeps and does not read"


class PUSB(Entity, role=Role.POOL_ADMIN):
    """A USB device of the host, hubs left out. Machines get it once passthrough_enabled is set."""

    uuid: str = runtime("permanent name of this device, at this place")
    USB_group: m.USBGroup = constructor("devices of its kind", bound="PUSBs")
    host: m.Host = constructor("host that has the device", bound="PUSBs")
    path: str = constructor("its place as Linux writes it, such as 1-2.1: bus and ports", default="")
    vendor_id: str = constructor("number of the maker in four hexadecimal digits", default="")
    vendor_desc: str = constructor("name of the maker, as the device or usb.ids says; else its number", default="")
    product_id: str = constructor("number of the model in four hexadecimal digits", default="")
    product_desc: str = constructor("name of the model, as the device or usb.ids says; else its number", default="")
    serial: str = constructor("its serial number; empty where it tells none", default="")
    version: str = constructor("version of USB that it speaks, such as 2.00", default="")
    description: str = constructor("maker and model in one line", default="")
    passthrough_enabled: bool = runtime("may machines be given the device", default=False, kept=True)
    other_config: Mapping[str, str] = readwrite(NOTES, default={}, check=checks.modest)
    speed: float = constructor("Mbit/s that it talks at", default=0.0)

    device: str = internal("kind and present address of the device, as a domain names it", default="")


class USBGroup(Entity, name="USB_group", role=Role.POOL_ADMIN):
    """USB devices of one kind: of one maker and model. The agent makes a group for each kind."""

    uuid: str = runtime("permanent name of this group")
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the group is for, for people", default="", check=checks.modest)
    PUSBs: tuple[m.PUSB, ...] = runtime("devices of the group", default=())
    VUSBs: tuple[m.VUSB, ...] = runtime("what machines are given of the group", default=())
    other_config: Mapping[str, str] = readwrite(NOTES, default={}, check=checks.modest)

    kind: str = internal("maker and model of its devices, such as 0951:1666; empty for one of a client's", default="")


class VUSB(Entity, role=Role.POOL_ADMIN, lane="VM"):
    """A USB device of a group that an HVM machine has while it runs: a free one, chosen when the machine starts."""

    uuid: str = runtime("permanent name of this assignment")
    allowed_operations: tuple[VusbOperation, ...] = runtime("what can be done to it now", default=())
    current_operations: Mapping[str, VusbOperation] = runtime(
        "what is being done to it, by the reference of the task that does it", default={}
    )
    VM: m.VM = runtime("machine that has the device", bound="VUSBs", kept=True, cascade=True)
    USB_group: m.USBGroup = runtime("devices of which it gets one", bound="VUSBs", kept=True)
    other_config: Mapping[str, str] = readwrite(NOTES, default={}, check=checks.modest)
    currently_attached: bool = runtime("does the running machine have the device", default=False)

    device: str = internal("the device that was chosen, as PUSB has it; empty for none", default="")

    derive_from = frozenset({"currently_attached", "current_operations"})

    def derive(self) -> None:
        """Which operations are allowed follows from the state."""
        derive_vusb(self)

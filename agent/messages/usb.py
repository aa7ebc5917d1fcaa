"""USB devices of the host given to machines by their kind, and taken back. Which there are, the observer sees."""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import PUSB, VM, VUSB, Host, USBGroup
from agent.classes.enums import PowerState, VusbOperation
from agent.classes.lifecycle import require_reach
from agent.errors import (
    DeviceAlreadyDetached,
    OperationNotAllowed,
    TooManyVusbs,
    UsbAlreadyAttached,
    UsbGroupConflict,
    UsbGroupContainsNoPusbs,
    UsbGroupContainsPusb,
    UsbGroupContainsVusb,
    VMHasVusbs,
    VMRequiresVusb,
)
from agent.messages.passthrough import forget, give, require_changeable
from agent.messages.vif import acting
from agent.model.messages import Kind, message
from agent.observer import usb
from agent.store.store import Store

MOST = 6
"""USB devices that a machine can have, as with xapi: fewer than the ports of the controller that libvirt makes."""


# --- the host's


@message(PUSB)
def scan(call: Call, host: Host) -> None:
    """Look which USB devices the host has now; it is looked by itself too, every few minutes."""
    usb.note(call.store, call.node)


@message(PUSB, kind=Kind.WRITE, has_async=True)
def set_passthrough_enabled(call: Call, self: PUSB, value: bool) -> None:
    """Let machines be given the device, or not any more. USB_ALREADY_ATTACHED while one has it."""
    if not value and self.passthrough_enabled:
        for vusb in self.USB_group.VUSBs:
            if vusb.currently_attached and vusb.device == self.device:
                raise UsbAlreadyAttached(self, vusb.VM)
    self.passthrough_enabled = value


@message(USBGroup, kind=Kind.WRITE, has_async=True, name="create")
def create_group(
    call: Call, name_label: str = "", name_description: str = "", other_config: Mapping[str, str] = {}
) -> USBGroup:
    """Make a group without devices. Nothing puts one into it: each is in the group of its kind."""
    given = {"name_label": name_label, "name_description": name_description, "other_config": other_config}
    for name, value in given.items():
        USBGroup.fields[name].admit(value)
    return call.store.add(USBGroup(name_label=name_label, name_description=name_description, other_config=other_config))


@message(USBGroup, kind=Kind.WRITE, has_async=True, name="destroy")
def destroy_group(call: Call, self: USBGroup) -> None:
    """Remove a group. USB_GROUP_CONTAINS_PUSB, USB_GROUP_CONTAINS_VUSB while it is of use."""
    if self.PUSBs:
        raise UsbGroupContainsPusb(", ".join(pusb.ref for pusb in self.PUSBs))
    if self.VUSBs:
        raise UsbGroupContainsVusb(", ".join(vusb.ref for vusb in self.VUSBs))
    call.store.destroy(self)


# --- the machines'


@message(VUSB)
def create(call: Call, VM: VM, USB_group: USBGroup, other_config: Mapping[str, str] = {}) -> VUSB:
    """Give an HVM machine a USB device of a group: a halted one from its next start on, a running one now.

    VM_HVM_REQUIRED, for libvirt gives none to others; USB_GROUP_CONTAINS_NO_PUSBS where none of the group may be given,
    USB_GROUP_CONFLICT for a second one of a group, TOO_MANY_VUSBS, VM_REQUIRES_VUSB where none is free for a running
    machine.
    """
    require_changeable(VM, hvm=True)
    VUSB.fields["other_config"].admit(other_config)
    if not any(pusb.passthrough_enabled for pusb in USB_group.PUSBs):
        raise UsbGroupContainsNoPusbs(USB_group)
    if any(other.USB_group is USB_group for other in VM.VUSBs):
        raise UsbGroupConflict(USB_group)
    if len(VM.VUSBs) >= MOST:
        raise TooManyVusbs(MOST)
    vusb = VUSB(other_config=other_config)
    vusb.VM, vusb.USB_group = VM, USB_group

    def plug(vusb: VUSB) -> None:
        choose(call.store, VM)
        call.domains.plug_usb(vusb)

    return give(call, vusb, plug)


@message(VUSB, operation=VusbOperation.UNPLUG.value)
def unplug(call: Call, self: VUSB) -> None:
    """Take the device from the running machine; its next start gives it one again. DEVICE_ALREADY_DETACHED,
    DEVICE_DETACH_REJECTED if the guest keeps it.
    """
    require_reach(self.VM)
    if not self.currently_attached:
        raise DeviceAlreadyDetached(self)
    with acting(call, self.VM):
        call.domains.unplug_usb(self)
    _let_go(call, self)


@message(VUSB)
def destroy(call: Call, self: VUSB) -> None:
    """Give the machine the device no more. OPERATION_NOT_ALLOWED while it has it: unplug it first."""
    vm = self.VM
    require_changeable(vm, hvm=True)
    if self.currently_attached:
        raise OperationNotAllowed("the machine has the device: unplug it first")
    _let_go(call, self)
    forget(call, self)


def _let_go(call: Call, vusb: VUSB) -> None:
    """Take the device out of the definition."""
    with call.store.transaction():
        vusb.device = ""
    call.observer.redefine(vusb.VM)


def choose(store: Store, vm: VM) -> None:
    """Note which device the machine gets of each group, before it starts. VM_REQUIRES_VUSB where none is free."""
    taken = {
        vusb.device
        for vusb in store.all(VUSB)
        if vusb.currently_attached or (vusb.VM is not vm and vusb.VM.power_state is not PowerState.HALTED)
    }
    chosen: dict[VUSB, str] = {}
    for vusb in vm.VUSBs:
        if vusb.currently_attached:
            continue
        may = (pusb.device for pusb in vusb.USB_group.PUSBs if pusb.passthrough_enabled)
        free = next((device for device in may if device not in taken), None)
        if free is None:
            raise VMRequiresVusb(vm, vusb.USB_group)
        chosen[vusb] = free
    if chosen:
        with store.transaction():
            for vusb, device in chosen.items():
                vusb.device = device


def require_no_usb(vm: VM) -> None:
    """VM_HAS_VUSBS for a machine that has a device, whose state cannot be saved with it."""
    if any(vusb.currently_attached for vusb in vm.VUSBs):
        raise VMHasVusbs(vm)

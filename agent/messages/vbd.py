"""Disks and CD drives of machines: making them, plugging them into running ones, changing media."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any

from agent.call import Call
from agent.classes import VBD, VDI, VBDMetrics
from agent.classes.devices import PLACES, name_of, number_of
from agent.classes.enums import PowerState, VbdMode, VbdOperation, VbdType, VdiOperation
from agent.classes.lifecycle import is_apart, is_with_another, vdi_held
from agent.errors import (
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    DeviceAlreadyExists,
    InvalidDevice,
    OperationNotAllowed,
    VbdIsEmpty,
    VbdNotEmpty,
    VbdNotRemovableMedia,
    VdiInUse,
    VdiReadonly,
    XenError,
)
from agent.messages.vdi_chains import ancestors, require_managed
from agent.messages.vif import acting, require_awake, require_running
from agent.model.messages import Kind, construct, message
from agent.model.types import Record
from agent.roles import Role


def free_places(vbds: tuple[VBD, ...]) -> list[str]:
    """The places, by number, that none of these disks has."""
    taken = {number_of(vbd.userdevice) for vbd in vbds}
    return [str(number) for number in range(PLACES) if number not in taken]


@message(VBD, kind=Kind.WRITE, has_async=True)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("VBD")]) -> VBD:
    """Make a disk or CD drive for a machine, which has it from its next start on, or from VBD.plug.

    `userdevice` is its place: a number, a device name, or ``autodetect`` (DEVICE_ALREADY_EXISTS if taken); the original
    API's `device` is taken where `userdevice` is left out. A disk needs a VDI; a drive without one is empty.
    """
    vbd = construct(VBD, args)
    if vbd.VM.is_control_domain:
        raise OperationNotAllowed("the control domain's disks are the host's own")
    wanted = vbd.userdevice or vbd.device or "autodetect"
    if wanted == "autodetect":
        free = free_places(vbd.VM.VBDs)
        wanted = free[0] if free else str(PLACES)
    number = number_of(wanted)
    if number is None or not 0 <= number < PLACES:
        raise InvalidDevice(wanted)
    if any(number_of(other.userdevice) == number for other in vbd.VM.VBDs):
        raise DeviceAlreadyExists(wanted)
    vbd.userdevice = str(number)
    vbd.device = "" if wanted.isdecimal() else wanted
    if vbd.type is VbdType.CD:
        vbd.mode = VbdMode.RO
    elif vbd.VDI is None:
        raise VbdIsEmpty(vbd)
    vbd.empty = vbd.VDI is None
    if vbd.VDI is not None:
        require_managed(vbd.VDI)
        if vbd.VDI.read_only and vbd.mode is VbdMode.RW:
            raise VdiReadonly(vbd.VDI)
    vbd.metrics = call.store.add(VBDMetrics())
    return call.store.add(vbd)


@message(VBD, kind=Kind.WRITE, has_async=True)
def destroy(call: Call, self: VBD) -> None:
    """Remove the disk from its machine; the VDI stays. DEVICE_ALREADY_ATTACHED while the machine runs with it,
    VM_BAD_POWER_STATE while it is suspended.
    """
    _require_loose(self)
    call.store.destroy(self)


def _require_loose(vbd: VBD) -> None:
    """DEVICE_ALREADY_ATTACHED while the machine runs with the disk, VM_BAD_POWER_STATE while it is suspended."""
    if vbd.currently_attached:
        raise DeviceAlreadyAttached(vbd)
    require_awake(vbd.VM)


def require_vdi_free(vbd: VBD) -> None:
    """VDI_IN_USE where another machine has the disk, unless it is sharable or nobody writes to it; and while its
    content is being sent or replaced.
    """
    vdi = vbd.VDI
    if vdi is None:
        return
    if vdi_held(vdi) and (vbd.mode is VbdMode.RW or VdiOperation.BLOCKED in vdi.current_operations.values()):
        raise VdiInUse(vdi, "attach")
    if is_with_another(vbd):
        raise VdiInUse(vdi, "attach")


def take_from_others(call: Call, vbds: Iterable[VBD]) -> None:
    """Let the definitions of machines that run without a disk which another has got now say so."""
    for vbd in vbds:
        for other in vbd.VDI.VBDs if vbd.VDI is not None else ():
            if is_apart(other):
                call.observer.redefine(other.VM)


@contextmanager
def disks_held(call: Call, vbds: Iterable[VBD], operation: str) -> Iterator[None]:
    """While machines get these disks, nobody copies one, lays another over it or merges what it is laid over."""
    vdis = [vbd.VDI for vbd in vbds if vbd.VDI is not None]
    written = {vbd.VDI for vbd in vbds if vbd.VDI is not None and vbd.mode is VbdMode.RW and not vbd.VDI.sharable}
    read = {below for vdi in vdis for below in (vdi, *ancestors(vdi))}
    with call.site.holds.holding(operation, alone=written, shared=read):
        yield


@message(VBD, operation=VbdOperation.PLUG.value)
def plug(call: Call, self: VBD) -> None:
    """Attach the disk to its machine, which must be running."""
    require_running(self.VM)
    if self.currently_attached:
        raise DeviceAlreadyAttached(self)
    require_vdi_free(self)
    with disks_held(call, (self,), "plug"), acting(call, self.VM):
        require_vdi_free(self)  # another machine may have got it while we waited for it
        call.domains.plug_vbd(self)
    take_from_others(call, (self,))


@message(VBD, operation=VbdOperation.UNPLUG.value)
def unplug(call: Call, self: VBD) -> None:
    """Take the disk from its machine, which must be running. DEVICE_DETACH_REJECTED if the guest keeps it."""
    _unplug(call, self)


@message(VBD, operation=VbdOperation.UNPLUG_FORCE.value)
def unplug_force(call: Call, self: VBD) -> None:
    """Take the disk from its machine. Xen's library has one way only, so the guest is asked here too."""
    _unplug(call, self)


def _unplug(call: Call, vbd: VBD) -> None:
    require_running(vbd.VM)
    if not vbd.currently_attached:
        raise DeviceAlreadyDetached(vbd)
    if vbd.type is VbdType.CD:
        raise OperationNotAllowed("a CD drive stays in a running machine: eject its medium")
    if not vbd.unpluggable:
        raise OperationNotAllowed("the device is marked as not unpluggable")
    with acting(call, vbd.VM):
        call.domains.unplug_vbd(vbd)


@message(VBD, role=Role.VM_OPERATOR, operation=VbdOperation.INSERT.value)
def insert(call: Call, vbd: VBD, vdi: VDI) -> None:
    """Put a medium into a CD drive. VBD_NOT_EMPTY if there is one, VBD_NOT_REMOVABLE_MEDIA for a disk."""
    if vbd.type is not VbdType.CD:
        raise VbdNotRemovableMedia(vbd)
    if not vbd.empty:
        raise VbdNotEmpty(vbd)
    _change(call, vbd, vdi)


@message(VBD, role=Role.VM_OPERATOR, operation=VbdOperation.EJECT.value)
def eject(call: Call, vbd: VBD) -> None:
    """Take the medium out of a CD drive. VBD_IS_EMPTY if there is none, VBD_NOT_REMOVABLE_MEDIA for a disk."""
    if vbd.type is not VbdType.CD:
        raise VbdNotRemovableMedia(vbd)
    if vbd.empty:
        raise VbdIsEmpty(vbd)
    _change(call, vbd, None)


@message(VBD, role=Role.VM_OPERATOR)
def media_change(call: Call, vbd: VBD, vdi: VDI) -> None:
    """Put this medium into a CD drive in place of what is in it. The original API's word for eject and insert."""
    if vbd.type is not VbdType.CD:
        raise VbdNotRemovableMedia(vbd)
    _change(call, vbd, vdi)


def _is_in_the_guest(drive: VBD) -> bool:
    """Whether the running guest sees what becomes of the medium. A guest that is not HVM has no drive that could be
    empty: for it the medium comes and goes as a disk.
    """
    comes = drive.VDI is None and drive.VM.power_state in (PowerState.RUNNING, PowerState.PAUSED)
    return drive.currently_attached or (comes and not (drive.VM.metrics is not None and drive.VM.metrics.hvm))


def _change(call: Call, vbd: VBD, vdi: VDI | None) -> None:
    require_awake(vbd.VM)
    if vdi is not None:
        require_managed(vdi)
        if VdiOperation.BLOCKED in vdi.current_operations.values():
            raise VdiInUse(vdi, "attach")
    before, at_once = vbd.VDI, _is_in_the_guest(vbd)
    with call.store.transaction():
        vbd.VDI, vbd.empty = vdi, vdi is None
    try:
        if at_once:
            with acting(call, vbd.VM):
                call.domains.change_medium(vbd)
    except XenError:
        with call.store.transaction():
            vbd.VDI, vbd.empty = before, before is None
        with suppress(XenError):  # it may have been done, and only the answer be lost
            call.refresh(vbd.VM)
        raise
    call.observer.redefine(vbd.VM)


@message(VBD, kind=Kind.WRITE, has_async=True)
def set_mode(call: Call, self: VBD, value: VbdMode) -> None:
    """Set whether the machine may write to the disk. The disk must be unplugged, and a CD is read-only."""
    _require_loose(self)
    if value is VbdMode.RW and self.VDI is not None and self.VDI.read_only:
        raise VdiReadonly(self.VDI)
    if value is VbdMode.RW and self.type is VbdType.CD:
        raise OperationNotAllowed("a CD drive is read-only")
    self.mode = value


@message(VBD, kind=Kind.WRITE)
def set_userdevice(call: Call, self: VBD, value: str) -> None:
    """Give the disk another place. It must be unplugged; DEVICE_ALREADY_EXISTS if the place is taken."""
    _require_loose(self)
    number = number_of(value)
    if number is None or not 0 <= number < PLACES:
        raise InvalidDevice(value)
    if any(other is not self and number_of(other.userdevice) == number for other in self.VM.VBDs):
        raise DeviceAlreadyExists(value)
    self.userdevice = str(number)


@message(VBD, kind=Kind.WRITE)
def set_device(call: Call, self: VBD, value: str) -> None:
    """Give the disk another place by the name that the guest sees, such as xvdb; the original API's set_userdevice."""
    set_userdevice(call, self, value)
    self.device = name_of(int(self.userdevice)) if value.isdecimal() else value

"""Copies of whole machines: clone, copy, snapshot, revert, provision. Each makes all of it or nothing.

Disks come first, as volumes that no object names; then one transaction makes the machine with its disks and cards. What
fails before it is deleted again.

Over the usual size: all kinds of copies share how disks are made first and taken away again.
"""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from agent.call import Call
from agent.classes import SR, VBD, VDI, VIF, VM, VBDMetrics, VIFMetrics
from agent.classes.enums import PowerState, VbdMode, VbdType, VdiType, VmOperation
from agent.classes.lifecycle import require
from agent.errors import (
    InvalidValue,
    OperationNotAllowed,
    VMRequiresSR,
    VMSnapshotWithQuiesceNotSupported,
    XenError,
)
from agent.messages.usb import require_no_usb
from agent.messages.vbd import free_places
from agent.messages.vdi_chains import children, duplicate, hide, note_volume, or_undone, replace, settle, tidy
from agent.messages.vif import acting, random_mac
from agent.messages.vm import define_or_undo
from agent.messages.vm_stillness import asleep, standing_still
from agent.model.entity import Qualifier
from agent.model.messages import message
from agent.observer import templates
from agent.observer.domains import make_parts
from agent.roles import Role

log = logging.getLogger(__name__)
POWER_ADMIN = Role.VM_POWER_ADMIN
NOT_COPIED = {
    "uuid",
    "name_label",
    "is_a_template",
    "blocked_operations",
    "generation_id",
    "last_booted_record",
    "appliance",
    "snapshot_schedule",
}


@dataclass(frozen=True)
class Copied:
    """A disk of the original, and the loose copy of its VDI; none for a drive, whose medium is shared."""

    vbd: VBD
    vdi: VDI | None


@message(VM, operation=VmOperation.CLONE.value)
def clone(call: Call, vm: VM, new_name: str) -> VM:
    """Make a machine like a halted one or a template, with copies of its disks in the same storage and cards of its
    own.
    """
    require(vm, VmOperation.CLONE)
    return _copy(call, vm, new_name, None, whole=False)


@message(VM, operation=VmOperation.COPY.value)
def copy(call: Call, vm: VM, new_name: str, sr: SR | None) -> VM:
    """Like clone, with full copies of the disks in `sr`, or each in its own storage where that is null."""
    require(vm, VmOperation.COPY)
    return _copy(call, vm, new_name, sr, whole=True)


def _copy(call: Call, vm: VM, new_name: str, sr: SR | None, *, whole: bool) -> VM:
    with _disks(call, vm, sr, whole=whole) as disks, call.store.transaction():
        made = _twin(call, vm, new_name, disks)
        made.is_a_template = vm.is_a_template and not vm.is_a_snapshot
        if vm.is_default_template:
            notes = {key: value for key, value in made.other_config.items() if key != templates.MARK}
            made.other_config = {**notes, templates.ORIGIN: vm.name_label}
    if not made.is_a_template:
        try:
            define_or_undo(call, made)
        except XenError:
            _delete(call, [disk.vdi for disk in disks if disk.vdi is not None])
            raise
    return made


@message(VM, role=POWER_ADMIN, operation=VmOperation.SNAPSHOT.value)
def snapshot(call: Call, vm: VM, new_name: str, ignore_vdis: tuple[VDI, ...] = ()) -> VM:
    """Keep a machine as it is now: its fields and its disks, but for those in `ignore_vdis`.

    The processors of a running machine stand still while its disks are copied, so that the disks agree with each other;
    its memory is not kept.
    """
    require(vm, VmOperation.SNAPSHOT)
    return take(call, vm, new_name, ignored=ignore_vdis)


def take(call: Call, vm: VM, new_name: str, *, ignored: tuple[VDI, ...] = (), scheduled: bool = False) -> VM:
    """A snapshot without memory; `scheduled` says that one of a schedule's is to be told from others."""
    state = vm.power_state
    with (
        _disks(call, vm, None, still=standing_still(call, vm), ignored=ignored) as disks,
        call.store.transaction(),
    ):
        return _snapshot(call, vm, new_name, disks, state, scheduled=scheduled)


def _snapshot(
    call: Call, vm: VM, new_name: str, disks: list[Copied], state: PowerState, uuid: str = "", *, scheduled: bool
) -> VM:
    """The snapshot of a machine that was in this state. In a transaction."""
    made = _twin(call, vm, new_name, disks, keep_cards=True, uuid=uuid)
    made.is_a_snapshot = made.is_a_template = True
    made.is_vmss_snapshot = scheduled
    made.snapshot_of, made.snapshot_time = vm, datetime.now(UTC).replace(microsecond=0)
    made.snapshot_info = {"power-state-at-snapshot": state.value, "disk-snapshot-type": "crash_consistent"}
    return made


@message(VM, role=POWER_ADMIN, operation=VmOperation.CHECKPOINT.value)
def checkpoint(call: Call, vm: VM, new_name: str) -> VM:
    """Keep a running machine as it is now with its memory: its fields, its disks, and all that runs in it.

    It is suspended for as long as that takes, and goes on. A revert to the snapshot ends suspended, and resume lets it
    go on from then. VM_CHECKPOINT_SUSPEND_FAILED where it cannot be saved; VM_CHECKPOINT_RESUME_FAILED where it does
    not go on, and then it is suspended, with nothing lost and no snapshot, and the agent tries again for a while.
    VM_HAS_VUSBS.
    """
    require(vm, VmOperation.CHECKPOINT)
    return take_with_memory(call, vm, new_name)


def take_with_memory(call: Call, vm: VM, new_name: str, *, scheduled: bool = False) -> VM:
    """A snapshot with memory, as checkpoint makes it."""
    require_no_usb(vm)
    uuid = str(uuid4())
    try:
        with (
            _disks(call, vm, None, still=asleep(call, vm, uuid)) as disks,
            call.store.transaction(),
        ):
            made = _snapshot(call, vm, new_name, disks, PowerState.RUNNING, uuid, scheduled=scheduled)
            made.power_state = PowerState.SUSPENDED
    except BaseException:
        call.domains.drop_memory(uuid)
        raise
    try:
        call.domains.settle_memory(uuid)
    except XenError as error:  # it is made all the same; the next start settles it
        log.warning("%r is made, and cannot be settled yet: %s", made, error)
    return made


@message(VM, role=POWER_ADMIN)
def snapshot_with_quiesce(call: Call, vm: VM, new_name: str) -> VM:
    """Refused: VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED. Nothing in a guest brings its disks in order for it."""
    require(vm, VmOperation.SNAPSHOT)
    raise VMSnapshotWithQuiesceNotSupported(vm, "guests have no agent for it on this host; VM.snapshot asks for none")


@message(VM, role=POWER_ADMIN, operation=VmOperation.REVERT.value)
def revert(call: Call, snapshot: VM) -> None:
    """Make the machine of this snapshot what it was: its fields, and its disks' content. It ends halted, or suspended
    where the snapshot has the memory of it.

    A running machine is shut down the hard way first. Disks that it has got since stay with it. OPERATION_NOT_ALLOWED
    where the machine is gone.
    """
    require(snapshot, VmOperation.REVERT)
    vm = snapshot.snapshot_of
    if vm is None:
        raise OperationNotAllowed("the machine of this snapshot is gone: clone the snapshot instead")
    with_memory = snapshot.power_state is PowerState.SUSPENDED
    with (
        _disks(call, snapshot, None) as disks,
        _memory_ready(call, vm, snapshot, disks) if with_memory else nullcontext(),
    ):
        if vm.power_state is not PowerState.HALTED:
            # Only now: a machine is not stopped for copies that then fail.
            require(vm, VmOperation.HARD_SHUTDOWN)
            with acting(call, vm):
                call.domains.destroy(vm)
        old = [vdi for vdi in _replaced(vm, disks) if not children(vdi)]
        needed = [vdi for vdi in _replaced(vm, disks) if children(vdi)]
        parents = [vdi.parent for vdi in old]

        def go_back() -> None:
            for disk in disks:
                if disk.vdi is not None:
                    _swap(call, vm, disk, disk.vdi)
                elif with_memory:
                    _put_back_medium(call, vm, disk)
            for vdi in needed:
                hide(vdi)
            for name, field in VM.fields.items():
                if field.qualifier in (Qualifier.RW, Qualifier.CONSTRUCTOR) and name not in NOT_COPIED:
                    setattr(vm, name, getattr(snapshot, name))

        for error in replace(call, old, go_back):
            log.warning("a disk of %r, of which nobody makes use any more, cannot be deleted: %s", vm, error)
    if with_memory:
        with acting(call, vm):
            call.domains.put_memory(vm)
    call.observer.redefine(vm)
    for parent in parents:
        tidy(call, parent)


@contextmanager
def _memory_ready(call: Call, vm: VM, snapshot: VM, disks: list[Copied]) -> Iterator[None]:
    """What the machine is to go on from is there, and no longer if what is done meanwhile fails."""
    loose = [_disk_like(vm, disk) for disk in disks]
    call.domains.ready_memory(vm, snapshot.uuid, loose)
    try:
        yield
    except BaseException:
        call.domains.drop_ready_memory(vm)
        raise


def _put_back_medium(call: Call, vm: VM, drive: Copied) -> None:
    """Let the drive have the medium that the guest knows to be in it."""
    for vbd in vm.VBDs:
        if vbd.userdevice == drive.vbd.userdevice:
            vbd.VDI, vbd.empty = drive.vbd.VDI, drive.vbd.VDI is None
            return
    _add_disk(call, vm, drive)


def _replaced(vm: VM, disks: list[Copied]) -> list[VDI]:
    """The machine's own disks that nobody has any more once the copies of a snapshot's are in their places."""
    places = {disk.vbd.userdevice for disk in disks if disk.vdi is not None}
    own = [vbd.VDI for vbd in vm.VBDs if vbd.VDI is not None and vbd.userdevice in places]
    return [vdi for vdi in own if len(vdi.VBDs) == 1]


def _swap(call: Call, vm: VM, disk: Copied, copy: VDI) -> None:
    """Put the copy of a snapshot's disk in the place of the machine's own."""
    call.store.add(copy)
    copy.is_a_snapshot = False
    original = disk.vbd.VDI.snapshot_of if disk.vbd.VDI is not None else None
    if original is not None:
        copy.name_label = original.name_label
    for vbd in vm.VBDs:
        if vbd.userdevice == disk.vbd.userdevice:
            before = vbd.VDI
            vbd.VDI, vbd.empty = copy, False
            for kept in before.snapshots if before is not None else ():
                kept.snapshot_of = copy
            return
    _add_disk(call, vm, disk)


@message(VM, operation=VmOperation.PROVISION.value)
def provision(call: Call, vm: VM) -> None:
    """Make the disks that a template describes in ``other_config:disks``, and make it a machine.

    The description is ``<provision><disk device="0" size="BYTES" sr="UUID" bootable="true"
    type="system"/>...</provision>``; an empty `sr` is the pool's default. Without one there is nothing to make.
    INVALID_VALUE for text that is none.
    """
    require(vm, VmOperation.PROVISION)
    was = vm.is_a_template, vm.is_default_template, vm.other_config, vm.ours
    made: list[tuple[VDI, dict[str, str]]] = []
    begun: set[str] = set()
    try:
        for wanted in _described(call, vm):
            vdi = VDI(
                SR=_storage_of(call, vm, wanted.get("sr", "")),
                type=VdiType.SYSTEM if wanted.get("type") == "system" else VdiType.USER,
                virtual_size=int(wanted["size"]),
                name_label=f"{vm.name_label} {wanted['device']}",
                name_description="made by VM.provision",
            )
            begun.add(vdi.uuid)
            call.observer.making.add(vdi.uuid)
            with or_undone(call, vdi):
                note_volume(vdi, call.storage.create_volume(vdi))
            made.append((vdi, wanted))
        with call.store.transaction():
            for vdi, wanted in made:
                call.store.add(vdi)
                vbd = VBD(
                    VM=vm,
                    VDI=vdi,
                    userdevice=wanted["device"],
                    bootable=wanted.get("bootable") == "true",
                    mode=VbdMode.RW,
                    type=VbdType.DISK,
                )
                vbd.metrics = call.store.add(VBDMetrics())
                call.store.add(vbd)
            vm.other_config = {key: value for key, value in vm.other_config.items() if key != "disks"}
            vm.is_a_template = vm.is_default_template = False
            vm.ours = True
        call.domains.define(vm)
    except XenError:
        if was[0]:  # a template is not defined, and may have been
            with suppress(XenError):  # the first error is the one to tell
                call.domains.undefine(vm)
        with call.store.transaction():
            for vdi, _ in made:
                for vbd in vdi.VBDs if call.store.is_live(vdi) else ():
                    call.store.destroy(vbd)
            vm.is_a_template, vm.is_default_template, vm.other_config, vm.ours = was
        _delete(call, [vdi for vdi, _ in made])
        raise
    finally:
        call.observer.making.difference_update(begun)
    settle(call, *(vdi for vdi, _ in made))


def _described(call: Call, vm: VM) -> list[dict[str, str]]:
    """The disks of other_config:disks, each as its attributes, checked."""
    text = vm.other_config.get("disks", "")
    if not text.strip():
        return []
    if "<!" in text:
        raise InvalidValue("other_config:disks", "it has a declaration, which no description needs")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InvalidValue("other_config:disks", f"it cannot be read as XML: {error}") from None
    free = set(free_places(vm.VBDs))
    disks = []
    for element in root.iter("disk"):
        disk = dict(element.attrib)
        size, device = disk.get("size", ""), disk.get("device", "")
        if not (size.isascii() and size.isdecimal() and 0 < int(size[:20]) < 2**63):
            raise InvalidValue("other_config:disks", f"{size[:40]!r} is no size in bytes")
        if device not in free:
            raise InvalidValue("other_config:disks", f"{device[:40]!r} is no free place for a disk")
        free.discard(device)
        disks.append(disk)
    return disks


def _storage_of(call: Call, vm: VM, uuid: str) -> SR:
    sr = call.store.known(SR, uuid) if uuid else call.pool.default_SR
    if sr is None:
        raise VMRequiresSR(vm, uuid or "the pool's default SR, which is not set")
    return sr


# --- the parts


@contextmanager
def _disks(
    call: Call,
    vm: VM,
    sr: SR | None,
    *,
    still: AbstractContextManager[None] | None = None,
    whole: bool = False,
    ignored: tuple[VDI, ...] = (),
) -> Iterator[list[Copied]]:
    """Copies of the machine's disks; deleted again if what is made of them fails. They are snapshots where the machine
    is kept `still` for them.
    """
    vbds = [vbd for vbd in vm.VBDs if vbd.VDI is None or vbd.VDI not in ignored]
    in_all = sum(vbd.VDI.virtual_size for vbd in vbds if vbd.VDI is not None and vbd.type is VbdType.DISK) or 1
    copied: list[Copied] = []
    done = 0

    def progress_of(size: int, before: int) -> Callable[[float], None]:
        return lambda part: call.progress((before + part * size) / in_all)

    try:
        with still or nullcontext():
            for vbd in vbds:
                vdi = vbd.VDI
                if vdi is None or vbd.type is VbdType.CD:
                    copied.append(Copied(vbd, None))
                    continue
                progress = progress_of(vdi.virtual_size, done)
                made = duplicate(call, vdi, sr or vdi.SR, progress, snapshot=still is not None, whole=whole)
                copied.append(Copied(vbd, made))
                done += vdi.virtual_size
        yield copied
        settle(call, *(disk.vdi for disk in copied if disk.vdi is not None))
    except BaseException:
        _delete(call, [disk.vdi for disk in copied if disk.vdi is not None])
        raise
    finally:
        call.observer.making.difference_update(disk.vdi.uuid for disk in copied if disk.vdi is not None)


def _delete(call: Call, vdis: list[VDI]) -> None:
    """Delete volumes of copies that nothing came of, and their objects where there are some."""
    for vdi in vdis:
        try:
            call.storage.destroy_volume(vdi)
        except XenError as error:  # the others go all the same; the next scan finds this one
            log.warning("%s, a copy that nothing came of, cannot be deleted: %s", vdi.location, error)
        if call.store.is_live(vdi):
            with call.store.transaction():
                call.store.destroy(vdi)
        tidy(call, vdi.parent)


def _twin(call: Call, vm: VM, new_name: str, disks: list[Copied], *, keep_cards: bool = False, uuid: str = "") -> VM:
    """A new machine with the fields of another, the given disks, and cards on the same networks. In a transaction."""
    values = {
        name: vm.__dict__[name]
        for name, field in VM.fields.items()
        if field.qualifier in (Qualifier.RW, Qualifier.CONSTRUCTOR) and name not in NOT_COPIED
    }
    made = VM(**values, name_label=new_name)
    made.uuid = uuid or made.uuid
    made.ours = True
    made.is_default_template = False
    call.store.add(made)
    make_parts(call.store, made)
    for disk in disks:
        if disk.vdi is not None:
            call.store.add(disk.vdi)
        _add_disk(call, made, disk)
    for vif in vm.VIFs:
        twin = VIF(
            VM=made,
            network=vif.network,
            device=vif.device,
            MAC=vif.MAC if keep_cards else random_mac(),
            MTU=vif.MTU,
            qos_algorithm_type=vif.qos_algorithm_type,
            qos_algorithm_params=vif.qos_algorithm_params,
            other_config=vif.other_config,
        )
        twin.MAC_autogenerated = True
        twin.metrics = call.store.add(VIFMetrics())
        call.store.add(twin)
    return made


def _add_disk(call: Call, vm: VM, disk: Copied) -> None:
    """Give a machine a disk like another's, with the copy of its VDI or, for a drive, the same medium."""
    vbd = _disk_like(vm, disk)
    vbd.metrics = call.store.add(VBDMetrics())
    call.store.add(vbd)


def _disk_like(vm: VM, disk: Copied) -> VBD:
    """A loose disk of the machine like another's."""
    original = disk.vbd
    vdi = disk.vdi if original.type is VbdType.DISK else original.VDI
    return VBD(
        VM=vm,
        VDI=vdi,
        device=original.device,
        userdevice=original.userdevice,
        bootable=original.bootable,
        mode=original.mode,
        type=original.type,
        unpluggable=original.unpluggable,
        empty=vdi is None,
        other_config=original.other_config,
    )

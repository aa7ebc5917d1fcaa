"""Virtual disks: making, copying, resizing and destroying them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from agent.call import Call
from agent.classes import SR, VDI, Pool
from agent.classes.enums import VdiOperation, VdiType
from agent.classes.lifecycle import vdi_in_use
from agent.errors import (
    OperationNotAllowed,
    SrOperationNotSupported,
    UniquenessViolated,
    ValueNotSupported,
    VdiInUse,
    VdiLocationMissing,
    VdiNoCbtMetadata,
    VdiReadonly,
    XenError,
)
from agent.messages.sr import note_room, require_new_uuid
from agent.messages.vdi_chains import (
    ancestors,
    children,
    duplicate,
    hide,
    making,
    note_volume,
    or_undone,
    remove,
    require_attached,
    require_managed,
    require_own,
    settle,
    tidy,
)
from agent.model.messages import Kind, construct, message
from agent.model.types import EPOCH, Record
from agent.observer import storage
from agent.roles import Role


@message(VDI)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("VDI")]) -> VDI:
    """Make a disk of `virtual_size` bytes in an attached SR. It takes space as it is written.

    ``sm_config:type`` chooses the format where the storage has more than one (``raw``, ``qcow2``). SR_FULL if it cannot
    fit.
    """
    vdi = construct(VDI, args)
    require_attached(vdi.SR)
    require_own(vdi.SR)
    if vdi.virtual_size <= 0:
        raise ValueNotSupported("virtual_size", vdi.virtual_size, "a disk has at least one byte")
    vdi.virtual_size = _in_sectors(vdi.virtual_size)
    with making(call, vdi):
        with or_undone(call, vdi):
            note_volume(vdi, call.storage.create_volume(vdi))
        return _keep(call, vdi)


def _in_sectors(size: int) -> int:
    """A size as disks have it: whole sectors of 512 bytes."""
    return -(-size // 512) * 512


def _keep(call: Call, vdi: VDI) -> VDI:
    """Take a disk whose volume was made into the store; if that fails, the volume goes too."""
    try:
        with call.store.transaction():
            call.store.add(vdi)
    except XenError:
        call.storage.destroy_volume(vdi)
        tidy(call, vdi.parent)
        raise
    finally:
        call.observer.making.discard(vdi.uuid)
    settle(call, vdi)
    note_room(call, vdi.SR)
    return vdi


@message(VDI, kind=Kind.VERB)
def introduce(
    call: Call,
    uuid: str,
    name_label: str,
    name_description: str,
    SR: SR,
    type: VdiType,
    sharable: bool,
    read_only: bool,
    other_config: Mapping[str, str],
    location: str,
    xenstore_data: Mapping[str, str] = {},
    sm_config: Mapping[str, str] = {},
    managed: bool = True,
    virtual_size: int = 0,
    physical_utilisation: int = 0,
    metadata_of_pool: Pool | None = None,
    is_a_snapshot: bool = False,
    snapshot_time: datetime = EPOCH,
    snapshot_of: VDI | None = None,
) -> VDI:
    """Make known a disk that is in a storage already, at `location`: its path, or its name there.

    `managed`, the sizes and `metadata_of_pool` are not used: what the storage tells counts. VDI_LOCATION_MISSING, or
    DB_UNIQUENESS_CONSTRAINT_VIOLATION for one that is known. An empty `uuid` is made up.
    """
    require_attached(SR)
    require_own(SR)
    require_new_uuid(call, VDI, uuid)
    found = [seen for seen in call.storage.scan(SR) if location in (seen.location, seen.name)]
    if not found:
        raise VdiLocationMissing(SR, location)
    vdi = VDI(
        SR=SR,
        type=type,
        name_label=name_label,
        name_description=name_description,
        sharable=sharable,
        read_only=read_only or found[0].read_only,
        other_config=other_config,
        xenstore_data=xenstore_data,
        sm_config=sm_config,
    )
    if uuid:
        vdi.uuid = uuid
    vdi.is_a_snapshot, vdi.snapshot_time, vdi.snapshot_of = is_a_snapshot, snapshot_time, snapshot_of
    note_volume(vdi, found[0])
    with call.store.transaction():
        if any(other.location == vdi.location for other in SR.VDIs):
            raise UniquenessViolated("VDI", "location", vdi.location)
        call.store.add(vdi)
        storage.note_parents(SR, [(vdi, found[0].parent)])
    note_room(call, SR)
    return vdi


@message(VDI, operation=VdiOperation.DESTROY.value)
def destroy(call: Call, self: VDI) -> None:
    """Destroy the disk and its data. VDI_IN_USE while a machine has it; refused while a VBD names it.

    Where other disks are laid over it, it becomes a hidden base, and goes when they do.
    """
    require_own(self.SR)
    require_attached(self.SR)
    require_managed(self)
    if vdi_in_use(self):
        raise VdiInUse(self, "destroy")
    if children(self):
        with call.store.transaction():
            if self.VBDs:
                call.store.destroy(self)  # says who refers to it
            hide(self)
        return
    parent = self.parent
    remove(call, self)
    tidy(call, parent)
    note_room(call, self.SR)


@message(VDI, operation=VdiOperation.FORGET.value)
def forget(call: Call, vdi: VDI) -> None:
    """Forget the disk; its data stays, and the next scan finds it again."""
    require_managed(vdi)
    if vdi_in_use(vdi):
        raise VdiInUse(vdi, "forget")
    with call.store.transaction():
        call.store.destroy(vdi)


@message(VDI, operation=VdiOperation.RESIZE.value)
def resize(call: Call, vdi: VDI, size: int) -> None:
    """Make the disk larger, to `size` bytes. It never shrinks, and no machine may have it meanwhile."""
    _resize(call, vdi, size)


@message(VDI)
def resize_online(call: Call, vdi: VDI, size: int) -> None:
    """Make the disk larger, as resize does. VDI_IN_USE while a machine has it: libvirt's Xen driver cannot tell a guest
    that its disk has grown.
    """
    _resize(call, vdi, size)


@message(VDI)
def set_virtual_size(call: Call, self: VDI, value: int) -> None:
    """Make the disk larger, to `value` bytes, as resize does."""
    _resize(call, self, value)


def _resize(call: Call, vdi: VDI, size: int) -> None:
    require_own(vdi.SR)
    require_attached(vdi.SR)
    if vdi_in_use(vdi):
        raise VdiInUse(vdi, "resize")
    require_managed(vdi)
    if vdi.read_only:
        raise VdiReadonly(vdi)
    if size < vdi.virtual_size:
        raise ValueNotSupported("size", size, f"the disk has {vdi.virtual_size} bytes, and a disk never shrinks")
    size = _in_sectors(size)
    with call.site.holds.holding("resize", alone=[vdi], shared=ancestors(vdi)):
        if vdi_in_use(vdi):  # it was started while we waited
            raise VdiInUse(vdi, "resize")
        call.storage.resize_volume(vdi, size)
        with call.store.transaction():
            vdi.virtual_size = size
    note_room(call, vdi.SR)


@message(VDI, operation=VdiOperation.UPDATE.value)
def update(call: Call, vdi: VDI) -> None:
    """Read size and use of the disk again from its storage."""
    require_attached(vdi.SR)
    storage.scan(call.store, call.storage, vdi.SR, call.observer.making)


def _require_quiet(vdi: VDI, operation: str) -> None:
    """VDI_IN_USE while a machine may write to the disk: a copy made meanwhile would be torn."""
    if any(vbd.currently_attached and vbd.mode == "RW" for vbd in vdi.VBDs):
        raise VdiInUse(vdi, operation)


@message(VDI, operation=VdiOperation.SNAPSHOT.value)
def snapshot(call: Call, vdi: VDI, driver_params: Mapping[str, str] = {}) -> VDI:
    """Keep the disk as it is now, as a new disk that knows what it is a snapshot of.

    At once, where the storage can share blocks or lay images over each other; else all of it is copied, which the
    task's progress shows.
    """
    _require_quiet(vdi, "snapshot")
    return _keep(call, duplicate(call, vdi, vdi.SR, call.progress, snapshot=True))


@message(VDI, operation=VdiOperation.CLONE.value)
def clone(call: Call, vdi: VDI, driver_params: Mapping[str, str] = {}) -> VDI:
    """Make a new disk with this content in the same storage, at once where a snapshot would be."""
    _require_quiet(vdi, "clone")
    return _keep(call, duplicate(call, vdi, vdi.SR, call.progress))


@message(VDI, operation=VdiOperation.COPY.value)
def copy(call: Call, vdi: VDI, sr: SR | None = None, base_vdi: VDI | None = None, into_vdi: VDI | None = None) -> VDI:
    """Make a full copy of the disk in `sr`, or in its own storage where that is null.

    Copying differences to a base, or into a disk that exists, is not offered: both must be null.
    """
    if base_vdi is not None or into_vdi is not None:
        raise OperationNotAllowed("only whole copies into new disks are made: base_vdi and into_vdi must be null")
    _require_quiet(vdi, "copy")
    return _keep(call, duplicate(call, vdi, sr or vdi.SR, call.progress, whole=True))


@message(VDI, kind=Kind.WRITE)
def set_read_only(call: Call, self: VDI, value: bool) -> None:
    """Set whether the disk may be written to. VDI_IN_USE while a machine has it."""
    require_managed(self)
    if value != self.read_only and vdi_in_use(self):
        raise VdiInUse(self, "set_read_only")
    self.read_only = value


# --- changed blocks, of which no account is kept


@message(VDI, kind=Kind.VERB)
def enable_cbt(call: Call, self: VDI) -> None:
    """Refused: SR_OPERATION_NOT_SUPPORTED. No storage of the agent keeps account of the blocks that change."""
    raise SrOperationNotSupported(self.SR)


@message(VDI, kind=Kind.VERB)
def disable_cbt(call: Call, self: VDI) -> None:
    """Refused as enable_cbt is: SR_OPERATION_NOT_SUPPORTED."""
    raise SrOperationNotSupported(self.SR)


@message(VDI, kind=Kind.VERB)
def data_destroy(call: Call, self: VDI) -> None:
    """Refused: it drops the data of a snapshot and keeps the account of its blocks, of which there is none.

    OPERATION_NOT_ALLOWED for what is no snapshot, else VDI_NO_CBT_METADATA.
    """
    if not self.is_a_snapshot:
        raise OperationNotAllowed("only a snapshot's data can be dropped while the snapshot stays")
    raise VdiNoCbtMetadata(self)


@message(VDI, kind=Kind.VERB, role=Role.VM_OPERATOR)
def list_changed_blocks(call: Call, vdi_from: VDI, vdi_to: VDI) -> str:
    """Refused: SR_OPERATION_NOT_SUPPORTED, for no account is kept of the blocks that change."""
    raise SrOperationNotSupported(vdi_from.SR)

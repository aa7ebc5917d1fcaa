"""Virtual disks: making, copying, resizing and destroying them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from agent.call import Call
from agent.classes import SR, VDI
from agent.classes.enums import VdiOperation
from agent.classes.lifecycle import vdi_in_use
from agent.errors import OperationNotAllowed, ValueNotSupported, VdiInUse, VdiMissing, VdiReadonly, XenError
from agent.messages.sr import note_room, require_attached, require_own
from agent.model.messages import Kind, construct, message
from agent.model.types import Record
from agent.observer import storage
from agent.ports import SeenVolume


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
    with making(call, vdi):
        note_volume(vdi, call.storage.create_volume(vdi))
        return _keep(call, vdi)


@contextmanager
def making(call: Call, vdi: VDI) -> Iterator[None]:
    """Meanwhile nobody adopts the volume of this disk, which is not in the store yet, as another's."""
    call.observer.making.add(vdi.uuid)
    try:
        yield
    finally:
        call.observer.making.discard(vdi.uuid)


def note_volume(vdi: VDI, volume: SeenVolume) -> None:
    """What a loose disk is, now that its volume is made."""
    vdi.location, vdi.format = volume.location, volume.format
    vdi.virtual_size, vdi.physical_utilisation = volume.capacity, volume.allocation


def _keep(call: Call, vdi: VDI) -> VDI:
    """Take a disk whose volume was made into the store; if that fails, the volume goes too."""
    try:
        with call.store.transaction():
            call.store.add(vdi)
    except XenError:
        call.storage.destroy_volume(vdi)
        raise
    finally:
        call.observer.making.discard(vdi.uuid)
    note_room(call, vdi.SR)
    return vdi


@message(VDI, operation=VdiOperation.DESTROY.value)
def destroy(call: Call, self: VDI) -> None:
    """Destroy the disk and its data. VDI_IN_USE while a machine has it; refused while a VBD names it."""
    require_own(self.SR)
    require_attached(self.SR)
    if vdi_in_use(self):
        raise VdiInUse(self, "destroy")
    with making(call, self):
        # The object goes first, so that nothing can come to name it while its data goes.
        with call.store.transaction():
            call.store.destroy(self)
        try:
            call.storage.destroy_volume(self)
        except XenError:
            with call.store.transaction():
                call.store.add(self)
            raise
    note_room(call, self.SR)


@message(VDI, operation=VdiOperation.FORGET.value)
def forget(call: Call, vdi: VDI) -> None:
    """Forget the disk; its data stays, and the next scan finds it again."""
    if vdi_in_use(vdi):
        raise VdiInUse(vdi, "forget")
    with call.store.transaction():
        call.store.destroy(vdi)


@message(VDI, operation=VdiOperation.RESIZE.value)
def resize(call: Call, vdi: VDI, size: int) -> None:
    """Make the disk larger, to `size` bytes. It never shrinks, and no machine may have it meanwhile."""
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
    if vdi.read_only:
        raise VdiReadonly(vdi)
    if size < vdi.virtual_size:
        raise ValueNotSupported("size", size, f"the disk has {vdi.virtual_size} bytes, and a disk never shrinks")
    call.storage.resize_volume(vdi, size)
    with call.store.transaction():
        vdi.virtual_size = size
    note_room(call, vdi.SR)


@message(VDI, operation=VdiOperation.UPDATE.value)
def update(call: Call, vdi: VDI) -> None:
    """Read size and use of the disk again from its storage."""
    require_attached(vdi.SR)
    storage.scan(call.store, call.storage, vdi.SR, call.observer.making)


def duplicate(
    call: Call,
    source: VDI,
    sr: SR,
    progress: Callable[[float], None],
    *,
    name: str | None = None,
    snapshot: bool = False,
) -> VDI:
    """A loose disk with the content of `source`, its volume made in `sr`. The caller takes it into the store or
    destroys it.
    """
    require_attached(sr)
    require_own(sr)
    if source.missing:
        raise VdiMissing(source.SR, source)
    target = VDI(
        SR=sr,
        type=source.type,
        virtual_size=source.virtual_size,
        name_label=source.name_label if name is None else name,
        name_description=source.name_description,
        sharable=source.sharable,
        other_config=source.other_config,
        xenstore_data=source.xenstore_data,
        sm_config=source.sm_config,
        tags=source.tags,
    )
    if snapshot:
        target.is_a_snapshot, target.snapshot_of, target.snapshot_time = True, source, datetime.now(UTC)
    call.observer.making.add(target.uuid)
    try:
        note_volume(target, call.storage.copy_volume(source, target, progress))
    except BaseException:
        call.observer.making.discard(target.uuid)
        raise
    return target


def _require_quiet(vdi: VDI, operation: str) -> None:
    """VDI_IN_USE while a machine may write to the disk: a copy made meanwhile would be torn."""
    if any(vbd.currently_attached and vbd.mode == "RW" for vbd in vdi.VBDs):
        raise VdiInUse(vdi, operation)


@message(VDI, operation=VdiOperation.SNAPSHOT.value)
def snapshot(call: Call, vdi: VDI, driver_params: Mapping[str, str] = {}) -> VDI:
    """Keep the disk as it is now, as a new disk that knows what it is a snapshot of."""
    _require_quiet(vdi, "snapshot")
    return _keep(call, duplicate(call, vdi, vdi.SR, call.progress, snapshot=True))


@message(VDI, operation=VdiOperation.CLONE.value)
def clone(call: Call, vdi: VDI, driver_params: Mapping[str, str] = {}) -> VDI:
    """Make a new disk with this content in the same storage."""
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
    return _keep(call, duplicate(call, vdi, sr or vdi.SR, call.progress))


@message(VDI, kind=Kind.WRITE)
def set_read_only(call: Call, self: VDI, value: bool) -> None:
    """Set whether the disk may be written to. VDI_IN_USE while a machine has it."""
    if value != self.read_only and vdi_in_use(self):
        raise VdiInUse(self, "set_read_only")
    self.read_only = value

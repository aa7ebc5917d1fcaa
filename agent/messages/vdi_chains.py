"""Disks that are laid over others: how a copy of a disk is made, at once where the storage can, and what becomes of
bases that are no longer needed.

A clone or snapshot needs no time where blocks can be shared, or where images can be laid over each other: then the
disk's volume becomes that of a hidden base, a VDI with ``managed`` false, and disk and clone are laid over it. Only
where neither can be, all of it is copied: between storages, for VM.copy and VDI.copy, on storage without either, for
raw disks that are to stay raw. Of a disk that a machine has at the time, its own part is copied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

from agent.call import Call, Site
from agent.classes import SR, VDI
from agent.classes.lifecycle import vdi_in_use
from agent.errors import OperationNotAllowed, OtherOperationInProgress, SrHasNoPbds, VdiMissing, VdiNotManaged, XenError
from agent.observer.storage import OUTSIDE
from agent.ports import SeenVolume

log = logging.getLogger(__name__)

DEPTH_MAX = 16
"""The most images that one disk is made of: each costs the guest a look-up for every block it reads."""
MERGED_AT_ONCE_BYTES = 128 * 2**20
"""A disk that has less of its own is merged into a base that nothing else needs as soon as that is so."""
BASE_NAME = "base copy"
"""What xapi calls the hidden bases."""


def require_attached(sr: SR) -> None:
    """SR_HAS_NO_PBDS unless this host reaches the storage now."""
    if not any(pbd.currently_attached for pbd in sr.PBDs):
        raise SrHasNoPbds(sr)


def require_own(sr: SR) -> None:
    """OPERATION_NOT_ALLOWED for the one SR that only names disks of others."""
    if sr.type == OUTSIDE:
        raise OperationNotAllowed("this SR only names disks that lie in no storage of the agent's")


def require_managed(vdi: VDI) -> None:
    """VDI_NOT_MANAGED for a hidden base, which belongs to the disks that are laid over it."""
    if not vdi.managed:
        raise VdiNotManaged(vdi)


def ancestors(vdi: VDI) -> list[VDI]:
    """What the disk is laid over, the nearest first."""
    found: list[VDI] = []
    while vdi.parent is not None and vdi.parent not in found:
        vdi = vdi.parent
        found.append(vdi)
    return found


def children(base: VDI) -> list[VDI]:
    """The disks that are laid over this one."""
    return [vdi for vdi in base.SR.VDIs if vdi.parent is base]


def _used_above(vdi: VDI) -> bool:
    """Whether a machine has the disk, or one that is laid over it, now."""
    return vdi_in_use(vdi) or any(_used_above(child) for child in children(vdi))


@contextmanager
def making(call: Call, *vdis: VDI) -> Iterator[None]:
    """Meanwhile nobody adopts or misses the volumes of these disks, whose places the store does not know yet."""
    call.observer.making.update(vdi.uuid for vdi in vdis)
    try:
        yield
    finally:
        call.observer.making.difference_update(vdi.uuid for vdi in vdis)


@contextmanager
def or_undone(call: Call, vdi: VDI) -> Iterator[None]:
    """Meanwhile the storage does something that the store does not know yet. Should it fail, nothing of it stays, even
    if all of it was done and only the answer was lost.
    """
    try:
        yield
    except BaseException:
        with suppress(XenError):  # the first error is the one to tell; the next scan tries again
            call.storage.undo(vdi)
        raise


def settle(call: Call, *vdis: VDI) -> None:
    """Tell the storage that the store has what was done. It is done even if this fails: the next start finishes it."""
    try:
        call.storage.settle(*vdis)
    except XenError as error:
        log.warning("what %s left behind cannot be cleared away yet: %s", ", ".join(map(repr, vdis)), error)


def note_volume(vdi: VDI, volume: SeenVolume) -> None:
    """What a disk is, now that its volume is made."""
    vdi.location, vdi.format = volume.location, volume.format
    vdi.virtual_size, vdi.physical_utilisation = volume.capacity, volume.allocation


# --- copies


def duplicate(
    call: Call,
    source: VDI,
    sr: SR,
    progress: Callable[[float], None],
    *,
    name: str | None = None,
    snapshot: bool = False,
    whole: bool = False,
) -> VDI:
    """A loose disk with the content of `source`, its volume made in `sr`. The caller takes it into the store and
    settles it, or drops it.

    With `whole` all is copied, and the disk is laid over nothing.
    """
    require_attached(sr)
    require_own(sr)
    require_managed(source)
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
    before = source.parent
    call.observer.making.add(target.uuid)
    try:
        make = _copied if whole or sr is not source.SR else _cloned
        with or_undone(call, target):
            note_volume(target, make(call, source, target, progress))
    except BaseException:
        if target.parent is not before:
            tidy(call, target.parent)
        call.observer.making.discard(target.uuid)
        raise
    return target


def _copied(call: Call, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
    with call.site.holds.holding("copy", shared=[source, *ancestors(source)]):
        return call.storage.copy_volume(source, target, progress)


def _cloned(call: Call, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
    """The volume of a clone, in the way that takes least."""
    with call.site.holds.holding("clone", shared=[source, *ancestors(source)]):
        target.parent = source.parent
        seen = call.storage.clone_volume(source, target)
    if seen is not None:
        if seen.parent == source.location:
            target.parent = source
        return seen
    target.parent = _base_of(call, source, progress)
    if target.parent is not None:
        with call.site.holds.holding("clone", shared=[target.parent, *ancestors(target.parent)]):
            return call.storage.overlay_volume(target.parent, target)
    target.parent = source.parent
    seen = _copied(call, source, target, progress)
    if target.parent is not None and seen.parent != target.parent.location:  # all that the disk shows was copied
        target.parent = None
    return seen


def _base_of(call: Call, vdi: VDI, progress: Callable[[float], None]) -> VDI | None:
    """What a clone of the disk can be laid over; None where that cannot be."""
    if vdi.read_only or vdi.SR.content_type == "iso" or vdi_in_use(vdi):
        return None
    if vdi.parent is not None and _is_untouched(call, vdi):
        return vdi.parent
    if len(ancestors(vdi)) + 2 > DEPTH_MAX:
        _shorten(call, vdi, progress)
        if len(ancestors(vdi)) + 2 > DEPTH_MAX:
            return None
    try:
        return _split(call, vdi)
    except OtherOperationInProgress:  # somebody reads it, for long, and so may we
        return None


def _is_untouched(call: Call, vdi: VDI) -> bool:
    with call.site.holds.holding("clone", shared=[vdi]):
        return not vdi_in_use(vdi) and call.storage.is_untouched(vdi)


def _split(call: Call, vdi: VDI) -> VDI | None:
    """Make the disk's volume that of a hidden base, over which the disk is laid. None where the storage cannot."""
    base = VDI(SR=vdi.SR, type=vdi.type, name_label=BASE_NAME, read_only=True)
    before = vdi.parent
    with call.site.holds.holding("clone", alone=[vdi], shared=ancestors(vdi)), making(call, vdi, base):
        if vdi_in_use(vdi):  # it was started while we waited
            return None
        if vdi.parent is not before and call.storage.is_untouched(vdi):  # somebody else has split it meanwhile
            return vdi.parent
        base.managed, base.parent = False, vdi.parent
        base.virtual_size, base.physical_utilisation = vdi.virtual_size, vdi.physical_utilisation
        with or_undone(call, base):
            seen = call.storage.split_volume(vdi, base)
            if seen is None:
                return None
            with call.store.transaction():
                call.store.add(base)
                vdi.parent = base
                _move(vdi, seen)
        settle(call, base)
    _follow(call, vdi)
    return base


def _move(vdi: VDI, seen: SeenVolume) -> None:
    """Note where a disk is now. The agent's word counts from now on for machines that have it. In a transaction."""
    note_volume(vdi, seen)
    for vbd in vdi.VBDs:
        if not vbd.VM.is_a_snapshot:
            vbd.VM.ours = True


def _follow(call: Call, vdi: VDI) -> None:
    """Let the definitions of the machines that have a disk say where it is now."""
    for vbd in vdi.VBDs:
        call.observer.redefine(vbd.VM)


# --- bases that are no longer needed


def hide(vdi: VDI) -> None:
    """Make a disk that others are laid over a hidden base. In a transaction."""
    vdi.managed, vdi.read_only, vdi.name_label = False, True, BASE_NAME


def remove(call: Call, vdi: VDI) -> None:
    """Destroy a disk with its data; both stay if the data cannot be deleted."""
    for error in replace(call, [vdi], lambda: None):
        raise error


def replace(call: Call, vdis: Sequence[VDI], change: Callable[[], None]) -> list[XenError]:
    """Destroy disks with their data, in one transaction with `change`, after which nothing refers to them.

    Returns what kept some of them from being destroyed: those stay.
    """
    failed: list[XenError] = []
    doomed: list[VDI] = []
    with call.site.holds.holding("destroy", alone=vdis), making(call, *vdis):
        try:
            for vdi in vdis:
                try:
                    call.storage.doom_volume(vdi)
                    doomed.append(vdi)
                except XenError as error:
                    failed.append(error)
            # The objects go first, so that nothing can come to name them while their data goes.
            with call.store.transaction():
                change()
                for vdi in doomed:
                    call.store.destroy(vdi)
        except BaseException:
            for vdi in doomed:
                call.storage.undo(vdi)
            raise
        for vdi in doomed:
            try:
                call.storage.destroy_volume(vdi)
            except XenError as error:
                if _is_gone(call, vdi):  # only the answer was lost
                    settle(call, vdi)
                    continue
                with call.store.transaction():
                    call.store.add(vdi)
                call.storage.undo(vdi)
                failed.append(error)
    return failed


def _is_gone(call: Call, vdi: VDI) -> bool:
    """Whether the storage has the volume no more, as far as it can be asked now."""
    try:
        return all(volume.location != vdi.location for volume in call.storage.scan(vdi.SR))
    except XenError:
        return False


def tidy(call: Call, base: VDI | None) -> None:
    """After a disk that was laid over `base` is gone: a hidden base that nothing rests on goes too, and one on which a
    single disk does is merged with it if that is soon done. What fails is tried again the next time.
    """
    try:
        while base is not None and not base.managed and call.store.is_live(base):
            above, parent = children(base), base.parent
            if len(above) == 1:
                _merge(call, base, above[0], MERGED_AT_ONCE_BYTES)
            if above:
                return
            remove(call, base)
            base = parent
    except XenError as error:
        log.warning("%r, which is no longer needed, is still there: %s", base, error)


def sweep(site: Site) -> None:
    """Let hidden bases go on which nothing rests: the agent was killed before it could tidy."""

    def is_left(vdi: VDI) -> bool:
        attached = any(pbd.currently_attached for pbd in vdi.SR.PBDs)
        return attached and not vdi.managed and not vdi.crash_dumps and not children(vdi)

    left = [vdi for vdi in site.store.all(VDI) if is_left(vdi)]
    for future in [site.lanes.submit(vdi.SR.ref, partial(tidy, Call(site), vdi)) for vdi in left]:
        future.result()


def _merge(
    call: Call, base: VDI, vdi: VDI, most: int | None, progress: Callable[[float], None] = lambda part: None
) -> None:
    """Put what a disk has of its own, up to `most` bytes, into its hidden base, whose volume then is the disk's. Where
    that cannot be now, all stays as it is.
    """
    if _used_above(vdi) or vdi.missing or base.missing:
        return
    with (
        call.site.holds.holding("merge", alone=[vdi, base], shared=ancestors(base), wait_seconds=0),
        making(call, vdi, base),
    ):
        if _used_above(vdi) or children(base) != [vdi]:
            return
        with or_undone(call, base):
            seen = call.storage.merge_volume(base, vdi, most, progress)
            if seen is None:
                return
            with call.store.transaction():
                vdi.parent = base.parent
                _move(vdi, seen)
                call.store.destroy(base)
        settle(call, base)
    _follow(call, vdi)


def _shorten(call: Call, vdi: VDI, progress: Callable[[float], None]) -> None:
    """Merge hidden bases of the disk that nothing else needs, from the oldest, until there are few enough."""
    for upper in reversed([vdi, *ancestors(vdi)][:-1]):
        if len(ancestors(vdi)) + 2 <= DEPTH_MAX:
            return
        lower = upper.parent
        if lower is not None and not lower.managed and children(lower) == [upper]:
            _merge(call, lower, upper, None, progress)

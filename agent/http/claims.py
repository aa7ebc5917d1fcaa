"""A disk whose content is on its way: nobody writes to it, and nobody else replaces it, until it is let go.

The hold is in the disk's ``current_operations``: ``copy`` while it is read, ``blocked`` while it is replaced. It is
taken in one transaction, and who wants the disk otherwise notes that before looking: one of two always sees the other.

It is no hold of ``agent.holds``, over which it lies: those are for what the agent does by itself, unseen, and whoever
wants one waits a moment for it. This lasts for as long as a client takes, so clients see it and are refused at once;
what the agent does to the disk for a moment, such as a clone of what it still is, goes on beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agent.call import Call
from agent.classes import VDI
from agent.classes.enums import VbdMode, VdiOperation, VmOperation
from agent.classes.lifecycle import is_suspended
from agent.errors import HandleInvalid, OperationNotAllowed, VdiInUse, VdiMissing, VdiReadonly
from agent.messages.vdi_chains import require_attached, require_managed, require_own

GETTING = frozenset(
    {
        VmOperation.START,
        VmOperation.START_ON,
        VmOperation.RESUME,
        VmOperation.RESUME_ON,
        VmOperation.UNPAUSE,
        VmOperation.REVERT,
    }
)
"""What a machine does that is about to get its disks."""
READ_BESIDE = frozenset({VdiOperation.COPY, VdiOperation.CLONE, VdiOperation.SNAPSHOT, VdiOperation.UPDATE})
"""What may be done to a disk while it is read."""


@contextmanager
def held(call: Call, vdi: VDI, operation: VdiOperation) -> Iterator[None]:
    """Hold the disk, to read (``copy``) or to replace (``blocked``) its content.

    VDI_IN_USE while a machine may write to it, and, to replace it, while any has it or anything else is done to it.
    """
    task = call.task
    assert task is not None
    key = task.ref
    with call.store.transaction(wait=False):
        _require_free(call, vdi, replaced=operation is VdiOperation.BLOCKED)
        if key in vdi.current_operations:
            raise VdiInUse(vdi, operation)
        vdi.current_operations = {**vdi.current_operations, key: operation}
    try:
        yield
    finally:
        with call.store.transaction(wait=False):
            if call.store.is_live(vdi):
                left = {other: what for other, what in vdi.current_operations.items() if other != key}
                vdi.current_operations = left


def _require_free(call: Call, vdi: VDI, *, replaced: bool) -> None:
    if not call.store.is_live(vdi):
        raise HandleInvalid("VDI", vdi.ref)
    require_own(vdi.SR)
    require_attached(vdi.SR)
    require_managed(vdi)
    if vdi.missing:
        raise VdiMissing(vdi.SR, vdi)
    wanted = "import" if replaced else "export"
    for vbd in vdi.VBDs:
        if vbd.mode is VbdMode.RO and not replaced:
            continue
        busy = vbd.current_operations or not GETTING.isdisjoint(vbd.VM.current_operations.values())
        if vbd.currently_attached or busy or is_suspended(vbd.VM):
            raise VdiInUse(vdi, wanted)
    if set(vdi.current_operations.values()) - (frozenset() if replaced else READ_BESIDE):
        raise VdiInUse(vdi, wanted)
    if replaced:
        if vdi.read_only:
            raise VdiReadonly(vdi)
        if any(other.parent is vdi for other in vdi.SR.VDIs):
            raise OperationNotAllowed("other disks are laid over this one: its content cannot be replaced")

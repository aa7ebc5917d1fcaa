"""Machines that stand still while their disks are copied, and those that are saved for it. All go on afterwards,
whatever becomes of the copy, and of the agent: which are to go on is in the journal before they stand still.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from agent.call import Call, Site
from agent.classes import VM
from agent.classes.enums import PowerState
from agent.errors import VMCheckpointResumeFailed, VMCheckpointSuspendFailed, XenError
from agent.messages.operations import own_task
from agent.messages.vif import acting
from agent.observer import loops

log = logging.getLogger(__name__)
NAME = "VM.snapshot"
TRIES = 30
"""How often in all a machine is let go on that does not."""


@contextmanager
def standing_still(call: Call, vm: VM) -> Iterator[None]:
    """The processors of a running machine stand still meanwhile. They go on even if what was done meanwhile failed."""
    if vm.power_state is not PowerState.RUNNING:
        yield
        return
    with _to_go_on(call, vm):
        try:
            with acting(call, vm):
                call.domains.pause(vm)
            yield
        except BaseException:
            with suppress(XenError):  # the first error is the one to tell
                call.refresh(vm)  # where an answer was lost, nobody knows yet that it stands still
                _go_on(call, vm)
            raise
        _go_on(call, vm)


def _go_on(call: Call, vm: VM) -> None:
    if vm.power_state is PowerState.PAUSED:  # its plug may have been pulled meanwhile
        with acting(call, vm):
            call.domains.unpause(vm)


@contextmanager
def asleep(call: Call, vm: VM, snapshot: str) -> Iterator[None]:
    """The machine is suspended meanwhile, its memory kept for the snapshot. It goes on even if what was done failed.

    VM_CHECKPOINT_SUSPEND_FAILED where it cannot be saved; VM_CHECKPOINT_RESUME_FAILED where it does not go on.
    """
    with _to_go_on(call, vm, anew=True):
        try:
            with acting(call, vm):
                call.domains.save_memory(vm, snapshot)
        except XenError as error:
            with suppress(XenError):  # where an answer was lost, nobody knows yet that it was saved
                call.refresh(vm)
            if vm.power_state is PowerState.SUSPENDED:
                _wake(call, vm)
            log.warning("%r cannot be saved for a snapshot with memory: %s", vm, error)
            raise VMCheckpointSuspendFailed(vm) from error
        try:
            yield
        except BaseException:
            with suppress(XenError):  # the first error is the one to tell
                _wake(call, vm)
            raise
        _wake(call, vm)


def _wake(call: Call, vm: VM) -> None:
    if vm.power_state is not PowerState.SUSPENDED:  # its plug was pulled meanwhile
        return
    try:
        with acting(call, vm):
            call.domains.resume(vm, False)
    except XenError as error:
        log.error("%r was saved for a snapshot and cannot go on: %s", vm, error)
        raise VMCheckpointResumeFailed(vm) from error


@contextmanager
def _to_go_on(call: Call, vm: VM, *, anew: bool = False) -> Iterator[None]:
    """The journal says meanwhile that the machine is to go on, `anew` as another domain; and afterwards where it does
    not, for `recover`.
    """
    with call.store.transaction():
        vm.held_still = True
        if anew:
            loops.note_asked(vm)
    try:
        yield
    finally:
        with call.store.transaction(wait=False):
            if call.store.is_live(vm) and vm.power_state in (PowerState.RUNNING, PowerState.HALTED):
                vm.held_still = False


# --- by the clock


def recover(site: Site, failed: Counter[str] | None = None) -> None:
    """Let machines go on that were left standing still: by an agent that was killed, or since they could not go on.

    The first XenError of one that does not; the next call tries again. `failed` has how often each failed: one that did
    `TRIES` times is left to people.
    """
    failed = Counter() if failed is None else failed
    metrics = site.observer.host.metrics
    if metrics is None or not metrics.live:
        return
    left = [vm for vm in site.store.all(VM) if vm.held_still and not vm.current_operations]
    for future in [site.lanes.submit(vm.ref, partial(_recover, site, vm, failed)) for vm in left]:
        future.result()


def _recover(site: Site, vm: VM, failed: Counter[str]) -> None:
    """In the machine's lane: whoever holds it is done when this begins."""
    if not site.store.is_live(vm) or not vm.held_still:
        return
    try:
        with own_task(site, NAME) as task:
            call = Call(site, task=task)
            call.refresh(vm)
            before = vm.power_state
            _go_on(call, vm)
            _wake(call, vm)
    except XenError:
        failed[vm.uuid] += 1
        if failed[vm.uuid] < TRIES:
            raise
        log.error("%r is %s since its snapshot, and does not go on: see to it", vm, vm.power_state.lower())
    else:
        log.warning("%r was left %s by a snapshot; it goes on", vm, before.lower())
    del failed[vm.uuid]
    with site.store.transaction():
        vm.held_still = False

"""Machines that go up and down with the host: started after it was booted, by the clock; shut down by a message, which
the service manager has sent when the host goes down.

Which are to be started is noted in the journal when a new boot of the host is seen, and crossed off one by one: an
agent that ends in between goes on where it was, and one that is merely restarted starts nothing. Only what the agent
started is shut down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from itertools import groupby
from time import monotonic

from agent.call import Call, Site
from agent.classes import VM, Host
from agent.classes.enums import PowerState, VmOperation
from agent.errors import OperationPartiallyFailed, XenError
from agent.messages import vm as machines
from agent.messages.operations import noted, own_task
from agent.model.messages import Kind, message
from agent.observer.notices import tell_trouble
from agent.roles import Role

log = logging.getLogger(__name__)
FLAG = "auto_poweron"
"""The key of other_config by which xapi's tools say it, of a machine and of the pool as a whole."""
LIVE = (PowerState.RUNNING, PowerState.PAUSED)
LOOKS = 3
"""How often is looked for machines that were being started while others shut down."""
STEP_SECONDS = 0.5
"""How soon a wait sees that its task was cancelled."""
SLACK_SECONDS = 10.0
"""How much longer than its guest may take a machine is waited for, whose lane may be busy with something else."""


# --- by clients


@message(Host, kind=Kind.WRITE, role=Role.POOL_OPERATOR)
def start_guests(call: Call, host: Host) -> None:
    """Have the machines started that are to start with the host, those that are halted. The answer does not wait for
    that; a machine that cannot be started is told of by a message.
    """
    host.to_start = tuple(vm.uuid for vm in starting_with_host(call.site))


@message(Host, kind=Kind.BESIDE, role=Role.POOL_OPERATOR)
def stop_guests(call: Call, host: Host) -> None:
    """Shut down the machines that the agent started, as when the host goes down: those of the highest order first, each
    within its shutdown_delay, or the time that the agent's configuration says; where that says so, the plug is pulled
    of what is not off by then. Others' machines, and those that are suspended, are left alone.

    OPERATION_PARTIALLY_FAILED where one still runs afterwards; a message tells of it.
    """
    with call.store.transaction():
        host.to_start = ()
    for _ in range(LOOKS):
        running = _ours(call)
        if not running:
            return
        ranked = sorted(running, key=_rank, reverse=True)
        for _, group in groupby(ranked, key=lambda vm: vm.order):
            _stop(call, list(group))
    left = _ours(call)
    for vm in left:
        tell_trouble(call.store, vm, "VM_SHUTDOWN_FAILED", "still runs, though the host is to go down")
    if left:
        raise OperationPartiallyFailed("stop_guests")


def _ours(call: Call) -> list[VM]:
    return [vm for vm in call.store.all(VM) if vm.power_state in LIVE and vm.started_here and not vm.foreign]


def _rank(vm: VM) -> tuple[int, str]:
    return vm.order, vm.uuid


def _stop(call: Call, group: Sequence[VM]) -> None:
    """Shut down machines of one order."""
    asked = {vm: vm.shutdown_delay or call.site.guests.shutdown_seconds for vm in group}
    futures = [call.site.lanes.submit(vm.ref, partial(_ask, call, vm, seconds)) for vm, seconds in asked.items()]
    _await(call, futures, max(asked.values()) + SLACK_SECONDS)
    for vm in group:
        if not call.store.is_live(vm) or vm.power_state not in LIVE:
            continue
        if not call.site.guests.hard_shutdown:
            log.warning("%r has not shut down in time, and goes on", vm)
            continue
        log.warning("%r has not shut down in time: its plug is pulled", vm)
        try:
            machines.hard_shutdown(call, vm)
        except XenError as error:
            log.error("%r cannot be switched off: %s", vm, error)


def _ask(call: Call, vm: VM, seconds: float) -> None:
    """Ask one guest to shut down. In its lane."""
    if not call.store.is_live(vm) or vm.power_state is not PowerState.RUNNING:
        return
    with (
        own_task(call.site, "host.stop_guests") as task,
        noted(call.store, vm, VmOperation.CLEAN_SHUTDOWN.value, task),
    ):
        machines.shut_down_within(call, vm, seconds)


def _await(call: Call, futures: Iterable[Future[None]], seconds: float) -> None:
    """Wait for them, so long at the most. What has not begun by then, or when the task is cancelled, never does."""
    waiting, end = set(futures), monotonic() + seconds
    try:
        while waiting and monotonic() < end:
            _, waiting = wait(waiting, STEP_SECONDS)
            call.progress(0.0)
    finally:
        for future in waiting:
            future.cancel()


# --- by the clock


class Boot:
    """Starts machines after the host was booted. `sweep` is to be called often: it begins what is due, and waits for
    nothing.
    """

    def __init__(self, site: Site, clock: Callable[[], float] = monotonic) -> None:
        self._site = site
        self._clock = clock
        self._starting: dict[VM, Future[None]] = {}
        self._order = -1
        """That of the machines that are being started, or were at last."""
        self._pause_seconds = 0
        """The longest start_delay of these."""
        self._ended = clock()

    def sweep(self) -> None:
        """See whether the host was booted; begin the starts that are due, and note how others have ended."""
        host = self._site.observer.host
        if host.metrics is None or not host.metrics.live:
            return  # whatever was to be started could not be
        self._see_boot(host)
        for vm in [vm for vm, future in self._starting.items() if future.done()]:
            self._note_end(vm, self._starting.pop(vm))
        known = [self._site.store.known(VM, uuid) for uuid in host.to_start]
        waiting = sorted((vm for vm in known if vm is not None and vm not in self._starting), key=_rank)
        if waiting and (waiting[0].order <= self._order or self._next_order_may_begin()):
            if not self._starting:
                self._order, self._pause_seconds = waiting[0].order, 0
            self._begin([vm for vm in waiting if vm.order <= self._order])
        elif not waiting and not self._starting and host.to_start:  # machines that were destroyed meanwhile
            with self._site.store.transaction():
                host.to_start = ()

    def _next_order_may_begin(self) -> bool:
        return not self._starting and self._clock() >= self._ended + self._pause_seconds

    def _begin(self, vms: Sequence[VM]) -> None:
        for vm in vms[: max(0, self._site.guests.at_once - len(self._starting))]:
            self._starting[vm] = self._site.lanes.submit(vm.ref, partial(_start, self._site, vm))

    def _see_boot(self, host: Host) -> None:
        if not host.boot_id or host.boot_id == host.booted_as:
            return
        # An agent that was just installed does not know whether the host was booted since something was asked for.
        due = starting_with_host(self._site) if host.booted_as else []
        with self._site.store.transaction():
            host.booted_as, host.to_start = host.boot_id, tuple(vm.uuid for vm in due)
        if due:
            log.info("the host was booted: %d machines are started", len(due))

    def _note_end(self, vm: VM, future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            reason = str(error) if isinstance(error, XenError) else f"{type(error).__name__}: {error}"
            log.error("%r cannot be started with the host: %s", vm, reason, exc_info=_unexpected(error))
            if self._site.store.is_live(vm):
                tell_trouble(self._site.store, vm, "VM_START_FAILED", f"cannot be started with the host: {reason}")
        else:
            self._pause_seconds = max(self._pause_seconds, vm.start_delay)
        self._ended = self._clock()


def _unexpected(error: BaseException) -> BaseException | None:
    return None if isinstance(error, XenError) else error


def starting_with_host(site: Site) -> list[VM]:
    """The halted machines that are to be started after the host was booted.

    auto_power_on of the original XenAPI says it alone. other_config:auto_poweron, which xapi's tools set, says it only
    if that of the pool does too, as with xapi.
    """
    by_flag = site.observer.pool.other_config.get(FLAG) == "true"
    return [vm for vm in site.store.all(VM) if _startable(vm) and (vm.auto_power_on or (by_flag and _flagged(vm)))]


def _flagged(vm: VM) -> bool:
    return vm.other_config.get(FLAG) == "true"


def _startable(vm: VM) -> bool:
    kept = vm.is_a_template or vm.is_a_snapshot or vm.is_control_domain or vm.foreign
    return not kept and vm.power_state is PowerState.HALTED


def _start(site: Site, vm: VM) -> None:
    """Start one machine, unless somebody has done it, and cross it off. In its lane."""
    host = site.observer.host
    if vm.uuid not in host.to_start:
        return
    try:
        if site.store.is_live(vm) and _startable(vm):
            with own_task(site, "host.start_guests") as task, noted(site.store, vm, VmOperation.START.value, task):
                machines.start(Call(site, task=task), vm, False)
    finally:
        with site.store.transaction():
            host.to_start = tuple(uuid for uuid in host.to_start if uuid != vm.uuid)

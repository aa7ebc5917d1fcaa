"""Guests that do not get far: they crash or reboot again and again, each time soon after their start.

The hypervisor starts such a guest anew for as long as its machine says so. How often in a row that was soon is kept
with the machine's start, where it comes back as another domain; an agent that was away counts on, and never what it
cannot tell to have been soon. That a client asks for a start is noted before it, so that it is not taken for one of the
guest's whenever it is seen. A machine that goes off, or that a client works on meanwhile, is counted from the
beginning. What is told of crashes as such may come before the new domain is seen, after it, or never; so it is a count
of its own.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from agent.classes import VM, VMMetrics
from agent.errors import InternalError
from agent.guests import Guests
from agent.observer.notices import tell_trouble
from agent.store.store import Store

log = logging.getLogger(__name__)


def note_asked(vm: VM) -> None:
    """Note that a client asks for what starts the machine anew. In a transaction.

    `started_as` says so meanwhile: it is the complement of what it was, or -1 where the machine is off.
    """
    metrics = vm.metrics
    if metrics is not None:
        metrics.started_as = ~vm.domid if vm.domid >= 0 else -1


def is_noted(metrics: VMMetrics, domid: int) -> bool:
    """Whether the start of this domain is noted."""
    noted = metrics.started_as
    return domid == (noted if noted >= -1 else ~noted)


def note_start(vm: VM, metrics: VMMetrics, domid: int, rapid_seconds: int) -> None:
    """Note that a machine runs as another domain than before. In a transaction."""
    now = datetime.now(UTC).replace(microsecond=0)
    ran_seconds = (now - metrics.start_time).total_seconds()
    unasked = metrics.started_as >= 0 and not vm.current_operations
    if vm.started_here and unasked and 0 <= ran_seconds < rapid_seconds:
        metrics.rapid_restarts += 1
    else:
        metrics.rapid_restarts = metrics.crashes = 0
    metrics.start_time, metrics.started_as = now, domid


def note_crash(store: Store, vm: VM) -> None:
    """Note and tell that the guest of a machine has crashed, whatever became of it."""
    log.warning("the guest of %r has crashed", vm)
    try:
        with store.transaction():
            if vm.metrics is not None:
                vm.metrics.crashes += 1
    except InternalError as error:
        log.warning("the crash of %r cannot be counted now: %s", vm, error)
    tell_trouble(store, vm, "VM_CRASHED", "has crashed.")


def loop_of(vm: VM, guests: Guests) -> tuple[str, str] | None:
    """Why a machine is to be stopped: the name of a message, and the rest of its sentence; None where it is not."""
    metrics = vm.metrics
    if metrics is None or vm.foreign:
        return None
    restarts = metrics.rapid_restarts
    for count, limit, name, what in (
        (min(metrics.crashes, restarts), guests.rapid_crashes, "VM_CRASHED", "crashed"),
        (restarts, guests.rapid_reboots, "VM_REBOOTED", "rebooted"),
    ):
        if 0 < limit <= count:
            return name, f"has {what} {count} times in a row, each time within {guests.rapid_seconds} s of its start"
    return None

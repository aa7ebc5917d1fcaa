"""Appliances: their machines started and stopped together, those of one order at once, in the order of VM.order.

Each machine is worked on in its own lane, as if it had been asked for alone; what one machine is refused stops what
comes after it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from time import monotonic, sleep

from agent.call import Call
from agent.classes import VM, VMAppliance
from agent.classes.enums import PowerState, VmApplianceOperation, VmOperation
from agent.errors import (
    OperationNotAllowed,
    OperationPartiallyFailed,
    OtherOperationInProgress,
    TooManyPendingTasks,
    XenError,
)
from agent.messages import vm as machines
from agent.messages.operations import noted
from agent.model.messages import Kind, message
from agent.roles import Role

log = logging.getLogger(__name__)
AT_ONCE = 4
"""Appliances that are worked on at a time: each keeps a worker, of which others want some too."""
STEP_SECONDS = 0.5
"""How soon a wait sees that its task was cancelled."""
LIVE = (PowerState.RUNNING, PowerState.PAUSED)
Verb = Callable[[Call, VM], None]


@message(VM, kind=Kind.WRITE, role=Role.POOL_OPERATOR, has_async=True)
def set_appliance(call: Call, self: VM, value: VMAppliance | None) -> None:
    """Make the machine one of an appliance, or null of none. OPERATION_NOT_ALLOWED for templates, snapshots and the
    control domain.
    """
    require_schedulable(self)
    self.appliance = value


def require_schedulable(vm: VM) -> None:
    """OPERATION_NOT_ALLOWED for what is no machine that could be started and kept."""
    if vm.is_a_template or vm.is_a_snapshot or vm.is_control_domain:
        raise OperationNotAllowed("it is a template, a snapshot or the control domain")


@message(VMAppliance, kind=Kind.BESIDE, operation=VmApplianceOperation.START.value)
def start(call: Call, self: VMAppliance, paused: bool) -> None:
    """Start the machines that are halted: those of the lowest order first, and the next once all of these run and the
    longest of their start_delay is over.

    OPERATION_PARTIALLY_FAILED where one cannot be started: those of a higher order are not tried then, and the log
    says why. OTHER_OPERATION_IN_PROGRESS while something is done to the appliance, TOO_MANY_PENDING_TASKS.
    """
    halted = [vm for vm in self.VMs if vm.power_state is PowerState.HALTED]
    verb = partial(_start, paused=paused)
    _each(call, self, VmApplianceOperation.START, verb, VmOperation.START, halted, "start_delay")


def _start(call: Call, vm: VM, *, paused: bool) -> None:
    machines.start(call, vm, paused)


@message(VMAppliance, kind=Kind.BESIDE, operation=VmApplianceOperation.CLEAN_SHUTDOWN.value)
def clean_shutdown(call: Call, self: VMAppliance) -> None:
    """Ask the running machines to shut down: those of the highest order first, and the next once all of these are off
    and the longest of their shutdown_delay is over. The errors are those of start.
    """
    running = [vm for vm in self.VMs if vm.power_state in LIVE]
    _down(call, self, VmApplianceOperation.CLEAN_SHUTDOWN, machines.clean_shutdown, running)


@message(VMAppliance, kind=Kind.BESIDE, operation=VmApplianceOperation.HARD_SHUTDOWN.value)
def hard_shutdown(call: Call, self: VMAppliance) -> None:
    """Pull the plug of all machines that are not halted, those of the highest order first. The errors are those of
    start.
    """
    _down(call, self, VmApplianceOperation.HARD_SHUTDOWN, machines.hard_shutdown, _not_halted(self))


@message(VMAppliance, kind=Kind.BESIDE, operation=VmApplianceOperation.SHUTDOWN.value)
def shutdown(call: Call, self: VMAppliance) -> None:
    """Like clean_shutdown, but a machine that does not shut down within a minute, or cannot be asked, has its plug
    pulled.
    """
    _down(call, self, VmApplianceOperation.SHUTDOWN, machines.shutdown, _not_halted(self))


def _not_halted(appliance: VMAppliance) -> list[VM]:
    return [vm for vm in appliance.VMs if vm.power_state is not PowerState.HALTED]


def _down(call: Call, appliance: VMAppliance, operation: VmApplianceOperation, verb: Verb, vms: list[VM]) -> None:
    _each(call, appliance, operation, verb, VmOperation(operation.value), vms, "shutdown_delay")


def _each(
    call: Call,
    appliance: VMAppliance,
    operation: VmApplianceOperation,
    verb: Verb,
    of_machine: VmOperation,
    vms: list[VM],
    delay: str,
) -> None:
    """Do this to the machines, group by group: up the order when they start, down when they stop."""
    _require_alone(call, appliance)
    upwards = operation is VmApplianceOperation.START
    groups = [
        list(group)
        for _, group in itertools.groupby(
            sorted(vms, key=lambda vm: vm.order, reverse=not upwards), key=lambda vm: vm.order
        )
    ]
    done = 0
    for number, group in enumerate(groups, start=1):
        failed = _await([_begin(call, vm, verb, of_machine) for vm in group], call)
        for error in failed:
            log.warning("%s of %r goes no further: %s", operation, appliance, error)
        if failed:
            raise OperationPartiallyFailed(operation)
        done += len(group)
        if number < len(groups):
            call.progress(done / len(vms))
            _pause(call, max(vm.__dict__[delay] for vm in group))


def _require_alone(call: Call, appliance: VMAppliance) -> None:
    """OTHER_OPERATION_IN_PROGRESS, or TOO_MANY_PENDING_TASKS while AT_ONCE others are worked on."""
    own = "" if call.task is None else call.task.ref
    for ref, other in appliance.current_operations.items():
        if ref != own:
            raise OtherOperationInProgress(appliance.wire_name, appliance, other, ref)
    if sum(bool(other.current_operations) for other in call.store.all(VMAppliance)) > AT_ONCE:
        raise TooManyPendingTasks


def _begin(call: Call, vm: VM, verb: Verb, operation: VmOperation) -> Future[None]:
    """Have it done to a machine, in the machine's lane; what pulls its plug does not wait there."""

    def job() -> None:
        if call.task is None:
            verb(call, vm)
            return
        with noted(call.store, vm, operation.value, call.task):
            verb(call, vm)

    if operation is not VmOperation.HARD_SHUTDOWN:
        return call.site.lanes.submit(vm.ref, job)
    future: Future[None] = Future()
    try:
        job()
        future.set_result(None)
    except XenError as error:
        future.set_exception(error)
    return future


def _await(futures: Iterable[Future[None]], call: Call) -> list[BaseException]:
    """Wait for all of them. What they failed with; if the task is cancelled, what has not begun never does."""
    waiting = set(futures)
    ended: set[Future[None]] = set()
    while waiting:
        some, waiting = wait(waiting, STEP_SECONDS, return_when=FIRST_COMPLETED)
        ended |= some
        try:
            call.progress(0.0)
        except XenError:
            for future in waiting:
                future.cancel()
            raise
    errors = [future.exception() for future in ended]
    for error in errors:
        if error is not None and not isinstance(error, XenError):
            raise error
    return [error for error in errors if error is not None]


def _pause(call: Call, seconds: float) -> None:
    """Wait, unless the task is cancelled."""
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        call.progress(0.0)
        sleep(min(STEP_SECONDS, left))

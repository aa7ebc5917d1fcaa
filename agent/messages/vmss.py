"""Schedules of snapshots: made and changed by clients, kept by the agent. When one is due is in ``classes.schedules``.

What is due is marked as done before it is begun: a crash may lose one snapshot, and never makes two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Annotated, Any

from agent.call import Call, Site
from agent.classes import VDI, VM, VMSS, schedules
from agent.classes.enums import PowerState, VbdType, VmOperation, VmssFrequency, VmssType
from agent.classes.lifecycle import require
from agent.errors import InvalidValue, MapDuplicateKey, OperationPartiallyFailed, VmssHasVm, XenError
from agent.messages import vdi as disks
from agent.messages import vm as machines
from agent.messages import vm_copies
from agent.messages.operations import noted, own_task
from agent.messages.vm_appliance import require_schedulable
from agent.model.messages import Kind, construct, message
from agent.model.types import Record
from agent.roles import Role

log = logging.getLogger(__name__)
GRACE = timedelta(minutes=15)
"""How late a snapshot is still taken, such as when the agent was not there when it was due."""
NAME = "VMSS.snapshot_now"
Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


# --- by clients


@message(VMSS, kind=Kind.WRITE, has_async=True)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("VMSS")]) -> VMSS:
    """Make a schedule from a record of its RW fields; keys that `schedule` lacks are 0, and Monday.

    INVALID_VALUE for a schedule that is none, VALUE_NOT_SUPPORTED for the type snapshot_with_quiesce.
    """
    vmss = construct(VMSS, args)
    vmss.schedule = schedules.whole(vmss.frequency, vmss.schedule)
    vmss.armed = wall_clock()
    return call.store.add(vmss)


@message(VMSS, kind=Kind.WRITE, has_async=True)
def destroy(call: Call, self: VMSS) -> None:
    """Remove a schedule; the snapshots that it took stay. VMSS_HAS_VM while it is that of a machine."""
    if self.VMs:
        raise VmssHasVm
    call.store.destroy(self)


@message(VM, kind=Kind.WRITE, role=Role.POOL_OPERATOR)
def set_snapshot_schedule(call: Call, self: VM, value: VMSS | None) -> None:
    """Have a schedule take snapshots of the machine, or null none. OPERATION_NOT_ALLOWED for templates, snapshots and
    the control domain.
    """
    require_schedulable(self)
    self.snapshot_schedule = value


@message(VMSS, kind=Kind.WRITE)
def set_enabled(call: Call, self: VMSS, value: bool) -> None:
    """Have snapshots taken when they are due, or not any more. What was due meanwhile is not made up for."""
    self.enabled, self.armed = value, wall_clock()


@message(VMSS, kind=Kind.WRITE, has_async=True)
def set_last_run_time(call: Call, self: VMSS, value: datetime) -> None:
    """Say when snapshots were last taken: what was due before that is not made up for. INVALID_VALUE for a time to
    come, until which none would be taken.
    """
    if value > wall_clock():
        raise InvalidValue("last_run_time", "it is yet to come")
    self.last_run_time = value


@message(VMSS, kind=Kind.WRITE)
def set_frequency(call: Call, self: VMSS, value: VmssFrequency) -> None:
    """Set how often snapshots are taken; `schedule` gets the keys that this needs, and loses others."""
    self.frequency = value
    _set_schedule(self, self.schedule)


@message(VMSS, kind=Kind.WRITE)
def set_schedule(call: Call, self: VMSS, value: Mapping[str, str]) -> None:
    """Set when snapshots are taken, as the frequency needs it. INVALID_VALUE for what is no such time."""
    _set_schedule(self, value)


@message(VMSS, kind=Kind.WRITE)
def add_to_schedule(call: Call, self: VMSS, key: str, value: str) -> None:
    """Set one key of the schedule. MAP_DUPLICATE_KEY if it is there: every key that the frequency needs is, so remove
    it first. INVALID_VALUE.
    """
    if key in self.schedule:
        raise MapDuplicateKey("VMSS", "schedule", self, key)
    VMSS.fields["schedule"].admit({key: value})
    self.schedule, self.armed = {**self.schedule, key: value}, wall_clock()


@message(VMSS, kind=Kind.WRITE)
def remove_from_schedule(call: Call, self: VMSS, key: str) -> None:
    """Take one key out of the schedule; until it is there again, that counts as 0, or Monday."""
    self.schedule = {name: value for name, value in self.schedule.items() if name != key}
    self.armed = wall_clock()


def _set_schedule(vmss: VMSS, schedule: Mapping[str, str]) -> None:
    vmss.schedule, vmss.armed = schedules.whole(vmss.frequency, schedule), wall_clock()


@message(VMSS, kind=Kind.BESIDE, has_async=False)
def snapshot_now(call: Call, vmss: VMSS) -> str:
    """Take a snapshot of each of its machines now, whether or not the schedule is enabled, and delete the oldest beyond
    retained_snapshots. The answer is the uuids of the snapshots, with commas between them.

    OPERATION_PARTIALLY_FAILED where one could not be taken, as the log says; OTHER_OPERATION_IN_PROGRESS while another
    client waits for such an answer.
    """
    with call.site.holds.holding("snapshot_now", alone=[call.pool], wait_seconds=0.0):
        with call.store.transaction():
            vmss.last_run_time = wall_clock()
        begun = _begin(call.site, vmss)
        wait(begun)
    if any(future.exception() is not None for future in begun):
        raise OperationPartiallyFailed("snapshot")
    return ",".join(future.result() for future in begun)


# --- by the clock


class Schedules:
    """Takes the snapshots that are due. `sweep` is to be called often; it begins what is due and waits for none."""

    def __init__(self, site: Site, clock: Clock = wall_clock, zone: tzinfo | None = None) -> None:
        self._site = site
        self._clock = clock
        self._zone = zone
        self._begun = False

    def sweep(self) -> None:
        """Begin what is due. What was due while the agent was not there is made up for within GRACE; what it was killed
        at deleting, it deletes.
        """
        metrics = self._site.observer.host.metrics
        if not self._begun and metrics is not None and metrics.live:
            for vdi in self._site.store.all(VDI):
                if vdi.doomed:
                    self._site.lanes.submit(vdi.SR.ref, partial(_delete, Call(self._site), vdi))
            self._begun = True
        for vmss in self._site.store.all(VMSS):
            now = self._clock()
            if not vmss.enabled or not vmss.VMs:
                continue
            due = schedules.due(vmss.frequency, schedules.whole(vmss.frequency, vmss.schedule), now, self._zone)
            if not max(vmss.last_run_time, vmss.armed) < due <= now:
                continue
            late = now - due > GRACE
            with self._site.store.transaction():
                if late:
                    vmss.armed = now
                else:
                    vmss.last_run_time = now
            if late:
                log.warning("%r was due at %s, when it could not be done; it is not made up for", vmss, due)
            else:
                _begin(self._site, vmss)


def _begin(site: Site, vmss: VMSS) -> list[Future[str]]:
    """Take a snapshot of each machine, in the machine's lane. The results are their uuids."""
    return [site.lanes.submit(vm.ref, partial(_keep, site, vmss, vm)) for vm in vmss.VMs]


def _keep(site: Site, vmss: VMSS, vm: VM) -> str:
    """Take a snapshot of one machine, and delete its oldest."""
    name = f"{vmss.name_label or 'snapshot'} {vm.name_label} {wall_clock():%Y-%m-%dT%H:%M:%SZ}"
    with_memory = vmss.type is VmssType.CHECKPOINT and vm.power_state is PowerState.RUNNING
    operation = VmOperation.CHECKPOINT if with_memory else VmOperation.SNAPSHOT
    try:
        with own_task(site, NAME) as task:
            call = Call(site, task=task)
            take = vm_copies.take_with_memory if with_memory else vm_copies.take
            with noted(site.store, vm, operation.value, task):
                require(vm, operation)
                made: VM = take(call, vm, name, scheduled=True)
            _prune(call, vm, vmss.retained_snapshots)
    except XenError as error:
        log.warning("%r has no snapshot of %r taken: %s", vmss, vm, error)
        raise
    return made.uuid


def _prune(call: Call, vm: VM, retained: int) -> None:
    """Delete the oldest of the snapshots that schedules took, with their disks, but for so many."""
    taken = sorted((each for each in vm.snapshots if each.is_vmss_snapshot), key=lambda each: each.snapshot_time)
    for old in taken[:-retained]:
        own = [vbd.VDI for vbd in old.VBDs if vbd.VDI is not None and vbd.type is VbdType.DISK]
        own = [vdi for vdi in own if vdi.is_a_snapshot]
        with call.store.transaction():
            for vdi in own:
                vdi.doomed = True
        machines.destroy(call, old)
        for vdi in own:
            call.site.lanes.submit(vdi.SR.ref, partial(_delete, call, vdi))


def _delete(call: Call, vdi: VDI) -> None:
    """Delete the disk of a snapshot that is gone, unless it has gone, too, or somebody has found a use for it. What
    cannot be deleted now stays, for people to see to.
    """
    if not call.store.is_live(vdi) or not vdi.doomed:
        return
    try:
        if not vdi.VBDs:
            disks.destroy(call, vdi)
    except XenError as error:
        log.warning("%r, a disk of a snapshot that is gone, cannot be deleted: %s", vdi, error)
    if call.store.is_live(vdi):
        with call.store.transaction():
            vdi.doomed = False

"""Schedules of snapshots: when they are due, that each is taken once, which are deleted. The clock is the test's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.classes import VDI, VM, VMSS, schedules
from agent.classes.enums import VmssFrequency
from agent.errors import OperationNotAllowed
from agent.messages import vmss as verbs
from agent.messages.vmss import Schedules
from agent.model.types import NULL
from tests.door import Block, Door, eventually
from tests.fake_machine import FakeMachine

BERLIN = ZoneInfo("Europe/Berlin")
FAR = datetime(2030, 6, 4, 12, 7, 30, tzinfo=UTC)
"""A Tuesday."""


# --- when


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("frequency", "schedule", "now", "due"),
    [
        ("hourly", {"min": "15"}, "2030-06-04T12:20", "2030-06-04T12:15"),
        ("hourly", {"min": "15"}, "2030-06-04T12:15", "2030-06-04T12:15"),
        ("hourly", {"min": "45"}, "2030-06-04T00:20", "2030-06-03T23:45"),
        ("daily", {"min": "30", "hour": "2"}, "2030-06-04T12:20", "2030-06-04T02:30"),
        ("daily", {"min": "30", "hour": "22"}, "2030-01-01T12:20", "2029-12-31T22:30"),
        ("weekly", {"min": "0", "hour": "9", "days": "Monday, friday"}, "2030-06-04T12:20", "2030-06-03T09:00"),
        ("weekly", {"min": "0", "hour": "9", "days": "Tuesday"}, "2030-06-04T08:59", "2030-05-28T09:00"),
        # Clocks go from 2:00 to 3:00 on the last Sunday of March, and from 3:00 back to 2:00 on that of October.
        ("daily", {"min": "30", "hour": "2"}, "2030-03-31T12:00", "2030-03-31T03:30"),
        ("daily", {"min": "30", "hour": "2"}, "2030-10-27T12:00", "2030-10-27T02:30"),
    ],
)
def test_a_schedule_goes_by_the_clock_on_the_wall(
    frequency: VmssFrequency, schedule: dict[str, str], now: str, due: str
) -> None:
    found = schedules.due(VmssFrequency(frequency), schedule, at(now).astimezone(UTC), BERLIN)
    assert found == at(due).astimezone(UTC)  # Python takes no time of an hour that comes twice for that in another zone


@pytest.mark.fault("F10")
def test_an_hour_that_comes_twice_has_one_daily_and_two_hourly_snapshots() -> None:
    daily, hourly = set(), set()
    for quarter in range(24 * 4):
        now = datetime(2030, 10, 26, 22, 0, tzinfo=UTC) + timedelta(minutes=15 * quarter)
        daily.add(schedules.due(VmssFrequency.DAILY, {"min": "30", "hour": "2"}, now, BERLIN))
        hourly.add(schedules.due(VmssFrequency.HOURLY, {"min": "30"}, now, BERLIN))
    assert len([due for due in daily if due > datetime(2030, 10, 26, 22, 0, tzinfo=UTC)]) == 1
    assert len([due for due in hourly if due > datetime(2030, 10, 26, 22, 0, tzinfo=UTC)]) == 24


@pytest.mark.fault("F10")
def test_a_time_that_the_clock_skips_is_not_due_before_it_has() -> None:
    schedule, now = {"min": "30", "hour": "2"}, at("2030-03-31T03:10").astimezone(UTC)
    assert schedules.due(VmssFrequency.DAILY, schedule, now, BERLIN) > now


def test_the_zone_is_the_host_s_own_unless_given() -> None:
    schedule = {"min": "0", "hour": "3"}
    here = schedules.due(VmssFrequency.DAILY, schedule, FAR).astimezone()
    assert (here.hour, here.minute) == (3, 0)


# --- by clients


def make(door: Door, vm: VM | None = None, **fields: object) -> VMSS:
    made: VMSS = door("VMSS.create", {"name_label": "nightly", "type": "snapshot", "frequency": "daily", **fields})
    if vm is not None:
        door("VM.set_snapshot_schedule", vm, made)
    return made


def test_machine_and_schedule_know_each_other(door: Door) -> None:
    vm = door.vm()
    vmss = make(door, vm)
    assert (vmss.VMs, vm.snapshot_schedule) == ((vm,), vmss)
    assert door.refused("VMSS.destroy", vmss) == ["VMSS_HAS_VM"]
    kept: VM = door("VM.snapshot", vm, "kept")
    assert kept.snapshot_schedule is None
    assert door.refused("VM.set_snapshot_schedule", kept, vmss)[0] == "OPERATION_NOT_ALLOWED"
    door("VM.set_snapshot_schedule", vm, NULL)
    door("VMSS.destroy", vmss)
    assert door("VMSS.get_all") == []


def test_a_schedule_has_the_keys_that_its_frequency_needs(door: Door) -> None:
    vmss = make(door, schedule={"hour": "4"})
    assert vmss.schedule == {"min": "0", "hour": "4"}
    door("VMSS.set_frequency", vmss, "weekly")
    door("VMSS.set_schedule", vmss, {"days": "Friday", "min": "45"})
    assert vmss.schedule == {"min": "45", "hour": "0", "days": "Friday"}
    assert door.refused("VMSS.add_to_schedule", vmss, "min", "0")[0] == "MAP_DUPLICATE_KEY"
    door("VMSS.remove_from_schedule", vmss, "min")
    assert door.refused("VMSS.add_to_schedule", vmss, "min", "60")[:2] == ["INVALID_VALUE", "schedule"]
    door("VMSS.add_to_schedule", vmss, "min", "30")
    door("VMSS.set_frequency", vmss, "hourly")
    assert vmss.schedule == {"min": "30"}
    for bad in ({"min": "-1"}, {"hour": "24"}, {"days": "Someday"}, {"days": ""}, {"minute": "1"}):
        assert door.refused("VMSS.set_schedule", vmss, bad)[:2] == ["INVALID_VALUE", "schedule"]
    assert door.refused("VMSS.set_retained_snapshots", vmss, "0")[:2] == ["INVALID_VALUE", "retained_snapshots"]
    assert door.refused("VMSS.set_type", vmss, "snapshot_with_quiesce")[0] == "VALUE_NOT_SUPPORTED"


def disk(door: Door, vm: VM) -> VDI:
    [sr] = door("SR.get_by_name_label", "local")
    vdi: VDI = door("VDI.create", {"SR": sr.ref, "virtual_size": 2**20, "type": "user"})
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0", "mode": "RW", "type": "Disk"})
    return vdi


def test_the_oldest_snapshots_of_a_schedule_go_with_their_disks_and_others_stay(door: Door) -> None:
    vm = door.vm()
    vdi = disk(door, vm)
    by_hand: VM = door("VM.snapshot", vm, "by hand")
    vmss = make(door, vm, retained_snapshots="2")
    made = [door("VMSS.snapshot_now", vmss) for _ in range(4)]
    door.idle()
    assert [snapshot.uuid for snapshot in vm.snapshots] == [by_hand.uuid, *made[2:]]
    assert [snapshot.is_vmss_snapshot for snapshot in vm.snapshots] == [False, True, True]
    assert len(vdi.snapshots) == 3
    assert vmss.last_run_time.year > 2000


@pytest.mark.fault("F1")
def test_a_kill_between_a_snapshot_and_its_disks_leaves_no_disk(
    machine: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(machine.ports(), tmp_path / "journal")
    vm = door.vm()
    vdi = disk(door, vm)
    by_hand: VM = door("VM.snapshot", vm, "by hand")
    vmss = make(door, vm, retained_snapshots="1")
    monkeypatch.setattr(verbs, "_delete", lambda call, vdi: None)  # the agent does not live to do it
    for _ in range(2):
        door("VMSS.snapshot_now", vmss)
    door.idle()
    left = len(door.store.known(VDI, vdi.uuid).snapshots)  # type: ignore[union-attr]
    door.close()
    monkeypatch.undo()
    door = Door(machine.ports(), tmp_path / "journal")
    door.idle()
    door("VM.destroy", door.store.known(VM, by_hand.uuid))
    Schedules(door.site).sweep()
    door.idle()
    kept = door.store.known(VDI, vdi.uuid)
    assert kept is not None
    # That of the schedule, and that of the snapshot by hand, which only people may delete.
    assert (left, len(kept.snapshots)) == (3, 2)
    door.close()


@pytest.mark.parametrize("type_", ["snapshot", "checkpoint"])
def test_a_snapshot_is_known_as_the_schedule_s_from_its_first_moment(door: Door, type_: str) -> None:
    vm = door.vm()
    door("VM.start", vm, False, False)
    vmss = make(door, vm, type=type_)
    told: list[bool] = []
    door.store.changes.watch(lambda *_: told.extend(each.is_vmss_snapshot for each in vm.snapshots))
    door("VMSS.snapshot_now", vmss)
    door.idle()
    assert set(told) == {True}


def test_a_checkpoint_is_one_of_machines_that_run(door: Door) -> None:
    running, halted = door.vm(name_label="running"), door.vm(name_label="halted")
    vmss = make(door, running, type="checkpoint")
    door("VM.set_snapshot_schedule", halted, vmss)
    door.idle()
    door("VM.start", running, False, False)
    door("VMSS.snapshot_now", vmss)
    assert [vm.snapshots[0].power_state for vm in (running, halted)] == ["Suspended", "Halted"]


def test_one_machine_that_fails_keeps_no_other_from_its_snapshot(door: Door, machine: FakeMachine) -> None:
    good, bad = door.vm(name_label="good"), door.vm(name_label="bad")
    disk(door, bad)
    vmss = make(door, good)
    door("VM.set_snapshot_schedule", bad, vmss)
    machine.storage.fail("clone_volume", OperationNotAllowed("broken"))
    assert door.refused("VMSS.snapshot_now", vmss) == ["OPERATION_PARTIALLY_FAILED", "snapshot"]
    assert (len(good.snapshots), len(bad.snapshots)) == (1, 0)


def test_one_client_at_a_time_waits_for_snapshots(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    disk(door, vm)
    vmss = make(door, vm)
    block = Block(machine.storage, "clone_volume")
    first = door.later("VMSS.snapshot_now", vmss)
    block.await_entry()
    assert list(vm.current_operations.values()) == ["snapshot"]
    assert door.refused("VMSS.snapshot_now", vmss)[0] == "OTHER_OPERATION_IN_PROGRESS"
    block.release()
    assert first.result(30.0).value == vm.snapshots[0].uuid


# --- by the clock


class Time:
    """The clock of a test, which stands still until it is set on."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time(FAR)
    monkeypatch.setattr(verbs, "wall_clock", clock)
    return clock


def sweep(door: Door, time: Time) -> None:
    Schedules(door.site, time, UTC).sweep()
    door.idle()


def test_a_snapshot_is_taken_when_it_is_due_and_once(door: Door, time: Time) -> None:
    vm = door.vm()
    vmss = make(door, vm, frequency="hourly", schedule={"min": "15"})
    counts = []
    for minutes in (0, 7, 8, 9, 30, 67, 68):  # it is 12:07 now
        time.now = FAR + timedelta(minutes=minutes)
        for _ in range(2):
            sweep(door, time)
        counts.append(len(vm.snapshots))
    assert counts == [0, 0, 1, 1, 1, 1, 2]
    assert vmss.last_run_time == time.now


def test_another_agent_takes_none_twice_and_makes_up_for_little(door: Door, time: Time) -> None:
    """Each sweep of these tests is that of an agent that has just begun: what it knows is in the store."""
    vm = door.vm()
    make(door, vm, frequency="hourly", schedule={"min": "15"})
    time.now = FAR.replace(minute=29)
    sweep(door, time)
    made_up_for = len(vm.snapshots)
    time.now = FAR.replace(hour=13, minute=31)
    sweep(door, time)
    sweep(door, time)
    late = len(vm.snapshots)
    time.now = FAR.replace(hour=14, minute=15)
    sweep(door, time)
    assert (made_up_for, late, len(vm.snapshots)) == (1, 1, 2)


def test_what_is_disabled_new_or_without_machines_takes_none(door: Door, time: Time) -> None:
    vm = door.vm()
    empty = make(door, frequency="hourly", schedule={"min": "0"})
    new = make(door, vm, frequency="hourly", schedule={"min": "0"})  # it was due seven minutes ago
    sweep(door, time)
    door("VMSS.set_enabled", new, False)
    time.now += timedelta(hours=1)
    sweep(door, time)
    door("VMSS.set_enabled", new, True)
    sweep(door, time)
    assert (vm.snapshots, empty.last_run_time.year, new.last_run_time.year) == ((), 1970, 1970)


def test_a_snapshot_that_fails_is_not_tried_again_until_the_next_is_due(
    door: Door, machine: FakeMachine, time: Time
) -> None:
    vm = door.vm()
    disk(door, vm)
    make(door, vm, frequency="hourly", schedule={"min": "15"})
    machine.storage.fail("clone_volume", OperationNotAllowed("broken"))
    time.now = FAR.replace(minute=15)
    sweep(door, time)
    machine.storage.plan.clear()
    sweep(door, time)
    failed = len(vm.snapshots)
    time.now += timedelta(hours=1)
    sweep(door, time)
    eventually(lambda: len(vm.snapshots) == 1, "the next")
    assert failed == 0

"""Machines that stand still, or sleep, for a snapshot when the agent is killed: the next agent lets them go on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.classes import VM
from agent.classes.enums import PowerState
from agent.errors import InternalError, XenError
from agent.messages import vm_stillness
from tests.agent.messages.test_schedules import disk
from tests.door import Block, Door
from tests.fake_machine import FakeMachine


@pytest.fixture
def door(machine: FakeMachine, tmp_path: Path) -> Iterator[Door]:
    (tmp_path / "first").mkdir()
    opened = Door(machine.ports(), tmp_path / "first" / "journal")
    yield opened
    opened.close()


def running(door: Door) -> VM:
    vm = door.vm()
    disk(door, vm)
    door.idle()
    door("VM.start", vm, False, False)
    return vm


@pytest.mark.fault("F1")
@pytest.mark.parametrize(
    ("verb", "state"), [("snapshot", PowerState.PAUSED), ("checkpoint", PowerState.SUSPENDED)], ids=str
)
def test_a_machine_goes_on_after_a_kill_in_the_middle_of_its_snapshot(
    door: Door, machine: FakeMachine, tmp_path: Path, verb: str, state: PowerState
) -> None:
    vm = running(door)
    block = Block(machine.storage, "clone_volume")
    taken = door.later(f"VM.{verb}", vm, "kept")
    block.await_entry()
    # What the disk has now is all that an agent knows that comes after a kill.
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    machine.storage.plan.clear()
    after = Door(machine.ports(), tmp_path / "second" / "journal")
    try:
        after.idle()
        left = after.store.known(VM, vm.uuid)
        assert left is not None
        assert (left.power_state, left.held_still) == (state, True)
        vm_stillness.recover(after.site)
        assert (left.power_state, left.held_still) == (PowerState.RUNNING, False)
        after("VM.pause", left)
        vm_stillness.recover(after.site)
        assert left.power_state is PowerState.PAUSED  # by a client, and not for a snapshot
    finally:
        block.release()
        taken.exception(30)
        after.close()


def test_a_snapshot_under_way_is_left_to_whoever_takes_it(door: Door, machine: FakeMachine) -> None:
    vm = running(door)
    block = Block(machine.storage, "clone_volume")
    taken = door.later("VM.snapshot", vm, "kept")
    block.await_entry()
    vm_stillness.recover(door.site)
    assert (vm.power_state, vm.held_still) == (PowerState.PAUSED, True)
    block.release()
    taken.result(30)
    assert (vm.power_state, vm.held_still) == (PowerState.RUNNING, False)


# --- machines that do not go on


LEFT = [("snapshot", "unpause", PowerState.PAUSED), ("checkpoint", "resume", PowerState.SUSPENDED)]


@pytest.mark.parametrize(("verb", "call", "state"), LEFT, ids=["snapshot", "checkpoint"])
def test_a_machine_that_does_not_go_on_after_a_snapshot_does_when_it_can(
    door: Door, machine: FakeMachine, verb: str, call: str, state: PowerState
) -> None:
    vm = running(door)
    machine.domains.fail(call, InternalError("not now"))
    door.refused(f"VM.{verb}", vm, "kept")
    assert (vm.power_state, vm.held_still) == (state, True)
    with pytest.raises(XenError):
        vm_stillness.recover(door.site)
    assert vm.held_still
    del machine.domains.plan[call]
    vm_stillness.recover(door.site)
    assert (vm.power_state, vm.held_still) == (PowerState.RUNNING, False)


def test_one_that_never_goes_on_is_left_to_people(door: Door, machine: FakeMachine) -> None:
    vm = running(door)
    machine.domains.fail("unpause", InternalError("never"))
    door.refused("VM.snapshot", vm, "kept")
    failed = Counter[str]()
    for _ in range(vm_stillness.TRIES - 1):
        with pytest.raises(XenError):
            vm_stillness.recover(door.site, failed)
    vm_stillness.recover(door.site, failed)
    assert (vm.power_state, vm.held_still, +failed) == (PowerState.PAUSED, False, Counter())


@pytest.mark.parametrize(("verb", "call", "state"), LEFT, ids=["snapshot", "checkpoint"])
def test_what_a_client_did_with_it_since_stays(
    door: Door, machine: FakeMachine, verb: str, call: str, state: PowerState
) -> None:
    vm = running(door)
    machine.domains.fail(call, InternalError("not now"))
    door.refused(f"VM.{verb}", vm, "kept")
    del machine.domains.plan[call]
    if state is PowerState.PAUSED:
        door("VM.unpause", vm)
        door("VM.pause", vm)
    else:
        door("VM.resume", vm, True, False)
    vm_stillness.recover(door.site)
    assert (vm.power_state, vm.held_still) == (PowerState.PAUSED, False)

"""The host's messages and power, and the messages of debug."""

from __future__ import annotations

import time

import pytest

from agent.errors import OperationNotAllowed
from agent.roles import Role
from tests.door import Door
from tests.fake_machine import FakeMachine


def test_the_hypervisors_messages_are_read_and_cleared(door: Door) -> None:
    host = door.observer.host
    assert door("host.dmesg", host) == "(XEN) it was booted"
    door("host.send_debug_keys", host, "h")
    assert door("host.dmesg", host).endswith("h pressed")
    assert door("host.dmesg_clear", host).endswith("h pressed")
    assert door("host.dmesg", host) == ""
    assert door("host.get_log", host) == "a line\nanother"


@pytest.mark.parametrize("keys", ["", "x" * 65, "ü", "a\nb"])
def test_what_are_no_keys_is_refused(door: Door, machine: FakeMachine, keys: str) -> None:
    assert door.refused("host.send_debug_keys", door.observer.host, keys)[:2] == ["INVALID_VALUE", "keys"]
    assert machine.node.control.calls.count("send_debug_keys") == 0


@pytest.mark.parametrize("keys", ["R", "C", "hR"])
def test_keys_that_end_the_host_are_refused(door: Door, machine: FakeMachine, keys: str) -> None:
    assert door.refused("host.send_debug_keys", door.observer.host, keys)[:2] == ["VALUE_NOT_SUPPORTED", "keys"]
    assert machine.node.control.calls.count("send_debug_keys") == 0


def test_what_cannot_be_read_is_told(door: Door, machine: FakeMachine) -> None:
    machine.node.control.fail("dmesg", OperationNotAllowed("no xl"))
    assert door.refused("host.dmesg", door.observer.host) == ["OPERATION_NOT_ALLOWED", "no xl"]


@pytest.mark.parametrize("verb", ["reboot", "shutdown"])
def test_a_host_goes_off_only_when_it_is_disabled_and_runs_nothing(door: Door, machine: FakeMachine, verb: str) -> None:
    host = door.observer.host
    vm = door.vm()
    door("VM.start", vm, False)
    assert door.refused(f"host.{verb}", host) == ["HOST_NOT_DISABLED"]
    assert verb not in host.allowed_operations
    door("host.disable", host)
    assert door.refused(f"host.{verb}", host) == ["HOST_IN_USE", host.ref, "VM", vm.ref]
    assert host.allowed_operations == ()
    assert machine.node.control.calls.count(verb) == 0
    door("VM.hard_shutdown", vm)
    assert list(host.allowed_operations) == ["reboot", "shutdown"]
    door(f"host.{verb}", host)
    assert machine.node.control.calls.count(verb) == 1


@pytest.mark.parametrize("message", ["reboot", "shutdown", "dmesg", "dmesg_clear", "get_log", "send_debug_keys"])
def test_who_looks_after_machines_has_no_hold_of_the_host(door: Door, message: str) -> None:
    session = door.log_in(Role.VM_POWER_ADMIN)
    values = ("h",) if message == "send_debug_keys" else ()
    refused = door.refused(f"host.{message}", door.observer.host, *values, session=session)
    assert refused[0] == "RBAC_PERMISSION_DENIED"


# --- debug


def test_objects_that_are_nothing_come_and_go(door: Door) -> None:
    made = door("debug.create", {})
    assert door("debug.get_all") == [made]
    assert door("debug.get_by_uuid", made.uuid) is made
    assert door("debug.get_record", made) is made
    door("debug.destroy", made)
    assert door.refused("debug.get_record", made)[0] == "HANDLE_INVALID"


def test_there_are_only_so_many_of_them(door: Door) -> None:
    for _ in range(100):
        door("debug.create", {})
    assert door.refused("debug.create", {})[0] == "OPERATION_NOT_ALLOWED"


def test_a_failure_can_be_asked_for(door: Door) -> None:
    assert door.refused("debug.return_failure") == ["OPERATION_NOT_ALLOWED", "debug.return_failure always fails"]


def test_an_answer_can_be_asked_to_take_its_time(door: Door) -> None:
    begun = time.monotonic()
    door("debug.wait", 0.2)
    assert time.monotonic() - begun >= 0.2
    for seconds in (-1, 3601, "1e300"):
        assert door.refused("debug.wait", seconds)[:2] == ["INVALID_VALUE", "wait_time"]


def test_a_machine_is_not_moved_to_another_host(door: Door) -> None:
    vm = door.vm()
    assert door.refused("VM.migrate", vm, "other", True, {})[0] == "VM_BAD_POWER_STATE"
    door("VM.start", vm, False)
    assert door.refused("VM.migrate", vm, "other", True, {})[0] == "OPERATION_NOT_ALLOWED"

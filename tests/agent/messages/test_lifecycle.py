"""The life of a machine: every state with every verb. What the table allows works, all else is refused and changes
nothing, and allowed_operations says which is which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.classes import VM, Host
from agent.classes.enums import PowerState, VmOperation
from agent.classes.lifecycle import LIFE, OF_CONTROL_DOMAIN, OF_SNAPSHOTS, OF_TEMPLATES, STATES, small
from agent.errors import HostOffline, ValueNotSupported, VMFailedShutdownAcknowledgment, XenError
from agent.messages import vm as vm_messages
from agent.ports import SeenDomain
from tests.door import WAIT_SECONDS, Block, Door, sealed
from tests.fake_machine import FakeMachine

MIB = 2**20
DOM0 = "00000000-0000-0000-0000-000000000000"
H, R, P, S = STATES


def host(vm: VM) -> str:
    """The reference of the one host, from the store that the machine is in."""
    store = vm._store
    assert store is not None
    return store.only(Host).ref


PARAMS: dict[str, Callable[[VM], list[Any]]] = {
    "start": lambda vm: [False],
    "start_on": lambda vm: [host(vm), False],
    "resume": lambda vm: [False],
    "resume_on": lambda vm: [host(vm), False],
    "clone": lambda vm: ["copy"],
    "copy": lambda vm: ["copy", "OpaqueRef:NULL"],
    "snapshot": lambda vm: ["copy"],
    "checkpoint": lambda vm: ["copy"],
    "send_sysrq": lambda vm: ["h"],
    "send_trigger": lambda vm: ["nmi"],
    "set_VCPUs_number_live": lambda vm: [1],
    "add_to_VCPUs_params_live": lambda vm: ["weight", "512"],
    "set_memory_dynamic_range": lambda vm: [256 * MIB, 512 * MIB],
    "set_memory_dynamic_min": lambda vm: [256 * MIB],
    "set_memory_dynamic_max": lambda vm: [512 * MIB],
    "set_memory_dynamic_min_live": lambda vm: [256 * MIB],
    "set_memory_dynamic_max_live": lambda vm: [512 * MIB],
    "set_memory_target_live": lambda vm: [512 * MIB],
    "set_memory_static_max": lambda vm: [512 * MIB],
    "set_memory_static_min": lambda vm: [0],
    "set_memory_static_range": lambda vm: [0, 512 * MIB],
    "set_memory_limits": lambda vm: [0, 512 * MIB, 512 * MIB, 512 * MIB],
    "set_memory": lambda vm: [512 * MIB],
    "set_VCPUs_max": lambda vm: [2],
    "set_VCPUs_at_startup": lambda vm: [1],
    "set_is_a_template": lambda vm: [True],
}
"""What each verb is given beside the machine."""


def params_of(verb: str, vm: VM) -> list[Any]:
    """What a verb is given beside the machine."""
    return PARAMS[verb](vm) if verb in PARAMS else []


UNDECLARED = {
    "get_boot_record": VmOperation.GET_BOOT_RECORD,
    "set_is_a_template": VmOperation.MAKE_INTO_TEMPLATE,
    "set_memory_static_max": VmOperation.CHANGING_STATIC_RANGE,
    "set_memory_static_min": VmOperation.CHANGING_STATIC_RANGE,
    "set_memory_static_range": VmOperation.CHANGING_STATIC_RANGE,
    "set_memory_limits": VmOperation.CHANGING_MEMORY_LIMITS,
    "set_memory": VmOperation.CHANGING_MEMORY_LIMITS,
    "set_VCPUs_max": VmOperation.CHANGING_VCPUS,
    "set_VCPUs_at_startup": VmOperation.CHANGING_VCPUS,
}
"""Messages that are at once, and so declare no operation, and the operation they need all the same."""

VERBS = {
    message.name: VmOperation(message.operation)
    for message in sealed().messages.values()
    if message.class_name == "VM" and message.operation
} | UNDECLARED

OVER_HTTP = {VmOperation.EXPORT}
"""Operations that no message does: tests/front_door tries them."""

AFTER = {
    "start": R,
    "start_on": R,
    "pause": P,
    "unpause": R,
    "clean_shutdown": H,
    "hard_shutdown": H,
    "shutdown": H,
    "clean_reboot": R,
    "hard_reboot": R,
    "suspend": S,
    "resume": R,
    "resume_on": R,
}
"""Where a verb leads; the others leave the state as it is."""

REFUSED_BY_THE_FAKE = {"send_sysrq": "VALUE_NOT_SUPPORTED"}
"""Allowed by the table and refused by the machine below, as libvirt's binding would."""


def bring(door: Door, vm: VM, state: PowerState) -> None:
    """Lead a halted machine to a state."""
    if state is not H:
        door("VM.start", vm, state is P)
    if state is S:
        door("VM.suspend", vm)
    door.idle()
    assert vm.power_state is state


def values(vm: VM) -> dict[str, Any]:
    return dict(vm.__dict__)


def test_every_operation_of_the_table_has_a_verb() -> None:
    assert set(VERBS.values()) | OVER_HTTP == set(LIFE)


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_works_where_the_table_allows_it_and_changes_nothing_elsewhere(
    door: Door, machine: FakeMachine, verb: str, state: PowerState
) -> None:
    operation = VERBS[verb]
    vm = door.vm(VCPUs_max=2)
    bring(door, vm, state)
    params = params_of(verb, vm)
    if operation is VmOperation.REVERT:
        assert operation not in vm.allowed_operations
        assert door.refused("VM.revert", vm) == ["OPERATION_NOT_ALLOWED", "revert is for snapshots only"]
        return
    allowed = state in LIFE[operation]
    assert (operation in vm.allowed_operations) == allowed
    before, below = values(vm), dict(machine.domains.known)
    if not allowed:
        wanted = ", ".join(small(each) for each in LIFE[operation])
        assert door.refused(f"VM.{verb}", vm, *params) == ["VM_BAD_POWER_STATE", vm.ref, wanted, small(state)]
        door.idle()
        assert (values(vm), machine.domains.known) == (before, below)
        return
    if verb in REFUSED_BY_THE_FAKE:
        assert door.refused(f"VM.{verb}", vm, *params)[0] == REFUSED_BY_THE_FAKE[verb]
        return
    if operation is VmOperation.POWER_STATE_RESET:
        assert door.refused(f"VM.{verb}", vm)[0] == "OPERATION_NOT_ALLOWED"  # the state is true
        machine.domains.known.pop(vm.uuid)
        door(f"VM.{verb}", vm)
        assert vm.power_state is H
        return
    door(f"VM.{verb}", vm, *params)
    door.idle()
    if operation is VmOperation.DESTROY:
        assert not door.store.is_live(vm)
        assert vm.uuid not in machine.domains.known
        return
    assert vm.power_state is AFTER.get(verb, state)
    assert vm.current_operations == {}


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("verb", ["start", "start_on", "resume", "resume_on"])
def test_a_machine_comes_up_paused_where_that_is_asked_for(door: Door, verb: str, paused: bool) -> None:
    vm = door.vm()
    if verb.startswith("resume"):
        bring(door, vm, S)
    on = [host(vm)] if verb.endswith("_on") else []
    door(f"VM.{verb}", vm, *on, paused)
    assert vm.power_state is (P if paused else R)
    assert vm.resident_on is door.observer.host
    assert vm.domid > 0


@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_operations_that_assert_operation_valid_lets_pass_are_the_allowed_ones(
    door: Door, state: PowerState
) -> None:
    vm = door.vm()
    bring(door, vm, state)
    passed = []
    for operation in VmOperation:
        try:
            door("VM.assert_operation_valid", vm, operation.value)
        except XenError:
            continue
        passed.append(operation)
    assert set(passed) == set(vm.allowed_operations)


# --- templates, snapshots, the control domain


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_template_does_only_what_templates_do(door: Door, verb: str) -> None:
    operation = VERBS[verb]
    vm = door.vm(is_a_template=True)
    allowed = operation in OF_TEMPLATES
    assert (operation in vm.allowed_operations) == allowed
    if not allowed and verb != "set_is_a_template":
        assert door.refused(f"VM.{verb}", vm, *params_of(verb, vm)) == ["VM_IS_TEMPLATE", vm.ref]
    elif allowed:
        door(f"VM.{verb}", vm, *params_of(verb, vm))


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_snapshot_does_only_what_snapshots_do(door: Door, verb: str) -> None:
    operation = VERBS[verb]
    vm: VM = door("VM.snapshot", door.vm(), "kept")
    allowed = operation in OF_SNAPSHOTS
    assert (operation in vm.allowed_operations) == allowed
    if not allowed and verb != "set_is_a_template":
        assert door.refused(f"VM.{verb}", vm, *params_of(verb, vm)) == [
            "VM_IS_SNAPSHOT",
            vm.ref,
            operation.value,
        ]
    elif allowed:
        door(f"VM.{verb}", vm, *params_of(verb, vm))


@pytest.fixture
def dom0(machine: FakeMachine) -> str:
    """The control domain, there before the agent starts."""
    machine.domains.known[DOM0] = SeenDomain(
        DOM0, "Domain-0", R, domid=0, is_control_domain=True, memory_max=1024 * MIB, memory=1024 * MIB
    )
    return DOM0


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_control_domain_is_done_no_harm(dom0: str, door: Door, machine: FakeMachine, verb: str) -> None:
    operation = VERBS[verb]
    vm = door.store.by_uuid(VM, dom0)
    allowed = operation in OF_CONTROL_DOMAIN and R in LIFE[operation]
    assert (operation in vm.allowed_operations) == allowed
    if not allowed:
        below = dict(machine.domains.known)
        code, reason = door.refused(f"VM.{verb}", vm, *params_of(verb, vm))
        assert code == "OPERATION_NOT_ALLOWED"
        assert "control domain" in reason
        assert machine.domains.known == below
    assert vm.power_state is R


# --- blocked and current operations


@pytest.mark.parametrize("operation", sorted(set(LIFE) - OVER_HTTP), ids=str)
def test_a_blocked_operation_is_refused_with_its_reason(door: Door, operation: VmOperation) -> None:
    if operation is VmOperation.REVERT:
        vm: VM = door("VM.snapshot", door.vm(), "kept")
    else:
        vm = door.vm()
        bring(door, vm, LIFE[operation][0])
    assert operation in vm.allowed_operations
    door("VM.add_to_blocked_operations", vm, operation.value, "BECAUSE")
    assert operation not in vm.allowed_operations
    verb = next(verb for verb in sorted(VERBS) if VERBS[verb] is operation)
    params = params_of(verb, vm)
    assert door.refused(f"VM.{verb}", vm, *params) == ["OPERATION_BLOCKED", vm.ref, "BECAUSE"]
    door("VM.remove_from_blocked_operations", vm, operation.value)
    assert operation in vm.allowed_operations


def test_a_busy_machine_allows_only_what_can_be_begun_meanwhile(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    bring(door, vm, R)
    block = Block(machine.domains, "suspend")
    suspending = door.later("VM.suspend", vm)
    block.await_entry()
    assert list(vm.current_operations.values()) == [VmOperation.SUSPEND]
    assert set(vm.allowed_operations) == {
        VmOperation.GET_BOOT_RECORD,
        VmOperation.HARD_SHUTDOWN,
        VmOperation.POWER_STATE_RESET,
    }
    block.release()
    suspending.result(WAIT_SECONDS)
    assert vm.current_operations == {}


@pytest.mark.parametrize(
    ("verb", "method", "state"),
    [
        ("start", "start", H),
        ("pause", "pause", R),
        ("unpause", "unpause", P),
        ("hard_shutdown", "destroy", R),
        ("hard_reboot", "destroy", R),
        ("hard_reboot", "start", R),
        ("suspend", "suspend", R),
        ("resume", "resume", S),
        ("clean_shutdown", "shutdown", R),
        ("clean_reboot", "reboot", R),
        ("destroy", "undefine", H),
        ("send_trigger", "send_trigger", R),
        ("set_VCPUs_number_live", "set_vcpus", R),
        ("add_to_VCPUs_params_live", "set_scheduler", R),
        ("set_memory_target_live", "set_memory", R),
    ],
)
def test_a_verb_whose_port_fails_tells_it_and_shows_what_is(
    door: Door, machine: FakeMachine, verb: str, method: str, state: PowerState
) -> None:
    vm = door.vm(VCPUs_max=2, memory_static_max=1024 * MIB)
    bring(door, vm, state)
    limits = vm.memory_dynamic_min, vm.memory_dynamic_max, dict(vm.VCPUs_params)
    machine.domains.fail(method, HostOffline(door.observer.host))
    params = [768 * MIB] if verb == "set_memory_target_live" else params_of(verb, vm)
    assert door.refused(f"VM.{verb}", vm, *params)[0] == "HOST_OFFLINE"
    assert door.store.is_live(vm)
    assert vm.power_state is machine.domains.known[vm.uuid].power_state
    assert (vm.memory_dynamic_min, vm.memory_dynamic_max, dict(vm.VCPUs_params)) == limits
    assert vm.current_operations == {}


def test_the_plug_of_a_guest_that_does_not_react_is_pulled_only_where_that_was_asked_for(
    door: Door, machine: FakeMachine
) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    machine.domains.fail("shutdown", VMFailedShutdownAcknowledgment(vm))
    assert door.refused("VM.clean_shutdown", vm) == ["VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT", vm.ref]
    assert vm.power_state is PowerState.RUNNING
    door("VM.shutdown", vm)
    assert door("VM.get_power_state", vm) == "Halted"


def test_who_waits_for_a_reboot_is_told_that_the_machine_is_off(
    door: Door, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_messages, "OFF_SECONDS", 0.05)
    vm = door.vm()
    door("VM.start", vm, False)
    monkeypatch.setattr(machine.domains, "reboot", machine.domains.destroy)
    assert door.refused("VM.clean_reboot", vm) == ["VM_BAD_POWER_STATE", vm.ref, "running", "halted"]
    assert door("VM.get_power_state", vm) == "Halted"


@pytest.mark.parametrize("verb", ["clean_shutdown", "shutdown"])
def test_who_waits_for_a_shutdown_is_told_that_the_machine_was_started_again(
    door: Door, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    monkeypatch.setattr(machine.domains, "shutdown", machine.domains.reboot)
    if verb == "clean_shutdown":
        assert door.refused("VM.clean_shutdown", vm)[0] == "OPERATION_NOT_ALLOWED"
        assert vm.power_state is PowerState.RUNNING
    else:
        door("VM.shutdown", vm)  # which pulls the plug of a guest that does not go
        assert vm.power_state is PowerState.HALTED


def test_a_guest_that_has_rebooted_unnoticed_is_shut_down_all_the_same(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    machine.domains.reboot(vm)
    door("VM.clean_shutdown", vm)
    assert vm.power_state is PowerState.HALTED


def test_a_disabled_host_starts_and_resumes_nothing(door: Door) -> None:
    halted, suspended = door.vm(), door.vm()
    bring(door, suspended, S)
    here = door.observer.host
    door("host.disable", here)
    assert door.refused("VM.start", halted, False) == ["HOST_DISABLED", here.ref]
    assert door.refused("VM.resume", suspended, False) == ["HOST_DISABLED", here.ref]
    assert door("VM.get_possible_hosts", halted) == ()
    door("host.enable", here)
    door("VM.start", halted, False)
    door("VM.resume", suspended, False)


def test_a_running_machine_is_kept_to_processors(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    assert door.refused("VM.add_to_VCPUs_params_live", vm, "mask", "0")[0] == "VM_BAD_POWER_STATE"
    door("VM.start", vm, False)
    door("VM.add_to_VCPUs_params_live", vm, "mask", "0,2-3")
    assert (machine.domains.pinned, vm.VCPUs_params) == ({vm.uuid: "0,2-3"}, {"mask": "0,2-3"})
    machine.domains.fail("pin_vcpus", ValueNotSupported("VCPUs_params:mask", "9", "none such"))
    assert door.refused("VM.add_to_VCPUs_params_live", vm, "mask", "9")[0] == "VALUE_NOT_SUPPORTED"
    assert vm.VCPUs_params == {"mask": "0,2-3"}
    assert door.refused("VM.add_to_VCPUs_params_live", vm, "colour", "9")[0] == "VALUE_NOT_SUPPORTED"

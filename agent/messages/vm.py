"""The life of a machine: create, start, pause, suspend, shut down, destroy. Which state allows what is in a table
(``agent.classes.lifecycle``); copies and snapshots are in ``vm_copies``, memory and processors in ``vm_memory``.

Over the usual size: the verbs are a few lines each, and share how power is changed and undone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic, sleep
from typing import Annotated, Any

from agent.call import Call
from agent.classes import VM, Host
from agent.classes.devices import CARDS
from agent.classes.enums import DomainType, PowerState, VmOperation
from agent.classes.lifecycle import LIFE, kind_of, require, small
from agent.errors import (
    HostDisabled,
    InternalError,
    OperationNotAllowed,
    PoolBadState,
    VMBadPowerState,
    VMFailedShutdownAcknowledgment,
    VMHVMRequired,
    XenError,
)
from agent.messages import usb
from agent.messages.dpci import require_device_free, require_spare
from agent.messages.vbd import disks_held, free_places, require_vdi_free, take_from_others
from agent.messages.vif import acting, require_running
from agent.messages.vm_kernels import FIELDS, kept
from agent.messages.vm_memory import check_limits, check_vcpus
from agent.messages.xs_policy import require_module
from agent.model.messages import Kind, construct, message
from agent.model.types import Record
from agent.observer import cpu_pools, loops
from agent.observer.domains import make_parts
from agent.roles import Role

log = logging.getLogger(__name__)

CLEAN_SECONDS = 1200.0
"""How long a guest may take to shut down or reboot when it was asked to; xapi's limit."""
CLEAN_BEFORE_HARD_SECONDS = 60.0
"""How long VM.shutdown waits for the guest before it pulls the plug."""
OFF_SECONDS = 10.0
"""A machine that is off for so long does not come back by itself: what reboots is not told to be off."""
OPERATOR = Role.VM_OPERATOR
AS_A_MACHINE: Mapping[str, Any] = {
    "is_a_template": False,
    "is_a_snapshot": False,
    "is_default_template": False,
    "power_state": PowerState.HALTED,
    "ours": True,
}
"""What becomes of the fields of a template that is made a machine."""


# --- to be and not to be


@message(VM)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("VM")]) -> VM:
    """Make a machine, halted, from a record of its RW and RO/constructor fields. Disks and cards come afterwards.

    VALUE_NOT_SUPPORTED for what this hypervisor could not do, MEMORY_CONSTRAINT_VIOLATION for limits out of order.
    """
    vm = construct(VM, args)
    for field in FIELDS:
        setattr(vm, field, kept(call, field, vm.__dict__[field]))
    check_limits(vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max)
    check_vcpus(vm.VCPUs_at_startup, vm.VCPUs_max)
    vm.ours = True
    call.domains.check(vm)
    with call.store.transaction():
        call.store.add(vm)
        make_parts(call.store, vm)
    if not vm.is_a_template:
        define_or_undo(call, vm)
    return vm


def define_or_undo(call: Call, vm: VM) -> None:
    """Define a machine that was just made; if the hypervisor refuses it, it was never made."""
    try:
        call.domains.define(vm)
    except XenError:
        with suppress(XenError):  # the first error is the one to tell, and it may have been defined
            call.domains.undefine(vm)
        with call.store.transaction():
            take_out(call, vm)
        raise


def take_out(call: Call, vm: VM) -> None:
    """Take a machine out of the store with the devices that the agent made for it. In a transaction."""
    for vbd in vm.VBDs:
        call.store.destroy(vbd)
    for vif in vm.VIFs:
        call.store.destroy(vif)
    for part in (*vm.DPCIs, *vm.VUSBs, *vm.VTPMs):
        call.store.destroy(part)
    call.store.destroy(vm)


def drop_memory(call: Call, snapshot: str) -> None:
    """Delete the memory of what is no snapshot any more. Where that fails, the next start of the agent does it."""
    try:
        call.domains.drop_memory(snapshot)
    except XenError as error:
        log.warning("the memory of %s, which is a snapshot no more, cannot be deleted yet: %s", snapshot, error)


@message(VM, operation=VmOperation.DESTROY.value)
def destroy(call: Call, self: VM) -> None:
    """Destroy a halted machine. It fails while a VBD or VIF belongs to it: destroy those first.

    The devices of a snapshot, which the agent made, go with it; disks stay in every case. ``[api] destroy = "xapi"``
    lets the devices of every machine go with it.
    """
    require(self, VmOperation.DESTROY)
    if not self.is_a_snapshot:
        call.store.assert_unreferenced(self)
    call.domains.undefine(self)
    with call.store.transaction():
        if self.is_a_snapshot:
            take_out(call, self)
        else:
            call.store.destroy(self)
    drop_memory(call, self.uuid)


@message(VM)
def set_is_a_template(call: Call, self: VM, value: bool) -> None:
    """Make a halted machine a template, or a template a machine."""
    if value == self.is_a_template:
        return
    if value:
        require(self, VmOperation.MAKE_INTO_TEMPLATE)
        call.domains.undefine(self)
        with call.store.transaction():
            self.is_a_template = True
        return
    was = {name: self.__dict__[name] for name in AS_A_MACHINE}
    with call.store.transaction():
        _assign(self, AS_A_MACHINE)
    try:
        call.domains.define(self)
    except XenError:  # what the hypervisor refuses stays a template
        with suppress(XenError):  # the first error is the one to tell
            call.domains.undefine(self)
        with call.store.transaction():
            _assign(self, was)
        raise
    drop_memory(call, self.uuid)


def _assign(vm: VM, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(vm, name, value)


# --- power


@message(VM, role=OPERATOR, operation=VmOperation.START.value)
def start(call: Call, vm: VM, start_paused: bool, force: bool = False) -> None:
    """Start a halted machine; with `start_paused` its processors wait for unpause.

    `force` is not used: there is no check that it could override. HOST_DISABLED, VDI_IN_USE where another machine has
    one of its disks, DEVICE_ALREADY_ATTACHED where one has a PCI device that it was given, VALUE_NOT_SUPPORTED for one
    with a virtual TPM where the hypervisor has none, VM_HVM_REQUIRED where the processors lack what it needs,
    POOL_BAD_STATE where the CPU pool that it names is not activated.
    """
    _start(call, vm, start_paused, VmOperation.START)


@message(VM, role=Role.VM_POWER_ADMIN, operation=VmOperation.START_ON.value)
def start_on(call: Call, vm: VM, host: Host, start_paused: bool, force: bool = False) -> None:
    """Start a halted machine on the given host, of which there is one."""
    _start(call, vm, start_paused, VmOperation.START_ON)


def _start(call: Call, vm: VM, paused: bool, operation: VmOperation) -> None:
    _require_startable(call, vm, operation)
    with disks_held(call, vm.VBDs, operation.value), acting(call, vm):
        _require_devices(call, vm)  # another machine may have been started with one while we waited for them
        _note_ours(call, vm)
        call.domains.start(vm, paused)
    take_from_others(call, vm.VBDs)


def _note_ours(call: Call, vm: VM) -> None:
    """Note that it is the agent that starts it. Before, for whoever ends the agent in between: a look at what is off
    takes it back.
    """
    _note(call, vm, started_here=True)


def _note(call: Call, vm: VM, *, started_here: bool) -> None:
    """Note that a client asks for a start; where the journal cannot take it, it is done all the same."""
    try:
        with call.store.transaction():
            vm.started_here = started_here
            vm.held_still = False
            loops.note_asked(vm)
    except InternalError as error:
        log.warning("that a client asked for a start of %r cannot be kept now: %s", vm, error)


def _require_startable(call: Call, vm: VM, operation: VmOperation) -> None:
    """Fail unless the machine could be started now, as far as the agent can tell."""
    require(vm, operation)
    _require_host(call)
    _require_processors(call, vm)
    if vm.wanted_label:
        require_module(call)
    _require_devices(call, vm)


def _require_devices(call: Call, vm: VM) -> None:
    """Refuse a start with a disk or device that another machine, or the host, has."""
    for vbd in vm.VBDs:
        require_vdi_free(vbd)
    for dpci in vm.DPCIs:
        require_spare(dpci.PPCI)
        require_device_free(call, dpci)
    usb.choose(call.store, vm)


def _require_host(call: Call) -> None:
    if not call.host.enabled:
        raise HostDisabled(call.host)


def _require_processors(call: Call, vm: VM) -> None:
    """VM_HVM_REQUIRED where the processors cannot do what the guest needs; POOL_BAD_STATE unless its CPU pool is
    activated.
    """
    capabilities = call.host.capabilities
    fully = kind_of(vm) in (DomainType.HVM, DomainType.PVH)
    if fully and capabilities and not any(each.startswith("hvm") for each in capabilities):
        raise VMHVMRequired(vm)
    if vm.pool_name and not any(pool.name_label == vm.pool_name for pool in cpu_pools.activated(call.store)):
        raise PoolBadState("deactivated")


@message(VM, role=OPERATOR, operation=VmOperation.PAUSE.value)
def pause(call: Call, vm: VM) -> None:
    """Stop the processors of a running machine; its memory stays."""
    require(vm, VmOperation.PAUSE)
    with acting(call, vm):
        call.domains.pause(vm)


@message(VM, role=OPERATOR, operation=VmOperation.UNPAUSE.value)
def unpause(call: Call, vm: VM) -> None:
    """Let the processors of a paused machine go on."""
    require(vm, VmOperation.UNPAUSE)
    with acting(call, vm):
        call.domains.unpause(vm)


@message(VM, role=OPERATOR, operation=VmOperation.CLEAN_SHUTDOWN.value)
def clean_shutdown(call: Call, vm: VM) -> None:
    """Ask the guest to shut down, and return when it has. A guest may take its time: see shutdown.

    VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT where it does not react.
    """
    require(vm, VmOperation.CLEAN_SHUTDOWN)
    before = _domid_now(call, vm)
    with acting(call, vm):
        call.domains.shutdown(vm)
        _await(call, vm, lambda: _is_off(vm, before), "shut down", CLEAN_SECONDS)


@message(VM, role=OPERATOR, kind=Kind.BESIDE, operation=VmOperation.HARD_SHUTDOWN.value)
def hard_shutdown(call: Call, vm: VM) -> None:
    """Pull the plug. A suspended machine loses what was saved. It does not wait for other verbs that are under way."""
    require(vm, VmOperation.HARD_SHUTDOWN)
    with acting(call, vm):
        call.domains.destroy(vm)


@message(VM, role=OPERATOR, operation=VmOperation.SHUTDOWN.value)
def shutdown(call: Call, vm: VM) -> None:
    """Ask the guest to shut down; if it has not within a minute, or cannot be asked, pull the plug."""
    require(vm, VmOperation.SHUTDOWN)
    if vm.power_state is PowerState.RUNNING and shut_down_within(call, vm, CLEAN_BEFORE_HARD_SECONDS):
        return
    with acting(call, vm):
        call.domains.destroy(vm)


def shut_down_within(call: Call, vm: VM, seconds: float) -> bool:
    """Ask the guest of a running machine to shut down, and wait so long. Whether it is off."""
    try:
        before = _domid_now(call, vm)
        with acting(call, vm):
            call.domains.shutdown(vm)
            _await(call, vm, lambda: _is_off(vm, before), "shut down", seconds)
    except (OperationNotAllowed, VMBadPowerState, VMFailedShutdownAcknowledgment):
        pass  # whatever kept it: what counts is whether it is off now
    return vm.power_state is PowerState.HALTED


@message(VM, role=OPERATOR, operation=VmOperation.CLEAN_REBOOT.value)
def clean_reboot(call: Call, vm: VM) -> None:
    """Ask the guest to reboot, and return when it runs again.

    VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT where it does not react, VM_BAD_POWER_STATE where it is off and stays so: its plug
    was pulled, or its `actions_after_reboot` say so.
    """
    require(vm, VmOperation.CLEAN_REBOOT)
    before = _domid_now(call, vm)
    off_since: float | None = None

    def is_back() -> bool:
        nonlocal off_since
        if vm.power_state is not PowerState.HALTED:
            off_since = None
        elif off_since is None:
            off_since = monotonic()
        elif monotonic() - off_since > OFF_SECONDS:
            raise VMBadPowerState(vm, small(PowerState.RUNNING), small(PowerState.HALTED))
        return vm.power_state is PowerState.RUNNING and vm.domid != before

    with acting(call, vm):
        _note(call, vm, started_here=vm.started_here)
        call.domains.reboot(vm)
        _await(call, vm, is_back, "rebooted", CLEAN_SECONDS)


@message(VM, role=OPERATOR, operation=VmOperation.HARD_REBOOT.value)
def hard_reboot(call: Call, vm: VM) -> None:
    """Pull the plug and start the machine again. Refused as a start would be, and then it runs on."""
    require(vm, VmOperation.HARD_REBOOT)
    with disks_held(call, vm.VBDs, "hard_reboot"):
        _require_devices(call, vm)
        call.domains.check(vm)
        with acting(call, vm):
            call.domains.destroy(vm)
        with acting(call, vm):
            _note_ours(call, vm)
            call.domains.start(vm, False)
    take_from_others(call, vm.VBDs)


@message(VM, role=OPERATOR, operation=VmOperation.SUSPEND.value)
def suspend(call: Call, vm: VM) -> None:
    """Save memory and devices of a running machine to the host's disk, and stop it. VM_HAS_VUSBS."""
    require(vm, VmOperation.SUSPEND)
    usb.require_no_usb(vm)
    with acting(call, vm):
        call.domains.suspend(vm)


@message(VM, role=OPERATOR, operation=VmOperation.RESUME.value)
def resume(call: Call, vm: VM, start_paused: bool, force: bool = False) -> None:
    """Let a suspended machine go on from where it was; with `start_paused`, paused."""
    _resume(call, vm, start_paused, VmOperation.RESUME)


@message(VM, role=Role.VM_POWER_ADMIN, operation=VmOperation.RESUME_ON.value)
def resume_on(call: Call, vm: VM, host: Host, start_paused: bool, force: bool = False) -> None:
    """Let a suspended machine go on on the given host, of which there is one."""
    _resume(call, vm, start_paused, VmOperation.RESUME_ON)


def _resume(call: Call, vm: VM, paused: bool, operation: VmOperation) -> None:
    require(vm, operation)
    _require_host(call)
    _require_processors(call, vm)
    with acting(call, vm):
        _note_ours(call, vm)
        call.domains.resume(vm, paused)


@message(VM, role=Role.VM_POWER_ADMIN)
def migrate(call: Call, vm: VM, dest: str, live: bool, options: Mapping[str, str]) -> None:
    """Refused: OPERATION_NOT_ALLOWED, for the agent knows no other host. VM_BAD_POWER_STATE unless the machine runs."""
    require_running(vm)
    raise OperationNotAllowed("the agent knows of no host but this one, and moves no machine to another")


@message(VM, role=Role.POOL_OPERATOR, kind=Kind.BESIDE, operation=VmOperation.POWER_STATE_RESET.value)
def power_state_reset(call: Call, vm: VM) -> None:
    """Look again whether the hypervisor has the machine, and note it as halted if not.

    OPERATION_NOT_ALLOWED where the hypervisor does run it: a state that is true is not reset.
    """
    require(vm, VmOperation.POWER_STATE_RESET)
    call.refresh(vm)
    if vm.power_state is not PowerState.HALTED:
        raise OperationNotAllowed(f"the hypervisor has the machine, and it is {small(vm.power_state)}")


def _domid_now(call: Call, vm: VM) -> int:
    """Its domain, also where it has just rebooted and nobody has noticed yet."""
    call.refresh(vm)
    return vm.domid


def _is_off(vm: VM, before: int) -> bool:
    """Whether the machine has gone off. OPERATION_NOT_ALLOWED where it runs as another domain than `before`."""
    if vm.power_state is PowerState.RUNNING and vm.domid != before:
        raise OperationNotAllowed("the guest shut down and was started again, as its actions_after_shutdown may say")
    return vm.power_state is PowerState.HALTED


def _await(call: Call, vm: VM, done: Callable[[], bool], what: str, seconds: float) -> None:
    """Look at the machine until `done`, which may refuse. OPERATION_NOT_ALLOWED when it is not done in time."""
    started = monotonic()
    pause_seconds = 0.005
    while True:
        call.refresh(vm)
        if done():
            return
        waited = monotonic() - started
        if waited > seconds:
            raise OperationNotAllowed(f"the guest has not {what} within {seconds:.0f} s of being asked to")
        call.progress(min(0.9, waited / seconds))
        sleep(pause_seconds)
        pause_seconds = min(1.0, pause_seconds * 1.5)


# --- what else a machine can be asked


@message(VM, role=Role.POOL_ADMIN, operation=VmOperation.SEND_SYSRQ.value)
def send_sysrq(call: Call, vm: VM, key: str) -> None:
    """Send a magic key to the guest's kernel. VALUE_NOT_SUPPORTED where the hypervisor's library cannot."""
    require(vm, VmOperation.SEND_SYSRQ)
    call.domains.send_sysrq(vm, key)


@message(VM, role=Role.POOL_ADMIN, operation=VmOperation.SEND_TRIGGER.value)
def send_trigger(call: Call, vm: VM, trigger: str) -> None:
    """Send ``nmi``, ``reset``, ``init``, ``power`` or ``sleep``. VALUE_NOT_SUPPORTED where the hypervisor's library
    cannot.
    """
    require(vm, VmOperation.SEND_TRIGGER)
    with acting(call, vm):
        if trigger == "reset":
            _note(call, vm, started_here=vm.started_here)
        call.domains.send_trigger(vm, trigger)


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def get_boot_record(call: Call, self: VM) -> Annotated[VM, Record("VM")]:
    """Read all fields of a machine as it was booted. The agent applies changes at once, so this is its record."""
    require(self, VmOperation.GET_BOOT_RECORD)
    return self


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def get_allowed_VBD_devices(call: Call, vm: VM) -> tuple[str, ...]:
    """The places, by number, where a disk could be added."""
    return tuple(free_places(vm.VBDs))


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def get_allowed_VIF_devices(call: Call, vm: VM) -> tuple[str, ...]:
    """The places, by number, where a card could be added."""
    taken = {vif.device for vif in vm.VIFs}
    return tuple(str(place) for place in range(CARDS) if str(place) not in taken)


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def assert_operation_valid(call: Call, self: VM, op: VmOperation) -> None:
    """Fail as the operation would if it were asked for now."""
    if op not in LIFE:
        raise OperationNotAllowed(f"{op} is none of the operations that this host does")
    require(self, op)


@message(VM, kind=Kind.READ, role=Role.POOL_ADMIN)
def update_allowed_operations(call: Call, self: VM) -> None:
    """Nothing is to be done: allowed_operations is always up to date."""


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def get_possible_hosts(call: Call, vm: VM) -> tuple[Host, ...]:
    """The hosts that could start the machine: this one, unless it is disabled."""
    return (call.host,) if call.host.enabled else ()


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def assert_can_boot_here(call: Call, self: VM, host: Host) -> None:
    """Fail as start would if it were asked for now."""
    _require_startable(call, self, VmOperation.START)

"""What devices of the host that machines are given have in common: whose may change; giving one, taking it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agent.call import Call
from agent.classes import DPCI, VM, VUSB
from agent.classes.enums import PowerState
from agent.classes.lifecycle import is_hvm, require_reach, small
from agent.errors import OperationNotAllowed, VMBadPowerState, VMHVMRequired, VMIsTemplate, XenError
from agent.messages.vif import acting

LIVE = (PowerState.RUNNING, PowerState.PAUSED)
Device = TypeVar("Device", DPCI, VUSB)


def require_changeable(vm: VM, *, hvm: bool = False) -> None:
    """Fail unless the machine may be given devices, or lose them, as it is now; with `hvm` only an HVM one may."""
    require_reach(vm)
    if vm.is_control_domain:
        raise OperationNotAllowed("the control domain has all devices that no guest was given")
    if vm.is_a_template:
        raise VMIsTemplate(vm)
    if hvm and not is_hvm(vm):
        raise VMHVMRequired(vm)
    if vm.power_state not in (PowerState.HALTED, *LIVE):
        states = ", ".join(small(state) for state in (PowerState.HALTED, *LIVE))
        raise VMBadPowerState(vm, states, small(vm.power_state))


def give(call: Call, device: Device, plug: Callable[[Device], None]) -> Device:
    """Add the device to the store, and give it to its machine: a running one by `plug`. What fails leaves nothing."""
    vm = device.VM
    with call.store.transaction():
        call.store.add(device)
    try:
        if vm.power_state in LIVE:
            with acting(call, vm):
                plug(device)
        else:
            call.domains.check(vm)
    except XenError:
        forget(call, device)
        raise
    call.observer.redefine(vm)
    return device


def forget(call: Call, device: DPCI | VUSB) -> None:
    """Remove the device from the store, unless it is gone already."""
    with call.store.transaction():
        if call.store.is_live(device):
            call.store.destroy(device)

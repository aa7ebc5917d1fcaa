"""PCI devices of the host given to machines, and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from agent.call import Call
from agent.classes import DPCI, PPCI, VM
from agent.classes.enums import PowerState
from agent.classes.lifecycle import require_reach, small
from agent.errors import (
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    DeviceAlreadyExists,
    OperationNotAllowed,
    VMBadPowerState,
    VMIsTemplate,
    XenError,
)
from agent.messages.vif import acting
from agent.model.messages import construct, message
from agent.model.types import Record
from agent.observer.devices import SET_ASIDE

LIVE = (PowerState.RUNNING, PowerState.PAUSED)
BRIDGE = 0x06
"""The PCI class of what connects buses, which is the host's in every case."""


def require_spare(ppci: PPCI) -> None:
    """OPERATION_NOT_ALLOWED for a device that the host uses, or that is gone from it."""
    if not ppci.vendor_id:
        raise OperationNotAllowed(f"the host has no PCI device at {ppci.name} any more")
    if ppci.class_code >> 8 == BRIDGE:
        raise OperationNotAllowed(f"{ppci.name} is a bridge of the host, which no guest can have")
    if ppci.driver not in SET_ASIDE:
        raise OperationNotAllowed(
            f"{ppci.name} is in use by the host's driver {ppci.driver}: unbind it from that, or set it aside with "
            "xen-pciback.hide on Linux' command line"
        )


def require_device_free(call: Call, dpci: DPCI) -> None:
    """DEVICE_ALREADY_ATTACHED while another machine that was given the device has it, or was suspended with it."""
    for other in call.store.all(DPCI):
        if other.PPCI is dpci.PPCI and other.VM is not dpci.VM and other.VM.power_state is not PowerState.HALTED:
            raise DeviceAlreadyAttached(other)


@message(DPCI)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("DPCI")]) -> DPCI:
    """Give a machine a PCI device of the host: a halted one from its next start on, a running one now.

    Several machines may be given one device, and one of them can run. OPERATION_NOT_ALLOWED where the host uses the
    device or the hypervisor cannot give it away, DEVICE_ALREADY_ATTACHED while another machine has it.
    """
    dpci = construct(DPCI, args)
    vm = dpci.VM
    _require_changeable(vm)
    if any(other.PPCI is dpci.PPCI for other in vm.DPCIs):
        raise DeviceAlreadyExists(dpci.PPCI.name)
    require_spare(dpci.PPCI)
    live = vm.power_state in LIVE
    if live:
        require_device_free(call, dpci)
    with call.store.transaction():
        call.store.add(dpci)
    try:
        if live:
            with acting(call, vm):
                call.domains.plug_pci(dpci)
        else:
            call.domains.check(vm)
    except XenError:
        with call.store.transaction():
            if call.store.is_live(dpci):
                call.store.destroy(dpci)
        raise
    call.observer.redefine(vm)
    return dpci


@message(DPCI)
def destroy(call: Call, self: DPCI) -> None:
    """Take the device from its machine, at once from a running one. DEVICE_DETACH_REJECTED if the guest keeps it."""
    vm = self.VM
    _require_changeable(vm)
    if vm.power_state in LIVE:
        with suppress(DeviceAlreadyDetached), acting(call, vm):
            call.domains.unplug_pci(self)
    with call.store.transaction():
        if call.store.is_live(self):
            call.store.destroy(self)
    call.observer.redefine(vm)


def _require_changeable(vm: VM) -> None:
    require_reach(vm)
    if vm.is_control_domain:
        raise OperationNotAllowed("the control domain has all devices that no guest was given")
    if vm.is_a_template:
        raise VMIsTemplate(vm)
    if vm.power_state not in (PowerState.HALTED, *LIVE):
        states = ", ".join(small(state) for state in (PowerState.HALTED, *LIVE))
        raise VMBadPowerState(vm, states, small(vm.power_state))

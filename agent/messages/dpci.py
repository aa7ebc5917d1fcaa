"""PCI devices of the host given to machines, and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from agent.call import Call
from agent.classes import DPCI, PPCI
from agent.classes.enums import PowerState
from agent.errors import (
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    DeviceAlreadyExists,
    OperationNotAllowed,
)
from agent.messages.passthrough import LIVE, forget, give, require_changeable
from agent.messages.vif import acting
from agent.model.messages import construct, message
from agent.model.types import Record
from agent.observer.devices import SET_ASIDE

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
    require_changeable(vm)
    if any(other.PPCI is dpci.PPCI for other in vm.DPCIs):
        raise DeviceAlreadyExists(dpci.PPCI.name)
    require_spare(dpci.PPCI)
    if vm.power_state in LIVE:
        require_device_free(call, dpci)
    return give(call, dpci, call.domains.plug_pci)


@message(DPCI)
def destroy(call: Call, self: DPCI) -> None:
    """Take the device from its machine, at once from a running one. DEVICE_DETACH_REJECTED if the guest keeps it."""
    vm = self.VM
    require_changeable(vm)
    if vm.power_state in LIVE:
        with suppress(DeviceAlreadyDetached), acting(call, vm):
            call.domains.unplug_pci(self)
    forget(call, self)
    call.observer.redefine(vm)

"""Virtual TPMs of machines: the wish is kept, and a machine with one is not started where the hypervisor has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from agent.call import Call
from agent.classes import VTPM
from agent.classes.enums import PowerState
from agent.classes.lifecycle import small
from agent.errors import OperationNotAllowed, VMBadPowerState, VtpmMaxAmountReached
from agent.model.messages import Kind, construct, message
from agent.model.types import Record

MOST = 1
"""TPMs that a machine can have."""


@message(VTPM, kind=Kind.WRITE, has_async=True)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("VTPM")]) -> VTPM:
    """Give a halted machine a virtual TPM. VTPM_MAX_AMOUNT_REACHED if it has one.

    Starting it is refused with VALUE_NOT_SUPPORTED from then on, for libvirt's Xen driver makes no TPM.
    """
    vtpm = construct(VTPM, args)
    vm = vtpm.VM
    if vm.is_control_domain:
        raise OperationNotAllowed("the control domain has the host's own TPM")
    if vm.power_state is not PowerState.HALTED:
        raise VMBadPowerState(vm, small(PowerState.HALTED), small(vm.power_state))
    if len(vm.VTPMs) >= MOST:
        raise VtpmMaxAmountReached(MOST)
    return call.store.add(vtpm)

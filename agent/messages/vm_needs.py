"""What a machine needs of its pool and its guest, and what xapi can do for it that a plain Xen host cannot."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic, sleep
from typing import Annotated, Any

from agent.call import Call
from agent.classes import SR, VDI, VM, Host, Session, VMAppliance
from agent.classes.enums import PowerState
from agent.classes.lifecycle import small
from agent.errors import (
    LicenceRestriction,
    MessageRemoved,
    OperationNotAllowed,
    Sysprep,
    ValueNotSupported,
    VMBadPowerState,
    VMLacksFeature,
    VMRequiresSR,
)
from agent.messages.vif import require_running
from agent.model.messages import Kind, message
from agent.model.types import Ref, Set
from agent.roles import Role

MIB = 2**20
NEAR_BYTES = 16 * MIB
"""So near to its target a balloon is at rest: Xen keeps a few pages of each guest for itself."""
STILL_SECONDS = 5.0
"""A balloon that has not moved for so long is not on its way."""
LOOK_SECONDS = 1.0
XENS_NAMES = "the guest sees Xen's own names of maker and model: libvirt's Xen driver sets no others"


# --- recovery


@message(VM, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def get_SRs_required_for_recovery(call: Call, self: VM, session_to: Session) -> tuple[SR, ...]:
    """The storage of the machine's disks that the host does not reach now."""
    return tuple(_missing(self))


@message(VM, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def assert_can_be_recovered(call: Call, self: VM, session_to: Session) -> None:
    """VM_REQUIRES_SR while the host does not reach the storage of one of its disks."""
    for sr in _missing(self):
        raise VMRequiresSR(self, sr)


def _missing(vm: VM) -> list[SR]:
    needed = dict.fromkeys(vbd.VDI.SR for vbd in vm.VBDs if vbd.VDI is not None)
    return [sr for sr in needed if not any(pbd.currently_attached for pbd in sr.PBDs)]


@message(VM, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def recover(call: Call, self: VM, session_to: Session, force: bool) -> None:
    """Refused with OPERATION_NOT_ALLOWED: both sessions are of this host, which has the machine already."""
    raise OperationNotAllowed("a session of this agent is of this host, which has the machine already")


@message(VMAppliance, kind=Kind.READ, role=Role.READ_ONLY, has_async=True, name="get_SRs_required_for_recovery")
def get_SRs_required_for_appliance(call: Call, self: VMAppliance, session_to: Session) -> tuple[SR, ...]:
    """The storage of its machines' disks that the host does not reach now."""
    return tuple(dict.fromkeys(sr for vm in self.VMs for sr in _missing(vm)))


@message(VMAppliance, kind=Kind.READ, role=Role.READ_ONLY, has_async=True, name="assert_can_be_recovered")
def assert_appliance_can_be_recovered(call: Call, self: VMAppliance, session_to: Session) -> None:
    """VM_REQUIRES_SR while the host does not reach the storage of a disk of one of its machines."""
    for vm in self.VMs:
        assert_can_be_recovered(call, vm, session_to)


@message(VMAppliance, kind=Kind.READ, role=Role.READ_ONLY, has_async=True, name="recover")
def recover_appliance(call: Call, self: VMAppliance, session_to: Session, force: bool) -> None:
    """Refused with OPERATION_NOT_ALLOWED: both sessions are of this host, which has the machines already."""
    raise OperationNotAllowed("a session of this agent is of this host, which has the machines already")


# --- memory


@message(VM, kind=Kind.MEASURE, role=Role.READ_ONLY, has_async=True)
def get_cooperative(call: Call, self: VM) -> bool:
    """Whether the machine has the memory that it was told to have, or does not run."""
    return _at_target(self)


def _at_target(vm: VM) -> bool:
    if vm.power_state is not PowerState.RUNNING or vm.metrics is None:
        return True
    return vm.metrics.memory_actual <= vm.memory_dynamic_max + NEAR_BYTES


@message(VM, kind=Kind.BESIDE, role=Role.READ_ONLY)
def wait_memory_target_live(call: Call, self: VM) -> None:
    """Wait until the running machine has about the memory that it was last given.

    OPERATION_NOT_ALLOWED where that does not change for 5 seconds, VM_BAD_POWER_STATE where it does not run.
    """
    before, moved = -1, monotonic()
    while True:
        require_running(self)
        measuring = call.observer.measure()
        if measuring is not None:
            measuring.result()
        actual = self.metrics.memory_actual if self.metrics is not None else 0
        if abs(actual - self.memory_dynamic_max) <= NEAR_BYTES:
            return
        if actual != before:
            before, moved = actual, monotonic()
        elif monotonic() - moved > STILL_SECONDS:
            raise OperationNotAllowed(
                f"the guest keeps its {actual} bytes, and comes to {self.memory_dynamic_max} no more"
            )
        call.progress(0.0)
        sleep(LOOK_SECONDS)


@message(Host, kind=Kind.MEASURE, role=Role.READ_ONLY, has_async=True)
def get_uncooperative_resident_VMs(call: Call, self: Host) -> tuple[VM, ...]:
    """The machines that have more memory than they were told to have."""
    return tuple(vm for vm in self.resident_VMs if not vm.is_control_domain and not _at_target(vm))


@message(Host, kind=Kind.MEASURE, role=Role.READ_ONLY, has_async=True)
def compute_memory_overhead(call: Call, host: Host) -> int:
    """Bytes of the host that neither machines, the control domain included, have nor are free: Xen's own."""
    if host.metrics is None:
        return 0
    used = sum(vm.metrics.memory_actual for vm in host.resident_VMs if vm.metrics is not None)
    return max(0, host.metrics.memory_total - host.metrics.memory_free - used)


# --- what libvirt's Xen driver or the guest cannot


@message(VM)
def copy_bios_strings(call: Call, vm: VM, host: Host) -> None:
    """Refused with VALUE_NOT_SUPPORTED: the guest sees Xen's own names of maker and model."""
    raise ValueNotSupported("bios_strings", host.ref, XENS_NAMES)


@message(VM)
def set_bios_strings(call: Call, self: VM, value: Mapping[str, str]) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for none: the guest sees Xen's own names of maker and model."""
    if value:
        raise ValueNotSupported("bios_strings", ", ".join(value)[:200], XENS_NAMES)


@message(VM, role=Role.POOL_OPERATOR)
def set_suspend_VDI(call: Call, self: VM, value: VDI | None) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for null: libvirt keeps a suspended machine in a file of its own."""
    if value is not None:
        raise ValueNotSupported("suspend_VDI", value.ref, "libvirt keeps a suspended machine in a file of its own")


@message(VM, role=Role.VM_POWER_ADMIN)
def set_shadow_multiplier_live(call: Call, self: VM, multiplier: float) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for what it is: libvirt's Xen driver has no word for it."""
    if multiplier != self.HVM_shadow_multiplier:
        raise ValueNotSupported("multiplier", multiplier, "libvirt's Xen driver has no word for it")


@message(VM, role=Role.VM_POWER_ADMIN)
def restart_device_models(call: Call, self: VM) -> None:
    """Refused with OPERATION_NOT_ALLOWED: a device model is restarted with its machine only. VM_BAD_POWER_STATE unless
    the machine runs.
    """
    if self.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
        raise VMBadPowerState(self, small(PowerState.RUNNING), small(self.power_state))
    raise OperationNotAllowed("the device model of a machine is restarted with the machine only")


@message(VM, kind=Kind.READ, role=Role.POOL_ADMIN, has_async=True)
def query_services(call: Call, self: VM) -> Mapping[str, str]:
    """The services that the machine offers to its host as a driver domain: none, for the agent takes none."""
    return {}


@message(VM, role=Role.VM_OPERATOR)
def call_plugin(call: Call, vm: VM, plugin: str, fn: str, args: Mapping[str, str]) -> str:
    """Refused with VM_LACKS_FEATURE: the agent asks guests to run nothing. VM_BAD_POWER_STATE unless it runs."""
    require_running(vm)
    raise VMLacksFeature(vm)


@message(VM, role=Role.POOL_OPERATOR)
def import_(call: Call, url: str, sr: SR, full_restore: bool, force: bool) -> tuple[VM, ...]:
    """Refused with OPERATION_NOT_ALLOWED: the agent fetches nothing for a client. Send the file to ``/import``."""
    raise OperationNotAllowed("the agent fetches nothing for a client: send the file to /import")


@message(VM)
def import_convert(
    call: Call, type: str, username: str, password: str, sr: SR, remote_config: Mapping[str, str]
) -> None:
    """Refused with LICENCE_RESTRICTION: the agent converts no machines of other hypervisors."""
    raise LicenceRestriction("Conversion")


# --- what xapi has removed


@message(VM, role=Role.POOL_OPERATOR, has_async=False)
def set_protection_policy(call: Call, self: VM, value: Annotated[Any, Ref("VMPP", nullable=True)]) -> None:
    """Refused with MESSAGE_REMOVED, as by today's xapi."""
    raise MessageRemoved


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def get_is_snapshot_from_vmpp(call: Call, self: VM) -> bool:
    """Whether an old protection policy took the snapshot: no, there are none."""
    return False


@message(VM, kind=Kind.READ, has_async=True)
def set_groups(call: Call, self: VM, value: Annotated[Any, Set(Ref("VM_group"))]) -> None:
    """Have the machine in no group. HANDLE_INVALID for any, since there is none."""


@message(VM, kind=Kind.READ, has_async=True)
def sysprep(call: Call, self: VM, unattend: str, timeout: float = 180.0) -> None:
    """Refused with SYSPREP: the agent reaches no program in a guest."""
    raise Sysprep(self, "the agent reaches no program in a guest")

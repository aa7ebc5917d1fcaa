"""The life of a machine and of its parts as tables: in which state which operation makes sense.

allowed_operations is derived from these tables, the verbs refuse by them, and a test walks every state with every verb.
What an operation does is in ``agent.messages``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from agent.classes.enums import (
    DomainType,
    HostOperation,
    NetworkOperation,
    PowerState,
    StorageOperation,
    TaskOperation,
    TaskStatus,
    VbdMode,
    VbdOperation,
    VbdType,
    VdiOperation,
    VifOperation,
    VmApplianceOperation,
    VmOperation,
    VusbOperation,
)
from agent.errors import OperationBlocked, OperationNotAllowed, VMBadPowerState, VMIsSnapshot, VMIsTemplate

if TYPE_CHECKING:
    from agent import classes as m

H, R, P, S = PowerState.HALTED, PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED
STATES = (H, R, P, S)

LIFE: dict[VmOperation, tuple[PowerState, ...]] = {
    VmOperation.START: (H,),
    VmOperation.START_ON: (H,),
    VmOperation.PAUSE: (R,),
    VmOperation.UNPAUSE: (P,),
    VmOperation.CLEAN_SHUTDOWN: (R,),
    VmOperation.HARD_SHUTDOWN: (R, P, S),
    VmOperation.SHUTDOWN: (R, P, S),
    VmOperation.CLEAN_REBOOT: (R,),
    VmOperation.HARD_REBOOT: (R, P),
    VmOperation.SUSPEND: (R,),
    VmOperation.RESUME: (S,),
    VmOperation.RESUME_ON: (S,),
    VmOperation.CLONE: (H,),
    VmOperation.COPY: (H,),
    VmOperation.SNAPSHOT: (H, R, P),
    VmOperation.CHECKPOINT: (R,),
    VmOperation.REVERT: (H,),
    VmOperation.PROVISION: (H,),
    VmOperation.MAKE_INTO_TEMPLATE: (H,),
    VmOperation.DESTROY: (H,),
    VmOperation.CHANGING_VCPUS: (H,),
    VmOperation.CHANGING_VCPUS_LIVE: (R,),
    VmOperation.CHANGING_MEMORY_LIMITS: (H,),
    VmOperation.CHANGING_STATIC_RANGE: (H,),
    VmOperation.CHANGING_DYNAMIC_RANGE: (H, R, P),
    VmOperation.CHANGING_MEMORY_LIVE: (R, P),
    VmOperation.SEND_SYSRQ: (R,),
    VmOperation.SEND_TRIGGER: (R,),
    VmOperation.POWER_STATE_RESET: (R, P, S),
    VmOperation.EXPORT: (H,),
    VmOperation.GET_BOOT_RECORD: STATES,
}
"""An operation on a machine, and the power states in which it can be done."""

OF_TEMPLATES = frozenset(
    {
        VmOperation.CLONE,
        VmOperation.COPY,
        VmOperation.SNAPSHOT,
        VmOperation.PROVISION,
        VmOperation.DESTROY,
        VmOperation.CHANGING_VCPUS,
        VmOperation.CHANGING_MEMORY_LIMITS,
        VmOperation.CHANGING_STATIC_RANGE,
        VmOperation.CHANGING_DYNAMIC_RANGE,
        VmOperation.EXPORT,
        VmOperation.GET_BOOT_RECORD,
    }
)
OF_SNAPSHOTS = frozenset(
    {
        VmOperation.CLONE,
        VmOperation.COPY,
        VmOperation.REVERT,
        VmOperation.DESTROY,
        VmOperation.EXPORT,
        VmOperation.GET_BOOT_RECORD,
    }
)
OF_CONTROL_DOMAIN = frozenset(
    {
        VmOperation.CHANGING_DYNAMIC_RANGE,
        VmOperation.CHANGING_MEMORY_LIVE,
        VmOperation.CHANGING_VCPUS_LIVE,
        VmOperation.GET_BOOT_RECORD,
    }
)
OF_MACHINES = frozenset(LIFE) - {VmOperation.REVERT}
OF_FOREIGN = frozenset({VmOperation.GET_BOOT_RECORD})
BESIDE_OTHERS = {VmOperation.GET_BOOT_RECORD, VmOperation.HARD_SHUTDOWN, VmOperation.POWER_STATE_RESET}
"""Operations that can be begun while another one is under way."""


def small(state: PowerState) -> str:
    """A power state as errors write it."""
    return state.value[0].lower() + state.value[1:]


def _state(vm: m.VM) -> PowerState:
    """The state that counts: a snapshot is as halted as can be, also one with memory, which is shown as suspended."""
    return H if vm.is_a_snapshot else vm.power_state


def is_suspended(vm: m.VM) -> bool:
    """Whether the machine is to go on from its disks as they are now."""
    return _state(vm) is S


def is_with_another(vbd: m.VBD) -> bool:
    """Whether another machine has the disk, or is suspended with it, and one of both writes to it."""
    vdi = vbd.VDI
    return (
        vdi is not None
        and not vdi.sharable
        and any(
            other.VM is not vbd.VM
            and (other.currently_attached or is_suspended(other.VM))
            and VbdMode.RW in (other.mode, vbd.mode)
            for other in vdi.VBDs
        )
    )


def is_apart(vbd: m.VBD) -> bool:
    """Whether the machine runs without the disk, which another one has: a reboot of its guest must not bring it."""
    return _state(vbd.VM) in (R, P) and not vbd.currently_attached and is_with_another(vbd)


def _of_kind(vm: m.VM) -> frozenset[VmOperation]:
    """The operations that this kind of machine has at all."""
    if vm.foreign:
        return OF_FOREIGN
    if vm.is_control_domain:
        return OF_CONTROL_DOMAIN
    if vm.is_a_snapshot:
        return OF_SNAPSHOTS
    if vm.is_a_template:
        return OF_TEMPLATES
    return OF_MACHINES


def kind_of(vm: m.VM) -> DomainType:
    """How the machine is, or is to be, virtualised: its domain_type; unspecified is HVM if it has a boot policy, else
    PV, which is the rule from before there was a domain_type.
    """
    if vm.domain_type is DomainType.UNSPECIFIED:
        return DomainType.HVM if vm.HVM_boot_policy else DomainType.PV
    return vm.domain_type


def is_hvm(vm: m.VM) -> bool:
    """Whether the machine is, or is to be, a fully virtualised one."""
    return kind_of(vm) is DomainType.HVM


def require_reach(vm: m.VM) -> None:
    """OPERATION_NOT_ALLOWED for a machine that can only be looked at."""
    if vm.foreign:
        raise OperationNotAllowed(
            f"{vm.name_label} was made with xl, which libvirt does not know: it is only shown here"
        )


def require(vm: m.VM, operation: VmOperation) -> None:
    """Refuse an operation that makes no sense for this machine now.

    VM_IS_TEMPLATE, VM_IS_SNAPSHOT, OPERATION_NOT_ALLOWED (the control domain, a domain of xl, or a revert to what is no
    snapshot), OPERATION_BLOCKED, or VM_BAD_POWER_STATE.
    """
    if operation not in _of_kind(vm):
        require_reach(vm)
        if vm.is_control_domain:
            raise OperationNotAllowed(f"{operation} cannot be done to the control domain, which this host runs on")
        if vm.is_a_snapshot:
            raise VMIsSnapshot(vm, operation)
        if vm.is_a_template:
            raise VMIsTemplate(vm)
        raise OperationNotAllowed(f"{operation} is for snapshots only")
    if operation in vm.blocked_operations:
        raise OperationBlocked(vm, vm.blocked_operations[operation])
    states = LIFE[operation]
    if (actual := _state(vm)) not in states:
        raise VMBadPowerState(vm, ", ".join(small(state) for state in states), small(actual))


@cache
def _allowed(of_kind: frozenset[VmOperation], state: PowerState, busy: bool) -> tuple[VmOperation, ...]:
    """What can be done in a state; while something is done, only what may be done beside it."""
    return tuple(
        operation
        for operation, states in LIFE.items()
        if state in states and operation in of_kind and (not busy or operation in BESIDE_OTHERS)
    )


def derive_vm(vm: m.VM) -> None:
    """allowed_operations of a machine and of its devices."""
    allowed = _allowed(_of_kind(vm), _state(vm), bool(vm.current_operations))
    blocked = vm.blocked_operations
    vm.allowed_operations = tuple(each for each in allowed if each not in blocked) if blocked else allowed
    for vbd in vm.VBDs:
        derive_vbd(vbd)
    for vif in vm.VIFs:
        derive_vif(vif)
    if vm.appliance is not None:
        derive_appliance(vm.appliance)


def derive_vbd(vbd: m.VBD) -> None:
    """allowed_operations of a disk or drive of a machine."""
    allowed: list[VbdOperation] = []
    vm = vbd.VM
    live = vm.power_state in (R, P)
    if vbd.currently_attached:
        if vm.power_state is R and vbd.type is not VbdType.CD and vbd.unpluggable:
            allowed += [VbdOperation.UNPLUG, VbdOperation.UNPLUG_FORCE]
    else:
        allowed.append(VbdOperation.ATTACH)
        if vm.power_state is R:
            allowed.append(VbdOperation.PLUG)
    if vbd.type is VbdType.CD and (live or vm.power_state is H):
        allowed.append(VbdOperation.INSERT if vbd.empty else VbdOperation.EJECT)
    vbd.allowed_operations = () if vbd.current_operations or vm.foreign else tuple(allowed)
    if vbd.VDI is not None:
        derive_vdi(vbd.VDI)


def derive_vif(vif: m.VIF) -> None:
    """allowed_operations of a card of a machine."""
    allowed: list[VifOperation] = []
    running = vif.VM.power_state is R
    if vif.currently_attached:
        if running:
            allowed.append(VifOperation.UNPLUG)
    else:
        allowed.append(VifOperation.ATTACH)
        if running:
            allowed.append(VifOperation.PLUG)
    vif.allowed_operations = () if vif.current_operations or vif.VM.foreign else tuple(allowed)


def derive_vusb(vusb: m.VUSB) -> None:
    """allowed_operations of a USB device of a machine."""
    allowed = VusbOperation.UNPLUG if vusb.currently_attached else VusbOperation.ATTACH
    vusb.allowed_operations = () if vusb.current_operations or vusb.VM.foreign else (allowed,)


def vdi_in_use(vdi: m.VDI) -> bool:
    """Whether a running, paused or suspended machine has the disk, or its content is on its way in or out."""
    return vdi_held(vdi) or any(vbd.currently_attached or is_suspended(vbd.VM) for vbd in vdi.VBDs)


def vdi_held(vdi: m.VDI) -> bool:
    """Whether the content of the disk is being read or replaced as a whole: nobody may write to it meanwhile."""
    operations = vdi.current_operations.values()
    return VdiOperation.BLOCKED in operations or VdiOperation.COPY in operations


def derive_vdi(vdi: m.VDI) -> None:
    """allowed_operations of a disk."""
    allowed = [VdiOperation.CLONE, VdiOperation.COPY, VdiOperation.SNAPSHOT, VdiOperation.UPDATE]
    if not vdi_in_use(vdi):
        if not vdi.read_only:
            allowed.append(VdiOperation.RESIZE)
        if not vdi.VBDs:
            allowed += [VdiOperation.DESTROY, VdiOperation.FORGET]
    if vdi.missing:
        allowed = [VdiOperation.DESTROY, VdiOperation.FORGET, VdiOperation.UPDATE]
    attached = any(pbd.currently_attached for pbd in vdi.SR.PBDs)
    busy = bool(vdi.current_operations) or not vdi.managed
    vdi.allowed_operations = () if busy or not attached else tuple(allowed)


def derive_sr(sr: m.SR) -> None:
    """allowed_operations of a storage, and of its disks when it was attached or detached."""
    attached = any(pbd.currently_attached for pbd in sr.PBDs)
    allowed = [StorageOperation.PLUG, StorageOperation.UPDATE]
    if attached:
        allowed += [
            StorageOperation.SCAN,
            StorageOperation.UNPLUG,
            StorageOperation.VDI_CREATE,
            StorageOperation.VDI_DESTROY,
            StorageOperation.VDI_CLONE,
            StorageOperation.VDI_SNAPSHOT,
            StorageOperation.VDI_RESIZE,
            StorageOperation.VDI_INTRODUCE,
        ]
        if not sr.VDIs:
            allowed.append(StorageOperation.DESTROY)
    else:
        allowed.append(StorageOperation.FORGET)
    before = sr.allowed_operations
    sr.allowed_operations = () if sr.current_operations else tuple(allowed)
    if (StorageOperation.SCAN in before) != attached:
        for vdi in sr.VDIs:
            derive_vdi(vdi)


def derive_appliance(appliance: m.VMAppliance) -> None:
    """allowed_operations of an appliance: what makes sense for one of its machines or more."""
    states = {vm.power_state for vm in appliance.VMs}
    allowed = [VmApplianceOperation.START] if H in states else []
    if R in states or P in states:
        allowed.append(VmApplianceOperation.CLEAN_SHUTDOWN)
    if states - {H}:
        allowed += [VmApplianceOperation.HARD_SHUTDOWN, VmApplianceOperation.SHUTDOWN]
    appliance.allowed_operations = () if appliance.current_operations else tuple(allowed)


def derive_task(task: m.Task) -> None:
    """allowed_operations of a task."""
    if task.status is TaskStatus.PENDING:
        task.allowed_operations = (TaskOperation.CANCEL,)
    else:
        task.allowed_operations = () if task.status is TaskStatus.CANCELLING else (TaskOperation.DESTROY,)


def derive_host(host: m.Host) -> None:
    """allowed_operations of the host, without ``enable``: clients older than that word cannot read a host with it."""
    if host.enabled:
        host.allowed_operations = (HostOperation.PROVISION, HostOperation.VM_START, HostOperation.VM_RESUME)
    elif any(not vm.is_control_domain for vm in host.resident_VMs):
        host.allowed_operations = ()
    else:
        host.allowed_operations = (HostOperation.REBOOT, HostOperation.SHUTDOWN)


def derive_network(network: m.Network) -> None:
    """allowed_operations of a network."""
    network.allowed_operations = (NetworkOperation.ATTACHING,)

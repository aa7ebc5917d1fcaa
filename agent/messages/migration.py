"""Machines that leave a host, which those of a host alone cannot: who asks is told so, machine by machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from agent.call import Call
from agent.classes import SR, VDI, VIF, VM, Host, Network
from agent.classes.enums import PowerState
from agent.classes.lifecycle import require_reach, small
from agent.errors import CannotEvacuateHost, OperationNotAllowed, VMBadPowerState, VMIsTemplate, VMMigrateFailed
from agent.model.messages import Kind, message
from agent.model.types import Map, Ref
from agent.roles import Role

POWER_ADMIN = Role.VM_POWER_ADMIN
NOWHERE = "the agent knows of no host but this one, and moves no machine to another"
NO_HOST = "NO_HOSTS_AVAILABLE"
_GPUS = Map(Ref("VGPU"), Ref("GPU_group"))


def _require_movable(vm: VM) -> None:
    """Refuse what could not be moved in any pool: templates, the control domain, and machines that do not run."""
    require_reach(vm)
    if vm.is_a_template or vm.is_a_snapshot:
        raise VMIsTemplate(vm)
    if vm.is_control_domain:
        raise OperationNotAllowed("the control domain stays on its host")
    if vm.power_state is not PowerState.RUNNING:
        raise VMBadPowerState(vm, small(PowerState.RUNNING), small(vm.power_state))


@message(VM, role=POWER_ADMIN)
def pool_migrate(call: Call, vm: VM, host: Host, options: Mapping[str, str]) -> None:
    """Refused: VM_MIGRATE_FAILED, for the one host of the pool is the one it runs on.

    VM_BAD_POWER_STATE, VM_IS_TEMPLATE and OPERATION_NOT_ALLOWED come before that, as in a pool of several.
    """
    _require_movable(vm)
    raise VMMigrateFailed(vm, call.host, host, "it runs on this host, and the pool has no other")


@message(VM, role=POWER_ADMIN)
def migrate_send(
    call: Call,
    vm: VM,
    dest: Mapping[str, str],
    live: bool,
    vdi_map: Mapping[VDI, SR],
    vif_map: Mapping[VIF, Network],
    options: Mapping[str, str],
    vgpu_map: Annotated[Mapping[Any, Any], _GPUS] = {},
    vdi_format_map: Mapping[VDI, str] = {},
) -> VM:
    """Refused: VM_MIGRATE_FAILED, for the agent sends no machine to another host."""
    raise _refusal(call, vm, dest)


@message(VM, role=POWER_ADMIN)
def assert_can_migrate(
    call: Call,
    vm: VM,
    dest: Mapping[str, str],
    live: bool,
    vdi_map: Mapping[VDI, SR],
    vif_map: Mapping[VIF, Network],
    options: Mapping[str, str],
    vgpu_map: Annotated[Mapping[Any, Any], _GPUS] = {},
) -> None:
    """Fail as migrate_send would: VM_MIGRATE_FAILED."""
    raise _refusal(call, vm, dest)


def _refusal(call: Call, vm: VM, dest: Mapping[str, str]) -> VMMigrateFailed:
    require_reach(vm)
    if vm.is_control_domain:
        raise OperationNotAllowed("the control domain stays on its host")
    return VMMigrateFailed(vm, call.host, dest.get("host", "")[:200], NOWHERE)


@message(Host, role=POWER_ADMIN)
def migrate_receive(call: Call, host: Host, network: Network, options: Mapping[str, str]) -> Mapping[str, str]:
    """Refused with OPERATION_NOT_ALLOWED: the agent takes no machine from another host while it runs. Send its export
    to ``/import``.
    """
    raise OperationNotAllowed("the agent takes no running machine from another host: send its export to /import")


# --- all of a host


@message(Host)
def evacuate(call: Call, host: Host, network: Network | None = None, evacuate_batch_size: int = 0) -> None:
    """Have no machine run on the host. There is nowhere they could go: CANNOT_EVACUATE_HOST while one runs, with
    ``NO_HOSTS_AVAILABLE`` and its reference, several joined by ``|``. Without one nothing is to be done.
    """
    _require_empty(host)


@message(Host, kind=Kind.READ, has_async=True)
def assert_can_evacuate(call: Call, host: Host) -> None:
    """Fail as evacuate would: CANNOT_EVACUATE_HOST while a machine runs on the host."""
    _require_empty(host)


@message(Host, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def get_vms_which_prevent_evacuation(call: Call, self: Host) -> Mapping[VM, tuple[str, ...]]:
    """The machines that run on the host, each with the error that its move would have."""
    return {vm: (NO_HOST, vm.ref) for vm in _guests(self)}


def _guests(host: Host) -> list[VM]:
    return [vm for vm in host.resident_VMs if not vm.is_control_domain]


def _require_empty(host: Host) -> None:
    if guests := _guests(host):
        raise CannotEvacuateHost("|".join(f"{NO_HOST},{vm.ref}" for vm in guests))

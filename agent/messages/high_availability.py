"""High availability, which needs several hosts: what can be computed without it is, and the rest is refused."""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import SR, VM, Host, Pool
from agent.classes.enums import PowerState
from agent.errors import (
    HaConstraintViolationNetworkNotShared,
    HaConstraintViolationSrNotShared,
    HaNotEnabled,
    HaNotInstalled,
    HaOperationWouldBreakFailoverPlan,
    HostIsLive,
    InvalidValue,
    SrOperationNotSupported,
)
from agent.messages.vm_memory import overhead
from agent.model.messages import Kind, message
from agent.roles import Role

FAILURES = 0
"""Hosts that may fail before none is left to restart machines on: one less than there are."""


@message(Pool)
def enable_ha(call: Call, heartbeat_srs: tuple[SR, ...], configuration: Mapping[str, str]) -> None:
    """Refused with HA_NOT_INSTALLED: high availability needs several hosts."""
    raise HaNotInstalled(call.host)


@message(Pool)
def disable_ha(call: Call) -> None:
    """Refused with HA_NOT_ENABLED: there is no high availability to switch off."""
    raise HaNotEnabled


@message(Pool, has_async=False)
def ha_prevent_restarts_for(call: Call, seconds: int) -> None:
    """Refused with HA_NOT_ENABLED: nothing is restarted elsewhere anyway."""
    raise HaNotEnabled


@message(Host, has_async=False)
def emergency_ha_disable(call: Call, soft: bool = False) -> None:
    """Refused with HA_NOT_ENABLED: there is no high availability to switch off."""
    raise HaNotEnabled


@message(Host)
def declare_dead(call: Call, host: Host) -> None:
    """Refused with HOST_IS_LIVE: the one host is the one that answers."""
    raise HostIsLive(host)


@message(Pool, kind=Kind.READ, has_async=False)
def ha_compute_max_host_failures_to_tolerate(call: Call) -> int:
    """How many hosts could fail and leave one for their machines: 0, since there is one."""
    return FAILURES


@message(Pool, kind=Kind.READ, role=Role.READ_ONLY, has_async=False)
def ha_compute_hypothetical_max_host_failures_to_tolerate(call: Call, configuration: Mapping[VM, str]) -> int:
    """How many hosts could fail if these machines were protected: 0, since there is one."""
    return FAILURES


@message(Pool, kind=Kind.READ, has_async=False)
def ha_failover_plan_exists(call: Call, n: int) -> bool:
    """Whether machines would have a host if `n` failed: only if none does."""
    return n <= FAILURES


@message(Pool, kind=Kind.WRITE, has_async=True)
def set_ha_host_failures_to_tolerate(call: Call, self: Pool, value: int) -> None:
    """Say how many hosts may fail: 0. HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN for more, INVALID_VALUE for less."""
    if value < 0:
        raise InvalidValue("value", f"{value}: no fewer than 0 hosts fail")
    if value > FAILURES:
        raise HaOperationWouldBreakFailoverPlan


@message(Pool, kind=Kind.MEASURE, has_async=False)
def ha_compute_vm_failover_plan(
    call: Call, failed_hosts: tuple[Host, ...], failed_vms: tuple[VM, ...]
) -> Mapping[VM, Mapping[str, str]]:
    """Where these machines, and those on these hosts, would be started: ``host`` has the reference of this host.

    ``error_code`` has NO_HOSTS_AVAILABLE where this host would be lost or is disabled, HOST_NOT_ENOUGH_FREE_MEMORY for
    machines that would not fit beside those before them.
    """
    lost = [vm for host in failed_hosts for vm in host.resident_VMs if not vm.is_control_domain]
    free = call.host.metrics.memory_free if call.host.metrics is not None else 0
    plan: dict[VM, Mapping[str, str]] = {}
    for vm in dict.fromkeys((*failed_vms, *lost)):
        needed = vm.memory_dynamic_max + overhead(vm, vm.memory_static_max)
        if failed_hosts or not call.host.enabled:
            plan[vm] = {"error_code": "NO_HOSTS_AVAILABLE"}
        elif vm.power_state is PowerState.HALTED and needed > free:
            plan[vm] = {"error_code": "HOST_NOT_ENOUGH_FREE_MEMORY"}
        else:
            plan[vm] = {"host": call.host.ref}
            free -= needed if vm.power_state is PowerState.HALTED else 0
    return plan


@message(SR)
def assert_can_host_ha_statefile(call: Call, sr: SR) -> None:
    """Refused with SR_OPERATION_NOT_SUPPORTED: there is no high availability that would keep its state in a disk."""
    raise SrOperationNotSupported(sr)


@message(VM, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def assert_agile(call: Call, self: VM) -> None:
    """Fail unless another host could run the machine, if there were one: by its storage and its networks.

    HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED, HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED.
    """
    for vbd in self.VBDs:
        if vbd.VDI is not None and not vbd.VDI.SR.shared:
            raise HaConstraintViolationSrNotShared(vbd.VDI.SR)
    for vif in self.VIFs:
        if not vif.network.PIFs:
            raise HaConstraintViolationNetworkNotShared(vif.network)

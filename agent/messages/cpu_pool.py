"""CPU pools: making them, activating them, and moving processors between them. The rules are the original server's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from agent.call import Call
from agent.classes import VM, CpuPool, HostCpu
from agent.classes.lifecycle import small
from agent.errors import InvalidValue, OperationNotAllowed, PoolBadState, UniquenessViolated, VMBadPowerState
from agent.model.messages import Kind, construct, message
from agent.model.types import Record
from agent.observer import cpu_pools
from agent.roles import Role


def require_told(call: Call) -> None:
    """OPERATION_NOT_ALLOWED on a host whose hypervisor does not tell of pools."""
    if not cpu_pools.activated(call.store):
        raise OperationNotAllowed("the hypervisor of this host does not tell of CPU pools")


def _require(pool: CpuPool, *, activated: bool) -> None:
    """POOL_BAD_STATE with the state it is in, unless that is the wanted one."""
    if pool.activated != activated:
        raise PoolBadState("activated" if pool.activated else "deactivated")


def _require_unique(call: Call, name: str, but: CpuPool) -> None:
    if any(pool.name_label == name for pool in call.store.all(CpuPool) if pool is not but):
        raise UniquenessViolated("cpu_pool", "name_label", name)


# --- to be and not to be


@message(CpuPool, kind=Kind.WRITE)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("cpu_pool")]) -> CpuPool:
    """Make a pool, deactivated, from a record of its RW fields.

    DB_UNIQUENESS_CONSTRAINT_VIOLATION for the name of another pool: VM.pool_name and xl go by names.
    """
    pool = construct(CpuPool, args)
    pool.name_label = pool.name_label or f"Pool-{pool.uuid[:8]}"
    _require_unique(call, pool.name_label, pool)
    pool.resident_on, pool.made = call.host, True
    return call.store.add(pool)


@message(CpuPool, kind=Kind.WRITE)
def destroy(call: Call, self: CpuPool) -> None:
    """Remove a pool, which must be deactivated: POOL_BAD_STATE."""
    _require(self, activated=False)
    call.store.destroy(self)


# --- in the hypervisor


@message(CpuPool, has_async=False)
def activate(call: Call, self: CpuPool) -> None:
    """Make the pool in the hypervisor, with `ncpu` processors that are in no pool: those of proposed_CPUs first.

    POOL_BAD_STATE if it is activated, INSUFFICIENT_CPUS, UNKOWN_SCHED_POLICY.
    """
    require_told(call)
    with call.observer.changing_cpu_pools():
        _require(self, activated=False)
        cpu_pools.activate(call.store, call.cpu_pools, self)


@message(CpuPool, has_async=False)
def deactivate(call: Call, self: CpuPool) -> None:
    """Take the pool out of the hypervisor; its processors are in no pool then. POOL_BAD_STATE if it is deactivated or a
    domain is in it.
    """
    with call.observer.changing_cpu_pools():
        _require(self, activated=True)
        with call.store.transaction():
            self.made = True
        call.cpu_pools.destroy(self.name_label)


@message(CpuPool, has_async=False)
def add_host_CPU_live(call: Call, self: CpuPool, host_cpu: HostCpu) -> None:
    """Give an activated pool another processor, which must be in no pool: INVALID_CPU. POOL_BAD_STATE."""
    with call.observer.changing_cpu_pools():
        _require(self, activated=True)
        call.cpu_pools.add_cpu(self.name_label, host_cpu.number)
    _follow(call, self)


@message(CpuPool, has_async=False)
def remove_host_CPU_live(call: Call, self: CpuPool, host_cpu: HostCpu) -> None:
    """Take a processor out of an activated pool; it is in no pool then.

    POOL_BAD_STATE; INVALID_CPU if the pool does not have it; LAST_CPU_NOT_REMOVEABLE while domains are in the pool.
    """
    with call.observer.changing_cpu_pools():
        _require(self, activated=True)
        call.cpu_pools.remove_cpu(self.name_label, host_cpu.number)
    _follow(call, self)


def _follow(call: Call, pool: CpuPool) -> None:
    """After a change of its processors: next time it is activated, the pool is to have the same."""
    if pool.host_CPUs:
        with call.store.transaction():
            pool.ncpu = len(pool.host_CPUs)
            pool.proposed_CPUs = tuple(str(number) for number in sorted(cpu.number for cpu in pool.host_CPUs))


@message(CpuPool, has_async=False)
def set_name_label(call: Call, self: CpuPool, value: str) -> None:
    """Give the pool another name; that of an activated one changes in the hypervisor too. Machines' pool_name follows.

    INVALID_VALUE, DB_UNIQUENESS_CONSTRAINT_VIOLATION.
    """
    if value == self.name_label:
        return
    if not value:
        raise InvalidValue("name_label", "a pool has a name")
    with call.observer.changing_cpu_pools():
        _require_unique(call, value, self)
        if self.activated:
            with call.store.transaction():
                self.becomes = value  # whoever looks next sees which of the names it has
            call.cpu_pools.rename(self.name_label, value)
        else:
            with call.store.transaction():
                cpu_pools.rename(call.store, self, value)


# --- what is fixed while the hypervisor has it


@message(CpuPool, kind=Kind.WRITE)
def set_ncpu(call: Call, self: CpuPool, value: int) -> None:
    """Set how many processors the pool takes. POOL_BAD_STATE while it is activated."""
    _require(self, activated=False)
    self.ncpu = value


@message(CpuPool, kind=Kind.WRITE)
def set_sched_policy(call: Call, self: CpuPool, new_sched_policy: str) -> None:
    """Set the pool's scheduler, which the hypervisor looks at when it is activated. POOL_BAD_STATE while it is."""
    _require(self, activated=False)
    self.sched_policy = new_sched_policy


@message(CpuPool, kind=Kind.WRITE)
def set_proposed_CPUs(call: Call, self: CpuPool, cpus: tuple[str, ...]) -> None:
    """Set which processors the pool takes first, by number. POOL_BAD_STATE while it is activated."""
    _propose(self, cpus)


@message(CpuPool, kind=Kind.WRITE)
def add_to_proposed_CPUs(call: Call, self: CpuPool, cpu: int) -> None:
    """Add a processor, by number, to those that the pool takes first. POOL_BAD_STATE while it is activated."""
    _propose(self, (*self.proposed_CPUs, str(cpu)))


@message(CpuPool, kind=Kind.WRITE)
def remove_from_proposed_CPUs(call: Call, self: CpuPool, cpu: int) -> None:
    """Take a processor, by number, from those that the pool takes first. POOL_BAD_STATE while it is activated."""
    _propose(self, tuple(number for number in self.proposed_CPUs if number != str(cpu)))


@message(CpuPool, kind=Kind.WRITE)
def add_proposed_CPUs(call: Call, self: CpuPool, value: str) -> None:
    """Like add_to_proposed_CPUs, with the number as text, as xapi would spell it."""
    _propose(self, (*self.proposed_CPUs, value))


@message(CpuPool, kind=Kind.WRITE)
def remove_proposed_CPUs(call: Call, self: CpuPool, value: str) -> None:
    """Like remove_from_proposed_CPUs, with the number as text, as xapi would spell it."""
    _propose(self, tuple(number for number in self.proposed_CPUs if number != value))


def _propose(pool: CpuPool, numbers: tuple[str, ...]) -> None:
    _require(pool, activated=False)
    CpuPool.fields["proposed_CPUs"].admit(numbers)
    pool.proposed_CPUs = tuple(dict.fromkeys(numbers))


# --- processors and machines


@message(HostCpu, kind=Kind.READ, role=Role.READ_ONLY)
def get_unassigned_cpus(call: Call) -> tuple[HostCpu, ...]:
    """List the processors that are in no CPU pool. OPERATION_NOT_ALLOWED where the hypervisor tells of no pools."""
    require_told(call)
    return tuple(cpu for cpu in call.host.host_CPUs if cpu.in_pool is None)


@message(VM, kind=Kind.WRITE)
def set_pool_name(call: Call, self: VM, pool_name: str) -> None:
    """Name the CPU pool that the machine is moved into from its next start on. It need not exist yet."""
    self.pool_name = pool_name


@message(VM, role=Role.VM_POWER_ADMIN, has_async=False)
def cpu_pool_migrate(call: Call, self: VM, pool: CpuPool) -> None:
    """Move a running machine into another CPU pool, in which it is started from now on too.

    VM_BAD_POWER_STATE, POOL_BAD_STATE for a pool that is not activated or has no processor, OPERATION_NOT_ALLOWED for
    the control domain. Its weight and cap are set anew, since a scheduler knows them only of its own domains.
    """
    if self.is_control_domain:
        raise OperationNotAllowed("the control domain stays in its CPU pool")
    if self.power_state not in cpu_pools.LIVE:
        raise VMBadPowerState(self, "running, paused", small(self.power_state))
    with call.observer.changing_cpu_pools():
        _require(pool, activated=True)
        call.cpu_pools.move(self, pool.name_label)
        with call.store.transaction():
            self.pool_name = pool.name_label
    call.observer.share(self)

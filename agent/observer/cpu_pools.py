"""CPU pools as the hypervisor has them: which there are, and which processors and machines are in them. And how one is
activated, which clients ask for, and the agent at its start.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Collection, Sequence

from agent.classes import VM, CpuPool, Host
from agent.classes.enums import PowerState
from agent.errors import InsufficientCpus, UnknownSchedPolicy
from agent.ports import CpuPools, SeenCpuPool
from agent.store.store import Store

LIVE = (PowerState.RUNNING, PowerState.PAUSED)


def activated(store: Store) -> list[CpuPool]:
    """The pools that the hypervisor has. None, where it does not tell of pools: Xen always has one."""
    return [pool for pool in store.all(CpuPool) if pool.activated]


def note(store: Store, pools: Sequence[SeenCpuPool]) -> None:
    """Make the pools what was seen. One that clients made stays when the hypervisor has it no more; others go."""
    with store.transaction():
        host = store.only(Host)
        _end_renaming(store, {pool.name for pool in pools})
        known = {pool.name_label: pool for pool in store.all(CpuPool)}
        of_cpu: dict[int, CpuPool] = {}
        of_machine: dict[str, CpuPool] = {}
        for seen in pools:
            pool = known.pop(seen.name, None) or _adopt(store, host, seen.name)
            pool.activated, pool.sched_policy = True, seen.sched_policy
            if not pool.made:
                pool.ncpu, pool.proposed_CPUs = max(1, len(seen.cpus)), tuple(str(cpu) for cpu in sorted(seen.cpus))
            of_cpu |= dict.fromkeys(seen.cpus, pool)
            of_machine |= dict.fromkeys(seen.domains, pool)
        for cpu in host.host_CPUs:
            cpu.in_pool = of_cpu.get(cpu.number)
        for vm in store.all(VM):
            vm.in_pool = of_machine.get(vm.uuid) if vm.power_state in LIVE else None
        for pool in known.values():
            pool.activated = False
            if not pool.made:
                store.destroy(pool)


def rename(store: Store, pool: CpuPool, name: str) -> None:
    """Give the pool another name, by which machines go too. In a transaction."""
    for vm in store.all(VM):
        if vm.pool_name == pool.name_label:
            vm.pool_name = name
    pool.name_label = name


def _end_renaming(store: Store, names: Collection[str]) -> None:
    """A pool that was being renamed has one of its two names."""
    for pool in store.all(CpuPool):
        if pool.becomes:
            if pool.becomes in names and pool.name_label not in names:
                rename(store, pool, pool.becomes)
            pool.becomes = ""


def activate(store: Store, port: CpuPools, pool: CpuPool) -> None:
    """Make the pool in the hypervisor, with `ncpu` processors that are in no pool: those of proposed_CPUs first.

    UNKOWN_SCHED_POLICY, INSUFFICIENT_CPUS.
    """
    if pool.sched_policy and pool.sched_policy not in port.policies():
        raise UnknownSchedPolicy
    free = sorted(cpu.number for cpu in store.only(Host).host_CPUs if cpu.in_pool is None)
    if len(free) < pool.ncpu:
        raise InsufficientCpus(pool.ncpu, len(free))
    proposed = [number for number in free if str(number) in pool.proposed_CPUs]
    others = [number for number in free if number not in proposed]
    port.create(pool.name_label, pool.sched_policy, sorted([*proposed, *others][: pool.ncpu]))


def _adopt(store: Store, host: Host, name: str) -> CpuPool:
    pool = CpuPool(name_label=name)
    pool.uuid = str(uuids.uuid5(uuids.UUID(host.uuid), f"CPU pool {name}"))
    pool.resident_on = host
    return store.add(pool)

"""CPU pools: those of this host's Xen, by xl, and those of a simulated host, which follow the same rules.

libvirt knows nothing of CPU pools. xl takes a pool by name, and a name of digits for a number; where it makes one it
parses its arguments as a configuration, so only plain words come near it. It says that all is well when a processor
could not be added or taken out (Xen 4.17), so what became of it is looked at.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.classes import VM
from agent.errors import (
    InvalidCpu,
    LastCpuNotRemovable,
    OperationNotAllowed,
    PoolBadState,
    UniquenessViolated,
    UnknownSchedPolicy,
    VMBadPowerState,
)
from agent.ports import SeenCpuPool
from drivers.program import Answer
from drivers.xl import Xl, XlPool

SCHEDULERS = ("credit", "credit2", "rtds", "arinc653", "null")
"""Those that libxl 4.17 knows. Which of them are built into the hypervisor shows when a pool is made."""
FIRST = "Pool-0"
_PLAIN = re.compile(r"[A-Za-z0-9_.:/+-]{1,64}", re.ASCII)


def _plain(name: str) -> str:
    """A name as it can be given to xl. POOL_BAD_STATE for one that no pool has: xl would read more into it."""
    if not _PLAIN.fullmatch(name) or name.isdecimal():
        raise PoolBadState("deactivated")
    return name


class XlCpuPools:
    """The port ``agent.ports.CpuPools`` on the Xen of this host."""

    def __init__(self, xl: Xl) -> None:
        self._xl = xl
        self._changing = threading.Lock()

    # --- seeing

    def list(self) -> Sequence[SeenCpuPool] | None:
        """All pools, the first one first; None on a host without xl, or if it does not tell now."""
        pools = self._xl.pools()
        domains = None if pools is None else self._xl.list()
        if pools is None or domains is None:
            return None
        members = self._xl.members()
        return [
            SeenCpuPool(
                name=pool.name,
                sched_policy=pool.sched,
                cpus=pool.cpus,
                domains=[domain.uuid for domain in domains if members.get(domain.domid) == pool.name],
            )
            for pool in pools
        ]

    def policies(self) -> Sequence[str]:
        """The schedulers that a pool can have."""
        return SCHEDULERS

    def _pools(self) -> dict[str, XlPool]:
        found = self._xl.pools()
        if found is None:
            raise OperationNotAllowed("xl does not tell of CPU pools on this host")
        return {pool.name: pool for pool in found}

    def _pool(self, name: str) -> XlPool:
        found = self._pools().get(_plain(name))
        if found is None:
            raise PoolBadState("deactivated")
        return found

    # --- changing

    def create(self, name: str, sched_policy: str, cpus: Sequence[int]) -> None:
        """Make a pool with these processors."""
        if sched_policy and sched_policy not in SCHEDULERS:
            raise UnknownSchedPolicy
        settings = [f'name="{_plain(name)}"', *([f'sched="{sched_policy}"'] if sched_policy else [])]
        listed = ",".join(f'"{int(cpu)}"' for cpu in cpus)
        settings.append(f"cpus=[{listed}]")
        with self._changing:
            if name in self._pools():
                raise UniquenessViolated("cpu_pool", "name_label", name)
            answer = self._xl.ask("cpupool-create", *settings)
        if answer.code != 0:
            if "illegal or not free" in answer.text:
                raise InvalidCpu(answer.words)
            _refuse(answer)

    def destroy(self, name: str) -> None:
        """Remove a pool."""
        with self._changing:
            if self._pool(name).domains:
                raise PoolBadState("in use")
            answer = self._xl.ask("cpupool-destroy", name)
        if answer.code != 0:
            _refuse(answer)

    def rename(self, name: str, new_name: str) -> None:
        """Give a pool another name."""
        with self._changing:
            self._pool(name)
            if _plain(new_name) in self._pools():
                raise UniquenessViolated("cpu_pool", "name_label", new_name)
            answer = self._xl.ask("cpupool-rename", name, new_name)
        if answer.code != 0:
            _refuse(answer)

    def add_cpu(self, name: str, number: int) -> None:
        """Add a processor that is in no pool."""
        with self._changing:
            self._pool(name)
            for pool in self._pools().values():
                if number in pool.cpus:
                    raise InvalidCpu(f"processor {number} is in the pool {pool.name}")
            answer = self._xl.ask("cpupool-cpu-add", name, str(int(number)))
            if number not in self._pool(name).cpus:
                _refuse(answer)

    def remove_cpu(self, name: str, number: int) -> None:
        """Take a processor out."""
        with self._changing:
            pool = self._pool(name)
            if number not in pool.cpus:
                raise InvalidCpu(f"processor {number} is not in the pool {name}")
            if len(pool.cpus) == 1 and pool.domains:
                raise LastCpuNotRemovable(f"{pool.domains} domains are in the pool {name}")
            answer = self._xl.ask("cpupool-cpu-remove", name, str(int(number)))
            if number in self._pool(name).cpus:
                _refuse(answer)

    def move(self, vm: VM, name: str) -> None:
        """Move the running machine into a pool that has processors."""
        with self._changing:
            if not self._pool(name).cpus:
                raise PoolBadState("without processors")
            entry = next((domain for domain in self._xl.list() or () if domain.uuid == vm.uuid), None)
            if entry is None:
                raise VMBadPowerState(vm, "running, paused", "halted")
            answer = self._xl.ask("cpupool-migrate", str(entry.domid), name)
        if answer.code != 0:
            _refuse(answer)


def _refuse(answer: Answer) -> None:
    raise OperationNotAllowed(f"xl refuses: {answer.words}")


@dataclass
class SimulatedCpuPools:
    """The port ``agent.ports.CpuPools`` in memory. It begins anew with the agent, as Xen's pools do with the host."""

    numbers: Callable[[], Sequence[int]]
    """The numbers of the host's processors."""
    running: Callable[[], Mapping[str, int]]
    """The running domains: the number of each, by uuid. Under a new number a domain is a new one, in the first pool."""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._pools: dict[str, SeenCpuPool] = {}
        self._first = FIRST
        self._placed: dict[tuple[str, int], str] = {}

    # --- seeing

    def list(self) -> Sequence[SeenCpuPool]:
        """All pools, the first one first."""
        with self._lock:
            if not self._pools:
                self._pools[FIRST] = SeenCpuPool(FIRST, "credit2", tuple(self.numbers()), ())
            members: dict[str, list[str]] = {name: [] for name in self._pools}
            for place in self.running().items():
                members[self._placed.get(place, self._first)].append(place[0])
            return [replace(pool, domains=members[name]) for name, pool in self._pools.items()]

    def policies(self) -> Sequence[str]:
        """The schedulers that a pool can have: Xen's."""
        return SCHEDULERS

    def _pool(self, name: str) -> SeenCpuPool:
        found = next((pool for pool in self.list() if pool.name == name), None)
        if found is None:
            raise PoolBadState("deactivated")
        return found

    def _busy(self, pool: SeenCpuPool) -> bool:
        """Whether domains are in it. The control domain is always in the first, though the simulation shows none."""
        return bool(pool.domains) or pool.name == self._first

    # --- changing

    def create(self, name: str, sched_policy: str, cpus: Sequence[int]) -> None:
        """Make a pool with these processors."""
        if sched_policy and sched_policy not in SCHEDULERS:
            raise UnknownSchedPolicy
        with self._lock:
            if any(pool.name == name for pool in self.list()):
                raise UniquenessViolated("cpu_pool", "name_label", name)
            for number in cpus:
                self._require_free(number)
            policy = sched_policy or self._pools[self._first].sched_policy
            self._pools[name] = SeenCpuPool(name, policy, tuple(sorted(cpus)), ())

    def destroy(self, name: str) -> None:
        """Remove a pool."""
        with self._lock:
            if self._busy(self._pool(name)):
                raise PoolBadState("in use")
            del self._pools[name]

    def rename(self, name: str, new_name: str) -> None:
        """Give a pool another name."""
        with self._lock:
            self._pool(name)
            if new_name in self._pools:
                raise UniquenessViolated("cpu_pool", "name_label", new_name)
            renamed = {name: new_name}
            self._pools = {
                renamed.get(key, key): replace(pool, name=renamed.get(key, key)) for key, pool in self._pools.items()
            }
            self._placed = {place: renamed.get(pool, pool) for place, pool in self._placed.items()}
            self._first = renamed.get(self._first, self._first)

    def add_cpu(self, name: str, number: int) -> None:
        """Add a processor that is in no pool."""
        with self._lock:
            pool = self._pool(name)
            self._require_free(number)
            self._pools[name] = replace(pool, cpus=tuple(sorted((*pool.cpus, number))))

    def remove_cpu(self, name: str, number: int) -> None:
        """Take a processor out."""
        with self._lock:
            pool = self._pool(name)
            if number not in pool.cpus:
                raise InvalidCpu(f"processor {number} is not in the pool {name}")
            if len(pool.cpus) == 1 and self._busy(pool):
                raise LastCpuNotRemovable(f"domains are in the pool {name}")
            self._pools[name] = replace(pool, cpus=tuple(cpu for cpu in pool.cpus if cpu != number))

    def _require_free(self, number: int) -> None:
        if number not in self.numbers():
            raise InvalidCpu(f"there is no processor {number}")
        for pool in self._pools.values():
            if number in pool.cpus:
                raise InvalidCpu(f"processor {number} is in the pool {pool.name}")

    def move(self, vm: VM, name: str) -> None:
        """Move the running machine into a pool that has processors."""
        with self._lock:
            if not self._pool(name).cpus:
                raise PoolBadState("without processors")
            running = self.running()
            if vm.uuid not in running:
                raise VMBadPowerState(vm, "running, paused", "halted")
            self._placed = {place: pool for place, pool in self._placed.items() if place in running.items()}
            self._placed[vm.uuid, running[vm.uuid]] = name

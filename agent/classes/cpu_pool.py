"""The class cpu_pool. What can be done to a pool is in ``agent.messages.cpu_pool``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.model.entity import Entity, internal, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class CpuPool(Entity, name="cpu_pool", role=Role.POOL_OPERATOR, creates=True, destroys=True):
    """Some of the host's processors, with a scheduler of their own, and the machines that run on them and no others.

    Xen has one from the start, Pool-0, with all processors, in which every domain begins. A pool is made deactivated,
    and the hypervisor knows it from its activation on. Pools that others make with xl are shown too.
    """

    uuid: str = runtime("permanent name of this pool")
    name_label: str = readwrite(
        "name for people and for xl, unique among the pools; made up when empty", default="", check=checks.cpu_pool_name
    )
    name_description: str = readwrite("what the pool is for, for people", default="", check=checks.modest)
    resident_on: m.Host = runtime("host whose processors it has", bound="resident_cpu_pools", kept=True)
    auto_power_on: bool = readwrite("is it activated when the agent starts", default=False)
    started_VMs: tuple[m.VM, ...] = runtime("machines that run in it", default=())
    ncpu: int = readwrite(
        "processors that it takes when it is activated; fixed while it is", default=1, check=checks.cpu_count
    )
    sched_policy: str = readwrite(
        "its scheduler, such as credit2; fixed while it is activated, and the hypervisor's own when empty",
        default="",
        check=checks.modest,
    )
    proposed_CPUs: tuple[str, ...] = readwrite(
        "numbers of the processors that it takes first when it is activated, if they are in no pool; fixed while it is",
        default=(),
        check=checks.cpu_numbers,
    )
    host_CPUs: tuple[m.HostCpu, ...] = runtime("processors that it has", default=())
    activated: bool = runtime("does the hypervisor have it", default=False)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    becomes: str = internal("the name that it is being given in the hypervisor; empty for none", default="")
    made: bool = internal(
        "made or deactivated through the API: it stays while the hypervisor does not have it", default=False
    )

"""The class host_cpu. Where the numbers come from is the driver's business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.model.entity import Entity, internal, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class HostCpu(Entity, name="host_cpu", role=Role.POOL_OPERATOR, measured=True):
    """One processor of the host: a core or a thread, as the hypervisor counts them."""

    uuid: str = runtime("permanent name of this processor")
    host: m.Host = runtime("host that has the processor", bound="host_CPUs", kept=True)
    number: int = runtime("number that the hypervisor gives it, from 0", default=0, kept=True)
    vendor: str = runtime("maker, such as GenuineIntel", default="")
    speed: int = runtime("clock in MHz; 0 where unknown", default=0)
    modelname: str = runtime("name that the maker gave the model", default="")
    stepping: str = runtime("revision of the model", default="")
    flags: str = runtime("abilities that Linux lists for it, with spaces between them", default="")
    features: str = runtime("abilities as the hypervisor's bit masks; empty where it does not tell", default="")
    utilisation: float = runtime(
        "part of its time that it works, from 0 to 1, measured when read", default=0.0, quiet=True
    )
    cpu_pool: tuple[m.CpuPool, ...] = runtime(
        "CPU pool that has it; none, where it is in none or the hypervisor does not tell",
        default=(),
        bound="host_CPUs",
        through="in_pool",
    )
    family: int = runtime("number of the family, as CPUID has it", default=0)
    model: int = runtime("number of the model in its family, as CPUID has it", default=0)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    in_pool: m.CpuPool | None = internal(
        "the one pool of cpu_pool", default=None, bound="host_CPUs", weak=True, passing=True
    )

    derive_from = frozenset({"in_pool"})

    def derive(self) -> None:
        """cpu_pool shows in_pool."""
        self.cpu_pool = () if self.in_pool is None else (self.in_pool,)

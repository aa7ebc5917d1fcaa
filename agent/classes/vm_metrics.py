"""The class VM_metrics. Where the numbers come from is the driver's business."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.classes import checks
from agent.classes.enums import DomainType
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class VMMetrics(Entity, name="VM_metrics", role=Role.VM_ADMIN, measured=True):
    """What a machine has and does now, seen from the hypervisor. It is measured when somebody reads it."""

    uuid: str = runtime("permanent name of these numbers")
    memory_actual: int = runtime("bytes of memory that the machine has now; 0 while halted", default=0, quiet=True)
    VCPUs_number: int = runtime("virtual CPUs that the machine has now; 0 while halted", default=0)
    VCPUs_utilisation: Mapping[int, float] = runtime(
        "part of its time that each virtual CPU runs, from 0 to 1, by number", default={}, quiet=True
    )
    VCPUs_CPU: Mapping[int, int] = runtime(
        "processor of the host that each virtual CPU was last seen on, by number", default={}, quiet=True
    )
    VCPUs_params: Mapping[str, str] = runtime(
        "always empty: the settings of the scheduler are those of VM.VCPUs_params", default={}
    )
    VCPUs_flags: Mapping[int, tuple[str, ...]] = runtime(
        "what each virtual CPU does (online, running, blocked), by number", default={}, quiet=True
    )
    state: tuple[str, ...] = runtime("what the hypervisor says of the domain: running, paused and the like", default=())
    start_time: datetime = runtime("when the machine was last started; 1970 if never seen", default=EPOCH, kept=True)
    last_updated: datetime = runtime("when the numbers were measured", default=EPOCH, quiet=True)
    install_time: datetime = runtime("when the machine was made", default=EPOCH, kept=True)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    hvm: bool = runtime("does the running machine use the processor's own virtualisation", default=False)
    nested_virt: bool = runtime("always false: the agent gives no guest a hypervisor's abilities", default=False)
    nomigrate: bool = runtime(
        "always false: nothing keeps a machine from being moved but the lack of another host", default=False
    )
    current_domain_type: DomainType = runtime(
        "how the running machine is virtualised; unspecified while halted", default=DomainType.UNSPECIFIED
    )
    numa_optimised: bool = constructor("always false: the agent does not look where memory lies", default=False)
    numa_nodes: int = constructor("always 0: the agent does not look where memory lies", default=0)
    numa_node_memory: Mapping[int, int] = runtime("always empty: the agent does not look where memory lies", default={})
    started_as: int = internal(
        "number of the domain that start_time is of; its complement once a client has asked for another", default=-1
    )
    rapid_restarts: int = internal(
        "how often in a row it has come back as another domain, unasked and soon after its start", default=0
    )
    crashes: int = internal("how often its guest was told to have crashed since rapid_restarts was 0", default=0)

"""The class VM_appliance: machines that belong together. How they are started is in ``agent.messages.vm_appliance``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.classes.enums import VmApplianceOperation
from agent.model.entity import Entity, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class VMAppliance(Entity, name="VM_appliance", role=Role.POOL_OPERATOR, creates=True, destroys=True):
    """Machines that are started and stopped together, in the order that their fields order and start_delay say."""

    uuid: str = runtime("permanent name of this appliance")
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the appliance is for, for people", default="", check=checks.modest)
    allowed_operations: tuple[VmApplianceOperation, ...] = runtime("what can be done to the appliance now", default=())
    current_operations: Mapping[str, VmApplianceOperation] = runtime(
        "what is being done to the appliance, by the reference of the task that does it", default={}
    )
    VMs: tuple[m.VM, ...] = runtime("machines that belong to it, by their field appliance", default=())

    derive_from = frozenset({"current_operations", "VMs"})

    def derive(self) -> None:
        """Which operations are allowed follows from the state of the machines."""
        lifecycle.derive_appliance(self)

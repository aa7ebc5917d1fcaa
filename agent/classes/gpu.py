"""The classes PGPU and GPU_group: the host's graphics cards, as found. A machine gets one whole, by the class DPCI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from agent.classes import checks
from agent.classes.enums import AllocationAlgorithm, PciDom0Access
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.model.types import Int, Map, Ref
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

NO_TYPES = "always empty: graphics cards are given to machines whole (DPCI), and have no virtual ones"
Capacities = Annotated[Mapping[Entity, int], Map(Ref("VGPU_type", nullable=True), Int())]


class PGPU(Entity, role=Role.POOL_OPERATOR):
    """A graphics card of the host: a PCI device of class 03."""

    uuid: str = runtime("permanent name of this card")
    PCI: m.PCI = constructor("device that the card is", part=True)
    GPU_group: m.GPUGroup = readwrite("group that it is one of", bound="PGPUs")
    host: m.Host = runtime("host that has the card", bound="PGPUs", kept=True)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    supported_VGPU_types: tuple[Entity, ...] = runtime(NO_TYPES, default=(), to="VGPU_type")
    enabled_VGPU_types: tuple[Entity, ...] = runtime(NO_TYPES, default=(), to="VGPU_type")
    resident_VGPUs: tuple[Entity, ...] = runtime(NO_TYPES, default=(), to="VGPU")
    supported_VGPU_max_capacities: Capacities = runtime(NO_TYPES, default={})
    dom0_access: PciDom0Access = runtime(
        "disabled for one that is set aside for machines, or that no driver of the host has",
        default=PciDom0Access.ENABLED,
    )
    is_system_display_device: bool = runtime("is it the one that the host booted with", default=False)
    compatibility_metadata: Mapping[str, str] = runtime(
        "always empty: no machine is moved with a virtual graphics card", default={}
    )


class GPUGroup(Entity, name="GPU_group", role=Role.POOL_OPERATOR, destroys=True):
    """Graphics cards of one model. The agent makes a group for each model; clients may make others."""

    uuid: str = runtime("permanent name of this group")
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the group is for, for people", default="", check=checks.modest)
    PGPUs: tuple[m.PGPU, ...] = runtime("cards of the group", default=())
    VGPUs: tuple[Entity, ...] = runtime(NO_TYPES, default=(), to="VGPU")
    GPU_types: tuple[str, ...] = runtime("models of its cards, as vendor/device in hexadecimal digits", default=())
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    allocation_algorithm: AllocationAlgorithm = readwrite(
        "which of its cards is taken first; noted, not acted on, since there are no virtual ones",
        default=AllocationAlgorithm.DEPTH_FIRST,
    )
    supported_VGPU_types: tuple[Entity, ...] = runtime(NO_TYPES, default=(), to="VGPU_type")
    enabled_VGPU_types: tuple[Entity, ...] = runtime(NO_TYPES, default=(), to="VGPU_type")

    derive_from = frozenset({"PGPUs"})

    def derive(self) -> None:
        """Which models there are follows from the cards."""
        self.GPU_types = tuple(dict.fromkeys(f"{card.PCI.vendor_id}/{card.PCI.device_id}" for card in self.PGPUs))

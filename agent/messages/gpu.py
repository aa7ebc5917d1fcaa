"""Graphics cards of the host, and the groups that they are in; who has a PCI device, the host or its guests. Which
there are, the observer sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from agent.call import Call
from agent.classes import PCI, PGPU, GPUGroup
from agent.classes.enums import PciDom0Access
from agent.errors import GpuGroupContainsPgpu, OperationNotAllowed, PgpuNotCompatible
from agent.model.messages import Kind, message
from agent.model.types import Ref, Set
from agent.observer.devices import access_of
from agent.roles import Role

VGPU_type = Ref("VGPU_type")
"""A class that has no objects: no reference is one to it."""


@message(GPUGroup, kind=Kind.WRITE, has_async=True)
def create(
    call: Call, name_label: str = "", name_description: str = "", other_config: Mapping[str, str] = {}
) -> GPUGroup:
    """Make a group without cards."""
    given = {"name_label": name_label, "name_description": name_description, "other_config": other_config}
    for name, value in given.items():
        GPUGroup.fields[name].admit(value)
    return call.store.add(GPUGroup(name_label=name_label, name_description=name_description, other_config=other_config))


@message(GPUGroup, kind=Kind.WRITE, has_async=True)
def destroy(call: Call, self: GPUGroup) -> None:
    """Remove a group. GPU_GROUP_CONTAINS_PGPU while it has cards."""
    if self.PGPUs:
        raise GpuGroupContainsPgpu(", ".join(card.ref for card in self.PGPUs))
    call.store.destroy(self)


@message(PGPU, kind=Kind.WRITE, has_async=True)
def set_GPU_group(call: Call, self: PGPU, value: GPUGroup) -> None:
    """Put the card into another group. PGPU_NOT_COMPATIBLE_WITH_GPU_GROUP for one of another model."""
    model = f"{self.PCI.vendor_id}/{self.PCI.device_id}"
    if value.PGPUs and model not in value.GPU_types:
        raise PgpuNotCompatible(model, ", ".join(value.GPU_types))
    self.GPU_group = value


# --- virtual graphics cards, of which there are none


@message(PGPU, kind=Kind.READ, has_async=True)
def add_enabled_VGPU_types(call: Call, self: PGPU, value: Annotated[Any, VGPU_type]) -> None:
    """Refused with HANDLE_INVALID: there is no VGPU_type."""


@message(PGPU, kind=Kind.READ, has_async=True)
def remove_enabled_VGPU_types(call: Call, self: PGPU, value: Annotated[Any, VGPU_type]) -> None:
    """Refused with HANDLE_INVALID: there is no VGPU_type."""


@message(PGPU, kind=Kind.READ, has_async=True)
def set_enabled_VGPU_types(call: Call, self: PGPU, value: Annotated[tuple[Any, ...], Set(VGPU_type)]) -> None:
    """Have no types of virtual cards. HANDLE_INVALID for any, since there is none."""


@message(PGPU, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def get_remaining_capacity(call: Call, self: PGPU, vgpu_type: Annotated[Any, VGPU_type]) -> int:
    """Refused with HANDLE_INVALID: there is no VGPU_type."""
    return 0


@message(GPUGroup, kind=Kind.READ, role=Role.READ_ONLY, has_async=True, name="get_remaining_capacity")
def get_remaining_capacity_of_group(call: Call, self: GPUGroup, vgpu_type: Annotated[Any, VGPU_type]) -> int:
    """Refused with HANDLE_INVALID: there is no VGPU_type."""
    return 0


# --- who has a device

HOW = {
    PciDom0Access.ENABLED: "the host's admin binds a driver to it",
    PciDom0Access.DISABLED: "the host uses it: set it aside with xen-pciback.hide on Linux' command line",
}


@message(PCI, kind=Kind.READ, has_async=True)
def get_dom0_access_status(call: Call, self: PCI) -> PciDom0Access:
    """disabled for a device that is set aside for machines, or that no driver of the host has; else enabled."""
    return access_of(self.driver_name)


@message(PCI, kind=Kind.READ, has_async=True)
def enable_dom0_access(call: Call, self: PCI) -> PciDom0Access:
    """Let the host use the device. OPERATION_NOT_ALLOWED where it does not: a driver is bound to it by the host's
    admin.
    """
    return _settled(self, PciDom0Access.ENABLED)


@message(PCI, kind=Kind.READ, has_async=True)
def disable_dom0_access(call: Call, self: PCI) -> PciDom0Access:
    """Keep the host from the device. OPERATION_NOT_ALLOWED where it uses it: that is set on Linux' command line."""
    return _settled(self, PciDom0Access.DISABLED)


@message(PGPU, kind=Kind.READ, has_async=True, name="enable_dom0_access")
def enable_dom0_access_of_card(call: Call, self: PGPU) -> PciDom0Access:
    """As PCI.enable_dom0_access, for the device that the card is."""
    return _settled(self.PCI, PciDom0Access.ENABLED)


@message(PGPU, kind=Kind.READ, has_async=True, name="disable_dom0_access")
def disable_dom0_access_of_card(call: Call, self: PGPU) -> PciDom0Access:
    """As PCI.disable_dom0_access, for the device that the card is."""
    return _settled(self.PCI, PciDom0Access.DISABLED)


def _settled(pci: PCI, wanted: PciDom0Access) -> PciDom0Access:
    if access_of(pci.driver_name) is not wanted:
        raise OperationNotAllowed(f"{pci.pci_id}: {HOW[wanted]}")
    return wanted

"""Graphics cards of the host, and the groups that they are in. Which there are, the observer sees."""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import PGPU, GPUGroup
from agent.errors import GpuGroupContainsPgpu, PgpuNotCompatible
from agent.model.messages import Kind, message


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

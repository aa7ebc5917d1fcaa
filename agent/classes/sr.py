"""The class SR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes.enums import StorageOperation
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class SR(Entity, role=Role.POOL_OPERATOR, destroys=True, lane="self"):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    name_label: str = readwrite("TODO name label", default="")
    name_description: str = readwrite("TODO name description", default="")
    VDIs: tuple[m.VDI, ...] = runtime("TODO VDIs", default=())
    PBDs: tuple[m.PBD, ...] = runtime("TODO PBDs", default=())
    virtual_allocation: int = runtime("TODO virtual allocation", default=0)
    physical_utilisation: int = runtime("TODO physical utilisation", default=0)
    physical_size: int = constructor("TODO physical size", default=0)
    type: str = constructor("TODO type", default="")
    content_type: str = constructor("TODO content type", default="")
    allowed_operations: tuple[StorageOperation, ...] = runtime("TODO allowed operations", default=())
    current_operations: Mapping[str, StorageOperation] = runtime("TODO current operations", default={})
    shared: bool = runtime("TODO shared", default=False, kept=True)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    tags: tuple[str, ...] = readwrite("TODO tags", default=(), role=Role.VM_OPERATOR)
    sm_config: Mapping[str, str] = readwrite("TODO sm config", default={})
    blobs: Mapping[str, str] = runtime("TODO blobs", default={})
    local_cache_enabled: bool = runtime("TODO local cache enabled", default=False)
    introduced_by: Entity | None = runtime("TODO introduced by", default=None, to="DR_task")
    clustered: bool = runtime("TODO clustered", default=False)
    is_tools_sr: bool = runtime("TODO is tools sr", default=False, kept=True)

"""The class VDI."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes.enums import OnBoot, VdiOperation, VdiType
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class VDI(Entity, role=Role.VM_ADMIN, creates=True, destroys=True, lane="SR"):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    name_label: str = readwrite("TODO name label", default="")
    name_description: str = readwrite("TODO name description", default="")
    SR: m.SR = constructor("TODO SR", bound="VDIs")
    VBDs: tuple[m.VBD, ...] = runtime("TODO VBDs", default=())
    crash_dumps: tuple[Entity, ...] = runtime("TODO crash dumps", default=(), to="crashdump")
    virtual_size: int = readwrite("TODO virtual size", default=0)
    physical_utilisation: int = runtime("TODO physical utilisation", default=0)
    type: VdiType = constructor("TODO type")
    sharable: bool = readwrite("TODO sharable", default=False)
    read_only: bool = readwrite("TODO read only", default=False)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    security_label: str = runtime("TODO security label", default="")
    allowed_operations: tuple[VdiOperation, ...] = runtime("TODO allowed operations", default=())
    current_operations: Mapping[str, VdiOperation] = runtime("TODO current operations", default={})
    storage_lock: bool = runtime("TODO storage lock", default=False)
    location: str = runtime("TODO location", default="", kept=True)
    managed: bool = runtime("TODO managed", default=False, kept=True)
    missing: bool = runtime("TODO missing", default=False)
    parent: m.VDI | None = runtime("TODO parent", default=None, kept=True, weak=True)
    xenstore_data: Mapping[str, str] = readwrite("TODO xenstore data", default={})
    sm_config: Mapping[str, str] = readwrite("TODO sm config", default={})
    is_a_snapshot: bool = runtime("TODO is a snapshot", default=False, kept=True)
    snapshot_of: m.VDI | None = runtime("TODO snapshot of", default=None, bound="snapshots", kept=True, weak=True)
    snapshots: tuple[m.VDI, ...] = runtime("TODO snapshots", default=())
    snapshot_time: datetime = runtime("TODO snapshot time", default=EPOCH, kept=True)
    tags: tuple[str, ...] = readwrite("TODO tags", default=(), role=Role.VM_OPERATOR)
    allow_caching: bool = runtime("TODO allow caching", default=False, kept=True)
    on_boot: OnBoot = runtime("TODO on boot", default=OnBoot.PERSIST, kept=True)
    metadata_of_pool: m.Pool | None = runtime("TODO metadata of pool", default=None, bound="metadata_VDIs", weak=True)
    metadata_latest: bool = runtime("TODO metadata latest", default=False)
    is_tools_iso: bool = runtime("TODO is tools iso", default=False, kept=True)
    cbt_enabled: bool = runtime("TODO cbt enabled", default=False)

"""The class VBD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes.enums import VbdMode, VbdOperation, VbdType
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class VBD(Entity, role=Role.VM_ADMIN, creates=True, destroys=True, lane="VM"):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    VM: m.VM = constructor("TODO VM", bound="VBDs", cascade=True)
    VDI: m.VDI | None = constructor("TODO VDI", bound="VBDs")
    device: str = readwrite("TODO device", default="")
    bootable: bool = readwrite("TODO bootable", default=False)
    mode: VbdMode = readwrite("TODO mode", default=VbdMode.RO)
    type: VbdType = readwrite("TODO type", default=VbdType.CD)
    currently_attached: bool = runtime("TODO currently attached", default=False)
    status_code: int = runtime("TODO status code", default=0)
    status_detail: str = runtime("TODO status detail", default="")
    runtime_properties: Mapping[str, str] = runtime("TODO runtime properties", default={})
    qos_algorithm_type: str = readwrite("TODO qos algorithm type", default="")
    qos_algorithm_params: Mapping[str, str] = readwrite("TODO qos algorithm params", default={})
    qos_supported_algorithms: tuple[str, ...] = runtime("TODO qos supported algorithms", default=())
    metrics: m.VBDMetrics | None = runtime("TODO metrics", default=None, kept=True, owns=True)
    allowed_operations: tuple[VbdOperation, ...] = runtime("TODO allowed operations", default=())
    current_operations: Mapping[str, VbdOperation] = runtime("TODO current operations", default={})
    userdevice: str = readwrite("TODO userdevice", default="")
    unpluggable: bool = readwrite("TODO unpluggable", default=True)
    storage_lock: bool = runtime("TODO storage lock", default=False)
    empty: bool = constructor("TODO empty", default=False)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})

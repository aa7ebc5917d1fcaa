"""The class network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes.enums import NetworkDefaultLockingMode, NetworkOperation, NetworkPurpose
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Network(Entity, name="network", role=Role.POOL_OPERATOR, creates=True, destroys=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    name_label: str = readwrite("TODO name label", default="")
    name_description: str = readwrite("TODO name description", default="")
    VIFs: tuple[m.VIF, ...] = runtime("TODO VIFs", default=())
    PIFs: tuple[m.PIF, ...] = runtime("TODO PIFs", default=())
    default_gateway: str = readwrite("TODO default gateway", default="")
    default_netmask: str = readwrite("TODO default netmask", default="")
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    allowed_operations: tuple[NetworkOperation, ...] = runtime("TODO allowed operations", default=())
    current_operations: Mapping[str, NetworkOperation] = runtime("TODO current operations", default={})
    MTU: int = readwrite("TODO MTU", default=1500, role=Role.VM_ADMIN)
    bridge: str = constructor("TODO bridge", default="")
    managed: bool = constructor("TODO managed", default=True)
    blobs: Mapping[str, str] = runtime("TODO blobs", default={})
    tags: tuple[str, ...] = readwrite("TODO tags", default=(), role=Role.VM_OPERATOR)
    default_locking_mode: NetworkDefaultLockingMode = runtime("TODO default locking mode", default=NetworkDefaultLockingMode.UNLOCKED)
    assigned_ips: Mapping[m.VIF | None, str] = runtime("TODO assigned ips", default={})
    purpose: tuple[NetworkPurpose, ...] = runtime("TODO purpose", default=())

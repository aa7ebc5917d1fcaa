"""The class VM_guest_metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.classes.enums import Tristate
from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class VMGuestMetrics(Entity, name="VM_guest_metrics", role=Role.VM_ADMIN):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    os_version: Mapping[str, str] = runtime("TODO os version", default={})
    PV_drivers_version: Mapping[str, str] = runtime("TODO PV drivers version", default={})
    memory: Mapping[str, str] = runtime("TODO memory", default={})
    disks: Mapping[str, str] = runtime("TODO disks", default={})
    networks: Mapping[str, str] = runtime("TODO networks", default={})
    other: Mapping[str, str] = runtime("TODO other", default={})
    last_updated: datetime = runtime("TODO last updated", default=EPOCH)
    netbios_name: Mapping[str, str] = runtime("TODO netbios name", default={})
    PV_drivers_up_to_date: bool = runtime("TODO PV drivers up to date", default=False)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    live: bool = runtime("TODO live", default=False)
    can_use_hotplug_vbd: Tristate = runtime("TODO can use hotplug vbd", default=Tristate.UNSPECIFIED)
    can_use_hotplug_vif: Tristate = runtime("TODO can use hotplug vif", default=Tristate.UNSPECIFIED)
    PV_drivers_detected: bool = runtime("TODO PV drivers detected", default=False)
    services: Mapping[str, str] = runtime("TODO services", default={})

"""The class VM_guest_metrics: what a guest says of itself. It may lie; its texts come capped and cleaned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.classes import checks
from agent.classes.enums import Tristate
from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class VMGuestMetrics(Entity, name="VM_guest_metrics", role=Role.VM_ADMIN, measured=True):
    """What the drivers inside a guest have written into xenstore about it."""

    uuid: str = runtime("permanent name of this report")
    os_version: Mapping[str, str] = runtime(
        "operating system, by the guest: name, distro, major, minor, uname", default={}
    )
    PV_drivers_version: Mapping[str, str] = runtime(
        "version of the Xen drivers in the guest: major, minor, micro, build", default={}
    )
    memory: Mapping[str, str] = runtime(
        "memory as the guest sees it, by the guest, in KiB: total and free", default={}, quiet=True
    )
    disks: Mapping[str, str] = runtime("disks as the guest sees them, by the guest", default={})
    networks: Mapping[str, str] = runtime(
        "addresses of the guest: 0/ip, 0/ipv4/0, 0/ipv6/0 for its first card, and so on", default={}
    )
    other: Mapping[str, str] = runtime(
        "what else the guest says: its abilities, whose names begin with feature-", default={}
    )
    last_updated: datetime = runtime("when the report last changed", default=EPOCH, quiet=True)
    netbios_name: Mapping[str, str] = runtime("names of a Windows guest in its network", default={})
    PV_drivers_up_to_date: bool = runtime(
        "are there Xen drivers in the guest; which are the newest nobody knows here", default=False
    )
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    live: bool = runtime("is the report of a guest that runs now", default=False)
    can_use_hotplug_vbd: Tristate = runtime("can the guest take a disk while it runs", default=Tristate.UNSPECIFIED)
    can_use_hotplug_vif: Tristate = runtime(
        "can the guest take a network card while it runs", default=Tristate.UNSPECIFIED
    )
    PV_drivers_detected: bool = runtime("are there Xen drivers in the guest", default=False)
    services: Mapping[str, str] = runtime("services that the guest says it runs, by name", default={})

"""What xe, the command line of xapi, spells otherwise than the table does. Nothing else in here knows a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class View:
    """A word for some objects of a class: a template is a VM."""

    of: str
    where: Mapping[str, object] = field(default_factory=dict)
    """What a record has by which it belongs to the view."""


VIEWS: Mapping[str, View] = {
    "vm": View("VM", {"is_a_template": False, "is_a_snapshot": False}),
    "template": View("VM", {"is_a_template": True, "is_a_snapshot": False}),
    "snapshot": View("VM", {"is_a_snapshot": True}),
    "appliance": View("VM_appliance"),
}

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "new_name": ("new-name-label",),
    "start_paused": ("paused",),
    "size": ("virtual-size", "disk-size"),
    "label": ("name-label",),
    "description": ("name-description",),
}
"""What else a parameter may be called, by its name on the wire."""

OPTIONAL: Mapping[str, object] = {"name_description": "", "content_type": "", "physical_size": 0, "description": ""}
"""Parameters that the wire needs and a command line does not, by name, with what they then are."""

LOWER = frozenset({"enum vm_power_state", "enum task_status_type"})
"""Enums of which xe shows the words in small letters."""

COLUMNS = (
    "uuid",
    "name_label",
    "power_state",
    "status",
    "progress",
    "device",
    "userdevice",
    "VM",
    "VDI",
    "SR",
    "network",
    "host",
    "type",
    "bridge",
    "size",
    "physical_utilisation",
    "virtual_size",
    "currently_attached",
    "enabled",
    "MAC",
    "name_description",
)
"""Which fields a list shows unless told otherwise, of those that the class has, and in which order."""
SHOWN_COLUMNS = 6

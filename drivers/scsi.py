"""The host's SCSI adapters and the devices on them, as Linux shows them: disks behind an adapter, tapes, changers.

SATA disks are among them, since Linux speaks SCSI to those too; disks on a bus of their own (NVMe, virtio) are not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from agent.ports import SeenScsi
from drivers.text import cleaned, content

_PLACE = re.compile(r"([0-9]{1,9}):([0-9]{1,9}):([0-9]{1,9}):([0-9]{1,18})", re.ASCII)
_ADAPTER = re.compile(r"host([0-9]{1,9})", re.ASCII)
_TYPES = {
    0: "disk",
    1: "tape",
    2: "printer",
    3: "processor",
    4: "write-once disk",
    5: "CD or DVD drive",
    6: "scanner",
    7: "optical disk",
    8: "medium changer",
    9: "communications",
    12: "RAID array",
    13: "enclosure",
    14: "simple disk",
    15: "optical card",
    16: "bridge",
    17: "object storage",
    18: "tape automation",
    20: "zoned disk",
}
"""What INQUIRY's numbers of kinds of devices mean (SCSI Primary Commands)."""


def adapters(sys: Path) -> Sequence[int]:
    """The numbers of the adapters, in order."""
    found = (_ADAPTER.fullmatch(path.name) for path in (sys / "class/scsi_host").glob("host*"))
    return sorted(int(one[1]) for one in found if one)


def devices(sys: Path) -> Sequence[SeenScsi]:
    """The devices on all adapters, in the order of their places."""
    found = []
    for path in (sys / "bus/scsi/devices").glob("*:*"):
        if place := _PLACE.fullmatch(path.name):
            host, channel, target, lun = (int(part) for part in place.groups())
            found.append(((host, channel, target, lun), path))
    return [_seen(place, path) for place, path in sorted(found)]


def _seen(place: tuple[int, int, int, int], path: Path) -> SeenScsi:
    host, channel, target, lun = place
    kind = _number(path / "type")
    return SeenScsi(
        host=host,
        channel=channel,
        target=target,
        lun=lun,
        vendor_name=cleaned(content(path / "vendor")),
        model=cleaned(content(path / "model")),
        type_id=kind,
        type=_TYPES.get(kind, ""),
        dev_name=_node(path / "block") or _node(path / "scsi_tape"),
        sg_name=_node(path / "scsi_generic"),
        revision=cleaned(content(path / "rev")),
        scsi_id=cleaned(content(path / "wwid")),
        scsi_level=_number(path / "scsi_level"),
    )


def _node(folder: Path) -> str:
    """The device file that a folder of sysfs names: the first of it."""
    names = sorted(path.name for path in folder.glob("*"))
    return f"/dev/{cleaned(names[0])}" if names else ""


def _number(path: Path) -> int:
    text = content(path)
    return int(text) if text.isdecimal() and len(text) < 10 else 0

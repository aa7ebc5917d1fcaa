"""The host's USB devices as Linux shows them, with the names that they or usb.ids give. Nothing asks libvirt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from agent.ports import SeenUsb
from drivers.pci import Ids, Names, names_from
from drivers.text import cleaned, content

_PLACE = re.compile(r"[0-9]{1,3}-[0-9]{1,3}(?:\.[0-9]{1,3}){0,6}", re.ASCII)
_KIND = re.compile(r"[0-9a-f]{4}", re.ASCII)
_SPEED = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", re.ASCII)
HUB = "09"
"""The USB class of hubs, which are the host's in every case."""


def devices(sys: Path, share: Path) -> Sequence[SeenUsb]:
    """All devices but hubs, in the order of their places."""
    found = {}
    for path in sorted((sys / "bus/usb/devices").glob("*")):
        ids = Ids(content(path / "idVendor"), content(path / "idProduct"))
        good = _PLACE.fullmatch(path.name) and _KIND.fullmatch(ids.vendor) and _KIND.fullmatch(ids.device)
        if good and content(path / "bDeviceClass") != HUB:
            found[path] = ids
    names = names_from(share, "usb.ids", frozenset(found.values())) if found else Names()
    return [_seen(path, ids, names) for path, ids in found.items()]


def _seen(path: Path, ids: Ids, names: Names) -> SeenUsb:
    kind = f"{ids.vendor}:{ids.device}"
    speed = _SPEED.fullmatch(content(path / "speed"))
    return SeenUsb(
        path=path.name,
        kind=kind,
        device=f"{kind}:{_number(path / 'busnum')}:{_number(path / 'devnum')}",
        vendor_name=cleaned(content(path / "manufacturer")) or names.vendors.get(ids.vendor, "") or ids.vendor,
        product_name=cleaned(content(path / "product"))
        or names.devices.get((ids.vendor, ids.device), "")
        or ids.device,
        serial=cleaned(content(path / "serial")),
        version=cleaned(content(path / "version")),
        speed=float(speed[0]) if speed else 0.0,
    )


def _number(path: Path) -> int:
    text = content(path)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0

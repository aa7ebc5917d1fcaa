"""The host's PCI devices as Linux shows them, with the names that pci.ids has for their numbers. Nothing asks libvirt.

On Xen the control domain sees every device of the machine, also those that a guest has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.ports import SeenPci
from drivers.text import cleaned, content

_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
"""Domain, bus, slot and function, in hexadecimal digits."""
_HEXADECIMAL = re.compile(r"(?:0x)?([0-9a-f]{1,8})", re.ASCII)
_FOLDERS = ("misc", "hwdata")
"""Where distributions have pci.ids, below /usr/share."""


@dataclass(frozen=True)
class Ids:
    """The numbers of one device, each as pci.ids writes it: four digits, the class two and two."""

    vendor: str
    device: str
    subsystem_vendor: str = ""
    subsystem: str = ""
    class_: str = ""
    """Class and subclass in four digits."""


@dataclass
class Names:
    """What pci.ids calls these numbers; empty for what it does not know."""

    vendors: dict[str, str] = field(default_factory=dict)
    devices: dict[tuple[str, str], str] = field(default_factory=dict)
    subsystems: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    """By vendor, device, the subsystem's vendor and the subsystem."""
    classes: dict[str, str] = field(default_factory=dict)
    """By four digits, and by the two of a class that has no better word."""

    def of_class(self, class_: str) -> str:
        """The name of a class and subclass, or of the class alone."""
        return self.classes.get(class_) or self.classes.get(class_[:2], "")


def names_in(lines: Iterable[str], wanted: Collection[Ids]) -> Names:
    """The names of the wanted numbers, from the lines of pci.ids: read once, and only these are kept."""
    vendors = {one.vendor for one in wanted} | {one.subsystem_vendor for one in wanted}
    devices = {(one.vendor, one.device) for one in wanted}
    subsystems = {(one.vendor, one.device, one.subsystem_vendor, one.subsystem) for one in wanted}
    classes = {one.class_ for one in wanted} | {one.class_[:2] for one in wanted}
    found = Names()
    block = vendor = device = ""
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("C "):
            block, vendor = line[2:4], ""
            if block in classes:
                found.classes[block] = cleaned(line[4:])
        elif not line.startswith("\t"):
            block, vendor = "", line[:4]
            if vendor in vendors:
                found.vendors[vendor] = cleaned(line[4:])
        elif block:
            if not line.startswith("\t\t") and block + line[1:3] in classes:
                found.classes[block + line[1:3]] = cleaned(line[3:])
        elif not line.startswith("\t\t"):
            device = line[1:5]
            if (vendor, device) in devices:
                found.devices[vendor, device] = cleaned(line[5:])
        elif (key := (vendor, device, line[2:6], line[7:11])) in subsystems:
            found.subsystems[key] = cleaned(line[11:])
    return found


@dataclass
class PciBus:
    """The devices under a root of sysfs. Names are looked up again only when there are other devices."""

    sys: Path = Path("/sys")
    share: Path = Path("/usr/share")
    _named: tuple[frozenset[Ids], Names] = field(default=(frozenset(), Names()), repr=False)

    def devices(self) -> Sequence[SeenPci]:
        """All devices, in the order of their addresses."""
        found = {
            path.name: path
            for path in sorted((self.sys / "bus/pci/devices").glob("*"))
            if _ADDRESS.fullmatch(path.name)
        }
        ids = {address: _ids(path) for address, path in found.items()}
        names = self._names(frozenset(ids.values()))
        return [_seen(address, path, ids[address], names) for address, path in found.items()]

    def _names(self, wanted: frozenset[Ids]) -> Names:
        if self._named[0] != wanted:
            self._named = (wanted, names_from(self.share, "pci.ids", wanted))
        return self._named[1]


def names_from(share: Path, file: str, wanted: frozenset[Ids]) -> Names:
    """The names that the host's list of this name has, which is ``pci.ids`` or, of the same form, ``usb.ids``."""
    for folder in _FOLDERS:
        try:
            with (share / folder / file).open(encoding="utf-8", errors="replace") as lines:
                return names_in(lines, wanted)
        except OSError:
            continue
    return Names()


def _ids(path: Path) -> Ids:
    return Ids(
        vendor=_digits(path / "vendor", 4),
        device=_digits(path / "device", 4),
        subsystem_vendor=_digits(path / "subsystem_vendor", 4),
        subsystem=_digits(path / "subsystem_device", 4),
        class_=_digits(path / "class", 6)[:4],
    )


def _seen(address: str, path: Path, ids: Ids, names: Names) -> SeenPci:
    driver = path / "driver"
    return SeenPci(
        address=address,
        class_code=_number(ids.class_),
        class_name=names.of_class(ids.class_),
        vendor_id=_number(ids.vendor),
        vendor_name=names.vendors.get(ids.vendor, ""),
        device_id=_number(ids.device),
        device_name=names.devices.get((ids.vendor, ids.device), ""),
        revision_id=_number(_digits(path / "revision", 2)),
        subsystem_vendor_id=_number(ids.subsystem_vendor),
        subsystem_vendor_name=names.vendors.get(ids.subsystem_vendor, ""),
        subsystem_id=_number(ids.subsystem),
        subsystem_name=names.subsystems.get((ids.vendor, ids.device, ids.subsystem_vendor, ids.subsystem), ""),
        driver=cleaned(driver.resolve().name) if driver.exists() else "",
        boot_display=content(path / "boot_vga") == "1",
    )


def _digits(path: Path, count: int) -> str:
    """The hexadecimal digits that a file of sysfs has behind its 0x; zeros where it has none."""
    found = _HEXADECIMAL.fullmatch(content(path))
    return (found[1] if found else "0").rjust(count, "0")


def _number(digits: str) -> int:
    return int(digits, 16)

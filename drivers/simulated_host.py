"""The host of the simulation: what libvirt's test driver and this machine tell, and devices that are played.

PCI, SCSI and USB devices are never this machine's own, for the simulation must not hand those to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.classes.enums import BondMode
from agent.errors import VlanInUse
from agent.ports import SeenBond, SeenInterface, SeenPci, SeenScsi, SeenUsb, WantedBond
from drivers.bonds import Bonds, settings_of
from drivers.connection import Connection
from drivers.netlink import Links
from drivers.node import LibvirtNode
from drivers.vlans import Vlans, name_of

PCI_DEVICES: Sequence[SeenPci] = (
    SeenPci("0000:00:00.0", 0x0600, "Host bridge", 0x8086, "Intel Corporation", 0x29C0, "82G33/G31/P35/P31 DRAM"),
    SeenPci(
        "0000:00:1f.2",
        0x0106,
        "SATA controller",
        0x8086,
        "Intel Corporation",
        0x2922,
        "6 port SATA Controller [AHCI mode]",
        revision_id=2,
        subsystem_vendor_id=0x1AF4,
        subsystem_vendor_name="Red Hat, Inc.",
        subsystem_id=0x1100,
        subsystem_name="QEMU Virtual Machine",
        driver="ahci",
    ),
    SeenPci("0000:01:00.0", 0x0200, "Ethernet controller", 0x8086, "Intel Corporation", 0x10D3, "82574L Gigabit"),
    SeenPci("0000:02:00.0", 0x0300, "VGA compatible controller", 0x1013, "Cirrus Logic", 0x00B8, "GD 5446"),
    SeenPci(
        "0000:03:00.0",
        0x0200,
        "Ethernet controller",
        0x8086,
        "Intel Corporation",
        0x10C9,
        "82576 Gigabit Network Connection",
        driver="pciback",
    ),
    SeenPci(
        "0000:03:00.1",
        0x0200,
        "Ethernet controller",
        0x8086,
        "Intel Corporation",
        0x10C9,
        "82576 Gigabit Network Connection",
        driver="pciback",
    ),
)
"""A bridge, a controller that the host uses, a card that it can spare, one that cannot be reset, and one with two
functions that are set aside."""
USB_DEVICES: Sequence[SeenUsb] = (
    SeenUsb("1-1", "0951:1666", "0951:1666:1:2", "Kingston", "played stick", "0001", "2.00", 480.0),
    SeenUsb("1-2", "0403:6001", "0403:6001:1:3", "FTDI", "played serial adapter", "0002", "1.10", 12.0),
)
NOT_RESETTABLE = frozenset({"0000:02:00.0"})
"""Devices that know none of the ways to be reset, so that libvirt refuses to give them away."""
SCSI_DEVICES: Sequence[SeenScsi] = (
    SeenScsi(0, 0, 0, 0, "ATA", "played disk", 0, "disk", "/dev/sda", "/dev/sg0", "1.0", "t10.ATA played", 6),
    SeenScsi(1, 0, 0, 0, "HP", "played tape", 1, "tape", "/dev/st0", "/dev/sg1", "1.0", "", 5),
)


class PlayedVlans(Vlans):
    """VLANs that are only said to be there: the network of the machine that runs the simulation is not touched."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, tuple[str, int, str]] = {}
        """Card, tag and bridge, by name."""

    def create(self, device: str, tag: int, bridge: str) -> str:
        """Say that it is there."""
        name = name_of(device, tag)
        if self.made.get(name, ("", 0, bridge))[2] != bridge:
            raise VlanInUse(device, tag)
        self.made[name] = (device, tag, bridge)
        return name

    def destroy(self, name: str) -> None:
        """Say so no more."""
        self.made.pop(name, None)


class PlayedBonds(Bonds):
    """Bonds that are only said to be there, likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, WantedBond] = {}

    def create(self, bond: WantedBond, name: str = "") -> str:
        """Say that it is there."""
        settings_of(bond.mode, bond.properties)
        name = name or next(free for number in range(len(self.made) + 1) if (free := f"bond{number}") not in self.made)
        self.made[name] = bond
        return name

    def change(self, name: str, mode: BondMode, properties: Mapping[str, str]) -> None:
        """Say that it is of another mode."""
        settings_of(mode, properties)
        self.made[name] = replace(self.made[name], mode=mode, properties=properties)

    def destroy(self, name: str, homes: Mapping[str, str]) -> None:
        """Say so no more."""
        self.made.pop(name, None)

    def on(self, cards: Mapping[str, SeenInterface]) -> Iterator[SeenInterface]:
        """The bonds as the host would show them."""
        for name, bond in self.made.copy().items():
            members = [cards[device] for device in bond.members if device in cards]
            if members:
                seen = SeenBond(bond.mode, [card.device for card in members], "", len(members), bond.properties)
                MAC = bond.MAC or members[0].MAC
                yield SeenInterface(name, MAC, members[0].MTU, False, True, 0, False, bond.bridge, bond=seen)


class PlayedLinks(Links):
    """Cards that are only said to be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.off: set[str] = set()

    def switch(self, device: str, *, up: bool) -> None:
        """Say that it is on, or off."""
        self.off = self.off - {device} if up else self.off | {device}


@dataclass
class PlayedNetwork:
    """What is played of the host's network."""

    vlans: PlayedVlans = field(default_factory=PlayedVlans)
    bonds: PlayedBonds = field(default_factory=PlayedBonds)
    links: PlayedLinks = field(default_factory=PlayedLinks)


class SimulatedNode(LibvirtNode):
    """The port Node on ``test:///``."""

    def __init__(self, connection: Connection, network: PlayedNetwork) -> None:
        super().__init__(connection, simulated=True)
        self._network = network

    def interfaces(self) -> Sequence[SeenInterface]:
        """The cards of this machine, and what is played on them."""
        cards = {card.device: card for card in super().interfaces()}
        for bond in [*self._network.bonds.on(cards)]:
            cards[bond.device] = bond
            for device in bond.bond.slaves if bond.bond is not None else ():
                cards[device] = replace(cards[device], bridge="")
        played = [
            SeenInterface(name, trunk.MAC, trunk.MTU, False, trunk.carrier, 0, False, bridge, VLAN=tag, trunk=device)
            for name, (device, tag, bridge) in self._network.vlans.made.copy().items()
            if (trunk := cards.get(device)) is not None
        ]
        off = self._network.links.off
        return [replace(card, up=False) if card.device in off else card for card in (*cards.values(), *played)]

    def pci_devices(self) -> Sequence[SeenPci]:
        """The devices that are played."""
        return PCI_DEVICES

    def usb_devices(self) -> Sequence[SeenUsb]:
        """The devices that are played."""
        return USB_DEVICES

    def scsi_adapters(self) -> Sequence[int]:
        """The adapters of the devices that are played."""
        return sorted({device.host for device in SCSI_DEVICES})

    def scsi_devices(self) -> Sequence[SeenScsi]:
        """The devices that are played."""
        return SCSI_DEVICES

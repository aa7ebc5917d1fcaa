"""The host's network cards as Linux shows them: sysfs, the routes, the resolver. Nothing here asks libvirt.

A card is what can carry a network: a piece of hardware, a bond or a VLAN. Bridges, the ends of guests' cards and the
inventions of containers are none. On Xen it is the control domain that looks: cards given away to guests are not there.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.classes.enums import BondMode
from agent.ports import SeenBond, SeenInterface
from drivers.netlink import IFF_UP
from drivers.text import cleaned, content

GUEST_END = re.compile(r"(vif|tap|vnet|veth)\d|.*-emu$")
"""Names of the host's ends of guests' cards, as Xen's tools, libvirt and container tools make them."""

_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_ETHERNET = "1"
_MODES = {"active-backup": BondMode.ACTIVE_BACKUP, "802.3ad": BondMode.LACP}
"""The modes of bonds that xapi has a word for."""
_HASHES = {"layer2": "src_mac", "layer3+4": "tcpudp_ports"}
_SPEEDS = range(1, 10_000_000)


@dataclass(frozen=True)
class Address:
    """An address of a card, as psutil gives it."""

    family: int
    address: str
    netmask: str | None


@dataclass(frozen=True)
class Surroundings:
    """What is read of the machine: its roots, and the addresses that cards have now."""

    addresses: Mapping[str, Sequence[Address]]
    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    etc: Path = Path("/etc")
    share: Path = Path("/usr/share")


def default_routes(table: str) -> dict[str, str]:
    """The IPv4 gateway by card, from the text of /proc/net/route; the card that is preferred comes first."""
    found = []
    for line in table.splitlines()[1:]:
        columns = line.split()
        # Columns: card, destination, gateway, flags, two counters, metric, mask; addresses in the host's byte order.
        if len(columns) >= 8 and columns[1] == "00000000" == columns[7] and int(columns[3], 16) & 0x2:
            gateway = ipaddress.IPv4Address(int(columns[2], 16).to_bytes(4, "little"))
            found.append((int(columns[6]), columns[0], str(gateway)))
    routes: dict[str, str] = {}
    for _, card, gateway_text in sorted(found, key=lambda route: route[0]):
        routes.setdefault(card, gateway_text)
    return routes


def vlans(config: str) -> dict[str, tuple[int, str]]:
    """The VLAN number and the card it is on, by what carries it, from the text of /proc/net/vlan/config."""
    found = {}
    for line in config.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 3 and columns[1].isdecimal():
            found[columns[0]] = (int(columns[1]), columns[2])
    return found


def name_servers(resolver: str) -> str:
    """The addresses of the name servers in the text of resolv.conf, joined by commas."""
    lines = (line.split() for line in resolver.splitlines())
    return ",".join(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


def pci_names(ids: Iterable[str], vendor: str, device: str) -> tuple[str, str]:
    """The names of a PCI vendor and its device, from the lines of pci.ids; empty for what it does not know."""
    vendor_name = ""
    for line in ids:
        if line.startswith(("#", "\t\t")):
            continue
        if line.startswith("\t"):
            if vendor_name and line[1:5] == device:
                return vendor_name, cleaned(line[5:])
        elif vendor_name:
            break
        elif line[:4] == vendor:
            vendor_name = cleaned(line[4:])
    return vendor_name, ""


def host_address(machine: Surroundings) -> str:
    """The address that the machine is reached by: that of the card of the default route, or of any; empty if none."""
    routes = default_routes(content(machine.proc / "net/route"))
    for family in (socket.AF_INET, socket.AF_INET6):
        for card in [*routes, *machine.addresses]:
            for address in machine.addresses.get(card, ()):
                if address.family == family:
                    text = address.address.partition("%")[0]
                    given = ipaddress.ip_address(text)
                    if not given.is_loopback and not given.is_link_local:
                        return text
    return ""


def interfaces(machine: Surroundings) -> list[SeenInterface]:
    """All cards, in the order of their names."""
    numbers = vlans(content(machine.proc / "net/vlan/config"))
    routes = default_routes(content(machine.proc / "net/route"))
    dns = name_servers(content(machine.etc / "resolv.conf"))
    cards = []
    for path in sorted((machine.sys / "class/net").glob("*")):
        if _can_carry_a_network(path, numbers):
            cards.append(_seen(path, machine, numbers.get(path.name, (-1, "")), routes, dns))
    return cards


def _can_carry_a_network(path: Path, numbers: Mapping[str, tuple[int, str]]) -> bool:
    if path.name in numbers or content(path / "bonding/slaves"):
        return True
    if GUEST_END.match(path.name) or content(path / "type") != _ETHERNET or not (path / "device").exists():
        return False
    # The host's ends of guests' cards are devices too, of Xen's back end, whatever they are called. The virtual
    # functions of a card are for guests.
    return (path / "device/subsystem").resolve().name != "xen-backend" and not (path / "device/physfn").exists()


def _seen(
    path: Path, machine: Surroundings, vlan: tuple[int, str], routes: Mapping[str, str], dns: str
) -> SeenInterface:
    master = (path / "master").resolve() if (path / "master").exists() else None
    bridge = master.name if master is not None and (master / "bridge").is_dir() else ""
    # The card that is a port of a bridge has no addresses of its own: the bridge has them.
    bearer = next((name for name in (path.name, bridge) if name and _has_ipv4(machine, name)), path.name)
    ipv4 = next((a for a in machine.addresses.get(bearer, ()) if a.family == socket.AF_INET), None)
    ipv6 = [
        _with_prefix(address)
        for name in (path.name, bridge)
        for address in machine.addresses.get(name, ())
        if address.family == socket.AF_INET6
    ]
    speed = _number(path / "speed")
    vendor_id, device_id, bus_path = _pci(path)
    vendor_name, device_name = _names(machine, vendor_id, device_id)
    return SeenInterface(
        device=path.name,
        MAC=content(path / "address"),
        MTU=_number(path / "mtu"),
        physical=vlan[0] < 0 and not (path / "bonding").is_dir(),
        carrier=content(path / "carrier") == "1",
        speed=speed if speed in _SPEEDS else 0,
        duplex=content(path / "duplex") == "full",
        bridge=bridge,
        IP=ipv4.address if ipv4 else "",
        netmask=(ipv4.netmask or "") if ipv4 else "",
        gateway=routes.get(bearer, ""),
        DNS=dns if bearer in routes else "",
        IPv6=tuple(ipv6),
        VLAN=vlan[0],
        trunk=cleaned(vlan[1]),
        vendor_id=vendor_id,
        vendor_name=vendor_name,
        device_id=device_id,
        device_name=device_name,
        pci_bus_path=bus_path,
        up=bool(_flags(path) & IFF_UP),
        bond=_bond(path),
        virtual_functions=max(0, _number(path / "device/sriov_totalvfs")),
    )


def _bond(path: Path) -> SeenBond | None:
    """The bond that a card is. Of its settings, sysfs has the word and then the number."""
    folder = path / "bonding"
    slaves = [cleaned(name) for name in content(folder / "slaves").split()]
    if not slaves:
        return None
    mode, policy, rate = (_word(folder / name) for name in ("mode", "xmit_hash_policy", "lacp_rate"))
    properties = {}
    if mode == "802.3ad":
        properties = {"hashing_algorithm": _HASHES.get(policy, policy), "lacp-time": rate}
    elif mode not in _MODES:
        properties = {"mode": mode}
    return SeenBond(
        mode=_MODES.get(mode, BondMode.BALANCE_SLB),
        slaves=slaves,
        primary=cleaned(content(folder / "primary")),
        links_up=sum(content(path.parent / slave / "carrier") == "1" for slave in slaves),
        properties=properties,
    )


def _word(path: Path) -> str:
    return cleaned(content(path).partition(" ")[0])


def _flags(path: Path) -> int:
    text = content(path / "flags").removeprefix("0x")
    return int(text, 16) if re.fullmatch(r"[0-9a-f]{1,8}", text) else 0


def _has_ipv4(machine: Surroundings, card: str) -> bool:
    return any(address.family == socket.AF_INET for address in machine.addresses.get(card, ()))


def _with_prefix(address: Address) -> str:
    text = address.address.partition("%")[0]
    if not address.netmask:
        return text
    length = bin(int(ipaddress.IPv6Address(address.netmask.partition("/")[0]))).count("1")
    return f"{text}/{length}"


def _pci(path: Path) -> tuple[str, str, str]:
    """Vendor, device and place on the bus of the card's hardware; empty for what is on no PCI bus."""
    if not (path / "device").exists():
        return "", "", ""
    device = (path / "device").resolve()
    # The device of a paravirtual card is one of its own bus, below the PCI device.
    for place in (device, *device.parents):
        if _PCI_ADDRESS.fullmatch(place.name):
            return _hexadecimal(place / "vendor"), _hexadecimal(place / "device"), place.name
    return "", "", ""


def _names(machine: Surroundings, vendor_id: str, device_id: str) -> tuple[str, str]:
    if vendor_id:
        for folder in ("misc", "hwdata"):
            try:
                with (machine.share / folder / "pci.ids").open(encoding="utf-8", errors="replace") as ids:
                    return pci_names(ids, vendor_id, device_id)
            except OSError:
                continue
    return "", ""


def _number(path: Path) -> int:
    text = content(path)
    return int(text) if re.fullmatch(r"-?\d+", text) else 0


def _hexadecimal(path: Path) -> str:
    text = content(path).removeprefix("0x")
    return text if re.fullmatch(r"[0-9a-f]{4}", text) else ""

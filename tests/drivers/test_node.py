"""The host as made-up files of the kernel and made-up answers of libvirt show it."""

from __future__ import annotations

import socket
from pathlib import Path
from unittest.mock import Mock

import libvirt
import pytest
from lxml import etree
from pytest_mock import MockerFixture

from agent.classes.enums import BondMode
from agent.errors import HostOffline
from agent.ports import SeenBond
from drivers import cards, node
from drivers.cards import Address, Surroundings

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t0102A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0
xenbr0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
xenbr0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""

VLANS = """VLAN Dev name    | VLAN ID
Name-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD
bond0.12       | 12  | bond0
"""

PCI_IDS = """# a comment
8086  Intel Corporation
\t100e  82540EM Gigabit Ethernet Controller
\t\t1af4 1100  QEMU Virtual Machine
\t10fb  82599ES 10-Gigabit SFI/SFP+ Network Connection
8087  Somebody else
\t10fb  another thing
"""

XEN_CAPABILITIES = """<capabilities><host>
<cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor></cpu>
<topology><cells num='2'>
<cell id='0'><cpus num='4'><cpu id='0' socket_id='0' core_id='0'/><cpu id='1' socket_id='0' core_id='0'/>
<cpu id='2' socket_id='1' core_id='0'/><cpu id='3' socket_id='1' core_id='0'/></cpus></cell>
<cell id='1'><cpus num='4'><cpu id='4' socket_id='2' core_id='0'/><cpu id='5' socket_id='2' core_id='0'/>
<cpu id='6' socket_id='3' core_id='0'/><cpu id='7' socket_id='3' core_id='0'/></cpus></cell>
</cells></topology></host>
<guest><os_type>xen</os_type><arch name='x86_64'/></guest>
<guest><os_type>xenpvh</os_type><arch name='x86_64'/></guest>
<guest><os_type>hvm</os_type><arch name='i686'/></guest>
<guest><os_type>hvm</os_type><arch name='x86_64'/></guest>
</capabilities>"""

SYSINFO = """<sysinfo type='smbios'>
<bios><entry name='vendor'>Dell Inc.</entry><entry name='version'>2.1</entry></bios>
<system><entry name='manufacturer'>Dell Inc.</entry><entry name='product'>PowerEdge\x7f R740</entry></system>
<oemStrings><entry>first</entry><entry>second</entry></oemStrings>
</sysinfo>"""

FULLY_VIRTUALISED = """<domainCapabilities><os supported='yes'><loader supported='yes'>
<value>/usr/lib/xen/boot/hvmloader</value><value>/usr/lib/xen/boot/ovmf.bin</value>
</loader></os></domainCapabilities>"""

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6130
stepping\t: 4
flags\t\t: fpu vme de

processor\t: 1
vendor_id\t: Somebody
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def card(
    root: Path, name: str, bus: str = "", *, subsystem: str = "pci", master: str = "", **attributes: str | int
) -> Path:
    """A card of a made-up sysfs; `bus` is the place of its device."""
    folder = root / "sys/class/net" / name
    given: dict[str, str | int] = {"type": 1, "address": "00:16:3e:00:00:01", "mtu": 1500, **attributes}
    for key, value in given.items():
        write(folder / key, f"{value}\n")
    if bus:
        device = root / "sys/devices" / bus
        device.mkdir(parents=True, exist_ok=True)
        (root / "sys/bus" / subsystem).mkdir(parents=True, exist_ok=True)
        (folder / "device").symlink_to(device)
        if not (device / "subsystem").exists():
            (device / "subsystem").symlink_to(root / "sys/bus" / subsystem)
    if master:
        (folder / "master").symlink_to(root / "sys/class/net" / master)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Surroundings:
    """A host with two cards, a bridge, a bond of two with a VLAN on it, and two guests."""
    bus = "pci0000:00/0000:00:1f.6"
    write(tmp_path / "sys/devices" / bus / "vendor", "0x8086\n")
    write(tmp_path / "sys/devices" / bus / "device", "0x10fb\n")
    card(tmp_path, "eth0", bus, master="xenbr0", carrier=1, speed=10000, duplex="full")
    card(tmp_path, "eth1", "pci0000:00/0000:00:03.0/virtio2", subsystem="virtio", carrier=0, speed=-1, duplex="half")
    card(tmp_path, "eth2", "pci0000:00/0000:00:04.0", master="bond0")
    card(tmp_path, "xenbr0")
    (tmp_path / "sys/class/net/xenbr0/bridge").mkdir()
    card(tmp_path, "bond0", carrier=1, mtu=9000)
    write(tmp_path / "sys/class/net/bond0/bonding/slaves", "eth2 eth3\n")
    write(tmp_path / "sys/class/net/bond0/bonding/mode", "active-backup 1\n")
    write(tmp_path / "sys/class/net/bond0/bonding/primary", "eth2\n")
    card(tmp_path, "bond0.12")
    card(tmp_path, "lo", type=772)
    card(tmp_path, "vif1.0", "vif-1-0", subsystem="xen-backend")
    card(tmp_path, "x3fa9c1.0", "vif-2-0", subsystem="xen-backend")
    for invention in ("docker0", "veth1a2b", "tap0", "dummy0"):
        card(tmp_path, invention)
    function = card(tmp_path, "eth0v1", "pci0000:00/0000:01:10.0")
    (function / "device/physfn").symlink_to(tmp_path / "sys/devices" / bus)
    write(tmp_path / "proc/net/route", ROUTES)
    write(tmp_path / "proc/net/vlan/config", VLANS)
    write(tmp_path / "etc/resolv.conf", "# made\nnameserver 192.0.2.53\nsearch here\nnameserver 2001:db8::53\n")
    write(tmp_path / "usr/share/misc/pci.ids", PCI_IDS)
    addresses = {
        "lo": [Address(socket.AF_INET, "127.0.0.1", "255.0.0.0")],
        "xenbr0": [
            Address(socket.AF_INET, "192.0.2.10", "255.255.255.0"),
            Address(socket.AF_INET6, "fe80::1%xenbr0", "ffff:ffff:ffff:ffff::"),
        ],
        "eth1": [Address(socket.AF_INET, "192.168.2.10", "255.255.0.0")],
    }
    return Surroundings(addresses, tmp_path / "sys", tmp_path / "proc", tmp_path / "etc", tmp_path / "usr/share")


def test_cards_are_hardware_bonds_and_vlans_and_nothing_else(machine: Surroundings) -> None:
    assert [found.device for found in cards.interfaces(machine)] == ["bond0", "bond0.12", "eth0", "eth1", "eth2"]


def test_a_card_on_a_bridge_has_the_addresses_of_the_bridge(machine: Surroundings) -> None:
    eth0 = next(found for found in cards.interfaces(machine) if found.device == "eth0")
    assert (eth0.bridge, eth0.IP, eth0.netmask, eth0.gateway) == ("xenbr0", "192.0.2.10", "255.255.255.0", "192.0.2.1")
    assert (eth0.DNS, eth0.IPv6) == ("192.0.2.53,2001:db8::53", ("fe80::1/64",))
    assert (eth0.carrier, eth0.speed, eth0.duplex, eth0.physical, eth0.VLAN) == (True, 10000, True, True, -1)


def test_a_card_tells_its_hardware(machine: Surroundings) -> None:
    eth0, eth1 = [found for found in cards.interfaces(machine) if found.device in ("eth0", "eth1")]
    assert (eth0.vendor_id, eth0.vendor_name) == ("8086", "Intel Corporation")
    assert (eth0.device_id, eth0.device_name) == ("10fb", "82599ES 10-Gigabit SFI/SFP+ Network Connection")
    assert (eth0.pci_bus_path, eth1.pci_bus_path) == ("0000:00:1f.6", "0000:00:03.0")
    assert (eth1.vendor_id, eth1.vendor_name) == ("", "")


def test_a_card_that_is_down_has_no_speed(machine: Surroundings) -> None:
    eth1, eth2 = [found for found in cards.interfaces(machine) if found.device in ("eth1", "eth2")]
    assert (eth1.carrier, eth1.speed, eth1.duplex) == (False, 0, False)
    assert (eth2.carrier, eth2.speed, eth2.bridge, eth2.IP, eth2.DNS) == (False, 0, "", "", "")


@pytest.mark.parametrize(
    ("mode", "told", "properties"),
    [
        ("802.3ad 4", BondMode.LACP, {"hashing_algorithm": "tcpudp_ports", "lacp-time": "fast"}),
        ("balance-rr 0", BondMode.BALANCE_SLB, {"mode": "balance-rr"}),
    ],
)
def test_a_bond_says_how_its_cards_share_and_which_have_a_link(
    machine: Surroundings, mode: str, told: BondMode, properties: dict[str, str]
) -> None:
    folder = machine.sys / "class/net/bond0/bonding"
    for name, text in (("mode", mode), ("xmit_hash_policy", "layer3+4 1"), ("lacp_rate", "fast 1"), ("primary", "")):
        write(folder / name, f"{text}\n")
    write(machine.sys / "class/net/eth2/carrier", "1\n")
    [bond] = [found for found in cards.interfaces(machine) if found.device == "bond0"]
    assert bond.bond == SeenBond(told, ["eth2", "eth3"], "", 1, properties)


def test_a_bond_that_has_no_card_is_not_shown(machine: Surroundings) -> None:
    write(machine.sys / "class/net/bond0/bonding/slaves", "\n")
    assert "bond0" not in [found.device for found in cards.interfaces(machine)]


def test_a_card_says_whether_it_is_on_and_what_it_could_have_for_guests(machine: Surroundings) -> None:
    write(machine.sys / "class/net/eth0/flags", "0x1003\n")
    write(machine.sys / "class/net/eth2/flags", "0x1002\n")
    write(machine.sys / "class/net/eth0/device/sriov_totalvfs", "63\n")
    seen = {found.device: found for found in cards.interfaces(machine)}
    assert [(seen[name].up, seen[name].virtual_functions) for name in ("eth0", "eth2")] == [(True, 63), (False, 0)]


def test_a_vlan_and_a_bond_are_no_hardware(machine: Surroundings) -> None:
    bond, vlan = [found for found in cards.interfaces(machine) if found.device.startswith("bond0")]
    assert (bond.physical, bond.VLAN, bond.MTU, bond.carrier) == (False, -1, 9000, True)
    assert bond.bond == SeenBond(BondMode.ACTIVE_BACKUP, ["eth2", "eth3"], "eth2")
    assert vlan.bond is None
    assert (vlan.physical, vlan.VLAN) == (False, 12)


def test_a_machine_without_cards_has_none(tmp_path: Path) -> None:
    nothing = Surroundings({}, tmp_path, tmp_path, tmp_path, tmp_path)
    assert cards.interfaces(nothing) == []
    assert cards.host_address(nothing) == ""


def test_the_address_is_that_of_the_preferred_default_route(machine: Surroundings) -> None:
    assert cards.host_address(machine) == "192.0.2.10"


def test_without_a_route_any_address_that_others_reach_will_do(tmp_path: Path) -> None:
    addresses = {
        "lo": [Address(socket.AF_INET, "127.0.0.1", "255.0.0.0")],
        "eth0": [Address(socket.AF_INET6, "fe80::1%eth0", None), Address(socket.AF_INET6, "2001:db8::1", None)],
    }
    assert cards.host_address(Surroundings(addresses, proc=tmp_path)) == "2001:db8::1"


def test_gateways_are_listed_by_preference() -> None:
    assert list(cards.default_routes(ROUTES).items()) == [("xenbr0", "192.0.2.1"), ("eth1", "192.168.2.1")]
    assert cards.default_routes("") == {}


def test_pci_names_stay_within_their_vendor() -> None:
    assert cards.pci_names(PCI_IDS.splitlines(), "8087", "10fb") == ("Somebody else", "another thing")
    assert cards.pci_names(PCI_IDS.splitlines(), "8086", "ffff") == ("Intel Corporation", "")
    assert cards.pci_names(PCI_IDS.splitlines(), "ffff", "10fb") == ("", "")


def test_sockets_are_counted_where_libvirt_always_says_one() -> None:
    topology = node.topology_of(["x86_64", 65536, 8, 2100, 2, 1, 2, 2], etree.fromstring(XEN_CAPABILITIES))
    assert (topology.cpus, topology.nodes, topology.sockets) == (8, 2, 4)
    assert list(topology.numbers) == list(range(8))


def test_processors_are_numbered_though_libvirt_shows_no_topology() -> None:
    topology = node.topology_of(["x86_64", 1024, 3, 2100, 1, 1, 3, 1], etree.fromstring("<capabilities/>"))
    assert list(topology.numbers) == [0, 1, 2]
    assert topology.sockets == 1


def test_capabilities_have_xens_names() -> None:
    expected = ["xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64"]
    assert node.capabilities_of(etree.fromstring(XEN_CAPABILITIES)) == expected


def test_bios_strings_have_xenapis_keys_and_no_control_characters() -> None:
    assert node.bios_strings_of(etree.fromstring(SYSINFO)) == {
        "bios-vendor": "Dell Inc.",
        "bios-version": "2.1",
        "system-manufacturer": "Dell Inc.",
        "system-product-name": "PowerEdge R740",
        "oem-1": "first",
        "oem-2": "second",
    }


@pytest.mark.parametrize(
    ("version", "shown"), [("0.1.0", "0.1.0"), ("1.2.dev3+abc4", "1.2.3"), ("2", "2.0.0"), ("", "0.0.0")]
)
def test_the_product_version_is_three_numbers(version: str, shown: str) -> None:
    assert node.three_numbers(version) == shown


@pytest.mark.parametrize(
    ("extra", "shown"), [("", "4.17.0"), (".7", "4.17.7"), (".4-pre", "4.17.4"), ("-rc", "4.17.0")]
)
def test_xens_third_number_comes_from_the_hypervisor(extra: str, shown: str) -> None:
    assert node.xen_version(4017000, extra) == shown


# --- with a libvirt that is Xen's


@pytest.fixture
def handle(mocker: MockerFixture) -> Mock:
    """What libvirt's Xen driver answers."""
    handle: Mock = mocker.create_autospec(libvirt.virConnect, instance=True)
    handle.getInfo.return_value = ["x86_64", 65536, 8, 2100, 2, 1, 2, 2]
    handle.getCapabilities.return_value = XEN_CAPABILITIES
    handle.getSysinfo.return_value = SYSINFO
    handle.getDomainCapabilities.return_value = FULLY_VIRTUALISED
    handle.getType.return_value = "Xen"
    handle.getVersion.return_value = 4017000
    handle.getLibVersion.return_value = 9000000
    handle.lookupByID.return_value.schedulerType.return_value = ["credit2", 2]
    return handle


@pytest.fixture
def xen(handle: Mock, tmp_path: Path) -> node.LibvirtNode:
    """A Xen host, with the files of its control domain."""
    write(tmp_path / "proc/cpuinfo", CPUINFO)
    write(tmp_path / "sys/hypervisor/version/extra", ".4\n")
    write(tmp_path / "etc/os-release", 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n# none\n')
    write(tmp_path / "usr/lib/xen-4.17/bin/pygrub", "")
    return node.LibvirtNode(Mock(handle=handle, suspect=lambda: False), simulated=False, root=tmp_path)


def test_a_xen_host_tells_the_machine_and_not_the_control_domain(xen: node.LibvirtNode) -> None:
    host = xen.host()
    assert host.memory_total == 65536 * 1024 * 1024
    assert host.cpu_info["cpu_count"] == host.cpu_configuration["nr_cpus"] == "8"
    assert (host.cpu_configuration["nr_nodes"], host.cpu_configuration["sockets_per_node"]) == ("2", "2")
    assert host.cpu_info["modelname"] == "Intel(R) Xeon(R) Gold 6130"
    assert (host.cpu_info["vendor"], host.cpu_info["family"], host.cpu_info["model"]) == ("GenuineIntel", "6", "85")
    assert host.software_version["xen"] == "4.17.4"
    assert host.software_version["libvirt"] == "9.0.0"
    assert host.software_version["platform_name"] == "Debian GNU/Linux"
    assert (host.sched_policy, host.supported_bootloaders) == ("credit2", ["pygrub"])


def test_another_hypervisor_is_not_called_xen(xen: node.LibvirtNode, handle: Mock) -> None:
    handle.getType.return_value = "TEST"
    assert "xen" not in xen.host().software_version


def test_every_processor_of_a_xen_host_is_listed(xen: node.LibvirtNode) -> None:
    processors = xen.cpus()
    assert [cpu.number for cpu in processors] == list(range(8))
    assert {(cpu.family, cpu.model, cpu.stepping, cpu.speed) for cpu in processors} == {(6, 85, "4", 2100)}
    assert processors[0].flags == "fpu vme de"


def test_a_firmware_that_tells_nothing_is_no_obstacle(xen: node.LibvirtNode, handle: Mock) -> None:
    handle.getSysinfo.side_effect = refusal(libvirt.VIR_ERR_CONFIG_UNSUPPORTED)
    handle.lookupByID.side_effect = refusal(libvirt.VIR_ERR_NO_DOMAIN)
    host = xen.host()
    assert (host.bios_strings, host.sched_policy) == ({}, "")


def test_uefi_needs_the_file_that_libvirt_names(xen: node.LibvirtNode, handle: Mock) -> None:
    assert not xen.host().uefi
    write(xen.root / "usr/lib/xen/boot/hvmloader", "")
    assert not xen.host().uefi
    write(xen.root / "usr/lib/xen/boot/ovmf.bin", "")
    assert xen.host().uefi
    handle.getDomainCapabilities.side_effect = refusal(libvirt.VIR_ERR_NO_SUPPORT)
    assert not xen.host().uefi


def test_a_lost_connection_is_said_to_be_lost(xen: node.LibvirtNode, handle: Mock) -> None:
    handle.getInfo.side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC)
    for call in (xen.host, xen.cpus):
        with pytest.raises(HostOffline):
            call()


def refusal(code: int, domain: int = libvirt.VIR_FROM_NONE) -> libvirt.libvirtError:
    error = libvirt.libvirtError("refused")
    error.err = (code, domain, "refused", 2, None, None, None, 0, 0)
    return error

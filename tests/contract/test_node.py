"""What a host tells of itself: real answers of libvirt and of this machine, on libvirt's test driver or a real Xen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.connection import Connection
from drivers.node import LibvirtNode
from drivers.simulated_host import PlayedNetwork, SimulatedNode
from tests.contract import real_xen as real


@pytest.fixture
def connection() -> Iterator[Connection]:
    """libvirt's test driver."""
    made = Connection("test:///default")
    made.start()
    yield made
    made.close()


@contextmanager
def real_node(folder: Path) -> Iterator[LibvirtNode]:
    """The host of a real Xen."""
    with real.opened(folder) as machine:
        assert isinstance(machine.node, LibvirtNode)
        yield machine.node


@pytest.fixture(params=real.on("simulated"))
def node(request: pytest.FixtureRequest, connection: Connection, tmp_path: Path) -> Iterator[LibvirtNode]:
    """The host."""
    if request.param == real.NAME:
        with real_node(tmp_path) as made:
            yield made
        return
    yield LibvirtNode(connection, simulated=True)


@pytest.fixture(params=real.on("this machine's", "played"))
def any_node(request: pytest.FixtureRequest, connection: Connection, tmp_path: Path) -> Iterator[LibvirtNode]:
    """A host with the devices of this machine, and one with played ones."""
    if request.param == real.NAME:
        with real_node(tmp_path) as made:
            yield made
    elif request.param == "played":
        yield SimulatedNode(connection, PlayedNetwork())
    else:
        yield LibvirtNode(connection, simulated=True)


def test_a_host_tells_what_clients_look_for(node: LibvirtNode) -> None:
    host = node.host()
    assert host.hostname
    assert re.fullmatch(r"\d+\.\d+\.\d+", host.software_version["product_version"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", host.software_version["libvirt"])
    assert {"product_brand", "xapi", "build_number", "platform_name"} <= host.software_version.keys()
    assert {"vendor", "speed", "modelname", "stepping", "flags", "features", "socket_count"} <= host.cpu_info.keys()
    assert host.boot_time < datetime.now(UTC)
    assert host == node.host()


def test_only_xen_is_called_xen(node: LibvirtNode) -> None:
    assert ("xen" in node.host().software_version) == (node.connection.handle.getType() == "Xen")


def test_processors_and_memory_are_those_of_the_machine_and_not_of_the_control_domain(node: LibvirtNode) -> None:
    model, mebibytes, count, speed = node.connection.handle.getInfo()[:4]
    host, processors = node.host(), node.cpus()
    assert host.memory_total == mebibytes * 1024 * 1024
    assert [cpu.number for cpu in processors] == list(range(count))
    # Xen's library names the architecture where the test driver names a model.
    assert {cpu.speed for cpu in processors} == {speed}
    assert {cpu.modelname for cpu in processors} == ({host.cpu_info["modelname"]} if real.URI else {model})
    assert all(cpu.modelname for cpu in processors)
    assert host.cpu_info["cpu_count"] == str(count)


def test_capabilities_name_the_kinds_of_guests(node: LibvirtNode) -> None:
    assert all(re.fullmatch(r"(xen|hvm)-3\.0-x86_(32p?|64)", name) for name in node.host().capabilities)
    assert node.host().capabilities


def test_cards_of_this_machine_are_complete(node: LibvirtNode) -> None:
    for card in node.interfaces():
        assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", card.MAC)
        assert card.MTU > 0
        assert card.device != "lo"


def test_pci_devices_have_a_place_each_and_numbers(any_node: LibvirtNode) -> None:
    devices = any_node.pci_devices()
    addresses = [device.address for device in devices]
    assert len(set(addresses)) == len(addresses)
    for device in devices:
        assert re.fullmatch(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", device.address)
        assert 0 < device.vendor_id < 0x10000
        assert 0 <= device.device_id < 0x10000
        assert 0 <= device.class_code < 0x10000
        assert device.driver == device.driver.strip()


def test_scsi_devices_have_a_place_each_on_an_adapter(any_node: LibvirtNode) -> None:
    devices = any_node.scsi_devices()
    assert len({(one.host, one.channel, one.target, one.lun) for one in devices}) == len(devices)
    assert {one.host for one in devices} <= set(any_node.scsi_adapters())


def test_a_played_vlan_is_a_card_of_the_host(connection: Connection) -> None:
    network = PlayedNetwork()
    vlans, node = network.vlans, SimulatedNode(connection, network)
    cards = list(node.interfaces())
    if not cards:
        pytest.skip("this machine has no network card to play a VLAN on")
    name = vlans.create(cards[0].device, 5, "xenbr0")
    [vlan] = [card for card in node.interfaces() if card.device == name]
    assert (vlan.VLAN, vlan.trunk, vlan.bridge, vlan.physical) == (5, cards[0].device, "xenbr0", False)
    assert vlan.MAC == cards[0].MAC
    vlans.destroy(name)
    assert list(node.interfaces()) == cards

"""What a host tells of itself: real answers of libvirt and of this machine, on libvirt's test driver or a real Xen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.connection import Connection
from drivers.node import LibvirtNode
from tests.contract import real_xen as real


@pytest.fixture(params=real.on("simulated"))
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LibvirtNode]:
    """The host."""
    if request.param == real.NAME:
        with real.opened(tmp_path) as machine:
            assert isinstance(machine.node, LibvirtNode)
            yield machine.node
        return
    connection = Connection("test:///default")
    connection.start()
    yield LibvirtNode(connection, simulated=True)
    connection.close()


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

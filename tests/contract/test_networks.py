"""What every driver's networks do: tried on libvirt's test driver, a real network driver and a real Xen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent import classes as c
from agent.errors import InvalidValue, UniquenessViolated
from agent.model import api
from agent.ports import SeenNetwork
from drivers.connection import Connection
from drivers.networks import LibvirtNetworks
from tests.contract import real_xen as real
from tests.contract.daemon import private_libvirtd

api.seal_classes(c)


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a private libvirtd that has the network driver alone, in a network namespace of its own."""
    with private_libvirtd(tmp_path_factory.mktemp("libvirtd"), "network") as uri:
        yield uri


@pytest.fixture(params=real.on("simulated", "libvirtd"))
def networks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LibvirtNetworks]:
    """Every driver in turn; what a test makes is removed."""
    with _opened(request, tmp_path) as networks:
        assert networks.connection.connected
        known = {network.uuid for network in networks.list()}
        yield networks
        for left in networks.list():
            if left.uuid not in known:
                networks.destroy(network(uuid=left.uuid))


@contextmanager
def _opened(request: pytest.FixtureRequest, state: Path) -> Iterator[LibvirtNetworks]:
    if request.param == real.NAME:
        with real.opened(state) as machine:
            assert isinstance(machine.networks, LibvirtNetworks)
            yield machine.networks
        return
    uri = "test:///default" if request.param == "simulated" else request.getfixturevalue("libvirtd")
    connection = Connection(uri)
    connection.start()
    yield LibvirtNetworks(connection)
    connection.close()


def network(name_label: str = "lab", *, uuid: str = "", **fields: Any) -> c.Network:
    """A network that is described and not made."""
    described = c.Network(name_label=name_label, **fields)
    if uuid:
        described.uuid = uuid
    return described


def seen(networks: LibvirtNetworks, wanted: c.Network) -> SeenNetwork:
    (found,) = [other for other in networks.list() if other.uuid == wanted.uuid]
    return found


def test_a_new_network_runs_on_a_bridge_of_its_own(networks: LibvirtNetworks) -> None:
    lab = network()
    bridge = networks.create(lab)
    assert bridge.startswith("xapi")
    assert seen(networks, lab) == SeenNetwork(lab.uuid, "lab", bridge, active=True)


def test_networks_have_different_bridges_also_when_made_at_once(networks: LibvirtNetworks) -> None:
    bridges: list[str] = []
    threads = [
        threading.Thread(target=lambda name: bridges.append(networks.create(network(name))), args=(f"lab {number}",))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bridges) == len(set(bridges)) == 4


def test_networks_may_have_one_label(networks: LibvirtNetworks) -> None:
    first, second = network(), network()
    networks.create(first)
    networks.create(second)
    assert seen(networks, first).name != seen(networks, second).name


@pytest.mark.threat("T12")
def test_a_label_that_libvirt_does_not_take_is_no_obstacle(networks: LibvirtNetworks) -> None:
    odd = network("a/b\n\u202e")
    networks.create(odd)
    assert seen(networks, odd).name == "a_b"


def test_the_bridge_may_be_named(networks: LibvirtNetworks) -> None:
    lab = network(bridge="labbr0")
    assert networks.create(lab) == "labbr0"
    assert seen(networks, lab).bridge == "labbr0"


def test_a_bridge_that_another_network_has_is_refused(networks: LibvirtNetworks) -> None:
    networks.create(network(bridge="labbr0"))
    second = network("second", bridge="labbr0")
    with pytest.raises(UniquenessViolated):
        networks.create(second)
    assert second.uuid not in [other.uuid for other in networks.list()]


@pytest.mark.threat("T12")
@pytest.mark.parametrize("bridge", ["a bridge", "longer-than-a-card", "x/y", "-br", "br%d"])
def test_a_name_that_no_bridge_can_have_is_refused(networks: LibvirtNetworks, bridge: str) -> None:
    with pytest.raises(InvalidValue):
        networks.create(network(bridge=bridge))


def test_a_network_keeps_its_mtu(networks: LibvirtNetworks) -> None:
    lab = network(MTU=1400)
    networks.create(lab)
    assert seen(networks, lab).MTU == 1400


def test_a_network_that_is_not_managed_is_on_the_bridge_of_the_host(networks: LibvirtNetworks) -> None:
    first, second = network(bridge="xenbr0", managed=False), network("second", bridge="xenbr0", managed=False)
    assert networks.create(first) == networks.create(second) == "xenbr0"
    with pytest.raises(InvalidValue):
        networks.create(network(managed=False))


def test_creating_a_network_again_starts_it(networks: LibvirtNetworks) -> None:
    lab = network()
    bridge = networks.create(lab)
    networks.connection.handle.networkLookupByUUIDString(lab.uuid).destroy()
    assert not seen(networks, lab).active
    assert networks.create(lab) == networks.create(lab) == bridge
    assert seen(networks, lab).active


def test_a_destroyed_network_is_gone_and_may_be_destroyed_again(networks: LibvirtNetworks) -> None:
    lab = network()
    networks.create(lab)
    networks.destroy(lab)
    assert lab.uuid not in [other.uuid for other in networks.list()]
    networks.destroy(lab)

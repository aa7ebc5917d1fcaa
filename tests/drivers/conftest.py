"""What the tests of the drivers share: a fake Xen, machines, connections that are closed, a network namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute, NetlinkError
from pytest_mock import MockerFixture

from agent.store.store import Store
from drivers.connection import Connection
from drivers.domains import LibvirtDomains
from tests.drivers.fake_xen import FakeXen
from tests.drivers.machines import Machines


@pytest.fixture
def machines(store: Store) -> Machines:
    """Makes machines."""
    return Machines(store)


@pytest.fixture
def xen(mocker: MockerFixture) -> FakeXen:
    """A Xen that is not there."""
    return FakeXen(mocker)


@pytest.fixture
def connection(xen: FakeXen) -> Iterator[Connection]:
    """A connection to it, which is not started yet."""
    made = Connection("xen:///system", opener=lambda uri: xen.connection)
    yield made
    made.close()


@pytest.fixture
def domains(connection: Connection) -> LibvirtDomains:
    """The port on it."""
    made = LibvirtDomains(connection)
    connection.start()
    return made


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with the cards `x0` and `x1` and a bridge `br0`."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare")
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()  # now it is in its namespace
        path = f"/proc/{holder.pid}/ns/net"
        with IPRoute(netns=path) as kernel:
            try:
                kernel.link("add", ifname="x0", kind="veth", peer="y0")
                kernel.link("add", ifname="x1", kind="veth", peer="y1")
                kernel.link("add", ifname="br0", kind="bridge")
            except NetlinkError as error:
                pytest.skip(f"this kernel has no veth or bridge: {error}")
        try:
            yield path
        finally:
            holder.stdin.close()

"""What the tests of the drivers share: a fake Xen, machines, and connections that are closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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

"""The machine below: libvirt and the host it runs on, as the ports that the agent asks. Open it with `open`.

The only package that imports libvirt and psutil. Of the agent it knows errors, classes and ports, no more.
"""

from __future__ import annotations

from pathlib import Path

from agent.ports import Machine
from drivers.connection import Connection
from drivers.domains import LibvirtDomains
from drivers.folders import SimulatedStorage
from drivers.meters import SampledMeters
from drivers.networks import LibvirtNetworks
from drivers.node import LibvirtNode
from drivers.simulator import SimulatedDomains
from drivers.storage import LibvirtStorage

__all__ = ["open"]


def open(uri: str, state: Path) -> Machine:
    """The hypervisor at the libvirt URI `uri`, as far as it can be reached now; it is tried on where it cannot.

    ``test:///default`` and other ``test:`` URIs are libvirt's hypervisor within this process, with its gaps filled and
    with disks that are files under `state`. Any other URI is taken as it is.
    """
    connection = Connection(uri)
    machine = _simulated(connection, state) if connection.in_process else _plain(connection)
    connection.start()
    return machine


def _plain(connection: Connection) -> Machine:
    return Machine(
        domains=LibvirtDomains(connection),
        storage=LibvirtStorage(connection),
        networks=LibvirtNetworks(connection),
        node=LibvirtNode(connection, simulated=False),
        meters=SampledMeters(connection, simulated=False),
        close=connection.close,
    )


def _simulated(connection: Connection, state: Path) -> Machine:
    return Machine(
        domains=SimulatedDomains(connection),
        storage=SimulatedStorage(connection, state),
        networks=LibvirtNetworks(connection),
        node=LibvirtNode(connection, simulated=True),
        meters=SampledMeters(connection, simulated=True),
        close=connection.close,
    )

"""The machine below: libvirt and the host it runs on, as the ports that the agent asks. Open it with `open`.

The only package that imports libvirt and psutil. Of the agent it knows errors, classes and ports, no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.ports import Domains, Machine
from drivers.census import Census
from drivers.connection import Connection
from drivers.disk_journal import JOURNAL, STEPS, DiskJournal, nothing
from drivers.domains import LibvirtDomains
from drivers.dumps import LIBVIRT_FOLDER, DumpFolder
from drivers.folders import SimulatedStorage
from drivers.guests import Guests
from drivers.kernels import KernelFolder
from drivers.memories import LIBVIRT_SAVES, MemoryFolder
from drivers.meters import SampledMeters
from drivers.networks import LibvirtNetworks
from drivers.node import LibvirtNode
from drivers.simulated_host import PlayedNetwork, SimulatedNode
from drivers.simulator import SimulatedDomains
from drivers.storage import LibvirtStorage
from drivers.xen import XenDomains
from drivers.xen_counters import XenCounters
from drivers.xl import Xl

__all__ = ["STEPS", "open"]

NOWHERE = Path("/nonexistent")


def open(uri: str, state: Path, reached: Callable[[str], None] = nothing) -> Machine:
    """The hypervisor at the libvirt URI `uri`, as far as it can be reached now; it is tried on where it cannot.

    ``test:///default`` and other ``test:`` URIs are libvirt's hypervisor within this process, with its gaps filled and
    with disks that are files under `state`. ``xen:///system`` is the Xen of this host, which is asked beside libvirt.
    Any other URI is taken as it is. `reached` is told the ``STEPS`` of operations on disks.
    """
    connection = Connection(uri)
    if connection.in_process:
        machine = _simulated(connection, state, reached)
    else:
        made = _xen if uri.startswith("xen:///") else _plain
        machine = made(connection, state, reached)
    connection.start()
    return machine


def _xen(connection: Connection, state: Path, reached: Callable[[str], None]) -> Machine:
    xl = Xl.installed()
    census, guests = Census(xl), Guests()
    counters = XenCounters(xl, census, guests)
    guests.watch_domains(census.hurry)
    dumps, images = DumpFolder(LIBVIRT_FOLDER), KernelFolder(state.absolute() / "images")
    memories = MemoryFolder(state.absolute() / "memory", LIBVIRT_SAVES)
    domains = XenDomains(connection, xl, census, guests, dumps=dumps, images=images, memories=memories)
    node = LibvirtNode(connection, simulated=False, local=True, xl=xl)
    machine = _libvirt(connection, DiskJournal(state / JOURNAL, reached), domains, counters, node)
    census.start()
    guests.start()

    def close() -> None:
        census.close()
        guests.close()
        counters.close()
        connection.close()

    return replace(machine, close=close)


def _plain(connection: Connection, state: Path, reached: Callable[[str], None]) -> Machine:
    # Whatever it is, it is not the Xen under this control domain: what the files here say is not about its domains.
    xl = Xl(None)
    counters = XenCounters(xl, Census(xl), Guests(), sys=NOWHERE, run=NOWHERE)
    node = LibvirtNode(connection, simulated=False)
    return _libvirt(connection, DiskJournal(state / JOURNAL, reached), LibvirtDomains(connection), counters, node)


def _libvirt(
    connection: Connection, journal: DiskJournal, domains: Domains, counters: XenCounters, node: LibvirtNode
) -> Machine:
    return Machine(
        domains=domains,
        storage=LibvirtStorage(connection, journal),
        networks=LibvirtNetworks(connection),
        node=node,
        meters=SampledMeters(connection, counters),
        close=connection.close,
        alive=connection.alive,
    )


def _simulated(connection: Connection, state: Path, reached: Callable[[str], None]) -> Machine:
    network = PlayedNetwork()
    dumps, images = DumpFolder(state / "dump"), KernelFolder(state.absolute() / "images")
    return Machine(
        domains=SimulatedDomains(
            connection, dumps=dumps, images=images, memories=MemoryFolder(state.absolute() / "memory")
        ),
        storage=SimulatedStorage(connection, state, reached),
        networks=LibvirtNetworks(connection, network.vlans, network.bonds, network.links),
        node=SimulatedNode(connection, network),
        meters=SampledMeters(connection, None),
        close=connection.close,
        alive=connection.alive,
    )

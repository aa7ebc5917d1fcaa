"""What a machine goes on from, on a libvirt that fails as its Xen driver does: nothing of it is lost, and nothing stays
that it must not go on from.
"""

from __future__ import annotations

from pathlib import Path

import libvirt
import pytest
from lxml import etree

from agent.classes import VM
from agent.classes.enums import PowerState
from agent.errors import InternalError, OperationNotAllowed, XenError
from drivers.connection import Connection
from drivers.domains import LibvirtDomains
from drivers.memories import MemoryFolder
from tests.drivers.fake_xen import LIBXL, FakeDomain, FakeXen, error
from tests.drivers.machines import Machines


class Host:
    """A machine that runs, where suspended ones are kept as files."""

    def __init__(self, xen: FakeXen, connection: Connection, machines: Machines, folder: Path) -> None:
        xen.saves = folder / "saves"
        xen.saves.mkdir()
        self.saves = xen.saves
        self.domains = LibvirtDomains(connection, memories=MemoryFolder(folder / "memory", xen.saves))
        connection.start()
        self.vm: VM = machines.vm()
        self.domains.start(self.vm, False)
        self.domain: FakeDomain = xen.domains[self.vm.uuid]

    @property
    def state(self) -> PowerState:
        seen = self.domains.look(self.vm.uuid)
        assert seen is not None
        return seen.power_state

    def files(self) -> list[str]:
        return sorted(path.name for path in self.saves.iterdir())

    def kernel(self, path: str) -> None:
        """Let the domain's kernel be this one; without it no start works."""
        assert isinstance(self.domain.definition, etree._Element)
        element = self.domain.definition.find("os/kernel")
        assert element is not None
        element.text = path


@pytest.fixture
def host(xen: FakeXen, connection: Connection, machines: Machines, tmp_path: Path) -> Host:
    return Host(xen, connection, machines, tmp_path)


def test_a_machine_that_cannot_go_on_stays_suspended_with_its_memory(host: Host) -> None:
    host.domains.suspend(host.vm)
    [saved] = host.files()
    content = (host.saves / saved).read_bytes()
    host.kernel("/boot/missing")
    for _ in range(2):
        with pytest.raises(InternalError):
            host.domains.resume(host.vm, False)
        assert (host.state, host.files()) == (PowerState.SUSPENDED, [saved])
        assert (host.saves / saved).read_bytes() == content
    host.kernel("/boot/vmlinuz")
    host.domains.resume(host.vm, False)
    assert (host.state, host.files()) == (PowerState.RUNNING, [])


def test_what_a_machine_went_on_from_is_gone_even_where_libvirt_says_that_it_failed(host: Host) -> None:
    """Memory that is older than the disks would destroy them."""
    host.domains.suspend(host.vm)
    create = host.domain.createWithFlags

    def late(flags: int = 0) -> int:
        create(flags)
        raise error(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: Failed to unpause domain '7'", LIBXL)

    host.domain.mock.createWithFlags.side_effect = late
    with pytest.raises(XenError):
        host.domains.resume(host.vm, False)
    assert (host.state, host.files()) == (PowerState.RUNNING, [])


def test_where_nobody_knows_whether_it_goes_on_the_memory_is_neither_put_back_nor_lost(host: Host) -> None:
    host.domains.suspend(host.vm)
    [saved] = host.files()
    host.kernel("/boot/missing")

    def silenced(flags: int = 0) -> int:
        host.domain.mock.isActive.side_effect = error(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: no", LIBXL)
        return host.domain.createWithFlags(flags)

    host.domain.mock.createWithFlags.side_effect = silenced
    with pytest.raises(InternalError):
        host.domains.resume(host.vm, False)
    assert host.files() == [f".{saved.removesuffix('.save')}.spare"]


def test_a_guest_that_cannot_be_saved_runs_on_and_leaves_nothing_to_go_on_from(host: Host) -> None:
    host.domain.keeps_running = True
    with pytest.raises(OperationNotAllowed, match="cannot be suspended"):
        host.domains.suspend(host.vm)
    assert (host.state, host.files()) == (PowerState.RUNNING, [])
    host.domains.destroy(host.vm)
    assert host.state is PowerState.HALTED

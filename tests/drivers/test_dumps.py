"""Memory dumps of crashed guests: the files of libvirt's Xen driver, and those that the simulation plays."""

from __future__ import annotations

import os
import queue
from datetime import UTC, datetime
from pathlib import Path

import libvirt
import pytest

from agent.classes.enums import OnCrash, PowerState
from agent.errors import OperationNotAllowed
from drivers.connection import Connection
from drivers.domains import LibvirtDomains
from drivers.dumps import NO_DUMPS, DumpFolder
from drivers.simulator import SimulatedDomains
from tests.drivers.fake_xen import FakeXen
from tests.drivers.machines import Machines

NAME = "web-2-2026-11-24-18:15:10"


@pytest.fixture
def folder(tmp_path: Path) -> DumpFolder:
    """One with a dump in it, and files that are none."""
    (tmp_path / NAME).write_bytes(bytes(1000))
    os.utime(tmp_path / NAME, (1_800_000_000, 1_800_000_000))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "evil\n-2026-11-24-18:15:10").write_text("x")
    return DumpFolder(tmp_path)


def test_files_tell_whose_they_are_and_when_they_were_written(folder: DumpFolder) -> None:
    [found] = folder.files()
    assert (found.domain, found.size) == ("web-2", 1000)
    assert found.when == datetime.fromtimestamp(1_800_000_000, UTC)


def test_only_dumps_of_the_folder_are_removed(folder: DumpFolder, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / NAME).write_text("x")
    for other in (tmp_path / "notes.txt", tmp_path / "below" / NAME, tmp_path / "below" / ".." / NAME, Path(NAME)):
        with pytest.raises(OperationNotAllowed):
            folder.remove(str(other))
    folder.remove(str(tmp_path / NAME))
    folder.remove(str(tmp_path / NAME))
    assert folder.files() == []
    assert (tmp_path / "notes.txt").exists()


def test_a_hypervisor_elsewhere_has_no_dumps_here(tmp_path: Path) -> None:
    assert NO_DUMPS.files() == []
    with pytest.raises(OperationNotAllowed):
        NO_DUMPS.remove(str(tmp_path / NAME))


def test_a_dump_is_seen_once_it_is_written(
    connection: Connection, xen: FakeXen, machines: Machines, folder: DumpFolder
) -> None:
    domains = LibvirtDomains(connection, dumps=folder)
    connection.start()
    assert domains.crash_dumps() == []  # of no domain that is there
    vm = machines.vm("web-2")
    domains.start(vm, False)
    xen.domains[vm.uuid].state = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]
    assert domains.crash_dumps() == []  # it is active and off: libvirt is writing
    xen.domains[vm.uuid].stop(libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
    [dump] = domains.crash_dumps()
    assert (dump.domain_uuid, dump.size, Path(dump.location).name) == (vm.uuid, 1000, NAME)
    domains.remove_crash_dump(dump.location)
    assert domains.crash_dumps() == []


@pytest.mark.parametrize(
    ("action", "state", "dumps"),
    [
        (OnCrash.DESTROY, PowerState.HALTED, 0),
        (OnCrash.RESTART, PowerState.RUNNING, 0),
        (OnCrash.COREDUMP_AND_DESTROY, PowerState.HALTED, 1),
        (OnCrash.COREDUMP_AND_RESTART, PowerState.RUNNING, 1),
    ],
)
def test_a_played_crash_leaves_what_the_machine_says(
    machines: Machines, tmp_path: Path, action: OnCrash, state: PowerState, dumps: int
) -> None:
    (tmp_path / "node.xml").write_text("<node/>")
    connection = Connection(f"test://{tmp_path}/node.xml")
    domains = SimulatedDomains(connection, dumps=DumpFolder(tmp_path / "dump"))
    connection.start()
    try:
        told: queue.Queue[str] = queue.Queue()
        domains.watch(lambda uuid: None, told.put)
        vm = machines.vm(actions_after_crash=action)
        domains.start(vm, False)
        domains.reboot(vm)
        before = domains.look(vm.uuid)
        domains.send_sysrq(vm, "c")
        assert told.get(timeout=60) == vm.uuid
        assert told.empty()
        after = domains.look(vm.uuid)
        assert before is not None
        assert after is not None
        assert after.power_state is state
        assert after.domid != before.domid
        assert [dump.domain_uuid for dump in domains.crash_dumps()] == [vm.uuid] * dumps
    finally:
        connection.close()

"""The Xen of this host: what libvirt says is set right by what the hypervisor says, and only where it must be."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import Mock

import libvirt
import pytest
from pytest_mock import MockerFixture

from agent.classes.enums import PowerState
from agent.errors import InternalError, OperationNotAllowed, VMBadPowerState
from agent.ports import GuestReading, SeenDisk, SeenDomain
from drivers.back_ends import BackEnds
from drivers.census import Census
from drivers.connection import Connection
from drivers.guests import Guests
from drivers.xen import XenDomains
from tests.drivers.fake_xen import FakeDomain, FakeXen, FakeXl, error
from tests.drivers.machines import Machines

RUNNING, PAUSED, HALTED = PowerState.RUNNING, PowerState.PAUSED, PowerState.HALTED
CONTROL = "00000000-0000-0000-0000-000000000000"
THEIRS = "77777777-7777-4777-8777-777777777777"


class Host:
    """A Xen with libvirt, xl and a machine that runs."""

    def __init__(self, mocker: MockerFixture, machines: Machines) -> None:
        self.xen = FakeXen(mocker)
        self.xl = FakeXl(self.xen)
        self.census = Census(self.xl)
        self.guests = mocker.create_autospec(Guests, instance=True)
        self.guests.reading.return_value = None
        self.connection = Connection("xen:///system", opener=lambda uri: self.xen.connection)
        self.back_ends = mocker.create_autospec(BackEnds, instance=True)
        self.domains = XenDomains(self.connection, self.xl, self.census, self.guests, back_ends=self.back_ends)
        self.connection.start()
        self.vm = machines.vm()
        self.domains.start(self.vm, False)
        self.count()

    @property
    def domain(self) -> FakeDomain:
        """The machine's domain."""
        return self.xen.domains[self.vm.uuid]

    def count(self) -> None:
        """As the counting thread does every few seconds; what is asked of xl from here on is counted."""
        assert self.census.fresh() is not None
        self.xl.runs = self.xl.described = 0

    def look(self, uuid: str = "") -> SeenDomain:
        """A domain that must be there."""
        seen = self.domains.look(uuid or self.vm.uuid)
        assert seen is not None
        return seen

    def listed(self) -> dict[str, SeenDomain]:
        """All domains by uuid; the list and a look at each say the same."""
        seen = {domain.uuid: domain for domain in self.domains.list()}
        assert seen == {uuid: self.domains.look(uuid) for uuid in seen}
        return seen


@pytest.fixture
def host(mocker: MockerFixture, machines: Machines) -> Iterator[Host]:
    made = Host(mocker, machines)
    yield made
    made.connection.close()


# --- states


def test_while_both_agree_xl_is_not_run(host: Host) -> None:
    assert host.listed()[host.vm.uuid].power_state is RUNNING
    host.domains.pause(host.vm)
    host.count()
    assert host.look().power_state is PAUSED
    host.domains.destroy(host.vm)
    host.count()
    assert host.look().power_state is HALTED
    assert (host.xl.runs, host.xl.described) == (0, 0)


@pytest.mark.parametrize("noticed", [True, False])
def test_what_xl_paused_is_paused_once_it_was_counted(host: Host, noticed: bool) -> None:
    host.domain.pauses += 1
    if noticed:
        host.count()
    assert host.look().power_state is (PAUSED if noticed else RUNNING)
    assert host.domain.state[0] == libvirt.VIR_DOMAIN_RUNNING


def test_what_xl_unpaused_runs(host: Host) -> None:
    host.domains.pause(host.vm)
    host.count()
    host.domain.pauses -= 1
    host.count()
    assert host.look().power_state is RUNNING


def test_an_event_of_libvirts_is_believed_though_the_last_count_says_otherwise(host: Host) -> None:
    host.domain.suspend()
    assert host.look().power_state is PAUSED
    assert host.xl.runs == 1


def test_while_libvirt_is_at_work_on_a_domain_libvirt_is_right(host: Host) -> None:
    # Xen has it paused while it is taken down or dumped.
    host.domain.working = True
    host.domain.pauses += 1
    host.count()
    assert host.look().power_state is RUNNING


def test_an_xl_that_fails_leaves_what_libvirt_says(host: Host) -> None:
    host.domain.suspend()
    host.xl.fails = True
    assert host.look().power_state is PAUSED
    assert host.listed().keys() == {CONTROL, host.vm.uuid}


def test_a_domain_that_reboots_is_in_transition(host: Host) -> None:
    domain = host.domain
    domain.working, domain.live, domain.state = True, None, [libvirt.VIR_DOMAIN_SHUTOFF, 1]
    for moment in ("still counted", "not counted any more"):
        seen = host.look()
        assert (seen.power_state, seen.in_transition, seen.foreign) == (HALTED, True, False), moment
        host.count()


def test_a_domain_that_was_just_stopped_is_not_taken_for_one_of_xl(host: Host) -> None:
    host.domain.stop(0)
    seen = host.look()
    assert (seen.power_state, seen.foreign) == (HALTED, False)


def test_a_transient_domain_that_was_just_stopped_is_gone(host: Host) -> None:
    host.domain.definition = None
    host.domain.stop(0)
    assert host.domains.look(host.vm.uuid) is None
    assert host.vm.uuid not in host.listed()


# --- what only Xen knows


def test_the_control_domain_has_the_sizes_that_it_has_now(host: Host) -> None:
    control = host.xen.domains[CONTROL]
    assert control.live is not None
    control.live.find("memory").text = str(2**44)  # type: ignore[union-attr]
    seen = host.look(CONTROL)
    assert seen.is_control_domain
    assert (seen.memory, seen.VCPUs, seen.VCPUs_max) == (2**30, 2, 2)
    # It was started without a limit, so its limit is what the machine has.
    assert seen.memory_max == 16 * 2**30


def test_a_name_that_xl_gave_is_shown(host: Host) -> None:
    host.domain.mock.name.return_value = "renamed"
    host.count()
    assert host.look().name == "renamed"


def test_processors_that_the_guest_keeps_are_shown(host: Host) -> None:
    host.domains.set_vcpus(host.vm, 1)
    assert (host.look().VCPUs, host.look().VCPUs_online) == (1, 2), "xl lists two"
    host.domain.stop(0)
    host.count()
    assert host.look().VCPUs_online == 0


def test_what_the_guest_tells_is_shown_while_it_runs(host: Host) -> None:
    told = GuestReading(os_version={"name": "x"})
    host.guests.reading.return_value = told
    assert host.look().guest is told
    host.guests.reading.assert_called_with(host.vm.uuid, host.look().domid)
    host.domain.stop(0)
    host.count()
    assert host.look().guest is None


def test_changes_that_were_counted_or_told_are_reported(mocker: MockerFixture) -> None:
    xen = FakeXen(mocker)
    census, guests = Mock(spec=Census), Mock(spec=Guests)
    connection = Connection("xen:///system", opener=lambda uri: xen.connection)
    domains = XenDomains(connection, FakeXl(xen), census, guests)
    heard: list[str | None] = []
    domains.watch(heard.append)
    for watch in (census.watch, guests.watch, guests.watch_devices):
        (report,) = watch.call_args.args
        report(THEIRS)
    assert heard == [THEIRS, THEIRS, THEIRS]


# --- domains of xl


def test_a_domain_of_xl_is_seen_and_marked(host: Host) -> None:
    host.xl.create(THEIRS)
    assert host.domains.look(THEIRS) is None, "nobody has counted since"
    host.count()
    seen = host.listed()[THEIRS]
    assert (seen.name, seen.power_state, seen.foreign, seen.persistent) == ("theirs", RUNNING, True, False)
    assert [disk.source for disk in seen.disks] == ["/srv/theirs.raw"]
    assert host.xl.described == 1


def test_a_domain_of_xl_is_followed(host: Host) -> None:
    host.xl.create(THEIRS)
    host.count()
    assert host.look(THEIRS).power_state is RUNNING
    host.xl.create(THEIRS, "renamed", state="--p---", memory=64 * 2**20, vcpus=2)
    host.count()
    seen = host.look(THEIRS)
    assert (seen.name, seen.power_state, seen.memory, seen.VCPUs) == ("renamed", PAUSED, 64 * 2**20, 2)
    host.xl.create(THEIRS, state="---s--")
    host.count()
    assert host.look(THEIRS).power_state is HALTED
    del host.xl.own[THEIRS]
    host.count()
    assert host.domains.look(THEIRS) is None
    assert THEIRS not in host.listed()


def test_a_device_plugged_with_xl_is_shown_when_its_guest_has_it(host: Host) -> None:
    host.xl.create(THEIRS)
    host.count()
    assert [disk.target for disk in host.look(THEIRS).disks] == ["xvda"]
    heard: list[str | None] = []
    host.domains.watch(heard.append)
    host.xl.disks = (*host.xl.disks, SeenDisk("xvdb", source="/srv/more.raw"))
    (devices_changed,) = host.guests.watch_devices.call_args.args
    devices_changed(THEIRS)
    assert heard == [THEIRS]
    assert [disk.target for disk in host.look(THEIRS).disks] == ["xvda", "xvdb"]


def test_a_domain_of_xl_that_went_meanwhile_is_none(host: Host) -> None:
    host.xl.create(THEIRS)
    host.count()
    del host.xl.own[THEIRS]
    assert host.domains.look(THEIRS) is None


def test_a_machine_of_ours_that_xl_runs_is_seen_as_it_runs_and_cannot_be_started(host: Host) -> None:
    host.domain.stop(0)
    host.xl.create(host.vm.uuid, "restored")
    with pytest.raises(OperationNotAllowed, match="libvirt does not know"):
        host.domains.start(host.vm, False)
    host.count()
    seen = host.listed()[host.vm.uuid]
    assert (seen.power_state, seen.foreign, seen.name) == (RUNNING, True, "restored")
    del host.xl.own[host.vm.uuid]
    host.count()
    assert (host.look().power_state, host.look().foreign) == (HALTED, False)
    host.domains.start(host.vm, False)
    assert host.look().power_state is RUNNING


def test_what_libvirt_runs_cannot_be_started_whatever_xl_says(host: Host) -> None:
    with pytest.raises(VMBadPowerState):
        host.domains.start(host.vm, False)


# --- verbs on what xl changed behind libvirt's back


def test_what_xl_paused_can_be_unpaused(host: Host) -> None:
    host.domain.pauses += 1
    host.count()
    host.domains.unpause(host.vm)
    assert (host.domain.state[0], host.domain.pauses) == (libvirt.VIR_DOMAIN_RUNNING, 0)
    assert host.look().power_state is RUNNING


def test_what_xl_unpaused_can_be_paused(host: Host) -> None:
    host.domains.pause(host.vm)
    host.count()
    host.domain.pauses -= 1
    host.count()
    host.domains.pause(host.vm)
    assert (host.domain.state[0], host.domain.pauses) == (libvirt.VIR_DOMAIN_PAUSED, 1)
    assert host.look().power_state is PAUSED


def test_what_xl_unpaused_can_be_suspended(host: Host) -> None:
    host.domains.pause(host.vm)
    host.count()
    host.domain.pauses -= 1
    host.count()
    host.domains.suspend(host.vm)
    assert host.domain.saved


def test_what_xl_paused_is_no_running_machine(host: Host) -> None:
    host.domain.pauses += 1
    host.count()
    with pytest.raises(VMBadPowerState):
        host.domains.suspend(host.vm)
    assert not host.domain.saved


def test_a_verb_on_what_nobody_changed_runs_no_xl(host: Host, machines: Machines) -> None:
    host.domains.pause(host.vm)
    host.count()
    host.domains.unpause(host.vm)
    host.domains.set_vcpus(host.vm, 1)
    other = machines.vm("other", "a4c1a1de-0000-4000-8000-000000000002")
    host.domains.define(other)
    assert host.xl.runs == 1, "unpause made libvirt say what the last count did not"


def test_a_sleeping_domain_is_not_what_xl_paused(host: Host) -> None:
    host.domain.state, host.domain.pauses = [libvirt.VIR_DOMAIN_PMSUSPENDED, 0], 0
    host.domains.unpause(host.vm)
    host.domain.mock.pMWakeup.assert_called_once_with(0)
    host.domain.mock.suspend.assert_not_called()


# --- disks that QEMU serves


UNSERVED = OperationNotAllowed("QEMU does not serve the disk xvda")


def test_a_machine_runs_once_qemu_serves_its_disks(host: Host, machines: Machines) -> None:
    vm = machines.vm("disks")
    machines.disk(vm, "xvda", "/srv/disks/a.raw")
    states: list[PowerState] = []
    host.back_ends.require_taken.side_effect = lambda *asked: states.append(host.look(vm.uuid).power_state)
    host.domains.start(vm, False)
    assert states == [PAUSED]
    host.back_ends.require_taken.assert_called_once_with("disks", host.look(vm.uuid).domid, ["xvda"])
    assert host.look(vm.uuid).power_state is RUNNING


def test_a_machine_without_one_of_its_disks_is_not_started(host: Host, machines: Machines) -> None:
    vm = machines.vm("disks")
    machines.disk(vm, "xvda", "/srv/disks/a.raw")
    host.back_ends.require_taken.side_effect = UNSERVED
    with pytest.raises(OperationNotAllowed, match="xvda"):
        host.domains.start(vm, False)
    assert host.look(vm.uuid).power_state is HALTED


def test_a_machine_that_cannot_go_on_with_all_disks_keeps_its_memory(host: Host, machines: Machines) -> None:
    vm = machines.vm("disks")
    machines.disk(vm, "xvda", "/srv/disks/a.raw")
    host.domains.start(vm, False)
    host.domains.suspend(vm)
    host.back_ends.require_taken.side_effect = UNSERVED
    with pytest.raises(OperationNotAllowed, match="xvda"):
        host.domains.resume(vm, False)
    assert host.look(vm.uuid).power_state is PAUSED


def test_a_disk_that_qemu_does_not_serve_is_not_plugged(host: Host, machines: Machines) -> None:
    vm = machines.vm("disks")
    machines.disk(vm, "xvda", "/srv/disks/a.raw")
    host.domains.start(vm, False)
    host.back_ends.require_taken.side_effect = UNSERVED
    with pytest.raises(OperationNotAllowed, match="xvda"):
        host.domains.plug_vbd(machines.disk(vm, "xvdb", "/srv/disks/b.raw"))
    assert [disk.target for disk in host.look(vm.uuid).disks] == ["xvda"]


def test_a_qemu_that_ends_at_once_is_quoted(host: Host, machines: Machines) -> None:
    vm = machines.hvm()
    host.domains.define(vm)
    failed = error(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: libxenlight failed to create new domain 'win'")
    host.xen.domains[vm.uuid].mock.createWithFlags.side_effect = failed
    host.back_ends.last_words.return_value = "Could not open '/srv/a.raw': No such file or directory"
    with pytest.raises(OperationNotAllowed, match="QEMU ended at once: Could not open '/srv/a"):
        host.domains.start(vm, False)
    host.back_ends.last_words.return_value = ""
    with pytest.raises(InternalError, match="failed to create"):
        host.domains.start(vm, False)
    assert host.look(vm.uuid).power_state is HALTED


def test_the_medium_of_a_drive_that_qemu_does_not_know_stays(host: Host, machines: Machines) -> None:
    vm = machines.hvm()
    drive = machines.drive(vm, "3", "/srv/disks/a.iso")
    host.domains.start(vm, False)
    host.back_ends.require_drive.side_effect = OperationNotAllowed("hdd: it has been empty")
    with pytest.raises(OperationNotAllowed, match="hdd: it has been empty"):
        host.domains.change_medium(drive)
    host.xen.domains[vm.uuid].mock.updateDeviceFlags.assert_not_called()
    host.back_ends.require_drive.side_effect = None
    host.domains.change_medium(drive)
    host.xen.domains[vm.uuid].mock.updateDeviceFlags.assert_called_once()
    host.back_ends.require_drive.assert_called_with(host.look(vm.uuid).domid, "hdd")


def test_a_file_is_not_plugged_where_no_qemu_runs_and_a_device_is(host: Host, machines: Machines) -> None:
    with pytest.raises(OperationNotAllowed, match="it takes QEMU"):
        host.domains.plug_vbd(machines.disk(host.vm, "xvda", "/srv/disks/a.raw"))
    host.domains.plug_vbd(machines.disk(host.vm, "xvdb", "/dev/group/volume"))
    assert [disk.target for disk in host.look().disks] == ["xvdb"]

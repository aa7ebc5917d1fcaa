"""Rates and the counters they are made of: made-up samples, made-up files of the kernel, a libvirt that is Xen's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import libvirt
import pytest
from pytest_mock import MockerFixture

from agent.errors import HostOffline, XenError
from agent.ports import GuestReading
from drivers import counters
from drivers.census import Census
from drivers.counters import DomainCounters
from drivers.guests import Guests
from drivers.meters import DEVICES_SECONDS, GAP_SECONDS, OLD_SECONDS, Machine, Sample, SampledMeters, between
from drivers.vcpus import Vcpu
from drivers.xen_counters import XenCounters
from drivers.xl import Xl
from tests.drivers.test_xen_counters import back_end

MIB = 1024 * 1024
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
SECOND_NS = 10**9


def sample(clock: float, domid: int = 1, *, busy: tuple[int, int] | None = None, **domain: object) -> Sample:
    """A sample of a host with four processors and one domain."""
    given: dict[str, object] = {"cpu_ns": 0, "vcpus_ns": {}, "memory": 256 * MIB, **domain}
    machine = Machine(0, 1024 * MIB, range(4))
    key = (UUID, domid)
    counted = DomainCounters(**given)  # type: ignore[arg-type]
    return Sample(datetime.now(UTC), clock, machine, 512 * MIB, {key: counted}, {"eth0": (0, 0)}, busy)


def test_load_is_the_part_of_the_time_that_a_cpu_was_used() -> None:
    before = sample(10, cpu_ns=0, vcpus_ns={0: 0, 1: 5 * SECOND_NS})
    after = sample(12, cpu_ns=3 * SECOND_NS, vcpus_ns={0: SECOND_NS, 1: 7 * SECOND_NS})
    reading = between(before, after)
    assert reading.domains[UUID].VCPUs_utilisation == {0: 0.5, 1: 1.0}
    assert reading.host.cpus == {number: pytest.approx(3 / 8) for number in range(4)}
    assert (reading.host.memory_total, reading.host.memory_free) == (1024 * MIB, 512 * MIB)
    assert reading.when == after.when


def test_rates_are_kibibytes_a_second() -> None:
    before = sample(10, disks={"xvda": (0, 1024)}, nics={"00:16:3e:00:00:01": (0, 0)})
    after = sample(12, disks={"xvda": (4096, 1024)}, nics={"00:16:3e:00:00:01": (2048, 6144)})
    after = replace(after, cards={"eth0": (8192, 0), "eth1": (1, 1)})
    reading = between(before, after)
    assert reading.domains[UUID].disks == {"xvda": (2.0, 0.0)}
    assert reading.domains[UUID].nics == {"00:16:3e:00:00:01": (1.0, 3.0)}
    assert reading.host.interfaces == {"eth0": (4.0, 0.0)}


def test_what_was_read_late_is_measured_from_when_it_was_read() -> None:
    before = sample(10, cpu_ns=0, vcpus_ns={0: 0}, disks={"xvda": (0, 0)}, cpu_at=10.5, disks_at=11.0)
    used: dict[int, int] = {0: SECOND_NS}
    after = sample(11, cpu_ns=SECOND_NS, vcpus_ns=used, cpu_at=12.5, disks={"xvda": (4096, 0)}, disks_at=15.0)
    reading = between(before, after)
    assert reading.domains[UUID].VCPUs_utilisation == {0: 0.5}
    assert reading.domains[UUID].disks == {"xvda": (1.0, 0.0)}
    assert set(reading.host.cpus.values()) == {0.125}


def test_a_reboot_makes_no_rates_at_all() -> None:
    before = sample(10, domid=1, cpu_ns=90 * SECOND_NS, vcpus_ns={0: 90 * SECOND_NS}, disks={"xvda": (9000, 9000)})
    after = sample(12, domid=2, cpu_ns=SECOND_NS, vcpus_ns={0: SECOND_NS}, disks={"xvda": (10, 10)})
    domain = between(before, after).domains[UUID]
    assert (domain.VCPUs_utilisation, domain.disks, domain.memory_actual) == ({}, {}, 256 * MIB)


def test_nothing_is_negative_or_more_than_whole() -> None:
    before = sample(10, cpu_ns=9 * SECOND_NS, vcpus_ns={0: 9 * SECOND_NS, 1: 0}, disks={"xvda": (500, 500)})
    after = sample(11, cpu_ns=0, vcpus_ns={0: 0, 1: 9 * SECOND_NS}, disks={"xvda": (0, 500)})
    reading = between(before, after)
    assert reading.domains[UUID].VCPUs_utilisation == {0: 0.0, 1: 1.0}
    assert reading.domains[UUID].disks == {"xvda": (0.0, 0.0)}
    assert set(reading.host.cpus.values()) == {0.0}


def test_a_domain_that_counts_backwards_takes_nothing_from_the_others() -> None:
    before, after = sample(10, cpu_ns=9 * SECOND_NS), sample(11, cpu_ns=0)
    other = ("9a3c1f0e-5b1e-4c4e-9a61-3c8f0de55a01", 2)
    before = replace(before, domains={**before.domains, other: DomainCounters(0, {}, 0)})
    after = replace(after, domains={**after.domains, other: DomainCounters(SECOND_NS, {}, 0)})
    assert set(between(before, after).host.cpus.values()) == {0.25}


def test_two_samples_at_one_time_are_no_division_by_zero() -> None:
    reading = between(sample(10, vcpus_ns={0: 0}), sample(10, vcpus_ns={0: 0}))
    assert reading.domains[UUID].VCPUs_utilisation == {0: 0.0}


def test_the_simulated_hosts_processors_show_this_machines_mean() -> None:
    before, after = sample(10, busy=(1000, 4000)), sample(11, busy=(1500, 6000), cpu_ns=SECOND_NS)
    assert between(before, after).host.cpus == dict.fromkeys(range(4), 0.25)


# --- counters of Xen


def test_cards_are_found_by_name_and_hot_plugged_ones_by_place() -> None:
    devices = counters.devices_of(DOMAIN, 7, {})
    assert devices.targets == ["xvda", "hdc"]
    assert devices.nics == {
        "00:16:3e:00:00:01": ("vif7.0", "vif7.0-emu"),
        "00:16:3e:00:00:02": ("vif7.1", "vif7.1-emu"),
        "00:16:3e:00:00:03": ("x3fa9c1.2", "x3fa9c1.2-emu"),
    }


def test_a_hot_plugged_card_has_the_number_that_xen_gave_it() -> None:
    devices = counters.devices_of(DOMAIN, 7, {"00:16:3e:00:00:02": 4, "00:16:3e:00:00:01": 9})
    assert devices.nics["00:16:3e:00:00:02"] == ("vif7.4", "vif7.4-emu")
    assert devices.nics["00:16:3e:00:00:01"] == ("vif7.0", "vif7.0-emu")


DOMAIN = """<domain type='xen' id='7'><devices>
<disk type='block' device='disk'><source dev='/dev/vg/lv'/><target dev='xvda' bus='xen'/></disk>
<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>
<interface type='bridge'><mac address='00:16:3E:00:00:01'/><target dev='vif7.0-emu'/></interface>
<interface type='bridge'><mac address='00:16:3e:00:00:02'/></interface>
<interface type='bridge'><mac address='00:16:3e:00:00:03'/><target dev='x3fa9c1.2'/></interface>
</devices></domain>"""


class Xen:
    """A Xen host with one guest; what a test sets is what the next sample finds."""

    def __init__(self, mocker: MockerFixture, sys: Path) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self.alive = True
        self.devices = sys / "bus/xen-backend/devices"
        self.domain = mocker.create_autospec(libvirt.virDomain, instance=True)
        self.domain.UUIDString.return_value = UUID
        self.domain.ID.return_value = 7
        self.domain.XMLDesc.return_value = DOMAIN
        # What the stock wrapper of a Xen connection answers.
        self.domain.vcpus.side_effect = refusal(libvirt.VIR_ERR_NO_SUPPORT)
        self.vcpus: list[Vcpu] = []
        self.guests = mocker.create_autospec(Guests, instance=True)
        self.guests.cards.return_value = {}
        self.guests.reading.return_value = None
        self.handle = mocker.create_autospec(libvirt.virConnect, instance=True)
        self.handle.getInfo.return_value = ["x86_64", 4096, 4, 2000, 1, 1, 4, 1]
        self.handle.getCapabilities.return_value = "<capabilities/>"
        self.handle.getFreeMemory.return_value = 1024 * MIB
        self.handle.getAllDomainStats.side_effect = refusal(libvirt.VIR_ERR_NO_SUPPORT)
        self.handle.listAllDomains.return_value = [self.domain]
        self.cards = mocker.patch("drivers.counters.cards")
        self.use(0)
        self.meters = SampledMeters(
            Mock(handle=self.handle, suspect=lambda: not self.alive),
            self.counters(sys),
            clock=lambda: self.now,
            pause=self.pause,
        )
        self.meanwhile: Callable[[], None] = lambda: None

    def counters(self, sys: Path) -> XenCounters:
        """What counts the domains of this host, which has no xl and no device models."""
        return XenCounters(
            Xl(None),
            Census(Xl(None)),
            self.guests,
            sys=sys,
            run=sys / "run",
            clock=lambda: self.now,
            vcpus_of=lambda domain, count: self.vcpus[:count],
        )

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        self.meanwhile()

    def use(self, seconds: float, *, read: int = 0, received: int = 0) -> None:
        """Let the guest have used its first CPU that long, read that many sectors and received that many bytes."""
        used = int(seconds * SECOND_NS)
        self.domain.info.return_value = [1, 524288, 262144, 2, used]
        self.vcpus = [Vcpu(0, used, 3, True, False), Vcpu(1, 0, 1, False, True), Vcpu(2, 0, 0, False, False)]
        back_end(self.devices, 7, 51712, read=read, written=0)
        # The host's end sends what the guest receives.
        self.cards.return_value = {"lo": (1, 1), "eth0": (0, 0), "vif7.0": (0, received), "x3fa9c1.2": (0, 0)}


@pytest.fixture
def xen(mocker: MockerFixture, tmp_path: Path) -> Xen:
    return Xen(mocker, tmp_path)


def test_the_first_reading_takes_two_samples(xen: Xen) -> None:
    xen.meanwhile = lambda: xen.use(GAP_SECONDS / 2, read=8, received=1024)
    reading = xen.meters.read()
    assert xen.pauses == [GAP_SECONDS]
    domain = reading.domains[UUID]
    assert domain.VCPUs_utilisation == {0: 0.5, 1: 0.0}
    assert (domain.memory_actual, domain.VCPUs_CPU) == (256 * MIB, {0: 3, 1: 1})
    assert domain.VCPUs_flags == {0: ("online", "running"), 1: ("online", "blocked")}
    assert domain.disks == {"xvda": (16.0, 0.0)}
    assert domain.nics["00:16:3e:00:00:01"] == (4.0, 0.0)
    assert reading.host.cpus == dict.fromkeys(range(4), 0.125)
    assert (reading.host.memory_total, reading.host.memory_free) == (4096 * MIB, 1024 * MIB)


def test_the_ends_of_guests_cards_are_no_cards_of_the_host(xen: Xen) -> None:
    assert set(xen.meters.read().host.interfaces) == {"eth0"}


def test_a_reading_is_good_for_a_second_and_then_one_sample_will_do(xen: Xen) -> None:
    first = xen.meters.read()
    assert xen.meters.read() is first
    xen.now += 2
    xen.use(1)
    second = xen.meters.read()
    assert second.domains[UUID].VCPUs_utilisation[0] == 0.5
    assert xen.pauses == [GAP_SECONDS]


def test_an_old_sample_is_not_measured_from(xen: Xen) -> None:
    xen.meters.read()
    xen.now += OLD_SECONDS + 1
    xen.use(60)
    assert xen.meters.read().domains[UUID].VCPUs_utilisation[0] == 0.0
    assert xen.pauses == [GAP_SECONDS] * 2


def test_a_rebooted_guest_is_measured_anew(xen: Xen) -> None:
    xen.use(500, read=10**6)
    xen.meters.read()
    xen.now += 2
    xen.domain.ID.return_value = 8
    xen.use(0)
    domain = xen.meters.read().domains[UUID]
    assert (domain.VCPUs_utilisation, domain.disks) == ({}, {})
    assert domain.memory_actual == 256 * MIB


def test_a_domain_that_goes_away_meanwhile_is_left_out(xen: Xen) -> None:
    xen.domain.info.side_effect = refusal(libvirt.VIR_ERR_NO_DOMAIN)
    reading = xen.meters.read()
    assert reading.domains == {}
    assert reading.host.memory_free == 1024 * MIB


def test_a_card_plugged_in_meanwhile_is_found(xen: Xen) -> None:
    xen.domain.XMLDesc.return_value = "<domain/>"
    assert xen.meters.read().domains[UUID].nics == {}
    xen.domain.XMLDesc.return_value = DOMAIN
    for _ in range(2):
        xen.now += DEVICES_SECONDS + 1
        reading = xen.meters.read()
    assert set(reading.domains[UUID].nics) == {"00:16:3e:00:00:01", "00:16:3e:00:00:03"}


def test_what_the_guest_says_of_its_memory_is_read_with_the_rest(xen: Xen) -> None:
    xen.guests.reading.return_value = GuestReading(memory={"total": "79332", "free": "45400"})
    assert xen.meters.read().domains[UUID].guest_memory == {"total": "79332", "free": "45400"}
    xen.guests.reading.assert_called_with(UUID, 7)


def test_many_readers_share_one_measurement(xen: Xen) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait_for_the_others() -> None:
        begun.set()
        assert go_on.wait(60)

    xen.meanwhile = wait_for_the_others
    readings: list[object] = []
    readers = [threading.Thread(target=lambda: readings.append(xen.meters.read())) for _ in range(8)]
    readers[0].start()
    assert begun.wait(60)
    for reader in readers[1:]:
        reader.start()
    go_on.set()
    for reader in readers:
        reader.join(60)
    assert len(readings) == 8
    assert len({id(reading) for reading in readings}) == 1
    assert xen.handle.listAllDomains.call_count == 2


def test_a_failure_reaches_all_who_wait_and_the_next_try_is_a_new_one(xen: Xen) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def lose_the_connection() -> None:
        begun.set()
        assert go_on.wait(60)
        xen.alive = False
        xen.handle.listAllDomains.side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC)

    xen.meanwhile = lose_the_connection
    failures: list[XenError] = []

    def read() -> None:
        try:
            xen.meters.read()
        except XenError as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    readers[0].start()
    assert begun.wait(60)
    for reader in readers[1:]:
        reader.start()
    go_on.set()
    for reader in readers:
        reader.join(60)
    assert [type(failure) for failure in failures] == [HostOffline] * 3
    xen.alive, xen.meanwhile = True, lambda: None
    xen.handle.listAllDomains.side_effect = None
    assert UUID in xen.meters.read().domains


def test_a_new_connection_is_asked_anew_what_the_machine_is(xen: Xen) -> None:
    assert len(xen.meters.read().host.cpus) == 4
    larger = Mock(wraps=xen.handle)
    larger.getInfo.return_value = ["x86_64", 8192, 16, 2000, 1, 1, 16, 1]
    xen.meters.connection = Mock(handle=larger, suspect=lambda: False)
    xen.now += 2
    reading = xen.meters.read()
    assert (len(reading.host.cpus), reading.host.memory_total) == (16, 8192 * MIB)


def refusal(code: int, domain: int = libvirt.VIR_FROM_NONE) -> libvirt.libvirtError:
    error = libvirt.libvirtError("refused")
    error.err = (code, domain, "refused", 2, None, None, None, 0, 0)
    return error

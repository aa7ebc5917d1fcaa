"""Counters of Xen's domains: a made-up sysfs, made-up device models, and an xl that knows more than libvirt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import Mock

import libvirt
import pytest
from pytest_mock import MockerFixture

from agent.ports import GuestReading
from drivers.census import Census
from drivers.counters import Devices
from drivers.guests import Guests
from drivers.qmp import QmpError
from drivers.vcpus import Vcpu
from drivers.xen_counters import SILENT_SECONDS, XenCounters, sockets, target_of
from drivers.xl import Xl, XlDomain, XlVcpu

MIB = 2**20
WEB, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
CONTROL = "00000000-0000-0000-0000-000000000000"
MAC = "00:16:3e:00:02:02"
SECOND_NS = 10**9


def back_end(devices: Path, domid: int, number: int, *, read: int, written: int) -> None:
    """The statistics of a made-up sysfs."""
    statistics = devices / f"vbd-{domid}-{number}" / "statistics"
    statistics.mkdir(parents=True, exist_ok=True)
    (statistics / "rd_sect").write_text(f"{read}\n")
    (statistics / "wr_sect").write_text(f"{written}\n")


@pytest.mark.parametrize(
    ("number", "target"),
    [
        (51712, "xvda"),
        (51728, "xvdb"),
        (51952, "xvdp"),
        (1 << 28 | 16 << 8, "xvdq"),
        (1 << 28 | 26 << 8, "xvdaa"),
        (768, "hda"),
        (832, "hdb"),
        (5632, "hdc"),
        (5696, "hdd"),
        (2048, "sda"),
        (2064, "sdb"),
        (1, ""),
    ],
)
def test_xens_numbers_are_the_names_that_guests_know(number: int, target: str) -> None:
    assert target_of(number) == target


class Host:
    """A host with one domain of libvirt's, number 1, and what else a test gives it."""

    def __init__(self, mocker: MockerFixture, folder: Path) -> None:
        self.now = 100.0
        self.devices = folder / "sys/bus/xen-backend/devices"
        self.run = folder / "run"
        self.run.mkdir()
        self.xl = mocker.create_autospec(Xl, instance=True)
        self.xl.vcpus.return_value = []
        self.census = Mock(spec=Census, last={CONTROL: xl_domain(CONTROL, 0), WEB: xl_domain(WEB, 1)})
        self.guests = mocker.create_autospec(Guests, instance=True)
        self.guests.reading.return_value = None
        self.guests.cards.return_value = {}
        self.block_counters = mocker.patch("drivers.qmp.block_counters")
        self.domain = mocker.create_autospec(libvirt.virDomain, instance=True)
        self.domain.info.return_value = [1, 262144, 131072, 1, 7 * SECOND_NS]
        self.counters = XenCounters(
            self.xl,
            self.census,
            self.guests,
            sys=folder / "sys",
            run=self.run,
            clock=lambda: self.now,
            vcpus_of=lambda domain, count: [Vcpu(0, 7 * SECOND_NS, 1, True, False)],
        )

    def serve(self, domid: int) -> None:
        """Give a domain a device model."""
        (self.run / f"qmp-libxenstat-{domid}").touch()

    def disks(self) -> Mapping[str, tuple[int, int]]:
        """The disks of the domain in a new sample."""
        self.counters.begin()
        return self.counters.domain(self.domain, (WEB, 1), Devices((), {}), {}).disks


def xl_domain(uuid: str, domid: int, state: str = "-b----") -> XlDomain:
    """A domain that xl knows."""
    return XlDomain("x", domid, 128 * MIB, 1, state, 1.0, uuid)


@pytest.fixture
def host(mocker: MockerFixture, tmp_path: Path) -> Iterator[Host]:
    made = Host(mocker, tmp_path)
    yield made
    made.counters.close()


def test_disks_of_the_kernel_are_counted_by_its_back_ends(host: Host) -> None:
    back_end(host.devices, 1, 51712, read=8, written=2)
    back_end(host.devices, 1, 51728, read=0, written=1)
    back_end(host.devices, 12, 768, read=5, written=5)
    (host.devices / "vif-1-0").mkdir()
    (host.devices / "vbd-1-51744").mkdir()
    assert host.disks() == {"xvda": (4096, 1024), "xvdb": (0, 512)}


def test_a_host_without_back_ends_has_no_disks(host: Host) -> None:
    assert host.disks() == {}


def test_disks_of_a_device_model_are_counted_by_it(host: Host) -> None:
    back_end(host.devices, 1, 51712, read=8, written=2)
    host.serve(1)
    host.block_counters.return_value = {"xvdb": (7, 9)}
    assert host.disks() == {"xvda": (4096, 1024), "xvdb": (7, 9)}
    host.block_counters.assert_called_once_with(1, host.run)


def test_the_disks_were_counted_when_the_device_model_told(host: Host) -> None:
    host.serve(1)

    def tell(domid: int, folder: Path) -> dict[str, tuple[int, int]]:
        host.now += 3
        return {"xvda": (1, 1)}

    host.block_counters.side_effect = tell
    host.counters.begin()
    assert host.counters.domain(host.domain, (WEB, 1), Devices((), {}), {}).disks_at == 103.0


def test_a_device_model_that_does_not_tell_is_left_alone_for_a_while(host: Host) -> None:
    host.serve(1)
    host.block_counters.side_effect = QmpError("it hangs")
    assert host.disks() == host.disks() == {}
    assert host.block_counters.call_count == 1
    host.now += SILENT_SECONDS + 1
    host.block_counters.side_effect = None
    host.block_counters.return_value = {"xvda": (1, 2)}
    assert host.disks() == {"xvda": (1, 2)}


def test_only_sockets_for_statistics_are_asked(tmp_path: Path) -> None:
    for name in ("qmp-libxl-3", "qmp-libxenstat-4", "qmp-libxenstat-", "qmp-libxenstat-4x", "xenstored.pid"):
        (tmp_path / name).touch()
    assert sockets(tmp_path) == [4]
    assert sockets(tmp_path / "nothing") == []


def test_a_domain_that_libvirt_does_not_know_is_counted_by_xl(host: Host) -> None:
    host.census.last = {**host.census.last, OTHER: xl_domain(OTHER, 9)}
    host.xl.vcpus.return_value = [
        XlVcpu(9, 0, 1, "r--", 2.5),
        XlVcpu(9, 1, None, "--p", 0.0),
        XlVcpu(1, 0, 0, "r--", 9.0),
    ]
    host.guests.cards.return_value = {MAC: 2}
    host.guests.reading.return_value = GuestReading(memory={"free": "1"})
    back_end(host.devices, 9, 51712, read=1, written=0)
    host.counters.begin()
    found = host.counters.beyond({WEB}, {"vif9.2": (10, 20), "vif9.0": (1, 1)})
    assert found.keys() == {(OTHER, 9)}
    counted = found[OTHER, 9]
    assert (counted.cpu_ns, counted.vcpus_ns) == (2.5 * SECOND_NS, {0: 2.5 * SECOND_NS, 1: 0})
    assert (counted.placement, counted.flags) == ({0: 1}, {0: ("online", "running"), 1: ()})
    assert (counted.memory, counted.disks, counted.guest_memory) == (128 * MIB, {"xvda": (512, 0)}, {"free": "1"})
    # What the host's end sent, the guest received.
    assert counted.nics == {MAC: (20, 10)}


def test_xl_is_not_run_where_libvirt_knows_all(host: Host) -> None:
    host.census.last = {**host.census.last, OTHER: xl_domain(OTHER, 9, "---s--")}
    assert host.counters.beyond({WEB}, {}) == {}
    host.xl.vcpus.assert_not_called()


def test_a_domain_that_ended_since_the_census_is_not_counted(host: Host) -> None:
    host.census.last = {**host.census.last, OTHER: xl_domain(OTHER, 9)}
    host.xl.vcpus.return_value = [XlVcpu(0, 0, 0, "r--", 9.0)]
    assert host.counters.beyond({WEB}, {}) == {}
    host.xl.vcpus.return_value = []
    assert host.counters.beyond({WEB}, {}).keys() == {(OTHER, 9)}, "xl told nothing"

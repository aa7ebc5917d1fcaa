"""What guests tell: the names of the guest tools become XenAPI's, and no guest can do harm with what it writes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.ports import GuestReading
from drivers.guests import REQUESTS, TEXT_LIMIT, Guests, read
from drivers.xenstore import Xenstore
from tests.drivers.fake_xenstored import FakeXenstored, Node

WEB, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
MAC = "00:16:3e:00:02:01"
TOLD = {
    "attr/PVAddons/Installed": "1",
    "attr/PVAddons/MajorVersion": "7",
    "attr/PVAddons/MinorVersion": "30",
    "attr/PVAddons/MicroVersion": "1",
    "attr/PVAddons/BuildVersion": "42",
    "attr/vif/0/ipv4/0": "10.0.2.101",
    "attr/vif/0/ipv4/1": "10.0.3.101",
    "attr/vif/0/ipv6/0": "fe80::216:3eff:fe00:201",
    "attr/vif/2/ipv4/0": "192.0.2.7",
    "data/os_name": "Debian GNU/Linux 12",
    "data/os_distro": "debian",
    "data/os_majorver": "12",
    "data/os_minorver": "7",
    "data/os_uname": "6.1.0",
    "data/meminfo_total": "79332",
    "data/meminfo_free": "45400",
    "control/feature-poweroff": "1",
    "control/platform-feature-multiprocessor-suspend": "1",
    "control/shutdown": "",
    "device/vbd/51712/state": "4",
    "device/vif/0/state": "1",
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeXenstored]:
    made = FakeXenstored(tmp_path)
    made.write("/local/domain/0/vm", "/vm/00000000-0000-0000-0000-000000000000")
    made.make_domain(7, WEB)
    yield made
    made.close()


def tell(daemon: FakeXenstored, told: dict[str, str], domid: int = 7) -> None:
    """Write as the guest."""
    for name, value in told.items():
        daemon.write(f"/local/domain/{domid}/{name}", value)


def reading_of(daemon: FakeXenstored) -> GuestReading:
    """What there is of domain 7 now."""
    with Xenstore.connect([daemon.path], timeout_seconds=60) as store:
        told = read(store, "7")
    assert told is not None
    return told.reading


# --- read


def test_the_guest_tools_names_become_xenapis(daemon: FakeXenstored) -> None:
    tell(daemon, TOLD)
    reading = reading_of(daemon)
    assert reading.os_version == {
        "name": "Debian GNU/Linux 12",
        "distro": "debian",
        "major": "12",
        "minor": "7",
        "uname": "6.1.0",
    }
    assert reading.PV_drivers_version == {"major": "7", "minor": "30", "micro": "1", "build": "42"}
    assert reading.memory == {"total": "79332", "free": "45400"}
    assert reading.networks == {
        "0/ip": "10.0.2.101",
        "0/ipv4/0": "10.0.2.101",
        "0/ipv4/1": "10.0.3.101",
        "0/ipv6/0": "fe80::216:3eff:fe00:201",
        "2/ip": "192.0.2.7",
        "2/ipv4/0": "192.0.2.7",
    }
    assert reading.other == {"feature-poweroff": "1", "platform-feature-multiprocessor-suspend": "1"}
    assert (reading.PV_drivers_detected, reading.can_use_hotplug_vbd, reading.can_use_hotplug_vif) == (
        True,
        True,
        False,
    )


def test_old_tools_write_one_address_a_card(daemon: FakeXenstored) -> None:
    tell(daemon, {"attr/eth0/ip": "10.0.2.101", "attr/eth1/ip": "10.0.2.102", "attr/eth12x/ip": "10.0.2.103"})
    assert reading_of(daemon).networks == {
        "0/ip": "10.0.2.101",
        "0/ipv4/0": "10.0.2.101",
        "1/ip": "10.0.2.102",
        "1/ipv4/0": "10.0.2.102",
    }


def test_a_guest_that_tells_nothing_has_told_nothing(daemon: FakeXenstored) -> None:
    assert reading_of(daemon) == GuestReading()


def test_drivers_are_detected_without_guest_tools(daemon: FakeXenstored) -> None:
    tell(daemon, {"device/vif/0/state": "4"})
    reading = reading_of(daemon)
    assert (reading.PV_drivers_detected, reading.can_use_hotplug_vbd, reading.can_use_hotplug_vif) == (
        True,
        False,
        True,
    )


@pytest.mark.parametrize(
    "text",
    ["", "10.0.2", "10.0.2.101/24", "<script>", "::1", "1" * 5000, "\0", "10.0.2.101\n"],
)
def test_what_is_no_address_is_not_shown_as_one(daemon: FakeXenstored, text: str) -> None:
    tell(daemon, {"attr/vif/0/ipv4/0": text, "attr/eth1/ip": text})
    networks = reading_of(daemon).networks
    assert networks == {} or set(networks.values()) == {"10.0.2.101"}


def test_the_text_after_an_address_is_dropped(daemon: FakeXenstored) -> None:
    tell(daemon, {"attr/vif/0/ipv6/0": "fe80::1%<script>alert(1)</script>"})
    assert reading_of(daemon).networks == {"0/ipv6/0": "fe80::1"}


@pytest.mark.fault("F17")
@pytest.mark.threat("T10")
def test_what_is_told_is_cleaned_and_capped(daemon: FakeXenstored) -> None:
    daemon.write("/local/domain/7/data/os_name", b"\xff\xfea\0b\x1b[31m\r\n\xed\xa0\x80" + b"x" * 10**6)
    tell(daemon, {"data/os_distro": "\u202e\ufffe  a", "data/meminfo_free": "lots"})
    reading = reading_of(daemon)
    assert len(reading.os_version["name"]) == TEXT_LIMIT
    assert all(text.isprintable() for text in reading.os_version.values())
    assert reading.os_version["distro"] == "a"
    assert reading.memory == {}


def test_very_many_names_cost_no_more_than_a_few(daemon: FakeXenstored) -> None:
    root = ("local", "domain", "7")
    many: dict[Node, bytes] = {(*root, "attr", f"junk{number}"): b"x" * 25 for number in range(30_000)}
    many |= {(*root, "control", f"feature-{number}"): b"1" for number in range(30_000)}
    many |= {(*root, "attr", "vif", str(card), "ipv4", str(n)): b"10.0.0.1" for card in range(100) for n in range(100)}
    many |= {(*root, "device", "vbd", str(number), "state"): b"1" for number in range(30_000)}
    daemon.tree |= many
    tell(daemon, {"data/os_name": "still here"})
    asked = daemon.asked
    reading = reading_of(daemon)
    assert daemon.asked - asked <= REQUESTS + 10
    assert reading.os_version == {"name": "still here"}
    assert len(reading.networks) + len(reading.other) < 200


def test_cards_are_known_by_what_no_guest_writes(daemon: FakeXenstored) -> None:
    daemon.write("/local/domain/0/backend/vif/7/3/mac", MAC.upper())
    tell(daemon, {"device/vif/3/mac": "00:16:3e:66:66:66"})
    with Xenstore.connect([daemon.path], timeout_seconds=60) as store:
        told = read(store, "7")
    assert told is not None
    assert told.cards == {MAC: 3}


@pytest.mark.parametrize("vm", ["", "/vm/", "/vm/../../x", f"/vm/{WEB}/x", "x" * 3000])
def test_a_domain_without_a_uuid_is_none(daemon: FakeXenstored, vm: str) -> None:
    daemon.write("/local/domain/7/vm", vm)
    with Xenstore.connect([daemon.path], timeout_seconds=60) as store:
        assert read(store, "7") is None


# --- followed


class Listener:
    """Guests, and what was told of them."""

    def __init__(self, daemon: FakeXenstored, echoes_seconds: Sequence[float] = ()) -> None:
        self.daemon = daemon
        self.guests = Guests(
            lambda: Xenstore.connect([daemon.path], timeout_seconds=0.5),
            round_seconds=0.02,
            sweep_seconds=1000,
            pauses_seconds=[0.02],
            echoes_seconds=echoes_seconds,
        )
        self.told: list[str] = []
        self.counted = 0
        self._heard = threading.Condition()
        self.guests.watch(self._note)
        self.guests.watch_domains(self._count)

    def _note(self, uuid: str) -> None:
        with self._heard:
            self.told.append(uuid)
            self._heard.notify_all()

    def _count(self) -> None:
        self.counted += 1

    def wait_for(self, uuid: str) -> None:
        """Until a guest told something else; what was told is forgotten."""
        with self._heard:
            assert self._heard.wait_for(lambda: uuid in self.told, 60)
            self.told.clear()

    def name(self, domid: int = 7, uuid: str = WEB) -> str | None:
        """The name of the guest's system, as it told."""
        reading = self.guests.reading(uuid, domid)
        return None if reading is None else reading.os_version.get("name")

    def wait_for_name(self, name: str | None, domid: int = 7, uuid: str = WEB) -> None:
        """Until that is its name."""
        deadline = time.monotonic() + 60
        while self.name(domid, uuid) != name:
            assert time.monotonic() < deadline, self.name(domid, uuid)
            time.sleep(0.01)


@pytest.fixture
def listener(daemon: FakeXenstored) -> Iterator[Listener]:
    made = Listener(daemon)
    yield made
    daemon.hung = False
    made.guests.close()


def test_what_a_guest_tells_is_heard_and_told(daemon: FakeXenstored, listener: Listener) -> None:
    tell(daemon, {"data/os_name": "one"})
    listener.guests.start()
    listener.wait_for(WEB)
    assert listener.name() == "one"
    tell(daemon, {"data/os_name": "two"})
    listener.wait_for(WEB)
    listener.wait_for_name("two")


def test_devices_that_come_and_go_are_told_and_once_more_later(daemon: FakeXenstored) -> None:
    """libvirt shows a device that was plugged in once all is done, which may be after xenstore has it."""
    listener = Listener(daemon, echoes_seconds=[0.05])
    tell(daemon, {"data/os_name": "one", "device/vbd/51712/state": "4", "device/vif/0/state": "4"})
    told: queue.Queue[str] = queue.Queue()
    listener.guests.watch_devices(told.put)
    listener.guests.start()
    listener.wait_for(WEB)
    assert told.empty()
    tell(daemon, {"device/vbd/51728/state": "1"})
    assert [told.get(timeout=60) for _ in range(2)] == [WEB, WEB]
    daemon.remove("/local/domain/7/device/vif/0")
    assert [told.get(timeout=60) for _ in range(2)] == [WEB, WEB]
    listener.guests.close()


def test_memory_alone_is_kept_and_not_told(daemon: FakeXenstored, listener: Listener) -> None:
    tell(daemon, {"data/os_name": "one", "data/meminfo_free": "1"})
    listener.guests.start()
    listener.wait_for(WEB)
    for free in ("2", "3"):
        tell(daemon, {"data/meminfo_free": free})
        deadline = time.monotonic() + 60
        while (reading := listener.guests.reading(WEB, 7)) is None or reading.memory != {"free": free}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert listener.told == []


def test_domains_that_come_are_followed_and_those_that_go_forgotten(daemon: FakeXenstored, listener: Listener) -> None:
    listener.guests.start()
    daemon.make_domain(8, OTHER)
    tell(daemon, {"data/os_name": "other"}, 8)
    listener.wait_for(OTHER)
    assert listener.name(8, OTHER) == "other"
    assert listener.name(8, WEB) is None
    assert listener.counted > 0
    daemon.end_domain(8)
    listener.wait_for_name(None, 8, OTHER)
    deadline = time.monotonic() + 60
    while daemon.watched("/local/domain/8/data"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert daemon.watched("/local/domain/7/data")


def test_a_guest_that_writes_without_end_keeps_nobody_else_waiting(daemon: FakeXenstored, listener: Listener) -> None:
    daemon.make_domain(8, OTHER)
    listener.guests.start()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            daemon.write("/local/domain/7/data/os_name", str(number))

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for name in ("a", "b", "c"):
            tell(daemon, {"data/os_name": name}, 8)
            listener.wait_for_name(name, 8, OTHER)
    finally:
        stop.set()
        writing.join(60)


def test_while_xenstored_hangs_what_was_told_last_stays(daemon: FakeXenstored, listener: Listener) -> None:
    tell(daemon, {"data/os_name": "one"})
    listener.guests.start()
    listener.wait_for_name("one")
    daemon.hung = True
    daemon.tree[("local", "domain", "7", "data", "os_name")] = b"two"
    began = threading.Thread(target=lambda: [listener.name() for _ in range(1000)])
    began.start()
    began.join(60)
    assert not began.is_alive()
    assert listener.name() == "one"
    daemon.hung = False
    daemon.cut_off()
    listener.wait_for_name("two")


def test_a_xenstored_that_comes_later_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tried = threading.Semaphore(0)

    def connect() -> Xenstore:
        tried.release()
        return Xenstore.connect([tmp_path / "xenstored"], timeout_seconds=0.5)

    guests = Guests(connect, round_seconds=0.02, pauses_seconds=[0.02])
    guests.start()
    assert tried.acquire(timeout=60)
    assert tried.acquire(timeout=60)
    assert guests.reading(WEB, 7) is None
    assert dict(guests.cards(7)) == {}
    daemon = FakeXenstored(tmp_path)
    daemon.make_domain(7, WEB)
    tell(daemon, {"data/os_name": "one"})
    deadline = time.monotonic() + 60
    while guests.reading(WEB, 7) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    guests.close()
    daemon.close()
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1

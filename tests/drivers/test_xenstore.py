"""The client of xenstore: what it asks and hears, and that it never waits long for one that is mad or dead."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.xenstore import Xenstore, XenstoreError
from tests.drivers.fake_xenstored import EVENT, HEADER, READ, WATCH, FakeXenstored


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeXenstored]:
    made = FakeXenstored(tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(daemon: FakeXenstored) -> Iterator[Xenstore]:
    with Xenstore.connect([daemon.path], timeout_seconds=60) as connected:
        yield connected


def test_values_are_read(daemon: FakeXenstored, store: Xenstore) -> None:
    daemon.write("/local/domain/1/name", "web")
    daemon.write("/local/domain/1/empty", "")
    assert store.read("/local/domain/1/name") == "web"
    assert store.read("/local/domain/1/empty") == ""
    assert store.read("/local/domain/1/nothing") is None
    assert store.read("x" * 5000) is None


@pytest.mark.threat("T10")
def test_a_value_that_is_no_text_is_read_all_the_same(daemon: FakeXenstored, store: Xenstore) -> None:
    daemon.write("/a", b"\xff\xfe\x00\x01b")
    assert store.read("/a") == "��\0\1b"


def test_folders_are_listed(daemon: FakeXenstored, store: Xenstore) -> None:
    daemon.write("/a/x/deep", "1")
    daemon.write("/a/y", "2")
    assert list(store.directory("/a")) == ["x", "y"]
    assert list(store.directory("/a/y")) == list(store.directory("/b")) == []


@pytest.mark.fault("F17")
def test_a_large_folder_is_listed_in_parts(daemon: FakeXenstored, store: Xenstore) -> None:
    names = [str(number) for number in range(5000)]
    daemon.tree = {("d", name): b"" for name in names}
    assert set(store.directory("/d", 10**6)) == set(names)


@pytest.mark.fault("F17")
@pytest.mark.threat("T10")
def test_of_a_huge_folder_only_so_much_is_listed(daemon: FakeXenstored, store: Xenstore) -> None:
    daemon.tree = {("d", f"{number:020}"): b"" for number in range(5000)}
    asked = daemon.asked
    listed = store.directory("/d")
    assert 100 < len(listed) < 400
    assert daemon.asked - asked <= 3
    assert all(len(name) == 20 for name in listed)


@pytest.mark.threat("T10")
def test_a_folder_that_always_changes_is_not_listed_for_ever(daemon: FakeXenstored, store: Xenstore) -> None:
    daemon.tree = {("d", f"{number:020}"): b"" for number in range(5000)}
    versions = iter(range(10**6))
    daemon._part = lambda listed, offset: f"{next(versions)}\0".encode() + b"name\0" * 800  # type: ignore[method-assign]
    assert len(store.directory("/d", 10**5)) < 10**5


def test_a_watch_rings_at_first_and_when_something_below_it_changes(daemon: FakeXenstored, store: Xenstore) -> None:
    store.watch("/local/domain/1/data", "one")
    assert list(store.rung(60)) == ["one"]
    assert list(store.rung(0)) == []
    daemon.write("/local/domain/1/data/os_name", "x")
    daemon.write("/local/domain/1/data/os_distro", "x")
    daemon.write("/local/domain/1/attr", "x")
    assert list(store.rung(60)) == ["one"]
    store.unwatch("/local/domain/1/data", "one")
    store.unwatch("/local/domain/1/data", "one")
    daemon.write("/local/domain/1/data/os_name", "y")
    assert list(store.rung(0.05)) == []


def test_rings_between_request_and_answer_are_not_lost(daemon: FakeXenstored, store: Xenstore) -> None:
    store.watch("/a", "token")
    list(store.rung(60))
    daemon.write("/b", "value")
    daemon.garbage = message(EVENT, 0, b"/a\0token\0") + message(READ, 2, b"value")
    assert store.read("/b") == "value"
    assert list(store.rung(60)) == ["token"]


def test_a_ring_that_came_with_an_answer_is_told_without_waiting(daemon: FakeXenstored, store: Xenstore) -> None:
    daemon.garbage = message(WATCH, 1, b"OK\0") + message(EVENT, 0, b"/a\0token\0")
    store.watch("/a", "token")
    assert list(store.rung(600)) == ["token"]  # longer than a test may take


@pytest.mark.threat("T10")
def test_a_bell_that_never_stops_is_not_listened_to_for_ever(daemon: FakeXenstored, store: Xenstore) -> None:
    store.watch("/a", "token")
    stop = threading.Event()

    def ring() -> None:
        while not stop.is_set():
            daemon.ring("/a/b")

    ringing = threading.Thread(target=ring)
    ringing.start()
    try:
        for _ in range(3):
            assert list(store.rung(60)) == ["token"]
    finally:
        stop.set()
        daemon.cut_off()
        ringing.join(60)


def message(kind: int, number: int, body: bytes) -> bytes:
    """A message of xenstored's."""
    return HEADER.pack(kind, number, 0, len(body)) + body


@pytest.mark.threat("T28")
@pytest.mark.parametrize(
    "said",
    [
        struct.pack("=IIII", READ, 1, 0, 5000),
        struct.pack("=IIII", READ, 1, 0, 2**31) + b"x" * 100,
        message(READ, 99, b"value"),
        message(1, 1, b"value"),
        message(16, 1, b"EIO\0"),
        message(16, 1, b"\xff\xff"),
    ],
    ids=["too-long", "far-too-long", "another-request", "another-kind", "error", "nonsense-error"],
)
def test_a_xenstored_that_breaks_the_protocol_is_left(daemon: FakeXenstored, store: Xenstore, said: bytes) -> None:
    daemon.garbage = said
    with pytest.raises(XenstoreError):
        store.read("/a")


def test_an_event_nobody_asked_for_must_be_one(daemon: FakeXenstored, store: Xenstore) -> None:
    daemon.garbage = message(READ, 1, b"") + message(READ, 5, b"")
    assert store.read("/a") == ""
    with pytest.raises(XenstoreError):
        store.rung(60)


@pytest.mark.fault("F17")
@pytest.mark.threat("T28")
def test_a_xenstored_that_hangs_is_not_waited_for(daemon: FakeXenstored) -> None:
    with Xenstore.connect([daemon.path], timeout_seconds=0.2) as store:
        daemon.hung = True
        with pytest.raises(XenstoreError, match="does not answer"):
            store.read("/a")
        daemon.hung = False


@pytest.mark.threat("T28")
def test_a_xenstored_that_does_not_even_listen_is_not_waited_for(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 4096)
    with (
        theirs,
        Xenstore(ours.detach(), timeout_seconds=0.2) as store,
        pytest.raises(XenstoreError, match="not listen"),
    ):
        store.read("/a")


@pytest.mark.threat("T28")
def test_a_xenstored_that_ends_is_an_error(daemon: FakeXenstored, store: Xenstore) -> None:
    store.read("/a")
    daemon.cut_off()
    with pytest.raises(XenstoreError):
        store.read("/a")
    with pytest.raises(XenstoreError):
        store.rung(60)


def test_the_first_place_that_answers_is_taken(daemon: FakeXenstored, tmp_path: Path) -> None:
    daemon.write("/a", "b")
    with Xenstore.connect([tmp_path / "nothing", daemon.path, tmp_path / "other"]) as store:
        assert store.read("/a") == "b"
    with pytest.raises(XenstoreError, match=r"there is no xenstore: .*nothing"):
        Xenstore.connect([tmp_path / "nothing"])


def test_the_kernels_device_will_do_where_there_is_no_socket(tmp_path: Path) -> None:
    device = tmp_path / "xenbus"
    os.mkfifo(device)
    with Xenstore.connect([device], timeout_seconds=60) as store:
        # A pipe says back what it is told, which happens to be an answer.
        assert store.read("/a") == "/a\0"
        assert list(store.rung(0)) == []

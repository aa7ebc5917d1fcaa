"""The journal damaged in every way that a disk can think of: it is read, or refused by name with what to do, and never
begun anew in place of what was lost.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import InternalError
from agent.store.journal import Journal, JournalError
from agent.store.store import Store
from tests.agent.store.conftest import furnish
from tests.door import sealed
from tests.faults.rooms import Room, small_room


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of a few dozen pages, all of it in one file."""
    path = tmp_path_factory.mktemp("whole") / "journal.sqlite"
    store = Store(sealed().classes, Journal(path))
    store.load()
    for _ in range(40):
        furnish(store)
    store.close()
    assert not path.with_name("journal.sqlite-wal").exists()
    return path.read_bytes()


def opened(path: Path) -> int | str:
    """How many objects a journal has; or why it is refused, which names the file."""
    try:
        store = Store(sealed().classes, Journal(path))
    except JournalError as error:
        return str(error) if str(path) in str(error) else pytest.fail(f"the file is not named: {error}")
    try:
        store.load()
        return sum(store.count(name) for name in sealed().classes)
    except JournalError as error:
        return str(error)
    finally:
        store.close()


@pytest.mark.fault("F9", "F7")
def test_a_journal_that_was_cut_is_refused_or_says_what_is_lost(
    tmp_path: Path, whole: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(whole)
    there = opened(path)
    assert isinstance(there, int)
    pages = len(whole) // 4096
    for length in (1, 50, 100, 4095, 4096, *(4096 * page + 1000 for page in range(1, pages, 7)), len(whole) - 1):
        path.write_bytes(whole[:length])
        caplog.clear()
        found = opened(path)
        # The last octets of a page may be empty, or of one record: that is named in the log, and left out.
        told = isinstance(found, str) or found == there or "left out" in caplog.text
        assert told, f"{length} octets of {len(whole)} were taken for all of it"


@pytest.mark.fault("F9")
def test_an_empty_file_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"")
    told = opened(path)
    assert isinstance(told, str)
    assert "restore" in told
    assert path.read_bytes() == b""


@pytest.mark.fault("F9")
@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_refused_or_does_no_more_than_change_a_text(tmp_path: Path, whole: bytes, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "journal.sqlite"
    damaged = bytearray(whole)
    place = chance.randrange(len(damaged))
    damaged[place] ^= 1 << chance.randrange(8)
    path.write_bytes(damaged)
    opened(path)


@pytest.mark.fault("F9")
def test_pages_of_nonsense_are_refused_with_what_to_do(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "journal.sqlite"
    damaged = bytearray(whole)
    for page in range(3, len(whole) // 4096, 5):
        damaged[page * 4096 : page * 4096 + 4096] = random.Random(page).randbytes(4096)
    path.write_bytes(damaged)
    told = opened(path)
    assert isinstance(told, str)
    assert "restore" in told


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with small_room(tmp_path / "small") as made:
        yield made


@pytest.mark.fault("F8")
def test_a_journal_on_a_full_file_system_refuses_writes_and_goes_on_when_there_is_room(room: Room) -> None:
    store = Store(sealed().classes, Journal(room.folder / "journal.sqlite"))
    store.load()
    lab = furnish(store)
    room.fill()
    kept = lab.vm.name_label

    def write() -> None:
        nonlocal kept
        for number in range(10_000):
            with store.transaction():
                lab.vm.name_label = f"{number}-{'x' * 4000}"
            kept = lab.vm.name_label

    with pytest.raises(InternalError):
        write()
    assert lab.vm.name_label == kept, "what could not be kept is shown"
    assert store.find("VM", lab.vm.ref) is lab.vm
    room.clear()
    with store.transaction():
        lab.vm.name_description = "written after that"
    store.close()
    again = Store(sealed().classes, Journal(room.folder / "journal.sqlite"))
    again.load()
    found = again.find("VM", lab.vm.ref)
    assert found is not None
    assert (found.name_label, found.name_description) == (kept, "written after that")  # type: ignore[attr-defined]
    again.close()

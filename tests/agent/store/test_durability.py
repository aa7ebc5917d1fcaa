"""The journal as it is written: in order, in groups, durable before it is told; a full disk undoes what it lost."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.classes import VM, Network
from agent.classes.enums import PowerState
from agent.errors import InternalError
from agent.model.entity import Entity
from agent.store.journal import Journal, Row
from tests.agent.store.conftest import Lab, Open, furnish, kept, killed
from tests.door import eventually

FULL = "database or disk is full"


# --- a disk that fails


class FullDisk:
    """Lets a journal's writes fail as long as `full` is set; those that try meanwhile wait for `let` first."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        self.let = threading.Event()
        self.let.set()
        self.tried = threading.Event()
        self._write = journal.write
        monkeypatch.setattr(journal, "write", self.write)

    def write(self, rows: Sequence[Row]) -> None:
        self.tried.set()
        assert self.let.wait(30)
        if self.full and rows:
            raise sqlite3.OperationalError(FULL)
        self._write(rows)


@pytest.fixture
def disk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """The disk of the lab's journal, which is full."""
    return FullDisk(lab.store._journal, monkeypatch)


def change_much(lab: Lab, added: Network) -> None:
    """Change, destroy and add, in one transaction."""
    with lab.store.transaction():
        lab.vm.name_label = "lost"
        lab.store.destroy(lab.vif)
        lab.store.add(added)


@pytest.mark.fault("F8")
def test_what_cannot_be_kept_is_undone_and_told(lab: Lab, disk: FullDisk, caplog: pytest.LogCaptureFixture) -> None:
    added = Network(name_label="lost")
    with pytest.raises(InternalError) as told:
        change_much(lab, added)
    assert told.value.message == f"the change could not be kept and was undone: the state folder says: {FULL}"
    assert "the journal cannot be written, 1 changes are undone" in caplog.text
    assert lab.vm.name_label == "web"
    assert lab.network.VIFs == (lab.vif,)
    assert not lab.store.is_live(added)


@pytest.mark.fault("F8")
def test_writes_work_again_when_the_disk_recovers(lab: Lab, disk: FullDisk) -> None:
    with pytest.raises(InternalError), lab.store.transaction():
        lab.vm.name_label = "lost"
    disk.full = False
    with lab.store.transaction():
        lab.vm.name_description = "kept"
    assert (lab.vm.name_label, lab.vm.name_description) == ("web", "kept")


def test_reads_and_changes_that_need_no_disk_go_on(lab: Lab, disk: FullDisk) -> None:
    with lab.store.transaction():
        lab.vm.power_state = PowerState.RUNNING
    assert lab.vm.power_state is PowerState.RUNNING


def test_what_was_built_on_what_was_lost_is_lost_too(lab: Lab, disk: FullDisk) -> None:
    disk.let.clear()
    with lab.store.transaction(wait=False) as first:
        network = lab.store.add(Network(name_label="lost"))
    assert disk.tried.wait(30)
    with lab.store.transaction(wait=False) as second:
        lab.vif.network = network
    with lab.store.transaction(wait=False) as third:
        lab.vm.domid = 5  # needs no disk, but comes after what does
    disk.let.set()
    for transaction in (first, second, third):
        assert transaction.commit is not None
        with pytest.raises(InternalError):
            transaction.commit.wait()
    assert lab.vif.network is lab.network
    assert lab.vm.domid == -1
    assert lab.store.count("network") == 1


def test_readers_of_what_was_undone_are_told_what_holds(lab: Lab, disk: FullDisk) -> None:
    with lab.store.transaction():
        lab.vm.domid = 3
    generation = lab.store.changes.generation
    added = Network(name_label="lost")
    with pytest.raises(InternalError):
        change_much(lab, added)
    told = {(change.operation, change.entity) for change in lab.store.changes.since(generation)}
    assert {("mod", lab.vm), ("mod", lab.vif), ("del", added)} <= told


def test_what_was_lost_is_not_there_after_a_kill(open_store: Open, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = furnish(open_store())
    disk = FullDisk(lab.store._journal, monkeypatch)
    with pytest.raises(InternalError), lab.store.transaction():
        lab.vm.name_label = "lost"
    disk.full = False
    with lab.store.transaction():
        lab.vm.name_description = "kept"
    again = open_store(killed(file, "killed")).get(VM, lab.vm.ref)
    assert (again.name_label, again.name_description) == ("web", "kept")


@pytest.mark.fault("F8")
def test_sqlite_itself_refusing_is_undone_and_told(open_store: Open, file: Path) -> None:
    lab = furnish(open_store())
    connection = lab.store._journal._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(InternalError, match=FULL), lab.store.transaction():
        lab.vm.name_description = "x" * 100_000
    connection.execute("PRAGMA max_page_count=1000000")
    with lab.store.transaction():
        lab.vm.name_description = "y" * 100_000
    again = open_store(killed(file, "killed")).get(VM, lab.vm.ref)
    assert again.name_description == "y" * 100_000


# --- order


def test_changes_are_published_only_when_they_are_durable(lab: Lab, disk: FullDisk) -> None:
    disk.full = False
    disk.let.clear()
    generation = lab.store.changes.generation
    with lab.store.transaction(wait=False) as transaction:
        lab.vm.name_label = "on its way"
    assert disk.tried.wait(30)
    assert transaction.commit is not None
    assert not transaction.commit.settled
    assert lab.store.changes.generation == generation
    disk.let.set()
    transaction.commit.wait()
    assert [change.entity for change in lab.store.changes.since(generation)] == [lab.vm]


def test_changes_are_published_in_the_order_they_were_made(lab: Lab, disk: FullDisk) -> None:
    disk.full = False
    disk.let.clear()
    generation = lab.store.changes.generation
    order: list[Entity] = []
    for number in range(20):
        with lab.store.transaction(wait=False) as transaction:
            if number % 3 == 0:
                lab.vm.domid = number + 1  # needs no disk
                order.append(lab.vm)
            else:
                order.append(lab.store.add(Network(name_label=str(number))))
    disk.let.set()
    assert transaction.commit is not None
    transaction.commit.wait()
    assert [change.entity for change in lab.store.changes.since(generation)] == order


def test_those_who_wait_while_one_is_written_are_written_together(lab: Lab, disk: FullDisk) -> None:
    disk.full = False
    disk.let.clear()
    written: list[int] = []
    write = disk._write

    def counted(rows: Sequence[Row]) -> None:
        written.append(len(rows))
        write(rows)

    disk._write = counted
    transactions = []
    for number in range(10):
        with lab.store.transaction(wait=False) as transaction:
            lab.store.add(Network(name_label=str(number)))
        transactions.append(transaction)
        assert disk.tried.wait(30)
    disk.let.set()
    for transaction in transactions:
        assert transaction.commit is not None
        transaction.commit.wait()
    assert written == [1, 9]


def test_a_commit_tells_when_it_is_finished(lab: Lab, disk: FullDisk) -> None:
    told: list[Exception | None] = []
    for full in (True, False):
        disk.full = full
        disk.let.clear()
        with lab.store.transaction(wait=False) as transaction:
            lab.vm.name_label = f"full {full}"
        commit = transaction.commit
        assert commit is not None
        commit.finished = lambda commit: told.append(commit.error)
        disk.let.set()
        eventually(lambda full=full: len(told) == (1 if full else 2), "the end of the commit")  # type: ignore[misc]
    assert isinstance(told[0], InternalError)
    assert told[1] is None


# --- many writers


def in_threads(count: int, job: Callable[[int], None]) -> None:
    """Run `job` with its number in so many threads at once; the first error of one is raised."""
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(30)
        job(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))


def test_no_update_of_many_writers_is_lost(open_store: Open, file: Path) -> None:
    lab = furnish(open_store())
    generation = lab.store.changes.generation

    def job(number: int) -> None:
        for step in range(10):
            with lab.store.transaction():
                lab.vm.user_version += 1
                lab.vm.other_config = {**lab.vm.other_config, f"{number}.{step}": "kept"}

    in_threads(8, job)
    assert lab.vm.user_version == 1 + 80
    assert len(lab.vm.other_config) == 80
    changes = lab.store.changes.since(generation)
    assert [change.generation for change in changes] == list(range(generation + 1, generation + 81))
    again = open_store(killed(file, "killed")).get(VM, lab.vm.ref)
    assert (again.user_version, len(again.other_config)) == (81, 80)


def test_many_writers_and_a_disk_that_fails_now_and_then_keep_memory_and_disk_the_same(
    open_store: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = furnish(open_store())
    journal = lab.store._journal
    write, written = journal.write, iter(range(10**6))

    def flaky(rows: Sequence[Row]) -> None:
        if next(written) % 3 == 1:
            raise sqlite3.OperationalError(FULL)
        write(rows)

    monkeypatch.setattr(journal, "write", flaky)
    acknowledged: list[str] = []
    lost: list[str] = []

    def job(number: int) -> None:
        for step in range(8):
            key = f"{number}.{step}"
            try:
                with lab.store.transaction():
                    lab.vm.other_config = {**lab.vm.other_config, key: "kept"}
                    lab.vif.network = lab.store.add(Network(name_label=key))
            except InternalError:
                lost.append(key)
            else:
                acknowledged.append(key)

    in_threads(8, job)
    assert lost
    assert acknowledged
    assert set(lab.vm.other_config) == set(acknowledged)
    assert {network.name_label for network in lab.store.all(Network)} == {"lan", *acknowledged}
    again = open_store(killed(file, "killed"))
    assert kept(again) == kept(lab.store)


def test_a_journal_can_be_closed_while_it_is_written(open_store: Open, file: Path) -> None:
    lab = furnish(open_store())
    with lab.store.transaction(wait=False) as transaction:
        lab.vm.name_label = "just in time"
    lab.store.close()
    assert transaction.commit is not None
    assert transaction.commit.settled
    assert open_store().get(VM, lab.vm.ref).name_label == "just in time"

"""The ring of changes: numbered without gaps, read from a cursor, and no word of it twice."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from agent.classes import Network
from agent.errors import EventsLost
from agent.model.entity import Entity
from agent.store.changes import ADD, MOD, Changes


@pytest.fixture
def network(classes: Mapping[str, type[Entity]]) -> Network:
    return Network(name_label="lan")


def numbers(changes: Changes, since: int) -> list[int]:
    return [change.generation for change in changes.since(since)]


def test_changes_have_numbers_without_gaps(network: Network) -> None:
    changes = Changes()
    changes.publish([(ADD, network), (MOD, network)])
    changes.publish([(MOD, network)])
    assert numbers(changes, 0) == [1, 2, 3]
    assert changes.generation == 3


@pytest.mark.parametrize("kept", [1, 3, 4, 10])
def test_a_reader_gets_what_is_after_its_cursor(network: Network, kept: int) -> None:
    changes = Changes(size=100)
    changes.publish([(MOD, network)] * 10)
    assert numbers(changes, 10 - kept) == list(range(11 - kept, 11))


def test_a_reader_who_knows_all_gets_nothing(network: Network) -> None:
    changes = Changes()
    assert changes.since(0) == []
    changes.publish([(MOD, network)])
    assert changes.since(1) == []


@pytest.mark.fault("F15")
def test_a_reader_on_the_edge_of_the_ring_gets_all_of_it(network: Network) -> None:
    changes = Changes(size=4)
    changes.publish([(MOD, network)] * 6)
    assert numbers(changes, 2) == [3, 4, 5, 6]


@pytest.mark.fault("F15")
@pytest.mark.threat("T25")
def test_a_reader_fallen_off_the_ring_is_told(network: Network) -> None:
    changes = Changes(size=4)
    changes.publish([(MOD, network)] * 6)
    with pytest.raises(EventsLost):
        changes.since(1)


def test_a_cursor_from_the_future_is_told(network: Network) -> None:
    changes = Changes()
    changes.publish([(MOD, network)])
    with pytest.raises(EventsLost):
        changes.since(2)


def test_watchers_are_called_once_a_batch_and_find_it_published(network: Network) -> None:
    changes = Changes()
    seen: list[int] = []
    changes.watch(lambda: seen.append(changes.generation))
    changes.publish([(ADD, network), (MOD, network)])
    changes.publish([(MOD, network)])
    assert seen == [2, 3]


@pytest.mark.fault("F15")
def test_many_publishers_leave_no_gap(network: Network) -> None:
    changes = Changes()

    def publish() -> None:
        for _ in range(50):
            changes.publish([(MOD, network)] * 3)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(changes, 0) == list(range(1, 601))

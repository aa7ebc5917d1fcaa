"""How much of today's xapi is served; and what clients are told of it is what there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import modern
from tests.conftest import COUNTS_OF_XAPI
from tests.door import Door
from tests.fake_machine import FakeMachine
from tests.original import ABSENT

OF_THE_FILE = {"classes": 73, "fields": 922, "messages": 2007}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    opened = Door(FakeMachine().ports(), None, users=tmp_path / "users.json")
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", OF_THE_FILE)
def test_the_facts_are_all_of_xapi(kind: str) -> None:
    assert len(modern.KINDS[kind]()) == OF_THE_FILE[kind]


def test_list_methods_names_what_is_counted(door: Door) -> None:
    told = set(door.send("system.listMethods"))
    for key, found in modern.messages().items():
        assert (key in told) == (ABSENT not in found), key


def test_so_much_of_xapi_is_served(pytestconfig: pytest.Config) -> None:
    """The counts are printed at the end of the tests."""
    counts = {kind: (modern.served(findings()), len(findings())) for kind, findings in modern.KINDS.items()}
    pytestconfig.stash[COUNTS_OF_XAPI] = counts
    assert all(served > there // 3 for served, there in counts.values())

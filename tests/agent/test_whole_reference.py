"""The whole original reference is served, and nothing differs unsaid."""

from __future__ import annotations

import pytest

from tests import original
from tests.conftest import COUNTS
from tests.original import API, KINDS

OF_THE_FILE = {"classes": 33, "fields": 306, "messages": 586, "bound pairs": 26, "errors": 22, "enums": 10}


@pytest.mark.parametrize("kind", KINDS)
def test_what_differs_is_listed_as_a_deviation(kind: str) -> None:
    assert original.unlisted(KINDS[kind]()) == []


@pytest.mark.parametrize("kind", OF_THE_FILE)
def test_the_facts_are_the_whole_file(kind: str) -> None:
    assert len(KINDS[kind]()) == OF_THE_FILE[kind]


def test_an_implied_field_has_its_accessors() -> None:
    for path in original.implied_fields():
        name, field = path.split(".")
        assert f"{name}.get_{field}" in API.messages


def test_so_much_is_served(pytestconfig: pytest.Config) -> None:
    """All of it. The counts are printed at the end of the tests."""
    counts = {kind: (original.served(findings()), len(findings())) for kind, findings in KINDS.items()}
    pytestconfig.stash[COUNTS] = counts
    assert [f"{served} of {there} {kind}" for kind, (served, there) in counts.items() if served != there] == []

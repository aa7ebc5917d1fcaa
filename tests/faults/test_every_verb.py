"""Every verb that changes something meets a kill, an error and a wait at each of its steps: it was done, or was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from drivers.node import LibvirtNode
from tests.conftest import WALKED
from tests.faults.walk.hosts import CARDS
from tests.faults.walk.verbs import NOT_WALKED, SUBJECTS, VERBS, is_explained, left_out, stored
from tests.faults.walk.walk import ALL, Stage, Verb, Walk

KILLED_EACH = 1 if ALL else 5
"""Of the verbs that change fields only, and are alike, so many are failed to one that is killed."""


@pytest.fixture
def stages(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Stage]:
    monkeypatch.setattr(LibvirtNode, "interfaces", lambda node: CARDS)
    return lambda: Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def stage(stages: Callable[[], Stage]) -> Iterator[list[Stage]]:
    """A host, in a list, in which the walk puts another where it has to begin anew."""
    held = [stages()]
    yield held
    held[0].close()


def walked(
    verb: Verb, stage: list[Stage], stages: Callable[[], Stage], counts: Counter[str], *, kills: bool = True
) -> list[str]:
    """What was wrong with a verb at its steps."""
    walk = Walk(verb, stage[0], stages)
    try:
        return walk.all(kills=kills)
    finally:
        stage[0] = walk.stage
        counts.update(walk.met)


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Counter[str]:
    """What is told at the end."""
    return request.config.stash.setdefault(WALKED, Counter())


@pytest.mark.fault("F1")
@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_it_is_done_or_it_is_not_whatever_it_meets(
    verb: Verb, stage: list[Stage], stages: Callable[[], Stage], counts: Counter[str]
) -> None:
    wrong = walked(verb, stage, stages, counts)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.fault("F1")
@pytest.mark.parametrize("class_name", SUBJECTS)
def test_what_changes_fields_only_is_done_or_is_not(
    class_name: str, stage: list[Stage], stages: Callable[[], Stage], counts: Counter[str]
) -> None:
    before = counts["failed"]
    wrong = []
    for number, verb in enumerate(stored(class_name)):
        wrong += walked(verb, stage, stages, counts, kills=number % KILLED_EACH == 0)
    assert not wrong, "\n\n".join(wrong)
    assert counts["failed"] > before


def test_whatever_changes_something_is_walked_or_it_is_said_why_not() -> None:
    left = list(left_out())
    assert [message.full_name for message in left if not any(is_explained(message, each) for each in NOT_WALKED)] == []
    assert [each for each in NOT_WALKED if not any(is_explained(message, each) for message in left)] == []

"""Who works on which disk: alone, or with others who only read."""

from __future__ import annotations

import threading

import pytest

from agent.classes import SR, VDI
from agent.classes.enums import VdiType
from agent.errors import OtherOperationInProgress
from agent.holds import Holds
from tests.door import WAIT_SECONDS, sealed


@pytest.fixture
def disk() -> VDI:
    sealed()
    return VDI(SR=SR(), type=VdiType.USER)


def test_several_read_and_nobody_writes_meanwhile(disk: VDI) -> None:
    holds = Holds(0.0)
    with holds.holding("copy", shared=[disk]), holds.holding("copy", shared=[disk]):
        with pytest.raises(OtherOperationInProgress) as caught, holds.holding("start", alone=[disk]):
            pass
        assert caught.value.description == ["OTHER_OPERATION_IN_PROGRESS", "VDI", disk.ref, "copy", ""]
    with holds.holding("start", alone=[disk]):
        pass


def test_who_writes_is_alone(disk: VDI) -> None:
    holds = Holds(0.0)
    with holds.holding("resize", alone=[disk]):
        for alone, shared in (([disk], []), ([], [disk])):
            with pytest.raises(OtherOperationInProgress, match="resize"):  # noqa: SIM117
                with holds.holding("copy", alone=alone, shared=shared):
                    pass


def test_what_is_wanted_both_ways_is_held_alone(disk: VDI) -> None:
    holds = Holds(0.0)
    with holds.holding("start", alone=[disk], shared=[disk]), pytest.raises(OtherOperationInProgress):  # noqa: SIM117
        with holds.holding("copy", shared=[disk]):
            pass
    with holds.holding("start", alone=[disk]):
        pass


def test_one_who_waits_has_it_as_soon_as_it_is_free(disk: VDI) -> None:
    holds = Holds(WAIT_SECONDS)
    waiting, had = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        with holds.holding("start", alone=[disk]):
            had.set()

    with holds.holding("copy", shared=[disk]):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(WAIT_SECONDS)
        assert not had.is_set()
    assert had.wait(WAIT_SECONDS)
    thread.join()


def test_who_fails_holds_nothing_any_more(disk: VDI) -> None:
    holds = Holds(0.0)
    with pytest.raises(KeyError), holds.holding("copy", alone=[disk]):
        raise KeyError
    with holds.holding("start", alone=[disk]):
        pass

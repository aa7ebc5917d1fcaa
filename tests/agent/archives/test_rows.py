"""Rows of averages: when they end, what is in them, how many are kept, and their file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agent.archives import Archives, files
from agent.archives.rows import NAN, SPANS, Archive, Ring
from agent.archives.sources import Key, Kind
from agent.errors import HostOffline
from tests.door import Door
from tests.fake_machine import FakeMachine

NOON = 1_700_006_400
"""A time at which rows of all spans but the longest end: a multiple of an hour."""
FINE, MINUTES, HOURS = 0, 1, 2
AVERAGE, MIN, MAX = 0, 1, 2
KEY = Key(Kind.VM, "a")


def test_noon_is_what_it_says() -> None:
    assert NOON % SPANS[HOURS].step == 0


def column(archive: Archive, number: int, way: int, rows: int) -> list[float]:
    return list(archive.column("x", number, way, archive.ends[number], rows))


def filled(*samples: tuple[int, float]) -> Archive:
    """An archive with samples so many seconds after noon."""
    archive = Archive()
    for after, value in samples:
        archive.note(NOON + after, {"x": value})
    return archive


def test_the_finest_rows_are_the_samples() -> None:
    archive = filled((5, 1.0), (10, 2.0), (15, 3.0))
    assert archive.ends[FINE] == NOON + 15
    assert column(archive, FINE, AVERAGE, 3) == [3.0, 2.0, 1.0]


def test_a_row_ends_at_a_multiple_of_its_step_and_has_all_samples_since_the_one_before() -> None:
    archive = filled(*((after, float(after)) for after in range(5, 125, 5)))
    assert archive.ends[MINUTES] == NOON + 120
    assert column(archive, MINUTES, AVERAGE, 2) == [92.5, 32.5]
    assert column(archive, MINUTES, MIN, 2) == [65.0, 5.0]
    assert column(archive, MINUTES, MAX, 2) == [120.0, 60.0]


def test_a_row_that_has_not_ended_is_not_there() -> None:
    archive = filled((5, 1.0), (60, 3.0), (65, 7.0))
    assert archive.ends[MINUTES] == NOON + 60
    assert column(archive, MINUTES, AVERAGE, 1) == [2.0]


def test_what_was_not_measured_is_no_number() -> None:
    archive = filled((5, 1.0), (20, 4.0))
    shown = column(archive, FINE, AVERAGE, 4)
    assert shown[0] == 4.0
    assert math.isnan(shown[1])
    assert math.isnan(shown[2])
    assert shown[3] == 1.0


def test_rows_over_a_gap_are_no_numbers_and_the_one_begun_before_it_has_its_samples() -> None:
    archive = filled((5, 1.0), (10, 3.0), (245, 5.0), (300, 7.0))
    shown = column(archive, MINUTES, AVERAGE, 5)
    assert shown[0] == 6.0
    assert all(math.isnan(value) for value in shown[1:4])
    assert shown[4] == 2.0


@pytest.mark.fault("F10")
def test_a_gap_of_years_costs_no_more_than_the_rows_there_are() -> None:
    archive = filled((5, 1.0), (10 * 366 * 86400, 2.0))
    assert column(archive, FINE, AVERAGE, 1) == [2.0]
    assert all(math.isnan(value) for value in column(archive, FINE, AVERAGE, 120)[1:])


def test_a_source_that_came_later_has_no_rows_from_before() -> None:
    archive = filled((5, 1.0))
    archive.note(NOON + 10, {"x": 2.0, "late": 9.0})
    shown = list(archive.column("late", FINE, AVERAGE, NOON + 10, 3))
    assert shown[0] == 9.0
    assert all(math.isnan(value) for value in shown[1:])


def test_only_so_many_rows_are_kept() -> None:
    archive = filled(*((after, float(after)) for after in range(5, 5 * 200, 5)))
    shown = column(archive, FINE, AVERAGE, 130)
    assert shown[:2] == [995.0, 990.0]
    assert shown[119] == 400.0
    assert all(math.isnan(value) for value in shown[120:])


def test_a_ring_goes_on_after_it_was_full() -> None:
    ring = Ring(3, "d")
    for value in range(7):
        ring.push(float(value))
    assert list(ring.values()) == [4.0, 5.0, 6.0]
    assert [ring.newest(age) for age in range(3)] == [6.0, 5.0, 4.0]
    assert math.isnan(ring.newest(3))
    assert math.isnan(ring.newest(-1))


def test_a_forgotten_source_is_kept_no_more_until_it_is_wanted() -> None:
    archive = filled((5, 1.0))
    archive.forget("x")
    archive.note(NOON + 10, {"x": 2.0})
    assert archive.series == {}
    archive.off.discard("x")
    archive.note(NOON + 15, {"x": 3.0})
    assert column(archive, FINE, AVERAGE, 1) == [3.0]


def test_a_source_of_a_device_that_is_gone_for_a_day_goes() -> None:
    archive = filled((5, 1.0))
    archive.note(NOON + 86400, {"y": 1.0})
    assert set(archive.series) == {"x", "y"}
    archive.note(NOON + 86410, {"y": 1.0})
    assert set(archive.series) == {"y"}


def test_what_is_no_number_is_not_taken() -> None:
    archive = filled((5, NAN), (10, math.inf))
    assert archive.series == {}


# --- the file


def test_the_file_has_all_of_it(tmp_path: Path) -> None:
    archive = filled(*((after, float(after)) for after in range(5, 2000, 5)))
    archive.forget("gone")
    files.write(tmp_path / "numbers", files.dumped({KEY: archive}))
    read = files.load(tmp_path / "numbers")[KEY]
    assert (read.last, read.ends, read.off) == (archive.last, archive.ends, {"gone"})
    for number, span in enumerate(SPANS):
        for way in range(len(span.ways)):
            assert repr(column(read, number, way, span.rows)) == repr(column(archive, number, way, span.rows))
    for each in (archive, read):
        each.note(NOON + 2040, {"x": 0.0})
    assert column(read, MINUTES, MIN, 2) == column(archive, MINUTES, MIN, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["numbers"]


@pytest.mark.parametrize("spoil", ["short", "other", "flipped", "empty"])
def test_a_file_that_is_damaged_is_begun_anew(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "numbers"
    content = files.dumped({KEY: filled(*((after, after / 7) for after in range(5, 2000, 5)))})
    middle = len(content) // 2
    path.write_bytes(
        {
            "short": content[:middle],
            "other": b"something else",
            "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
            "empty": b"",
        }[spoil]
    )
    with pytest.raises(ValueError, match="it is"):
        files.load(path)
    archives = Archives()
    archives.open(path)
    archives.note(NOON, {KEY: {"x": 1.0}})
    archives.save()
    assert list(files.load(path)) == [KEY]


# --- sampling


class Clock:
    def __init__(self) -> None:
        self.now = float(NOON + 1)

    def __call__(self) -> float:
        return self.now


def test_a_sample_is_taken_every_five_seconds(door: Door, machine: FakeMachine) -> None:
    clock = Clock()
    archives = Archives(clock=clock)
    for _ in range(12):
        archives.tick(door.store, machine.meters)
        clock.now += 1
    assert machine.meters.calls.count("read") == 3
    assert archives.last == NOON + 10


def test_a_machine_that_does_not_run_keeps_its_rows_and_one_that_is_gone_has_none(
    door: Door, machine: FakeMachine
) -> None:
    clock = Clock()
    archives = Archives(clock=clock)
    vm = door.vm()
    door("VM.start", vm, False)
    archives.tick(door.store, machine.meters)
    door("VM.hard_shutdown", vm)
    clock.now += 5
    archives.tick(door.store, machine.meters)
    key = Key(Kind.VM, vm.uuid)
    assert "memory" in archives.names(key)
    door("VM.destroy", vm)
    archives.forget_missing(door.store)
    assert archives.names(key) == []


def test_a_hypervisor_that_does_not_answer_leaves_a_gap(door: Door, machine: FakeMachine) -> None:
    clock = Clock()
    archives = Archives(clock=clock)
    archives.tick(door.store, machine.meters)
    machine.meters.fail("read", HostOffline(door.observer.host))
    clock.now += 5
    archives.tick(door.store, machine.meters)
    assert archives.trouble
    machine.meters.plan.clear()
    clock.now += 5
    archives.tick(door.store, machine.meters)
    assert archives.trouble == ""
    key = Key(Kind.HOST, door.observer.host.uuid)
    shown: list[float] = []
    archives.read(lambda kept: shown.extend(kept[key].column("memory_total_kib", FINE, AVERAGE, NOON + 10, 3)))
    assert shown[0] > 0
    assert math.isnan(shown[1])
    assert shown[2] > 0


@pytest.mark.fault("F10")
def test_a_clock_that_is_set_back_a_little_makes_a_pause_and_far_a_new_beginning(
    door: Door, machine: FakeMachine
) -> None:
    clock = Clock()
    archives = Archives(clock=clock)
    archives.tick(door.store, machine.meters)
    clock.now -= 3600
    archives.tick(door.store, machine.meters)
    assert archives.last == NOON
    clock.now -= 10 * 86400
    archives.tick(door.store, machine.meters)
    assert archives.last == NOON - 10 * 86400 - 3600

"""When a snapshot schedule is due, by the clock on the wall of the host. Pure arithmetic: nobody is asked for the time.

A schedule is xapi's map: ``min`` for hourly ones, ``hour`` too for daily ones, and ``days`` for weekly ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo

from agent.classes.enums import VmssFrequency

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
"""In the order of datetime.weekday."""
KEYS: Mapping[VmssFrequency, Mapping[str, str]] = {
    VmssFrequency.HOURLY: {"min": "0"},
    VmssFrequency.DAILY: {"min": "0", "hour": "0"},
    VmssFrequency.WEEKLY: {"min": "0", "hour": "0", "days": "monday"},
}
"""The keys that each frequency has, and what they are where nobody says."""
_NUMBERS = {"min": 60, "hour": 24}


def check(schedule: Mapping[str, str]) -> None:
    """ValueError for what no schedule has."""
    for key, value in schedule.items():
        if key in _NUMBERS:
            if not (value.isascii() and value.isdecimal() and len(value) < 3 and int(value) < _NUMBERS[key]):
                raise ValueError(f"{key} is a number from 0 to {_NUMBERS[key] - 1}")
        elif key != "days":
            raise ValueError(f"{key[:40]} is none of min, hour and days")
        elif not _days(value) or len(value) > 200:
            raise ValueError("days are the English names of days, with commas between them")


def _days(text: str) -> list[int]:
    """The numbers of the days; none at all if one is no day."""
    names = [name.strip().lower() for name in text.split(",")]
    return [DAYS.index(name) for name in names] if all(name in DAYS for name in names) else []


def whole(frequency: VmssFrequency, schedule: Mapping[str, str]) -> dict[str, str]:
    """The schedule with all the keys that this frequency has, and no others."""
    return {key: schedule.get(key, default) for key, default in KEYS[frequency].items()}


def due(frequency: VmssFrequency, schedule: Mapping[str, str], now: datetime, zone: tzinfo | None = None) -> datetime:
    """The last time before now, or now, at which the schedule is due; `zone` is the host's own unless given.

    An hour that the clock skips comes when the clock has skipped it; of one that comes twice, a daily or weekly
    schedule takes the first. A time that has not come yet may be answered then: whoever asks compares.
    """
    here = now.astimezone(zone)
    minute = int(schedule["min"])
    if frequency is VmssFrequency.HOURLY:
        return now.replace(second=0, microsecond=0) - timedelta(minutes=(here.minute - minute) % 60)
    wall = here.replace(tzinfo=None, fold=0)
    at = wall.replace(hour=int(schedule["hour"]), minute=minute, second=0, microsecond=0)
    days = _days(schedule["days"]) if frequency is VmssFrequency.WEEKLY else list(range(7))
    while at > wall or at.weekday() not in days:
        at -= timedelta(days=1)
    return (at if zone is None else at.replace(tzinfo=zone)).astimezone(UTC)

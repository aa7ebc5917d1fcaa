"""What is measured of host, machines and storage, as a client may ask for it one by one; all of it and its history is
at ``/rrd_updates``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Annotated, Any

from agent.archives.sources import key_of, meaning_of, of
from agent.call import Call
from agent.classes import SR, VM, Host
from agent.errors import InvalidValue
from agent.model.messages import Kind, message
from agent.model.types import Bool, Float, Set, String, Struct
from agent.roles import Role

DataSource = Struct(
    "data_source record",
    (
        ("name_label", String()),
        ("name_description", String()),
        ("enabled", Bool()),
        ("standard", Bool()),
        ("units", String()),
        ("min", Float()),
        ("max", Float()),
        ("value", Float()),
    ),
)
Sources = Annotated[Sequence[Any], Set(DataSource)]
READER, OPERATOR = Role.READ_ONLY, Role.POOL_OPERATOR
LARGEST = 2.0**63
"""Stands for no limit, since not every format has a word for infinity."""
DELAY_MAX_SECONDS = 60.0


def _listed(call: Call, thing: Host | VM | SR) -> list[dict[str, Any]]:
    """What can be measured of it now. `value` is what it was within the last second."""
    listed = []
    for name, value in of(thing, call.site.machine.meters.read()).items():
        meaning = meaning_of(name)
        listed.append(
            {
                "name_label": name,
                "name_description": meaning.description,
                "enabled": not call.site.archives.is_off(key_of(thing), name),
                "standard": True,
                "units": meaning.units,
                "min": meaning.min,
                "max": min(meaning.max, LARGEST),
                "value": value,
            }
        )
    return listed


def _value(call: Call, thing: Host | VM | SR, name: str) -> float:
    values = of(thing, call.site.machine.meters.read())
    if name not in values or not math.isfinite(values[name]):
        raise _unknown(name)
    return values[name]


def _unknown(name: str) -> InvalidValue:
    return InvalidValue("data_source", f"{name[:100]!r} is not measured of it")


def _require_known(call: Call, thing: Host | VM | SR, name: str) -> None:
    key = key_of(thing)
    archives = call.site.archives
    if name not in archives.names(key) and not archives.is_off(key, name):
        _value(call, thing, name)


def _record(call: Call, thing: Host | VM | SR, name: str) -> None:
    _require_known(call, thing, name)
    call.site.archives.record(key_of(thing), name)


def _forget(call: Call, thing: Host | VM | SR, name: str) -> None:
    _require_known(call, thing, name)
    call.site.archives.forget(key_of(thing), name)


# --- of machines


@message(VM, kind=Kind.BESIDE, role=READER, has_async=False)
def get_data_sources(call: Call, self: VM) -> Sources:
    """What is measured of the running machine, each with its value now. Nothing while it does not run."""
    return _listed(call, self)


@message(VM, kind=Kind.BESIDE, role=READER, has_async=False)
def query_data_source(call: Call, self: VM, data_source: str) -> float:
    """The value of a source now. INVALID_VALUE for one that is not measured of the machine."""
    return _value(call, self, data_source)


@message(VM, kind=Kind.BESIDE, has_async=False)
def record_data_source(call: Call, self: VM, data_source: str) -> None:
    """Keep the history of a source, as of all that were not forgotten. INVALID_VALUE for an unknown one."""
    _record(call, self, data_source)


@message(VM, kind=Kind.BESIDE, has_async=False)
def forget_data_source_archives(call: Call, self: VM, data_source: str) -> None:
    """Drop the history of a source, and keep no more of it until record_data_source."""
    _forget(call, self, data_source)


# --- of the host


@message(Host, kind=Kind.BESIDE, role=READER, has_async=False, name="get_data_sources")
def get_data_sources_of_host(call: Call, host: Host) -> Sources:
    """What is measured of the host, each with its value now."""
    return _listed(call, host)


@message(Host, kind=Kind.BESIDE, role=READER, has_async=False, name="query_data_source")
def query_data_source_of_host(call: Call, host: Host, data_source: str) -> float:
    """The value of a source now. INVALID_VALUE for one that is not measured of the host."""
    return _value(call, host, data_source)


@message(Host, kind=Kind.BESIDE, has_async=False, name="record_data_source")
def record_data_source_of_host(call: Call, host: Host, data_source: str) -> None:
    """Keep the history of a source, as of all that were not forgotten. INVALID_VALUE for an unknown one."""
    _record(call, host, data_source)


@message(Host, kind=Kind.BESIDE, has_async=False, name="forget_data_source_archives")
def forget_data_source_archives_of_host(call: Call, host: Host, data_source: str) -> None:
    """Drop the history of a source, and keep no more of it until record_data_source."""
    _forget(call, host, data_source)


@message(Host, kind=Kind.BESIDE, role=Role.POOL_ADMIN, has_async=False)
def backup_rrds(call: Call, host: Host, delay: float) -> None:
    """Write the history of all numbers to the state folder now, or after so many seconds, a minute at the most."""
    if not 0.0 <= delay <= DELAY_MAX_SECONDS:
        raise InvalidValue("delay", f"{delay}: it is from 0 to {DELAY_MAX_SECONDS:.0f} seconds")
    time.sleep(delay)
    call.site.archives.save()


# --- of storage


@message(SR, kind=Kind.BESIDE, role=READER, has_async=False, name="get_data_sources")
def get_data_sources_of_sr(call: Call, sr: SR) -> Sources:
    """What is measured of the attached storage, each with its value as last seen."""
    return _listed(call, sr)


@message(SR, kind=Kind.BESIDE, role=READER, has_async=False, name="query_data_source")
def query_data_source_of_sr(call: Call, sr: SR, data_source: str) -> float:
    """The value of a source, as last seen. INVALID_VALUE for one that is not measured of the storage."""
    return _value(call, sr, data_source)


@message(SR, kind=Kind.BESIDE, has_async=False, name="record_data_source")
def record_data_source_of_sr(call: Call, sr: SR, data_source: str) -> None:
    """Keep the history of a source, as of all that were not forgotten. INVALID_VALUE for an unknown one."""
    _record(call, sr, data_source)


@message(SR, kind=Kind.BESIDE, has_async=False, name="forget_data_source_archives")
def forget_data_source_archives_of_sr(call: Call, sr: SR, data_source: str) -> None:
    """Drop the history of a source, and keep no more of it until record_data_source."""
    _forget(call, sr, data_source)

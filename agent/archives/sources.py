"""What is measured of host, machines and storage, under the names that clients of xapi know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from agent.classes import SR, VM, Host
from agent.ports import DomainReading, Reading
from agent.store.store import Store

KIB = 1024
AGGREGATED = "pif_aggr"


class Kind(Enum):
    """What an archive is of, in the words of xapi's legends."""

    HOST = "host"
    VM = "vm"
    SR = "sr"


@dataclass(frozen=True)
class Key:
    """What an archive is of."""

    kind: Kind
    uuid: str


def key_of(thing: Host | VM | SR) -> Key:
    """The key of the archive of an object."""
    return Key(Kind.HOST if isinstance(thing, Host) else Kind.VM if isinstance(thing, VM) else Kind.SR, thing.uuid)


@dataclass(frozen=True)
class Meaning:
    """What a source says."""

    description: str
    units: str
    min: float = 0.0
    max: float = float("inf")


_MEANINGS: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern, re.ASCII), meaning)
    for pattern, meaning in (
        (r"cpu\d+", Meaning("part of its time that the processor is busy", "(fraction)", max=1.0)),
        (r"cpu_avg", Meaning("part of their time that all processors are busy", "(fraction)", max=1.0)),
        (r"cpu_usage", Meaning("part of their time that all its processors are busy", "(fraction)", max=1.0)),
        (r"loadavg", Meaning("processes of the control domain that run or want to, over a minute", "(fraction)")),
        (r"memory_total_kib", Meaning("memory of the host", "KiB")),
        (r"memory_free_kib", Meaning("memory of the host that nobody has", "KiB")),
        (r"memory", Meaning("memory that the machine has", "B")),
        (r"memory_target", Meaning("memory that the machine was told to have", "B")),
        (r"memory_internal_free", Meaning("memory that the guest says is free in it", "KiB")),
        (r"vbd_\w+_read", Meaning("data read from the disk", "B/s")),
        (r"vbd_\w+_write", Meaning("data written to the disk", "B/s")),
        (r"vif_\d+_rx", Meaning("data received by the card", "B/s")),
        (r"vif_\d+_tx", Meaning("data sent by the card", "B/s")),
        (r"pif_.+_rx", Meaning("data received by the host's card, or by all of them", "B/s")),
        (r"pif_.+_tx", Meaning("data sent by the host's card, or by all of them", "B/s")),
        (r"physical_size", Meaning("room of the storage", "B")),
        (r"physical_utilisation", Meaning("room of the storage that is taken", "B")),
        (r"virtual_allocation", Meaning("what guests see of the disks in the storage", "B")),
    )
)


def meaning_of(name: str) -> Meaning:
    """What the source of this name says; nothing for one that this build does not measure."""
    return next((meaning for pattern, meaning in _MEANINGS if pattern.fullmatch(name)), Meaning("", ""))


def all_of(store: Store, reading: Reading) -> dict[Key, Mapping[str, float]]:
    """What was measured of everything that runs, and of the storage."""
    with store.lock:
        host = store.only(Host)
        samples: dict[Key, Mapping[str, float]] = {key_of(host): dict(_host(host, reading))}
        for uuid in reading.domains:
            if (vm := store.known(VM, uuid)) is not None:
                samples[key_of(vm)] = dict(of(vm, reading))
        for sr in store.all(SR):
            samples[key_of(sr)] = dict(of(sr, reading))
    return samples


def of(thing: Host | VM | SR, reading: Reading) -> Mapping[str, float]:
    """What was measured of an object, by the name of the source."""
    if isinstance(thing, Host):
        return dict(_host(thing, reading))
    if isinstance(thing, VM):
        seen = reading.domains.get(thing.uuid)
        return {} if seen is None else dict(_machine(thing, seen))
    if not any(pbd.currently_attached for pbd in thing.PBDs):
        return {}
    return {
        "physical_size": float(thing.physical_size),
        "physical_utilisation": float(thing.physical_utilisation),
        "virtual_allocation": float(thing.virtual_allocation),
    }


def _host(host: Host, reading: Reading) -> Iterator[tuple[str, float]]:
    seen = reading.host
    yield "memory_total_kib", seen.memory_total / KIB
    yield "memory_free_kib", seen.memory_free / KIB
    for number, busy in seen.cpus.items():
        yield f"cpu{number}", busy
    if seen.cpus:
        yield "cpu_avg", sum(seen.cpus.values()) / len(seen.cpus)
    if seen.load_average is not None:
        yield "loadavg", seen.load_average
    physical = {pif.device for pif in host.PIFs if pif.physical}
    for device, (received, sent) in seen.interfaces.items():
        yield f"pif_{device}_rx", received * KIB
        yield f"pif_{device}_tx", sent * KIB
    counted = [rates for device, rates in seen.interfaces.items() if device in physical]
    if counted:
        yield f"{AGGREGATED}_rx", sum(rates[0] for rates in counted) * KIB
        yield f"{AGGREGATED}_tx", sum(rates[1] for rates in counted) * KIB


def _machine(vm: VM, seen: DomainReading) -> Iterator[tuple[str, float]]:
    for number, busy in seen.VCPUs_utilisation.items():
        yield f"cpu{number}", busy
    if seen.VCPUs_utilisation:
        yield "cpu_usage", sum(seen.VCPUs_utilisation.values()) / len(seen.VCPUs_utilisation)
    yield "memory", float(seen.memory_actual)
    yield "memory_target", float(vm.memory_dynamic_max)
    free = seen.guest_memory.get("free", "")
    if free.isascii() and free.isdecimal() and len(free) < 16:
        yield "memory_internal_free", float(free)
    for target, (read, written) in seen.disks.items():
        yield f"vbd_{target}_read", read * KIB
        yield f"vbd_{target}_write", written * KIB
    places = {vif.MAC.lower(): vif.device for vif in vm.VIFs}
    for mac, (received, sent) in seen.nics.items():
        if mac.lower() in places:
            yield f"vif_{places[mac.lower()]}_rx", received * KIB
            yield f"vif_{places[mac.lower()]}_tx", sent * KIB

"""What there is, as lines that can be compared: the objects of a store, and what hypervisor, storage and folders have.

Two worlds in which the same was done to objects of other uuids have the same lines: known uuids have names.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.classes import SR, VDI
from agent.model.entity import Entity, Field, Qualifier
from agent.model.types import DateTime, Ref, Set
from agent.ports import Machine
from agent.store.store import Store
from drivers.sparse import is_temporary

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MADE_UP = re.compile(r"00:16:3e(:[0-9a-f]{2}){3}|xapi[0-9]+|Pool-[0-9a-f]{8}|\d{4}-\d\d-\d\d.\d\d:\d\d:\d\dZ?")
"""Hardware addresses, bridges and names that were made up."""
PASSING = {"role", "session", "task", "message", "console"}
"""Classes that come and go with those who ask, with what is told, and with a run."""
UNLIKE = {
    *("domid", "started_as", "generation_id", "started_here"),
    *("physical_utilisation", "physical_size", "virtual_allocation", "allocation", "capacity"),
}
"""Fields that are another time other than before, though the same was done; that the agent started a machine is noted
where it can be.
"""
Lines = Counter[str]
Change = tuple[Lines, Lines]
"""Lines that came, and lines that went."""


class Names:
    """What uuids are called: those of a case by class and number, those of before as they are, all others new."""

    def __init__(self, standing: Mapping[str, str], before: set[str], store: Store) -> None:
        """`standing` are the names of what each host has."""
        self._names = {uuid: standing.get(uuid, uuid) for uuid in before} | numbered(store, "", before)

    def in_(self, text: str) -> str:
        return MADE_UP.sub("made up", UUID.sub(lambda found: self._names.get(found[0], "a new one"), text))


def numbered(store: Store, word: str, but: Collection[str] = ()) -> dict[str, str]:
    """Objects by class and number."""
    counts = Counter[str]()
    names = {}
    for name, cls in store.classes.items():
        for entity in store.all(cls):
            if entity.uuid not in but:
                counts[name] += 1
                names[entity.uuid] = f"{word}{name} {counts[name]}"
    return names


def uuids(store: Store) -> set[str]:
    """Of all objects."""
    return {entity.uuid for cls in store.classes.values() for entity in store.all(cls)}


def lines(store: Store, machine: Machine, state: Path, names: Names) -> Lines:
    """All there is."""
    there = [*_objects(store), *_hypervisor(machine), *_volumes(store, machine), *_files(state)]
    return Counter(names.in_(line.replace(str(state), "")) for line in there)


def change(before: Lines, after: Lines) -> Change:
    return after - before, before - after


def told(found: Change, wanted: Change) -> str:
    """What of a change is not as it should be, for people."""
    return "\n".join(
        line
        for sign, one, other in zip("+-", found, wanted, strict=True)
        for line in _differences(sign, [*(one - other).elements()], [*(other - one).elements()])
    )


def _differences(sign: str, found: list[str], wanted: list[str]) -> Iterator[str]:
    """Lines of one list and the other: where both are about the same, the fields that differ."""
    for line in found:
        subject, _, fields = line.partition(" {")
        like = next((each for each in wanted if each.startswith(f"{subject} {{")), None)
        if like is None:
            yield f"  {sign} {line:.400}"
            continue
        wanted.remove(like)
        mine, other = json.loads("{" + fields), json.loads("{" + like.partition(" {")[2])
        unlike = {key: (mine[key], other.get(key)) for key in mine if mine[key] != other.get(key)}
        yield f"  {sign} {subject}, found and wanted: {unlike}"
    yield from (f"  {sign} lacks {line:.400}" for line in wanted)


def _objects(store: Store) -> Iterator[str]:
    for name, cls in store.classes.items():
        if name in PASSING:
            continue
        fields = {key: field for key, field in cls.fields.items() if _is_compared(cls, field)}
        dump: dict[str, Callable[[Any], Any]] = {key: field.type.dump for key, field in fields.items()}
        for entity in store.all(cls):
            yield f"{name} {entity.uuid} {_json({key: dump[key](entity.__dict__[key]) for key in fields})}"


def _is_compared(cls: type[Entity], field: Field) -> bool:
    """Not times, live numbers, and the other ends of references."""
    if field.name in UNLIKE or isinstance(field.type, DateTime):
        return False
    of_many = isinstance(field.type, Set) and isinstance(field.type.of, Ref)
    return field.qualifier is not Qualifier.RUNTIME or not (cls.measured or of_many)


def _hypervisor(machine: Machine) -> Iterator[str]:
    for domain in machine.domains.list():
        yield f"domain {_plain(domain, 'name', 'consoles', 'guest')}"
    for pool in machine.storage.pools():
        yield f"pool {_plain(pool)}"
    for network in machine.networks.list():
        yield f"bridge {_plain(network, 'name')}"
    for card in machine.node.interfaces():
        yield f"card {_plain(card)}"
    for cpu_pool in machine.node.cpu_pools.list() or ():
        yield f"cpu pool {_plain(cpu_pool, 'domains')}"


def _volumes(store: Store, machine: Machine) -> Iterator[str]:
    for sr in store.all(SR):
        if any(pbd.currently_attached for pbd in sr.PBDs):
            for volume in machine.storage.scan(sr):
                yield f"volume of {volume.capacity} {_plain(volume)}"


def _files(state: Path) -> Iterator[str]:
    """Without those that were being made: they are locked by whom they belong to, who is not really gone here."""
    for path in sorted(state.rglob("*")):
        if path.is_file() and not path.name.startswith("journal.db") and not is_temporary(path.name):
            yield f"file {path.relative_to(state)}"


def _plain(seen: Any, *without: str) -> str:
    return _json({key: value for key, value in asdict(seen).items() if key not in (*without, *UNLIKE)})


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=str)


# --- what must hold of all there is


def require_linked(store: Store) -> None:
    """Each reference leads to an object of the store, which knows of it at its other end; and nobody else does."""
    for cls in store.classes.values():
        for entity in store.all(cls):
            for field in cls.fields.values():
                if isinstance(field.type, Ref):
                    _require_known(store, entity, field)
            for referrer, name in entity._referrers:
                assert store.is_live(referrer), f"{entity} has a {name} that is gone"
                assert referrer.__dict__[name] is entity, f"{entity} has a {name} that it is not of: {referrer}"
                bound = referrer.fields[name].bound
                assert not bound or referrer in entity.__dict__[bound], f"{entity} does not know its {referrer}"


def _require_known(store: Store, entity: Entity, field: Field) -> None:
    target = entity.__dict__[field.name]
    if target is None:
        return
    assert store.is_live(target), f"the {field.name} of {entity} is gone"
    assert (entity, field.name) in target._referrers, f"{target} does not know that it is the {field.name} of {entity}"
    if field.bound:
        assert target.__dict__[field.bound].count(entity) == 1, f"{target}.{field.bound} lacks {entity}"


def require_as_kept(store: Store) -> None:
    """What is shown is what the journal has: a restart would show the same."""
    connection = store._journal._connection
    kept = {(name, uuid): data for name, uuid, data in connection.execute("SELECT class, uuid, data FROM records")}
    for name, cls in store.classes.items():
        for entity in store.all(cls):
            if not entity._volatile and name not in ("session", "task"):
                row = kept.pop((name, entity.uuid), None)
                assert row is not None, f"{entity} is shown, and would be gone after a restart"
                assert json.loads(row) == json.loads(store._row(entity)), f"{entity} would be another after a restart"
    left = [key for key in kept if key[0] not in ("session", "task")]
    assert left == [], "these are gone, and would be back after a restart"


def require_rooms(store: Store, machine: Machine) -> None:
    """Each storage has the volumes of its disks and no others, and says how much they are in all."""
    for sr in store.all(SR):
        attached = any(pbd.currently_attached for pbd in sr.PBDs)
        if attached:
            places = Counter(volume.location for volume in machine.storage.scan(sr))
            assert places == Counter(vdi.location for vdi in sr.VDIs), f"the disks of {sr}"
            in_all = sum(vdi.virtual_size for vdi in sr.VDIs if vdi.managed)
            assert sr.virtual_allocation == in_all, f"what the disks of {sr} are in all"
    for vdi in store.all(VDI):
        assert not vdi.missing, f"{vdi} is missing"

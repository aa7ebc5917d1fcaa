"""Events: what changed since a token (event.from), or since the last time this session asked (event.next).

All clients read one ring of changes; an event's snapshot is the object as it is when the event is sent. A token names a
change of this run of the agent; one from an earlier run, or from further back than the ring reaches, is EVENTS_LOST.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated, Any, cast

from agent.call import Call
from agent.classes import Event
from agent.errors import (
    EventFromTokenParseFailure,
    EventsLost,
    EventSubscriptionParseFailure,
    HandleInvalid,
    SessionNotRegistered,
)
from agent.model.entity import Entity
from agent.model.messages import Kind, Shared, message
from agent.model.types import AnyRecord, DateTime, Int, Int32, Map, Set, String, Struct
from agent.roles import Role
from agent.store.changes import ADD, DEL, MOD, Change

TEXT = String()
BATCH = Struct(
    "struct event_batch",
    (
        (
            "events",
            Set(
                Struct(
                    "event record",
                    (
                        ("id", TEXT),
                        ("timestamp", TEXT),
                        ("class", TEXT),
                        ("operation", TEXT),
                        ("ref", TEXT),
                        ("snapshot", AnyRecord()),
                    ),
                    frozenset({"snapshot"}),
                )
            ),
        ),
        ("valid_ref_counts", Map(TEXT, Int32())),
        ("token", TEXT),
    ),
)
NEXT = Struct(
    "event record",
    (
        ("id", Int()),
        ("timestamp", DateTime()),
        ("class", TEXT),
        ("operation", TEXT),
        ("ref", TEXT),
        ("obj_uuid", TEXT),
        ("snapshot", AnyRecord()),
    ),
    frozenset({"snapshot"}),
)
_TOKEN = re.compile(r"(\d{1,20}),(\d{1,20})", re.ASCII)
WAIT_MAX_SECONDS = 3600.0
NEXT_WAIT_SECONDS = 3600.0
GATHER_SECONDS = 0.01
"""How long changes gather for a client that asks again while there are some; a quiet one hears of the first at once."""
SHARED_SECONDS = 0.01
"""How long a batch is what clients at its place get, though there may be newer changes: they ask again at once."""
BATCHES_KEPT = 64


@dataclass(frozen=True)
class Subscription:
    """What a client wants to hear of: classes, single objects, or all."""

    all: bool
    classes: frozenset[str]
    objects: frozenset[tuple[str, str]]

    @classmethod
    def parse(cls, call: Call, words: Sequence[str]) -> Subscription:
        """From the words of event.from: ``vm``, ``vm/OpaqueRef:...``, ``*``; classes in any letter case.

        EVENT_SUBSCRIPTION_PARSE_FAILURE for a word that names nothing this agent has.
        """
        names = {name.lower() for name, each in call.site.api.classes.items() if each.stored}
        classes: set[str] = set()
        objects: set[tuple[str, str]] = set()
        for word in words:
            name, slash, reference = word.partition("/")
            if word != "*" and name.lower() not in names:
                raise EventSubscriptionParseFailure(word[:200])
            if slash:
                objects.add((name.lower(), reference))
            elif word != "*":
                classes.add(name.lower())
        return cls("*" in words, frozenset(classes), frozenset(objects))

    def wants(self, entity: Entity) -> bool:
        """Whether this object is one of them."""
        name = entity.wire_name.lower()
        return entity.announced and (self.all or name in self.classes or (name, entity.ref) in self.objects)


@dataclass
class Registration:
    """A session's place among the changes, for event.next."""

    classes: frozenset[str]
    cursor: int


def token_of(call: Call, generation: int) -> str:
    """The token that means "all up to this change is known"."""
    return f"{generation:020d},{call.store.epoch:020d}"


def _generation(call: Call, token: str) -> int:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise EventFromTokenParseFailure(token[:200])
    if int(match[2]) != call.store.epoch:
        raise EventsLost
    return int(match[1])


def _merged(changes: Sequence[Change], subscription: Subscription) -> list[Change]:
    """One change an object: the last, as an add if the object is new to the client; none for what came and went."""
    last: dict[Entity, Change] = {}
    new: set[Entity] = set()
    for change in changes:
        entity = change.entity
        if not subscription.wants(entity):
            continue
        if change.operation == ADD:
            new.add(entity)
        elif change.operation == DEL and entity in new:
            new.discard(entity)
            last.pop(entity, None)
            continue
        last.pop(entity, None)
        last[entity] = change
    return [
        Change(change.generation, ADD, entity, change.timestamp) if entity in new else change
        for entity, change in last.items()
    ]


def _event(call: Call, change: Change) -> dict[str, Any]:
    entity = change.entity
    live = change.operation != DEL and call.store.is_live(entity)
    return {
        "id": str(change.generation),
        "timestamp": "0.0",
        "class": entity.wire_name.lower(),
        "operation": change.operation,
        "ref": entity.ref,
        "snapshot": entity if live else None,
    }


def _batch(call: Call, changes: Sequence[Change], generation: int) -> dict[str, Any]:
    classes = call.site.api.classes
    return {
        "events": [_event(call, change) for change in changes],
        "valid_ref_counts": {
            name.lower(): call.store.count(name) for name, cls in classes.items() if cls.stored and cls.announced
        },
        "token": token_of(call, generation),
    }


@message(Event, kind=Kind.WAIT, role=Role.READ_ONLY, name="from")
def from_(
    call: Call, classes: tuple[str, ...], token: str, timeout: float
) -> Generator[float, None, Annotated[dict[str, Any], BATCH]]:
    """Wait for changes of what `classes` names (a class, ``class/reference``, ``*``) since `token`, for `timeout`
    seconds.

    An empty token asks for everything as it is now, as events of the operation ``add``. The result has the events, one
    an object, the next token, and how many objects of each class there are; without a change in time it has no events.
    EVENTS_LOST where changes since the token are no longer known: begin again with an empty token.
    """
    subscription = Subscription.parse(call, classes)
    store = call.store
    deadline = monotonic() + min(max(timeout, 0.0), WAIT_MAX_SECONDS)
    if token == "":
        generation = store.changes.generation
        found = [
            Change(generation, ADD, entity, 0.0)
            for cls in call.site.api.classes.values()
            if cls.stored and cls.announced
            for entity in store.all(cls)
            if subscription.wants(entity)
        ]
        if found or timeout <= 0:
            return _batch(call, found, generation)
    else:
        generation = _generation(call, token)
        if generation != store.changes.generation:
            yield -GATHER_SECONDS  # a client that is behind is a busy one: let more gather
    while True:
        answer = _shared_batch(call, classes, subscription, generation)
        left = deadline - monotonic()
        if answer["events"] or left <= 0:
            return answer
        generation = _generation(call, answer["token"])
        yield left


def _shared_batch(call: Call, classes: tuple[str, ...], subscription: Subscription, since: int) -> Shared:
    """What changed since a generation. Clients at the same place get the same batch, which is written once for all."""
    batches = call.site.batches
    now = monotonic()
    made, batch = batches.get((classes, since), (0.0, None))
    if batch is not None and now - made < SHARED_SECONDS:
        return cast(Shared, batch)
    changes = call.store.changes.since(since)
    newest = changes[-1].generation if changes else since
    batch = Shared(_batch(call, _merged(changes, subscription), newest))
    if changes:
        if len(batches) >= BATCHES_KEPT:
            batches.clear()
        batches[classes, since] = (now, batch)
    return batch


@message(Event, kind=Kind.WRITE, role=Role.READ_ONLY)
def register(call: Call, classes: tuple[str, ...]) -> None:
    """Let this session hear of these classes through event.next; ``*`` or none at all means every class.

    What changed before is not told. Use event.from instead: it forgets nothing.
    """
    names = {name.lower() for name in classes} or {"*"}
    Subscription.parse(call, tuple(names))
    registrations = call.site.sessions.registrations
    if call.session is None:
        return
    known = registrations.get(call.session)
    if known is None:
        registrations[call.session] = Registration(frozenset(names), call.store.changes.generation)
    else:
        known.classes |= names


@message(Event, kind=Kind.WRITE, role=Role.READ_ONLY)
def unregister(call: Call, classes: tuple[str, ...]) -> None:
    """Let this session no longer hear of these classes; none at all means every one."""
    registrations = call.site.sessions.registrations
    if call.session is None or call.session not in registrations:
        return
    known = registrations[call.session]
    known.classes = frozenset() if not classes else known.classes - {name.lower() for name in classes}
    if not known.classes:
        del registrations[call.session]


@message(Event, kind=Kind.WAIT, role=Role.READ_ONLY)
def next(call: Call) -> Generator[float, None, Annotated[tuple[dict[str, Any], ...], Set(NEXT)]]:
    """Wait for changes of the classes that this session registered for, and return them, each once.

    SESSION_NOT_REGISTERED before event.register; EVENTS_LOST where the session asked too seldom.
    """
    while True:
        known = call.site.sessions.registrations.get(call.session) if call.session is not None else None
        if known is None:
            raise SessionNotRegistered(call.secret)
        subscription = Subscription("*" in known.classes, known.classes, frozenset())
        try:
            changes = call.store.changes.since(known.cursor)
        except EventsLost:
            known.cursor = call.store.changes.generation  # what comes from now on is told again
            raise
        if changes:
            known.cursor = changes[-1].generation
        events = [change for change in changes if subscription.wants(change.entity)]
        if events:
            return tuple(
                {
                    **_event(call, change),
                    "id": change.generation,
                    "timestamp": datetime.fromtimestamp(change.timestamp, UTC),
                    "obj_uuid": change.entity.uuid,
                }
                for change in events
            )
        yield NEXT_WAIT_SECONDS


@message(Event, kind=Kind.READ, role=Role.READ_ONLY)
def get_current_id(call: Call) -> int:
    """The number of the newest change."""
    return call.store.changes.generation


@message(Event, kind=Kind.READ, role=Role.READ_ONLY)
def inject(call: Call, class_: str, ref: str) -> str:
    """Make an event of the operation ``mod`` for an object that did not change. Returns the token just before it.

    HANDLE_INVALID if there is no such object.
    """
    names = {name.lower(): name for name in call.site.api.classes}
    entity = call.store.find(names.get(class_.lower(), ""), ref)
    if entity is None:
        raise HandleInvalid(class_, ref)
    before = call.store.changes.generation
    call.store.changes.publish([(MOD, entity)])
    return token_of(call, before)

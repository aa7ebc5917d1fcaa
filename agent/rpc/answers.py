"""Answers in pieces: what has been written once is shared, and long writing lets others have their turn.

Both wire formats write results as a list of byte strings, most of them records that objects keep until they change. All
records of a big class are put together once for every state of the class, whoever asks. What the bytes look like is
``agent.rpc.xmlrpc``'s and ``agent.rpc.jsonrpc``'s business, and how they are sent ``agent.rpc.server``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.model import types
from agent.model.entity import Entity
from agent.model.messages import Shared
from agent.model.types import Type
from agent.store.store import Store

CHUNK = 256 * 1024
"""Octets that are handed to the transport at a time."""
SLICE = 50
"""Records that are written before the loop has its turn: about a millisecond of those with ninety fields."""
SHARED_MIN = 32
"""Objects from which on all records of a class are kept in one piece."""
SHARED_SECONDS = 30.0
"""How long they are kept. A crowd of clients comes at once, and memory is needed for other things."""

Steps = Iterator[None]
"""Yields after every record that was written."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire format: how it writes a value, a record, and a map from references to records."""

    steps: Callable[[Type, Any, list[bytes]], Steps]
    record: Callable[[Entity], bytes]
    member: Callable[[Entity], bytes]
    """What stands before the record of an object."""
    opening: bytes
    between: bytes
    """What stands between a record and the next member."""
    closing: bytes
    """What stands behind the last record."""


def date_text(value: datetime) -> str:
    """A point in time as both wire formats write it: ``20260821T02:00:23Z``."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return f"{value.year:04}{value.month:02}{value.day:02}T{value.hour:02}:{value.minute:02}:{value.second:02}Z"


async def packed(pieces: list[bytes], chunk: int = CHUNK) -> list[bytes]:
    """The same octets in few chunks, of about `chunk` octets."""
    chunks: list[bytes] = []
    begin = size = 0
    for end, piece in enumerate(pieces, 1):
        size += len(piece)
        if size >= chunk:
            chunks.append(b"".join(pieces[begin:end]))
            begin, size = end, 0
            if len(chunks) % 4 == 0:
                await asyncio.sleep(0)
    if begin < len(pieces) or not chunks:
        chunks.append(b"".join(pieces[begin:]))
    return chunks


@dataclass(slots=True)
class _Shared:
    """All records of a class as they were at one version of it, or the task that puts them together."""

    version: int
    making: asyncio.Task[list[bytes]]


class Answers:
    """Writes results in one wire format. Belongs to the loop that uses it."""

    def __init__(self, store: Store, wire: Wire) -> None:
        self._store = store
        self._wire = wire
        self._shared: dict[str, _Shared] = {}

    async def write(self, kind: Type, value: Any) -> list[bytes]:
        """The value in chunks. Every record in it is of one moment; two of them need not be of the same."""
        if isinstance(kind, types.Map) and isinstance(kind.value, types.Record) and len(value) >= SHARED_MIN:
            name = str(next(iter(value)).wire_name)
            with self._store.lock:
                version = self._store.versions[name] if self._is_all_of(name, value) else None
            if version is not None:
                return await self._all_records(name, version, value)
        if isinstance(value, Shared):
            known: list[bytes] | None = value.written.get(self)
            if known is None:
                known = value.written[self] = await self._pieces(kind, value)
            return known
        return await self._pieces(kind, value)

    async def _pieces(self, kind: Type, value: Any) -> list[bytes]:
        pieces: list[bytes] = []
        for written, _ in enumerate(self._wire.steps(kind, value, pieces), 1):
            if written % SLICE == 0:
                await asyncio.sleep(0)
        return await packed(pieces)

    def _is_all_of(self, class_name: str, value: Mapping[Any, Any]) -> bool:
        """Whether these are the records of all objects of the class, and of nothing else.

        Keys are distinct: if all are live and as many as the class has, none is missing.
        """
        store = self._store
        if len(value) != store.count(class_name):
            return False
        for key, entity in value.items():
            if key is not entity or entity._store is not store or entity.wire_name != class_name:
                return False
        return True

    async def _all_records(self, class_name: str, version: int, value: Mapping[Entity, Entity]) -> list[bytes]:
        shared = self._shared.get(class_name)
        if shared is None or shared.version != version:
            loop = asyncio.get_running_loop()
            shared = _Shared(version, loop.create_task(self._join(list(value))))
            self._shared[class_name] = shared
            loop.call_later(SHARED_SECONDS, self._forget, class_name, shared)
        # Another client may wait for the same: one that goes away must not take the work along.
        return await asyncio.shield(shared.making)

    async def _join(self, entities: list[Entity]) -> list[bytes]:
        wire = self._wire
        pieces = [wire.opening]
        for number, entity in enumerate(entities):
            if number:
                pieces.append(wire.between)
                if number % SLICE == 0:
                    await asyncio.sleep(0)
            pieces += (wire.member(entity), wire.record(entity))
        pieces.append(wire.closing)
        return await packed(pieces)

    def _forget(self, class_name: str, shared: _Shared) -> None:
        if self._shared.get(class_name) is shared:
            del self._shared[class_name]

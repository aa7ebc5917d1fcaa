"""JSON-RPC as xapi speaks it, versions 1.0 and 2.0: bytes to a method name and raw values, typed results to bytes.

The versions are told apart by the member ``jsonrpc``; they differ in the envelope only. Parameters go by position, ints
are numbers, dates are text, void is ``""``. orjson writes; it does not read, since of two members with the same name it
silently keeps the last. What a value means, ``agent.model.types`` decides; how bytes travel, ``agent.rpc.server``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from agent.model import types
from agent.model.entity import Entity
from agent.model.types import INT_MAX, INT_MIN, NULL, Type
from agent.rpc.answers import Steps, Wire, date_text
from agent.rpc.xmlrpc import VALUES_MAX

DEPTH_MAX = 64
DIGITS_MAX = 20
MARKS_MAX = 2 * VALUES_MAX
"""Brackets, braces and commas of a call: a value takes one or two of them, and texts may have some."""

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Malformed(Exception):
    """The bytes are no call. `answer` is the whole of what the client is told."""

    def __init__(self, code: int, reason: str, *, version: int = 2, id: Any = None) -> None:
        super().__init__(reason)
        self.answer = _refusal(version, id, code, reason)


@dataclass(frozen=True, slots=True)
class Request:
    """One call, and what its answer needs to know of it."""

    method: str
    params: list[Any]
    version: int
    id: Any

    def success(self) -> tuple[bytes, bytes]:
        """What stands before and after the value of a success."""
        if self.version == 2:
            return b'{"jsonrpc":"2.0","result":', b',"id":' + orjson.dumps(self.id) + b"}"
        return b'{"result":', b',"error":null,"id":' + orjson.dumps(self.id) + b"}"

    def failure(self, description: Sequence[str]) -> bytes:
        """The answer to a call that failed: the code and its parameters."""
        if self.version == 2:
            error = {"code": 1, "message": description[0], "data": list(description[1:])}
            return dumps({"jsonrpc": "2.0", "error": error, "id": self.id})
        return dumps({"result": None, "error": list(description), "id": self.id})


def _refusal(version: int, id: Any, code: int, reason: str) -> bytes:
    if version == 2:
        return dumps({"jsonrpc": "2.0", "error": {"code": code, "message": reason}, "id": id})
    return dumps({"result": None, "error": ["INTERNAL_ERROR", reason], "id": id})


# --- reading


class _Unreadable(Exception):
    """The text is no JSON that is read here."""


def decode(body: bytes) -> Request:
    """Read a call; Malformed for anything else."""
    opening = body.count(b"[") + body.count(b"{")
    if opening + body.count(b",") > MARKS_MAX:
        raise Malformed(PARSE_ERROR, f"there are more than {MARKS_MAX} brackets and commas")
    try:
        value = _DECODER.decode(body.decode())
        if opening > DEPTH_MAX:
            _check_depth(value)
        if b"\\u" in body:
            _check_text(value)
    except UnicodeDecodeError:
        raise Malformed(PARSE_ERROR, "not UTF-8") from None
    except _Unreadable as error:
        raise Malformed(PARSE_ERROR, str(error)) from None
    except RecursionError:
        raise Malformed(PARSE_ERROR, f"values nest deeper than {DEPTH_MAX}") from None
    except ValueError as error:
        raise Malformed(PARSE_ERROR, f"not JSON: {str(error)[:200]}") from None
    return _request(value)


def _request(value: Any) -> Request:
    if isinstance(value, list):
        raise Malformed(INVALID_REQUEST, "batches are not served: send one call at a time")
    if not isinstance(value, dict):
        raise Malformed(INVALID_REQUEST, "a call is an object")
    id = value.get("id")
    spoken = value.get("jsonrpc", "1.0")
    version = 1 if spoken == "1.0" else 2
    known = isinstance(id, str) or (
        isinstance(id, (int, float)) and not isinstance(id, bool) and INT_MIN <= id <= INT_MAX
    )
    if not known and (version == 2 or id is not None):
        raise Malformed(INVALID_REQUEST, "a call needs an id, which is text or a number", version=version)
    if spoken not in ("1.0", "2.0"):
        raise Malformed(INVALID_REQUEST, "the versions served are 1.0 and 2.0", id=id)
    method, params = value.get("method"), value.get("params")
    if params is None:
        params = []
    if not isinstance(method, str):
        raise Malformed(INVALID_REQUEST, "the call names no method", version=version, id=id)
    if not isinstance(params, list):
        raise Malformed(INVALID_PARAMS, "parameters go by position, in an array", version=version, id=id)
    return Request(method, params, version, id)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        raise _Unreadable("an object has the same member twice")
    return made


def _integer(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise _Unreadable(f"an integer has more than {DIGITS_MAX} digits")
    return int(digits)


def _constant(name: str) -> None:
    raise _Unreadable(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_constant=_constant)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                deeper += item.values()
            elif isinstance(item, list):
                deeper += item
        if not deeper:
            return
        level = deeper
    if any(isinstance(item, (dict, list)) for item in level):
        raise _Unreadable(f"values nest deeper than {DEPTH_MAX}")


def _check_text(value: Any) -> None:
    r"""Refuse what only an escape such as ``\ud800`` can smuggle in: half a character, which no answer could quote."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if _LONE_SURROGATE.search(item):
                raise _Unreadable("text has half of a surrogate pair")
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            waiting += item
            waiting += item.values()


# --- writing values


def dumps(value: Any) -> bytes:
    """JSON. What UTF-8 cannot carry never gets past the types; if it does, it becomes U+FFFD here."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_printable(value))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, (list, tuple)):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Writer:
    """How values of one type are written: as what orjson takes, or, where there are records in it, step by step."""

    plain: Callable[[Any], Any] | None
    steps: Callable[[Any, list[bytes]], Steps]


@cache
def writer(kind: Type) -> Writer:
    """The writer of a type. There are as many as there are types of results."""
    match kind:
        case types.Record():
            return Writer(None, _record_steps)
        case types.Set():
            return _set_writer(kind)
        case types.Map():
            return _map_writer(kind)
        case types.Struct():
            return _struct_writer(kind)
        case types.Void():
            return _plain(lambda value: "")
        case types.String() | types.Enum() | types.Int() | types.Float() | types.Bool():
            return _plain(_same)
        case types.DateTime():
            return _plain(date_text)
        case types.Ref():
            return _plain(_reference)
    raise TypeError(f"{kind} has no form in JSON")


def _same(value: Any) -> Any:
    return value


def _reference(value: Entity | None) -> str:
    return NULL if value is None else value.ref


def _plain(make: Callable[[Any], Any]) -> Writer:
    def steps(value: Any, out: list[bytes]) -> Steps:
        out.append(dumps(make(value)))
        return iter(())

    return Writer(make, steps)


def _key(kind: Type) -> Callable[[Any], str]:
    match kind:
        case types.String() | types.Enum():
            return str
        case types.Ref():
            return _reference
    return lambda key: str(kind.dump(key))


def _set_writer(kind: types.Set) -> Writer:
    inner = writer(kind.of)
    if inner.plain is _same:
        return _plain(_same)
    if inner.plain is not None:
        make = inner.plain
        return _plain(lambda value: [make(item) for item in value])

    def steps(value: Collection[Any], out: list[bytes]) -> Iterator[None]:
        before = b"["
        for item in value:
            out.append(before)
            yield from inner.steps(item, out)
            before = b","
        out.append(b"]" if value else b"[]")

    return Writer(None, steps)


def _map_writer(kind: types.Map) -> Writer:
    inner, key = writer(kind.value), _key(kind.key)
    if inner.plain is _same and isinstance(kind.key, types.String):
        return _plain(_same)
    if inner.plain is not None:
        make = inner.plain
        return _plain(lambda value: {key(name): make(item) for name, item in value.items()})

    def steps(value: Mapping[Any, Any], out: list[bytes]) -> Iterator[None]:
        before = b"{"
        for name, item in value.items():
            out.append(before + dumps(key(name)) + b":")
            yield from inner.steps(item, out)
            before = b","
        out.append(b"}" if value else b"{}")

    return Writer(None, steps)


def _struct_writer(kind: types.Struct) -> Writer:
    members = [(name, writer(of)) for name, of in kind.members]

    def steps(value: Mapping[str, Any], out: list[bytes]) -> Iterator[None]:
        before = b"{"
        plain: dict[str, Any] = {}
        for name, inner in members:
            if name in kind.optional and value.get(name) is None:
                continue
            if inner.plain is not None:
                plain[name] = inner.plain(value[name])
                continue
            if plain:
                out.append(before + dumps(plain)[1:-1])
                before, plain = b",", {}
            out.append(before + dumps(name) + b":")
            yield from inner.steps(value[name], out)
            before = b","
        if plain:
            out.append(before + dumps(plain)[1:])
        else:
            out.append(b"{}" if before == b"{" else b"}")

    return Writer(None, steps)


# --- writing records


@cache
def _record_writer(cls: type[Any]) -> Callable[[Entity], bytes]:
    """The writer of a sealed class."""
    plan: list[tuple[str, Callable[[Any], Any]]] = []
    for name, field in cls.wire_fields.items():
        make = writer(field.type).plain
        if make is None:
            raise TypeError(f"{cls.wire_name}.{name} is a record in a record")
        plan.append((name, make))

    def encode(entity: Entity) -> bytes:
        held = entity.__dict__
        return dumps({name: make(held[name]) for name, make in plan})

    return encode


def record(entity: Entity) -> bytes:
    """The record of an object. The object keeps it until a field of it changes, which is the store's to notice."""
    kept: bytes | None = entity._json
    if kept is not None:
        return kept
    cls: Any = type(entity)
    encode = _record_writer(cls)
    store = entity._store
    if store is None:
        return encode(entity)
    with store.lock:
        made = encode(entity)
        object.__setattr__(entity, "_json", made)
    return made


def _record_steps(entity: Entity, out: list[bytes]) -> Iterator[None]:
    out.append(record(entity))
    yield


def _member(entity: Entity) -> bytes:
    return f'"{entity.ref}":'.encode()


def _steps(kind: Type, value: Any, out: list[bytes]) -> Steps:
    return writer(kind).steps(value, out)


WIRE = Wire(steps=_steps, record=record, member=_member, opening=b"{", between=b",", closing=b"}")

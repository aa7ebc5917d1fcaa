"""Reads the expressions of get_all_records_where: ``field "name__label"="web" and not field "power_state"="Halted"``.

Values are compared as stored text, as xapi does: an int by its digits, a truth as ``true`` or ``false``, a reference as
itself. Namespaced fields are written with two underscores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from agent.errors import InvalidValue
from agent.model.entity import Entity
from agent.model.types import NULL, DateTime

Predicate = Callable[[Entity], bool]
_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\w+)|([()=]))')
_DEPTH = 50


def stored_text(value: Any) -> str:
    """A value as the comparison sees it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return NULL
    if isinstance(value, Entity):
        return value.ref
    if isinstance(value, datetime):
        return DateTime().dump(value)
    if isinstance(value, tuple):
        return "(" + " ".join(f"'{stored_text(item)}'" for item in value) + ")"
    if isinstance(value, Mapping):
        return "(" + " ".join(f"('{stored_text(key)}' '{stored_text(item)}')" for key, item in value.items()) + ")"
    return str(value)


def compile_where(cls: type[Entity], expr: str) -> Predicate:
    """The test that the expression is; INVALID_VALUE, saying where it stopped making sense, for one that is none."""
    return _Parser(cls, expr).whole()


class _Parser:
    def __init__(self, cls: type[Entity], expr: str) -> None:
        self._cls, self._expr = cls, expr
        self._tokens: list[tuple[str, str]] = []
        position = 0
        text = expr.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(f"cannot read it from {text[position : position + 20]!r} on")
            string, word, mark = match.groups()
            if string is not None:
                self._tokens.append(("string", re.sub(r"\\(.)", r"\1", string)))
            else:
                self._tokens.append(("word" if word else "mark", word or mark))
            position = match.end()
        self._next = 0

    def whole(self) -> Predicate:
        result = self._either(0)
        if self._next != len(self._tokens):
            raise self._error(f"{self._tokens[self._next][1]!r} is one word too many")
        return result

    def _error(self, reason: str) -> InvalidValue:
        return InvalidValue("expr", f"{self._expr[:200]!r}: {reason}")

    def _take(self) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            raise self._error("it ends too early")
        self._next += 1
        return self._tokens[self._next - 1]

    def _peek(self, word: str) -> bool:
        return self._next < len(self._tokens) and self._tokens[self._next] == ("word", word)

    def _either(self, depth: int) -> Predicate:
        parts = [self._both(depth)]
        while self._peek("or"):
            self._next += 1
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda entity: any(part(entity) for part in parts)

    def _both(self, depth: int) -> Predicate:
        parts = [self._one(depth)]
        while self._peek("and"):
            self._next += 1
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else lambda entity: all(part(entity) for part in parts)

    def _one(self, depth: int) -> Predicate:
        if depth > _DEPTH:
            raise self._error(f"it nests deeper than {_DEPTH}")
        token = self._take()
        if token == ("word", "true"):
            return lambda entity: True
        if token == ("word", "false"):
            return lambda entity: False
        if token == ("word", "not"):
            inner = self._one(depth + 1)
            return lambda entity: not inner(entity)
        if token == ("mark", "("):
            inner = self._either(depth + 1)
            if self._take() != ("mark", ")"):
                raise self._error("a parenthesis is not closed")
            return inner
        if token == ("word", "field"):
            return self._comparison()
        raise self._error(f"{token[1]!r} is none of field, true, false, not and (")

    def _comparison(self) -> Predicate:
        kind, written = self._take()
        name = written.replace("__", "_")
        if kind != "string" or name not in self._cls.wire_fields:
            raise self._error(f"{self._cls.wire_name} has no field {written!r}")
        if self._take() != ("mark", "="):
            raise self._error("a field is compared with =")
        kind, wanted = self._take()
        if kind != "string":
            raise self._error("a value is written in double quotes")
        return lambda entity: stored_text(entity.__dict__[name]) == wanted

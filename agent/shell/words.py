"""The sealed table as plain data: what the command line needs to know of classes, fields, messages and errors.

It is made from the table by ``table`` and kept by ``cache``, since to import the whole model takes several times what
a command takes. A class is unpacked when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

READ_WRITE, CONSTRUCTOR = "RW", "RO/constructor"


def spell(name: str) -> str:
    """A name of the wire as the command line writes it: ``VM_guest_metrics`` is ``vm-guest-metrics``."""
    if "_" not in name:
        name = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "-", name)
    return name.replace("_", "-").lower()


def key(name: str) -> str:
    """What two spellings of one name have in common: neither hyphens, nor underscores, nor the case of letters."""
    return name.replace("_", "").replace("-", "").lower()


@dataclass(frozen=True)
class Shape:
    """A type of the wire."""

    kind: str
    """``string``, ``int``, ``float``, ``bool``, ``datetime``, ``enum``, ``ref``, ``set``, ``map``, ``record``,
    ``void``; ``other`` for what only ever is a result.
    """
    name: str
    """How the reference writes it."""
    to: str = ""
    """The class of a ref or a record."""
    words: tuple[str, ...] = ()
    """Those of an enum."""
    parts: tuple[Shape, ...] = ()
    """The element of a set; key and value of a map."""
    nullable: bool = False

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Shape:
        """The inverse of asdict."""
        parts = tuple(cls.load(part) for part in data["parts"])
        return cls(data["kind"], data["name"], data["to"], tuple(data["words"]), parts, data["nullable"])


@dataclass(frozen=True)
class Word:
    """A field or a parameter."""

    name: str
    shape: Shape
    doc: str = ""
    required: bool = False
    default: str = ""
    """For people; empty where nobody needs to be told."""
    qualifier: str = ""
    """Of a field: RW, RO/constructor or RO/runtime."""

    @property
    def label(self) -> str:
        """How the command line writes its name."""
        return spell(self.name)

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Word:
        """The inverse of asdict."""
        return cls(**{**data, "shape": Shape.load(data["shape"])})


@dataclass(frozen=True)
class Verb:
    """A message that is more than access to one field."""

    class_name: str
    name: str
    params: tuple[Word, ...]
    result: Shape
    has_async: bool
    role: str
    """The least role that may send it; empty: it takes no session."""
    doc: str
    errors: tuple[str, ...]
    """The codes of errors that are known beforehand."""

    @property
    def full_name(self) -> str:
        """``Class.message``."""
        return f"{self.class_name}.{self.name}"

    @property
    def subject(self) -> Word | None:
        """The first parameter, where it is the object that the verb is sent to."""
        first = self.params[0] if self.params else None
        return first if first is not None and first.shape.kind == "ref" and first.shape.to == self.class_name else None

    @property
    def record(self) -> bool:
        """Whether it takes a record, as create does: its fields are given one by one."""
        return len(self.params) == 1 and self.params[0].shape.kind == "record"

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Verb:
        """The inverse of asdict."""
        params = tuple(Word.load(param) for param in data["params"])
        made = {"params": params, "result": Shape.load(data["result"]), "errors": tuple(data["errors"])}
        return cls(**{**data, **made})


@dataclass(frozen=True)
class Noun:
    """A class, or another word before the dot."""

    name: str
    doc: str
    listed: bool
    """Whether there are objects of it to list."""
    fields: Mapping[str, Word]
    verbs: Mapping[str, Verb]
    accessors: frozenset[str]
    """The names of messages that read or change one field."""

    def field(self, name: str) -> Word | None:
        """The field of this name, in any spelling."""
        found = self._by_key.get(key(name))
        return None if found is None else self.fields[found]

    @cached_property
    def _by_key(self) -> Mapping[str, str]:
        return {key(name): name for name in self.fields}

    @property
    def constructor(self) -> tuple[Word, ...]:
        """The fields that create takes."""
        return tuple(word for word in self.fields.values() if word.qualifier in (READ_WRITE, CONSTRUCTOR))

    def can(self, change: str, field: str) -> bool:
        """Whether there is a message such as ``set_name_label``."""
        return f"{change}_{field}" in self.accessors

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Noun:
        """The inverse of asdict."""
        return cls(
            data["name"],
            data["doc"],
            data["listed"],
            {name: Word.load(word) for name, word in data["fields"].items()},
            {name: Verb.load(verb) for name, verb in data["verbs"].items()},
            frozenset(data["accessors"]),
        )


@dataclass(frozen=True)
class ErrorWords:
    """An error: what its parameters are and what it means."""

    params: tuple[str, ...]
    doc: str


class Words:
    """The whole table. `data` is as ``table`` makes it and JSON keeps it."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._nouns: dict[str, Noun] = {}

    def names(self) -> Iterator[str]:
        """The classes and other words before the dot."""
        return iter(self._data["nouns"])

    def noun(self, name: str) -> Noun:
        """The class of this wire name; KeyError for none such."""
        if name not in self._nouns:
            self._nouns[name] = Noun.load(self._data["nouns"][name])
        return self._nouns[name]

    def verbs(self, name: str) -> Iterator[str]:
        """The names of a class's verbs, without unpacking it."""
        return iter(self._data["nouns"][name]["verbs"])

    def accessors(self, name: str) -> frozenset[str]:
        """The names of a class's accessors, without unpacking it."""
        return frozenset(self._data["nouns"][name]["accessors"])

    def listed(self, name: str) -> bool:
        """Whether there are objects of a class, without unpacking it."""
        return bool(self._data["nouns"][name]["listed"])

    def error(self, code: str) -> ErrorWords | None:
        """What is known of an error."""
        found = self._data["errors"].get(code)
        return None if found is None else ErrorWords(tuple(found["params"]), found["doc"])

"""Types, fields and messages as the reference prints them, read back: for classes that are described in a few words.

(string -> string) map other_config =        a field; ``=`` clients set it, ``!`` they give it to create, else neither
void destroy(VGPU ref self) @pool-admin      a message, with a role of its own
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.model.entity import MISSING, Qualifier
from agent.model.messages import Param
from agent.model.types import (
    Bool,
    DateTime,
    Enum,
    Float,
    Int,
    Map,
    Record,
    Ref,
    Set,
    String,
    Type,
    Void,
    WireEnum,
)
from agent.roles import Role

SCALARS: Mapping[str, Type] = {each.name: each for each in (String(), Int(), Float(), Bool(), DateTime(), Void())}
QUALIFIERS = {"=": Qualifier.RW, "!": Qualifier.CONSTRUCTOR, "": Qualifier.RUNTIME}
_FIELD = re.compile(r"(.+) (\w+)(?: ([=!]))?")
_VERB = re.compile(r"(.+?) (\w+)\((.*)\)(?: @([\w-]+))?")
_PARAM = re.compile(r"(.+) (\w+)(?:=(.*))?")

Enums = Mapping[str, type[WireEnum]]


@dataclass(frozen=True)
class Verb:
    """A message as it is written down."""

    name: str
    params: tuple[Param, ...]
    result: Type
    role: Role | None
    """None: that of the class."""


def type_of(text: str, enums: Enums, *, nullable: bool = True) -> Type:
    """The type of this name; KeyError for one that is none."""
    if text.endswith(" set"):
        return Set(type_of(text.removesuffix(" set"), enums))
    if text.endswith(") map"):
        key, _, value = text.removeprefix("(").removesuffix(") map").partition(" -> ")
        return Map(type_of(key, enums), type_of(value, enums))
    if text.endswith(" ref"):
        return Ref(text.removesuffix(" ref"), nullable=nullable)
    if text.endswith(" record"):
        return Record(text.removesuffix(" record"))
    if text.startswith("enum "):
        return Enum(enums[text.removeprefix("enum ")])
    return SCALARS[text]


def fields_of(text: str, enums: Enums) -> Iterator[tuple[str, Type, Qualifier]]:
    """Name, type and qualifier of each field, which are apart by semicolons."""
    for item in _items(text):
        kind, name, mark = _matched(_FIELD, item)
        yield name, type_of(kind, enums), QUALIFIERS[mark or ""]


def verbs_of(text: str, enums: Enums) -> Iterator[Verb]:
    """Each message, which are apart by semicolons."""
    for item in _items(text):
        result, name, params, role = _matched(_VERB, item)
        yield Verb(
            name,
            tuple(_param(each, enums) for each in params.split(", ") if each),
            type_of(result, enums),
            Role.from_wire(role) if role else None,
        )


def _param(text: str, enums: Enums) -> Param:
    """``string device="0"``: the default is JSON."""
    kind, name, default = _matched(_PARAM, text)
    given = MISSING if default is None else json.loads(default)
    return Param(name, type_of(kind, enums, nullable=default is not None), given)


def _items(text: str) -> Iterator[str]:
    return (item for part in text.split(";") if (item := " ".join(part.split())))


def _matched(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} cannot be read")
    return match.groups()

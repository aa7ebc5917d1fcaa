"""The types a value can have on the wire, and how one that a client sent becomes one the agent keeps.

A type is made from a Python annotation by `of`. It knows its wire name, its neutral default, how to decode what a
parser of any wire format hands over (`str`, `int`, `float`, `bool`, `datetime`, `list`, `dict`) and how the journal
keeps it. How a value is written in XML or JSON is not here: see ``agent.rpc``.

Over the usual size: the types are a few lines each, and made of each other.
"""

from __future__ import annotations

import math
import re
import types as python
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from agent.errors import CreateUnspecifiedAttribute, HandleInvalid

if typing.TYPE_CHECKING:
    from agent.model.entity import Entity, Field

NULL = "OpaqueRef:NULL"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

# What XML 1.0 cannot carry, and lone surrogates, which UTF-8 cannot: text with one of these would end some reader.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DATE = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_DUMPED = re.compile(r"\d{8}T\d\d:\d\d:\d\dZ", re.ASCII)
_INT = re.compile(r"\s*[+-]?[0-9]{1,20}\s*", re.ASCII)

Find = Callable[[str, str], "Entity | None"]
"""Looks up a live object by class name on the wire and reference."""


class WireEnum(StrEnum):
    """A closed list of words: ``class PowerState(WireEnum, name="vm_power_state")``. The first is the neutral one."""

    wire_name: ClassVar[str]

    def __init_subclass__(cls, *, name: str, **options: object) -> None:
        super().__init_subclass__(**options)
        cls.wire_name = name


class Mistyped(Exception):
    """The value cannot be read as the type."""


class Refused(Exception):
    """The value has the right type and lies outside what it may be; the argument says why."""


class Type:
    """A type of the wire. Types are compared by name.

    Not an abstract base class: those make ``isinstance`` slow (CPython 3.11), which codecs ask for every value.
    """

    @property
    def name(self) -> str:
        """How the reference writes it, such as ``(string -> VM ref) map``."""
        raise TypeError(f"{type(self)} has no name")

    @property
    def default(self) -> Any:
        """The neutral value."""
        raise TypeError(f"{self} has no neutral value")

    @property
    def plain(self) -> bool:
        """Whether the journal keeps the value just as it is."""
        return False

    def decode(self, value: object, find: Find) -> Any:
        """The value as the agent keeps it. Mistyped, Refused, or HANDLE_INVALID where it is none."""
        raise Mistyped

    def dump(self, value: Any) -> Any:
        """The value as JSON can keep it in the journal."""
        return value

    def load(self, value: Any, find: Find) -> Any:
        """The inverse of dump. What no longer fits the declaration raises Mistyped, Refused or HANDLE_INVALID."""
        return self.decode(value, find)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Void(Type):
    """No value: a message that only does something."""

    name = "void"
    default = None

    def decode(self, value: object, find: Find) -> None:
        return None


@dataclass(frozen=True)
class String(Type):
    """Text that every reader can be shown again: no control characters but tab and line ends, no lone surrogates."""

    name = "string"
    plain = True
    default = ""

    def load(self, value: Any, find: Find) -> Any:
        if type(value) is not str:
            raise Mistyped
        return value

    def decode(self, value: object, find: Find) -> str:
        if not isinstance(value, str):
            raise Mistyped
        if UNPRINTABLE.search(value):
            raise Refused("it has a character that XML cannot carry")
        return value


@dataclass(frozen=True)
class SessionSecret(String):
    """What login returns: it looks like a reference to a session, and is the secret by which clients use it."""

    name = "session ref"


@dataclass(frozen=True)
class Int(Type):
    """A 64-bit integer. Read from a number or from decimal digits."""

    name = "int"
    plain = True
    default = 0

    def load(self, value: Any, find: Find) -> Any:
        if type(value) is not int:
            raise Mistyped
        return value

    def decode(self, value: object, find: Find) -> int:
        if (isinstance(value, str) and _INT.fullmatch(value)) or (isinstance(value, float) and value.is_integer()):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Mistyped
        if not INT_MIN <= value <= INT_MAX:
            raise Refused("it does not fit into 64 bits")
        return value


@dataclass(frozen=True)
class Int32(Int):
    """The one int that xapi writes as a number into XML: the counts of event.from."""


@dataclass(frozen=True)
class Flags(Int):
    """An int whose bits have names in the original API: ``flags xs_type``."""

    name: str = "int"


@dataclass(frozen=True)
class Float(Type):
    """A double. Read from a number or from text."""

    name = "float"
    plain = True
    default = 0.0

    def load(self, value: Any, find: Find) -> Any:
        if type(value) not in (int, float):
            raise Mistyped
        return float(value)

    def decode(self, value: object, find: Find) -> float:
        if isinstance(value, str) and len(value) < 64:
            try:
                value = float(value)
            except ValueError:
                raise Mistyped from None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise Mistyped
        try:
            number = float(value)
        except OverflowError:
            raise Refused("it is too large") from None
        if not math.isfinite(number):
            raise Refused("it is no finite number")
        return number


@dataclass(frozen=True)
class Bool(Type):
    """Truth. Text is not taken for it."""

    name = "bool"
    plain = True
    default = False

    def load(self, value: Any, find: Find) -> Any:
        if type(value) is not bool:
            raise Mistyped
        return value

    def decode(self, value: object, find: Find) -> bool:
        if isinstance(value, bool):
            return value
        raise Mistyped


@dataclass(frozen=True)
class DateTime(Type):
    """A point in time, kept in UTC to the second. Read in the forms of XML-RPC and RFC 3339; without a zone it is
    UTC.
    """

    name = "datetime"
    default = EPOCH

    def decode(self, value: object, find: Find) -> datetime:
        if isinstance(value, datetime):
            try:
                return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
            except OverflowError:
                raise Refused("there is no such date") from None
        if not isinstance(value, str):
            raise Mistyped
        if value == "":
            return EPOCH
        match = _DATE.fullmatch(value.strip())
        if match is None:
            raise Mistyped
        year, month, day, hour, minute, second, zone = match.groups()
        offset = "+0000" if zone in (None, "Z") else zone.replace(":", "")
        try:
            text = f"{year}{month}{day}T{hour or '00'}{minute or '00'}{second or '00'}{offset}"
            return datetime.strptime(text, "%Y%m%dT%H%M%S%z").astimezone(UTC)
        except (ValueError, OverflowError):
            raise Refused("there is no such date") from None

    def load(self, value: Any, find: Find) -> Any:
        if isinstance(value, str) and _DUMPED.fullmatch(value):
            part = [int(value[begin:end]) for begin, end in ((0, 4), (4, 6), (6, 8), (9, 11), (12, 14), (15, 17))]
            try:
                return datetime(*part, tzinfo=UTC)  # type: ignore[arg-type,misc]
            except ValueError:
                raise Refused("there is no such date") from None
        return self.decode(value, find)

    def dump(self, value: datetime) -> str:
        # Not %Y: glibc writes the year 1, which clients in Go send for a date that is not set, without its zeros.
        return f"{value.year:04}{value:%m%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Enum(Type):
    """One of a closed list of words. Read in any letter case, as xapi does; ``""`` is the neutral one."""

    of: type[WireEnum]

    @property
    def name(self) -> str:
        return f"enum {self.of.wire_name}"

    plain = True

    @property
    def default(self) -> WireEnum:
        return next(iter(self.of))

    def decode(self, value: object, find: Find) -> WireEnum:
        if not isinstance(value, str):
            raise Mistyped
        if value == "":
            return self.default
        try:
            return self.of(value)
        except ValueError:
            folded = value.lower()
            for member in self.of:
                if member.value.lower() == folded:
                    return member
            raise Refused(f"it is none of {', '.join(self.of)}") from None


@dataclass(frozen=True)
class Ref(Type):
    """A reference to an object of one class, kept as that object. Where it may be null, that is None, and read from
    ``""`` and a null of JSON or XML too.
    """

    to: str
    nullable: bool = False

    @property
    def name(self) -> str:
        return f"{self.to} ref"

    default = None

    def decode(self, value: object, find: Find) -> Entity | None:
        if self.nullable and value in (None, "", NULL):
            return None
        if not isinstance(value, str):
            raise Mistyped
        found = find(self.to, value)
        if found is None:
            raise HandleInvalid(self.to, value[:200])
        return found

    def dump(self, value: Entity | None) -> str:
        return NULL if value is None else value.ref


@dataclass(frozen=True)
class Set(Type):
    """Values without order and without duplicates, kept as a tuple in the order they came. Null has none."""

    of: Type
    default = ()

    @property
    def name(self) -> str:
        return f"{self.of.name} set"

    def decode(self, value: object, find: Find) -> tuple[Any, ...]:
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)):
            raise Mistyped
        return tuple(dict.fromkeys(self.of.decode(item, find) for item in value))

    @property
    def plain(self) -> bool:
        return self.of.plain

    def dump(self, value: tuple[Any, ...]) -> list[Any]:
        return [self.of.dump(item) for item in value]


@dataclass(frozen=True)
class Map(Type):
    """Keys and values, kept as a dict that nobody changes in place. Null has none."""

    key: Type
    value: Type

    @property
    def name(self) -> str:
        return f"({self.key.name} -> {self.value.name}) map"

    @property
    def default(self) -> dict[Any, Any]:
        return {}

    def decode(self, value: object, find: Find) -> dict[Any, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise Mistyped
        return {self.key.decode(key, find): self.value.decode(item, find) for key, item in value.items()}

    @property
    def plain(self) -> bool:
        return self.key.plain and self.value.plain

    def dump(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        return {str(self.key.dump(key)): self.value.dump(item) for key, item in value.items()}


@dataclass(frozen=True)
class Record(Type):
    """All fields of an object. As a result it is the object itself, written out; as a parameter it is what create
    takes.
    """

    of: str
    fields: Mapping[str, Field] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.of} record"

    def decode(self, value: object, find: Find) -> dict[str, Any]:
        """The constructor fields of the record by name, decoded; missing RW ones, and those given as null, have their
        defaults.

        Other keys are kept apart under the key ``""``, for the log: today's clients send whole records.
        """
        if not isinstance(value, Mapping):
            raise Mistyped
        result: dict[str, Any] = {"": sorted(str(key) for key in value if key not in self.fields)}
        for name, declared in self.fields.items():
            if value.get(name) is not None:
                result[name] = declared.decode(value[name], find)
            elif declared.required:
                raise CreateUnspecifiedAttribute(name, self.of)
            else:
                result[name] = declared.default
        return result


@dataclass(frozen=True)
class Struct(Type):
    """A fixed list of members that is no object, such as the batch that event.from returns. Only ever a result."""

    called: str
    members: tuple[tuple[str, Type], ...]
    optional: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.called


@dataclass(frozen=True)
class AnyRecord(Record):
    """The record of an object of any class: the snapshot of an event."""

    of: str = "<class>"


_SCALARS: dict[object, Type] = {
    str: String(),
    int: Int(),
    float: Float(),
    bool: Bool(),
    datetime: DateTime(),
    type(None): Void(),
    None: Void(),
}


def of(annotation: Any) -> Type:
    """The wire type of a resolved Python annotation; TypeError for one that has none.

    ``VM`` is a reference, ``VM | None`` one that may be null, ``tuple[X, ...]`` a set, ``Mapping[K, V]`` a map,
    ``Annotated[..., type]`` whatever `type` says.
    """
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return next(item for item in arguments[1:] if isinstance(item, Type))
    if origin in (typing.Union, python.UnionType):
        inner = of(next(item for item in arguments if item is not type(None)))
        if isinstance(inner, Ref) and len(arguments) == 2:
            return Ref(inner.to, nullable=True)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Set(of(arguments[0]))
    if origin in (Mapping, dict) or origin is typing.get_origin(Mapping[str, str]):
        return Map(of(arguments[0]), of(arguments[1]))
    if isinstance(annotation, type):
        if issubclass(annotation, WireEnum):
            return Enum(annotation)
        wire_name = getattr(annotation, "wire_name", None)
        if isinstance(wire_name, str):
            return Ref(wire_name)
    raise TypeError(f"{annotation!r} has no type on the wire")

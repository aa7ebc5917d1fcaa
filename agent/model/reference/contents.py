"""What there is to print of the sealed table, in order: classes with their messages, words, structs, errors, relations.

How it is written is the business of ``text`` and ``page``.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields

from agent import errors
from agent.model.api import Api
from agent.model.entity import Entity, Field, Qualifier
from agent.model.messages import Message
from agent.model.types import Bool, Enum, Map, Record, Ref, Set, Struct, Type, Void, WireEnum
from agent.roles import Role

XenErrorType = type[errors.XenError]


def doc(cls: type) -> str:
    """The docstring of a class, an enum or an error, without its indent."""
    return inspect.cleandoc(cls.__doc__ or "")


def counts(api: Api) -> str:
    """How much there is of everything."""
    numbers = (
        (len(api.classes), "classes"),
        (sum(len(cls.wire_fields) for cls in api.classes.values()), "fields"),
        (len(api.messages), "messages"),
        (len(pairs(api)), "pairs of bound fields"),
        (len(enums(api)), "enums"),
        (len(all_errors()), "errors"),
    )
    return ", ".join(f"{number:,} {what}" for number, what in numbers) + "."


# --- classes and messages


def by_class(api: Api) -> Iterator[tuple[str, type[Entity] | None, list[Message]]]:
    """Every class and every other word before the dot, with its messages."""
    grouped: dict[str, list[Message]] = {name: [] for name in api.classes}
    for message in api.messages.values():
        grouped.setdefault(message.class_name, []).append(message)
    for name in sorted(grouped, key=str.lower):
        yield name, api.classes.get(name), grouped[name]


def apart(cls: type[Entity] | None, messages: Iterable[Message]) -> tuple[list[Message], list[Message]]:
    """The messages worth a sentence, and those that only read or set one field, which the field's own text explains."""
    names = () if cls is None else tuple(cls.wire_fields)
    verbs: list[Message] = []
    accessors: list[Message] = []
    for message in messages:
        plain = message.derived and any(message.name.endswith(f"_{name}") for name in names)
        (accessors if plain and not message.name.startswith("get_by_") else verbs).append(message)
    return verbs, accessors


def default(field: Field) -> str | None:
    """What a field takes that create is not given; None where nobody needs to be told, as of a neutral value."""
    if field.required or field.qualifier is Qualifier.RUNTIME:
        return None
    value = field.type.dump(field.default)
    if value in ("", [], {}):
        return None
    return value if isinstance(value, str) else json.dumps(value)


# --- types


def inner(kind: Type) -> Iterator[Type]:
    """A type and all that it is made of; of a record as a parameter, what create takes."""
    yield kind
    match kind:
        case Set():
            yield from inner(kind.of)
        case Map():
            yield from inner(kind.key)
            yield from inner(kind.value)
        case Struct():
            for _, member in kind.members:
                yield from inner(member)
        case Record():
            for field in kind.fields.values():
                yield from inner(field.type)


def _types(api: Api) -> Iterator[Type]:
    """Every type that a field, a parameter or a result has, or is made of."""
    for cls in api.classes.values():
        for field in cls.wire_fields.values():
            yield from inner(field.type)
    for message in api.messages.values():
        for kind in (*(param.type for param in message.params), message.result):
            yield from inner(kind)


def enums(api: Api) -> list[type[WireEnum]]:
    """The closed lists of words that a field, a parameter or a result has."""
    found = {kind.of.wire_name: kind.of for kind in _types(api) if isinstance(kind, Enum)}
    return [found[name] for name in sorted(found)]


def structs(api: Api) -> list[Struct]:
    """The fixed lists of members that a result has. Two can have one name."""
    return sorted({kind: None for kind in _types(api) if isinstance(kind, Struct)}, key=lambda struct: struct.name)


# --- errors


def all_errors() -> list[XenErrorType]:
    """Every error that this build has a class for, by code."""
    return sorted(errors.XenError.__subclasses__(), key=lambda error: error.code)


def params(error: XenErrorType) -> list[str]:
    """What follows the code in an ErrorDescription, in order."""
    return [field.name for field in dataclass_fields(error)]  # type: ignore[arg-type]


def _takes(message: Message, *kinds: type[Type]) -> bool:
    return any(isinstance(kind, kinds) for param in message.params for kind in inner(param.type))


def _bounded(message: Message) -> bool:
    """Whether a parameter, or a part of one, has a type that not every value of its kind belongs to."""
    boundless = (Bool, Ref, Void, Set, Map, Record)
    return any(not isinstance(kind, boundless) for param in message.params for kind in inner(param.type))


def _lacks(message: Message) -> bool:
    records = [param.type for param in message.params if isinstance(param.type, Record)]
    return any(field.required for record in records for field in record.fields.values())


@dataclass(frozen=True)
class Rule:
    """An error that the front door gives, and to which messages."""

    error: XenErrorType
    when: str
    applies: Callable[[Message], bool]


RULES = (
    Rule(errors.MessageParameterCountMismatch, "every message", lambda message: True),
    Rule(errors.SessionInvalid, "one that needs a session", lambda message: message.role is not None),
    Rule(
        errors.RbacPermissionDenied,
        f"one that needs a higher role than {Role.READ_ONLY.wire}",
        lambda message: (message.role or Role.READ_ONLY) > Role.READ_ONLY,
    ),
    Rule(errors.FieldTypeError, "one that has parameters", lambda message: bool(message.params)),
    Rule(errors.HandleInvalid, "one that takes a reference", lambda message: _takes(message, Ref)),
    Rule(errors.InvalidValue, "one that takes text, numbers, dates or words of an enum", _bounded),
    Rule(errors.CreateUnspecifiedAttribute, "one that takes a record with fields that have no default", _lacks),
    Rule(errors.TooManyPendingTasks, "one that is called as ``Async.``", lambda message: message.has_async),
    Rule(errors.InternalError, "every message", lambda message: True),
)
"""What the front door does to every message alike, so that it is certain without a word of the message's own."""


def by_kind(message: Message) -> list[XenErrorType]:
    """The errors that follow from a message's parameters, role and form."""
    return [rule.error for rule in RULES if rule.applies(message)]


def named(message: Message) -> list[XenErrorType]:
    """The errors that a message's own text names by their whole code, in the order of the text."""
    words = dict.fromkeys(re.findall(r"\b[A-Z0-9]+_[A-Z0-9_]+\b", message.doc))
    known = {error.code: error for error in all_errors()} if words else {}
    return [known[word] for word in words if word in known]


def told(message: Message) -> list[XenErrorType]:
    """All that is known of a message's errors: first those that its text names."""
    return list(dict.fromkeys((*named(message), *by_kind(message))))


# --- relations


@dataclass(frozen=True)
class End:
    """One end of a relation."""

    cls: str
    field: str
    """Empty where this class has no field for it."""
    type: Type
    many: bool
    """Whether one object at the other end can have several of this class."""
    optional: bool
    """Whether it can have none."""

    @property
    def name(self) -> str:
        """``Class.field``, or the class alone."""
        return f"{self.cls}.{self.field}" if self.field else self.cls

    @property
    def cardinality(self) -> str:
        """How many of this class one object at the other end has."""
        if self.many:
            return "zero or more"
        return "zero or one" if self.optional else "exactly one"


@dataclass(frozen=True)
class Relation:
    """Two classes of which objects belong together. `one` is the end of which there are the fewer."""

    one: End
    other: End
    destroyed: str
    """What it does to destroy an object of the one end while another refers to it; empty if that is not declared."""
    part: bool = False
    """The other end is a part: it goes with the one, and has no field that leads back."""

    @property
    def sentence(self) -> str:
        """Both ends and how many of each."""
        return f"{self.one.name} ({self.one.cardinality}) to {self.other.name} ({self.other.cardinality})"


def pairs(api: Api) -> list[Relation]:
    """The bound fields: whichever end is set, both change."""
    found: dict[frozenset[str], Relation] = {}
    for cls in api.classes.values():
        for field in cls.wire_fields.values():
            for kind in inner(field.type) if field.bound else ():
                if isinstance(kind, Ref):
                    target = api.classes[kind.to]
                    back = target.fields[field.bound]
                    relation = Relation(_end(target, back, field), _end(cls, field, back), _destroyed(field))
                    found.setdefault(frozenset((relation.one.name, relation.other.name)), relation)
    return list(found.values())


def _end(cls: type[Entity], field: Field, back: Field) -> End:
    """The end at a class, of which the field at the other end says how many there are."""
    many = not isinstance(back.type, Ref)
    return End(cls.wire_name, field.name, field.type, many, many or getattr(back.type, "nullable", False))


def parts(api: Api) -> list[Relation]:
    """The objects that come and go with another."""
    return [
        Relation(
            End(cls.wire_name, field.name, field.type, many=False, optional=False),
            End(field.type.to, "", Void(), many=False, optional=field.type.nullable),
            "takes it along",
            part=True,
        )
        for cls in api.classes.values()
        for field in cls.wire_fields.values()
        if field.owns and isinstance(field.type, Ref) and field.type.to in api.classes
    ]


def one_way(api: Api) -> list[tuple[Field, str]]:
    """References that have no field at the other end, and what it does to destroy what they refer to."""
    ends = {end.name for relation in (*pairs(api), *parts(api)) for end in (relation.one, relation.other)}
    return [
        (field, _destroyed(field))
        for cls in api.classes.values()
        for field in cls.wire_fields.values()
        if isinstance(field.type, Ref) and field.type.to in api.classes and f"{field.owner}.{field.name}" not in ends
    ]


def _destroyed(field: Field) -> str:
    if not isinstance(field.type, Ref):
        return ""
    if field.part:
        return "takes along what refers to it"
    if field.weak:
        return "makes the reference null"
    return 'is refused; with [api] destroy = "xapi" it takes along what refers to it' if field.cascade else "is refused"


def subjects(api: Api) -> dict[str, str]:
    """Which class each class belongs to: the one whose lane its changes take; empty for the host's lane."""
    found = {name: _lane(cls) for name, cls in api.classes.items()}
    for relation in parts(api):
        found[relation.other.cls] = found[relation.one.cls]
    return found


def _lane(cls: type[Entity]) -> str:
    if cls.lane in ("", "self"):
        return cls.wire_name if cls.lane else ""
    kind = cls.fields[cls.lane].type
    return kind.to if isinstance(kind, Ref) else ""

"""From the sealed table to ``words``: the only module of the command line that imports the whole model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from agent import messages
from agent.model import types
from agent.model.api import Api
from agent.model.entity import MISSING, Entity, Field
from agent.model.messages import Message
from agent.model.reference import contents
from agent.shell.words import Noun, Shape, Verb, Word

READING = frozenset({"get_record", "get_all", "get_all_records", "get_all_records_where", "get_by_uuid"})
CHANGES = ("get_", "set_", "add_to_", "remove_from_", "add_", "remove_")
ARGUMENTS = {"get_": 0, "set_": 1, "remove_from_": 1, "remove_": 1}
SCALARS: tuple[tuple[type[types.Type], str], ...] = (
    (types.Void, "void"),
    (types.String, "string"),
    (types.Int, "int"),
    (types.Float, "float"),
    (types.Bool, "bool"),
    (types.DateTime, "datetime"),
)


def data() -> dict[str, Any]:
    """The table of this build, as `Words` takes it."""
    return data_of(messages.api())


def data_of(api: Api) -> dict[str, Any]:
    """A table, as `Words` takes it."""
    nouns = {}
    for name, cls, found in contents.by_class(api):
        made = asdict(_noun(name, cls, found))
        nouns[name] = {**made, "accessors": sorted(made["accessors"])}
    errors = {
        error.code: {"params": contents.params(error), "doc": contents.doc(error).partition("\n\n")[0]}
        for error in contents.all_errors()
    }
    return {"nouns": nouns, "errors": errors}


def shape(kind: types.Type) -> Shape:
    """A type of the model."""
    for scalar, word in SCALARS:
        if isinstance(kind, scalar):
            return Shape(word, kind.name)
    match kind:
        case types.Enum():
            return Shape("enum", kind.name, words=tuple(member.value for member in kind.of))
        case types.Ref():
            return Shape("ref", kind.name, kind.to, nullable=kind.nullable)
        case types.Set():
            return Shape("set", kind.name, parts=(shape(kind.of),))
        case types.Map():
            return Shape("map", kind.name, parts=(shape(kind.key), shape(kind.value)))
        case types.Record():
            return Shape("record", kind.name, kind.of)
    return Shape("other", kind.name)


def accessor(message: Message, cls: type[Entity] | None) -> bool:
    """Whether a message only reads or changes one field, or reads all: lists and ``param-`` commands do that."""
    if cls is None:
        return False
    if message.name in READING or message.name == "get_by_name_label":
        return True
    for prefix in CHANGES:
        field = cls.wire_fields.get(message.name.removeprefix(prefix)) if message.name.startswith(prefix) else None
        if field is not None:
            more = ARGUMENTS.get(prefix, 2 if isinstance(field.type, types.Map) else 1)
            return message.required == len(message.params) == 1 + more
    return False


def _noun(name: str, cls: type[Entity] | None, found: Iterable[Message]) -> Noun:
    accessors = {message.name: message for message in found if accessor(message, cls)}
    fields = {} if cls is None else {each.name: _field(each) for each in cls.wire_fields.values()}
    verbs = {message.name: _verb(message) for message in found if message.name not in accessors}
    text = "" if cls is None else contents.doc(cls)
    return Noun(name, text, "get_all_records" in accessors, fields, verbs, frozenset(accessors))


def _field(field: Field) -> Word:
    default = contents.default(field) or ""
    return Word(field.name, shape(field.type), field.doc, field.required, default, field.qualifier.value)


def _verb(message: Message) -> Verb:
    params = tuple(
        Word(param.name, shape(param.type), param.doc, param.default is MISSING, _default(param.default))
        for param in message.params
    )
    role = message.role.wire if message.role is not None else ""
    codes = tuple(error.code for error in contents.told(message))
    doc = message.doc
    return Verb(message.class_name, message.name, params, shape(message.result), message.has_async, role, doc, codes)


def _default(value: object) -> str:
    if value is MISSING or value is None or value in ("", (), {}):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

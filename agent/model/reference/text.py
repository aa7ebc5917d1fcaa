"""The sealed table as text for a terminal, as data of types that JSON has, and as one line a message."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from agent import __version__
from agent.model.api import Api
from agent.model.entity import MISSING, Field
from agent.model.messages import Message
from agent.model.reference import contents

WIDTH = 100
"""Columns of the text."""


def lines(api: Api) -> Iterator[str]:
    """One line a message: name, types, result, role."""
    for message in api.messages.values():
        yield message.line


def text(api: Api) -> Iterator[str]:
    """The reference for a terminal: classes with their fields and messages; then relations, enums, structs, errors."""
    yield from _title(f"XenAPI reference of xen-host-agent {__version__}", "=")
    yield from _wrap(contents.counts(api))
    yield ""
    yield from _wrap(
        "A message is written as its name, its parameters, its result and the least role that may send it. All but "
        "those of the role anybody take a session before these parameters. = marks a parameter that can be left out, "
        "with all that follow; async, a message that Async. before its name makes a task."
    )
    yield ""
    for name, cls, messages in contents.by_class(api):
        yield from _title(name, "=")
        if cls is not None:
            yield from _wrap(contents.doc(cls))
            yield from _title("Fields", "-")
            for field in cls.wire_fields.values():
                yield from _item(f"{field.name}  ({field.type}, {_traits(field)})", field.doc)
        verbs, accessors = contents.apart(cls, messages)
        if verbs:
            yield from _title("Messages", "-")
        for message in verbs:
            yield from _item(message.line, message.doc)
        if accessors:
            yield from _title("Messages of single fields", "-")
        for message in accessors:
            yield from _item(message.line)
        yield ""
    yield from _lists(api)


def _lists(api: Api) -> Iterator[str]:
    """What belongs to no one class."""
    yield from _title("Bound fields", "=")
    for relation in contents.pairs(api):
        one, other = relation.one, relation.other
        destroyed = f"Destroying the {one.cls} {relation.destroyed}." if relation.destroyed else ""
        yield from _item(f"{one.name} ({one.cardinality}), {other.name} ({other.cardinality})", destroyed)
    yield ""
    yield from _title("Enums", "=")
    for enum in contents.enums(api):
        yield from _item(f"{enum.wire_name}: {', '.join(enum)}", contents.doc(enum))
    yield ""
    yield from _title("Structs", "=")
    for struct in contents.structs(api):
        members = (
            f"{kind} {name}{' (not always)' if name in struct.optional else ''}" for name, kind in struct.members
        )
        yield from _item(f"{struct.name}: {', '.join(members)}")
    yield ""
    yield from _title("Errors", "=")
    given = {rule.error: f"Given by {rule.when}." for rule in contents.RULES}
    for error in contents.all_errors():
        paragraphs = f"{contents.doc(error)} {given.get(error, '')}"
        yield from _item(f"{error.code}({', '.join(contents.params(error))})", paragraphs)


def data(api: Api) -> dict[str, Any]:
    """The same as plain data, of types that JSON has."""
    return {
        "version": __version__,
        "classes": [
            {
                "name": cls.wire_name,
                "doc": contents.doc(cls),
                "fields": [_field(field) for field in cls.wire_fields.values()],
            }
            for cls in api.classes.values()
        ],
        "messages": [_message(message) for message in api.messages.values()],
        "enums": [
            {"name": enum.wire_name, "doc": contents.doc(enum), "words": list(enum)} for enum in contents.enums(api)
        ],
        "structs": [
            {
                "name": struct.name,
                "members": [
                    {"name": name, "type": kind.name, "optional": name in struct.optional}
                    for name, kind in struct.members
                ],
            }
            for struct in contents.structs(api)
        ],
        "errors": [
            {"code": error.code, "doc": contents.doc(error), "params": contents.params(error)}
            for error in contents.all_errors()
        ],
    }


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": field.type.name,
        "qualifier": field.qualifier.value,
        "doc": field.doc,
        "required": field.required,
        "default": None if field.required else field.type.dump(field.default),
        "bound": field.bound or None,
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "name": message.full_name,
        "params": [
            {"name": param.name, "type": param.type.name, "optional": param.default is not MISSING}
            for param in message.params
        ],
        "result": message.result.name,
        "role": message.role.wire if message.role else None,
        "kind": message.kind.value,
        "derived": message.derived,
        "async": message.has_async,
        "errors": [error.code for error in contents.told(message)],
        "doc": message.doc,
    }


# --- how it is written


def _traits(field: Field) -> str:
    """The qualifier; what create takes if it is not given; the other end."""
    traits = [field.qualifier.value]
    if field.required:
        traits.append("required by create")
    elif (default := contents.default(field)) is not None:
        traits.append(f"default {default}")
    if field.bound:
        traits.append(f"bound to {field.bound}")
    return ", ".join(traits)


def _title(title: str, rule: str) -> Iterator[str]:
    if rule != "=":
        yield ""
    yield title
    yield rule * len(title)


def _item(head: str, *paragraphs: str) -> Iterator[str]:
    """A line that begins at the left, and what is said of it below."""
    yield from _wrap(head, 2, 6)
    for paragraph in paragraphs:
        yield from _wrap(paragraph, 6)


def _wrap(paragraphs: str, indent: int = 0, hanging: int | None = None) -> Iterator[str]:
    """Text with its paragraphs filled to WIDTH; lines after the first of each may hang in."""
    for number, paragraph in enumerate(paragraphs.split("\n\n")):
        if number:
            yield ""
        yield from textwrap.wrap(
            " ".join(paragraph.split()),
            WIDTH,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent if hanging is None else hanging),
            break_long_words=False,
            break_on_hyphens=False,
        )

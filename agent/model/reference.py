"""Prints the sealed table: as text for people, as JSON for programs, as one line a message for the golden test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.model.api import Api
from agent.model.entity import MISSING
from agent.model.messages import Message


def lines(api: Api) -> Iterator[str]:
    """One line a message: name, types, result, role."""
    for message in api.messages.values():
        yield message.line


def text(api: Api) -> Iterator[str]:
    """The reference, class by class: what it is, the table of its fields, its messages."""
    by_class: dict[str, list[Message]] = {}
    for message in api.messages.values():
        by_class.setdefault(message.class_name, []).append(message)
    for class_name in sorted(by_class, key=str.lower):
        cls = api.classes.get(class_name)
        yield f"{class_name}"
        yield "=" * len(class_name)
        if cls is not None:
            yield (cls.__doc__ or "").strip()
            yield ""
            for field in cls.wire_fields.values():
                yield f"  {field.qualifier.value:15} {field.type!s:34} {field.name}"
                yield f"                  {field.doc}"
        yield ""
        for message in by_class[class_name]:
            yield f"  {message.line}"
            yield from (f"      {line}" for line in message.doc.splitlines())
        yield ""


def data(api: Api) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "classes": [
            {
                "name": cls.wire_name,
                "doc": (cls.__doc__ or "").strip(),
                "fields": [
                    {"name": field.name, "type": field.type.name, "qualifier": field.qualifier.value, "doc": field.doc}
                    for field in cls.wire_fields.values()
                ],
            }
            for cls in api.classes.values()
        ],
        "messages": [
            {
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
                "doc": message.doc,
            }
            for message in api.messages.values()
        ],
    }

"""Prints the sealed table: as text and Markdown for people, as data for programs, as one line a message for tests.

What is printed is what is declared: a sentence that is wrong here is wrong in a class, a verb or an error.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields as dataclass_fields
from typing import Any

from agent import errors
from agent.model.api import Api
from agent.model.entity import MISSING, Entity, Field, Qualifier
from agent.model.messages import Message
from agent.model.types import Enum, Map, Set, Type, WireEnum

WIDTH = 100
"""Columns of the text."""


def lines(api: Api) -> Iterator[str]:
    """One line a message: name, types, result, role."""
    for message in api.messages.values():
        yield message.line


def text(api: Api) -> Iterator[str]:
    """The reference for a terminal, class by class: what it is, its fields, its messages; then words and errors."""
    for name, cls, messages in _by_class(api):
        yield from _title(name, "=")
        if cls is not None:
            yield from _wrap(_doc(cls))
            yield from _title("Fields", "-")
            for field in cls.wire_fields.values():
                yield from _wrap(f"{field.name}  ({field.type}, {_traits(field)})", 2, 6)
                yield from _wrap(field.doc, 6)
        verbs, accessors = _apart(cls, messages)
        if verbs:
            yield from _title("Messages", "-")
        for message in verbs:
            yield from _wrap(message.line, 2, 6)
            yield from _wrap(message.doc, 6)
        if accessors:
            yield from _title("Messages of single fields", "-")
        for message in accessors:
            yield from _wrap(message.line, 2, 6)
        yield ""
    yield from _title("Words", "=")
    for enum in _enums(api):
        yield from _wrap(f"{enum.wire_name}: {', '.join(enum)}", 2, 6)
        yield from _wrap(_doc(enum), 6)
    yield ""
    yield from _title("Errors", "=")
    for error in _errors():
        yield from _wrap(f"{error.code}({', '.join(_params(error))})", 2, 6)
        yield from _wrap(_doc(error), 6)


def markdown(api: Api) -> Iterator[str]:
    """The same as one page of Markdown."""
    yield "# Reference"
    yield ""
    for name, cls, messages in _by_class(api):
        yield f"## {name}"
        yield ""
        if cls is not None:
            yield _plain(_doc(cls))
            yield ""
            yield from _table(
                ("Field", "Type", "Qualifier", "Meaning"),
                (
                    (f"`{field.name}`", f"`{field.type}`", _traits(field), _plain(field.doc))
                    for field in cls.wire_fields.values()
                ),
            )
        verbs, accessors = _apart(cls, messages)
        for message in verbs:
            yield f"- `{message.line}`  "
            yield f"  {_plain(' '.join(message.doc.split()))}"
        yield ""
        if accessors:
            yield f"<details><summary>{len(accessors)} messages of single fields</summary>"
            yield ""
            yield from (f"- `{message.line}`" for message in accessors)
            yield ""
            yield "</details>"
            yield ""
    yield "## Words"
    yield ""
    words = (
        (f"`{enum.wire_name}`", ", ".join(f"`{word}`" for word in enum), _plain(_doc(enum))) for enum in _enums(api)
    )
    yield from _table(("Enum", "Words", "Meaning"), words)
    yield "## Errors"
    yield ""
    rows = ((f"`{error.code}`", ", ".join(_params(error)), _plain(_doc(error))) for error in _errors())
    yield from _table(("Code", "Parameters", "Meaning"), rows)


def data(api: Api) -> dict[str, Any]:
    """The same as plain data, of types that JSON has."""
    return {
        "classes": [
            {"name": cls.wire_name, "doc": _doc(cls), "fields": [_field(field) for field in cls.wire_fields.values()]}
            for cls in api.classes.values()
        ],
        "messages": [_message(message) for message in api.messages.values()],
        "enums": [{"name": enum.wire_name, "doc": _doc(enum), "words": list(enum)} for enum in _enums(api)],
        "errors": [{"code": error.code, "doc": _doc(error), "params": _params(error)} for error in _errors()],
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
        "doc": message.doc,
    }


# --- what there is, in order


def _by_class(api: Api) -> Iterator[tuple[str, type[Entity] | None, list[Message]]]:
    """Every class and every other word before the dot, with its messages."""
    grouped: dict[str, list[Message]] = {name: [] for name in api.classes}
    for message in api.messages.values():
        grouped.setdefault(message.class_name, []).append(message)
    for name in sorted(grouped, key=str.lower):
        yield name, api.classes.get(name), grouped[name]


def _apart(cls: type[Entity] | None, messages: Iterable[Message]) -> tuple[list[Message], list[Message]]:
    """The messages worth a sentence, and those that only read or set one field, which the field's own text explains."""
    names = () if cls is None else tuple(cls.wire_fields)
    verbs: list[Message] = []
    accessors: list[Message] = []
    for message in messages:
        plain = message.derived and any(message.name.endswith(f"_{name}") for name in names)
        (accessors if plain and not message.name.startswith("get_by_") else verbs).append(message)
    return verbs, accessors


def _enums(api: Api) -> list[type[WireEnum]]:
    """The closed lists of words that a field, a parameter or a result has."""
    types = [field.type for cls in api.classes.values() for field in cls.wire_fields.values()]
    for message in api.messages.values():
        types += [param.type for param in message.params] + [message.result]
    found = {enum.wire_name: enum for kind in types for enum in _enums_of(kind)}
    return [found[name] for name in sorted(found)]


def _enums_of(kind: Type) -> Iterator[type[WireEnum]]:
    if isinstance(kind, Enum):
        yield kind.of
    elif isinstance(kind, Set):
        yield from _enums_of(kind.of)
    elif isinstance(kind, Map):
        yield from _enums_of(kind.key)
        yield from _enums_of(kind.value)


def _errors() -> list[type[errors.XenError]]:
    return sorted(errors.XenError.__subclasses__(), key=lambda error: error.code)


def _params(error: type[errors.XenError]) -> list[str]:
    return [field.name for field in dataclass_fields(error)]  # type: ignore[arg-type]


# --- how it is written


def _doc(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")


def _traits(field: Field) -> str:
    """The qualifier; what create takes if it is not given; the other end."""
    traits = [field.qualifier.value]
    if field.required:
        traits.append("required by create")
    elif field.qualifier is not Qualifier.RUNTIME and (default := field.type.dump(field.default)) not in ("", [], {}):
        traits.append(f"default {default if isinstance(default, str) else json.dumps(default)}")
    if field.bound:
        traits.append(f"bound to {field.bound}")
    return ", ".join(traits)


def _title(title: str, rule: str) -> Iterator[str]:
    if rule != "=":
        yield ""
    yield title
    yield rule * len(title)


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


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _plain(words: str) -> str:
    """Text as Markdown that shows it letter for letter: one line a paragraph, no tags but those of code."""
    joined = "\n\n".join(" ".join(paragraph.split()) for paragraph in words.split("\n\n"))
    parts = joined.split("``")
    # Every second part stands between double backquotes, which Markdown takes for code as docstrings do.
    return "``".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))

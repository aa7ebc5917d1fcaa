"""What the page is put together from: types and errors with their links, prose, tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from agent.model.api import Api
from agent.model.entity import MISSING, Field
from agent.model.messages import Message, Param
from agent.model.reference import contents
from agent.model.reference.contents import XenErrorType
from agent.model.reference.markup import Content, Element, element
from agent.model.types import Enum, Map, Record, Ref, Set, Struct, Type

_MARKED = re.compile(r"``(.+?)``|`([^`]+)`|(\b[A-Za-z]\w*\.\w+\b|\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b)")
"""Code between backquotes; what looks like a message, a field or the code of an error."""


class Pieces:
    """Writes what has links: knows what there is to link to, and under which id.

    Classes and messages have their own names for ids. A word and a hyphen before others keep them apart from these, and
    from each other.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self.error_ids = {error: f"error-{error.code}" for error in contents.all_errors()}
        self.enum_ids = {enum: f"enum-{enum.wire_name}" for enum in contents.enums(api)}
        self.struct_ids: dict[Struct, str] = {}
        for struct in contents.structs(api):
            same = sum(struct.name == other.name for other in self.struct_ids)
            self.struct_ids[struct] = f"struct-{struct.name.replace(' ', '-')}" + (f"-{same + 1}" if same else "")
        fields = [field for cls in api.classes.values() for field in cls.wire_fields.values()]
        self.targets = {f"{field.owner}.{field.name}": field_id(field) for field in fields}
        self.targets |= {error.code: id for error, id in self.error_ids.items()}
        self.targets |= {name: name for name in api.messages}

    # --- links

    def type(self, kind: Type) -> Element:
        """A type as the reference writes it; what is named in it leads there."""
        return element("code", self._type(kind), class_="type")

    def _type(self, kind: Type) -> list[Content]:
        match kind:
            case Set():
                return [*self._type(kind.of), " set"]
            case Map():
                return ["(", *self._type(kind.key), " -> ", *self._type(kind.value), ") map"]
            case Ref():
                return [self._class(kind.to), " ref"]
            case Record():
                return [self._class(kind.of), " record"]
            case Enum():
                return ["enum ", link(kind.of.wire_name, self.enum_ids[kind.of])]
            case Struct():
                return [link(kind.name, self.struct_ids[kind])]
        return [kind.name]

    def _class(self, name: str) -> Content:
        return link(name, name) if name in self.api.classes else name

    def errors(self, found: Iterable[XenErrorType]) -> list[Content]:
        """The codes of errors."""
        return spaced(code_link(error.code, self.error_ids[error]) for error in found)

    # --- text

    def prose(self, text: str) -> list[Element]:
        """The paragraphs of a text."""
        return [element("p", self.inline(paragraph)) for paragraph in text.split("\n\n")]

    def inline(self, text: str) -> Iterator[Content]:
        """Text on one line, with its code; where it names a message, a field or an error, it leads there."""
        text, end = " ".join(text.split()), 0
        for found in _MARKED.finditer(text):
            words = next(group for group in found.groups() if group)
            target = self.targets.get(words)
            if target is None and found[3]:
                continue
            yield text[end : found.start()]
            yield code_link(words, target) if target is not None else element("code", words)
            end = found.end()
        yield text[end:]

    def params(self, params: Sequence[Param]) -> list[Element]:
        """Parameters, each on a line, with what they are if left out."""
        return [
            element(
                "span",
                self.type(param.type),
                " ",
                element("b", param.name),
                ()
                if param.default is MISSING
                else (" = ", element("code", json.dumps(param.type.dump(param.default)))),
                (" ", self.inline(param.doc)) if param.doc else (),
                class_="param",
            )
            for param in params
        ]

    def members(self, struct: Struct) -> list[Element]:
        """The members of a struct, each on a line."""
        return [
            element(
                "span",
                self.type(kind),
                " ",
                element("b", name),
                " (not always there)" if name in struct.optional else None,
                class_="param",
            )
            for name, kind in struct.members
        ]


def _default(param: Param) -> str:
    return json.dumps(param.type.dump(param.default))


def field_id(field: Field) -> str:
    """The id of a field's row."""
    return f"field-{field.owner}.{field.name}"


def role(message: Message) -> str:
    """The least role that may send it."""
    return message.role.wire if message.role is not None else "anybody"


def link(text: str, id: str, class_: str | None = None) -> Element:
    """Text that leads to the element with this id."""
    return element("a", text, href=f"#{id}", class_=class_)


def code_link(text: str, id: str) -> Element:
    """The same, as code."""
    return element("a", element("code", text), href=f"#{id}")


def own_link(text: str, id: str) -> Element:
    """What leads to the place that it is in, so that the address can be taken from it."""
    return element("a", element("code", text), href=f"#{id}", class_="anchor")


def spaced(parts: Iterable[Element]) -> list[Content]:
    """Elements with a space after each."""
    return [item for part in parts for item in (part, " ")]


def section(id: str, title: str, *content: Content) -> Element:
    """A part of the page under a title."""
    return element("section", element("h2", title), content, id=id)


def table(head: Sequence[str], rows: Iterable[Element], class_: str | None = None) -> Element:
    """A table, which scrolls by itself where it is too wide."""
    titles = element("tr", (element("th", title, scope="col") for title in head))
    return element(
        "div", element("table", element("thead", titles), element("tbody", rows), class_=class_), class_="wide"
    )


def row(*cells: Content, id: str | None = None) -> Element:
    """A row of a table."""
    return element("tr", (element("td", cell) for cell in cells), id=id)

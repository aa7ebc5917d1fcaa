"""The objects of a running agent, by uuid and by name: what a text names, and what a reference is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.client import Agent, Failure
from agent.shell.asked import Given, Misused, meant
from agent.shell.spellings import View
from agent.shell.values import NULL, UUID, show, uuid, word
from agent.shell.words import Noun, Word, Words, key, spell
from agent.terminal import printable

Record = Mapping[str, Any]


class Missing(Exception):
    """No object is what the text names, or several are: exit code 1."""


class Objects:
    """What one command needs to know of the objects there are; each class is read once at the most."""

    def __init__(self, agent: Agent, words: Words) -> None:
        self._agent = agent
        self._words = words
        self._records: dict[str, Mapping[str, Record]] = {}

    def send(self, message: str, *params: object) -> Any:
        """The result of a message in the session. Failure or Unreachable."""
        return self._agent.send(message, self._agent.session, *params)

    def all(self, class_name: str) -> Mapping[str, Record]:
        """The records of all objects of a class, by reference."""
        if class_name not in self._records:
            self._records[class_name] = self.send(f"{class_name}.get_all_records")
        return self._records[class_name]

    def forget(self, class_name: str) -> None:
        """Read a class anew when it is asked for: something changed it."""
        self._records.pop(class_name, None)

    def name(self, class_name: str, ref: str) -> str:
        """The name_label of an object; empty if it has none."""
        if ref in ("", NULL) or class_name not in self._words.names() or not self._words.listed(class_name):
            return ""
        return str(self.all(class_name).get(ref, {}).get("name_label", ""))

    def find(self, class_name: str, text: str, view: View | None = None) -> str:
        """The reference of the object with this uuid or, where only one has it, this name. Missing otherwise."""
        called = spell(class_name)
        if text.startswith("OpaqueRef:"):
            return text
        if UUID.fullmatch(text):
            try:
                return str(self.send(f"{class_name}.get_by_uuid", text.lower()))
            except Failure as failure:
                if failure.code != "UUID_INVALID":
                    raise
                raise Missing(f"there is no {called} with the uuid {text}") from None
        if class_name not in self._words.names() or not self._words.listed(class_name):
            raise Missing(f"{text!r} is no uuid, and a {called} has no name")
        if self._words.noun(class_name).field("name_label") is None:
            raise Missing(f"{text!r} is no uuid, and a {called} has no name")
        found = [ref for ref, record in self.all(class_name).items() if record["name_label"] == text]
        if view is not None and len(found) > 1:
            found = [ref for ref in found if belongs(self.all(class_name)[ref], view)] or found
        if len(found) > 1:
            listed = "".join(f"\n  {uuid(ref)}" for ref in found)
            raise Missing(f"{len(found)} objects are called {text!r}; say which by its uuid:{listed}")
        if not found:
            names = [str(record["name_label"]) for record in self.all(class_name).values()]
            raise Missing(f"there is no {called} called {text!r}{meant(text, names)}")
        return found[0]

    def only(self, class_name: str) -> str | None:
        """The one object of a class that has one, such as the host."""
        found = list(self.all(class_name))
        return found[0] if len(found) == 1 else None

    def select(self, noun: Noun, view: View | None, filters: Sequence[Given]) -> dict[str, Record]:
        """The records that belong to the view and for which all filters hold. Misused for a field there is not."""
        tests = [(column(noun, self._words, each.key), each) for each in filters]
        for tested, each in tests:
            if tested.field.shape.kind == "enum" and tested.aspect == "":
                word(tested.field.shape, each.text, tested.label)
        return {
            ref: record
            for ref, record in self.all(noun.name).items()
            if (view is None or belongs(record, view))
            and all(self._holds(tested, each, record) for tested, each in tests)
        }

    def _holds(self, tested: Column, given: Given, record: Record) -> bool:
        shape, value = tested.field.shape, record.get(tested.field.name)
        if given.part is not None:
            return isinstance(value, dict) and str(value.get(given.part, "")) == given.text and given.part in value
        if shape.kind == "set" and isinstance(value, list):
            shown = [show(shape.parts[0], item) for item in value]
            return given.text in shown or given.text == "; ".join(shown)
        if shape.kind in ("enum", "bool"):
            return key(show(shape, value)) == key(given.text)
        if shape.kind == "ref" and not tested.aspect:
            return given.text in (show(shape, value), self.name(shape.to, str(value)))
        return self.text(tested, record) == given.text

    def text(self, shown: Column, record: Record) -> str:
        """What a list shows of a record in a column."""
        value = record.get(shown.field.name)
        shape = shown.field.shape
        if shown.aspect == "name":
            if shape.kind == "set":
                return "; ".join(self.name(shape.parts[0].to, ref) for ref in value or ())
            return self.name(shape.to, str(value))
        return show(shape, value)

    def describe(self, text: str) -> str:
        """A parameter of an error: for a reference, the uuid and the name where that is known already."""
        if not text.startswith("OpaqueRef:"):
            return printable(text)
        names = [records[text].get("name_label", "") for records in self._records.values() if text in records]
        return printable(f"{uuid(text)} ({names[0]})" if names and names[0] else uuid(text))


class Column:
    """One field of a list, or the name of the object that it refers to: ``vm-name-label``."""

    def __init__(self, field: Word, aspect: str = "") -> None:
        self.field = field
        self.aspect = aspect

    @property
    def label(self) -> str:
        """Its heading."""
        return f"{self.field.label}-name-label" if self.aspect else self.field.label


def belongs(record: Record, view: View) -> bool:
    """Whether a record is one of a view."""
    return all(record.get(name) == value for name, value in view.where.items())


def column(noun: Noun, words: Words, name: str) -> Column:
    """The column of this name: a field, ``<field>-uuid`` or ``<field>-name-label``. Misused for none such."""
    found = noun.field(name)
    if found is not None:
        return Column(found)
    for suffix, aspect in (("uuid", ""), ("uuids", ""), ("namelabel", "name")):
        whole = key(name)
        field = noun.field(whole.removesuffix(suffix)) if whole.endswith(suffix) else None
        if field is not None and "ref" in (field.shape.kind, *(part.kind for part in field.shape.parts)):
            return Column(field, aspect)
    labels = [word.label for word in noun.fields.values()]
    raise Misused(f"a {spell(noun.name)} has no field {name!r}{meant(name, labels)}")

"""``param-list``, ``-get``, ``-set``, ``-add``, ``-remove`` and ``-clear``: the fields of one object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.shell import output
from agent.shell.asked import Given, Misused, meant, nothing_else, taken
from agent.shell.commands import Command
from agent.shell.listing import Work, known_field, print_records
from agent.shell.objects import Column, Missing, Record
from agent.shell.sitting import Sitting
from agent.shell.subject import Subject, subject_names, take_subject
from agent.shell.values import check, pair, parse, plain, show
from agent.shell.words import Noun, Word, spell
from agent.terminal import as_json


def parameters(command: Command, words: list[Given]) -> Work:
    """The commands that show and change fields."""
    noun = command.noun
    assert noun is not None
    subject = take_subject(command, words, filters=False)
    if command.action == "param-list":
        nothing_else(words, subject_names(command))
        return lambda sitting: _show_all(sitting, noun, subject)
    if command.action == "param-set":
        return _setting(noun, subject, words)
    name = taken(words, "param-name")
    if name is None:
        raise Misused("say which field: param-name=...")
    field = _field(noun, name)
    part = taken(words, "param-key")
    if command.action == "param-add":
        return _adding(noun, subject, field, part, words)
    nothing_else(words, ("param-name", "param-key", *subject_names(command)))
    match command.action:
        case "param-get":
            return lambda sitting: _get(sitting, noun, subject, field, part)
        case "param-remove":
            return _removing(noun, subject, field, part)
    return _clearing(noun, subject, field)


def _field(noun: Noun, name: str) -> Word:
    known_field(noun, name)
    found = noun.field(name)
    if found is None:
        raise Misused(f"{name!r} is a field of the object that it refers to")
    return found


def _record(sitting: Sitting, noun: Noun, ref: str) -> Record:
    record: Record = sitting.objects.send(f"{noun.name}.get_record", ref)
    return record


def _show_all(sitting: Sitting, noun: Noun, subject: Subject) -> None:
    columns = [Column(field) for field in noun.fields.values()]
    print_records(sitting, columns, [_record(sitting, noun, ref) for ref in subject.find(sitting)], whole=True)


def _get(sitting: Sitting, noun: Noun, subject: Subject, field: Word, part: str | None) -> None:
    for ref in subject.find(sitting):
        value = _record(sitting, noun, ref).get(field.name)
        shape = field.shape
        if part is not None:
            if not isinstance(value, dict):
                raise Misused(f"{field.label} is no map, and has no key {part!r}")
            if part not in value:
                raise Missing(f"{field.label} has no key {part!r}{meant(part, value)}")
            value, shape = value[part], shape.parts[1]
        sitting.print([as_json(plain(shape, value)) if sitting.options.json else output.text(show(shape, value))])


def _change(noun: Noun, subject: Subject, calls: Callable[[Sitting, str], list[tuple[str, list[Any]]]]) -> Work:
    """Send some messages to each object; `calls` says which, without it."""

    def work(sitting: Sitting) -> None:
        for ref in subject.find(sitting):
            for message, params in calls(sitting, ref):
                sitting.objects.send(f"{noun.name}.{message}", ref, *params)

    return work


def changes(noun: Noun, action: str, word: Word) -> bool:
    """Whether this field can be changed by this of the commands."""
    if action == "param-set":
        return noun.can("set", word.name) or noun.can("add_to", word.name)
    if word.shape.kind not in ("set", "map"):
        return False
    return any(noun.can(change, word.name) for change in ("add_to", "add", "remove_from", "remove"))


def _fixed(noun: Noun, field: Word) -> Misused:
    return Misused(f"{field.label} of a {spell(noun.name)} cannot be changed so: it is {field.qualifier}")


def _setting(noun: Noun, subject: Subject, words: list[Given]) -> Work:
    """param-set: fields whole, and members of maps."""
    if not words:
        raise Misused("say what to set: field=value")
    for each in words:
        field = _field(noun, each.key)
        if each.part is not None and field.shape.kind != "map":
            raise Misused(f"{field.label} is no map, and has no key {each.part!r}")
        if not noun.can("set" if each.part is None else "add_to", field.name):
            raise _fixed(noun, field)
        if each.part is None:
            check(field, each.text)

    def calls(sitting: Sitting, ref: str) -> list[tuple[str, list[Any]]]:
        found: list[tuple[str, list[Any]]] = []
        for each in words:
            field = _field(noun, each.key)
            if each.part is None:
                found.append((f"set_{field.name}", [parse(field.shape, each.text, field.label, sitting.objects.find)]))
                continue
            member = pair(field.shape, each.part, each.text, field.label, sitting.objects.find)
            found += [(f"remove_from_{field.name}", [member[0]]), (f"add_to_{field.name}", list(member))]
        return found

    return _change(noun, subject, calls)


def _adding(noun: Noun, subject: Subject, field: Word, part: str | None, words: list[Given]) -> Work:
    """param-add: members of a map as key=value, elements of a set as param-key=element."""
    if not (noun.can("add_to", field.name) or noun.can("add", field.name)):
        raise _fixed(noun, field)
    if field.shape.kind == "set":
        nothing_else(words, ("param-name", "param-key"))
        if part is None:
            raise Misused("say what to add: param-key=...")
        element = part
        prefix = "add_to" if noun.can("add_to", field.name) else "add"
        return _change(
            noun,
            subject,
            lambda sitting, ref: [
                (f"{prefix}_{field.name}", [parse(field.shape.parts[0], element, field.label, sitting.objects.find)])
            ],
        )
    if not words:
        raise Misused("say what to add: key=value")
    return _change(
        noun,
        subject,
        lambda sitting, ref: [
            (f"add_to_{field.name}", list(pair(field.shape, _key(each), each.text, field.label, sitting.objects.find)))
            for each in words
        ],
    )


def _key(given: Given) -> str:
    """A key that is no field may have colons."""
    return given.key if given.part is None else f"{given.key}:{given.part}"


def _removing(noun: Noun, subject: Subject, field: Word, part: str | None) -> Work:
    if part is None:
        raise Misused("say what to remove: param-key=...")
    prefix = "remove_from" if noun.can("remove_from", field.name) else "remove"
    if not noun.can(prefix, field.name):
        raise _fixed(noun, field)
    return _change(
        noun,
        subject,
        lambda sitting, ref: [
            (f"{prefix}_{field.name}", [parse(field.shape.parts[0], part, field.label, sitting.objects.find)])
        ],
    )


def _clearing(noun: Noun, subject: Subject, field: Word) -> Work:
    if field.shape.kind not in ("set", "map"):
        raise Misused(f"{field.label} is neither set nor map; param-set gives it another value")
    if noun.can("set", field.name):
        empty: Any = {} if field.shape.kind == "map" else []
        return _change(noun, subject, lambda sitting, ref: [(f"set_{field.name}", [empty])])
    if not noun.can("remove_from", field.name):
        raise _fixed(noun, field)
    return _change(
        noun,
        subject,
        lambda sitting, ref: [
            (f"remove_from_{field.name}", [each]) for each in _record(sitting, noun, ref).get(field.name, ())
        ],
    )

"""``list``: which objects of a class there are, and the fields of each that one wants to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agent.shell import output
from agent.shell.asked import Given, Misused, meant, taken
from agent.shell.commands import Command
from agent.shell.objects import Column, Record, column
from agent.shell.sitting import Sitting
from agent.shell.spellings import COLUMNS, SHOWN_COLUMNS
from agent.shell.values import plain
from agent.shell.words import Noun, Word, Words, key, spell
from agent.terminal import as_json

Work = Callable[[Sitting], None]
"""What is left of a command once its words are understood: the part that needs the agent."""


def default_columns(noun: Noun, words: Words) -> list[Column]:
    """What a list shows unless told otherwise; of references the names, where what they lead to has some."""
    fields = [noun.fields[name] for name in COLUMNS if name in noun.fields][:SHOWN_COLUMNS]
    return [Column(field, "name" if _leads_to_a_name(field, words) else "") for field in fields]


def _leads_to_a_name(field: Word, words: Words) -> bool:
    to = field.shape.to
    return bool(to) and to in words.names() and words.listed(to) and words.noun(to).field("name_label") is not None


def listing(command: Command, words: list[Given]) -> Work:
    """``list``: the objects of a class, narrowed by fields."""
    noun = command.noun
    assert noun is not None
    asked = taken(words, "params")
    for each in words:
        known_field(noun, each.key)

    def work(sitting: Sitting) -> None:
        if asked == "all":
            columns = [Column(field) for field in noun.fields.values()]
        elif asked:
            columns = [column(noun, sitting.words, name) for name in asked.split(",")]
        elif sitting.options.minimal:
            columns = [Column(noun.fields["uuid"])]
        else:
            columns = default_columns(noun, sitting.words)
        print_records(sitting, columns, _in_order(sitting.objects.select(noun, command.view, words)), asked == "all")

    return work


def known_field(noun: Noun, name: str) -> None:
    """Misused unless a list can be narrowed by this field."""
    bare = key(name)
    for suffix in ("", "uuid", "uuids", "namelabel"):
        if bare.endswith(suffix) and noun.field(bare[: len(bare) - len(suffix)]) is not None:
            return
    labels = [field.label for field in noun.fields.values()]
    raise Misused(f"a {spell(noun.name)} has no field {name!r}{meant(name, labels)}")


def _in_order(records: dict[str, Record]) -> list[Record]:
    """By name, then by uuid, so that two lists of the same things are the same."""
    return sorted(records.values(), key=lambda record: (str(record.get("name_label", "")), str(record.get("uuid", ""))))


def print_records(sitting: Sitting, columns: Sequence[Column], records: Sequence[Record], whole: bool) -> None:
    """Print some columns of some records, in the form that was asked for."""
    objects, options = sitting.objects, sitting.options
    if options.json:
        shown = [{_json_name(each): _json_value(sitting, each, record) for each in columns} for record in records]
        sitting.print([as_json(shown)])
    elif options.minimal:
        sitting.print([output.minimal([objects.text(columns[0], record) for record in records])])
    elif whole:
        for number, record in enumerate(records):
            lines = [(each.label, output.access(each.field), objects.text(each, record)) for each in columns]
            sitting.print(([""] if number else []) + output.block(lines))
    elif records:
        rows = [[objects.text(each, record) for each in columns] for record in records]
        sitting.print(output.table([each.label for each in columns], rows, output.width()))


def _json_name(shown: Column) -> str:
    return f"{shown.field.name}_name_label" if shown.aspect else shown.field.name


def _json_value(sitting: Sitting, shown: Column, record: Record) -> Any:
    if shown.aspect:
        return sitting.objects.text(shown, record)
    return plain(shown.field.shape, record.get(shown.field.name))

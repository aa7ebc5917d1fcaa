"""How results look."""

from __future__ import annotations

import json

import pytest

from agent.shell import output
from agent.shell.words import READ_WRITE, Shape, Word
from agent.terminal import as_json

ROWS = [["u" * 10, "a long name of a machine", "Running"], ["v" * 10, "short", "Halted"]]
HEADINGS = ["uuid", "name", "state"]


def test_a_table_keeps_everything_where_nothing_needs_to_fit() -> None:
    assert output.table(HEADINGS, ROWS, None) == [
        "UUID        NAME                      STATE",
        "uuuuuuuuuu  a long name of a machine  Running",
        "vvvvvvvvvv  short                     Halted",
    ]


@pytest.mark.parametrize("limit", [35, 36, 40, 44])
def test_a_table_fits_the_terminal_and_cuts_no_uuid(limit: int) -> None:
    lines = output.table(HEADINGS, ROWS, limit)
    assert max(map(len, lines)) <= limit
    assert lines[1].startswith("uuuuuuuuuu  a long")
    assert lines[2].endswith("Halted")


def test_a_table_is_never_narrower_than_can_be_read() -> None:
    assert output.table(HEADINGS, ROWS, 5)[1].startswith("uuuuuuuuuu  a long ")


def test_a_cell_stays_on_its_line() -> None:
    assert output.table(["name"], [["a\nb\x1b[2J"]], None)[1] == "a\\nb\\x1b[2J"


def test_a_record_is_one_field_a_line() -> None:
    tags = Word("tags", Shape("set", "string set"), qualifier=READ_WRITE)
    uuid = Word("uuid", Shape("string", "string"), qualifier="RO/runtime")
    lines = [(word.label, output.access(word), value) for word, value in ((uuid, "1"), (tags, "a; b\nc"))]
    assert output.block(lines) == ["uuid  (RO): 1", "tags (SRW): a; b\\nc"]


def test_json_is_json_and_speaks_to_no_terminal() -> None:
    value = {"a": "\x9b31m\u202e ü", "b": [1, True, None]}
    text = as_json(value)
    assert json.loads(text) == value
    assert "ü" in text
    assert all(each == "\n" or each.isprintable() for each in text)

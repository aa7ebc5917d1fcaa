"""The printed reference: whatever is declared is in it, in every form."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from agent import errors
from agent.classes import VIF
from agent.messages import api as sealed
from agent.model import reference
from agent.model.api import Api
from agent.model.messages import Message

API: Api = sealed()
TEXT = "\n".join(reference.text(API))
MARKDOWN = "\n".join(reference.markdown(API))
DATA: dict[str, Any] = reference.data(API)


def flat(text: str) -> str:
    """Without line ends and indents, so that a wrapped line is found."""
    return re.sub(r"\s+", " ", text)


FLAT = flat(TEXT)


def test_lines_has_one_line_a_message_in_order() -> None:
    lines = list(reference.lines(API))
    assert len(lines) == len(API.messages)
    assert [line.split("(")[0] for line in lines] == sorted(API.messages)


@pytest.mark.parametrize("message", API.messages.values(), ids=lambda message: message.full_name)
def test_every_message_is_in_every_form(message: Message) -> None:
    assert f" {message.line} " in f"{FLAT} "
    assert f"- `{message.line}`" in MARKDOWN
    (found,) = [item for item in DATA["messages"] if item["name"] == message.full_name]
    assert found["doc"] == message.doc
    assert [param["type"] for param in found["params"]] == [param.type.name for param in message.params]


def test_every_field_and_every_text_is_in_every_form() -> None:
    described = {item["name"]: item for item in DATA["classes"]}
    assert set(described) == set(API.classes)
    for name, cls in API.classes.items():
        assert [item["name"] for item in described[name]["fields"]] == list(cls.wire_fields)
        for field in cls.wire_fields.values():
            assert field.doc in FLAT
            assert field.doc.replace("<", "&lt;") in MARKDOWN


def test_a_verb_is_told_with_its_sentence_and_an_accessor_by_its_field_alone() -> None:
    verb, accessor = API.messages["VIF.plug"], API.messages["VIF.set_other_config"]
    assert flat(verb.doc) in FLAT
    assert accessor.derived
    assert accessor.doc not in FLAT


def test_errors_and_words_are_in_every_form() -> None:
    codes = {error.code for error in errors.XenError.__subclasses__()}
    assert {item["code"] for item in DATA["errors"]} == codes
    for code in codes:
        assert f"  {code}(" in TEXT
        assert f"| `{code}` |" in MARKDOWN
    assert {"vm_power_state", "vif_operations"} <= {item["name"] for item in DATA["enums"]}
    assert "vbd_mode: RW, RO" in TEXT
    assert "| `vbd_mode` | `RW`, `RO` |" in MARKDOWN


def test_text_fits_a_terminal() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > reference.WIDTH] == []
    assert [line for line in TEXT.splitlines() if line != line.rstrip()] == []


def test_a_field_says_what_create_needs_and_takes_by_default() -> None:
    assert "network (network ref, RO/constructor, required by create, bound to VIFs)" in FLAT
    assert "locking_mode (enum vif_locking_mode, RW, default network_default)" in FLAT
    assert "currently_attached (bool, RO/runtime)" in FLAT


def test_data_is_json() -> None:
    assert json.loads(json.dumps(DATA)) == DATA
    (device,) = [
        field
        for item in DATA["classes"]
        if item["name"] == "VIF"
        for field in item["fields"]
        if field["name"] == "network"
    ]
    assert device == {
        "name": "network",
        "type": "network ref",
        "qualifier": "RO/constructor",
        "doc": VIF.fields["network"].doc,
        "required": True,
        "default": None,
        "bound": "VIFs",
    }


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    width = 0
    for line in MARKDOWN.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        width = width or cells
        assert cells == width, line


def test_text_of_a_message_that_would_be_a_tag_or_a_cell_is_shown_as_it_is() -> None:
    odd = replace(API.messages["VIF.plug"], doc="Takes <b> and ``<c>`` | so on.", derived=False)
    page = "\n".join(reference.markdown(Api(API.classes, {"VIF.plug": odd})))
    assert "Takes &lt;b> and ``<c>`` | so on." in page

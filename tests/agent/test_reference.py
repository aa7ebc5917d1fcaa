"""The reference as text and as data: whatever is declared is in it. The page has ``test_reference_page``."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agent import __version__, errors
from agent.classes import VIF
from agent.messages import api as sealed
from agent.model import reference
from agent.model.api import Api
from agent.model.messages import Message
from agent.model.reference import contents
from agent.model.reference.text import WIDTH

API: Api = sealed()
TEXT = "\n".join(reference.text(API))
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
    assert {"vm_power_state", "vif_operations"} <= {item["name"] for item in DATA["enums"]}
    assert "vbd_mode: RW, RO" in TEXT


def test_text_fits_a_terminal() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > WIDTH] == []
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


def test_every_pair_of_bound_fields_is_told_with_how_many_there_are() -> None:
    assert "network.VIFs (exactly one), VIF.network (zero or more) Destroying the network is refused." in FLAT
    assert "VDI.VBDs (zero or one), VBD.VDI (zero or more)" in FLAT
    assert "VM.snapshots (zero or one), VM.snapshot_of (zero or more) Destroying the VM makes the reference" in FLAT
    for pair in contents.pairs(API):
        assert f"{pair.one.name} ({pair.one.cardinality}), {pair.other.name} ({pair.other.cardinality})" in FLAT


def test_structs_of_one_name_are_both_told() -> None:
    assert [item["name"] for item in DATA["structs"]].count("event record") == 2
    assert "struct event_batch: event record set events, (string -> int) map valid_ref_counts, string token" in FLAT
    assert "<class> record snapshot (not always)" in FLAT


def test_the_text_begins_with_what_it_is_and_how_much_there_is() -> None:
    title, rule, counts = TEXT.splitlines()[:3]
    assert title == f"XenAPI reference of xen-host-agent {__version__}"
    assert rule == "=" * len(title)
    assert counts.startswith(f"{len(API.classes)} classes, ")
    assert f" {len(API.messages):,} messages, " in counts


def test_an_error_says_to_whom_the_front_door_gives_it() -> None:
    assert re.search(r"SESSION_INVALID\(handle\) [^()]* Given by one that needs a session\.", FLAT)

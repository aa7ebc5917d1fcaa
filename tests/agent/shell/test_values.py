"""Values between command line and wire."""

from __future__ import annotations

from typing import Any

import pytest

from agent.shell.asked import Misused, given, meant, taken
from agent.shell.values import parse, plain, show
from agent.shell.words import Shape, key, spell
from agent.terminal import printable

STRING, INT, BOOL = Shape("string", "string"), Shape("int", "int"), Shape("bool", "bool")
WORDS = Shape("enum", "enum x", words=("HVM", "pv_in_pvh", "Running"))
REF = Shape("ref", "VM ref", "VM")
NULLABLE = Shape("ref", "VM ref", "VM", nullable=True)
NAMES = Shape("set", "string set", parts=(STRING,))
NUMBERS = Shape("map", "(string -> int) map", parts=(STRING, INT))
MACHINES = Shape("set", "VM ref set", parts=(REF,))
RECORD = Shape("record", "x record", "x")


def found(class_name: str, text: str) -> str:
    return f"OpaqueRef:{class_name}-{text}"


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (STRING, "a, b=c", "a, b=c"),
        (INT, "3", 3),
        (INT, "-3", -3),
        (INT, "8GiB", 8 * 2**30),
        (INT, "512 m", 512 * 2**20),
        (INT, "1kB", 1024),
        (Shape("float", "float"), "0.5", 0.5),
        (BOOL, "True", True),
        (BOOL, "no", False),
        (WORDS, "hvm", "HVM"),
        (WORDS, "pv-in-pvh", "pv_in_pvh"),
        (REF, "web", "OpaqueRef:VM-web"),
        (NULLABLE, "", "OpaqueRef:NULL"),
        (NULLABLE, "web", "OpaqueRef:VM-web"),
        (NAMES, "", []),
        (NAMES, "a,b", ["a", "b"]),
        (NAMES, '["a,b", "c"]', ["a,b", "c"]),
        (MACHINES, "web,db", ["OpaqueRef:VM-web", "OpaqueRef:VM-db"]),
        (NUMBERS, "a=1,b=2k", {"a": 1, "b": 2048}),
        (NUMBERS, "", {}),
        (RECORD, '{"a": 1}', {"a": 1}),
    ],
)
def test_a_text_becomes_what_its_type_says(shape: Shape, text: str, value: Any) -> None:
    assert parse(shape, text, "it", found) == value


@pytest.mark.parametrize(
    ("shape", "text", "complaint"),
    [
        (INT, "3.5", "no whole number, such as 3 or 8GiB"),
        (INT, "GiB", "no whole number"),
        (INT, "9" * 40, "no whole number"),
        (Shape("float", "float"), "x", "no number"),
        (BOOL, "maybe", "neither true nor false"),
        (WORDS, "runing", "none of HVM, pv_in_pvh, Running; did you mean 'Running'"),
        (NUMBERS, "a", "no key=value; or write it:key=value"),
        (NUMBERS, "a=x", "it:a: 'x' is no whole number"),
        (NAMES, "[a", "no JSON array"),
        (RECORD, "{", "no JSON"),
    ],
)
def test_a_text_that_is_none_of_its_type_is_told(shape: Shape, text: str, complaint: str) -> None:
    with pytest.raises(Misused, match=r"it: |it:a: ") as told:
        parse(shape, text, "it", found)
    assert complaint in str(told.value)


@pytest.mark.parametrize(
    ("shape", "value", "shown", "json"),
    [
        (REF, "OpaqueRef:1", "1", "1"),
        (NULLABLE, "OpaqueRef:NULL", "", None),
        (BOOL, True, "true", True),
        (INT, "12", "12", 12),
        (INT, 12, "12", 12),
        (WORDS, "Running", "Running", "Running"),
        (Shape("enum", "enum vm_power_state", words=("Running",)), "Running", "running", "Running"),
        (NAMES, ["a", "b"], "a; b", ["a", "b"]),
        (MACHINES, ["OpaqueRef:1", "OpaqueRef:2"], "1; 2", ["1", "2"]),
        (NUMBERS, {"a": 1, "b": 2}, "a: 1; b: 2", {"a": 1, "b": 2}),
        (Shape("void", "void"), "", "", None),
        (Shape("other", "struct"), {"a": 1}, '{"a": 1}', {"a": 1}),
        (STRING, None, "", None),
    ],
)
def test_values_are_shown_as_xe_shows_them_and_told_as_json(shape: Shape, value: Any, shown: str, json: Any) -> None:
    assert show(shape, value) == shown
    assert plain(shape, value) == json


@pytest.mark.threat("T11", "T26")
def test_no_name_can_speak_to_the_terminal() -> None:
    assert printable("a\x1b]0;x\x07\u202e\x9bb\nc") == "a\\x1b]0;x\\x07\\u202e\\x9bb\\nc"
    assert printable("Käse") == "Käse"


@pytest.mark.parametrize(
    ("wire", "typed"),
    [
        ("VM_guest_metrics", "vm-guest-metrics"),
        ("name_label", "name-label"),
        ("listMethods", "list-methods"),
        ("VCPUs_max", "vcpus-max"),
        ("VLAN", "vlan"),
        ("SRs", "srs"),
    ],
)
def test_names_are_spelled_as_xe_spells_them(wire: str, typed: str) -> None:
    assert spell(wire) == typed
    assert key(wire) == key(typed)


def test_words_are_taken_apart_at_the_first_equals_sign() -> None:
    [plain_word, member] = given(["name-label=a=b:c", "other-config:key:more=v"])
    assert (plain_word.key, plain_word.part, plain_word.text) == ("name-label", None, "a=b:c")
    assert (member.key, member.part, member.text) == ("other-config", "key:more", "v")


@pytest.mark.parametrize("word", ["vm", "=x", ""])
def test_a_word_without_a_name_or_a_value_is_told(word: str) -> None:
    with pytest.raises(Misused, match="is no parameter: write name=value"):
        given([word])


def test_what_is_given_twice_is_told() -> None:
    with pytest.raises(Misused, match="uuid is given twice"):
        taken(given(["uuid=1", "UUID=2"]), "uuid")


def test_a_suggestion_is_made_only_where_one_is_near() -> None:
    assert meant("vm-strat", ["vm-start", "sr-scan"]) == "; did you mean 'vm-start'?"
    assert meant("zebra", ["vm-start"]) == ""

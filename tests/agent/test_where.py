"""Expressions of get_all_records_where: what they find, and where they stop making sense."""

from __future__ import annotations

import pytest

from agent.classes import VM
from tests.door import Door


@pytest.fixture
def vms(door: Door) -> dict[str, VM]:
    return {
        "web": door.vm(name_label="web", tags=["a", "b"], other_config={"k": "v"}, user_version=1),
        "db": door.vm(name_label="db", user_version=2, is_a_template=True),
        'a "b" \\ c': door.vm(name_label='a "b" \\ c', user_version=3),
    }


def found(door: Door, expr: str) -> set[str]:
    return {vm.name_label for vm in door("VM.get_all_records_where", expr)}


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("true", {"web", "db", 'a "b" \\ c'}),
        ("false", set()),
        ('field "name__label" = "web"', {"web"}),
        ('field "name_label"="web"', {"web"}),
        ('field"user__version"="2"', {"db"}),
        ('field "is__a__template" = "true"', {"db"}),
        ('not field "name__label" = "web"', {"db", 'a "b" \\ c'}),
        ('not (field "name__label" = "web" or field "user__version" = "2")', {'a "b" \\ c'}),
        ('field "name__label" = "web" and field "user__version" = "1"', {"web"}),
        ('field "name__label" = "web" and field "user__version" = "2"', set()),
        ("true or false and false", {"web", "db", 'a "b" \\ c'}),
        ("(true or false) and false", set()),
        ("not not true and true", {"web", "db", 'a "b" \\ c'}),
        (r'field "name__label" = "a \"b\" \\ c"', {'a "b" \\ c'}),
        ("field \"tags\" = \"('a' 'b')\"", {"web"}),
        ("field \"other__config\" = \"(('k' 'v'))\"", {"web"}),
        ('field "affinity" = "OpaqueRef:NULL" and field "user__version" = "1"', {"web"}),
        ('field "power__state" = "Halted" and field "user__version" = "1"', {"web"}),
        ("  true  ", {"web", "db", 'a "b" \\ c'}),
    ],
)
def test_an_expression_finds_what_it_says(door: Door, vms: dict[str, VM], expr: str, wanted: set[str]) -> None:
    assert found(door, expr) == wanted


def test_a_reference_is_compared_as_itself(door: Door, vms: dict[str, VM]) -> None:
    door("VM.start", vms["web"], False)
    assert found(door, f'field "resident__on" = "{door.observer.host.ref}"') == {"web"}


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ("", "it ends too early"),
        ("maybe", "'maybe' is none of field, true, false, not and ("),
        ("true true", "'true' is one word too many"),
        ("(true", "it ends too early"),
        ("(true true)", "a parenthesis is not closed"),
        ("not", "it ends too early"),
        ("true and", "it ends too early"),
        ('field "nothing" = "x"', "VM has no field 'nothing'"),
        ('field "ours" = "true"', "VM has no field 'ours'"),
        ("field name = x", "VM has no field 'name'"),
        ('field "uuid" "x"', "a field is compared with ="),
        ('field "uuid" = x', "a value is written in double quotes"),
        ('field "uuid" = "x', "cannot read it from"),
        ("true; drop", "cannot read it from"),
        ("not " * 200 + "true", "it nests deeper than 50"),
        ("(" * 200 + "true" + ")" * 200, "it nests deeper than 50"),
    ],
)
def test_an_expression_that_makes_no_sense_is_told_where(door: Door, expr: str, why: str) -> None:
    code, field, text = door.refused("VM.get_all_records_where", expr)
    assert (code, field) == ("INVALID_VALUE", "expr")
    assert why in text
    assert len(text) < 600

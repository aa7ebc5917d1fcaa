"""The declared classes against the facts of both references: the original XenAPI 1.0 and today's xapi.

Whatever differs is in one table, ``agent.classes.deviations``; what is there and does not differ is an error too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as dataclass_fields
from typing import Any

import pytest

from agent import errors
from agent.classes import ABSENT, VM, absent, enums
from agent.classes.deviations import DEVIATIONS
from agent.model.api import least_role
from agent.model.entity import MISSING, Field
from agent.model.messages import Message, constructor_record
from agent.model.types import EPOCH, Enum, Map, Ref, Set, Type, WireEnum
from tests import original
from tests.modern import XAPI
from tests.original import API, ORIGINAL

OF_XAPI = {name: theirs for name, theirs in XAPI["classes"].items() if name in API.classes}
"""The classes of xapi that this build declares; how many those are, ``test_modern`` counts."""
WITHOUT_OBJECTS = {cls.wire_name for cls in ABSENT}

Difference = tuple[str, str]
"""A key of the table of deviations, and what differs."""


# --- what differs


def _field_like(key: str, ours: Field | None, kind: str, qualifier: str | None) -> Iterator[Difference]:
    if ours is None:
        yield key, "there is no such field"
        return
    if ours.type.name != kind:
        yield key, f"has the type {ours.type}, not {kind}"
    if qualifier is not None and ours.qualifier.value != qualifier:
        yield key, f"is {ours.qualifier.value}, not {qualifier}"


def of_the_original() -> Iterator[Difference]:
    """What the table of deviations must have; what is not listed, ``test_whole_reference`` finds."""
    for findings in original.KINDS.values():
        for key, differences in findings().items():
            if key in DEVIATIONS:
                yield from ((key, difference) for difference in differences)


def fields_of_xapi() -> Iterator[Difference]:
    for name, theirs in OF_XAPI.items():
        of_the_original = ORIGINAL["classes"].get(name, {"fields": {}})["fields"]
        for field, (kind, qualifier) in theirs["fields"].items():
            ours = API.classes[name].wire_fields.get(field)
            if field in of_the_original:
                # The original's rules of qualifiers come first; only the type is left to compare.
                yield from _field_like(f"{name}.{field}", ours, kind, None)
            elif qualifier == "RO/constructor" and f"set_{field}" in theirs["messages"]:
                # xapi's word for a field that is set by a message of its own; by the original's rules that is RW.
                settable = f"{name}.set_{field}" in API.messages
                yield from _field_like(f"{name}.{field}", ours, kind, "RW" if settable else qualifier)
            else:
                yield from _field_like(f"{name}.{field}", ours, kind, qualifier)


def fields_of_neither() -> Iterator[Difference]:
    for name, cls in API.classes.items():
        known = {
            field
            for source in (ORIGINAL, XAPI)
            for part in ("fields", "implied_fields", "removed_fields")
            for field in source["classes"].get(name, {}).get(part, ())
        }
        for field in cls.wire_fields:
            if field not in known:
                yield f"{name}.{field}", "is in neither reference"


def _listed_field(message: str) -> bool:
    """Whether the message is a getter of a field that deviates as a whole."""
    return ".get_" in message and message.replace(".get_", ".", 1) in DEVIATIONS


def messages_of_xapi() -> Iterator[Difference]:
    for name, theirs in OF_XAPI.items():
        for message, fact in theirs["messages"].items():
            key = f"{name}.{message}"
            ours = API.messages.get(key)
            if fact["kind"] == "get_all_where":
                if ours is None:
                    yield "*.get_all_where", f"there is no {key}"
            elif ours is None:
                if fact["kind"] != "custom" and not _listed_field(key):
                    yield key, "there is no such message"
            elif not _listed_field(key):
                yield from _signature(key, ours, fact)


def _signature(key: str, ours: Message, fact: dict[str, Any]) -> Iterator[Difference]:
    params = [param.type.name for param in ours.params]
    if params != fact["params"]:
        yield key, f"takes {params}, not {fact['params']}"
    if ours.result.name != fact["result"]:
        yield key, f"results in {ours.result}, not {fact['result']}"


def roles_of_xapi() -> Iterator[Difference]:
    for name, theirs in OF_XAPI.items():
        for message, fact in theirs["messages"].items():
            ours = API.messages.get(f"{name}.{message}")
            if ours is not None and fact["role"] is not None and least_role(ours).wire != fact["role"]:
                yield ours.full_name, f"needs {least_role(ours).wire}, not {fact['role']}"


def bound_fields_of_xapi() -> Iterator[Difference]:
    for ends in XAPI["bound_fields"]:
        if any(end.split(".")[0] not in API.classes.keys() - WITHOUT_OBJECTS for end in ends):
            continue
        one, other = (_declared(end) for end in ends)
        if one is None or other is None:
            yield ends[0], f"is bound to {ends[1]}, and one of them is missing"
        elif one.bound != other.name and other.bound != one.name:
            yield ends[0], f"is not bound to {ends[1]}"


def _declared(path: str) -> Field | None:
    name, field = path.split(".")
    return API.classes[name].wire_fields.get(field)


def _enum_of(kind: Type) -> Iterator[type[WireEnum]]:
    if isinstance(kind, Enum):
        yield kind.of
    elif isinstance(kind, Set):
        yield from _enum_of(kind.of)
    elif isinstance(kind, Map):
        yield from _enum_of(kind.key)
        yield from _enum_of(kind.value)


def all_enums() -> dict[str, type[WireEnum]]:
    return {
        item.wire_name: item
        for item in vars(enums).values()
        if isinstance(item, type) and issubclass(item, WireEnum) and item is not WireEnum
    } | dict(absent.ENUMS)


def words_of_enums() -> Iterator[Difference]:
    for name, enum in all_enums().items():
        original = set(ORIGINAL["enums"].get(name, ()))
        ours = {member.value for member in enum}
        lower = {word.lower() for word in ours}
        for missing in sorted(set(XAPI["enums"].get(name, ())) - ours):
            yield f"enum {name}", f"has no {missing}"
        for missing in sorted(word for word in original if word.lower() not in lower):
            yield f"enum {name}", f"has no {missing}"
        for surplus in sorted(ours - set(XAPI["enums"].get(name, ()))):
            yield f"enum {name}", f"has {surplus}, which xapi's clients do not know"


def error_classes() -> list[type[errors.XenError]]:
    return [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.XenError) and item is not errors.XenError
    ]


def codes_of_errors() -> Iterator[Difference]:
    for error in error_classes():
        count = len(dataclass_fields(error))  # type: ignore[arg-type]
        for source, name in ((XAPI, "xapi"), (ORIGINAL, "the original")):
            theirs = source["errors"].get(error.code, MISSING)
            if theirs is MISSING:
                if error.code not in (*XAPI["errors"], *ORIGINAL["errors"]):
                    yield error.code, f"is no code of {name}"
            elif theirs is not None and len(theirs) != count:
                yield error.code, f"has {count} parameters, not {len(theirs)} as in {name}"


COMPARISONS = (
    of_the_original,
    fields_of_xapi,
    fields_of_neither,
    messages_of_xapi,
    roles_of_xapi,
    bound_fields_of_xapi,
    words_of_enums,
    codes_of_errors,
)


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.__name__)
def test_every_difference_from_a_reference_is_listed(comparison: Any) -> None:
    unlisted = [f"{key} {what}" for key, what in comparison() if key not in DEVIATIONS]
    assert unlisted == []


def test_every_listed_deviation_is_one() -> None:
    found = {key for comparison in COMPARISONS for key, _ in comparison()}
    assert sorted(set(DEVIATIONS) - found) == []


# --- what each declaration must hold by itself

WIRE_FIELDS = [field for cls in API.classes.values() for field in cls.wire_fields.values()]
NEUTRAL: dict[str, tuple[object, ...]] = {
    "always empty": ("", (), {}),
    "always null": (None,),
    "always false": (False,),
    "always 0": (0,),
    "always 1970": (EPOCH,),
}


def _named(field: Field) -> str:
    return f"{field.owner}.{field.name}"


@pytest.mark.parametrize("field", WIRE_FIELDS, ids=_named)
def test_the_text_of_a_field_fits_into_a_sentence(field: Field) -> None:
    assert "TODO" not in field.doc
    assert not field.doc.endswith((".", " ", ":"))
    first = field.doc.split()[0]
    assert first.startswith(("KiB/s", "Mbit/s")) or not (first[0].isupper() and first[1:2].islower())


@pytest.mark.parametrize("field", [field for field in WIRE_FIELDS if field.doc.startswith("always ")], ids=_named)
def test_a_field_that_is_always_the_same_has_that_default(field: Field) -> None:
    for said, values in NEUTRAL.items():
        if field.doc.startswith(said):
            assert any(type(field.default) is type(value) and field.default == value for value in values)
            return
    word = field.doc.removeprefix("always ").split()[0].rstrip(":,;")
    assert str(field.default).lower() == word.lower()


@pytest.mark.parametrize("field", [field for field in WIRE_FIELDS if list(_enum_of(field.type))], ids=_named)
def test_words_that_are_sent_by_default_are_known_to_clients_of_xapi(field: Field) -> None:
    (enum,) = _enum_of(field.type)
    known = XAPI["enums"][enum.wire_name]
    assert field.type.default in ((), {}) or field.type.default in known
    values = field.default if isinstance(field.default, (tuple, dict)) else [field.default]
    assert [value for value in values if value not in known] == []


def test_every_enum_says_what_it_is_and_its_words_are_a_field_s() -> None:
    told = [kind for each in API.messages.values() for kind in (each.result, *(param.type for param in each.params))]
    kinds = [*(field.type for field in WIRE_FIELDS), *told]
    used = {enum.wire_name for kind in kinds for enum in _enum_of(kind)}
    assert sorted(all_enums()) == sorted(used)
    assert [name for name, enum in all_enums().items() if "TODO" in (enum.__doc__ or "TODO")] == []


@pytest.mark.parametrize("name", [name for name, cls in API.classes.items() if cls.creates])
def test_create_takes_what_the_original_says_and_a_record_of_defaults_is_admitted(name: str) -> None:
    record = constructor_record(API.classes[name])
    assert set(ORIGINAL["classes"].get(name, {"create_fields": ()})["create_fields"]) <= set(record.fields)
    for field in record.fields.values():
        if not field.required:
            field.admit(field.default)


def test_a_machine_made_with_nothing_but_a_name_has_limits_that_agree() -> None:
    vm = VM(name_label="web")
    assert 0 <= vm.memory_static_min <= vm.memory_dynamic_min <= vm.memory_dynamic_max <= vm.memory_static_max
    assert vm.memory_static_max % 2**20 == 0
    assert 1 <= vm.VCPUs_at_startup <= vm.VCPUs_max
    assert vm.domid == -1


def test_only_parts_owners_and_weak_references_say_what_becomes_of_them() -> None:
    for field in (field for cls in API.classes.values() for field in cls.fields.values()):
        if field.owns or field.weak or field.part or field.cascade or (field.bound and not field.through):
            assert isinstance(field.type, Ref), _named(field)
        assert field.owns + field.weak + field.part + field.cascade <= 1, _named(field)


def test_runtime_fields_of_measured_classes_that_change_by_themselves_make_no_event() -> None:
    for name in ("VM_metrics", "VIF_metrics", "VBD_metrics", "PIF_metrics", "host_metrics"):
        assert API.classes[name].measured
        assert API.classes[name].fields["last_updated"].quiet

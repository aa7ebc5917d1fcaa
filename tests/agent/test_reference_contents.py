"""What the reference says of errors and relations is derived; here it is held against what decoding and classes do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from agent.errors import CreateUnspecifiedAttribute, FieldTypeError, HandleInvalid, InvalidValue
from agent.model.api import Api
from agent.model.entity import Entity, Field, Qualifier
from agent.model.messages import Message
from agent.model.reference import contents
from agent.model.types import Bool, DateTime, Enum, Float, Int, Map, Mistyped, Record, Ref, Refused, Set, Type
from tests.door import sealed

API = sealed()
DEAD = "OpaqueRef:no-such-object"


def find(class_name: str, ref: str) -> Any:
    """There is an object behind every reference but one."""
    return None if ref == DEAD else object()


def right(kind: Type) -> str:
    """A value that a key of this type may have."""
    return next(word.value for word in kind.of) if isinstance(kind, Enum) else "OpaqueRef:some-object"


def wrong(kind: Type) -> list[object]:
    """Values that are in some way none of this type: of another kind, out of range, dead."""
    match kind:
        case Ref():
            return [object(), DEAD]
        case Set():
            return [object(), *([value] for value in wrong(kind.of))]
        case Map():
            keys = [{key: right(kind.value)} for key in wrong(kind.key)]
            return [object(), *keys, *({right(kind.key): value} for value in wrong(kind.value))]
        case Int():
            return [object(), 2**64]
        case Float():
            return [object(), float("inf")]
        case DateTime():
            return [object(), "20260230T00:00:00Z"]
        case Bool():
            return [object()]
        case Enum():
            return [object(), "no such word"]
    return [object(), "\0"]


def codes_of(kind: Type | Field) -> set[str]:
    """The codes that the front door answers with where a value is none of this type, or none for this field."""
    if isinstance(kind, Record):
        return answers(kind, [object(), {}]).union(*map(codes_of, kind.fields.values()))
    return answers(kind, wrong(kind.type if isinstance(kind, Field) else kind))


def answers(kind: Type | Field, values: Iterable[object]) -> set[str]:
    found: set[str] = set()
    for value in values:
        try:
            kind.decode(value, find)
        except Mistyped:
            found.add(FieldTypeError.code)
        except Refused:
            found.add(InvalidValue.code)
        except (FieldTypeError, InvalidValue, HandleInvalid, CreateUnspecifiedAttribute) as error:
            found.add(error.code)
    return found


BY_VALUE = {FieldTypeError.code, InvalidValue.code, HandleInvalid.code, CreateUnspecifiedAttribute.code}


@pytest.mark.parametrize("message", API.messages.values(), ids=lambda message: message.full_name)
def test_the_errors_by_value_are_those_that_decoding_gives(message: Message) -> None:
    promised = {error.code for error in contents.by_kind(message)} & BY_VALUE
    assert promised == set().union(*(codes_of(param.type) for param in message.params))


def test_the_errors_by_role_and_form_are_those_of_the_front_door() -> None:
    def codes(name: str) -> set[str]:
        return {error.code for error in contents.by_kind(API.messages[name])} - BY_VALUE

    every = {"MESSAGE_PARAMETER_COUNT_MISMATCH", "INTERNAL_ERROR"}
    assert codes("session.login_with_password") == every
    assert codes("VM.get_all") == every | {"SESSION_INVALID"}
    assert codes("VIF.set_MTU") == every | {"SESSION_INVALID", "RBAC_PERMISSION_DENIED"}
    assert codes("VM.start") == every | {"SESSION_INVALID", "RBAC_PERMISSION_DENIED", "TOO_MANY_PENDING_TASKS"}


def test_an_error_is_named_by_its_whole_code_only() -> None:
    message = Message("x", "y", (), API.messages["VM.start"].result, API.messages["VM.start"].kind, None, print, "")

    def named(doc: str) -> list[str]:
        changed: dict[str, Any] = {**vars(message), "doc": doc}
        return [error.code for error in contents.named(Message(**changed))]

    assert named("VM_IS_TEMPLATE for one, SR_FULL for another; SR_FULL again.") == ["VM_IS_TEMPLATE", "SR_FULL"]
    assert named("XVM_IS_TEMPLATE, SR_FULLER, sr_full, SR, Fault") == []


def test_the_errors_that_a_text_names_come_first() -> None:
    told = [error.code for error in contents.told(API.messages["VIF.add_to_other_config"])]
    assert told[0] == "MAP_DUPLICATE_KEY"
    assert len(told) == len(set(told)) > 5


def test_every_bound_field_makes_one_pair() -> None:
    bound = {
        frozenset((f"{field.owner}.{field.name}", f"{kind.to}.{field.bound}"))
        for cls in API.classes.values()
        for field in cls.wire_fields.values()
        for kind in (field.type.of if isinstance(field.type, Set) else field.type,)
        if field.bound and isinstance(kind, Ref)
    }
    found = [frozenset((pair.one.name, pair.other.name)) for pair in contents.pairs(API)]
    assert set(found) == bound
    assert len(found) == len(bound) > 15


def test_two_sets_can_be_bound() -> None:
    class Left(Entity):
        """One side."""

    class Right(Entity):
        """The other side."""

    for cls, name, other, back in ((Left, "rights", Right, "lefts"), (Right, "lefts", Left, "rights")):
        field = Field(Qualifier.RUNTIME, "what belongs to it", bound=back, name=name, owner=cls.wire_name)
        field.type = Set(Ref(other.wire_name))
        cls.fields = cls.wire_fields = {name: field}
    (pair,) = contents.pairs(Api({"Left": Left, "Right": Right}, {}))
    assert {pair.one.name, pair.other.name} == {"Left.rights", "Right.lefts"}
    assert (pair.one.cardinality, pair.other.cardinality) == ("zero or more", "zero or more")
    assert pair.destroyed == ""


def test_how_many_there_are_is_what_the_field_at_the_other_end_can_hold() -> None:
    pairs = {pair.other.name: pair for pair in contents.pairs(API)}
    assert pairs["VIF.network"].one.cardinality == "exactly one"
    assert pairs["VBD.VDI"].one.cardinality == "zero or one"
    assert {pair.other.cardinality for pair in pairs.values()} == {"zero or more"}
    parts = {part.one.name: part for part in contents.parts(API)}
    assert (parts["VM.metrics"].one.cardinality, parts["VM.metrics"].other.cardinality) == (
        "exactly one",
        "zero or one",
    )


def test_every_reference_is_in_one_list_of_relations() -> None:
    ends = {end.name for pair in (*contents.pairs(API), *contents.parts(API)) for end in (pair.one, pair.other)}
    single = [f"{field.owner}.{field.name}" for field, _ in contents.one_way(API)]
    references = {
        f"{field.owner}.{field.name}"
        for cls in API.classes.values()
        for field in cls.wire_fields.values()
        if isinstance(field.type, Ref) and field.type.to in API.classes
    }
    assert references <= ends | set(single)
    assert not ends & set(single)


def test_what_destroying_does_is_what_the_field_declares() -> None:
    pairs = {pair.other.name: pair.destroyed for pair in contents.pairs(API)}
    assert pairs["VIF.network"] == "is refused"
    assert pairs["VM.resident_on"] == "makes the reference null"
    assert pairs["console.VM"] == "takes along what refers to it"
    assert pairs["VBD.VM"].startswith('is refused; with [api] destroy = "xapi" it takes')


def test_a_class_belongs_to_the_one_whose_lane_it_takes() -> None:
    subjects = contents.subjects(API)
    assert {subjects[name] for name in ("VM", "VIF", "VIF_metrics", "VM_metrics", "console")} == {"VM"}
    assert {subjects[name] for name in ("SR", "VDI", "PBD")} == {"SR"}
    assert subjects["host"] == subjects["network"] == ""

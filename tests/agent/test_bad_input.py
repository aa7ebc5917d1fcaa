"""Bad input to every message that takes any, made up from the table: a wrong type, a dead reference, one of another
class, a value out of range. Each has its error, no message runs, and nothing changes.

The rest of the parameters are good. What a message itself refuses is its own tests' business; that it does not break
whatever it is given is tried here too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from agent import errors
from agent.errors import XenError
from agent.model import types
from agent.model.messages import Kind, Message
from agent.model.types import Type
from agent.roles import Role
from agent.users import Users
from tests.door import Door, sealed
from tests.fake_machine import FakeMachine

WRONG_TYPE, NO_OBJECT, NO_VALUE, NO_FIELD = (
    "FIELD_TYPE_ERROR",
    "HANDLE_INVALID",
    "INVALID_VALUE",
    "CREATE_UNSPECIFIED_ATTRIBUTE",
)
ROUNDS = settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
"""Each round goes through all messages of a class; what is drawn differs, what is tried does not."""
CODES = {error.code for error in errors.XenError.__subclasses__()}
ENDS_THE_SESSION = {"session.logout", "session.local_logout"}

NUMBERS = st.integers(-(2**40), 2**40)
WORDS = st.from_regex(r"x[a-z ]{0,8}", fullmatch=True)
LISTS = st.lists(st.integers(), max_size=2)
STRUCTS = st.dictionaries(st.just("x"), st.integers(), max_size=1)
NOT_OF: dict[type[Type], SearchStrategy[Any]] = {
    types.String: st.one_of(NUMBERS, st.booleans(), st.floats(), LISTS, STRUCTS),
    types.Int: st.one_of(WORDS, st.booleans(), st.just(0.5), LISTS, STRUCTS),
    types.Float: st.one_of(WORDS, st.booleans(), LISTS, STRUCTS),
    types.Bool: st.one_of(WORDS, NUMBERS, LISTS, STRUCTS),
    types.DateTime: st.one_of(WORDS, NUMBERS, st.booleans(), LISTS, STRUCTS),
    types.Enum: st.one_of(NUMBERS, st.booleans(), LISTS, STRUCTS),
    types.Ref: st.one_of(NUMBERS, st.booleans(), LISTS, STRUCTS),
    types.Set: st.one_of(WORDS, NUMBERS, st.booleans(), STRUCTS),
    types.Map: st.one_of(WORDS, NUMBERS, st.booleans(), LISTS),
    types.Record: st.one_of(WORDS, NUMBERS, st.booleans(), LISTS),
}
"""What cannot be read as a type."""
HUGE = st.one_of(st.integers(2**63, 2**64), st.integers(-(2**64), -(2**63) - 1))
OUT_OF: dict[type[Type], SearchStrategy[Any]] = {
    types.String: st.sampled_from(["\x00", "a\x1bb", "\ud800", "\uffff"]),
    types.Int: st.one_of(HUGE, HUGE.map(str)),
    types.Float: st.sampled_from(["nan", "inf", "-inf", float("inf"), float("nan"), 10**400]),
    types.DateTime: st.sampled_from(["20261399T00:00:00", "00000101T00:00:00Z"]),
    types.Enum: WORDS,
}
"""What is of a type and out of its range."""


def like(kind: Type, table: dict[type[Type], SearchStrategy[Any]]) -> SearchStrategy[Any] | None:
    """What the table has for a type, or for the one it is made from."""
    return next((table[base] for base in type(kind).__mro__ if base in table), None)


@dataclass
class House:
    """An agent with an object of every class that can be made here, and good values from it."""

    door: Door
    machine: FakeMachine
    objects: dict[str, str]

    def good(self, kind: Type) -> Any:
        """A value that a parameter of this type takes; KeyError where it takes an object of which there is none."""
        match kind:
            case types.Ref():
                return types.NULL if kind.nullable else self.objects[kind.to]
            case types.Set():
                return []
            case types.Map():
                return {}
            case types.Record():
                return {name: self.good(field.type) for name, field in kind.fields.items() if field.required}
            case types.Int() | types.Float():
                return 1
            case types.Bool():
                return False
            case types.Enum():
                return str(kind.default)
            case types.DateTime():
                return "20260101T00:00:00Z"
        return "abc"

    def bad(self, kind: Type, data: DataObject) -> Iterator[tuple[Any, str]]:
        """Bad values for a type, one of each kind of mistake, with the code that each is answered with."""
        wrong, out = like(kind, NOT_OF), like(kind, OUT_OF)
        if wrong is not None:
            yield data.draw(wrong), WRONG_TYPE
        if out is not None:
            yield data.draw(out), NO_VALUE
        match kind:
            case types.Ref():
                yield f"OpaqueRef:{uuid.uuid4()}", NO_OBJECT
                yield data.draw(WORDS), NO_OBJECT
                yield self.objects["network" if kind.to != "network" else "SR"], NO_OBJECT
                if not kind.nullable:
                    yield types.NULL, NO_OBJECT
            case types.Set():
                yield from (([value], code) for value, code in self.bad(kind.of, data))
            case types.Map():
                with suppress(KeyError):  # a key of a class of which there is no object here
                    key = self.good(kind.key)
                    yield from (({key: value}, code) for value, code in self.bad(kind.value, data))
            case types.Record():
                yield from self.bad_record(kind, data)

    def bad_record(self, kind: types.Record, data: DataObject) -> Iterator[tuple[Any, str]]:
        """Records with one bad field, and such as lack one that is required."""
        good = self.good(kind)
        for name, field in kind.fields.items():
            for value, code in self.bad(field.type, data):
                yield good | {name: value}, code
            if field.required:
                yield {key: value for key, value in good.items() if key != name}, NO_FIELD

    def calls(self, message: Message, data: DataObject) -> Iterator[tuple[list[Any], str]]:
        """Parameters of which one is bad, and the code that they are answered with."""
        before: list[Any] = []
        for number, param in enumerate(message.params):
            after = message.params[number + 1 : message.required]
            for value, code in self.bad(param.type, data):
                # Parameters are read in order: what follows a bad one is never looked at.
                yield [*before, value, *["" for _ in after]], code
            try:
                before.append(self.good(param.type))
            except KeyError:
                return

    def state(self) -> tuple[int, list[int]]:
        """What is not the same any more once anything was changed, or the machine below was asked."""
        ports = (self.machine.domains, self.machine.storage, self.machine.networks, self.machine.node)
        parts = (self.machine.node.control, self.machine.node.cpu_pools)
        return self.door.store.changes.generation, [len(port.calls) for port in (*ports, *parts)]

    def refused(self, message: Message, params: list[Any]) -> list[str]:
        """The error that a message must answer."""
        session = [self.door.session] if message.role is not None else []
        try:
            answer = self.door.send(message.full_name, *session, *params)
        except XenError as error:
            return error.description
        raise AssertionError(f"{message.full_name}{params!r} was not refused but answered {answer!r}")


@contextmanager
def open_house(folder: Path) -> Iterator[House]:
    """An agent on a machine in memory, with an object of every class that can be made on it."""
    machine = FakeMachine()
    users = folder / "users.json"
    Users(users).add("root", "word", Role.POOL_ADMIN)
    door = Door(machine.ports(), None, users=users)
    try:
        vm = door.vm()
        network, sr = door("network.get_all")[0], door("SR.get_all")[0]
        door("VIF.create", {"VM": vm.ref, "network": network.ref, "device": "0"})
        vdi = door("VDI.create", {"SR": sr.ref, "virtual_size": 2**20, "type": "user"})
        door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0", "mode": "RW", "type": "Disk"})
        door("task.create", "mine", "")
        door("user.create", {"short_name": "me"})
        door("debug.create", {})
        stored = [name for name, cls in sealed().classes.items() if cls.stored]
        yield House(door, machine, {name: all_[0].ref for name in stored if (all_ := door(f"{name}.get_all"))})
    finally:
        door.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The house that bad parameters are tried on: whatever is tried, it stays as it is."""
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


CLASSES = sorted({message.class_name for message in sealed().messages.values() if message.params})


def messages_of(name: str) -> list[Message]:
    return [message for message in sealed().messages.values() if message.class_name == name and message.params]


@pytest.mark.parametrize("name", CLASSES)
@ROUNDS
@given(data=st.data())
def test_bad_parameters_are_refused_and_change_nothing(house: House, name: str, data: DataObject) -> None:
    before = house.state()
    for message in messages_of(name):
        calls = list(house.calls(message, data))
        assert calls, f"no mistake was made with {message.full_name}"
        for params, code in calls:
            refused = house.refused(message, params)
            assert refused[0] == code, f"{message.full_name}{params!r} was answered {refused}"
            assert all(isinstance(word, str) for word in refused)
    assert house.state() == before


def test_every_parameter_of_every_message_has_a_mistake_that_can_be_made() -> None:
    for message in sealed().messages.values():
        for param in message.params:
            assert like(param.type, NOT_OF) is not None, f"{message.full_name} takes {param.type}"


TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=9)


def of_type(kind: Type, data: DataObject, house: House) -> Any:
    """Any value at all of a type, be it sensible or not."""
    match kind:
        case types.Ref():
            return house.objects.get(kind.to, types.NULL)
        case types.Set():
            return [of_type(kind.of, data, house) for _ in range(data.draw(st.integers(0, 2)))]
        case types.Map():
            count = data.draw(st.integers(0, 2))
            return {of_type(kind.key, data, house): of_type(kind.value, data, house) for _ in range(count)}
        case types.Record():
            return {name: of_type(field.type, data, house) for name, field in kind.fields.items()}
        case types.Int():
            return data.draw(st.one_of(st.integers(-5, 20), st.integers(-(2**63), 2**63 - 1)))
        case types.Float():
            return data.draw(st.floats(allow_nan=False, allow_infinity=False))
        case types.Bool():
            return data.draw(st.booleans())
        case types.Enum():
            return data.draw(st.sampled_from(sorted(kind.of)))
        case types.DateTime():
            return "20260101T00:00:00Z"
    return data.draw(TEXTS)


@pytest.mark.parametrize("name", CLASSES)
@ROUNDS
@given(data=st.data())
def test_senseless_values_of_the_right_type_break_nothing(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: DataObject
) -> None:
    """What is answered is done, or one of the errors there are; of a write that is refused nothing stays."""
    with open_house(tmp_path_factory.mktemp("own")) as house:
        for message in messages_of(name):
            if message.kind is Kind.WAIT or message.full_name in ENDS_THE_SESSION:
                continue
            params = [of_type(param.type, data, house) for param in message.params]
            session = [house.door.session] if message.role is not None else []
            house.door.idle()
            before = house.door.store.changes.generation
            refused = None
            try:
                house.door.send(message.full_name, *session, *params)
            except XenError as error:
                refused = error
            if refused is not None:
                assert refused.code in CODES - {"INTERNAL_ERROR"}, f"{message.full_name}{params!r}: {refused}"
                if message.kind is Kind.WRITE:
                    assert house.door.store.changes.generation == before, f"{message.full_name}{params!r}"

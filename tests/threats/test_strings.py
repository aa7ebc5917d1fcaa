"""Poisoned text: what would end some reader is refused wherever a client can put text, and what is taken reaches every
reader whole: XML, JSON, events, the journal, the log, a terminal.
"""

from __future__ import annotations

import json
import logging
import re
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import XenError
from agent.logs import OneLine
from agent.model import types
from agent.model.messages import Kind, Message
from agent.model.types import Type
from agent.rpc import jsonrpc
from agent.rpc import xmlrpc as wire
from agent.rpc.dispatch import Result
from agent.shell import output
from agent.store.journal import Journal
from agent.store.store import Store
from agent.terminal import as_json
from tests.agent.test_bad_input import ENDS_THE_SESSION, House, open_house
from tests.door import Door, sealed
from tests.fake_machine import FakeMachine
from tests.fuzz.target import LEFT_OUT

POISONS = ("\x00", "a\x01b", "\x1b[2J", "x\x0c", "\ud800", "\udfffx", "\ufffe", "\uffff")
"""Control characters, halves of surrogate pairs, and what is no character: none of it is text in XML 1.0 or UTF-8."""
NASTY = (
    "]]>",
    "\r\nx\r",
    "a\tb\n",
    "\u202egpj",
    "\u2028",
    "\x9b31mred\x85",
    "&lt;&amp;",
    "</value><value>",
    "😀\U0010fffd",
    "'\"\\",
    "$(id);-x",
)
"""What is text, and has ended readers all the same."""

DATE = re.compile(r"\d{8}T\d\d:\d\d:\d\dZ")


def poisoned(kind: Type, text: str, house: House) -> Iterator[Any]:
    """Values of a type with the text in one of the places where there is text."""
    match kind:
        case types.String():
            yield text
        case types.Set():
            yield from ([value] for value in poisoned(kind.of, text, house))
        case types.Map():
            if isinstance(kind.value, types.String) and isinstance(kind.key, types.String):
                yield {"key": text}
            if isinstance(kind.key, types.String):
                yield {text: house.good(kind.value)}
        case types.Record():
            good = house.good(kind)
            for name, field in kind.fields.items():
                yield from (good | {name: value} for value in poisoned(field.type, text, house))


def calls(message: Message, text: str, house: House) -> Iterator[list[Any]]:
    """Parameters of a message with the text in one place; none where it needs an object that there is not here."""
    try:
        good = [house.good(param.type) for param in message.params[: message.required]]
    except KeyError:
        return
    for place, param in enumerate(message.params[: message.required]):
        for value in poisoned(param.type, text, house):
            yield [*good[:place], value, *good[place + 1 :]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.mark.threat("T11", "T14")
@pytest.mark.parametrize("poison", POISONS, ids=ascii)
def test_poison_is_refused_wherever_there_is_text(house: House, poison: str) -> None:
    before, tried = house.state(), 0
    for message in sealed().messages.values():
        for params in calls(message, poison, house):
            refused = house.refused(message, params)
            assert refused[0] == "INVALID_VALUE", f"{message.full_name}{params!r}: {refused}"
            assert poison not in "".join(refused)
            tried += 1
    assert house.state() == before
    assert tried > 500


def written(wire_writer: Any, kind: Type, value: Any) -> bytes:
    out: list[bytes] = []
    for _ in wire_writer(kind).steps(value, out):
        pass
    return b"".join(out)


def in_xml(kind: Type, value: Any) -> Any:
    """What a client of XML-RPC reads."""
    ((answer,), _) = xmlrpc.client.loads(
        b"".join((wire.SUCCESS[0], written(wire.writer, kind, value), wire.SUCCESS[1])).decode()
    )
    assert isinstance(answer, dict)
    return answer["Value"]


def in_json(kind: Type, value: Any) -> Any:
    """What a client of JSON-RPC reads."""
    return json.loads(written(jsonrpc.writer, kind, value))


def texts(value: Any) -> Iterator[str]:
    """All texts in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


@pytest.mark.threat("T11", "T12", "T14")
@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_what_is_taken_reaches_every_reader_whole(tmp_path: Path, nasty: str) -> None:
    with open_house(tmp_path) as house:
        door, api = house.door, sealed()
        taken = 0
        for message in api.messages.values():
            if message.full_name in LEFT_OUT | ENDS_THE_SESSION or message.name.startswith(("destroy", "remove")):
                continue
            if message.kind is not Kind.WRITE and message.name != "create":
                continue
            for params in calls(message, nasty, house):
                session = [door.session] if message.role is not None else []
                try:
                    door.send(message.full_name, *session, *params)
                    taken += 1
                except XenError as error:
                    require_readable_failure(error.description)
        door.idle()
        assert taken > 60
        for name, cls in api.classes.items():
            if cls.stored:
                result = door._send(f"{name}.get_all_records", [door.session]).result(30.0)
                require_same_in_both(result)
        require_same_in_both(door._send("event.from", [door.session, ["*"], "", 0.0]).result(30.0))


def require_same_in_both(result: Result) -> None:
    """XML, JSON and the shell tell the same text."""
    from_xml, from_json = in_xml(result.type, result.value), in_json(result.type, result.value)
    told = {text for text in texts(from_json) if not DATE.fullmatch(text)}
    assert told <= set(texts(from_xml))  # where numbers are text too
    shown = as_json(from_json)
    assert json.loads(shown) == from_json
    assert all(line.isprintable() for line in shown.split("\n"))
    rows = [[text] for text in texts(from_json)]
    if rows:
        assert all(line.isprintable() for line in output.table(["text"], rows, 60))
    for text in {text for (text,) in rows if not text.isprintable()}:
        entry = logging.LogRecord("agent", logging.INFO, __file__, 1, "%s", (text,), None)
        assert OneLine("%(message)s").format(entry).isprintable()


def require_readable_failure(description: list[str]) -> None:
    """A refusal that tells the text again can be read too."""
    ((answer,), _) = xmlrpc.client.loads(wire.failure(description).decode())
    assert isinstance(answer, dict)
    assert answer["ErrorDescription"] == description
    assert json.loads(jsonrpc.dumps(description)) == description


@pytest.mark.threat("T11")
@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_what_is_taken_outlives_the_agent(tmp_path: Path, nasty: str) -> None:
    door = Door(FakeMachine().ports(), tmp_path / "journal.db")
    vm = door.vm(name_label=nasty, name_description=nasty, other_config={f"k{nasty}": nasty}, tags=[f"t{nasty}"])
    kept = (vm.name_label, vm.name_description, vm.other_config, vm.tags)
    door.close()
    store = Store(sealed().classes, Journal(tmp_path / "journal.db"))
    store.load()
    try:
        found = store.find("VM", vm.ref)
        assert found is not None
        assert (found.name_label, found.name_description, found.other_config, found.tags) == kept  # type: ignore[attr-defined]
        assert found.name_label == nasty  # type: ignore[attr-defined]
    finally:
        store.close()


@pytest.mark.threat("T11")
def test_a_megabyte_is_refused_where_a_field_is_short_and_kept_whole_where_it_is_not(house: House) -> None:
    door = house.door
    long = "x" * 2**20
    told: dict[str, int] = {}
    for message in sealed().messages.values():
        if (
            message.name not in ("set_name_label", "set_name_description", "set_other_config")
            or len(message.params) != 2
        ):
            continue
        if (of := house.objects.get(message.class_name)) is None:
            continue
        value: Any = {"key": long} if message.name == "set_other_config" else long
        try:
            door.send(message.full_name, door.session, of, value)
        except XenError as error:
            told[message.full_name] = len("".join(error.description))
            continue
        kept = door.send(message.full_name.replace(".set_", ".get_"), door.session, of)
        assert kept == value
        door.send(message.full_name, door.session, of, {} if isinstance(value, dict) else "")
    assert {name: length for name, length in told.items() if length > 2000} == {}, "the refusal tells all of it again"

"""The record of who did what: what has a line and what has none, what is in it, and what never is."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import audit
from agent.call import Call
from agent.errors import XenError
from agent.logs import JsonLine, OneLine
from agent.model.messages import Kind
from agent.roles import Role
from agent.users import Users
from tests.door import WAIT_SECONDS, Door, eventually, sealed
from tests.fake_machine import FakeMachine

Lines = Callable[[], list[dict[str, Any]]]
POISON = 'x" result=ok\nuser=root \x1b[2J\u202egpj\u2028\x85 \ud83d'[:-1]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """The lines of the audit until now, by their fields."""
    caplog.set_level(logging.DEBUG)
    return lambda: [record.__dict__["audit"] for record in caplog.records if record.name == "agent.audit"]


@pytest.fixture
def guarded(machine: FakeMachine, tmp_path: Path) -> Iterator[Door]:
    """An agent with a user: ada, whose password is s3cret."""
    Users(tmp_path / "users").add("ada", "s3cret", Role.VM_ADMIN)
    opened = Door(machine.ports(), None, users=tmp_path / "users")
    yield opened
    opened.close()


def test_a_login_a_change_and_a_logout_each_have_a_line(guarded: Door, lines: Lines) -> None:
    secret = guarded.send_from("192.0.2.1", "session.login_with_password", "ada", "s3cret")
    vm = guarded.vm()
    guarded.send_from("192.0.2.1", "VM.set_name_description", secret, vm, "a note")
    guarded.send_from("192.0.2.1", "session.logout", secret)
    login, change, logout = [line for line in lines() if line["from"] == "192.0.2.1"]
    assert (login["call"], login["user"], login["result"]) == ("session.login_with_password", "ada", "ok")
    assert (change["call"], change["user"], change["result"]) == ("VM.set_name_description", "ada", "ok")
    assert change["object"] == f"VM {vm.uuid} {vm.name_label}"
    assert (logout["call"], logout["user"], logout["result"]) == ("session.logout", "ada", "ok")
    assert login["session"] == change["session"] == logout["session"]
    assert all(line["seconds"] >= 0 for line in (login, change, logout))


def test_a_wrong_password_has_a_line_with_the_name_that_was_tried(guarded: Door, lines: Lines) -> None:
    with pytest.raises(XenError):
        guarded.send("session.login_with_password", "eve", "guessed")
    [line] = lines()
    assert (line["user"], line["from"], line["result"]) == ("eve", "test", "SESSION_AUTHENTICATION_FAILED")
    assert "session" not in line


@pytest.mark.threat("T18")
def test_who_guesses_too_often_is_answered_alike_and_his_guess_is_not_looked_at(guarded: Door, lines: Lines) -> None:
    guarded.dispatch.throttle.size = 2
    for password in ("one", "two", "s3cret"):
        with pytest.raises(XenError) as refused:
            guarded.send_from("192.0.2.1", "session.login_with_password", "ada", password)
        assert refused.value.description == ["SESSION_AUTHENTICATION_FAILED", "ada", "Authentication failure"]
    assert [line["result"] for line in lines()] == ["SESSION_AUTHENTICATION_FAILED"] * 3
    assert guarded.send_from("uid=0", "session.login_with_password", "ada", "")


def test_what_was_made_is_named(door: Door, lines: Lines) -> None:
    network = door.send("network.create", door.session, {"name_label": "lan"})
    [line] = lines()
    assert line["object"] == f"network {network.uuid} lan"


def test_what_is_refused_has_a_line_with_the_code_and_the_object_alone(door: Door, lines: Lines) -> None:
    vm = door.vm()
    before = len(lines())
    reader = door.log_in(Role.READ_ONLY, "monitor")
    door.refused("VM.start", vm, False, session=reader)
    door.refused("VM.unpause", vm)
    door.refused("VM.start", vm)
    door.refused("VM.set_name_label", 7, "x", session=reader)
    door.refused("VM.destroy", "OpaqueRef:nothing")
    named = f"VM {vm.uuid} {vm.name_label}"
    assert [(line["call"], line["user"], line.get("object"), line["result"]) for line in lines()[before:]] == [
        ("VM.start", "monitor", named, "RBAC_PERMISSION_DENIED"),
        ("VM.unpause", "root", named, "VM_BAD_POWER_STATE"),
        ("VM.start", "root", named, "MESSAGE_PARAMETER_COUNT_MISMATCH"),
        ("VM.set_name_label", "monitor", None, "RBAC_PERMISSION_DENIED"),
        ("VM.destroy", "root", None, "HANDLE_INVALID"),
    ]


def test_what_runs_in_the_background_has_its_line_at_its_end(door: Door, machine: FakeMachine, lines: Lines) -> None:
    vm = door.vm()
    before = len(lines())
    task = door.send("Async.VM.start", door.session, vm, False, False)
    door.ended(task)
    eventually(lambda: len(lines()) > before, "a line")
    [line] = lines()[before:]
    assert (line["call"], line["task"], line["result"]) == ("Async.VM.start", task.uuid, "ok")
    failing = door.send("Async.VM.unpause", door.session, vm)
    door.ended(failing)
    eventually(lambda: len(lines()) == before + 2, "another line")
    assert lines()[-1]["result"] == "VM_BAD_POWER_STATE"


def test_reads_and_calls_of_nobody_have_none(door: Door, lines: Lines) -> None:
    vm = door.vm()
    before = lines()
    door("VM.get_record", vm)
    door("VM.get_all_records")
    door("event.register", ["VM"])
    door.later("event.from", ["VM"], "", 0.0).result(WAIT_SECONDS)
    door("system.listMethods")
    door.refused("VM.start", vm, False, session="OpaqueRef:guessed")
    assert lines() == before


def test_all_that_changes_is_recorded_and_nothing_that_only_looks() -> None:
    messages = sealed().messages.values()
    recorded = {message.full_name for message in messages if audit.changes(message)}
    assert {
        message.full_name
        for message in messages
        if message.kind in (Kind.WRITE, Kind.VERB)
        and message.name.startswith(("set_", "add_", "remove_", "create", "destroy", "plug", "unplug", "start"))
        and message.class_name != "event"
    } <= recorded
    assert not {m.full_name for m in messages if m.kind in (Kind.READ, Kind.MEASURE, Kind.WAIT)} & recorded
    assert not {name for name in recorded if name.partition(".")[2].startswith(("get_", "assert_", "query_"))}
    kept = {"session.login_with_password", "session.change_password", "host.call_plugin", "host.dmesg_clear"}
    assert kept | {"VM.hard_shutdown", "host.install_server_certificate", "session.logout"} <= recorded


@pytest.mark.threat("T26")
def test_a_poisoned_name_forges_no_line_and_no_field(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    entry = audit.Entry("VM.start", Call(door.site))
    entry.who(None, POISON)
    entry.about = f"VM {POISON}"
    caplog.clear()
    entry.end()
    [record] = caplog.records
    text = OneLine("%(message)s").format(record)
    assert text.isprintable()
    assert text.count(" result=ok") == 3  # two of them within quotes, which the next line takes away
    pairs = dict(item.split("=", 1) for item in _unquoted(text))
    assert (pairs["result"], set(pairs)) == ("ok", {"call", "user", "object", "result", "seconds"})
    line = JsonLine().format(record)
    assert line.isascii()
    assert line.isprintable()
    fields = json.loads(line)
    assert (fields["user"], fields["object"], fields["result"]) == (POISON, f"VM {POISON}", "ok")


def _unquoted(text: str) -> list[str]:
    """The fields of a line, what is in quotes as one letter."""
    out, quoted, escaped = "", False, False
    for letter in text:
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
            out += "q"
        else:
            out += letter
    return out.split(" ")


@pytest.mark.threat("T26")
def test_no_secret_is_logged_at_any_level(guarded: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = guarded.send("session.login_with_password", "ada", "s3cret")
    for password in ("wr0ng", "s3cret\n", "s3cret\x00"):
        with pytest.raises(XenError):
            guarded.send("session.login_with_password", "ada", password)
    guarded.refused("session.change_password", "0ld", "n3w", session=secret)
    guarded.send("session.change_password", secret, "s3cret", "n3wword")
    made = guarded("secret.create", {"value": "ch4p"})
    guarded("secret.set_value", made, "ch4p2")
    guarded.refused("secret.set_value", made, ["ch4p3"])
    vm = guarded.vm()
    guarded("VM.add_to_other_config", vm, "password", "h1dden")
    guarded.refused("VM.add_to_other_config", vm, "password", "h1dden2")
    guarded.refused("VM.start", secret, False, session=secret)
    guarded.send("session.logout", secret)
    formatted = "\n".join(
        JsonLine().format(record) + OneLine("%(message)s").format(record) for record in caplog.records
    )
    assert "secret.set_value" in formatted
    for hidden in ("s3cret", "wr0ng", "0ld", "n3w", "ch4p", "h1dden", secret, secret[10:24], guarded.session):
        assert hidden not in formatted

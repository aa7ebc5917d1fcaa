"""Dispatch: what is refused before anything runs, who may send what, where each kind of message runs, and what is told
when something fails that should not.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import sessions as sessions_module
from agent.classes import VM, Network
from agent.errors import XenError
from agent.model.messages import Kind, Message
from agent.model.types import Record, Ref
from agent.roles import Role
from agent.users import Users
from tests.door import WAIT_SECONDS, Block, Door, eventually
from tests.fake_machine import FakeMachine

NULL = "OpaqueRef:NULL"
ANYBODY = [
    "session.login_with_password",
    "session.slave_local_login_with_password",
    "system.listMethods",
    "system.methodHelp",
    "system.methodSignature",
]
"""All that can be sent without a session. A new one belongs here only after a second thought."""


# --- names


@pytest.mark.threat("T2")
@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "VM",
        "VM.",
        ".start",
        "VM.fly",
        "vm.start",
        "VM.start ",
        "VM.__class__",
        "VM.__init__",
        "VM.ref",
        "VM.ours",
        "VM.get_ours",
        "session.get_token_hash",
        "session.get_role_name",
        "Async.",
        "Async.VM.fly",
        "Async.Async.VM.start",
        "async.VM.start",
        "VM_fly",
        "event.create",
        "host.create",
        "VM.start\x00",
    ],
)
def test_a_name_that_is_not_in_the_table_does_not_exist(door: Door, name: str) -> None:
    assert door.refused(name) == ["MESSAGE_METHOD_UNKNOWN", name]
    assert door.refused(name, session="no session") == ["MESSAGE_METHOD_UNKNOWN", name]


@pytest.mark.threat("T2")
def test_a_long_unknown_name_is_told_in_part(door: Door) -> None:
    assert door.refused("x" * 100_000) == ["MESSAGE_METHOD_UNKNOWN", "x" * 200]


@pytest.mark.parametrize("name", ["VM_get_name_label", "VM.get_name_label"])
def test_a_name_may_be_written_with_an_underscore(door: Door, name: str) -> None:
    assert door(name, door.vm()) == "web"


def test_a_class_with_an_underscore_may_be_written_with_another(door: Door) -> None:
    vm = door.vm()
    assert door("VM_metrics_get_uuid", vm.metrics) == door("VM_metrics.get_uuid", vm.metrics)
    assert door("Async.VM_start", vm, False).wire_name == "task"


@pytest.mark.parametrize("name", ["VM.get_name_label", "VM.set_name_label", "VM.get_all_records", "event.from"])
def test_a_message_that_answers_at_once_has_no_async_form(door: Door, name: str) -> None:
    assert door.refused(f"Async.{name}", NULL) == ["Fault", f"No async mode for this operation (rpc: {name})"]


# --- parameters


@pytest.mark.parametrize("given", [0, 1, 4, 20])
def test_a_wrong_number_of_parameters_is_told(door: Door, given: int) -> None:
    mismatch = ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.start", "2", str(given)]
    assert door.refused("VM.start", *[NULL] * given) == mismatch
    assert door.refused("Async.VM.start", *[NULL] * given) == mismatch


def test_no_parameters_at_all_lack_even_the_session(door: Door) -> None:
    with pytest.raises(XenError) as refused:
        door.send("VM.get_all")
    assert refused.value.description == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_all", "0", "0"]


def test_parameters_with_a_default_may_be_left_out_from_the_end(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, True)
    assert vm.power_state == "Paused"
    door("VM.hard_shutdown", vm)
    door("VM.start", vm, False, True)
    assert vm.power_state == "Running"


@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("VM.set_name_label", [5], "value"),
        ("VM.set_name_label", [None], "value"),
        ("VM.set_name_label", [["web"]], "value"),
        ("VM.set_user_version", ["one"], "value"),
        ("VM.set_user_version", [True], "value"),
        ("VM.set_user_version", [1.5], "value"),
        ("VM.set_is_a_template", ["true"], "value"),
        ("VM.set_is_a_template", [1], "value"),
        ("VM.set_tags", ["web"], "value"),
        ("VM.set_tags", [[1]], "value"),
        ("VM.set_other_config", [[]], "value"),
        ("VM.set_other_config", [{"a": 1}], "value"),
        ("VM.add_to_other_config", ["a", 1], "value"),
        ("VM.set_HVM_shadow_multiplier", ["much"], "value"),
        ("VM.set_actions_after_crash", [0], "value"),
        ("VM.set_affinity", [0], "value"),
        ("VM.start", ["yes"], "start_paused"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_by_parameter(
    door: Door, name: str, params: list[object], field: str
) -> None:
    vm = door.vm()
    before = dict(vm.__dict__)
    assert door.refused(name, vm, *params) == ["FIELD_TYPE_ERROR", field]
    assert vm.__dict__ == before


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("VM.set_user_version", 2**63, "it does not fit into 64 bits"),
        pytest.param("VM.set_user_version", 10**6000, "it does not fit into 64 bits", id="huge"),
        ("VM.set_name_label", "a\x00b", "it has a character that XML cannot carry"),
        ("VM.set_HVM_shadow_multiplier", float("nan"), "it is no finite number"),
        ("VM.set_actions_after_crash", "explode", "it is none of"),
    ],
)
def test_a_value_that_is_out_of_range_is_told_with_the_reason(door: Door, name: str, value: object, why: str) -> None:
    code, field, text = door.refused(name, door.vm(), value)
    assert (code, field) == ("INVALID_VALUE", "value")
    assert why in text
    assert len(text) < 1000
    assert text.isascii()


def test_text_is_taken_for_a_number_where_it_is_one(door: Door) -> None:
    vm = door.vm()
    door("VM.set_user_version", vm, " 42 ")
    assert vm.user_version == 42


def test_a_null_is_nothing_where_there_can_be_nothing(door: Door) -> None:
    vm = door.vm(tags=["web"], affinity=door.observer.host.ref, other_config={"a": "b"}, name_label=None)
    assert vm.name_label == ""
    for field in ("tags", "affinity", "other_config"):
        door(f"VM.set_{field}", vm, None)
    assert (vm.tags, vm.affinity, vm.other_config) == ((), None, {})
    door("VM.start", vm, False, None)
    assert vm.power_state == "Running"


@pytest.mark.parametrize(
    ("name", "params", "answer"),
    [
        ("VM.set_name_label", [None], ["FIELD_TYPE_ERROR", "value"]),
        ("VM.set_user_version", [None], ["FIELD_TYPE_ERROR", "value"]),
        ("VM.set_is_a_template", [None], ["FIELD_TYPE_ERROR", "value"]),
        ("VM.set_tags", [[None]], ["FIELD_TYPE_ERROR", "value"]),
        ("VM.set_other_config", [{"a": None}], ["FIELD_TYPE_ERROR", "value"]),
        ("VM.start", [None], ["FIELD_TYPE_ERROR", "start_paused"]),
        ("VM.start_on", [None, False], ["FIELD_TYPE_ERROR", "host"]),
    ],
)
def test_a_null_is_refused_where_it_could_mean_anything(
    door: Door, name: str, params: list[object], answer: list[str]
) -> None:
    assert door.refused(name, door.vm(), *params) == answer


def test_a_record_that_gives_null_for_what_create_needs_lacks_it(door: Door) -> None:
    assert door.refused("VIF.create", {"network": None})[:2] == ["CREATE_UNSPECIFIED_ATTRIBUTE", "network"]


def test_a_map_keeps_an_empty_key(door: Door) -> None:
    vm = door.vm()
    door("VM.set_other_config", vm, {"": "nameless", "a": "b"})
    assert door("VM.get_other_config", vm) == {"": "nameless", "a": "b"}


def test_a_record_may_have_what_create_does_not_take(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    vm = door.vm(power_state="Running", uuid="mine", colour="blue")
    assert vm.power_state == "Halted"
    assert vm.uuid != "mine"
    assert "VM record ignores colour, power_state, uuid: not for create" in caplog.text


def test_a_record_without_what_create_needs_is_refused(door: Door) -> None:
    assert door.refused("VIF.create", {"device": "0"}) == ["CREATE_UNSPECIFIED_ATTRIBUTE", "network", "VIF"]


@pytest.mark.parametrize("args", ["", [], None, 5])
def test_what_is_no_record_is_refused(door: Door, args: object) -> None:
    assert door.refused("VM.create", args) == ["FIELD_TYPE_ERROR", "args"]


@pytest.mark.parametrize("reference", ["", "web", NULL, "OpaqueRef:", "OpaqueRef:00000000-0000-0000-0000-000000000000"])
def test_a_reference_to_nothing_is_refused(door: Door, reference: str) -> None:
    assert door.refused("VM.get_uuid", reference) == ["HANDLE_INVALID", "VM", reference]


def test_a_reference_of_another_class_is_refused(door: Door) -> None:
    host = door.observer.host.ref
    assert door.refused("VM.get_uuid", host) == ["HANDLE_INVALID", "VM", host]
    assert door.refused("VM.start_on", door.vm(), door.vm(), False)[:2] == ["HANDLE_INVALID", "host"]


def test_a_reference_of_a_destroyed_object_is_refused(door: Door) -> None:
    vm = door.vm()
    door("VM.destroy", vm)
    calls: dict[str, list[object]] = {
        "VM.get_uuid": [],
        "VM.get_record": [],
        "VM.start": [False],
        "VM.set_name_label": ["x"],
        "VM.destroy": [],
    }
    for name, params in calls.items():
        assert door.refused(name, vm.ref, *params) == ["HANDLE_INVALID", "VM", vm.ref]


def test_every_message_that_takes_an_object_refuses_a_dead_one(door: Door) -> None:
    """Whatever the other parameters are: none of them is of use without the object."""
    wrong = {}
    for name, message in door.site.api.messages.items():
        if message.params and isinstance(message.params[0].type, Ref) and not message.params[0].type.nullable:
            answer = door.refused(name, "OpaqueRef:gone", *["?"] * (message.required - 1))
            if answer != ["HANDLE_INVALID", message.params[0].type.to, "OpaqueRef:gone"]:
                wrong[name] = answer
    assert wrong == {}


# --- sessions and roles


@pytest.mark.threat("T1")
@pytest.mark.parametrize("secret", ["", "nonsense", NULL, "OpaqueRef:" + "0" * 36])
def test_a_session_that_never_was_is_refused(door: Door, secret: str) -> None:
    assert door.refused("VM.get_all", session=secret) == ["SESSION_INVALID", secret]
    assert door.refused("Async.VM.start", door.vm(), False, session=secret) == ["SESSION_INVALID", secret]


@pytest.mark.parametrize("secret", [None, 5, [], {}])
def test_a_session_that_is_no_text_is_refused(door: Door, secret: Any) -> None:
    with pytest.raises(XenError) as refused:
        door.send("VM.get_all", secret)
    assert refused.value.description == ["SESSION_INVALID", ""]


@pytest.mark.threat("T1")
def test_the_reference_of_a_session_opens_nothing(door: Door) -> None:
    reference = door.sessions.find(door.session).ref
    assert door.refused("VM.get_all", session=reference) == ["SESSION_INVALID", reference]


@pytest.mark.threat("T1")
def test_a_session_that_was_logged_out_is_refused(door: Door) -> None:
    secret = door.log_in(Role.POOL_ADMIN)
    assert door.send("VM.get_all", secret) == []
    door.send("session.logout", secret)
    assert door.refused("VM.get_all", session=secret) == ["SESSION_INVALID", secret]


@pytest.mark.threat("T1")
def test_a_session_that_has_expired_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = door.log_in(Role.POOL_ADMIN)
    now = sessions_module.monotonic()  # type: ignore[attr-defined]
    monkeypatch.setattr(sessions_module, "monotonic", lambda: now + sessions_module.IDLE_SECONDS + 60)
    assert door.refused("VM.get_all", session=secret) == ["SESSION_INVALID", secret]


@pytest.mark.threat("T1")
def test_exactly_these_messages_need_no_session(door: Door) -> None:
    assert [name for name, message in door.site.api.messages.items() if message.role is None] == ANYBODY


@pytest.mark.threat("T1")
def test_every_other_message_needs_one(door: Door) -> None:
    wrong = {}
    for name, message in door.site.api.messages.items():
        if name not in ANYBODY:
            answer = door.refused(name, *["?"] * message.required, session="nonsense")
            if answer != ["SESSION_INVALID", "nonsense"]:
                wrong[name] = answer
    assert wrong == {}


@pytest.mark.threat("T15")
@pytest.mark.parametrize("role", Role)
def test_a_role_lets_pass_what_it_may_and_nothing_above(door: Door, role: Role) -> None:
    """Too many parameters stop every message right after the roles were looked at."""
    secret = door.log_in(role)
    wrong = {}
    for name, message in door.site.api.messages.items():
        if message.role is None:
            continue
        code, told, *_ = door.refused(name, *["?"] * 30, session=secret)
        allowed = message.role <= role
        if (code, told) != ("MESSAGE_PARAMETER_COUNT_MISMATCH" if allowed else "RBAC_PERMISSION_DENIED", name):
            wrong[name] = code
    assert wrong == {}


def test_a_role_that_is_too_low_is_told_which_is_needed(door: Door) -> None:
    vm = door.vm()
    secret = door.log_in(Role.READ_ONLY)
    assert door.send("VM.get_name_label", secret, vm) == "web"
    assert door.refused("VM.start", vm, False, session=secret) == [
        "RBAC_PERMISSION_DENIED",
        "VM.start",
        "the role read-only may not; it needs vm-operator or higher",
    ]
    assert door.refused("Async.VM.start", vm, False, session=secret)[0] == "RBAC_PERMISSION_DENIED"
    assert vm.power_state == "Halted"


@pytest.mark.threat("T15")
def test_every_getter_but_those_of_secrets_may_be_read_by_everybody_who_is_logged_in(door: Door) -> None:
    above = {
        message.class_name
        for message in door.site.api.messages.values()
        if message.derived and message.kind in (Kind.READ, Kind.MEASURE) and message.role is not Role.READ_ONLY
    }
    assert above == {"secret"}


@pytest.mark.threat("T15")
def test_nothing_that_changes_a_machine_may_be_done_by_a_reader(door: Door) -> None:
    own = ("session", "event", "task")  # what concerns the caller alone
    low = [
        name
        for name, message in door.site.api.messages.items()
        if message.kind in (Kind.WRITE, Kind.VERB)
        and message.role in (None, Role.READ_ONLY)
        and message.class_name not in own
    ]
    assert low == []


def test_messages_without_a_session_take_one_too(door: Door) -> None:
    names = door.send("system.listMethods")
    assert door("system.listMethods") == names
    assert door("system.methodHelp", "VM.start") == door.send("system.methodHelp", "VM.start")


# --- logging in


@pytest.fixture
def guarded(machine: FakeMachine, tmp_path: Path) -> Iterator[Door]:
    """An agent with a user: ada, whose password is s3cret."""
    Users(tmp_path / "users").add("ada", "s3cret", Role.VM_ADMIN)
    opened = Door(machine.ports(), None, users=tmp_path / "users")
    yield opened
    opened.close()


@pytest.mark.parametrize("name", ["session.login_with_password", "session.slave_local_login_with_password"])
def test_a_login_opens_a_session_of_the_users_role(guarded: Door, name: str) -> None:
    secret = guarded.send(name, "ada", "s3cret")
    session = guarded.sessions.find(secret)
    assert (session.auth_user_name, session.role_name) == ("ada", "vm-admin")
    assert guarded.send("VM.get_all", secret) == []


def test_a_login_may_name_version_and_originator(guarded: Door) -> None:
    secret = guarded.send("session.login_with_password", "ada", "s3cret", "2.21", "a tool")
    assert guarded.sessions.find(secret).originator == "a tool"


@pytest.mark.threat("T17")
@pytest.mark.parametrize(("user", "password"), [("ada", "wrong"), ("ada", ""), ("nobody", "s3cret"), ("", "")])
def test_a_wrong_password_opens_nothing_and_does_not_say_what_was_wrong(
    guarded: Door, user: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(XenError) as refused:
        guarded.send("session.login_with_password", user, password)
    assert refused.value.description == ["SESSION_AUTHENTICATION_FAILED", user, "Authentication failure"]
    assert "call=session.login_with_password" in caplog.text
    assert "from=test result=SESSION_AUTHENTICATION_FAILED" in caplog.text
    assert password == "" or password not in caplog.text


@pytest.mark.threat("T5")
def test_what_is_sent_beside_a_login_is_not_kept_for_its_delay(guarded: Door) -> None:
    class Surplus:
        pass

    surplus = Surplus()
    kept = weakref.ref(surplus)
    guarded.dispatch.login_delay_seconds = 3600.0
    refused = guarded._send("session.login_with_password", [surplus, "ada", "wrong", "1.0", "tool"])
    del surplus
    eventually(lambda: kept() is None, "the end of what nobody asked for")
    assert not refused.done()
    refused.cancel()


def test_root_on_this_host_needs_no_password(guarded: Door) -> None:
    """As over xapi's own socket; a wrong password is wrong for root too, and nobody else is root."""
    login = "session.login_with_password"
    for params in (("", ""), ("root", "", "", "XSConsole")):
        session = guarded.sessions.find(guarded.send_from("uid=0", login, *params))
        assert (session.auth_user_name, session.role_name, session.is_local_superuser) == ("root", "pool-admin", True)
    for peer, params in (("uid=0", ("root", "wrong")), ("uid=1000", ("", "")), ("127.0.0.1", ("root", ""))):
        with pytest.raises(XenError) as refused:
            guarded.send_from(peer, login, *params)
        assert refused.value.description[0] == "SESSION_AUTHENTICATION_FAILED"


def test_a_password_can_be_changed_by_who_knows_the_old_one(guarded: Door) -> None:
    secret = guarded.send("session.login_with_password", "ada", "s3cret")
    assert guarded.refused("session.change_password", "wrong", "n3w", session=secret)[0] == (
        "SESSION_AUTHENTICATION_FAILED"
    )
    guarded.send("session.change_password", secret, "s3cret", "n3w")
    assert guarded.send("session.login_with_password", "ada", "n3w")
    with pytest.raises(XenError):
        guarded.send("session.login_with_password", "ada", "s3cret")


@pytest.mark.threat("T18")
def test_guessing_the_old_password_costs_what_guessing_at_a_login_costs(guarded: Door) -> None:
    guarded.dispatch.throttle.size = 2
    secret = guarded.send("session.login_with_password", "ada", "s3cret")
    failed = ["SESSION_AUTHENTICATION_FAILED", "ada", "Authentication failure"]
    guarded.dispatch.login_delay_seconds = 0.1
    began = time.monotonic()
    for _ in range(2):
        assert guarded.refused("session.change_password", "wrong", "n3w", session=secret) == failed
    assert time.monotonic() - began >= 0.2
    assert guarded.refused("session.change_password", "s3cret", "n3w", session=secret) == failed
    with pytest.raises(XenError, match="SESSION_AUTHENTICATION_FAILED"):
        guarded.send("session.login_with_password", "ada", "s3cret")


@pytest.mark.threat("T18")
def test_every_message_that_is_shown_a_password_has_its_guesses_counted(door: Door) -> None:
    shown = {
        name
        for name, message in door.site.api.messages.items()
        if message.class_name == "session" and {param.name for param in message.params} & {"pwd", "old_pwd"}
    }
    assert {name for name, message in door.site.api.messages.items() if message.password} == shown


def test_a_password_that_cannot_be_is_refused(guarded: Door) -> None:
    secret = guarded.send("session.login_with_password", "ada", "s3cret")
    assert guarded.refused("session.change_password", "s3cret", "", session=secret)[0] == "OPERATION_NOT_ALLOWED"
    assert guarded.send("session.login_with_password", "ada", "s3cret")


# --- where messages run


def test_a_read_does_not_wait_for_a_verb(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    block = Block(machine.domains, "start")
    starting = door.later("VM.start", vm.ref, False)
    block.await_entry()
    assert door("VM.get_power_state", vm) == "Halted"
    assert door("VM.get_record", vm) is vm
    assert not starting.done()
    block.release()
    starting.result(WAIT_SECONDS)
    assert door("VM.get_power_state", vm) == "Running"


def test_a_write_does_not_wait_for_a_verb(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    block = Block(machine.domains, "start")
    starting = door.later("VM.start", vm.ref, False)
    block.await_entry()
    door("VM.set_name_description", vm, "meanwhile")
    assert not starting.done()
    block.release()
    starting.result(WAIT_SECONDS)
    assert vm.name_description == "meanwhile"


def test_verbs_of_one_machine_wait_for_each_other(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    block = Block(machine.domains, "start")
    starting = door.later("VM.start", vm.ref, False)
    block.await_entry()
    pausing = door.later("VM.pause", vm.ref)
    block.release()
    pausing.result(WAIT_SECONDS)
    assert starting.done()
    assert vm.power_state == "Paused"


def test_verbs_of_two_machines_run_beside_each_other(door: Door, machine: FakeMachine) -> None:
    first, second = door.vm(), door.vm()
    block = Block(machine.domains, "start")
    starting = door.later("VM.start", first.ref, False)
    block.await_entry()
    machine.domains.plan.clear()
    door("VM.start", second, False)
    assert second.power_state == "Running"
    assert not starting.done()
    block.release()
    starting.result(WAIT_SECONDS)


def test_a_device_waits_for_its_machine(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    vif = door("VIF.create", {"VM": vm.ref, "network": door.store.all(Network)[0].ref, "device": "0"})
    door.idle()
    block = Block(machine.domains, "start")
    starting = door.later("VM.start", vm.ref, False)
    block.await_entry()
    unplugging = door.later("VIF.unplug", vif.ref)
    block.release()
    unplugging.result(WAIT_SECONDS)
    assert starting.done()
    assert not vif.currently_attached


def test_the_plug_can_be_pulled_while_another_verb_is_under_way(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    block = Block(machine.domains, "suspend")
    suspending = door.later("VM.suspend", vm.ref)
    block.await_entry()
    door("VM.hard_shutdown", vm)
    assert vm.power_state == "Halted"
    block.release()
    with pytest.raises(XenError, match="VM_BAD_POWER_STATE"):
        suspending.result(WAIT_SECONDS)
    assert vm.power_state == "Halted"


def test_what_has_gone_while_a_verb_waited_its_turn_is_refused(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door.idle()
    block = Block(machine.domains, "undefine")
    destroying = door.later("VM.destroy", vm.ref)
    block.await_entry()
    starting = door.later("VM.start", vm.ref, False)
    renaming = door.later("VM.set_is_a_template", vm.ref, True)
    task = door("Async.VM.start", vm, False)
    block.release()
    destroying.result(WAIT_SECONDS)
    for future in (starting, renaming):
        with pytest.raises(XenError, match=f"HANDLE_INVALID VM {vm.ref}"):
            future.result(WAIT_SECONDS)
    assert door.ended(task).error_info == ("HANDLE_INVALID", "VM", vm.ref)
    assert vm.uuid not in machine.domains.known


def test_a_client_that_goes_away_does_not_stop_what_it_began(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    block = Block(machine.domains, "start")
    starting = door.later("VM.start", vm.ref, False)
    block.await_entry()
    starting.cancel()
    block.release()
    eventually(lambda: vm.power_state == "Running", "the start")
    eventually(lambda: not vm.current_operations, "the end of the verb")


def test_a_write_is_answered_only_when_it_is_durable(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = door.vm()
    door.idle()
    journal = door.store._journal
    write, tried, let = journal.write, threading.Event(), threading.Event()

    def slow(rows: Any) -> None:
        tried.set()
        assert let.wait(WAIT_SECONDS)
        write(rows)

    monkeypatch.setattr(journal, "write", slow)
    writing = door.later("VM.set_name_label", vm.ref, "durable")
    assert tried.wait(WAIT_SECONDS)
    assert door("VM.get_power_state", vm) == "Halted"  # the loop does not wait for the disk
    assert not writing.done()
    let.set()
    writing.result(WAIT_SECONDS)
    assert vm.name_label == "durable"


def test_a_write_that_cannot_be_kept_is_told_and_undone(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = door.vm()
    door.idle()

    def full(rows: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(door.store._journal, "write", full)
        code, text = door.refused("VM.set_name_label", vm, "lost")
    assert code == "INTERNAL_ERROR"
    assert text.endswith("was undone: the state folder says: database or disk is full")
    assert door("VM.get_name_label", vm) == "web"
    door("VM.set_name_label", vm, "kept")
    assert door("VM.get_name_label", vm) == "kept"


def test_many_clients_at_once_get_their_own_answers(door: Door) -> None:
    vms = [door.vm(name_label=str(number)) for number in range(20)]
    writes = [door.later("VM.set_name_description", vm.ref, f"of {vm.name_label}") for vm in vms for _ in range(5)]
    reads = [door.later("VM.get_name_label", vm.ref) for vm in vms]
    assert [read.result(WAIT_SECONDS).value for read in reads] == [vm.name_label for vm in vms]
    for write in writes:
        assert write.result(WAIT_SECONDS).value is None
    assert all(vm.name_description == f"of {vm.name_label}" for vm in vms)


# --- what should not fail


def explode() -> None:
    raise ZeroDivisionError("the secret of the port")


def replaced(door: Door, name: str, function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a message do something else."""
    messages = dict(door.site.api.messages)
    old = messages[name]
    messages[name] = Message(
        old.class_name, old.name, old.params, old.result, old.kind, old.role, function, old.doc, has_async=old.has_async
    )
    monkeypatch.setattr(door.dispatch, "_messages", messages)


def test_what_fails_unexpectedly_in_a_port_is_logged_under_the_id_that_the_client_gets(
    door: Door, machine: FakeMachine, caplog: pytest.LogCaptureFixture
) -> None:
    vm = door.vm()
    machine.domains.plan["start"] = explode
    code, text = door.refused("VM.start", vm, False)
    assert code == "INTERNAL_ERROR"
    found = re.fullmatch(r"ZeroDivisionError: the agent's log has the rest under ([0-9a-f]{8})", text)
    assert found
    assert f"VM.start failed unexpectedly [{found[1]}]" in caplog.text
    assert "the secret of the port" in caplog.text
    assert not vm.current_operations


@pytest.mark.parametrize("name", ["VM.get_name_label", "VM_metrics.get_uuid", "VM.set_name_label", "VM.pause"])
def test_what_fails_unexpectedly_anywhere_is_told_alike(
    door: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    vm = door.vm()
    subject = vm.metrics if name.startswith("VM_metrics") else vm
    replaced(door, name, lambda call, self, *rest: explode(), monkeypatch)
    code, text = door.refused(name, subject, *["value"] * name.count("set_"))
    assert (code, text[:18]) == ("INTERNAL_ERROR", "ZeroDivisionError:")
    assert f"{name} failed unexpectedly [{text[-8:]}]" in caplog.text
    assert door("VM.get_uuid", vm) == vm.uuid


def test_what_fails_in_the_middle_of_a_write_is_undone(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = door.vm()

    def half(call: Any, self: VM, value: str) -> None:
        self.name_label = value
        explode()

    replaced(door, "VM.set_name_label", half, monkeypatch)
    assert door.refused("VM.set_name_label", vm, "half")[0] == "INTERNAL_ERROR"
    assert vm.name_label == "web"


def test_every_create_takes_its_whole_table(door: Door) -> None:
    """All RW and RO/constructor fields, and no runtime one."""
    for name, message in door.site.api.messages.items():
        if name.endswith(".create") and isinstance(message.params[0].type, Record):
            record = message.params[0].type
            cls = door.site.api.classes[message.class_name]
            wanted = {key for key, field in cls.wire_fields.items() if field.qualifier.value != "RO/runtime"}
            assert record.fields.keys() == wanted, name

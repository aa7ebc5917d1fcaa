"""Messages to admins, secrets, roles and who is logged in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.access import permissions_of
from agent.classes import Message
from agent.classes.enums import PowerState
from agent.errors import SessionInvalid
from agent.model.types import EPOCH
from agent.observer import notices
from agent.roles import Role
from agent.sessions import Sessions
from tests.door import Door, eventually, sealed
from tests.fake_machine import FakeMachine

VALUE = "a value that nobody reads by chance"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    opened = Door(FakeMachine().ports(), tmp_path / "journal", users=tmp_path / "users.json")
    yield opened
    opened.close()


def told(door: Door, uuid: str) -> list[str]:
    return [each.name for each in door.store.all(Message) if each.obj_uuid == uuid]


# --- messages


def test_what_becomes_of_a_machine_is_told(door: Door) -> None:
    vm = door.vm()
    door("VM.start", vm, False, False)
    door("VM.suspend", vm)
    door("VM.resume", vm, False, False)
    door("VM.hard_reboot", vm)
    door("VM.hard_shutdown", vm)
    door.idle()
    assert told(door, vm.uuid) == ["VM_STARTED", "VM_SUSPENDED", "VM_RESUMED", "VM_REBOOTED", "VM_SHUTDOWN"]
    found = door("message.get", "vm", vm.uuid, "19700101T00:00:00Z")
    assert next((each.priority, each.cls, each.body) for each in found) == (5, "VM", "web was started.")


def test_what_is_found_at_the_start_is_not_told(tmp_path: Path) -> None:
    machine = FakeMachine()
    for _ in range(2):
        door = Door(machine.ports(), tmp_path / "another", users=tmp_path / "users.json")
        vm = next(iter(door("VM.get_by_name_label", "web")), None) or door.vm()
        if vm.power_state is PowerState.HALTED:
            door("VM.start", vm, False, False)
        assert told(door, vm.uuid) == ["VM_STARTED"]
        door.close()


def test_a_message_is_about_something_that_there_is(door: Door) -> None:
    host = door("host.get_all")[0]
    made = door("message.create", "DISK_FAILING", 2, "Host", host.uuid, "the one on the left")
    assert door("message.get_all_records")[made] is made
    assert (made.priority, made.cls, made.body) == (2, "Host", "the one on the left")
    assert made.timestamp > EPOCH
    assert door.refused("message.create", "X", 1, "VM", host.uuid, "") == ["UUID_INVALID", "VM", host.uuid]
    assert door.refused("message.create", "X", 1, "VMPP", host.uuid, "")[0] == "UUID_INVALID"
    assert door.refused("message.create", "", 1, "Host", host.uuid, "")[0] == "INVALID_VALUE"
    assert door.refused("message.create", "X", 1, "Host", host.uuid, "x" * 70000)[0] == "INVALID_VALUE"


def test_messages_are_found_by_time(door: Door) -> None:
    host = door("host.get_all")[0]
    old, new = (door("message.create", name, 5, "Host", host.uuid, "") for name in ("OLD", "NEW"))
    with door.store.transaction():
        old.timestamp = EPOCH
    assert list(door("message.get_since", "20200101T00:00:00Z")) == [new]
    assert list(door("message.get", "Host", host.uuid, "20200101T00:00:00Z")) == [new]
    assert list(door("message.get_all_records_where", 'field "name" = "OLD"')) == [old]


def test_messages_are_destroyed_one_by_one_many_and_all(door: Door) -> None:
    pool = door("pool.get_all")[0]
    made = [door("message.create", f"N{n}", n, "Pool", pool.uuid, "") for n in range(1, 6)]
    door("message.destroy", made[0])
    assert door.refused("message.destroy_many", [made[1].ref, made[0].ref])[0] == "HANDLE_INVALID"
    door("message.destroy_many", [made[1].ref, made[2].ref])
    assert list(door("message.get_all")) == made[3:]
    door("message.destroy_all", {"priority": "4", "after": "20200101T00:00:00Z"})
    assert list(door("message.get_all")) == made[4:]
    assert door.refused("message.destroy_all", {"colour": "red"})[0] == "INVALID_VALUE"
    assert door.refused("message.destroy_all", {"before": "yesterday"})[0] == "INVALID_VALUE"
    door("message.destroy_all", {"before": "20200101T00:00:00Z"})
    assert list(door("message.get_all")) == made[4:]
    door("message.destroy_all", {})
    assert list(door("message.get_all")) == []


def test_the_oldest_messages_make_room(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "KEPT", 3)
    pool = door("pool.get_all")[0]
    made = [door("message.create", f"N{n}", 5, "Pool", pool.uuid, "") for n in range(5)]
    assert list(door("message.get_all")) == made[2:]


def test_a_message_is_an_event(door: Door) -> None:
    token = door("event.from", ["message"], "", 0.0)["token"]
    pool = door("pool.get_all")[0]
    made = door("message.create", "N", 5, "Pool", pool.uuid, "")
    [event] = door("event.from", ["message"], token, 5.0)["events"]
    assert (event["class"], event["operation"], event["snapshot"]) == ("message", "add", made)


# --- secrets


@pytest.mark.threat("T15")
def test_a_secret_is_for_a_pool_operator_alone(door: Door) -> None:
    secret = door("secret.create", {"value": VALUE})
    assert door("secret.get_value", door("secret.get_by_uuid", secret.uuid)) == VALUE
    admin = door.log_in(Role.VM_POWER_ADMIN)
    names = [name for name in sealed().messages if name.startswith("secret.")]
    assert len(names) >= 14
    for name in names:
        params = ["" for param in sealed().messages[name].params]
        assert door.refused(name, *params, session=admin)[0] == "RBAC_PERMISSION_DENIED"


@pytest.mark.threat("T26")
def test_a_secret_makes_no_event_and_no_line_of_the_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secret = door("secret.create", {"value": VALUE, "surplus": VALUE})
    door("secret.set_value", secret, VALUE + "!")
    door("event.inject", "secret", secret)
    door.refused("secret.set_value", secret, [VALUE])
    events = door("event.from", ["*", "secret"], "", 0.0)["events"]
    assert [event for event in events if event["class"] == "secret"] == []
    assert VALUE not in caplog.text


def test_a_secret_outlives_the_agent(tmp_path: Path) -> None:
    before = Door(FakeMachine().ports(), tmp_path / "journal", users=tmp_path / "users.json")
    secret = before("secret.create", {"value": VALUE, "other_config": {"of": "me"}})
    before.close()
    again = Door(FakeMachine().ports(), tmp_path / "journal", users=tmp_path / "users.json")
    found = again("secret.get_by_uuid", secret.uuid)
    assert (found.value, found.other_config) == (VALUE, {"of": "me"})
    again.close()


# --- roles


def test_the_roles_have_the_permissions_that_the_table_says(door: Door) -> None:
    for role in Role:
        [told_role] = door("role.get_by_name_label", role.wire)
        names = set(door("role.get_permissions_name_label", told_role))
        for message in sealed().messages.values():
            if message.role is not None:
                assert (message.full_name.lower() in names) == (message.role <= role), message.full_name


def test_a_permission_tells_the_roles_that_have_it(door: Door) -> None:
    names = [role.name_label for role in door("role.get_by_permission_name_label", "vm.start")]
    assert names == ["vm-operator", "vm-admin", "vm-power-admin", "pool-operator", "pool-admin"]
    [start] = door("role.get_by_name_label", "vm.start")
    assert [role.name_label for role in door("role.get_by_permission", start)] == names
    assert door("role.get_permissions", start) == (start,)
    assert list(door("role.get_by_permission_name_label", "vm.fly")) == []
    roles = [role.name_label for role in door("role.get_all") if role.subroles]
    assert roles == [role.wire for role in Role]


def test_a_role_is_the_same_one_in_every_run(door: Door) -> None:
    other = Door(FakeMachine().ports(), None)
    try:
        assert [role.ref for role in other("role.get_all")] == [role.ref for role in door("role.get_all")]
    finally:
        other.close()


def test_a_session_tells_what_its_user_may_do(door: Door) -> None:
    door.log_in(Role.VM_OPERATOR, "worker")
    [session] = [each for each in door("session.get_all") if each.auth_user_name == "worker"]
    permissions = door("session.get_rbac_permissions", session)
    assert "vm.start" in permissions
    assert "vm.destroy" not in permissions
    assert not door("session.get_is_local_superuser", session)
    [mine] = [each for each in door("session.get_all") if each.auth_user_name == "root"]
    assert door("session.get_is_local_superuser", mine)
    assert list(door("session.get_rbac_permissions", mine)) == []
    with door.store.transaction():
        session.rbac_permissions = ()
    Sessions(door.store)  # as after a restart, since the journal does not keep them
    assert door("session.get_rbac_permissions", session) == permissions == permissions_of(door.store, Role.VM_OPERATOR)


# --- who is logged in


def test_a_user_is_logged_out_everywhere_but_where_it_was_asked(door: Door) -> None:
    first, second = door.log_in(Role.POOL_ADMIN, "anna"), door.log_in(Role.POOL_ADMIN, "anna")
    waiting = door.later("event.from", ["task"], door("event.from", ["task"], "", 0.0)["token"], 30.0, session=second)
    assert "anna" in door("session.get_all_subject_identifiers")
    door.send("session.logout_subject_identifier", first, "anna")
    with pytest.raises(SessionInvalid):
        waiting.result(30.0)
    assert door.refused("pool.get_all", session=second)[0] == "SESSION_INVALID"
    assert door.send("pool.get_all", first)
    door("session.logout_subject_identifier", "anna")
    eventually(lambda: "anna" not in door("session.get_all_subject_identifiers"), "the logout")
    door("session.logout_subject_identifier", "nobody of that name")


def test_there_is_no_directory(door: Door) -> None:
    for name in ("get_subject_identifier", "get_subject_information_from_identifier", "get_group_membership"):
        assert door.refused(f"auth.{name}", "root") == ["AUTH_IS_DISABLED"]
    assert door.refused("subject.create", {"subject_identifier": "root"}) == ["AUTH_IS_DISABLED"]

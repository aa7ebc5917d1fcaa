"""Sessions: a secret that opens one, limits, idleness, and what outlives the agent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from agent import sessions as module
from agent.classes import Session, User
from agent.errors import InternalError, SessionInvalid
from agent.logins import By
from agent.roles import Role
from agent.sessions import Sessions
from tests.door import Door
from tests.fake_machine import FakeMachine

DAY = 24 * 3600.0


class Clock:
    """Both clocks of the sessions, moved by hand."""

    def __init__(self) -> None:
        self.ticks = 1000.0
        self.wall = datetime(2026, 5, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.ticks

    def now(self, zone: object) -> datetime:
        return self.wall

    def passes(self, seconds: float) -> None:
        self.ticks += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "monotonic", made.monotonic)
    monkeypatch.setattr(module, "datetime", made)
    return made


@pytest.fixture
def sessions(clock: Clock, door: Door) -> Sessions:
    """No sessions yet, of a store that has a host."""
    door.sessions.close(door.sessions.find(door.session))
    return Sessions(door.store)


@pytest.mark.threat("T16")
def test_the_secret_opens_the_session_and_the_reference_does_not(sessions: Sessions) -> None:
    secret = sessions.open("ada", Role.VM_ADMIN, "a client")
    session = sessions.find(secret)
    assert session.auth_user_name == session.this_user.short_name == "ada"
    assert (session.role_name, session.originator, session.is_local_superuser) == ("vm-admin", "a client", False)
    assert secret != session.ref
    with pytest.raises(SessionInvalid):
        sessions.find(session.ref)


@pytest.mark.threat("T16")
def test_the_secret_is_kept_nowhere(sessions: Sessions) -> None:
    secret = sessions.open("ada", Role.POOL_ADMIN, "")
    session = sessions.find(secret)
    assert secret not in repr(session.__dict__)
    assert secret.removeprefix("OpaqueRef:") not in repr(session.__dict__)
    assert session.token_hash == hashlib.blake2b(secret.encode(), digest_size=32).hexdigest()
    assert session.is_local_superuser


def test_two_logins_of_one_user_are_two_sessions_of_one_user_object(sessions: Sessions, door: Door) -> None:
    first, second = (sessions.find(sessions.open("ada", Role.VM_ADMIN, "")) for _ in range(2))
    assert first is not second
    assert first.this_user is second.this_user
    assert [user.short_name for user in door.store.all(User)].count("ada") == 1


@pytest.mark.parametrize("secret", ["", "OpaqueRef:NULL", "nonsense", "\ud800", "x" * 10_000])
def test_what_is_no_secret_opens_nothing(sessions: Sessions, secret: str) -> None:
    sessions.open("ada", Role.VM_ADMIN, "")
    with pytest.raises(SessionInvalid):
        sessions.find(secret)


@pytest.mark.threat("T16")
def test_a_closed_session_opens_nothing(sessions: Sessions, door: Door) -> None:
    secret = sessions.open("ada", Role.VM_ADMIN, "")
    session = sessions.find(secret)
    sessions.close(session)
    assert not sessions.is_open(session)
    assert not door.store.is_live(session)
    with pytest.raises(SessionInvalid):
        sessions.find(secret)
    sessions.close(session)  # twice is no error


@pytest.mark.threat("T16")
def test_a_session_ends_when_it_is_idle_too_long(sessions: Sessions, clock: Clock, door: Door) -> None:
    secret = sessions.open("ada", Role.VM_ADMIN, "")
    session = sessions.find(secret)
    clock.passes(DAY)
    assert sessions.find(secret) is session
    clock.passes(DAY + 1)
    with pytest.raises(SessionInvalid):
        sessions.find(secret)
    assert door.store.is_live(session)
    sessions.sweep()
    assert not door.store.is_live(session)
    assert not sessions.is_open(session)


def test_a_sweep_ends_no_session_that_is_used(sessions: Sessions, clock: Clock) -> None:
    used, idle = (sessions.open(name, Role.VM_ADMIN, "") for name in ("ada", "bob"))
    for _ in range(3):
        clock.passes(DAY / 2)
        sessions.find(used)
    sessions.sweep()
    assert sessions.find(used)
    with pytest.raises(SessionInvalid):
        sessions.find(idle)


def test_last_active_is_right_to_a_minute(sessions: Sessions, clock: Clock) -> None:
    secret = sessions.open("ada", Role.VM_ADMIN, "")
    session = sessions.find(secret)
    began = session.last_active
    clock.passes(30)
    sessions.find(secret)
    sessions.sweep()
    assert session.last_active == began
    clock.passes(100)
    sessions.find(secret)
    clock.passes(20)
    sessions.sweep()
    assert session.last_active == began + timedelta(seconds=130)


@pytest.mark.fault("F10")
def test_a_jump_of_the_wall_clock_ends_no_session(sessions: Sessions, clock: Clock) -> None:
    secret = sessions.open("ada", Role.VM_ADMIN, "")
    clock.wall += timedelta(days=400)
    sessions.sweep()
    assert sessions.find(secret)


@pytest.mark.fault("F13")
def test_a_user_beyond_the_limit_loses_the_session_that_is_longest_idle(
    sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PER_USER", 3)
    secrets = []
    for _ in range(3):
        secrets.append(sessions.open("ada", Role.VM_ADMIN, ""))
        clock.passes(1)
    other = sessions.open("bob", Role.VM_ADMIN, "")
    sessions.find(secrets[0])
    newest = sessions.open("ada", Role.VM_ADMIN, "")
    for secret in (secrets[0], secrets[2], newest, other):
        assert sessions.find(secret)
    with pytest.raises(SessionInvalid):
        sessions.find(secrets[1])


@pytest.mark.fault("F13")
def test_an_originator_beyond_the_limit_loses_the_session_that_is_longest_idle(
    sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PER_ORIGINATOR", 2)
    secrets = []
    for name in ("ada", "bob", "eve"):
        secrets.append(sessions.open(name, Role.VM_ADMIN, "the same tool"))
        clock.passes(1)
    nameless = [sessions.open("dan", Role.VM_ADMIN, "") for _ in range(4)]
    with pytest.raises(SessionInvalid):
        sessions.find(secrets[0])
    for secret in (*secrets[1:], *nameless):
        assert sessions.find(secret)


def test_a_parameter_names_a_session_by_the_callers_secret(sessions: Sessions) -> None:
    secret = sessions.open("ada", Role.VM_ADMIN, "")
    assert sessions.identify(secret) is sessions.find(secret)
    assert sessions.identify("OpaqueRef:NULL") is None


# --- what outlives the agent


@pytest.fixture
def restarted(machine: FakeMachine, tmp_path: Path) -> Iterator[Callable[[], Door]]:
    """Ends the agent that there is and starts it again on the same journal."""
    doors: list[Door] = []

    def start() -> Door:
        if doors:
            doors.pop().close()
        doors.append(Door(machine.ports(), tmp_path / "journal.db"))
        return doors[-1]

    yield start
    doors.pop().close()


def test_a_session_outlives_the_agent(restarted: Callable[[], Door]) -> None:
    door = restarted()
    secret = door.log_in(Role.VM_OPERATOR, "ada")
    reference = door.sessions.find(secret).ref
    door = restarted()
    session = door.sessions.find(secret)
    assert (session.ref, session.role_name, session.auth_user_name) == (reference, "vm-operator", "ada")
    assert door.sessions.is_open(session)


def test_a_closed_session_stays_closed_when_the_agent_restarts(restarted: Callable[[], Door]) -> None:
    door = restarted()
    secret = door.log_in(Role.VM_OPERATOR)
    door.send("session.logout", secret)
    with pytest.raises(SessionInvalid):
        restarted().sessions.find(secret)


def test_idle_time_goes_on_while_the_agent_is_away(restarted: Callable[[], Door]) -> None:
    door = restarted()
    secret = door.log_in(Role.VM_OPERATOR)
    session = door.sessions.find(secret)
    with door.store.transaction():
        session.last_active = datetime.now(UTC) - timedelta(seconds=DAY - 3600)
    door = restarted()
    assert door.sessions.find(secret)
    door = restarted()
    session = door.sessions.find(secret)
    idle = Sessions(door.store, idle_seconds=7200.0)
    assert idle._active[session] < monotonic() - 3600


# --- a disk that fails


@pytest.fixture
def full_disk(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the journal cannot be written."""

    def write(rows: Any) -> None:
        if rows:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(door.store._journal, "write", write)


def test_a_login_that_cannot_be_kept_is_told_and_leaves_nothing(
    sessions: Sessions, door: Door, full_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InternalError):
        sessions.open("ada", Role.VM_ADMIN, "")
    assert door.store.all(Session) == []
    assert sessions._active == {}


def test_a_login_that_cannot_be_kept_ends_nobody_elses_session(
    door: Door, full_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PER_USER", 1)
    with pytest.raises(InternalError):
        door.sessions.open("root", Role.POOL_ADMIN, "")
    assert door("session.get_uuid", door.session) == door.sessions.find(door.session).uuid


def test_a_logout_that_cannot_be_kept_is_told_and_the_session_is_still_open(door: Door, full_disk: None) -> None:
    assert door.refused("session.logout")[0] == "INTERNAL_ERROR"
    assert door("session.get_all_subject_identifiers") == ("root",)


def revoke(sessions: Sessions, roles: dict[str, Role]) -> int:
    """End the sessions of users of the file that has these."""
    return sessions.revoke(lambda by, name: roles.get(name), {By.USERS})


def test_the_sessions_of_a_removed_user_end(sessions: Sessions, door: Door) -> None:
    root = sessions.open("root", Role.POOL_ADMIN, "")
    gone = sessions.open("gone", Role.READ_ONLY, "")
    local = sessions.open("nobody's", Role.POOL_ADMIN, "", by=By.ROOT)
    assert revoke(sessions, {"root": Role.POOL_ADMIN}) == 1
    assert sessions.find(local).auth_user_name == "nobody's"
    assert sessions.find(root).auth_user_name == "root"
    with pytest.raises(SessionInvalid):
        sessions.find(gone)
    assert "gone" not in [session.auth_user_name for session in door.store.all(Session)]
    assert revoke(sessions, {"root": Role.POOL_ADMIN}) == 0


def test_the_sessions_of_a_user_whose_role_changed_end(sessions: Sessions) -> None:
    before = sessions.open("root", Role.POOL_ADMIN, "")
    assert revoke(sessions, {"root": Role.READ_ONLY}) == 1
    with pytest.raises(SessionInvalid):
        sessions.find(before)

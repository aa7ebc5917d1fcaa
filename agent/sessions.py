"""Sessions: who is logged in. The secret that a client holds is kept as a hash only; the object's reference is no
secret.

Limits are xapi's: an idle session ends after a day, and a user (or an originator) holds 500 at the most, of which the
one longest idle makes room for a new one.
"""

from __future__ import annotations

import hashlib
import threading
import uuid as uuids
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from agent.access import permissions_of
from agent.classes import Host, Session, User
from agent.errors import SessionInvalid
from agent.logins import By
from agent.roles import Role
from agent.store.store import Store

IDLE_SECONDS = 24 * 3600.0
PER_USER = 500
PER_ORIGINATOR = 500
TOUCH_SECONDS = 60.0
"""last_active in the journal is right to a minute; in memory to the call."""


def _hash(secret: str) -> str:
    return hashlib.blake2b(secret.encode("utf-8", "replace"), digest_size=32).hexdigest()


class Sessions:
    """The open sessions of one store."""

    def __init__(self, store: Store, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._store = store
        self.idle_seconds = idle_seconds
        self._lock = threading.Lock()
        """Calls find sessions on the loop while workers open and close them; nothing else is done under it."""
        now = monotonic()
        wall = datetime.now(UTC)
        # Idle time runs on the monotonic clock, so that a jump of the wall clock ends nobody's session.
        self._by_hash: dict[str, Session] = {}
        self._active: dict[Session, float] = {}
        self._watchers: list[Callable[[], None]] = []
        self.registrations: dict[Session, Any] = {}
        """What each session registered for with event.register; the messages of event keep it."""
        for session in store.all(Session):
            idle = max(0.0, (wall - session.last_active).total_seconds())
            self._by_hash[session.token_hash] = session
            self._active[session] = now - min(idle, idle_seconds - 60.0)
        with store.transaction(wait=False):
            for session in self._active:
                session.rbac_permissions = self._permissions(session.role_name)

    def watch(self, ended: Callable[[], None]) -> None:
        """Call `ended` whenever sessions have ended, from whatever thread ended them. It must return at once."""
        self._watchers.append(ended)

    def open(self, user_name: str, role: Role, originator: str, *, by: By = By.USERS) -> str:
        """Log somebody in. Returns the secret, which looks like a reference and is told to nobody else.

        `by`: what vouches for the user; the session ends when it does no more.
        """
        secret = f"OpaqueRef:{uuids.uuid4()}"
        with self._store.transaction():
            user = next((user for user in self._store.all(User) if user.short_name == user_name), None)
            if user is None:
                user = self._store.add(User(short_name=user_name, fullname=user_name))
            surplus = self._surplus(user, originator)
            for old in surplus:
                self._store.destroy(old)
            session = Session()
            session.this_host = self._store.only(Host)
            session.this_user = user
            session.auth_user_name = user_name
            session.role_name = role.wire
            session.is_local_superuser = role is Role.POOL_ADMIN
            session.last_active = session.validation_time = datetime.now(UTC)
            session.rbac_permissions = self._permissions(role.wire)
            session.originator = originator
            session.token_hash = _hash(secret)
            session.vouched_by = by.value
            session.client_certificate = by is By.CERTIFICATE
            self._store.add(session)
        # Only now is it durable: a login that failed leaves no session behind, and has ended nobody's.
        with self._lock:
            self._by_hash[session.token_hash] = session
            self._active[session] = monotonic()
        self._drop(surplus)
        return secret

    def find(self, secret: str) -> Session:
        """The session that a client's first parameter names; SESSION_INVALID if it is over or never was."""
        now = monotonic()
        with self._lock:
            session = self._by_hash.get(_hash(secret))
            if session is None or now - self._active[session] > self.idle_seconds:
                raise SessionInvalid(secret)
            self._active[session] = now
        return session

    def identify(self, reference: str) -> Session | None:
        """The session that a *parameter* names: by its reference, or by the secret of one's own."""
        return self._by_hash.get(_hash(reference))

    def is_open(self, session: Session) -> bool:
        """Whether it has not been logged out or expired."""
        return session in self._active

    def close(self, session: Session) -> None:
        """Log out. It has ended once it is durably so; until then, and if that fails, it is open."""
        self._end([session])

    def close_all(self, user_name: str, *, but: Session | None) -> None:
        """Log a user out everywhere, in all sessions but one."""
        self._end([each for each in self._store.all(Session) if each.auth_user_name == user_name and each is not but])

    def sweep(self) -> None:
        """End what has been idle too long, and note when the others were last active."""
        now, wall = monotonic(), datetime.now(UTC)
        with self._lock:
            active = dict(self._active)
            idle = [session for session, last in active.items() if now - last > self.idle_seconds]
        self._end(idle)
        with self._store.transaction():
            for session, last in active.items():
                seen = (wall - timedelta(seconds=now - last)).replace(microsecond=0)
                stale = abs((seen - session.last_active).total_seconds()) >= TOUCH_SECONDS
                if stale and self._store.is_live(session):
                    session.last_active = seen

    def revoke(self, role_now: Callable[[By, str], Role | None], kinds: Container[By]) -> int:
        """End the sessions of users who might not log in any more, or have another role now. Returns how many.

        `role_now` is asked once for each user that something among these `kinds` vouched for.
        """
        with self._lock:
            active = [(session, By(session.vouched_by)) for session in self._active if session.vouched_by in kinds]
        now = {(by, name): role_now(by, name) for by, name in {(by, each.auth_user_name) for each, by in active}}
        gone = []
        for session, by in active:
            role = now[by, session.auth_user_name]
            if role is None or role.wire != session.role_name:
                gone.append(session)
        if gone:
            self._end(gone)
        return len(gone)

    def _end(self, sessions: Sequence[Session]) -> None:
        with self._store.transaction():
            for session in sessions:
                if self._store.is_live(session):
                    self._store.destroy(session)
        self._drop(sessions)

    def _permissions(self, role_name: str) -> tuple[str, ...]:
        """What a session tells of what it may do. As in xapi, nothing where it may do all."""
        role = Role.from_wire(role_name)
        return () if role is Role.POOL_ADMIN else permissions_of(self._store, role)

    def _drop(self, sessions: Sequence[Session]) -> None:
        """Forget sessions that have ended, and tell whoever waits in them."""
        with self._lock:
            for session in sessions:
                self._by_hash.pop(session.token_hash, None)
                self._active.pop(session, None)
                self.registrations.pop(session, None)
        if sessions:
            for ended in self._watchers:
                ended()

    def _surplus(self, user: User, originator: str) -> list[Session]:
        """The sessions that have to make room for a new one, longest idle first. In a transaction."""
        with self._lock:
            active = {session: last for session, last in self._active.items() if self._store.is_live(session)}
        mine = [session for session in active if session.this_user is user]
        same = [session for session in active if originator and session.originator == originator]
        surplus: dict[Session, None] = {}
        for group, limit in ((mine, PER_USER), (same, PER_ORIGINATOR)):
            left = sorted((session for session in group if session not in surplus), key=active.__getitem__)
            surplus |= dict.fromkeys(left[: max(0, len(left) + 1 - limit)])
        return list(surplus)

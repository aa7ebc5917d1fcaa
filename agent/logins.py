"""Who is logged in as what: the rules by which somebody at the other end of a connection becomes a user with a role.

Root on this host, over a Unix socket, needs no password. Neither does who shows a certificate that the configuration
names. Everybody else is judged as the mode says: by the agent's own file of users, by the PAM of this host, or, with
``none``, by the kernel's word whose the other end of a connection within this host is.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent import tcp_owner
from agent.pam import Pam
from agent.roles import Role
from agent.tcp_owner import Ends
from agent.users import NAME_MAX, Users

ROOT = "root"
LOCAL_ROOT = 0


class By(StrEnum):
    """What vouches for a user. Kept with each session, which ends when that vouches no more."""

    ROOT = "root"
    USERS = "users"
    PAM = "pam"
    CERTIFICATE = "certificate"
    PEER = "peer"
    """The kernel, which knows whose the other end of a connection is."""


MODES = (By.USERS.value, By.PAM.value, "none")


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a call comes from."""

    peer: str
    """An address, or the user at the other end of a Unix socket as ``uid=0``."""
    local: bool = False
    """Over a Unix socket or loopback: gzip does not pay."""
    names: tuple[str, ...] = ()
    """What the client's certificate, which an authority that the configuration names has signed, calls it."""
    ends: Ends | None = None
    """The two ends of a TCP connection within this host."""

    @property
    def uid(self) -> int | None:
        """The user at the other end of a Unix socket."""
        return int(self.peer.removeprefix("uid=")) if self.peer.startswith("uid=") else None

    @property
    def is_root(self) -> bool:
        """Whether root of this host opened the Unix socket."""
        return self.uid == LOCAL_ROOT


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is."""

    name: str
    role: Role
    by: By


@dataclass
class Logins:
    """The rules of a running agent, which may be replaced."""

    mode: str = By.USERS.value
    roles: Mapping[str, Role] = field(default_factory=dict)
    """The roles of this host's accounts: by name, by ``@group``, and of all others by ``*``."""
    certificates: Mapping[str, Role] = field(default_factory=dict)
    """The roles of clients by a name in their certificate."""
    pam: Pam = field(default_factory=Pam)

    def follow(self, fresh: Logins) -> None:
        """Take other rules from now on."""
        self.mode, self.roles, self.certificates, self.pam = fresh.mode, fresh.roles, fresh.certificates, fresh.pam

    def asks(self, caller: Caller, name: str, password: str) -> By | None:
        """What the password is to be shown to, the file of users or PAM; None where none is needed."""
        if (caller.is_root and not password) or self.mode == "none":
            return None
        if not password and self._certified(caller, name) is not None:
            return None
        return By(self.mode)

    def identify(self, users: Users, caller: Caller, name: str, password: str) -> Identity | None:
        """Who this is; None for nobody. It may take its time. UsersError if the file cannot be read."""
        if caller.is_root and not password:
            # Who is root on this host may read and write the file of users as it is.
            return Identity(name[:NAME_MAX] or ROOT, Role.POOL_ADMIN, By.ROOT)
        if not password and (certified := self._certified(caller, name)) is not None:
            return certified
        if self.mode == By.USERS:
            account = users.check(name, password)
            return None if account is None else Identity(account.name, account.role, By.USERS)
        if self.mode == By.PAM:
            known = self.pam.check(name, password, caller.peer)
            role = None if known is None else self.role_of_account(known)
            return None if known is None or role is None else Identity(known, role, By.PAM)
        return self._peer(caller)

    def vouches(self, caller: Caller) -> bool:
        """Whether this client may be somebody without a word: by its certificate, or where nobody needs one."""
        return self._certified(caller, "") is not None or self.mode == "none"

    def role_now(self, users: Users, by: By, name: str) -> Role | None:
        """The role that a user has now who logged in before; None for one who might not any more."""
        match by:
            case By.ROOT:
                return Role.POOL_ADMIN
            case By.CERTIFICATE:
                return self.certificates.get(name)
            case By.USERS if self.mode == By.USERS:
                account = users.accounts().get(name)
                return None if account is None else account.role
            case By.PAM if self.mode == By.PAM:
                return self.role_of_account(name)
            case By.PEER if self.mode == "none":
                return self.role_of_account(name)
        return None

    def role_of_account(self, name: str) -> Role | None:
        """The role of an account of this host: its own, else the highest of its groups, else that of all others."""
        own = self.roles.get(name, Role.POOL_ADMIN if name == ROOT else None)
        if own is not None and not name.startswith("@"):
            return own
        found = [self.roles[group] for group in _groups(name) if group in self.roles]
        return max(found, default=self.roles.get("*"))

    def _certified(self, caller: Caller, name: str) -> Identity | None:
        for known in caller.names:
            if known in self.certificates and name in ("", known):
                return Identity(known, self.certificates[known], By.CERTIFICATE)
        return None

    def _peer(self, caller: Caller) -> Identity | None:
        uid = caller.uid
        if uid is None and caller.ends is not None:
            uid = tcp_owner.owner(caller.ends)
        if uid is None:
            return None
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:  # a user of a container, or one that was removed
            return None
        role = Role.POOL_ADMIN if uid == LOCAL_ROOT else self.role_of_account(name)
        return None if role is None else Identity(name, role, By.PEER)


def parse_roles(given: Iterable[str]) -> dict[str, Role]:
    """Roles by name from texts such as ``@wheel = pool-admin``. ValueError, with the text, for what is none."""
    roles: dict[str, Role] = {}
    for text in given:
        name, equals, role = (part.strip() for part in text.rpartition("="))
        if not equals or not name:
            raise ValueError(f'{text!r} does not say who has which role; "ada = vm-admin" does')
        if name in roles:
            raise ValueError(f"{name!r} has two roles")
        roles[name] = Role.from_wire(role)
    return roles


def _groups(name: str) -> list[str]:
    """The groups of an account as ``@name``; of an unknown one none."""
    try:
        ids = os.getgrouplist(name, pwd.getpwnam(name).pw_gid)
    except (KeyError, OSError, ValueError):
        return []
    groups = []
    for gid in ids:
        try:
            groups.append(f"@{grp.getgrgid(gid).gr_name}")
        except KeyError:
            continue
    return groups

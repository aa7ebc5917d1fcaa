"""The file of users: names, roles and scrypt hashes, kept by ``xen-host-agent user``. Knows no sessions and no classes.

One JSON object by name, readable by its owner only. It is read again when it has changed, so a user added while the
agent runs can log in at once. A remembered success costs microseconds; a first one, and every failure, a full scrypt.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from agent.roles import Role

COST, BLOCK, LANES = 2**14, 8, 1
"""scrypt's n, r and p: about 35 ms and 16 MiB a check."""
REMEMBERED_SECONDS = 300.0
NAME_MAX, PASSWORD_MAX = 256, 4096


class UsersError(Exception):
    """The file cannot be used, or the name cannot be a user's; the text says why."""


@dataclass(frozen=True)
class Account:
    """One line of the file."""

    name: str
    role: Role
    salt: bytes
    hash: bytes


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=LANES, maxmem=64 * 2**20)


def _account(name: str, password: str, role: Role) -> Account:
    """An account with a fresh hash of the password. UsersError if that cannot be one."""
    if not 0 < len(password) <= PASSWORD_MAX or "\0" in password:
        raise UsersError(f"a password has 1 to {PASSWORD_MAX} characters, no NUL")
    salt = secrets.token_bytes(16)
    return Account(name, role, salt, _digest(password, salt))


def _known(accounts: dict[str, Account], name: str) -> Account:
    if name not in accounts:
        raise UsersError(f"there is no user {name!r}")
    return accounts[name]


class Users:
    """The users of the file `path`; a missing file has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._accounts: dict[str, Account] = {}
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, tuple[float, Account]] = {}
        self._decoy = Account("", Role.READ_ONLY, secrets.token_bytes(16), b"")

    def accounts(self) -> dict[str, Account]:
        """All users by name. UsersError if the file is there and cannot be read as one."""
        with self._lock:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                self._stamp, self._accounts = None, {}
                return {}
            except OSError as error:
                raise UsersError(f"{self.path} cannot be read as the file of users: {error}") from error
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._accounts = self._read()
                self._stamp = stamp
                self._remembered.clear()
            return self._accounts

    def check(self, name: str, password: str) -> Account | None:
        """The account, if name and password go together. Unknown names take as long as wrong passwords."""
        if not 0 < len(name) <= NAME_MAX or len(password) > PASSWORD_MAX or "\0" in name + password:
            name = ""
        account = self.accounts().get(name)
        memory = hashlib.blake2b(f"{len(name)}:{name}{password}".encode(), key=self._key, digest_size=32).digest()
        with self._lock:
            until, remembered = self._remembered.get(memory, (0.0, None))
            if remembered is not None and remembered is account and monotonic() < until:
                return account
        known = account or self._decoy
        good = hmac.compare_digest(_digest(password[:PASSWORD_MAX], known.salt), known.hash or bytes(64))
        if account is None or not good:
            return None
        with self._lock:
            if len(self._remembered) > 1000:
                self._remembered.clear()
            self._remembered[memory] = (monotonic() + REMEMBERED_SECONDS, account)
        return account

    def add(self, name: str, password: str, role: Role) -> None:
        """Add a user, or give one that exists this password and role."""
        if not 0 < len(name) <= NAME_MAX or not name.isprintable() or name != name.strip():
            raise UsersError(f"{name!r} cannot be a user's name: 1 to {NAME_MAX} printable characters")
        account = _account(name, password, role)
        with self._changing() as accounts:
            accounts[name] = account

    def change_password(self, name: str, password: str) -> None:
        """Give a user another password; UsersError if there is none of this name any more."""
        fresh = _account(name, password, Role.READ_ONLY)
        with self._changing() as accounts:
            accounts[name] = replace(fresh, role=_known(accounts, name).role)

    def remove(self, name: str) -> None:
        """Remove a user; UsersError if there is none of this name."""
        with self._changing() as accounts:
            _known(accounts, name)
            del accounts[name]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Account]]:
        """The accounts, to change; written at the end. Nobody else changes the file meanwhile, in any process."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The folder, since a lock on the file would be on the one that is replaced.
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise UsersError(f"{self.path} cannot be written: {error}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            accounts = dict(self.accounts())
            yield accounts
            self._write(accounts)
        finally:
            os.close(folder)

    def _read(self) -> dict[str, Account]:
        try:
            data = json.loads(self.path.read_text("utf-8"))
            return {
                name: Account(
                    name, Role.from_wire(item["role"]), bytes.fromhex(item["salt"]), bytes.fromhex(item["scrypt"])
                )
                for name, item in data.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsersError(f"{self.path} cannot be read as the file of users: {error}") from error

    def _write(self, accounts: dict[str, Account]) -> None:
        """Replace the file whole, so that a reader sees the old or the new one."""
        data = {
            account.name: {"role": account.role.wire, "salt": account.salt.hex(), "scrypt": account.hash.hex()}
            for account in accounts.values()
        }
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".users")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except OSError as error:
            raise UsersError(f"{self.path} cannot be written: {error}") from error

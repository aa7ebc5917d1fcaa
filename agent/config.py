"""What the admin of a host decides: one TOML file, one frozen value. What clients decide is in the store.

The file is taken whole or refused whole: an unknown key, a wrong type or an address that is none ends the start with a
line that names the file and the key. What the command line gives replaces what the file says and is checked alike.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_PATH = Path("/etc/xen-host-agent/config.toml")
DEFAULT_STATE = Path("/var/lib/xen-host-agent")
LOG_LEVELS = ("debug", "info", "warning", "error")
DESTROY_RULES = ("strict", "xapi")


class ConfigError(Exception):
    """The configuration cannot be used; the text names where it stands and what is wrong with it."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be a string")
    if not value or not value.isprintable():
        raise ValueError("it must be some printable text")
    return value


def _folder(value: object) -> Path:
    # Absolute, since disks in it are named to the hypervisor, which knows nothing of our working folder.
    return Path(_text(value)).absolute()


def _connection(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[a-z][a-z0-9]*(\+[a-z0-9]+)?://\S*", text):
        raise ValueError(f"{text!r} is no libvirt URI; xen:///system and test:///default are")
    return text


def _listener(text: str) -> str:
    example = "write http://127.0.0.1:8086, https://0.0.0.0:443 or unix:/run/xen-host-agent/socket"
    scheme, colon, rest = text.partition(":")
    if scheme == "unix" and rest:
        return text
    try:
        parts = urlsplit(text)
        fits = parts.hostname is not None and parts.port is not None and "@" not in parts.netloc
    except ValueError as error:  # a port that is none, brackets that do not match
        raise ValueError(f"{text!r} is no address to listen on ({error}); {example}") from None
    if not colon or scheme not in ("http", "https") or not fits or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{text!r} is no address to listen on; {example}")
    return text.rstrip("/")


def _listeners(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("it must be a list of at least one address")
    return tuple(_listener(_text(item)) for item in value)


def _origins(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("it must be a list of origins")
    for item in value:
        if not re.fullmatch(r"\*|https?://[^\s/?#@,]+", _text(item)):
            raise ValueError(f"{item!r} is no origin; https://xo.example.org is, and * stands for all")
    return tuple(value)


def _one_of(words: Sequence[str]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"it must be one of {', '.join(words)}, not {value!r}")
        return str(value)

    return check


def _number(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}, not {value!r}")
        return value

    return check


def _key(name: str, check: Callable[[object], Any]) -> Mapping[str, Any]:
    """One key of the file: its dotted name, and what makes a value of what is there or says why not."""
    return {"key": name, "check": check}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All there is to decide. The defaults are those of a Xen host; ``docs/config.toml`` explains every key."""

    connect: str = field(default="xen:///system", metadata=_key("connect", _connection))
    """libvirt URI of the hypervisor."""
    state: Path = field(default=DEFAULT_STATE, metadata=_key("state", _folder))
    """Folder of the journal, the users and the keys."""
    listen: tuple[str, ...] = field(
        default=("unix:/run/xen-host-agent/socket", "http://127.0.0.1:8086"), metadata=_key("listen", _listeners)
    )
    """Where clients find the agent."""
    destroy: str = field(default="strict", metadata=_key("api.destroy", _one_of(DESTROY_RULES)))
    """``strict``: destroy refuses while something refers to the object; ``xapi``: the parts of a VM go along."""
    cors_origins: tuple[str, ...] = field(default=(), metadata=_key("api.cors_origins", _origins))
    """Pages of the web that may call from a browser, by their origin; ``*`` for all."""
    session_idle_seconds: int = field(
        default=86400, metadata=_key("limits.session_idle_seconds", _number(60, 366 * 86400))
    )
    """A session not used for so long is over."""
    login_delay_seconds: int = field(default=5, metadata=_key("limits.login_delay_seconds", _number(0, 60)))
    """What a wrong password costs the one who guessed."""
    workers: int = field(default=32, metadata=_key("limits.workers", _number(1, 1024)))
    """How many calls may be busy with the hypervisor at the same time."""
    log_level: str = field(default="info", metadata=_key("log.level", _one_of(LOG_LEVELS)))

    @property
    def journal_path(self) -> Path:
        """The file of what was asked for."""
        return self.state / "journal.sqlite"

    @property
    def users_path(self) -> Path:
        """The file of users."""
        return self.state / "users.json"

    @property
    def lock_path(self) -> Path:
        """Held by the one agent that works on the folder."""
        return self.state / "lock"


def check(name: str, value: object) -> Any:
    """The value of the key `name` as Config keeps it; ValueError with the reason where it is none."""
    return next(item for item in fields(Config) if item.metadata["key"] == name).metadata["check"](value)


def lines(config: Config) -> Iterator[str]:
    """The configuration as lines of TOML, by dotted keys: what a file could say to have it."""
    for item in fields(Config):
        value = getattr(config, item.name)
        text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
        yield f"{item.metadata['key']} = {text}"


def load(path: Path | None, options: Mapping[str, object] | None = None) -> Config:
    """The configuration of the file `path`, or of the default one, which need not be there.

    `options` are those of the command line by the name of the key; None is one not given. ConfigError otherwise.
    """
    given = dict(_flat(_read(path)))
    where = dict.fromkeys(given, str(path or DEFAULT_PATH))
    for name, value in (options or {}).items():
        if value is not None:
            given[name], where[name] = value, "the command line"
    known = {item.metadata["key"]: item for item in fields(Config)}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"{where[name]}: there is no key {name!r}{_meant(name, known)}")
        try:
            values[known[name].name] = known[name].metadata["check"](value)
        except ValueError as error:
            raise ConfigError(f"{where[name]}: {name}: {error}") from None
    return Config(**values)


def _read(path: Path | None) -> Mapping[str, Any]:
    try:
        with (path or DEFAULT_PATH).open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if path is None:
            return {}
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path or DEFAULT_PATH}: {reason}") from None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of the file by their dotted names."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, dict) or f"{prefix}{name}" not in TABLES:
            yield f"{prefix}{name}", value


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    last = [key for key in known if key.rpartition(".")[2] == name.rpartition(".")[2]]
    suggestion = (last or close)[:1]
    return f"; did you mean {suggestion[0]!r}?" if suggestion else f"; the keys are {', '.join(known)}"


TABLES = {item.metadata["key"].rpartition(".")[0] for item in fields(Config)} - {""}

"""What the admin of a host decides: one TOML file, one frozen value. What clients decide is in the store.

The file is taken whole or refused whole: an unknown key, a wrong type or an address that is none ends the start with a
line for each fault, which names the file, the line and the key. What ``conf.d``, the environment and the command line
give replaces what the file says, in this order, and is checked alike.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent import config_sources
from agent.config_sources import Given, Unreadable
from agent.logins import MODES, Logins, parse_roles
from agent.pam import Pam

DEFAULT_PATH = Path("/etc/xen-host-agent/config.toml")
DEFAULT_STATE = Path("/var/lib/xen-host-agent")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
DESTROY_RULES = ("strict", "xapi")
PLAIN_HTTP = ("loopback", "anywhere")


class ConfigError(Exception):
    """The configuration cannot be used; each line names where it stands and what is wrong with it."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be a string")
    if not value or not value.isprintable():
        raise ValueError("it must be some printable text")
    return value


def _folder(value: object) -> Path:
    # Absolute, since disks in it are named to the hypervisor, which knows nothing of our working folder.
    return Path(_text(value)).absolute()


def _path_or_none(value: object) -> Path | None:
    return None if value == "" else _folder(value)


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


def _roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError('it must be a list of texts such as "ada = vm-admin"')
    given = tuple(_text(item) for item in value)
    parse_roles(given)
    return given


def _service(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", _text(value)):
        raise ValueError(f"{value!r} is no service of PAM; xen-host-agent is")
    return str(value)


def _one_of(words: Sequence[str]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"it must be one of {', '.join(words)}, not {value!r}")
        return str(value)

    return check


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"it must be true or false, not {value!r}")
    return value


def _number(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}, not {value!r}")
        return value

    return check


def _key(name: str, check: Callable[[object], Any], *, live: bool = False) -> Mapping[str, Any]:
    """One key of the file: its dotted name, and what makes a value of what is there or says why not.

    A `live` one is followed by a running agent when it is told to read its configuration again.
    """
    return {"key": name, "check": check, "live": live}


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
    destroy: str = field(default="strict", metadata=_key("api.destroy", _one_of(DESTROY_RULES), live=True))
    """``strict``: destroy refuses while something refers to the object; ``xapi``: the parts of a VM go along."""
    cors_origins: tuple[str, ...] = field(default=(), metadata=_key("api.cors_origins", _origins))
    """Pages of the web that may call from a browser, by their origin; ``*`` for all."""
    session_idle_seconds: int = field(
        default=86400, metadata=_key("limits.session_idle_seconds", _number(60, 366 * 86400), live=True)
    )
    """A session not used for so long is over."""
    login_delay_seconds: int = field(default=5, metadata=_key("limits.login_delay_seconds", _number(0, 60), live=True))
    """What a wrong password costs the one who guessed."""
    failed_logins: int = field(default=30, metadata=_key("limits.failed_logins", _number(0, 100000), live=True))
    """Wrong passwords in a row, by address and by user, before it has to be waited; 0: any number."""
    auth_mode: str = field(default="users", metadata=_key("auth.mode", _one_of(MODES), live=True))
    """``users``: the agent's own file; ``pam``: the accounts of this host; ``none``: the kernel's word."""
    auth_roles: tuple[str, ...] = field(default=(), metadata=_key("auth.roles", _roles, live=True))
    """The roles of this host's accounts, as ``name=role``, ``@group=role`` and ``*=role``."""
    auth_certificates: tuple[str, ...] = field(default=(), metadata=_key("auth.certificates", _roles, live=True))
    """The roles of clients by a name in their certificate, as ``name=role``."""
    pam_service: str = field(default="xen-host-agent", metadata=_key("auth.pam_service", _service, live=True))
    """The service of PAM."""
    pam_folder: Path | None = field(default=None, metadata=_key("auth.pam_folder", _path_or_none, live=True))
    """Where its file is; None: where those of this host are."""
    pam_seconds: int = field(default=15, metadata=_key("auth.pam_timeout_seconds", _number(1, 300), live=True))
    """How long PAM may take for one password."""
    workers: int = field(default=32, metadata=_key("limits.workers", _number(1, 1024)))
    """How many calls may be busy with the hypervisor at the same time."""
    certificate: Path | None = field(default=None, metadata=_key("tls.certificate", _path_or_none, live=True))
    """PEM file of the certificate and those it is signed by; None: ``server.pem`` of the state, made where missing."""
    certificate_key: Path | None = field(default=None, metadata=_key("tls.key", _path_or_none, live=True))
    """PEM file of its private key; None: the key is in the file of the certificate."""
    client_authority: Path | None = field(default=None, metadata=_key("tls.client_authority", _path_or_none))
    """PEM file of who signs the certificates of clients; None: clients show none."""
    plain_http: str = field(default="loopback", metadata=_key("tls.plain_http", _one_of(PLAIN_HTTP)))
    """Where http, without TLS, may be listened on."""
    plugins: Path | None = field(default=None, metadata=_key("plugins.folder", _path_or_none, live=True))
    """The folder of the programs that host.call_plugin runs; None: there are none."""
    extensions: Path | None = field(default=None, metadata=_key("plugins.extensions", _path_or_none, live=True))
    """The folder of those that host.call_extension runs."""
    plugin_seconds: int = field(default=600, metadata=_key("plugins.timeout_seconds", _number(1, 86400), live=True))
    """How long one of them may take."""
    backups_kept: int = field(default=7, metadata=_key("backup.keep", _number(0, 1000), live=True))
    """How many daily copies of the state are kept; with 0 none are made."""
    backups: Path | None = field(default=None, metadata=_key("backup.folder", _path_or_none, live=True))
    """The folder of the daily copies; None: ``backups`` of the state."""
    guests_at_once: int = field(default=4, metadata=_key("autostart.at_once", _number(1, 64), live=True))
    """How many machines are started at a time after the host was booted."""
    guest_shutdown_seconds: int = field(
        default=120, metadata=_key("autostart.shutdown_seconds", _number(1, 86400), live=True)
    )
    """How long a guest may take to shut down with the host, whose machine does not say it by shutdown_delay."""
    guest_hard_shutdown: bool = field(default=True, metadata=_key("autostart.hard_shutdown", _flag, live=True))
    """Whether the plug of one is pulled that has not shut down by then."""
    rapid_seconds: int = field(default=120, metadata=_key("guests.rapid_seconds", _number(1, 86400), live=True))
    """A guest that crashes or reboots within this time of its start does so rapidly."""
    rapid_crashes: int = field(default=3, metadata=_key("guests.rapid_crashes", _number(0, 1000), live=True))
    """After so many rapid crashes in a row its machine is stopped; with 0 it never is."""
    rapid_reboots: int = field(default=10, metadata=_key("guests.rapid_reboots", _number(0, 1000), live=True))
    """After so many rapid reboots and crashes in a row likewise."""
    log_level: str = field(default="info", metadata=_key("log.level", _one_of(LOG_LEVELS), live=True))
    log_format: str = field(default="text", metadata=_key("log.format", _one_of(LOG_FORMATS)))
    """One line an entry: text for people, or an object of JSON."""

    @property
    def logins(self) -> Logins:
        """The rules of who may log in."""
        return Logins(
            self.auth_mode,
            parse_roles(self.auth_roles),
            parse_roles(self.auth_certificates),
            Pam(self.pam_service, self.pam_seconds, self.pam_folder),
        )

    @property
    def journal_path(self) -> Path:
        """The file of what was asked for."""
        return self.state / "journal.sqlite"

    @property
    def users_path(self) -> Path:
        """The file of users."""
        return self.state / "users.json"

    @property
    def certificate_path(self) -> Path:
        """The file of the certificate."""
        return self.certificate or self.state / "server.pem"

    @property
    def backups_path(self) -> Path:
        """The folder of the daily copies."""
        return self.backups or self.state / "backups"

    @property
    def numbers_path(self) -> Path:
        """The file of the history of the live numbers."""
        return self.state / "numbers"

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
        plain = "" if value is None else str(value) if isinstance(value, Path) else value
        yield f"{item.metadata['key']} = {json.dumps(plain, ensure_ascii=False)}"


def load(path: Path | None, options: Mapping[str, object] | None = None) -> Config:
    """The configuration of the file `path`, or of the default one, which need not be there, and of what adds to it.

    `options` are those of the command line by the name of the key; None is one not given. ConfigError otherwise.
    """
    try:
        files = config_sources.files(path or DEFAULT_PATH, must_exist=path is not None)
    except Unreadable as error:
        raise ConfigError(str(error)) from None
    given = [item for file in files for item in file.given(TABLES)]
    given += config_sources.environment(os.environ)
    given += [Given(name, value, "the command line") for name, value in (options or {}).items() if value is not None]
    known = {item.metadata["key"]: item for item in fields(Config)}
    values = {}
    faults = []
    for item in given:
        if item.name not in known:
            faults.append(f"{item.where}: there is no key {item.name!r}{_meant(item.name, known)}")
            continue
        try:
            values[known[item.name].name] = known[item.name].metadata["check"](item.value)
        except ValueError as error:
            faults.append(f"{item.where}: {item.name}: {error}")
    made = Config(**values) if not faults else Config()
    if not faults:
        places = {item.name: item.where for item in given}
        faults = [f"{places.get(name, 'the defaults')}: {name}: {reason}" for name, reason in _at_odds(made)]
    if faults:
        raise ConfigError("\n".join(faults))
    return made


def is_loopback(url: str) -> bool:
    """Whether the address of a listener is within this host, as far as it can be told without looking names up."""
    host = urlsplit(url).hostname or ""
    try:
        return url.startswith("unix:") or host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def refused_listener(url: str, *, plain_http: str, auth_mode: str) -> str:
    """Why an agent may not listen there; empty if it may."""
    if is_loopback(url):
        return ""
    if auth_mode == "none":
        return f'{url} is open to other hosts, and auth.mode = "none" trusts who is on this one; name 127.0.0.1'
    if url.startswith("http:") and plain_http != "anywhere":
        return (
            f"{url} lets passwords and sessions cross the network in clear: use https there, or say "
            'tls.plain_http = "anywhere"'
        )
    return ""


def _at_odds(made: Config) -> Iterator[tuple[str, str]]:
    """The keys that do not go together with others, and why not."""
    for url in made.listen:
        reason = refused_listener(url, plain_http=made.plain_http, auth_mode=made.auth_mode)
        if reason:
            yield "listen", reason
    if made.auth_certificates and made.client_authority is None:
        yield "auth.certificates", "tls.client_authority must name who signs them"


def reloaded(now: Config, fresh: Config) -> tuple[Config, list[str], list[str]]:
    """What a running agent with the configuration `now` follows of a `fresh` one.

    Returns the configuration it then has, the keys that changed, and those that a restart would change as well.
    """
    changed = [item for item in fields(Config) if getattr(now, item.name) != getattr(fresh, item.name)]
    live = [item for item in changed if item.metadata["live"]]
    then = replace(now, **{item.name: getattr(fresh, item.name) for item in live})
    return then, [item.metadata["key"] for item in live], [i.metadata["key"] for i in changed if i not in live]


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    last = [key for key in known if key.rpartition(".")[2] == name.rpartition(".")[2]]
    suggestion = (last or close)[:1]
    return f"; did you mean {suggestion[0]!r}?" if suggestion else f"; the keys are {', '.join(known)}"


TABLES = frozenset(item.metadata["key"].rpartition(".")[0] for item in fields(Config)) - {""}

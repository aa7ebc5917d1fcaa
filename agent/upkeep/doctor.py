"""``doctor``: looks over the host and the agent, and says of each finding what to do. Changes nothing."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509

from agent import config
from agent.cli import complain
from agent.config import Config, ConfigError
from agent.state_lock import StateHeld, held
from agent.terminal import printable
from agent.upkeep import archive
from agent.users import Users, UsersError
from drivers import checkup
from drivers.checkup import Seen

FREE_BYTES = 256 * 2**20
CONNECT_SECONDS = 3.0
SOON = timedelta(days=30)
_TIME_ERROR = 5
"""What adjtimex says of a clock that nothing keeps right."""


def run_doctor(args: argparse.Namespace) -> int:
    """``doctor``: print the findings. 1 if one of them is an error."""
    try:
        settings = config.load(args.config, {"state": args.state and str(args.state)})
    except ConfigError as error:
        return complain(error)
    host = checkup.host(settings.connect, own=settings.listen)
    findings = [*host, *checkup.hypervisor(settings.connect), *agent(settings)]
    if args.json:
        print(json.dumps([item._asdict() for item in findings], indent=1))
    else:
        for item in findings:
            print(printable(f"{item.level:8} {item.subject}: {item.text}"))
            if item.todo:
                print(printable(f"         -> {item.todo}"))
    return int(any(item.level == "error" for item in findings))


def agent(settings: Config) -> Iterator[Seen]:
    """What concerns the agent itself."""
    running = _running(settings)
    yield from state(settings)
    yield from _users(settings)
    yield from certificate(settings)
    yield from clock()
    if running:
        yield Seen("ok", "agent", "it runs")
        for url in settings.listen:
            yield from _listener(url)
    else:
        yield Seen(
            "warning", "agent", "it does not run", "systemctl start xen-host-agent; then: journalctl -u xen-host-agent"
        )
    yield from _copies(settings, running=running)


def _running(settings: Config) -> bool:
    if not settings.lock_path.exists():
        return False
    try:
        with held(settings):
            return False
    except StateHeld:
        return True


def state(settings: Config) -> Iterator[Seen]:
    """The folder of the state: there, its owner's alone, with room."""
    folder = settings.state
    try:
        status = folder.stat()
    except OSError as error:
        yield Seen("warning", "state", f"{folder}: {error.strerror}", "the agent makes it when it first starts")
        return
    for path in (folder, *folder.glob("*")):
        if path.lstat().st_mode & 0o077 and not path.is_symlink():
            yield Seen("warning", "permissions", f"{path} is open to others", f"chmod go= {path}")
    if status.st_uid != os.geteuid():
        yield Seen("warning", "permissions", f"{folder} is not yours", "run this as the agent's user, root")
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        todo = "make room: without it nothing that is asked for can be kept"
        yield Seen("error", "disk space", f"{free >> 20} MiB are free for {folder}", todo)
    else:
        yield Seen("ok", "disk space", f"{free >> 20} MiB are free for {folder}")


def _users(settings: Config) -> Iterator[Seen]:
    try:
        number = len(Users(settings.users_path).accounts())
    except UsersError as error:
        yield Seen("error", "users", str(error), "put a copy of it back, or move it away and add the users again")
        return
    if number:
        yield Seen("ok", "users", f"{number} may log in")
    else:
        todo = "xen-host-agent user add NAME"
        yield Seen("warning", "users", "nobody may log in, but root over a Unix socket", todo)


def certificate(settings: Config) -> Iterator[Seen]:
    """The certificate: usable, and for how long."""
    path = settings.certificate_path
    if not any(url.startswith("https:") for url in settings.listen) and not path.exists():
        yield Seen("note", "certificate", "there is none, and no listener that needs one")
        return
    if settings.certificate is None and not path.exists():
        yield Seen("note", "certificate", f"{path} is made when the agent first listens on https")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, settings.certificate_key, password="")
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        todo = "put private key and certificate there, or name others under [tls]"
        yield Seen("error", "certificate", f"{path} cannot be used: {error}", todo)
        return
    left = ends - datetime.now(UTC)
    until = f"{ends:%Y-%m-%d}"
    todo = f"renew it; the agent's own is made anew when {path} is away at a start"
    if left < timedelta(0):
        yield Seen("error", "certificate", f"{path} ended on {until}", todo)
    elif left < SOON:
        yield Seen("warning", "certificate", f"{path} ends on {until}", todo)
    else:
        yield Seen("ok", "certificate", f"{path} is good until {until}")


def clock() -> Iterator[Seen]:
    """Whether something keeps the clock right: sessions, schedules and certificates go by it."""
    said = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    if said == _TIME_ERROR:
        todo = "run one of chrony, ntpd and systemd-timesyncd"
        yield Seen(
            "warning", "time", f"nothing keeps the clock right; it is {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", todo
        )
    else:
        yield Seen("ok", "time", "the clock is kept right")


def _listener(url: str) -> Iterator[Seen]:
    try:
        if url.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(CONNECT_SECONDS)
                asking.connect(url.removeprefix("unix:"))
        else:
            parts = urlsplit(url)
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(parts.hostname or "", parts.hostname or "")
            socket.create_connection((host, parts.port or 0), CONNECT_SECONDS).close()
    except OSError as error:
        todo = "if it was configured since the agent started, restart the agent; its log says what it listens on"
        yield Seen("error", "listener", f"{url} does not answer: {error.strerror or error}", todo)
    else:
        yield Seen("ok", "listener", f"{url} answers")


def _copies(settings: Config, *, running: bool) -> Iterator[Seen]:
    if settings.backups_kept == 0:
        yield Seen("note", "backup", "daily copies of the state are switched off", "set backup.keep to have them")
        return
    there = archive.copies(settings)
    newest = max((path.stat().st_mtime for path in there), default=0.0)
    if running and datetime.now(UTC) - datetime.fromtimestamp(newest, UTC) > 2 * archive.DAY:
        todo = f"look for 'daily copy' in the agent's log, and for room in {settings.backups_path}"
        yield Seen("warning", "backup", "no copy of the state was made for two days", todo)
    else:
        yield Seen("ok", "backup", f"{len(there)} daily copies in {settings.backups_path}")

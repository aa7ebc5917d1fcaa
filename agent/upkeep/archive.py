"""Copies of the state: what was asked for, users and keys, in one file. Made while the agent runs, put back while it
does not.

The journal is copied by SQLite itself, so that the copy is of one moment whatever is written meanwhile. Disks are not
in it, nor kernels that clients sent.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import __version__
from agent.config import Config
from agent.store.journal import SCHEMA

JOURNAL, USERS, CERTIFICATE, ABOUT = "journal.sqlite", "users.json", "server.pem", "about.json"
NAMES = (JOURNAL, USERS, CERTIFICATE)
PREFIX, SUFFIX = "state-", ".tar.gz"
SCRATCH = ".copy-"
DAY = timedelta(hours=24)


class ArchiveError(Exception):
    """A copy cannot be made or put back; the text says why. Nothing was changed then."""


def make(settings: Config, target: Path) -> None:
    """Write a copy of the state to the file `target`, whole or not at all, readable by its owner only."""
    if not settings.journal_path.exists():
        raise ArchiveError(f"there is no state in {settings.state} to copy")
    try:
        with _scratch(target.parent) as folder:
            copy_journal(settings.journal_path, folder / JOURNAL)
            for name in (USERS, CERTIFICATE):
                with suppress(FileNotFoundError):
                    shutil.copy(settings.state / name, folder / name)
            about = {"version": __version__, "schema": SCHEMA, "made": datetime.now(UTC).isoformat(timespec="seconds")}
            (folder / ABOUT).write_text(json.dumps(about))
            packed = folder / "packed"
            with packed.open("xb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
                for name in (ABOUT, *NAMES):
                    if (folder / name).exists():
                        archive.add(folder / name, name)
            packed.chmod(0o600)
            _sync(packed)
            packed.replace(target)
            _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise ArchiveError(f"no copy can be made at {target}: {error}") from error


def restore(settings: Config, source: Path) -> Path | None:
    """Put a copy back in place of the state there is, which is copied first. Whoever calls holds the state folder.

    Returns where the state that was there is now; None if there was none.
    """
    before = None
    try:
        with _scratch(settings.state) as folder:
            _unpack(source, folder)
            if settings.journal_path.exists():
                settings.backups_path.mkdir(mode=0o700, parents=True, exist_ok=True)
                before = settings.backups_path / f"before-restore-{_stamp(datetime.now(UTC))}{SUFFIX}"
                make(settings, before)
            for name in NAMES:
                if (folder / name).exists():
                    _sync(folder / name)
            # What SQLite has beside the old file is of the old one alone, and in the copy that was just made.
            for ending in ("-wal", "-shm"):
                settings.journal_path.with_name(JOURNAL + ending).unlink(missing_ok=True)
            for name in NAMES:
                if (folder / name).exists():
                    (folder / name).replace(settings.state / name)
                else:
                    (settings.state / name).unlink(missing_ok=True)
            _sync(settings.state)
    except (OSError, sqlite3.Error) as error:
        raise ArchiveError(f"{source} cannot be put back: {error}") from error
    return before


def copies(settings: Config) -> list[Path]:
    """The daily copies, oldest first."""
    return sorted(settings.backups_path.glob(f"{PREFIX}*{SUFFIX}"))


def daily(settings: Config, now: datetime) -> Path | None:
    """Make a copy if the newest is a day old, and remove those beyond the number kept. Returns the new one."""
    if settings.backups_kept == 0:
        return None
    settings.backups_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in settings.backups_path.glob(f"{SCRATCH}*"):  # of an agent that was killed at it
        shutil.rmtree(left, ignore_errors=True)
    made = None
    there = copies(settings)
    newest = _made(there[-1]) if there else None
    # A copy from the future is of a clock that was wrong: it must not keep others from being made.
    if newest is None or not timedelta(0) <= now - newest < DAY:
        made = settings.backups_path / f"{PREFIX}{_stamp(now)}{SUFFIX}"
        make(settings, made)
    for old in copies(settings)[: -settings.backups_kept]:
        if old != made:
            old.unlink(missing_ok=True)
    return made


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def _made(path: Path) -> datetime | None:
    try:
        return datetime.strptime(path.name, f"{PREFIX}%Y%m%dT%H%M%SZ{SUFFIX}").replace(tzinfo=UTC)
    except ValueError:  # a file that somebody named
        return None


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder of our own on the file system of the target, gone at the end."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=beside) as folder:
        yield Path(folder)


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal as it is at one moment. ArchiveError if it is damaged."""
    with closing(sqlite3.connect(f"file:{source}?mode=rw", uri=True)) as live, closing(sqlite3.connect(target)) as copy:
        try:
            live.backup(copy)
        except sqlite3.DatabaseError as error:
            raise ArchiveError(_damaged(source, str(error))) from error
    assert_sound(target, source)


def assert_sound(journal: Path, named: Path | None = None) -> None:
    """ArchiveError if the file is no sound journal of ours; `named` is what to call it."""
    with closing(sqlite3.connect(journal)) as opened:
        fault = _fault(opened)
    if fault:
        raise ArchiveError(_damaged(named or journal, fault))


def _damaged(journal: Path, fault: str) -> str:
    return f"{journal} cannot be used: {fault}. Put a copy back: xen-host-agent restore FILE"


def _fault(journal: sqlite3.Connection) -> str:
    """What is wrong with a journal; empty if nothing is."""
    try:
        said = str(journal.execute("PRAGMA integrity_check(1)").fetchone()[0])
        version = int(journal.execute("PRAGMA user_version").fetchone()[0])
        journal.execute("SELECT count(*) FROM records").fetchone()
    except sqlite3.Error as error:
        return str(error)
    if said != "ok":
        return said
    return f"it was written by a newer xen-host-agent (format {version})" if version > SCHEMA else ""


def _unpack(source: Path, folder: Path) -> None:
    """Take what we know out of a copy, and look whether it can be used."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() and member.name in (ABOUT, *NAMES) else None
                if content is None:
                    raise ArchiveError(f"{source} is no copy of a state: {member.name!r} is none of its files")
                with (folder / member.name).open("xb") as file:
                    os.fchmod(file.fileno(), 0o600)
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ArchiveError(f"{source} cannot be read as a copy of a state: {error}") from error
    if not (folder / JOURNAL).exists():
        raise ArchiveError(f"{source} is no copy of a state: it has no {JOURNAL}")
    assert_sound(folder / JOURNAL, source)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Keeps the words of the command line between two commands, in the user's cache folder, so that a command starts in a
third of the time.

The file is used only where it is the user's own and was made of just these modules; whatever is wrong with it, the
words are made anew. No command fails for want of it.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.shell.words import Words

HERE = Path(__file__).parents[1]
SOURCES = ("errors.py", "roles.py", "model", "classes", "messages", "shell")
"""What the words follow from."""
LARGEST = 2**26


def words(derive: Callable[[], dict[str, Any]]) -> Words:
    """The words, as they were kept or as `derive` makes them."""
    stamp = _stamp()
    kept = _read(stamp)
    if kept is None:
        kept = derive()
        with suppress(OSError):
            _write({"stamp": stamp, **kept})
    return Words(kept)


def _folder() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path raises without HOME
    return Path(base) / "xen-host-agent" if Path(base).is_absolute() else None


def _stamp() -> list[list[Any]]:
    """Place, size and time of every module that the words follow from."""
    found: list[list[Any]] = [[str(HERE)]]
    for name in SOURCES:
        path = HERE / name
        for file in (path,) if path.is_file() else sorted(path.rglob("*.py")):
            status = file.stat()
            found.append([str(file.relative_to(HERE)), status.st_size, status.st_mtime_ns])
    return found


def _read(stamp: list[list[Any]]) -> dict[str, Any] | None:
    folder = _folder()
    if folder is None:
        return None
    try:
        descriptor = os.open(folder / "words.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            # With sudo, HOME can be another user's, who could write here what this one is then to run.
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_size > LARGEST:
                return None
            kept = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.get("stamp") == stamp else None


def _write(kept: dict[str, Any]) -> None:
    folder = _folder()
    if folder is None:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        return
    descriptor, made = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        Path(made).replace(folder / "words.json")
    except OSError:
        Path(made).unlink(missing_ok=True)
        raise

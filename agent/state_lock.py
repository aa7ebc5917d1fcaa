"""The hold on a state folder: one process at a time works on it, the agent or a command that mends it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from agent.config import Config


class StateHeld(Exception):
    """The state folder cannot be had; the text says why, and who holds it."""


@contextmanager
def held(settings: Config) -> Iterator[None]:
    """Hold the state folder, making it where it is missing. StateHeld if another process does, or it cannot be used."""
    try:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = settings.lock_path.open("a+")
    except OSError as error:
        raise StateHeld(f"the state folder {settings.state} cannot be used: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip() or "that just started"
            raise StateHeld(f"another agent (pid {holder}) works on the state folder {settings.state}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield

"""A program of the host, run without a shell and without trust: for a limited time, and only so much of what it says is
read.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.text import cleaned

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 20.0
"""xl reads the names of domains from xenstore, and waits for a xenstored that hangs."""
OUTPUT_BYTES = 4 * 2**20
"""Room for 30,000 domains."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"


@dataclass(frozen=True)
class Answer:
    """How a run ended."""

    code: int | None
    """None if there is no such program, or it took too long or said too much."""
    text: str = ""
    """What it printed, or what it complained of, whichever was asked for."""

    @property
    def words(self) -> str:
        """The last line of it, or that there is none."""
        lines = [cleaned(line) for line in self.text.splitlines() if line.strip()]
        if lines:
            return lines[-1]
        return "it does not answer" if self.code is None else f"it ended with {self.code} and said nothing"


def installed(name: str) -> str | None:
    """The path of a program, if this host has it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PATH}")


class Program:
    """One program, if this host has it."""

    def __init__(self, path: str | None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds

    @property
    def there(self) -> bool:
        """Whether there is a program to run."""
        return self._path is not None

    def ask(self, *arguments: str) -> Answer:
        """Run it for what it does, and tell what it complained of."""
        return self.answer(arguments, complaints=True)

    def read(self, *arguments: str) -> str | None:
        """What it printed; None if there is none, or if it failed, took too long or said too much."""
        answer = self.answer(arguments)
        return answer.text if answer.code == 0 else None

    def answer(self, arguments: Sequence[str], *, complaints: bool = False) -> Answer:
        """Run it with these arguments, and tell what it printed, or else complained of."""
        if self._path is None:
            return Answer(None)
        try:
            process = subprocess.Popen(
                [self._path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if complaints else subprocess.PIPE,
                stderr=subprocess.PIPE if complaints else subprocess.DEVNULL,
                env={"PATH": PATH, "LC_ALL": "C"},
            )
        except OSError as error:
            log.warning("%s cannot be run: %s", self._path, error)
            return Answer(None)
        printed = self._printed_by(process)
        if printed is None or process.returncode != 0:
            ended = "no answer" if printed is None else f"exit {process.returncode}"
            log.debug("%s %s: %s", self._path, " ".join(arguments), ended)
        if printed is None:
            return Answer(None)
        return Answer(process.returncode, printed.decode("utf-8", errors="replace"))

    def _printed_by(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """All that the process prints until it ends, which it is made to after the timeout."""
        deadline = time.monotonic() + self._timeout_seconds
        printed = bytearray()
        stream = process.stdout or process.stderr
        assert stream is not None
        with stream as pipe:
            ready = select.poll()
            ready.register(pipe, select.POLLIN)
            while len(printed) <= OUTPUT_BYTES and ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                chunk = os.read(pipe.fileno(), 65536)
                if not chunk:
                    break
                printed += chunk
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            _reap(process)
            return None
        return bytes(printed) if len(printed) <= OUTPUT_BYTES else None


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait a moment for a killed process. One that is stuck in the kernel is reaped when a later one is started."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        log.warning("a killed program (process %d) does not end: it is stuck in the kernel", process.pid)

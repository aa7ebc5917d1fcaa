"""The processes of a run: starting and ending them, asking them things, and what they have used. Not what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from benchmarks.rows import Failed

ROOT = Path(__file__).parents[1]
END_SECONDS = 10.0
_CPU_CLOCK = 2
"""Linux' number of the clock that counts what the scheduler gave all threads of a process, in nanoseconds."""


class Process:
    """A process of this run's own. Its standard error goes to a file, which is quoted if it fails."""

    def __init__(self, arguments: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> None:
        self.name = " ".join(arguments[:4])
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, env=env, text=True
            )

    @classmethod
    def module(cls, name: str, *arguments: str, log: Path) -> Self:
        """Run a module of this repository with this Python."""
        return cls([sys.executable, "-m", name, *arguments], log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def input(self) -> IO[str]:
        """Where its standard input is written."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def line(self) -> str:
        """The next line that it prints. Failed, with what it logged, if it ends instead."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise Failed(f"{self.name} ended: {self.logged()}")
        return text.rstrip("\n")

    def ask(self, command: str, **given: Any) -> Any:
        """Send a command as a line of JSON, and read the answer; for those of ``serve_commands``."""
        self.send(command, **given)
        return self.answer()

    def send(self, command: str, **given: Any) -> None:
        """Send a command, and do not wait for the answer."""
        self.input.write(json.dumps([command, given]) + "\n")
        self.input.flush()

    def answer(self) -> Any:
        """Read the answer to a command. Failed if the process ended over it."""
        return json.loads(self.line())

    def logged(self) -> str:
        """The last of what it logged, in one line."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    def cpu_seconds(self) -> float:
        """What all its threads, living and ended, have used so far."""
        return time.clock_gettime_ns((~self.pid << 3) | _CPU_CLOCK) / 1e9

    def settle(self, seconds: float = 30.0) -> None:
        """Wait until it does nothing any more."""
        deadline = time.monotonic() + seconds
        idle = 0
        while idle < 3 and time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(0.02)
            idle = idle + 1 if self.cpu_seconds() - before < 0.0005 else 0

    def rss_bytes(self) -> int:
        """The memory that it holds."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        """End it and wait until it is gone."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def run(arguments: Sequence[str], *, given: str = "") -> tuple[float, float, str]:
    """Run a command to its end: the seconds it took, those of CPU, and what it printed. Failed if it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(given)
        process.stdin.close()
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{' '.join(arguments)[:100]} failed: {printed.strip()[-300:]}")
    return seconds, used.ru_utime + used.ru_stime, printed


def serve_commands(commands: object) -> None:
    """In a child: read commands, lines of JSON, and answer each by the method of that name, until the end of input.

    An error ends the child; `Process.answer` quotes what it leaves on standard error.
    """
    for line in sys.stdin:
        command, given = json.loads(line)
        print(json.dumps(getattr(commands, command)(**given)), flush=True)

"""What clients and libvirt are told while a test changes something in dom0, with the times by dom0's own clock.

The limits are those of real hardware: a change is to be seen 1 s after libvirt's event, or 5 s after it was made where
libvirt sends none. In the lab the agent's own work is emulated on processors that others use, too. A look at a domain
is a few calls of libvirt and up to two runs of xl, so what ten runs of xl take just now is allowed on top where a
limit was missed.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.dom0 import Dom0
from tests.xen.installed import PASSWORD, PATIENCE_SECONDS, USER

EVENT_SECONDS = 1.0
POLL_SECONDS = 5.0
RUNS_ALLOWED = 10
SCRIPT = Path(__file__).with_name("listen.py")

Told = Mapping[str, Any]
"""A line of ``listen.py``."""


class Watch:
    """Listens in dom0 until it is closed."""

    def __init__(self, dom0: Dom0) -> None:
        self.dom0 = dom0
        self._lines: list[Told] = []
        self._news = threading.Condition()
        dom0.put(SCRIPT, "/root/listen.py")
        command = f"python3 -u /root/listen.py https://127.0.0.1:8443 {USER} {PASSWORD}"
        # A connection of its own, with a terminal: the script ends with it.
        self._process = subprocess.Popen(
            [*dom0.ssh("-S", "none", "-tt"), command],
            cwd=dom0.run_folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="listen", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                with self._news:
                    self._lines.append(json.loads(line))
                    self._news.notify_all()

    def close(self) -> None:
        """Listen no more."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_until_ready(self) -> None:
        """Until both are listened to."""
        self.wait(lambda told: _is(told, "libvirt", ready=True), "libvirt is listened to", since=0)
        self.wait(lambda told: _is(told, "api", ready=True), "the API is listened to", since=0)

    # --- what was told

    def position(self) -> int:
        """Where the next line will be."""
        with self._news:
            return len(self._lines)

    def told(self, since: int, holds: Callable[[Told], object]) -> list[Told]:
        """The lines from a position on that are of a kind."""
        with self._news:
            return [line for line in self._lines[since:] if holds(line)]

    def wait(self, holds: Callable[[Told], object], what: str, *, since: int) -> Told:
        """The first line of a kind from a position on."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._news:
            while True:
                for line in self._lines[since:]:
                    if holds(line):
                        return line
                assert self._process.poll() is None, "the listener in dom0 has ended"
                left = deadline - time.monotonic()
                assert left > 0, f"never told: {what}; but: {self._lines[since:]}"
                self._news.wait(left)

    # --- changes and when they are seen

    def change(self, command: str) -> Change:
        """Run a command in dom0 that changes something."""
        since = self.position()
        ended = self.dom0.run(f"set -e; {command} >/dev/null </dev/null; cut -d' ' -f1 /proc/uptime").stdout
        return Change(self, command, since, float(ended))

    def require_soon(self, seconds: float, limit_seconds: float, what: str) -> None:
        """Fail if it took longer than the limit, and longer than this machine's slowness excuses."""
        if seconds > limit_seconds:
            allowed = limit_seconds + RUNS_ALLOWED * self._run_of_xl_seconds()
            assert seconds <= allowed, f"{what} was shown after {seconds:.1f} s, and {allowed:.1f} s are allowed"

    def _run_of_xl_seconds(self) -> float:
        timed = self.dom0.run("bash -c 'TIMEFORMAT=%R; time xl list -v >/dev/null'").stderr
        return float(timed.split()[-1])


class Change:
    """Something that was done in dom0."""

    def __init__(self, watch: Watch, command: str, since: int, ended: float) -> None:
        self.command = command
        self._watch = watch
        self._since = since
        self._ended = ended

    def seen(self, kind: str = "vm", *, event: int | None = None, **fields: Any) -> Told:
        """What the API told of it: an object of this kind with these fields.

        That is to be within 1 s of libvirt's `event` of the domain, whose ``uuid`` is among the fields then, or else
        within 5 s of the end of the command.
        """
        what = f"{kind} with {fields} after `{self.command}`"
        found = self._watch.wait(lambda told: _is(told, "api", kind=kind, **fields), what, since=self._since)
        if event is None:
            self._watch.require_soon(found["at"] - self._ended, POLL_SECONDS, what)
        else:
            sent = self._watch.wait(
                lambda told: _is(told, "libvirt", uuid=fields["uuid"], event=event),
                f"libvirt's event {event} of `{self.command}`",
                since=self._since,
            )
            self._watch.require_soon(found["at"] - sent["at"], EVENT_SECONDS, what)
        return found


def _is(told: Told, by: str, **fields: Any) -> bool:
    return told["by"] == by and all(told.get(name) == value for name, value in fields.items())


@contextmanager
def watching(dom0: Dom0) -> Iterator[Watch]:
    """A watch that listens already."""
    watch = Watch(dom0)
    try:
        watch.wait_until_ready()
        yield watch
    finally:
        watch.close()

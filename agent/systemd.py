"""The service manager, where one started us: telling it how we are, and taking the sockets that it holds open.

The protocol is systemd's (sd_notify, LISTEN_FDS), in plain Python; other managers speak it too, and without one nothing
here does anything.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

FIRST_PASSED = 3
"""The passed descriptors begin behind standard input, output and error."""


def notify(*states: str) -> None:
    """Tell the manager these states, such as ``READY=1``, at once."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.sendto("\n".join(states).encode(), "\0" + address[1:] if address.startswith("@") else address)


def reloading() -> None:
    """Tell the manager that the configuration is read again; ``READY=1`` says that this is over."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_seconds() -> float | None:
    """How often the manager wants a sign of life at least; None where it wants none from us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    wanted = os.environ.get("WATCHDOG_USEC", "")
    return int(wanted) / 1e6 if wanted.isdigit() and int(wanted) > 0 else None


class Passed:
    """The sockets that the manager passed. They stay open, for an agent that starts anew as the same process."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take them out of the environment, so that no program we run believes they are for it."""
        pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
        self._names = environment.pop("LISTEN_FDNAMES", "").split(":")
        self._count = int(count) if pid == str(os.getpid()) and count.isdigit() else 0
        for number in range(self._count):
            os.set_inheritable(FIRST_PASSED + number, False)

    def sockets(self) -> list[tuple[socket.socket, str]]:
        """Each with the name its unit gives it; who takes them closes them. OSError if one is no socket."""
        found = []
        for number in range(self._count):
            copy = os.dup(FIRST_PASSED + number)
            try:
                taken = socket.socket(fileno=copy)
            except OSError as error:
                os.close(copy)
                raise OSError(f"what the service manager passed as number {number} is no socket: {error}") from error
            found.append((taken, self._names[number] if number < len(self._names) else ""))
        return found

    def hand_on(self, environment: MutableMapping[str, str]) -> None:
        """Let them be passed to what this process becomes, as they were to it."""
        if self._count:
            environment["LISTEN_PID"], environment["LISTEN_FDS"] = str(os.getpid()), str(self._count)
            environment["LISTEN_FDNAMES"] = ":".join(self._names)
        for number in range(self._count):
            os.set_inheritable(FIRST_PASSED + number, True)

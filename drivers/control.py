"""What is done to the host as a whole: Xen's messages and debug keys by xl, the log by journalctl, power by systemctl.

Only of the host that the agent runs on. A hypervisor that is reached over the network, and a simulated one, must never
have the agent's own host rebooted in their place.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

from agent.errors import OperationNotAllowed
from agent.ports import SeenSecurity
from drivers.program import Program, installed
from drivers.text import cleaned_lines
from drivers.xl import Xl

DMESG_CHARACTERS = 2**20
LOG_CHARACTERS = 2**20
LOG_LINES = 5000
FLASK = "flask"
_TIME_ERROR = 5
"""From ``sys/timex.h``: the clock follows no other."""
_TIMEX_BYTES = 512
"""More than ``struct timex`` has on any machine. Zeroes in it ask for no change."""


def _tool(name: str) -> Program:
    return Program(installed(name))


@dataclass
class HostControl:
    """The port ``agent.ports.Control`` of this host, which runs Xen."""

    xl: Xl
    journalctl: Program = field(default_factory=lambda: _tool("journalctl"))
    systemctl: Program = field(default_factory=lambda: _tool("systemctl"))

    def dmesg(self, *, clear: bool) -> str:
        """The hypervisor's message buffer; with `clear` it is empty then."""
        text = self.xl.read("dmesg", "-c") if clear else self.xl.read("dmesg")
        if text is None:
            raise OperationNotAllowed("xl does not tell the hypervisor's messages on this host")
        return cleaned_lines(text, DMESG_CHARACTERS)

    def log(self) -> str:
        """The end of the host's log since it was booted."""
        text = self.journalctl.read("--boot", "--no-pager", "--output=short-iso", f"--lines={LOG_LINES}")
        if text is None:
            raise OperationNotAllowed("journalctl does not tell this host's log")
        return cleaned_lines(text, LOG_CHARACTERS)

    def send_debug_keys(self, keys: str) -> None:
        """Have the hypervisor do what these keys on its console would do."""
        _require(self.xl, "debug-keys", keys)

    def security(self) -> SeenSecurity:
        """Its security module. xl ends with the mode, so that a good answer may look like a failure (Xen 4.17)."""
        words = self.xl.answer(["getenforce"]).text.strip()
        if words not in ("Enforcing", "Permissive"):
            return SeenSecurity()
        return SeenSecurity(FLASK, words == "Enforcing")

    def clock_synchronized(self) -> bool:
        """Whether the kernel takes the clock for one that follows another. The answer is no secret: it asks nothing of
        the time service.
        """
        return _clock_state() != _TIME_ERROR

    def reboot(self) -> None:
        """Reboot it, as its service manager does."""
        _require(self.systemctl, "--no-block", "reboot")

    def shutdown(self) -> None:
        """Switch it off, as its service manager does."""
        _require(self.systemctl, "--no-block", "poweroff")


def _clock_state() -> int:
    """What adjtimex(2), asked to change nothing, says of the clock; -1 where it says nothing."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    return int(ctypes.CDLL(None).adjtimex(timex))


def _require(program: Program, *arguments: str) -> None:
    answer = program.ask(*arguments)
    if answer.code != 0:
        raise OperationNotAllowed(f"it could not be done: {answer.words}")


class NoControl:
    """The port ``agent.ports.Control`` of a host that the agent does not run on."""

    def dmesg(self, *, clear: bool) -> str:
        """Refused."""
        raise self._refusal()

    def log(self) -> str:
        """Refused."""
        raise self._refusal()

    def send_debug_keys(self, keys: str) -> None:
        """Refused."""
        raise self._refusal()

    def security(self) -> SeenSecurity:
        """None that is known of."""
        return SeenSecurity()

    def clock_synchronized(self) -> bool:
        """Refused."""
        raise self._refusal()

    def reboot(self) -> None:
        """Refused."""
        raise self._refusal()

    def shutdown(self) -> None:
        """Refused."""
        raise self._refusal()

    def _refusal(self) -> OperationNotAllowed:
        return OperationNotAllowed("the agent does not run on the host of this hypervisor, and has no hold of it")


class SimulatedControl(NoControl):
    """The port ``agent.ports.Control`` of the simulated host, which has a message buffer and cannot be switched off."""

    def __init__(self) -> None:
        self._ring = ["this is a simulated hypervisor: libvirt's test driver"]

    def dmesg(self, *, clear: bool) -> str:
        """The simulated message buffer."""
        text = "\n".join(self._ring)
        if clear:
            self._ring = []
        return text

    def log(self) -> str:
        """The simulated host has no log: what the agent does is in the agent's own."""
        return ""

    def send_debug_keys(self, keys: str) -> None:
        """Note the keys. Nobody is there to do what they ask for."""
        self._ring += [f"'{key}' pressed -> nothing is behind it" for key in keys]

    def _refusal(self) -> OperationNotAllowed:
        return OperationNotAllowed("the host is a simulated one: the machine that the simulation runs on is left alone")

"""The counters of disks that a device model serves: QEMU is asked over the socket that Xen's tools made for statistics.

Xen's library (4.17) starts one QEMU a guest for images that the kernel cannot serve, with two sockets of QMP, QEMU's
line-by-line JSON: one for itself, and ``/run/xen/qmp-libxenstat-<domid>`` for statistics. It takes one client at a time
(xentop is another), so every question is a connection of its own, and short.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path("/run/xen")
TIMEOUT_SECONDS = 5.0
ANSWER_BYTES = 2**20

_TARGET = re.compile(r"(xvd[a-z]{1,2})(?:-\w+)?", re.ASCII)
_IDE = re.compile(r"ide([01])-(?:hd|cd)([01])", re.ASCII)


class QmpError(Exception):
    """The device model does not answer, or not as it should."""


def block_counters(
    domid: int, folder: Path = FOLDER, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> dict[str, tuple[int, int]]:
    """Bytes read and written, by target, of the disks that a guest's device model serves; none if it has no such.

    QmpError if there is a device model that does not tell.
    """
    path = folder / f"qmp-libxenstat-{domid}"
    if not path.exists():
        return {}
    deadline = time.monotonic() + timeout_seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            line = _Lines(connection, deadline)
            connection.settimeout(timeout_seconds)
            connection.connect(str(path))
            line.greeting()
            line.ask("qmp_capabilities")
            return counters_in(line.ask("query-blockstats"))
    except (OSError, ValueError) as error:
        raise QmpError(f"the device model of domain {domid} does not tell: {error}") from error


def counters_in(answer: Any) -> dict[str, tuple[int, int]]:
    """The counters in what ``query-blockstats`` returns."""
    found: dict[str, tuple[int, int]] = {}
    for device in answer if isinstance(answer, list) else []:
        stats = device.get("stats") if isinstance(device, dict) else None
        if isinstance(stats, dict) and (target := target_of(device)):
            read, written = stats.get("rd_bytes"), stats.get("wr_bytes")
            if isinstance(read, int) and isinstance(written, int):
                found[target] = (read, written)
    return found


def target_of(device: Mapping[str, Any]) -> str:
    """The name of a disk in the guest: Xen's disks are nodes named ``xvda-raw``, emulated ones devices ``ide0-hd0``."""
    node, name = str(device.get("node-name") or ""), str(device.get("device") or "")
    if named := _TARGET.fullmatch(node):
        return named[1]
    if named := _IDE.fullmatch(name):
        return f"hd{'abcd'[2 * int(named[1]) + int(named[2])]}"
    return ""


class _Lines:
    """The lines that a device model sends."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._received = bytearray()

    def greeting(self) -> None:
        """Wait for the line that it sends first."""
        if "QMP" not in self._next():
            raise ValueError("it speaks no QMP")

    def ask(self, command: str) -> Any:
        """What the command returns; ValueError if that is an error."""
        self._connection.settimeout(self._left())
        self._connection.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while True:
            said = self._next()
            if "return" in said:
                return said["return"]
            if "error" in said:
                raise ValueError(f"{command}: {said['error']}")

    def _next(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            if len(self._received) > ANSWER_BYTES:
                raise ValueError("its answer is too long")
            self._connection.settimeout(self._left())
            received = self._connection.recv(65536)
            if not received:
                raise ValueError("it has ended the connection")
            self._received += received
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        said = json.loads(line)
        if not isinstance(said, dict):
            raise ValueError("its answer is no object")
        return said

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        return left

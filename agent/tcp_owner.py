"""Whose the other end of a TCP connection within this host is, as the kernel tells it in ``/proc/net``."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

ESTABLISHED = "01"
Ends = tuple[str, int, str, int]
"""Address and port of the other end, then our own."""


def owner(ends: Ends, folder: Path = Path("/proc/net")) -> int | None:
    """The user id of the process that opened the other end; None where that cannot be told.

    A socket that its process has let go of has no owner, and the kernel prints 0 for it, which is root's: it has no
    inode either, and is in no case taken for root's.
    """
    address, port, own, own_port = ends
    wanted = [_place(address, port), _place(own, own_port)]
    try:
        lines = (folder / ("tcp6" if ":" in address else "tcp")).read_text("ascii").splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[1:3] == wanted:
            return int(fields[7]) if fields[3] == ESTABLISHED and fields[9] != "0" else None
    return None


def _place(address: str, port: int) -> str:
    """An end as the kernel prints it: words of 32 bits in its own order, in hexadecimal."""
    packed = ipaddress.ip_address(address).packed
    words = (packed[n : n + 4] for n in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"

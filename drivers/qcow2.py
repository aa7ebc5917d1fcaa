"""What the head of a qcow2 image says. It is only looked at: to refuse an image, never to find out what to open.

A guest cannot reach the head of its own image, but an image that somebody brought may name any file of the host as the
one it is laid over or has its data in. What an image rests on is what the agent noted, and its head must agree.
The format is QEMU's docs/interop/qcow2.txt.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

MAGIC = b"QFI\xfb"
NAME_MAX = 1023
"""The longest name of a file below that the format allows."""
EXTERNAL_DATA = 1 << 2
"""The incompatible feature of an image that has its data in another file."""

_HEAD = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE2792ACA
_EXTENSIONS_MAX = 64 * 1024
_L1_MAX = 32 * 1024 * 1024
"""QEMU opens no image with a larger table."""
_OFFSET = 0x00FFFFFFFFFFFE00


class NotQcow2(ValueError):
    """The file is no qcow2 image, or none that can be understood."""


@dataclass(frozen=True)
class Head:
    """The head of an image."""

    size: int
    """Bytes that a reader of the image sees."""
    backing: str
    """The name of the file that it is laid over; empty for none."""
    backing_format: str
    external_data: bool
    snapshots: int
    """Snapshots within the file, as ``qemu-img snapshot`` makes them; the agent makes none."""
    l1_offset: int
    l1_entries: int


def read_head(descriptor: int) -> Head:
    """The head of an open file. NotQcow2 if it has none, or a faulty one."""
    raw = os.pread(descriptor, _HEAD.size, 0)
    if len(raw) < 72 or not raw.startswith(MAGIC):
        raise NotQcow2("the file does not begin as a qcow2 image does")
    raw = raw.ljust(_HEAD.size, b"\0")
    (_, version, name_at, name_length, cluster_bits, size, _, l1_entries, l1_offset, _, _, snapshots, _, features) = (
        _HEAD.unpack(raw)[:14]
    )
    length = _HEAD.unpack(raw)[17] if version >= 3 else 72
    if version not in (2, 3) or not 9 <= cluster_bits <= 21 or name_length > NAME_MAX or l1_entries * 8 > _L1_MAX:
        raise NotQcow2("its head makes no sense")
    name = os.pread(descriptor, name_length, name_at) if name_at else b""
    if len(name) != (name_length if name_at else 0):
        raise NotQcow2("the name of the file below is cut off")
    return Head(
        size=size,
        backing=name.decode("utf-8", "surrogateescape"),
        backing_format=_backing_format(descriptor, length),
        external_data=version >= 3 and bool(features & EXTERNAL_DATA),
        snapshots=snapshots,
        l1_offset=l1_offset,
        l1_entries=l1_entries,
    )


def _backing_format(descriptor: int, position: int) -> str:
    end = position + _EXTENSIONS_MAX
    while position < end:
        raw = os.pread(descriptor, _EXTENSION.size, position)
        if len(raw) < _EXTENSION.size:
            break
        kind, length = _EXTENSION.unpack(raw)
        if kind == 0:
            break
        position += _EXTENSION.size
        if kind == _BACKING_FORMAT:
            return os.pread(descriptor, min(length, 16), position).decode("ascii", "replace")
        position += (length + 7) & ~7
    return ""


def is_untouched(descriptor: int, head: Head) -> bool:
    """Whether nothing was ever written to the image, so that all it shows is what it is laid over."""
    table = os.pread(descriptor, head.l1_entries * 8, head.l1_offset)
    return head.snapshots == 0 and not any(
        entry & _OFFSET for (entry,) in struct.iter_unpack(">Q", table[: len(table) & ~7])
    )

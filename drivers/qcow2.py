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
CORRUPT = 1 << 1
KNOWN_FEATURES = (1 << 5) - 1
SIZE_MAX = 2**62

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
class Fields:
    """The numbers of a head that count here."""

    name_at: int
    name_length: int
    cluster: int
    """Bytes of a cluster."""
    size: int
    encryption: int
    l1_entries: int
    l1_offset: int
    snapshots: int
    features: int
    """Which readers must know."""
    length: int
    """Of the head."""


def fields_of(raw: bytes) -> Fields:
    """The numbers of a head. NotQcow2 for what is none, or makes no sense."""
    if len(raw) < 72 or not raw.startswith(MAGIC):
        raise NotQcow2("the file does not begin as a qcow2 image does")
    _, version, name_at, name_length, cluster_bits, size, encryption, entries, offset, _, _, snapshots, *more = (
        _HEAD.unpack(raw[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    )
    if version not in (2, 3) or not 9 <= cluster_bits <= 21 or name_length > NAME_MAX or entries * 8 > _L1_MAX:
        raise NotQcow2("its head makes no sense")
    features, length = (more[1], more[5]) if version == 3 else (0, 72)
    return Fields(
        name_at, name_length, 1 << cluster_bits, size, encryption, entries, offset, snapshots, features, length
    )


def judge(head: bytes) -> int:
    """The size of the disk in an image that begins so. NotQcow2, with the reason, for one that cannot be taken from
    somebody else.
    """
    fields = fields_of(head)
    if fields.size >= SIZE_MAX:
        raise NotQcow2("its head makes no sense")
    if fields.name_at:
        raise NotQcow2("it rests on another image")
    if fields.features & EXTERNAL_DATA:
        raise NotQcow2("it has its data in another file")
    if fields.features & ~KNOWN_FEATURES:
        raise NotQcow2("it needs features that are not known here")
    if fields.features & CORRUPT:
        raise NotQcow2("it is marked as damaged")
    if fields.encryption:
        raise NotQcow2("it is encrypted")
    return fields.size


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
    fields = fields_of(os.pread(descriptor, _HEAD.size, 0))
    name = os.pread(descriptor, fields.name_length, fields.name_at) if fields.name_at else b""
    if len(name) != (fields.name_length if fields.name_at else 0):
        raise NotQcow2("the name of the file below is cut off")
    return Head(
        size=fields.size,
        backing=name.decode("utf-8", "surrogateescape"),
        backing_format=_backing_format(descriptor, fields.length),
        external_data=bool(fields.features & EXTERNAL_DATA),
        snapshots=fields.snapshots,
        l1_offset=fields.l1_offset,
        l1_entries=fields.l1_entries,
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

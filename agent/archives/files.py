"""The archives as one compact file: a line of JSON that says what there is, and the numbers of all rings after it.

Both are compressed. The file is replaced whole or not at all, and nothing in it is executed or believed: one that does
not fit what this build keeps is refused.
"""

from __future__ import annotations

import json
import os
import zlib
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.archives.rows import SOURCES_MAX, SPANS, TICK_SECONDS, Archive, Gathered, Ring, Series
from agent.archives.sources import Key, Kind

FORMAT = 1
MAGIC = b"xen-host-agent numbers\n"
LEVEL = 1
LARGEST_BYTES = 2**31
"""A file that unpacks to more is none of ours."""
_SHAPE = [[span.step, span.rows, len(span.ways), span.code] for span in SPANS]


def dumped(archives: Mapping[Key, Archive]) -> bytes:
    """All archives, as the file has them."""
    numbers = bytearray()
    things = []
    for key, archive in archives.items():
        kept = []
        for name, series in archive.series.items():
            lengths = []
            for rings in series.rings:
                for ring in rings:
                    values = ring.values()
                    lengths.append(len(values))
                    numbers += values.tobytes()
            gathered = [[each.sum, each.count, each.least, each.most] for each in series.gathered]
            kept.append([name, series.seen, gathered, lengths])
        things.append([key.kind.value, key.uuid, archive.last, archive.ends, sorted(archive.off), kept])
    head = json.dumps({"format": FORMAT, "shape": _SHAPE, "things": things}).encode()
    return MAGIC + zlib.compress(b"%d\n" % len(head) + head + numbers, LEVEL)


def write(path: Path, content: bytes) -> None:
    """Put a file in place, in one step, durably. OSError."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> dict[Key, Archive]:
    """The archives of a file. OSError, ValueError for one that is none or of another build."""
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise ValueError("it is no file of numbers")
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(content[len(MAGIC) :], LARGEST_BYTES)
    except zlib.error as error:
        raise ValueError(f"it is damaged: {error}") from None
    if not unpacker.eof:
        raise ValueError("it is damaged: its end is missing")
    size, _, rest = plain.partition(b"\n")
    try:
        length = int(size)
        return _read(json.loads(rest[:length]), memoryview(rest)[length:])
    except (TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"it is damaged: {error!r}") from None


def _read(head: Any, numbers: memoryview) -> dict[Key, Archive]:
    if head["format"] != FORMAT or head["shape"] != _SHAPE:
        raise ValueError("another build has written it")
    archives: dict[Key, Archive] = {}
    place = 0
    for kind, uuid, last, ends, off, kept in head["things"]:
        aligned = len(ends) in (0, len(SPANS)) and all(
            end % span.step == 0 for end, span in zip(ends, SPANS, strict=False)
        )
        if last % TICK_SECONDS or not aligned or len(kept) > SOURCES_MAX:
            raise ValueError("its times are none")
        archive = archives[Key(Kind(kind), str(uuid))] = Archive(last, [int(end) for end in ends])
        archive.off = {str(name) for name in off}
        for name, seen, gathered, lengths in kept:
            left = iter(lengths)
            series = archive.series[str(name)] = Series()
            series.seen = int(seen)
            series.gathered = [Gathered(float(s), int(n), float(low), float(high)) for s, n, low, high in gathered]
            if len(series.gathered) != len(SPANS):
                raise ValueError("its rows are none")
            for span, rings in zip(SPANS, series.rings, strict=True):
                for number in range(len(rings)):
                    values: array[float] = array(span.code)
                    size = next(left) * values.itemsize
                    if not 0 <= size <= span.rows * values.itemsize or place + size > len(numbers):
                        raise ValueError("its rows are none")
                    values.frombytes(numbers[place : place + size])
                    place += size
                    rings[number] = Ring(span.rows, span.code, values)
    return archives

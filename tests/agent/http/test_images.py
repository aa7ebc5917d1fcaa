"""VHD and qcow2 images: what is written qemu-img reads, what qemu-img writes is read, what is damaged is refused."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import ValueNotSupported
from agent.http import qcow2, vhd
from agent.http.disks import raw_parts
from agent.http.extents import runs
from tests.agent.http.volumes import Sparse, Written, reading

MIB = 2**20
UUID = "01234567-89ab-cdef-0123-456789abcdef"
NAMES = {"vhd": "vpc", "qcow2": "qcow2"}
RANDOM = random.Random(7)


def image_of(format: str, reader: Sparse) -> bytes:
    image: Any = vhd.Image(reader, UUID) if format == "vhd" else qcow2.Image(reader)
    data = b"".join(image.parts())
    assert len(data) == image.length
    return data


def qemu(*arguments: str | Path) -> str:
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def unpacked(data: bytes, size: int, length: int | None = None) -> bytes:
    """What a VHD holds, read into a disk of `size` bytes."""
    written = Written(size)

    def check(needed: int) -> None:
        assert needed <= size

    for part in vhd.unpack(reading(data), length, check, written.write):
        assert 0.0 <= part <= 1.0
    return bytes(written.content)


DISKS = {
    "empty": Sparse(8 * MIB),
    "one byte at the end": Sparse(5 * MIB, [(5 * MIB - 1, b"x")]),
    "unaligned": Sparse(3 * MIB + 512, [(100, b"a" * 70000), (2 * MIB - 5, b"b" * 10), (3 * MIB, b"c" * 512)]),
    "full": Sparse(4 * MIB, [(0, RANDOM.randbytes(4 * MIB))]),
    "far apart": Sparse(3 * 512 * MIB, [(0, b"a"), (1100 * MIB, b"b" * 70000), (1500 * MIB, b"c")]),
}


@pytest.mark.parametrize("disk", sorted(DISKS))
@pytest.mark.parametrize("format", sorted(NAMES))
def test_qemu_reads_what_is_written(tmp_path: Path, format: str, disk: str) -> None:
    reader = DISKS[disk]
    raw, image = tmp_path / "raw", tmp_path / "image"
    with raw.open("wb") as file:
        file.truncate(reader.size)
        for start, data in reader.stretches:
            file.seek(start)
            file.write(data)
    image.write_bytes(image_of(format, reader))
    qemu("compare", "-f", "raw", "-F", NAMES[format], raw, image)
    if format == "qcow2":
        assert "No errors" in qemu("check", "-f", "qcow2", image)


@pytest.mark.parametrize("disk", sorted(DISKS))
def test_more_runs_than_are_remembered_make_the_same_image(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = image_of("qcow2", DISKS[disk])
    monkeypatch.setattr(qcow2, "KEPT_RUNS", 0)
    assert image_of("qcow2", DISKS[disk]) == remembered


@pytest.mark.parametrize("format", sorted(NAMES))
def test_holes_are_neither_read_nor_written(format: str) -> None:
    reader = Sparse(2**40, [(7 * MIB, b"x" * 1000), (2**40 - 1000, b"y" * 1000)])
    image: Any = vhd.Image(reader, UUID) if format == "vhd" else qcow2.Image(reader)
    longest = 4 * MIB if format == "qcow2" else 8 * MIB
    assert sum(map(len, image.parts())) == image.length < longest
    assert reader.bytes_read <= 5 * MIB


def test_a_disk_that_a_vhd_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueNotSupported, match="at most"):
        vhd.Image(Sparse(vhd.LARGEST + 512), UUID)


def test_a_raw_disk_is_sent_from_any_place_to_any_other() -> None:
    reader = Sparse(4 * MIB, [(100, b"a" * 70000), (2 * MIB - 5, b"b" * 10)])
    whole = reader.content
    for start, end in ((0, 4 * MIB), (99, 101), (70099, 70101), (2 * MIB, 2 * MIB + 1), (3 * MIB, 4 * MIB), (5, 5)):
        assert b"".join(raw_parts(reader, start, end)) == whole[start:end]


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 200)), max_size=8), st.sampled_from([1, 7, 64, 512]))
def test_runs_cover_all_data_once_and_nothing_twice(stretches: list[tuple[int, int]], unit: int) -> None:
    apart: list[tuple[int, bytes]] = []
    for start, length in sorted(stretches):
        start = max([start] + [at + len(data) for at, data in apart])
        apart.append((start, b"x" * length))
    size = max([1] + [at + len(data) for at, data in apart])
    found = [number for first, last in runs(Sparse(size, apart), unit) for number in range(first, last)]
    wanted = sorted({at // unit for start, data in apart for at in range(start, start + len(data))})
    assert found == wanted


# --- VHDs that come


def test_a_vhd_is_what_it_was_written_as() -> None:
    for reader in (DISKS["empty"], DISKS["unaligned"], DISKS["full"]):
        data = image_of("vhd", reader)
        for length in (len(data), None):
            assert unpacked(data, reader.size, length) == reader.content


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_a_vhd_of_qemu_is_read(tmp_path: Path, kind: str) -> None:
    reader = DISKS["unaligned"]
    raw, image = tmp_path / "raw", tmp_path / "image"
    raw.write_bytes(reader.content)
    qemu("convert", "-f", "raw", "-O", "vpc", "-o", f"subformat={kind},force_size=on", raw, image)
    data = image.read_bytes()
    assert unpacked(data, reader.size, len(data)) == reader.content
    assert unpacked(data, reader.size + MIB, len(data)) == reader.content + bytes(MIB)


def test_blocks_of_a_vhd_may_lie_in_any_order() -> None:
    reader = Sparse(8 * MIB, [(0, b"a" * 100), (4 * MIB, b"b" * 100)])
    data = bytearray(image_of("vhd", reader))
    at = 1536
    assert struct.unpack(">IIII", data[at : at + 16])[1::2] == (0xFFFFFFFF, 0xFFFFFFFF)
    first, second = struct.unpack(">I4xI", data[at : at + 12])
    stride = (second - first) * 512
    one, two = data[first * 512 : second * 512], data[second * 512 : second * 512 + stride]
    data[at : at + 12] = struct.pack(">III", second, 0xFFFFFFFF, first)
    data[first * 512 : second * 512 + stride] = two + one
    assert unpacked(bytes(data), reader.size, len(data)) == reader.content


def test_what_the_bitmap_of_a_vhd_leaves_out_is_zero() -> None:
    reader = Sparse(2 * MIB, [(0, b"a" * 2 * MIB)])
    data = bytearray(image_of("vhd", reader))
    [block] = struct.unpack(">I", data[1536:1540])
    data[block * 512] = 0b01111111  # the first sector was never written
    assert unpacked(bytes(data), reader.size) == bytes(512) + reader.content[512:]


def broken_vhds() -> Iterator[tuple[str, bytes]]:
    whole = image_of("vhd", Sparse(8 * MIB, [(0, b"a" * 100), (4 * MIB, b"b" * 100)]))

    def with_checksum(data: bytearray, start: int, end: int, at: int) -> bytes:
        data[at : at + 4] = bytes(4)
        data[at : at + 4] = struct.pack(">I", ~sum(data[start:end]) & 0xFFFFFFFF)
        return bytes(data)

    def changed(at: int, new: bytes, *, header: bool = False) -> bytes:
        data = bytearray(whole)
        data[at : at + len(new)] = new
        return with_checksum(data, 512, 1536, 548) if header else with_checksum(data, 0, 512, 64)

    yield "a difference", changed(60, struct.pack(">I", 4))
    yield "an odd size", changed(48, struct.pack(">Q", 8 * MIB + 1))
    yield "a header before the footer", changed(16, struct.pack(">Q", 0))
    yield "a header far away", changed(16, struct.pack(">Q", 2**40))
    yield "a damaged footer", whole[:100] + b"x" + whole[101:]
    yield "a damaged header", whole[:700] + b"x" + whole[701:]
    yield "blocks of a byte", changed(544, struct.pack(">I", 1), header=True)
    yield "blocks of 3 MiB", changed(544, struct.pack(">I", 3 * MIB), header=True)
    yield "blocks of 1 GiB", changed(544, struct.pack(">I", 2**30), header=True)
    yield "a table that is too short", changed(540, struct.pack(">I", 3), header=True)
    yield "a table over the header", changed(528, struct.pack(">Q", 512), header=True)
    yield "blocks over each other", whole[:1544] + whole[1536:1540] + whole[1548:]
    yield "a block over the header", whole[:1536] + struct.pack(">I", 1) + whole[1540:]
    yield "a block far away", whole[:1544] + struct.pack(">I", 2**31) + whole[1548:]
    yield "no footer at the end", whole[:-512] + bytes(512)
    yield "an end that is missing", whole[:-1]
    yield "half of it", whole[: len(whole) // 2]
    yield "no VHD", b"x" * 4096
    yield "nothing", b""


@pytest.mark.parametrize(("what", "data"), list(broken_vhds()), ids=lambda item: item if isinstance(item, str) else "")
def test_a_broken_vhd_is_refused(what: str, data: bytes) -> None:
    with pytest.raises(vhd.Refused):
        unpacked(data, 8 * MIB + 512, len(data))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 2200), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_vhd_with_any_byte_changed_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL_VHD)
    for at, value in changes:
        data[at % len(data)] = value
    with suppress(vhd.Refused):
        unpacked(bytes(data), 4 * MIB, len(data))


SMALL_VHD = image_of("vhd", Sparse(4 * MIB, [(0, b"a" * 100)]))

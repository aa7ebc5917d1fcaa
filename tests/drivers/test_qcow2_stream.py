"""qcow2 images unpacked while they come: in whatever order they lie, and never other than QEMU reads them."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from agent.http.qcow2 import Image
from drivers import qcow2_stream
from drivers.images import Opened, write_sparse
from drivers.qcow2_stream import Stream
from tests.contract.storage import ignore

CLUSTER = 65536
TABLE = CLUSTER // 8
SIZE = 600 * 2**20 + 512
"""So that there are two second-level tables, and a last cluster that is not whole."""


class Unpacked:
    """What becomes of an image that comes in such pieces."""

    def __init__(self, folder: Path, image: bytes, size: int, pieces: Sequence[int] = (2**20,)) -> None:
        with (folder / "spool").open("w+b") as spool, (folder / "target").open("w+b") as target:
            target.truncate(size)
            stream = Stream(spool.fileno(), target.fileno(), partial(write_sparse, target.fileno()))
            at, number = 0, 0
            while at < len(image):
                step = max(112, pieces[number % len(pieces)])
                stream.feed(memoryview(image)[at : at + step])
                at, number = at + step, number + 1
            self.alone = stream.finish(ignore)
            """Whether it needed no qemu-img."""
        self.spool, self.target = folder / "spool", folder / "target"


def data_of(path: Path) -> dict[int, bytes]:
    """The clusters of a raw file that are not zero."""
    found: dict[int, bytes] = {}
    with path.open("rb") as file:
        position = 0
        while True:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA) // CLUSTER * CLUSTER
            except OSError:
                return found
            data = os.pread(file.fileno(), CLUSTER, position)
            if any(data):
                found[position // CLUSTER] = data.ljust(CLUSTER, b"\0")
            position += CLUSTER


def image(places: Sequence[str], data: dict[int, bytes], size: int = SIZE, flags: int = 0) -> bytes:
    """An image whose second cluster on holds these: ``l1``, ``t0``, ``t1``, ``junk``, and the numbers of clusters."""
    at = {what: (number + 1) * CLUSTER for number, what in enumerate(places)}
    head = struct.pack(
        ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, size, 0, 2, at["l1"], CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104
    )
    parts = {"l1": struct.pack(">2Q", at.get("t0", 0), at.get("t1", 0)), "junk": b"\xff" * CLUSTER}
    for table in (0, 1):
        entries = [at.get(str(number), 0) for number in range(table * TABLE, (table + 1) * TABLE)]
        parts[f"t{table}"] = struct.pack(f">{TABLE}Q", *(entry and entry | flags for entry in entries))
    parts |= {str(number): content for number, content in data.items()}
    return head.ljust(CLUSTER, b"\0") + b"".join(parts[what].ljust(CLUSTER, b"\0") for what in places)


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as path:
        yield Path(path)


def filled(*numbers: int) -> dict[int, bytes]:
    last = SIZE // CLUSTER
    return {number: random.Random(number).randbytes(512 if number == last else CLUSTER) for number in numbers}


@settings(max_examples=80, deadline=None)
@given(
    places=st.permutations(["l1", "t0", "t1", "junk", "0", "1", "2", "9000", "9001", str(SIZE // CLUSTER)]),
    pieces=st.lists(st.integers(112, 3 * CLUSTER), min_size=1, max_size=5),
)
def test_an_image_shows_the_same_in_whatever_order_it_lies(places: list[str], pieces: list[int]) -> None:
    data = filled(0, 1, 2, 9000, 9001, SIZE // CLUSTER)
    with folder() as here:
        unpacked = Unpacked(here, image(places, data), SIZE, pieces)
        assert unpacked.alone
        assert data_of(unpacked.target) == {number: part.ljust(CLUSTER, b"\0") for number, part in data.items()}
        assert unpacked.target.stat().st_size == SIZE


@settings(max_examples=40, deadline=None)
@given(
    places=st.permutations(["l1", "t0", "t1", "0", "1", "2", "9000"]),
    change=st.sampled_from(["compressed", "odd", "table as data", "twice", "cut", "few runs"]),
    pieces=st.lists(st.integers(112, 3 * CLUSTER), min_size=1, max_size=5),
)
def test_what_is_unusual_is_left_to_qemu_img_whole(places: list[str], change: str, pieces: list[int]) -> None:
    made = bytearray(image(places, filled(0, 1, 2, 9000)))
    at = {what: (number + 1) * CLUSTER for number, what in enumerate(places)}
    put = partial(struct.pack_into, ">Q", made)
    if change == "compressed":
        put(at["t1"] + 8 * (9000 - TABLE), 1 << 62 | at["9000"])
    elif change == "odd":
        put(at["t0"] + 8, at["1"] + 512)
    elif change == "table as data":
        put(at["l1"] + 8, at["2"])
        put(at["2"], 1 << 62 | 512)
    elif change == "twice":  # as if another snapshot had it too
        put(at["t0"] + 8 * 77, at["1"])
    elif change == "cut":
        del made[max(at.values()) :]
    limit = 1 if change == "few runs" else qcow2_stream.RUNS_MAX
    with folder() as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(qcow2_stream, "RUNS_MAX", limit)
        unpacked = Unpacked(here, bytes(made), SIZE, pieces)
        if unpacked.alone:  # a cluster that is shown twice may have been kept; the last run may have been the first
            assert change in ("twice", "few runs")
            assert data_of(unpacked.target)[1] == filled(1)[1]
            assert change != "twice" or data_of(unpacked.target)[77] == filled(1)[1]
        else:
            assert unpacked.spool.read_bytes() == made


def test_zero_clusters_are_holes(tmp_path: Path) -> None:
    data = filled(0, 9000)
    unpacked = Unpacked(tmp_path, image(["l1", "t0", "t1", "0", "9000"], data, flags=1), SIZE)
    assert unpacked.alone
    assert data_of(unpacked.target) == {}


@pytest.mark.parametrize(
    ("options", "alone"),
    [
        ((), True),
        (("-o", "cluster_size=2M"), True),
        (("-o", "preallocation=metadata"), True),
        (("-o", "lazy_refcounts=on"), True),
        (("-c",), False),
        (("-o", "compat=0.10"), False),
        (("-o", "cluster_size=4k"), False),
        (("-o", "extended_l2=on"), False),
    ],
)
def test_qemus_images_are_unpacked_as_they_come(tmp_path: Path, options: tuple[str, ...], alone: bool) -> None:
    raw, packed = tmp_path / "raw", tmp_path / "packed"
    with raw.open("wb") as file:
        file.truncate(SIZE)
        for number, part in filled(0, 1, 2, 700, 9000, SIZE // CLUSTER).items():
            file.seek(number * CLUSTER)
            file.write(part)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, packed], check=True)
    unpacked = Unpacked(tmp_path, packed.read_bytes(), SIZE)
    assert unpacked.alone is alone
    if alone:
        assert data_of(unpacked.target) == data_of(raw)
        assert not any(part in unpacked.spool.read_bytes() for part in data_of(raw).values()), "kept in a file between"
    else:
        assert unpacked.spool.read_bytes() == packed.read_bytes()


def test_an_export_is_unpacked_as_it_comes(tmp_path: Path, mocker: MockerFixture) -> None:
    raw = tmp_path / "raw"
    with raw.open("wb") as file:
        file.truncate(SIZE)
        for number, part in filled(3, 9000).items():
            file.seek(number * CLUSTER)
            file.write(part)
    reader = Opened(os.open(raw, os.O_RDONLY), SIZE, "tag", mocker.MagicMock())
    try:
        sent = b"".join(Image(reader).parts())
    finally:
        reader.close()
    unpacked = Unpacked(tmp_path, sent, SIZE + -SIZE % 512)
    assert unpacked.alone
    assert data_of(unpacked.target) == data_of(raw)

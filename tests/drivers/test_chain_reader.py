"""Chains of real images, read by their maps: what is read is what was written, wherever it lies."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import pytest

from agent.errors import OperationNotAllowed, VdiIoError
from agent.ports import VolumeReader
from drivers.chain_reader import STRETCH, ChainReader, open_chain
from drivers.images import Opened
from drivers.qemu_img import Extent, Layer, QemuImg

KIB, MIB = 1024, 2**20
CLUSTER = 64 * KIB
SIZE = 24 * MIB


class Chain:
    """Images over each other, the first the lowest, and what is to be read of the last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[tuple[Path, str]] = []
        self.shows = bytearray()

    def add(self, size: int, format: str = "qcow2") -> None:
        """Lay a new image over them."""
        path = self.folder / f"{len(self.paths)}.{format}"
        below = ["-b", self.paths[-1][0].name, "-F", self.paths[-1][1]] if self.paths else []
        subprocess.run(["qemu-img", "create", "-q", "-f", format, *below, path, str(size)], check=True)
        self.paths.append((path, format))
        self.shows = self.shows.ljust(size, b"\0")

    def write(self, offset: int, length: int, byte: int) -> None:
        """Write to the one on top."""
        path, format = self.paths[-1]
        subprocess.run(
            ["qemu-io", "-f", format, "-c", f"write -P {byte} {offset} {length}", path],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.shows[offset : offset + length] = bytes([byte]) * length

    def compress(self) -> None:
        """Have the one on top compressed."""
        path, format = self.paths[-1]
        packed = path.with_suffix(".packed")
        subprocess.run(["qemu-img", "convert", "-c", "-O", format, path, packed], check=True)
        packed.rename(path)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """An empty chain."""
    return Chain(tmp_path)


class Opener:
    """Opens a chain, and counts what that took."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.maps: list[int] = []
        self.unpacked = 0

    def open(self) -> VolumeReader:
        class Counted(QemuImg):
            def extents(counted, chain: Sequence[Layer], start: int) -> Generator[Extent, None, None]:  # noqa: N805
                self.maps.append(start)
                return super().extents(chain, start)

        def unpack(layers: Sequence[Layer]) -> VolumeReader:
            self.unpacked += 1
            content = os.memfd_create("unpacked")
            os.write(content, self.chain.shows)
            return Opened(content, len(self.chain.shows), "", nullcontext)

        with ExitStack() as opened:
            layers = []
            for path, format in reversed(self.chain.paths):
                descriptor = os.open(path, os.O_RDONLY)
                opened.callback(os.close, descriptor)
                layers.append(Layer(descriptor, format))
            return open_chain(layers, len(self.chain.shows), Counted(), nullcontext, unpack)


def whole(reader: VolumeReader) -> bytes:
    """All of it, read as an export does."""
    content = bytearray(reader.size)
    offset = 0
    while offset < reader.size:
        start, end = reader.next_data(offset)
        for at in range(start, end, MIB):
            step = min(MIB, end - at)
            content[at : at + step] = reader.read(at, step)
        offset = end
    return bytes(content)


@pytest.mark.parametrize("lowest", ["raw", "qcow2"])
def test_what_several_images_hold_is_read_in_one_go_of_their_map(chain: Chain, lowest: str) -> None:
    chance = random.Random(4)
    for number, size in enumerate((SIZE - 3 * MIB, SIZE - 3 * MIB, SIZE)):
        chain.add(size, lowest if number == 0 else "qcow2")
        for _ in range(12):
            length = chance.choice((512, 4 * KIB, CLUSTER, 3 * CLUSTER, MIB))
            chain.write(chance.randrange(0, size - length, 512), length, chance.randrange(1, 256))
        chain.write(chance.randrange(0, size // MIB - 1) * MIB, MIB, 0)
    opener = Opener(chain)
    with closing(opener.open()) as reader:
        assert isinstance(reader, ChainReader)
        assert reader.size == SIZE
        assert whole(reader) == chain.shows
        assert opener.maps == [0]
        for _ in range(50):
            offset = chance.randrange(SIZE)
            length = chance.randrange(1, min(3 * MIB, SIZE - offset + 1))
            assert reader.read(offset, length) == chain.shows[offset : offset + length]
            start, end = reader.next_data(offset)
            assert not any(chain.shows[offset:start])
            assert start == end == SIZE or offset <= start < end <= SIZE
    assert opener.unpacked == 0
    assert sorted(chain.folder.iterdir()) == sorted(path for path, _ in chain.paths)


def test_data_that_lies_apart_is_one_stretch_and_what_was_passed_is_forgotten(chain: Chain) -> None:
    chain.add(SIZE)
    for cluster in reversed(range(2 * STRETCH // CLUSTER)):  # from the end: no two lie behind each other
        chain.write(cluster * CLUSTER, CLUSTER, 1 + cluster % 255)
    chain.write(20 * MIB, MIB, 7)
    opener = Opener(chain)
    with closing(opener.open()) as reader:
        assert reader.next_data(0) == (0, STRETCH)
        assert reader.next_data(STRETCH) == (STRETCH, 2 * STRETCH)
        assert reader.next_data(2 * STRETCH) == (20 * MIB, 21 * MIB)
        assert reader.next_data(21 * MIB) == (SIZE, SIZE)
        assert reader.next_data(SIZE) == (SIZE, SIZE)
        assert opener.maps == [0]
        # As an image format asks, whose units are larger: from a little before the data.
        assert reader.read(20 * MIB - CLUSTER, 2 * CLUSTER) == bytes(CLUSTER) + b"\7" * CLUSTER
        assert opener.maps == [0]
        assert reader.read(0, 2 * CLUSTER) == chain.shows[: 2 * CLUSTER]
        assert opener.maps == [0, 0]


def test_a_far_range_begins_with_the_map_from_there(chain: Chain) -> None:
    chain.add(SIZE)
    chain.write(0, 2 * STRETCH, 1)
    chain.write(20 * MIB, MIB, 7)
    opener = Opener(chain)
    with closing(opener.open()) as reader:
        assert reader.next_data(20 * MIB) == (20 * MIB, 21 * MIB)
        assert reader.read(20 * MIB, 512) == b"\7" * 512
        assert opener.maps == [0, 20 * MIB]


def test_pieces_far_apart_are_read_in_one_go_of_the_map(chain: Chain) -> None:
    chain.add(SIZE)
    places = range(0, SIZE, 6 * MIB)
    for number, place in enumerate(places):
        chain.write(place, CLUSTER, 1 + number)
    opener = Opener(chain)
    with closing(opener.open()) as reader:
        for number, place in enumerate(places):
            assert reader.read(place, CLUSTER) == bytes([1 + number]) * CLUSTER
        assert opener.maps == [0]


@pytest.mark.parametrize("packed", [0, 1])
def test_where_data_is_compressed_the_whole_is_unpacked_when_it_is_met(chain: Chain, packed: int) -> None:
    for number in range(2):
        chain.add(SIZE)
        chain.write((1 + 10 * number) * MIB, MIB, 5 + number)
        if number == packed and number == 0:
            chain.compress()
    if packed:
        path = chain.paths[-1][0]
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", f"write -c -P 9 {15 * MIB} {CLUSTER}", path],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        chain.shows[15 * MIB : 15 * MIB + CLUSTER] = b"\x09" * CLUSTER
    opener = Opener(chain)
    with closing(opener.open()) as reader:
        assert opener.unpacked == 1 - packed
        assert whole(reader) == chain.shows
        assert reader.read(11 * MIB, 100) == b"\6" * 100
    assert opener.unpacked == 1


def test_an_image_that_is_damaged_is_told_before_anything_is_read(chain: Chain) -> None:
    chain.add(SIZE)
    chain.write(0, MIB, 1)
    with chain.paths[0][0].open("r+b") as image:
        image.seek(40)
        image.write(b"\xff" * 8)  # where the table is
    with pytest.raises(VdiIoError, match="qemu-img"):
        Opener(chain).open()


def test_without_qemu_img_only_one_raw_image_is_read(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.add(MIB, "raw")
    opener = Opener(chain)
    chain.write(0, 512, 3)
    monkeypatch.setattr(QemuImg, "__init__", lambda self: setattr(self, "_program", None))
    with closing(opener.open()) as reader:
        assert reader.read(0, 1024) == b"\3" * 512 + bytes(512)
    chain.paths[0] = (chain.paths[0][0], "qcow2")
    with pytest.raises(OperationNotAllowed, match="qemu-img"):
        opener.open()


def test_nothing_is_left_open(chain: Chain) -> None:
    chain.add(SIZE)
    for place in range(0, SIZE, 4 * MIB):
        chain.write(place, CLUSTER, 1)
    before = sorted(Path("/proc/self/fd").iterdir())
    reader = Opener(chain).open()
    reader.next_data(5 * MIB)
    reader.close()
    assert sorted(Path("/proc/self/fd").iterdir()) == before

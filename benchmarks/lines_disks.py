"""Lines 17: disks sent and fetched over HTTP, against what copies and converts files on the same file system."""

from __future__ import annotations

import http.client
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.agents import Agent
from benchmarks.lab import HOST, Lab
from benchmarks.processes import run
from benchmarks.rounds import Pairs, in_turn, milliseconds
from benchmarks.rows import Failed, Goal, Line, Measured, NotHere
from benchmarks.wire import Address

MIB = 2**20
DENSE = 256 * MIB
"""Bytes of a disk that is all data."""
SPARSE = 10 * 2**30
"""Bytes of a disk that has as much data, here and there, and is hole besides."""
PIECE = 4 * MIB
CHUNK = MIB


@dataclass(frozen=True)
class Bench:
    """An agent on libvirt's test hypervisor, whose disks are files, and a folder beside them."""

    agent: Agent
    folder: Path

    def disk(self, size: int) -> tuple[str, Path]:
        """A new disk, and its file."""
        [pool] = self.agent.call("pool.get_all")
        sr = self.agent.call("pool.get_default_SR", pool)
        vdi = self.agent.call("VDI.create", {"SR": sr, "virtual_size": str(size), "name_label": "disk", "type": "user"})
        return str(vdi), Path(self.agent.call("VDI.get_location", vdi))

    def _path(self, path: str, vdi: str, format: str) -> str:
        return f"{path}?session_id={self.agent.session}&vdi={vdi}&format={format}"

    def fetch(self, vdi: str, format: str, to: Path) -> None:
        """Fetch a disk into a file."""
        fetch(self.agent.http, self._path("/export_raw_vdi", vdi, format), to)

    def send(self, file: Path, vdi: str, format: str) -> None:
        """Send a file as the content of a disk."""
        client = http.client.HTTPConnection(*self.agent.http, blocksize=CHUNK)
        with file.open("rb") as body:
            length = str(file.stat().st_size)
            client.request("PUT", self._path("/import_raw_vdi", vdi, format), body, {"Content-Length": length})
        answer = client.getresponse()
        text = answer.read()
        client.close()
        if answer.status != 200:
            raise Failed(f"the import was answered {answer.status}: {text.decode()}")


def fetch(server: Address, path: str, to: Path) -> None:
    """Fetch what a server answers with into a file."""
    client = http.client.HTTPConnection(*server)
    client.request("GET", path)
    answer = client.getresponse()
    buffer = bytearray(CHUNK)
    with to.open("wb") as file:
        while size := answer.readinto(buffer):
            file.write(memoryview(buffer)[:size])
    client.close()
    if answer.status != 200:
        raise Failed(f"the export was answered {answer.status}")


@contextmanager
def _bench(lab: Lab) -> Iterator[Bench]:
    folder = lab.path("disks")
    folder.mkdir()
    with lab.fresh_agent("test:///default") as agent:
        yield Bench(agent, folder)


def _filled(path: Path, size: int) -> None:
    """A file of `size` bytes that has DENSE bytes of data, evenly apart."""
    chance = random.Random(1)
    with path.open("wb") as file:
        file.truncate(size)
        for number in range(DENSE // PIECE):
            file.seek(number * (size // (DENSE // PIECE)))
            file.write(chance.randbytes(PIECE))


def _synced(*command: str | Path) -> None:
    """Run what makes a file, the last word, and have it on the disk, as an import does."""
    run([str(word) for word in command])
    run(["sync", str(command[-1])])


@dataclass(frozen=True)
class Moved:
    """Seconds of both sides, for each way."""

    out: Pairs
    bare: Pairs
    back: Pairs
    image_out: Pairs
    image_back: Pairs
    image_bare: Pairs
    layered: Pairs
    megabytes: float
    """MiB of memory that the agent had more, at the most, while it took the dense disk."""


def _move(lab: Lab) -> Moved:
    if subprocess.run(["which", "qemu-img"], capture_output=True, check=False).returncode:
        raise NotHere("there is no qemu-img")
    with _bench(lab) as bench:
        lab.say("making a dense and a sparse disk")
        dense, sparse, image = (bench.folder / name for name in ("dense", "sparse", "image"))
        _filled(dense, DENSE)
        _filled(sparse, SPARSE)
        dense_vdi, dense_file = bench.disk(DENSE)
        sparse_vdi, sparse_file = bench.disk(SPARSE)
        run(["cp", "--sparse=always", str(sparse), str(sparse_file)])
        copy, fetched, converted = (bench.folder / name for name in ("copy", "fetched", "converted"))
        megabytes = _memory(bench, lambda: bench.send(dense, dense_vdi, "raw"))
        lab.say("moving them")
        rounds = lab.slow_rounds

        def timed(work: Callable[[], object]) -> float:
            """What is made is new, for both sides: to drop what is not yet on the disk costs as much as to make it."""
            for made in (copy, fetched, converted):
                made.unlink(missing_ok=True)
            return lab.timed(work)

        back = in_turn(
            rounds,
            lambda: timed(lambda: bench.send(dense, dense_vdi, "raw")),
            lambda: timed(lambda: _synced("cp", "--sparse=always", dense, copy)),
        )
        out = in_turn(
            rounds,
            lambda: timed(lambda: bench.fetch(dense_vdi, "raw", fetched)),
            lambda: timed(lambda: run(["cp", "--sparse=always", str(dense_file), str(copy)])),
        )
        peer = (HOST, int(lab.child("peers", "file", str(dense_file)).line()))
        bare = in_turn(
            rounds,
            lambda: timed(lambda: bench.fetch(dense_vdi, "raw", fetched)),
            lambda: timed(lambda: fetch(peer, "/", fetched)),
        )
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(sparse_file)]
        run([*convert, str(image)])
        image_out = in_turn(
            rounds,
            lambda: timed(lambda: bench.fetch(sparse_vdi, "qcow2", fetched)),
            lambda: timed(lambda: run([*convert, str(converted)])),
        )
        image_back = in_turn(
            rounds,
            lambda: timed(lambda: bench.send(image, sparse_vdi, "qcow2")),
            lambda: timed(lambda: _synced("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, copy)),
        )
        image_peer = (HOST, int(lab.child("peers", "file", str(image)).line()))
        image_bare = in_turn(
            rounds,
            lambda: timed(lambda: bench.fetch(sparse_vdi, "qcow2", fetched)),
            lambda: timed(lambda: fetch(image_peer, "/", fetched)),
        )
        other_vdi, other_file = bench.disk(SPARSE)
        run(["cp", "--sparse=always", str(sparse), str(other_file)])
        clone_vdi = bench.agent.call("VDI.clone", other_vdi, {})
        layered = in_turn(
            rounds,
            lambda: timed(lambda: bench.fetch(clone_vdi, "qcow2", fetched)),
            lambda: timed(lambda: bench.fetch(sparse_vdi, "qcow2", fetched)),
        )
        return Moved(out, bare, back, image_out, image_back, image_bare, layered, megabytes)


def _memory(bench: Bench, work: Any) -> float:
    """How many MiB more than before the agent has resident, at the most, while this is done."""
    status = Path(f"/proc/{bench.agent.process.pid}/statm")

    def resident() -> float:
        return int(status.read_text().split()[1]) * 4096 / MIB

    before = most = resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, resident())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most - before


def _moved(lab: Lab) -> Moved:
    return lab.once("disks", partial(_move, lab))


def _ratio(way: str, lab: Lab) -> Measured:
    pairs: Pairs = getattr(_moved(lab), way)
    ours, base = pairs.median
    return Measured(values=pairs.ratios, ours=milliseconds(ours), base=milliseconds(base))


def memory(lab: Lab) -> Measured:
    """Line 17d."""
    megabytes = _moved(lab).megabytes
    return Measured(values=[megabytes], ours=f"{megabytes:.1f} MiB")


LINES: tuple[Line, ...] = (
    Line("17", "export of 256 MiB of data, raw, to a file / cp --sparse=always", Goal(1.3), partial(_ratio, "out")),
    Line("17a", "import of the same / cp --sparse=always and sync", Goal(1.3), partial(_ratio, "back")),
    Line("17b", "export of 10 GiB with 256 MiB of data as qcow2 / qemu-img", Goal(1.3), partial(_ratio, "image_out")),
    Line("17c", "import of that image / qemu-img convert and sync", Goal(1.3), partial(_ratio, "image_back")),
    Line("17d", "memory more than idle during 17a", Goal(64, 32, unit="MiB"), memory),
    Line("17e", "the export of 17 / a bare loop that sends the file", Goal(1.1), partial(_ratio, "bare")),
    Line("17f", "the export of 17b / a bare loop that sends that image", Goal(1.1), partial(_ratio, "image_bare")),
    Line("17g", "the export of 17b, of a clone / of the disk", Goal(1.3), partial(_ratio, "layered")),
)

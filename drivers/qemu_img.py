"""Runs ``qemu-img``: images made, grown, merged and converted. What is opened is said by whoever calls, never found.

Every image is an open descriptor with its format, every chain a list of them: QEMU is given these as a tree of nodes,
so that it neither guesses a format nor follows the name that is written in an image. Which image rests on which, and
what they are for, this module does not know.
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

POLL_SECONDS = 0.2
"""How often one who waits is asked whether it is still wanted."""

_PERCENT = re.compile(rb"\((\d+\.\d+)/100%\)")
_NO_ROOM = re.compile(r"No space left|File too large|[Qq]uota exceeded")
_SAID_MAX = 2000
_MEMORY_BYTES = 2 * 2**30
"""Address space of a qemu-img: some tens of MiB are used, threads and caches reserve more."""
_ONLY_LEAKS = 3
"""What a check ends with where an image has clusters that nobody uses, and no other fault."""


@dataclass(frozen=True)
class Layer:
    """An open image and what it is to be read as: ``raw`` or ``qcow2``."""

    descriptor: int
    format: str


class Extent(NamedTuple):
    """A stretch of what a chain of images shows."""

    start: int
    end: int
    data: bool
    """Whether anything but zeroes may be there."""
    layer: int
    """Which image of the chain has it."""
    place: int
    """Where in the file of that image it begins; -1 where it is compressed, and nowhere as it is."""


def ignore(part: float) -> None:
    """Takes note of no progress."""


class QemuImg:
    """The program, found once. OSErrors are raised for what it refuses; ENOPKG where it is not installed."""

    def __init__(self, program: str | None = None) -> None:
        self._program = shutil.which(program or "qemu-img")
        self._dies_with_us = shutil.which("setpriv")
        self._limits = shutil.which("prlimit")

    @property
    def installed(self) -> bool:
        """Whether there is a qemu-img to run."""
        return self._program is not None

    def create(self, descriptor: int, size: int, *, below: tuple[str, str] | None = None) -> None:
        """Make the empty file a qcow2 image of `size` bytes, laid over the image of this name and format, if any.

        The name is written into the image as it is, and nothing is opened by it.
        """
        options = "compat=1.1"
        if below is not None:
            options += f",backing_file={below[0].replace(',', ',,')},backing_fmt={below[1]}"
        unsafe = ["-u"] if below is not None else []
        self._run(["create", "-q", *unsafe, "-f", "qcow2", "-o", options, _path(descriptor), str(size)], [descriptor])

    def resize(self, descriptor: int, size: int) -> None:
        """Grow a qcow2 image to `size` bytes; what it is laid over is not looked at."""
        self._run(["resize", "-q", _tree([Layer(descriptor, "qcow2")]), str(size)], [descriptor])

    def commit(self, chain: Sequence[Layer], progress: Callable[[float], None] = ignore) -> None:
        """Write what the first image has of its own into the second, which grows if it must. The first stays."""
        self._run(["commit", "-p", "-d", _tree(chain)], _descriptors(chain), progress)

    def convert(
        self,
        chain: Sequence[Layer],
        target: Layer,
        progress: Callable[[float], None] = ignore,
        *,
        zeroed: bool = True,
        shared: bool = False,
    ) -> None:
        """Write what the first image of the chain shows into `target`, which is made and as large already.

        `zeroed` says that the target reads as zeroes now. With `shared` the source may be open for writing elsewhere.
        """
        node = _node(target.descriptor, target.format)
        options = ",".join(f"{key}={value}" for key, value in _flat(node))
        zeroes = ["--target-is-zero"] if zeroed else []
        command = ["convert", "-p", "-n", *zeroes, *(["-U"] if shared else []), "--target-image-opts"]
        self._run([*command, _tree(chain), options], [*_descriptors(chain), target.descriptor], progress)

    def check(self, layer: Layer) -> None:
        """EIO for an image that is not whole, such as one that was cut off: what is missing would read as zero."""
        self._run(["check", _tree([layer])], [layer.descriptor], fine=(0, _ONLY_LEAKS))

    def extents(self, chain: Sequence[Layer], start: int) -> Generator[Extent, None, None]:
        """What the first image of the chain shows from there to its end, in order. Closed early it ends the program."""
        command = self._command(["map", "--output=json", "-U", f"--start-offset={start}", _tree(chain)])
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                pass_fds=_descriptors(chain),
                env={**os.environ, "LC_ALL": "C"},
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if item := line.strip(b"[], \n"):
                        yield _extent(json.loads(item))
            except BaseException:
                process.kill()
                raise
            if process.wait() != 0:
                complaints.seek(0)
                said = complaints.read(_SAID_MAX).decode("utf-8", "replace").strip()
                raise OSError(errno.EIO, said or "qemu-img failed")

    def _command(self, arguments: Sequence[str]) -> list[str]:
        if self._program is None:
            raise OSError(errno.ENOPKG, "qemu-img is not installed, without which there are raw disks only")
        # What ends the agent ends its tools: one that went on would write to what the next start tidies up.
        bound = [self._dies_with_us, "--pdeathsig", "KILL"] if self._dies_with_us else []
        if self._limits:
            bound += [self._limits, f"--as={_MEMORY_BYTES}", "--core=0", "--"]
        return [*bound, self._program, *arguments]

    def _run(
        self,
        arguments: Sequence[str],
        descriptors: Sequence[int],
        progress: Callable[[float], None] = ignore,
        *,
        fine: Sequence[int] = (0,),
    ) -> None:
        with subprocess.Popen(
            self._command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, "LC_ALL": "C"},
        ) as process:
            try:
                said = _watch(process, progress)
            except BaseException:
                process.kill()
                raise
        if process.returncode not in fine:
            raise OSError(errno.ENOSPC if _NO_ROOM.search(said) else errno.EIO, said or "qemu-img failed")


def _watch(process: subprocess.Popen[bytes], progress: Callable[[float], None]) -> str:
    """Tell how far it is until it ends. Returns what it complained of."""
    assert process.stdout is not None
    assert process.stderr is not None
    part, heard, said = 0.0, b"", b""
    open_pipes = [process.stdout, process.stderr]
    while open_pipes:
        for pipe in select.select(open_pipes, [], [], POLL_SECONDS)[0]:
            piece = os.read(pipe.fileno(), 65536)
            if not piece:
                open_pipes.remove(pipe)
            elif pipe is process.stderr:
                said = (said + piece)[:_SAID_MAX]
            else:
                heard = (heard + piece)[-200:]
                if found := _PERCENT.findall(heard):
                    part = max(part, min(float(found[-1]) / 100, 1.0))
        progress(part)
    process.wait()
    return said.decode("utf-8", "replace").strip()


def _extent(item: dict[str, Any]) -> Extent:
    start, data = item["start"], item["data"] and not item["zero"]
    return Extent(start, start + item["length"], data, item["depth"], item.get("offset", -1))


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _node(descriptor: int, format: str) -> dict[str, Any]:
    # QEMU 7.2: "'file' driver requires '/proc/self/fd/3' to be a regular file".
    driver = "host_device" if stat.S_ISBLK(os.fstat(descriptor).st_mode) else "file"
    return {"driver": format, "file": {"driver": driver, "filename": _path(descriptor)}}


def _flat(node: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The node as qemu-img's dotted options."""
    found: list[tuple[str, str]] = []
    for key, value in node.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


def _tree(chain: Sequence[Layer]) -> str:
    """The chain as one argument. An image that has none below is told so, whatever its head says."""
    below: dict[str, Any] | None = None
    for layer in reversed(chain):
        node = _node(layer.descriptor, layer.format)
        if layer.format == "qcow2":
            node["backing"] = below
        below = node
    return f"json:{json.dumps(below)}"


def _descriptors(chain: Sequence[Layer]) -> list[int]:
    return [layer.descriptor for layer in chain]

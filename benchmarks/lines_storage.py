"""Line 16: disks cloned and snapshotted at once, and copied at the speed of the file system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.agents import Agent
from benchmarks.lab import Lab
from benchmarks.processes import run
from benchmarks.rounds import Pairs, in_turn, milliseconds
from benchmarks.rows import Goal, Line, Measured, NotHere

GIB, MIB = 2**30, 2**20
SPARSE_BYTES = 10 * GIB
COPIED_BYTES = 2 * GIB
"""How large the disk is that is copied; a quarter of it is data, in pieces far apart."""
PIECE_BYTES = 16 * MIB
NULL = "OpaqueRef:NULL"


def _disk(agent: Agent, size: int) -> tuple[str, Path]:
    """A raw disk of the agent's storage, and its file."""
    sr = agent.call("pool.get_default_SR", agent.call("pool.get_all")[0])
    vdi = agent.call("VDI.create", {"SR": sr, "virtual_size": str(size), "name_label": "benchmark", "type": "user"})
    return str(vdi), Path(str(agent.call("VDI.get_location", vdi)))


def _fill(path: Path) -> None:
    with path.open("r+b") as file:
        for offset in range(0, COPIED_BYTES, 4 * PIECE_BYTES):
            file.seek(offset)
            file.write(os.urandom(PIECE_BYTES))
        os.fsync(file.fileno())


def _at_once(lab: Lab, verb: str) -> Measured:
    if shutil.which("qemu-img") is None:
        raise NotHere("there is no qemu-img")
    seconds: list[float] = []
    with lab.fresh_agent(lab.empty_file_uri()) as agent:
        vdi, path = _disk(agent, SPARSE_BYTES)
        with path.open("r+b") as file:
            file.write(os.urandom(MIB))
        for _ in range(lab.rounds + 1):
            made: list[object] = []
            seconds.append(lab.timed(partial(_kept, made, agent, f"VDI.{verb}", vdi)))
            agent.call("VDI.destroy", made[0])
    note = "the first of a disk makes its base too, and so does each here, since the clone goes again at once"
    return Measured(values=[1e3 * second for second in seconds[1:]], ours=milliseconds(min(seconds[1:])), note=note)


def _kept(made: list[object], agent: Agent, method: str, *params: str) -> None:
    made.append(agent.call(method, *params))


def clone(lab: Lab) -> Measured:
    """Line 16."""
    return _at_once(lab, "clone")


def snapshot(lab: Lab) -> Measured:
    """Line 16a."""
    return _at_once(lab, "snapshot")


def _copied(lab: Lab, command: Callable[[Path, Path], list[str]]) -> Measured:
    if shutil.which(command(Path(), Path())[0]) is None:
        raise NotHere(f"there is no {command(Path(), Path())[0]}")
    with lab.fresh_agent(lab.empty_file_uri()) as agent:
        vdi, path = _disk(agent, COPIED_BYTES)
        _fill(path)
        target = lab.path("copied")

        def ours() -> float:
            made: list[object] = []
            seconds = lab.timed(partial(_kept, made, agent, "VDI.copy", vdi, NULL))
            agent.call("VDI.destroy", made[0])
            return seconds

        def base() -> float:
            seconds = lab.timed(partial(_durably, command(path, target), target))
            target.unlink()
            return seconds

        pairs: Pairs = in_turn(lab.slow_rounds, ours, base)
    median, other = pairs.median
    note = "both on the same file system, and both synced: a copy that the agent tells of outlives a power cut"
    return Measured(values=pairs.ratios, ours=milliseconds(median), base=milliseconds(other), note=note)


def _durably(command: list[str], target: Path) -> None:
    run(command)
    with target.open("r+b") as file:
        os.fsync(file.fileno())


def against_cp(lab: Lab) -> Measured:
    """Line 16b."""
    return _copied(lab, lambda source, target: ["cp", "--sparse=always", str(source), str(target)])


def against_qemu_img(lab: Lab) -> Measured:
    """Line 16c."""
    return _copied(
        lab, lambda source, target: ["qemu-img", "convert", "-f", "raw", "-O", "raw", str(source), str(target)]
    )


LINES = (
    Line("16", "VDI.clone of a sparse disk of 10 GiB, in ms", Goal(100, 40, unit="ms"), clone),
    Line("16a", "VDI.snapshot of it, in ms", Goal(100, 40, unit="ms"), snapshot),
    Line("16b", "VDI.copy of 2 GiB, a quarter data / cp --sparse=always", Goal(1.3, 1.0), against_cp),
    Line("16c", "the same / qemu-img convert", Goal(1.3, 1.0), against_qemu_img),
)

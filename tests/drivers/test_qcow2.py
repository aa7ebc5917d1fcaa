"""The heads of qcow2 images that others made: what they say, and which are refused."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from drivers.qcow2 import NotQcow2, judge

MIB = 2**20
HEAD = 112


def made(path: Path, *options: str) -> bytes:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "8M"]
    subprocess.run(command, check=True, capture_output=True)
    return path.read_bytes()[:HEAD]


def test_the_head_of_a_qcow2_image_tells_its_size(tmp_path: Path) -> None:
    assert judge(made(tmp_path / "a")) == 8 * MIB
    assert judge(made(tmp_path / "b", "-o", "compat=0.10")) == 8 * MIB
    assert judge(made(tmp_path / "c", "-o", "extended_l2=on,cluster_size=128k")) == 8 * MIB


def test_a_qcow2_image_that_needs_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(bytes(MIB))
    backed = made(tmp_path / "a", "-u", "-b", "/etc/shadow", "-F", "raw")
    with pytest.raises(NotQcow2, match="rests on another image"):
        judge(backed)
    outside = made(tmp_path / "b", "-o", f"data_file={tmp_path / 'data'}")
    with pytest.raises(NotQcow2, match="data in another file"):
        judge(outside)


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (0, b"QFI\xfa"),
        (4, struct.pack(">I", 4)),
        (20, struct.pack(">I", 8)),
        (20, struct.pack(">I", 40)),
        (24, struct.pack(">Q", 2**63)),
        (32, struct.pack(">I", 1)),
        (36, struct.pack(">I", 2**31)),
        (72, struct.pack(">Q", 1 << 9)),
        (72, struct.pack(">Q", 2)),
    ],
)
def test_a_head_that_makes_no_sense_is_refused(tmp_path: Path, at: int, new: bytes) -> None:
    head = bytearray(made(tmp_path / "a"))
    judge(bytes(head))
    head[at : at + len(new)] = new
    with pytest.raises(NotQcow2):
        judge(bytes(head))


def test_a_short_head_is_refused() -> None:
    with pytest.raises(NotQcow2):
        judge(b"QFI\xfb")

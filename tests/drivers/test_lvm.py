"""lvm2's programs, as they are called; they are played. Volume groups are in the contracts."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from drivers.lvm import Lvm, Volume


def play(folder: Path, program: str, answer: str = "", complaint: str = "", code: int = 0) -> None:
    """Put a program there that notes its arguments, a line each, and answers."""
    path = folder / program
    path.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >"{folder}/asked"\n'
        f"cat <<'END'\n{answer}\nEND\necho '{complaint}' >&2\nexit {code}\n"
    )
    path.chmod(0o700)


def asked(folder: Path) -> Sequence[str]:
    return (folder / "asked").read_text().splitlines()


@pytest.fixture
def lvm(tmp_path: Path) -> Lvm:
    for program in ("lvcreate", "lvextend", "lvrename", "lvs"):
        play(tmp_path, program)
    return Lvm((str(tmp_path),))


def test_a_snapshot_of_an_ordinary_volume_can_never_overflow(lvm: Lvm, tmp_path: Path) -> None:
    lvm.snapshot("vg", "x", "new", thin=False)
    assert asked(tmp_path) == ["--snapshot", "--name", "new", "--extents", "100%ORIGIN", "vg/x"]


def test_a_thin_snapshot_takes_no_room_and_can_be_used(lvm: Lvm, tmp_path: Path) -> None:
    lvm.snapshot("vg", "x", "new", thin=True)
    assert asked(tmp_path) == ["--snapshot", "--name", "new", "--setactivationskip", "n", "vg/x"]


def test_a_volume_grows_to_bytes(lvm: Lvm, tmp_path: Path) -> None:
    lvm.grow("vg", "x", 2**30)
    assert asked(tmp_path) == ["--size", "1073741824b", "vg/x"]


def test_a_volume_gets_another_name(lvm: Lvm, tmp_path: Path) -> None:
    lvm.rename("vg", "x", "y")
    assert asked(tmp_path) == ["vg", "x", "y"]


def test_all_volumes_of_a_group_are_listed(lvm: Lvm, tmp_path: Path) -> None:
    assert lvm.volumes("vg") == []
    play(tmp_path, "lvs", "  pool\n  x")
    assert lvm.volumes("vg") == ["pool", "x"]
    assert asked(tmp_path) == ["--noheadings", "-o", "lv_name", "vg"]


@pytest.mark.parametrize("kind", [Volume("", "", 8), Volume("o", "", 8), Volume("", "p", 8), Volume("o", "p", 8)])
def test_the_kind_of_a_volume_is_read(lvm: Lvm, tmp_path: Path, kind: Volume) -> None:
    row = f'{{"origin":"{kind.origin}", "pool_lv":"{kind.thin_pool}", "lv_size":"8"}}'
    play(tmp_path, "lvs", f'{{"report": [{{"lv": [{row}]}}]}}')
    assert lvm.look("vg", "x") == kind


@pytest.mark.parametrize(
    "answer", ["", "[]", '{"report": []}', '{"report": [{"lv": []}]}', '{"report": [{"lv": [{}]}]}']
)
def test_an_answer_that_makes_no_sense_is_an_error(lvm: Lvm, tmp_path: Path, answer: str) -> None:
    play(tmp_path, "lvs", answer)
    with pytest.raises(OSError, match="cannot be read"):
        lvm.look("vg", "x")


@pytest.mark.parametrize(
    ("complaint", "number"),
    [
        ("Volume group vg has insufficient free space (0 extents): 2 required.", errno.ENOSPC),
        ("Snapshots of snapshots are not supported.", errno.EIO),
    ],
)
def test_a_refusal_is_told_in_lvm2s_words(lvm: Lvm, tmp_path: Path, complaint: str, number: int) -> None:
    play(tmp_path, "lvcreate", complaint=complaint, code=5)
    with pytest.raises(OSError, match=r"free space|not supported") as caught:
        lvm.snapshot("vg", "x", "new", thin=False)
    assert (caught.value.errno, caught.value.strerror) == (number, complaint)


def test_without_lvm2_it_says_so(tmp_path: Path) -> None:
    lvm = Lvm((str(tmp_path),))
    assert not lvm.installed
    with pytest.raises(OSError, match="not installed"):
        lvm.grow("vg", "x", 1)

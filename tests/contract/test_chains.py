"""Disks laid over others: made at once, merged, and never followed further than the agent noted. On every driver."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from agent import classes as c
from agent.errors import InternalError, OperationNotAllowed, SrBackendFailure, SrFull, VdiInUse, VdiMissing
from tests.contract.storage import MIB, Bench, Cancelled, bench, ignore, libvirtd

__all__ = ["bench", "libvirtd"]

FORMATS = ("raw", "qcow2")


def disk(bench: Bench, format: str, size: int = 4 * MIB) -> c.VDI:
    """A disk in a storage of its own, with something in it."""
    sr = bench.sr(sm_config={} if format == "raw" else {"type": format})
    vdi = bench.vdi(sr, size)
    bench.made(vdi, bench.storage.create_volume(vdi))
    bench.storage.settle(vdi)
    bench.write(vdi, b"first" * 1000, 70000)
    return vdi


def files(vdi: c.VDI) -> list[str]:
    return sorted(path.name for path in Path(vdi.location).parent.iterdir())


@pytest.mark.parametrize("format", FORMATS)
def test_a_clone_and_its_disk_go_apart(bench: Bench, format: str) -> None:
    vdi = disk(bench, format)
    before = bench.read(vdi)
    base, clone = bench.clone(vdi)
    assert base.format == format
    assert (vdi.format, clone.format) == ("qcow2", "qcow2")
    assert bench.read(vdi) == bench.read(clone) == before
    bench.write(vdi, b"mine" * 1000)
    bench.write(clone, b"yours" * 1000)
    assert bench.read(vdi) == b"mine" * 1000 + before[4000:]
    assert bench.read(clone) == b"yours" * 1000 + before[5000:]
    assert bench.read(base) == before


def test_a_clone_takes_no_room(bench: Bench) -> None:
    vdi = disk(bench, "raw", 1024 * MIB)
    _, clone = bench.clone(vdi)
    assert Path(clone.location).stat().st_blocks * 512 < MIB


def test_scan_tells_what_is_laid_over_what(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    base, clone = bench.clone(vdi)
    seen = {volume.location: volume.parent for volume in bench.storage.scan(vdi.SR)}
    assert seen == {base.location: "", vdi.location: base.location, clone.location: base.location}


def test_an_image_says_by_name_and_format_what_it_is_laid_over(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    base, _ = bench.clone(vdi)
    head = Path(vdi.location).read_bytes()[:4096]
    assert Path(base.location).name.encode() in head
    assert b"/" not in head
    assert b"\xe2\x79\x2a\xca\x00\x00\x00\x03raw" in head


def test_what_others_rest_on_is_not_touched(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    base, _ = bench.clone(vdi)
    with pytest.raises(VdiInUse):
        bench.storage.doom_volume(base)
    with pytest.raises(VdiInUse):
        bench.storage.destroy_volume(base)
    with pytest.raises(VdiInUse):
        bench.storage.resize_volume(base, 8 * MIB)
    with pytest.raises(VdiInUse):
        bench.storage.split_volume(base, bench.vdi(vdi.SR))
    assert bench.read(vdi)[70000:70005] == b"first"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("written", [True, False])
def test_a_base_is_merged_with_the_last_disk_that_needs_it(bench: Bench, format: str, written: bool) -> None:
    vdi = disk(bench, format)
    base, clone = bench.clone(vdi)
    assert bench.storage.merge_volume(base, vdi, None, ignore) is None  # the clone needs it
    if written:
        bench.write(vdi, b"second" * 1000, 3 * MIB)
    content = bench.read(vdi)
    bench.storage.destroy_volume(clone)
    assert bench.storage.is_untouched(vdi) is not written
    bench.made(vdi, bench.storage.merge_volume(base, vdi, None, ignore))
    vdi.parent = None
    bench.storage.settle(base)
    assert vdi.format == format
    assert bench.read(vdi) == content
    assert files(vdi) == [Path(vdi.location).name]


def test_a_base_in_the_middle_is_merged_below_those_that_need_it(bench: Bench) -> None:
    vdi = disk(bench, "qcow2")
    lower, first = bench.clone(vdi)
    bench.write(vdi, b"second" * 1000, 2 * MIB)
    upper, second = bench.clone(vdi)
    content = bench.read(second)
    bench.storage.destroy_volume(first)
    bench.made(upper, bench.storage.merge_volume(lower, upper, None, ignore))
    upper.parent = None
    bench.storage.settle(lower)
    assert bench.read(vdi) == bench.read(second) == content
    assert len(files(vdi)) == 3


def test_a_raw_base_stays_below_one_that_others_rest_on(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    lower, first = bench.clone(vdi)
    upper, _ = bench.clone(vdi)
    bench.storage.destroy_volume(first)
    assert bench.storage.merge_volume(lower, upper, None, ignore) is None
    assert bench.read(vdi)[70000:70005] == b"first"


def test_more_than_is_wanted_is_not_merged(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    base, clone = bench.clone(vdi)
    bench.storage.destroy_volume(clone)
    bench.write(vdi, os.urandom(2 * MIB))
    assert bench.storage.merge_volume(base, vdi, MIB, ignore) is None
    assert bench.storage.merge_volume(base, vdi, 3 * MIB, ignore) is not None


def test_a_merge_that_is_no_longer_wanted_changes_nothing(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    base, clone = bench.clone(vdi)
    bench.storage.destroy_volume(clone)
    bench.write(vdi, b"second" * 1000)
    before, content = files(vdi), bench.read(vdi)

    def cancel(part: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        bench.storage.merge_volume(base, vdi, None, cancel)
    assert files(vdi) == before
    assert bench.read(vdi) == content
    assert bench.storage.merge_volume(base, vdi, None, ignore) is not None


def test_a_disk_of_a_chain_grows_and_what_is_new_is_zero(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    base, clone = bench.clone(vdi)
    content = bench.read(vdi)
    bench.storage.resize_volume(vdi, 6 * MIB)
    vdi.virtual_size = 6 * MIB
    assert bench.read(vdi) == content + bytes(2 * MIB)
    assert bench.read(clone) == content
    bench.storage.destroy_volume(clone)
    bench.made(vdi, bench.storage.merge_volume(base, vdi, None, ignore))
    assert (vdi.virtual_size, bench.read(vdi)) == (6 * MIB, content + bytes(2 * MIB))


@pytest.mark.parametrize("format", FORMATS)
def test_a_copy_of_a_disk_of_a_chain_is_whole(bench: Bench, format: str) -> None:
    vdi = disk(bench, "raw")
    bench.clone(vdi)
    bench.write(vdi, b"second" * 1000, MIB)
    other = bench.sr(sm_config={"type": format})
    parts: list[float] = []
    copy = bench.vdi(other)
    bench.made(copy, bench.storage.copy_volume(vdi, copy, parts.append))
    assert (copy.format, bench.read(copy)) == (format, bench.read(vdi))
    assert (parts[0], parts[-1], parts) == (0.0, 1.0, sorted(parts))


def test_a_copy_within_the_chain_has_what_its_disk_has_of_its_own(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    base, _ = bench.clone(vdi)
    bench.write(vdi, b"second" * 1000, MIB)
    copy = bench.vdi(vdi.SR)
    copy.parent = base
    bench.made(copy, bench.storage.copy_volume(vdi, copy, ignore))
    assert bench.read(copy) == bench.read(vdi)
    assert copy.location != vdi.location
    seen = {volume.location: volume.parent for volume in bench.storage.scan(vdi.SR)}
    assert seen[copy.location] == base.location


def test_a_disk_that_is_to_stay_raw_is_not_split(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, b"content", sm_config={"type": "raw"})
    assert bench.storage.split_volume(vdi, bench.vdi(sr)) is None
    assert bench.names(sr) == [Path(vdi.location).name]


def test_a_disk_that_is_written_to_is_not_copied(bench: Bench) -> None:
    vdi = disk(bench, "raw")

    def write(part: float) -> None:
        with Path(vdi.location).open("r+b") as file:
            file.write(os.urandom(16))

    before = files(vdi)
    with pytest.raises(VdiInUse):
        bench.storage.copy_volume(vdi, bench.vdi(vdi.SR), write)
    assert files(vdi) == before


def test_a_disk_whose_last_write_ends_while_it_is_copied_is_copied_again(bench: Bench) -> None:
    vdi = disk(bench, "raw")
    left = [1]

    def write(part: float) -> None:
        if left[0]:
            left[0] -= 1
            with Path(vdi.location).open("r+b") as file:
                file.write(b"the last write")

    copy = bench.vdi(vdi.SR)
    bench.made(copy, bench.storage.copy_volume(vdi, copy, write))
    assert bench.read(copy) == bench.read(vdi)
    assert bench.read(copy).startswith(b"the last write")


# --- heads that lie


def lay_over(vdi: c.VDI, name: str, format: str = "raw") -> None:
    """Have the head of an image say that it is laid over another file."""
    with Path(vdi.location).open("r+b") as file:
        raw = name.encode()
        file.seek(8)
        file.write((4096).to_bytes(8, "big") + len(raw).to_bytes(4, "big"))
        file.seek(4096)
        file.write(raw)
        file.seek(112)
        file.write(0xE2792ACA.to_bytes(4, "big") + len(format).to_bytes(4, "big") + format.encode().ljust(8, b"\0"))


@pytest.mark.threat("T10")
@pytest.mark.parametrize("name", ["{secret}", "../secret.img", "other.raw", "json:{{}}", "nbd://127.0.0.1/x"])
def test_an_image_that_names_what_nobody_noted_is_left_alone(bench: Bench, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.img"
    secret.write_bytes(b"secret" * 1000)
    vdi = disk(bench, "qcow2")
    folder = Path(vdi.location).parent
    (folder / "other.raw").write_bytes(b"another's" * 1000)
    (folder.parent / "secret.img").write_bytes(b"secret" * 1000)
    lay_over(vdi, name.format(secret=secret))
    before = files(vdi)
    attempts: list[Any] = [
        lambda: bench.storage.copy_volume(vdi, bench.vdi(vdi.SR), ignore),
        lambda: bench.storage.clone_volume(vdi, bench.vdi(vdi.SR)),
        lambda: bench.storage.split_volume(vdi, bench.vdi(vdi.SR)),
        lambda: bench.storage.overlay_volume(vdi, bench.vdi(vdi.SR)),
        lambda: bench.storage.resize_volume(vdi, 8 * MIB),
    ]
    for attempt in attempts:
        with pytest.raises(OperationNotAllowed):
            attempt()
    assert files(vdi) == before


@pytest.mark.threat("T10")
@pytest.mark.parametrize(("name", "format"), [("{base}", "qcow2"), ("other.raw", "raw"), ("", "")])
def test_an_image_whose_head_was_changed_is_left_alone(bench: Bench, name: str, format: str) -> None:
    vdi = disk(bench, "raw")
    base, clone = bench.clone(vdi)
    folder = Path(vdi.location).parent
    (folder / "other.raw").write_bytes(b"another's" * 1000)
    if name:
        lay_over(clone, name.format(base=Path(base.location).name), format)
    else:
        with Path(clone.location).open("r+b") as file:
            file.seek(8)
            file.write(bytes(12))
    with pytest.raises(OperationNotAllowed):
        bench.storage.copy_volume(clone, bench.vdi(vdi.SR), ignore)
    assert bench.read(vdi)[70000:70005] == b"first"


@pytest.mark.threat("T8")
def test_a_base_that_became_a_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    vdi = disk(bench, "raw")
    base, _ = bench.clone(vdi)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4 * MIB))
    Path(base.location).unlink()
    Path(base.location).symlink_to(secret)
    before = files(vdi)
    with pytest.raises(VdiMissing):
        bench.storage.copy_volume(vdi, bench.vdi(vdi.SR), ignore)
    assert files(vdi) == before


# --- what fails in the middle


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("call", ["rename", "fsync", "open"])
@pytest.mark.parametrize("after", range(6))
def test_a_split_that_fails_is_undone(bench: Bench, mocker: MockerFixture, format: str, call: str, after: int) -> None:
    vdi = disk(bench, format)
    before, content, real = files(vdi), bench.read(vdi), getattr(os, call)
    left = [after]

    def fail(*args: Any, **more: Any) -> Any:
        if left[0] == 0:
            left[0] = -1
            raise OSError(28, "No space left on device")
        left[0] -= left[0] > 0
        return real(*args, **more)

    mocker.patch(f"drivers.sparse.os.{call}", side_effect=fail)
    try:
        done = bench.storage.split_volume(vdi, base := bench.vdi(vdi.SR))
    except (SrFull, InternalError):  # in the storage, or in the journal of its operations
        mocker.stopall()
        assert files(vdi) == before
    else:
        mocker.stopall()
        bench.made(vdi, done)
        vdi.parent = base
    assert bench.read(vdi) == content


@pytest.mark.parametrize("after", range(3))
def test_a_merge_that_fails_is_undone(bench: Bench, mocker: MockerFixture, after: int) -> None:
    vdi = disk(bench, "raw")
    base, clone = bench.clone(vdi)
    bench.storage.destroy_volume(clone)
    bench.write(vdi, b"second" * 1000)
    before, content, real = files(vdi), bench.read(vdi), os.rename
    left = [after]

    def fail(*args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise OSError(5, "Input/output error")
        return real(*args, **more)

    mocker.patch("drivers.sparse.os.rename", side_effect=fail)
    try:
        bench.made(vdi, bench.storage.merge_volume(base, vdi, None, ignore))
    except (SrBackendFailure, InternalError):
        assert files(vdi) == before
    finally:
        mocker.stopall()
    assert bench.read(vdi) == content

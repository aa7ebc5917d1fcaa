"""The content of a volume as a whole, on every driver: read as its guest sees it, replaced in one step or not."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from agent import classes as c
from agent.errors import OperationNotAllowed, SrFull, ValueNotSupported, VdiIoError, VdiMissing
from tests.contract.storage import MIB, Bench, Cancelled, bench, ignore, libvirtd

__all__ = ["bench", "libvirtd"]
"""The drivers, which tests ask for by name."""


def filled(bench: Bench, vdi: c.VDI, *pieces: tuple[int, bytes]) -> None:
    """Give a disk another content: these pieces, and zeroes."""
    writer = bench.storage.write_volume(vdi)
    try:
        for offset, data in pieces:
            writer.write(offset, data)
        writer.finish(ignore)
        vdi.location = writer.commit().location
    finally:
        writer.close()


def content(bench: Bench, vdi: c.VDI) -> bytes:
    """What a guest sees of a disk."""
    reader = bench.storage.read_volume(vdi, ignore)
    try:
        return reader.read(0, reader.size)
    finally:
        reader.close()


def test_the_content_of_a_disk_is_replaced_in_one_step(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, b"before")
    mode = Path(vdi.location).stat().st_mode
    with Path(vdi.location).open("rb") as held:
        writer = bench.storage.write_volume(vdi)
        writer.write(MIB, b"after")
        writer.finish(ignore)
        assert content(bench, vdi)[:6] == b"before"
        assert bench.names(sr) == [Path(vdi.location).name]
        seen = writer.commit()
        writer.close()
        assert held.read(6) == b"before", "who has it open keeps what was there"
    assert (seen.location, seen.capacity, seen.format) == (vdi.location, 4 * MIB, "raw")
    assert content(bench, vdi) == bytes(MIB) + b"after" + bytes(3 * MIB - 5)
    assert Path(vdi.location).stat().st_mode == mode
    assert Path(vdi.location).stat().st_blocks * 512 == seen.allocation <= 4096


def test_content_that_is_never_put_in_place_leaves_nothing(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, b"before")
    new = bench.vdi(sr)
    for target in (vdi, new):
        writer = bench.storage.write_volume(target)
        writer.write(0, b"after")
        writer.spool(b"an image")
        bench.storage.scan(sr)  # sweeps what nobody makes any more, and not this
        writer.write(0, b"still")
        writer.close()
    assert content(bench, vdi)[:6] == b"before"
    assert bench.files(sr) == [Path(vdi.location).name]


def test_a_volume_may_be_made_with_its_content(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.vdi(sr)
    filled(bench, vdi, (0, b"new"), (4 * MIB - 1, b"!"))
    assert content(bench, vdi) == b"new" + bytes(4 * MIB - 4) + b"!"
    assert bench.names(sr) == [Path(vdi.location).name]
    bench.storage.resize_volume(vdi, 8 * MIB)
    bench.storage.destroy_volume(vdi)
    assert bench.names(sr) == []


def test_holes_are_told_and_zeroes_become_holes(bench: Bench) -> None:
    vdi = bench.disk(bench.sr(), size=64 * MIB)
    filled(bench, vdi, (0, bytes(MIB)), (8 * MIB, bytes(4096) + b"x" * 4096 + bytes(MIB)), (63 * MIB, b"y" * 70_000))
    reader = bench.storage.read_volume(vdi, ignore)
    assert reader.next_data(0) == (8 * MIB + 4096, 8 * MIB + 8192)
    assert reader.next_data(8 * MIB + 8192)[0] == 63 * MIB
    assert reader.next_data(64 * MIB - 1) == (64 * MIB, 64 * MIB)
    reader.close()


def test_a_tag_changes_with_the_content(bench: Bench) -> None:
    vdi = bench.disk(bench.sr(), b"before")

    def tag() -> str:
        reader = bench.storage.read_volume(vdi, ignore)
        reader.close()
        return reader.tag

    first = tag()
    assert tag() == first
    filled(bench, vdi, (0, b"before"))
    assert tag() != first


def test_content_does_not_grow_beyond_its_disk(bench: Bench) -> None:
    vdi = bench.disk(bench.sr())
    writer = bench.storage.write_volume(vdi)
    for offset, length in ((4 * MIB, 1), (4 * MIB - 1, 2), (-1, 1)):
        with pytest.raises(VdiIoError):
            writer.write(offset, b"x" * length)
    writer.close()
    with pytest.raises(SrFull):
        bench.storage.write_volume(bench.vdi(vdi.SR, 2**60))


def test_there_is_no_content_where_there_is_no_disk(bench: Bench) -> None:
    vdi = bench.disk(bench.sr())
    Path(vdi.location).unlink()
    for use in (lambda: bench.storage.read_volume(vdi, ignore), lambda: bench.storage.write_volume(vdi)):
        with pytest.raises(VdiMissing):
            use()
    vdi.location = "/etc/passwd"
    for use in (lambda: bench.storage.read_volume(vdi, ignore), lambda: bench.storage.write_volume(vdi)):
        with pytest.raises(VdiMissing):
            use()


def qcow2_of(path: Path, content: bytes, *options: str) -> bytes:
    raw = path.with_suffix(".raw")
    raw.write_bytes(content)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, path], check=True)
    return path.read_bytes()


@pytest.mark.parametrize("options", [(), ("-c",)])
def test_an_image_is_unpacked_into_a_disk(bench: Bench, tmp_path: Path, options: tuple[str, ...]) -> None:
    image = qcow2_of(tmp_path / "image", bytes(MIB) + os.urandom(MIB), *options)
    vdi = bench.disk(bench.sr(), b"before")
    writer = bench.storage.write_volume(vdi)
    for start in range(0, len(image), 100_000):
        writer.spool(image[start : start + 100_000])
    parts: list[float] = []
    writer.unpack("qcow2", parts.append)
    writer.finish(ignore)
    writer.commit()
    writer.close()
    assert content(bench, vdi) == (tmp_path / "image.raw").read_bytes() + bytes(2 * MIB)
    assert Path(vdi.location).stat().st_blocks * 512 <= MIB + 8192
    assert parts == sorted(parts)
    assert bench.files(vdi.SR) == [Path(vdi.location).name]


def test_an_image_that_cannot_be_unpacked_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    whole = qcow2_of(tmp_path / "image", os.urandom(2 * MIB))
    larger = qcow2_of(tmp_path / "larger", bytes(5 * MIB))
    (tmp_path / "below").write_bytes(b"secret" * 100_000)
    backed = qcow2_of(tmp_path / "backed", bytes(MIB))
    subprocess.run(
        ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", tmp_path / "below", "-F", "raw", tmp_path / "backed"],
        check=True,
    )
    backed = (tmp_path / "backed").read_bytes()
    vdi = bench.disk(bench.sr(), b"before")
    for image in (whole[: len(whole) // 2], whole[:100], b"no image", larger):
        writer = bench.storage.write_volume(vdi)
        writer.spool(image)
        with pytest.raises(VdiIoError):
            writer.unpack("qcow2", ignore)
        writer.close()
        assert content(bench, vdi)[:6] == b"before"
    # The caller refuses it by its head; should it come here all the same, what it rests on is not read.
    writer = bench.storage.write_volume(vdi)
    writer.spool(backed)
    writer.unpack("qcow2", ignore)
    writer.finish(ignore)
    writer.commit()
    writer.close()
    assert b"secret" not in content(bench, vdi)


def test_an_unpacking_can_be_ended(bench: Bench, tmp_path: Path) -> None:
    image = qcow2_of(tmp_path / "image", os.urandom(2 * MIB))
    vdi = bench.disk(bench.sr(), b"before")
    writer = bench.storage.write_volume(vdi)
    writer.spool(image)

    def end(part: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        writer.unpack("qcow2", end)
    writer.close()
    assert bench.files(vdi.SR) == [Path(vdi.location).name]


@pytest.mark.fault("F8")
def test_a_full_file_system_says_so(bench: Bench, mocker: MockerFixture) -> None:
    vdi = bench.disk(bench.sr(), b"before")
    writer = bench.storage.write_volume(vdi)
    mocker.patch("os.pwrite", side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(SrFull):
        writer.write(0, b"x")
    with pytest.raises(SrFull):
        writer.spool(b"x")
    mocker.stopall()
    writer.close()
    assert bench.files(vdi.SR) == [Path(vdi.location).name]


def test_a_qcow2_disk_is_read_and_replaced_as_what_its_guest_sees(bench: Bench, tmp_path: Path) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, sm_config={"type": "qcow2"})
    filled(bench, vdi, (MIB, b"x" * MIB))
    assert vdi.location.endswith(".qcow2")
    assert Path(vdi.location).read_bytes().startswith(b"QFI\xfb")
    assert content(bench, vdi) == bytes(MIB) + b"x" * MIB + bytes(2 * MIB)
    reader = bench.storage.read_volume(vdi, ignore)
    assert reader.next_data(0) == (MIB, 2 * MIB)
    reader.close()
    new = bench.vdi(sr, sm_config={"type": "qcow2"})
    filled(bench, new, (0, b"new"))
    assert content(bench, new)[:3] == b"new"
    assert bench.storage.scan(sr)[0].capacity == 4 * MIB
    assert sorted(bench.files(sr)) == sorted([Path(vdi.location).name, Path(new.location).name])


def test_a_qcow2_disk_that_rests_on_another_is_not_read(bench: Bench, tmp_path: Path) -> None:
    vdi = bench.disk(bench.sr(), sm_config={"type": "qcow2"})
    below = tmp_path / "below"
    below.write_bytes(bytes(4 * MIB))
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", below, "-F", "raw", vdi.location], check=True)
    with pytest.raises(OperationNotAllowed):
        bench.storage.read_volume(vdi, ignore)


def test_other_formats_are_neither_read_nor_written(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    other = Path(vdi.location).with_suffix(".vhd")
    Path(vdi.location).rename(other)
    vdi.location = str(other)
    bench.storage.scan(sr)
    with pytest.raises(ValueNotSupported):
        bench.storage.read_volume(vdi, ignore)
    with pytest.raises(ValueNotSupported):
        bench.storage.write_volume(vdi)


def test_without_qemu_img_raw_disks_work_all_the_same(bench: Bench, mocker: MockerFixture) -> None:
    vdi = bench.disk(bench.sr(), b"before")
    mocker.patch.object(bench.storage.qemu_img, "_program", None)  # type: ignore[attr-defined]
    writer = bench.storage.write_volume(vdi)
    writer.spool(b"QFI\xfb")
    with pytest.raises(OperationNotAllowed, match="qemu-img"):
        writer.unpack("qcow2", ignore)
    writer.close()
    filled(bench, vdi, (0, b"after"))
    assert content(bench, vdi)[:5] == b"after"

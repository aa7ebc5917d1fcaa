"""What every driver's storage does: tried on libvirt's test driver, and on a real libvirt storage driver."""

from __future__ import annotations

import os
import shutil
import uuid as uuids
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import classes as c
from agent.errors import (
    OperationNotAllowed,
    SrFull,
    SrHasNoPbds,
    SrNotEmpty,
    SrUnknownDriver,
    UniquenessViolated,
    ValueNotSupported,
    VdiMissing,
)
from drivers.folders import SimulatedStorage
from tests.contract.storage import MIB, Bench, Cancelled, bench, digest, ignore, libvirtd

__all__ = ["bench", "libvirtd"]


# --- pools


def test_a_created_repository_is_a_running_pool_with_its_uuid(bench: Bench) -> None:
    sr = bench.sr()
    (pool,) = [pool for pool in bench.storage.pools() if pool.uuid == sr.uuid]
    assert (pool.name, pool.type, pool.active) == ("disks", "file", True)
    assert pool.device_config == bench.config(sr)
    assert pool.capacity > 0


def test_two_repositories_may_have_one_label(bench: Bench) -> None:
    first, second = bench.sr(), bench.sr()
    names = [pool.name for pool in bench.storage.pools() if pool.uuid in (first.uuid, second.uuid)]
    assert len(set(names)) == 2


def test_a_repository_is_not_created_twice(bench: Bench) -> None:
    sr = bench.sr()
    with pytest.raises(UniquenessViolated):
        bench.storage.create(sr, bench.config(sr))


def test_create_refuses_a_type_nobody_knows(bench: Bench) -> None:
    with pytest.raises(SrUnknownDriver):
        bench.storage.create(c.SR(name_label="x", type="floppy"), {})


def test_probe_refuses_what_cannot_be_looked_for(bench: Bench) -> None:
    with pytest.raises(SrUnknownDriver):
        bench.storage.probe("floppy", {})
    for type in ("file", "iso"):
        with pytest.raises(ValueNotSupported):
            bench.storage.probe(type, {})


@pytest.mark.parametrize(
    ("type", "device_config"),
    [
        ("ext", {"device": "/dev/null"}),
        ("file", {}),
        ("file", {"location": "here"}),
        ("file", {"location": "/srv/../etc"}),
        ("file", {"location": "/srv", "colour": "red"}),
        ("nfs", {"server": "-o evil", "serverpath": "/srv"}),
        ("nfs", {"server": "filer"}),
        ("lvm", {}),
        ("lvm", {"device": "/etc/passwd"}),
    ],
)
def test_create_refuses_a_device_config_it_cannot_realise(
    bench: Bench, type: str, device_config: dict[str, str]
) -> None:
    sr = c.SR(name_label="x", type=type)
    with pytest.raises(ValueNotSupported):
        bench.storage.create(sr, device_config)
    assert sr.uuid not in [pool.uuid for pool in bench.storage.pools()]


def test_every_supported_type_has_a_sentence(bench: Bench) -> None:
    types = bench.storage.supported_types()
    assert {"file", "ext", "nfs", "lvm", "iso"} <= types.keys()
    assert all(types.values())


def test_a_detached_repository_is_a_stopped_pool_and_keeps_its_disks(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, b"kept")
    bench.storage.detach(bench.pbd(sr))
    (pool,) = [pool for pool in bench.storage.pools() if pool.uuid == sr.uuid]
    assert (pool.active, pool.capacity) == (False, 0)
    bench.storage.attach(bench.pbd(sr))
    assert bench.names(sr) == [Path(vdi.location).name]
    assert Path(vdi.location).read_bytes().startswith(b"kept")


def test_attach_and_detach_may_be_repeated(bench: Bench) -> None:
    sr = bench.sr()
    bench.storage.attach(bench.pbd(sr))
    bench.storage.detach(bench.pbd(sr))
    bench.storage.detach(bench.pbd(sr))
    bench.storage.attach(bench.pbd(sr))
    assert bench.names(sr) == []


def test_attach_defines_what_the_host_has_forgotten(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    bench.storage.forget(sr)
    assert sr.uuid not in [pool.uuid for pool in bench.storage.pools()]
    bench.storage.attach(bench.pbd(sr))
    assert bench.names(sr) == [Path(vdi.location).name]


def test_forget_of_an_unknown_repository_is_no_error(bench: Bench) -> None:
    bench.storage.forget(c.SR(name_label="x", type="file"))


def test_nothing_is_done_in_a_detached_repository(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    bench.storage.detach(bench.pbd(sr))
    calls: list[Callable[[], object]] = [
        lambda: bench.storage.usage(sr),
        lambda: bench.storage.scan(sr),
        lambda: bench.storage.create_volume(bench.vdi(sr)),
        lambda: bench.storage.destroy_volume(vdi),
        lambda: bench.storage.resize_volume(vdi, 8 * MIB),
        lambda: bench.storage.copy_volume(vdi, bench.vdi(sr), ignore),
    ]
    for call in calls:
        with pytest.raises(SrHasNoPbds):
            call()
    assert Path(vdi.location).exists()


def test_destroy_refuses_storage_that_has_disks(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    with pytest.raises(SrNotEmpty):
        bench.storage.destroy(sr)
    assert Path(vdi.location).exists()
    bench.storage.destroy_volume(vdi)
    bench.storage.destroy(sr)
    assert sr.uuid not in [pool.uuid for pool in bench.storage.pools()]
    assert not Path(vdi.location).parent.exists()


def test_destroy_refuses_storage_that_has_files_of_somebody_else(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    bench.storage.destroy_volume(vdi)
    foreign = Path(vdi.location).with_name("notes")
    foreign.mkdir()
    with pytest.raises(SrNotEmpty):
        bench.storage.destroy(sr)
    assert foreign.exists()


# --- volumes


def test_a_new_disk_is_seen_and_takes_no_room(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.vdi(sr, 64 * MIB)
    made = bench.storage.create_volume(vdi)
    assert made == bench.storage.scan(sr)[0]
    assert (made.name, made.capacity, made.format, made.read_only) == (f"{vdi.uuid}.raw", 64 * MIB, "raw", False)
    assert made.allocation < MIB
    assert Path(made.location).stat().st_size == 64 * MIB


def test_the_same_disk_is_not_made_twice(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, b"first")
    with pytest.raises(UniquenessViolated):
        bench.storage.create_volume(vdi)
    assert Path(vdi.location).read_bytes().startswith(b"first")


def test_a_disk_larger_than_the_storage_is_refused_and_leaves_nothing(bench: Bench) -> None:
    sr = bench.sr()
    with pytest.raises(SrFull) as caught:
        bench.storage.create_volume(bench.vdi(sr, 2**60))
    assert caught.value.requested == 2**60
    assert 0 <= caught.value.maximum < 2**60
    assert bench.files(sr) == []


def test_a_format_nobody_can_make_is_refused(bench: Bench) -> None:
    sr = bench.sr()
    with pytest.raises(ValueNotSupported):
        bench.storage.create_volume(bench.vdi(sr, sm_config={"type": "zip"}))
    assert bench.files(sr) == []


def test_a_grown_disk_keeps_its_content(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, b"content")
    bench.storage.resize_volume(vdi, 8 * MIB)
    assert bench.storage.scan(sr)[0].capacity == 8 * MIB
    assert Path(vdi.location).read_bytes().rstrip(b"\0") == b"content"


def test_a_disk_does_not_shrink(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    with pytest.raises(ValueNotSupported):
        bench.storage.resize_volume(vdi, MIB)
    assert Path(vdi.location).stat().st_size == 4 * MIB


def test_growing_a_disk_that_is_gone_says_so(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    Path(vdi.location).unlink()
    with pytest.raises(VdiMissing):
        bench.storage.resize_volume(vdi, 8 * MIB)


def test_a_destroyed_disk_is_gone_and_may_be_destroyed_again(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    bench.storage.destroy_volume(vdi)
    assert not Path(vdi.location).exists()
    assert bench.names(sr) == []
    bench.storage.destroy_volume(vdi)


@pytest.mark.threat("T8")
@pytest.mark.parametrize("location", ["", "/", "victim", "{folder}/../victim", "{outside}"])
def test_a_location_outside_its_storage_reaches_nothing(bench: Bench, tmp_path: Path, location: str) -> None:
    sr = bench.sr()
    folder = Path(bench.disk(sr).location).parent
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    shutil.copy(victim, folder.parent / "victim")
    vdi = bench.vdi(sr)
    vdi.location = location.format(folder=folder, outside=victim)
    bench.storage.destroy_volume(vdi)
    with pytest.raises(VdiMissing):
        bench.storage.resize_volume(vdi, 8 * MIB)
    with pytest.raises(VdiMissing):
        bench.storage.copy_volume(vdi, bench.vdi(sr), ignore)
    assert victim.read_bytes() == (folder.parent / "victim").read_bytes() == b"secret"


@pytest.mark.threat("T8")
def test_links_are_neither_seen_nor_followed(bench: Bench, tmp_path: Path) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    Path(vdi.location).unlink()
    Path(vdi.location).symlink_to(victim)
    assert bench.names(sr) == []
    with pytest.raises(VdiMissing):
        bench.storage.resize_volume(vdi, 8 * MIB)
    with pytest.raises(VdiMissing):
        bench.storage.copy_volume(vdi, bench.vdi(sr), ignore)
    bench.storage.destroy_volume(vdi)
    assert victim.read_bytes() == b"secret"


@pytest.mark.threat("T10")
def test_a_raw_disk_is_raw_whatever_its_guest_writes(bench: Bench) -> None:
    sr = bench.sr()
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(16) + (2**40).to_bytes(8, "big") + bytes(80)
    vdi = bench.disk(sr, header)
    (seen,) = bench.storage.scan(sr)
    assert (seen.format, seen.capacity) == ("raw", 4 * MIB)
    copy = bench.vdi(sr)
    copied = bench.storage.copy_volume(vdi, copy, ignore)
    assert Path(copied.location).read_bytes() == Path(vdi.location).read_bytes()
    bench.storage.resize_volume(vdi, 8 * MIB)
    assert Path(vdi.location).stat().st_size == 8 * MIB


def test_cd_images_are_read_only_volumes(bench: Bench) -> None:
    sr = bench.sr("iso", content_type="iso")
    folder = Path(bench.disk(sr).location).parent
    (folder / "Debian 12.ISO").write_bytes(bytes(MIB))
    (image,) = [volume for volume in bench.storage.scan(sr) if volume.read_only]
    assert (image.name, image.capacity, image.format) == ("Debian 12.ISO", MIB, "raw")
    assert image.location == str(folder / "Debian 12.ISO")


def test_usage_grows_as_guests_write(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr, size=16 * MIB)
    size, used = bench.storage.usage(sr)
    assert 0 <= used < size
    before = Path(vdi.location).stat().st_blocks
    with Path(vdi.location).open("r+b") as file:
        file.write(os.urandom(8 * MIB))
        os.fsync(file.fileno())
    assert Path(vdi.location).stat().st_blocks > before
    # Other users of the file system free and take room meanwhile; only the simulated storage counts its files alone.
    if isinstance(bench.storage, SimulatedStorage):
        assert bench.storage.usage(sr) == (size, used + 8 * MIB)


def test_what_a_crash_left_half_made_is_removed(bench: Bench) -> None:
    sr = bench.sr()
    vdi = bench.disk(sr)
    left = Path(vdi.location).with_name(f".{uuids.uuid4()}.raw.partial")
    left.write_bytes(b"half")
    assert bench.names(sr) == [Path(vdi.location).name]
    assert not left.exists()


# --- copies


def holey(path: str) -> int:
    """Write three pieces far apart and return the file's size."""
    with Path(path).open("r+b") as file:
        for offset in (0, 9 * MIB, 31 * MIB - 512):
            file.seek(offset)
            file.write(os.urandom(256 * 1024))
        os.fsync(file.fileno())
    return Path(path).stat().st_size


def test_a_copy_has_the_same_content_and_the_same_holes(bench: Bench) -> None:
    first, second = bench.sr(), bench.sr()
    source = bench.disk(first, size=64 * MIB)
    holey(source.location)
    parts: list[float] = []
    copied = bench.storage.copy_volume(source, bench.vdi(second, 64 * MIB), parts.append)
    assert digest(copied.location) == digest(source.location)
    assert Path(copied.location).stat().st_blocks <= Path(source.location).stat().st_blocks + 64
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, 1.0)
    assert [volume.location for volume in bench.storage.scan(second)] == [copied.location]


def test_a_copy_may_be_larger(bench: Bench) -> None:
    sr = bench.sr()
    source = bench.disk(sr, b"content")
    copied = bench.storage.copy_volume(source, bench.vdi(sr, 8 * MIB), ignore)
    assert copied.capacity == Path(copied.location).stat().st_size == 8 * MIB
    assert Path(copied.location).read_bytes().rstrip(b"\0") == b"content"


def test_a_copy_may_not_be_smaller(bench: Bench) -> None:
    sr = bench.sr()
    source = bench.disk(sr)
    with pytest.raises(ValueNotSupported):
        bench.storage.copy_volume(source, bench.vdi(sr, MIB), ignore)
    assert bench.names(sr) == [Path(source.location).name]


def test_a_copy_of_a_disk_that_is_longer_than_its_record_is_refused(bench: Bench) -> None:
    sr = bench.sr()
    source = bench.disk(sr)
    os.truncate(source.location, 5 * MIB)
    with pytest.raises(ValueNotSupported):
        bench.storage.copy_volume(source, bench.vdi(sr, 4 * MIB), ignore)
    assert len(bench.names(sr)) == 1


def test_a_copy_of_a_disk_that_is_gone_says_so(bench: Bench) -> None:
    sr = bench.sr()
    source = bench.disk(sr)
    Path(source.location).unlink()
    with pytest.raises(VdiMissing):
        bench.storage.copy_volume(source, bench.vdi(sr), ignore)
    assert bench.files(sr) == []


@pytest.mark.parametrize("after", [0.0, 0.2, 1.0])
def test_a_cancelled_copy_leaves_nothing(bench: Bench, after: float) -> None:
    sr = bench.sr()
    source = bench.disk(sr, size=64 * MIB)
    holey(source.location)
    before = bench.files(sr)

    def cancel(part: float) -> None:
        if part >= after:
            raise Cancelled

    with pytest.raises(Cancelled):
        bench.storage.copy_volume(source, bench.vdi(sr, 64 * MIB), cancel)
    assert bench.files(sr) == before
    assert bench.names(sr) == [Path(source.location).name]


def test_a_copy_does_not_replace_a_disk(bench: Bench) -> None:
    sr = bench.sr()
    source, other = bench.disk(sr, b"source"), bench.disk(sr, b"other")
    with pytest.raises(UniquenessViolated):
        bench.storage.copy_volume(source, other, ignore)
    assert Path(other.location).read_bytes().startswith(b"other")


# --- qcow2


def test_a_disk_may_be_qcow2(bench: Bench) -> None:
    sr = bench.sr(sm_config={"type": "qcow2"})
    vdi = bench.disk(sr, size=64 * MIB)
    (seen,) = bench.storage.scan(sr)
    assert (seen.name, seen.format, seen.capacity) == (f"{vdi.uuid}.qcow2", "qcow2", 64 * MIB)
    bench.storage.resize_volume(vdi, 128 * MIB)
    assert bench.storage.scan(sr)[0].capacity == 128 * MIB
    bench.storage.destroy_volume(vdi)
    assert bench.names(sr) == []


def test_a_qcow2_disk_is_copied_as_it_is(bench: Bench) -> None:
    sr = bench.sr(sm_config={"type": "qcow2"})
    source = bench.disk(sr, size=64 * MIB)
    copied = bench.storage.copy_volume(source, bench.vdi(sr, 64 * MIB), ignore)
    assert digest(copied.location) == digest(source.location)
    assert (copied.format, copied.capacity) == ("qcow2", 64 * MIB)
    assert {volume.capacity for volume in bench.storage.scan(sr)} == {64 * MIB}


@pytest.mark.parametrize("size", [64 * MIB, 96 * MIB])
def test_a_raw_disk_becomes_qcow2_and_raw_again_with_its_content(bench: Bench, size: int) -> None:
    raw, qcow2 = bench.sr(), bench.sr(sm_config={"type": "qcow2"})
    source = bench.disk(raw, size=64 * MIB)
    holey(source.location)
    middle = bench.vdi(qcow2, size)
    parts: list[float] = []
    made = bench.storage.copy_volume(source, middle, parts.append)
    middle.location = made.location
    assert (made.format, made.capacity) == ("qcow2", size)
    assert Path(made.location).read_bytes().startswith(b"QFI")
    assert (parts[0], parts[-1]) == (0.0, 1.0)
    back = bench.storage.copy_volume(middle, bench.vdi(raw, size), ignore)
    assert (back.format, back.capacity) == ("raw", size)
    os.truncate(back.location, 64 * MIB)
    assert digest(back.location) == digest(source.location)


def test_an_unwanted_conversion_leaves_nothing(bench: Bench) -> None:
    raw, qcow2 = bench.sr(), bench.sr(sm_config={"type": "qcow2"})
    source = bench.disk(raw, size=64 * MIB)

    def cancel(part: float) -> None:
        if part > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        bench.storage.copy_volume(source, bench.vdi(qcow2, 64 * MIB), cancel)
    assert bench.files(qcow2) == []


@pytest.mark.threat("T10")
def test_an_image_that_rests_on_another_is_not_copied(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret.img"
    secret.write_bytes(b"secret" * 1024)
    sr = bench.sr(sm_config={"type": "qcow2"})
    vdi = bench.disk(sr)
    # The header names another file of the host as the one that this image rests on.
    with Path(vdi.location).open("r+b") as file:
        file.seek(8)
        file.write((512).to_bytes(8, "big") + len(bytes(secret)).to_bytes(4, "big"))
        file.seek(512)
        file.write(bytes(secret))
    refuses_to_copy(bench, vdi)


def refuses_to_copy(bench: Bench, vdi: c.VDI) -> None:
    sr = vdi.SR
    for target in (bench.vdi(sr), bench.vdi(bench.sr())):
        with pytest.raises(OperationNotAllowed):
            bench.storage.copy_volume(vdi, target, ignore)


def test_an_image_that_has_its_data_in_another_file_is_not_copied(bench: Bench) -> None:
    vdi = bench.disk(bench.sr(sm_config={"type": "qcow2"}))
    with Path(vdi.location).open("r+b") as file:
        file.seek(72)
        file.write((1 << 2).to_bytes(8, "big"))
    refuses_to_copy(bench, vdi)


def test_an_image_that_is_not_what_its_name_says_is_not_copied(bench: Bench) -> None:
    vdi = bench.disk(bench.sr(sm_config={"type": "qcow2"}), b"something else")
    refuses_to_copy(bench, vdi)


@pytest.mark.threat("T10")
def test_a_raw_disk_with_a_header_in_it_is_converted_as_what_it_is(bench: Bench) -> None:
    raw, qcow2 = bench.sr(), bench.sr(sm_config={"type": "qcow2"})
    disguise = Path(bench.disk(qcow2).location).read_bytes()
    vdi = bench.disk(raw, disguise)
    middle = bench.vdi(qcow2)
    middle.location = bench.storage.copy_volume(vdi, middle, ignore).location
    back = bench.storage.copy_volume(middle, bench.vdi(raw), ignore)
    assert Path(back.location).read_bytes() == Path(vdi.location).read_bytes()

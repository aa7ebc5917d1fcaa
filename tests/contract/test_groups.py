"""Disks that are logical volumes, on devices that are really there: what was in them before, what is in them after."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from agent import classes as c
from agent.errors import OperationNotAllowed, SrFull, SrNotEmpty, ValueNotSupported, VdiInUse, VdiIoError
from drivers.connection import Connection
from drivers.disk_journal import DiskJournal
from drivers.lvm import FOLDERS, Lvm
from drivers.storage import LibvirtStorage, Volumes
from tests.contract import real_xen
from tests.contract.daemon import private_libvirtd
from tests.contract.groups import Group, group
from tests.contract.storage import MIB, Bench, ignore


@dataclass
class GroupBench(Bench):
    """A driver on a volume group."""

    group: Group = field(default_factory=lambda: Group(""))
    connection: Connection | None = None
    journal: Path = Path()

    def config(self, sr: c.SR) -> dict[str, str]:
        return {"name": self.group.name} if sr.type == "lvm" else super().config(sr)

    def lvm(self) -> c.SR:
        """The volume group as storage."""
        return self.sr("lvm")

    def again(self) -> LibvirtStorage:
        """The driver as the next start has it."""
        assert self.connection is not None
        return LibvirtStorage(self.connection, DiskJournal(self.journal), lvm=Lvm(self.group.programs))

    def filled(self, sr: c.SR, content: bytes, size: int = 8 * MIB) -> c.VDI:
        """A disk with this content, and then zeroes."""
        vdi = self.vdi(sr, size)
        replace(self, vdi, content)
        return vdi

    def content(self, vdi: c.VDI) -> bytes:
        """What a guest sees."""
        reader = self.storage.read_volume(vdi, ignore)
        try:
            return reader.read(0, reader.size)
        finally:
            reader.close()

    def there(self) -> list[str]:
        """The volumes that there are, with those that the storage does not show."""
        if shutil.which("udevadm"):
            subprocess.run(["udevadm", "settle"], check=False, capture_output=True)
        folder = Path("/dev", self.group.name)
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Group]]:
    """A volume group, and the URI of the libvirt that knows it."""
    with ExitStack() as opened:
        made = opened.enter_context(group(folder := tmp_path_factory.mktemp("group")))
        programs = None if made.programs == FOLDERS else folder
        daemon = private_libvirtd(tmp_path_factory.mktemp("libvirtd"), "storage", programs)
        yield real_xen.URI or opened.enter_context(daemon), made


@pytest.fixture
def bench(served: tuple[str, Group], tmp_path: Path) -> Iterator[GroupBench]:
    uri, made = served
    connection = Connection(uri)
    connection.start()
    assert connection.connected
    bench = GroupBench(
        LibvirtStorage(connection, DiskJournal(tmp_path / "journal"), lvm=Lvm(made.programs)),
        tmp_path / "pools",
        c.Host(name_label="here"),
        made,
        connection,
        tmp_path / "journal",
    )
    before = {pool.uuid for pool in bench.storage.pools()}
    yield bench
    for pool in bench.storage.pools():
        if pool.uuid not in before:
            left = c.SR(type=pool.type)
            left.uuid = pool.uuid
            if pool.type == "lvm":
                for name in reversed(bench.there()):
                    subprocess.run([f"{_folder(made)}/lvremove", "-f", f"{made.name}/{name}"], check=False)
            bench.storage.forget(left)
    connection.close()


def _folder(made: Group) -> str:
    return next(folder for folder in made.programs if Path(folder, "lvremove").exists())


def replace(bench: GroupBench, vdi: c.VDI, content: bytes, at: int = 0) -> None:
    writer = bench.storage.write_volume(vdi)
    try:
        writer.write(at, content)
        writer.finish(ignore)
        bench.made(vdi, writer.commit())
        bench.storage.settle(vdi)
    finally:
        writer.close()


def test_a_logical_volume_is_made_seen_grown_and_removed(bench: GroupBench) -> None:
    sr = bench.lvm()
    size, used = bench.storage.usage(sr)
    vdi = bench.vdi(sr, 8 * MIB)
    bench.made(vdi, bench.storage.create_volume(vdi))
    bench.storage.settle(vdi)
    assert vdi.location == f"/dev/{bench.group.name}/{vdi.uuid}"
    assert bench.names(sr) == [vdi.uuid]
    assert bench.storage.usage(sr) == (size, used + 8 * MIB)
    bench.write(vdi, b"content")
    bench.storage.resize_volume(vdi, 14 * MIB)
    bench.storage.resize_volume(vdi, 16 * MIB)  # an extent has 4 MiB: it is so large already
    assert (bench.storage.scan(sr)[0].capacity, bench.content(vdi)[:7]) == (16 * MIB, b"content")
    with pytest.raises(ValueNotSupported):
        bench.storage.resize_volume(c_sized(vdi, 16 * MIB), 8 * MIB)
    with pytest.raises(SrFull):
        bench.storage.resize_volume(vdi, size * 2)
    bench.storage.destroy_volume(vdi)
    assert bench.names(sr) == bench.there() == []


def c_sized(vdi: c.VDI, size: int) -> c.VDI:
    vdi.virtual_size = size
    return vdi


def test_a_volume_group_that_is_there_is_found(bench: GroupBench) -> None:
    assert {"name": bench.group.name} in [{"name": found.get("name")} for found in bench.storage.probe("lvm", {})]


def test_a_group_is_not_destroyed_with_a_volume_that_is_not_active(bench: GroupBench) -> None:
    """libvirt does not list it."""
    sr = bench.lvm()
    vdi = bench.filled(sr, b"content")
    lvchange = f"{_folder(bench.group)}/lvchange"
    subprocess.run([lvchange, "-an", vdi.location], check=True)
    assert bench.names(sr) == []
    with pytest.raises(SrNotEmpty):
        bench.storage.destroy(sr)
    subprocess.run([lvchange, "-ay", vdi.location], check=True)
    assert bench.content(vdi)[:7] == b"content"


def test_what_is_copied_is_all_of_it_and_nothing_that_was_there_before(bench: GroupBench) -> None:
    sr, folder = bench.lvm(), bench.sr()
    source = bench.filled(sr, b"content" + bytes(MIB) + b"more")
    file = bench.vdi(folder, source.virtual_size)
    bench.made(file, bench.storage.copy_volume(source, file, ignore))
    odd = bench.disk(folder, b"odd", size=5 * MIB + 512)
    for origin in (source, file, odd):
        copy = bench.vdi(sr, origin.virtual_size)
        bench.made(copy, bench.storage.copy_volume(origin, copy, ignore))
        wanted = bench.content(origin)
        assert bench.content(copy) == wanted + bytes(copy.virtual_size - len(wanted))
    assert bench.content(file) == bench.content(source)


def test_a_clone_and_its_disk_go_apart(bench: GroupBench) -> None:
    sr = bench.lvm()
    disk, clone = bench.filled(sr, b"before"), bench.vdi(sr, 8 * MIB)
    bench.made(clone, bench.storage.clone_volume(disk, clone))
    bench.storage.settle(clone)
    bench.write(disk, b"after!")
    bench.write(clone, b"cloned", offset=MIB)
    assert (bench.content(clone)[:6], bench.content(clone)[MIB : MIB + 6]) == (b"before", b"cloned")
    assert (bench.content(disk)[:6], bench.content(disk)[MIB : MIB + 6]) == (b"after!", bytes(6))
    assert {seen.name: seen.parent for seen in bench.storage.scan(sr)}[clone.uuid] == disk.location
    assert bench.storage.clone_volume(clone, bench.vdi(sr, 8 * MIB)) is None
    with pytest.raises(ValueNotSupported):
        bench.storage.resize_volume(clone, 16 * MIB)
    with pytest.raises(VdiInUse):
        bench.storage.destroy_volume(disk)
    with pytest.raises(VdiInUse):
        replace(bench, disk, b"new")
    assert bench.content(clone)[:6] == b"before"
    replace(bench, clone, b"replaced")
    bench.storage.destroy_volume(disk)
    assert bench.content(clone) == b"replaced" + bytes(8 * MIB - 8)


def test_a_snapshot_that_somebody_made_by_lvm2_is_not_removed_with_its_disk(bench: GroupBench) -> None:
    sr = bench.lvm()
    disk = bench.filled(sr, b"before")
    lvcreate = [f"{_folder(bench.group)}/lvcreate", "--snapshot", "--extents", "100%ORIGIN", "--name"]
    subprocess.run([*lvcreate, "by-hand", f"{bench.group.name}/{disk.uuid}"], check=True)
    with pytest.raises(VdiInUse):
        bench.storage.doom_volume(disk)
    with pytest.raises(VdiInUse):
        bench.storage.destroy_volume(disk)
    assert bench.there() == sorted([disk.uuid, "by-hand"])


def test_the_content_of_a_logical_volume_is_replaced_in_one_step(bench: GroupBench) -> None:
    sr = bench.lvm()
    vdi = bench.filled(sr, b"before")
    location = vdi.location
    writer = bench.storage.write_volume(vdi)
    writer.write(3 * MIB + 100, b"after")
    writer.write(MIB, bytes(MIB))
    writer.write(6 * MIB - 3, b"end")
    writer.write(7, b"begin")
    assert bench.content(vdi)[:6] == b"before"
    assert bench.names(sr) == [vdi.uuid]
    writer.finish(ignore)
    seen = writer.commit()
    writer.close()
    assert (seen.location, seen.name, seen.capacity) == (location, vdi.uuid, 8 * MIB)
    wanted = bytearray(8 * MIB)
    wanted[7:12], wanted[3 * MIB + 100 : 3 * MIB + 105], wanted[6 * MIB - 3 : 6 * MIB] = b"begin", b"after", b"end"
    assert bench.content(vdi) == wanted
    assert bench.names(sr) == bench.there() == [vdi.uuid]


def test_a_writer_stays_within_its_disk(bench: GroupBench) -> None:
    writer = bench.storage.write_volume(bench.filled(bench.lvm(), b"before"))
    with pytest.raises(VdiIoError):
        writer.write(8 * MIB - 1, b"xx")
    writer.close()


def test_an_upload_that_is_cut_off_leaves_the_volume_as_it_was(bench: GroupBench) -> None:
    sr = bench.lvm()
    vdi = bench.filled(sr, b"before")
    new = bench.vdi(sr, 8 * MIB)
    for target in (vdi, new):
        writer = bench.storage.write_volume(target)
        writer.write(0, b"after")
        writer.spool(b"an image")
        writer.close()
    assert bench.content(vdi)[:6] == b"before"
    assert bench.names(sr) == bench.there() == [vdi.uuid]
    assert list(bench.journal.glob("*")) == []


def test_a_full_group_says_so_and_leaves_nothing(bench: GroupBench) -> None:
    sr = bench.lvm()
    size, _ = bench.storage.usage(sr)
    vdi = bench.vdi(sr, size * 3 // 4 // MIB * MIB)
    bench.made(vdi, bench.storage.create_volume(vdi))
    bench.storage.settle(vdi)
    with pytest.raises(SrFull):
        bench.storage.write_volume(vdi)
    assert bench.there() == [vdi.uuid]
    assert list(bench.journal.glob("*")) == []


@pytest.mark.threat("T10")
def test_a_disk_that_is_wiped_shows_nothing_of_others(bench: GroupBench, monkeypatch: pytest.MonkeyPatch) -> None:
    make, grow = Volumes.make, Lvm.grow

    def scribble(path: str, start: int) -> None:
        """What a removed disk of another guest left there; lvm2 that is played begins with zeroes."""
        with Path(path).open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(start)
            file.write(b"x" * (end - start))

    def used(self: Volumes, name: str, size: int) -> str:
        path = make(self, name, size)
        scribble(path, 0)
        return path

    def grown(self: Lvm, group: str, name: str, size: int) -> None:
        grow(self, group, name, size)
        scribble(f"/dev/{group}/{name}", 8 * MIB)

    monkeypatch.setattr(Volumes, "make", used)
    monkeypatch.setattr(Lvm, "grow", grown)
    sr = bench.lvm()
    vdi = bench.vdi(sr, 8 * MIB)
    vdi.sm_config = {"wipe": "of course"}
    with pytest.raises(ValueNotSupported):
        bench.storage.create_volume(vdi)
    assert bench.there() == []
    vdi.sm_config, sr.sm_config = {}, {"wipe": "true"}
    bench.made(vdi, bench.storage.create_volume(vdi))
    bench.storage.settle(vdi)
    assert bench.content(vdi) == bytes(8 * MIB)
    bench.write(vdi, b"content")
    bench.storage.resize_volume(vdi, 16 * MIB)
    assert bench.content(vdi) == b"content" + bytes(16 * MIB - 7)
    assert bench.names(sr) == bench.there() == [vdi.uuid]


@pytest.mark.parametrize("whole", [True, False])
def test_an_image_is_unpacked_into_a_logical_volume(bench: GroupBench, tmp_path: Path, whole: bool) -> None:
    sr = bench.lvm()
    vdi = bench.filled(sr, b"before")
    raw, image = tmp_path / "image.raw", tmp_path / "image.qcow2"
    raw.write_bytes(bytes(2 * MIB) + b"from the image" + bytes(MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", image, str(8 * MIB)], check=True)
    data = image.read_bytes()
    writer = bench.storage.write_volume(vdi)
    writer.spool(data if whole else data[: len(data) // 3])
    if whole:
        writer.unpack("qcow2", ignore)
        writer.finish(ignore)
        writer.commit()
    else:
        with pytest.raises((VdiIoError, OperationNotAllowed)):
            writer.unpack("qcow2", ignore)
    writer.close()
    seen = bench.content(vdi)
    if whole:
        assert seen == raw.read_bytes() + bytes(8 * MIB - raw.stat().st_size)
    else:
        assert seen[:6] == b"before"
    assert bench.there() == [vdi.uuid]


class Killed(BaseException):
    """The agent ends here."""


@pytest.mark.parametrize("fresh", [False, True], ids=["replaced", "made"])
@pytest.mark.parametrize("after", range(4))
def test_whatever_ends_the_agent_the_volume_is_whole(
    bench: GroupBench, mocker: MockerFixture, after: int, fresh: bool
) -> None:
    """Killed after so many changes of what volumes there are, the next start leaves the one content or the other."""
    sr = bench.lvm()
    vdi = bench.vdi(sr, 8 * MIB) if fresh else bench.filled(sr, b"before")
    storage = bench.again()
    left = [after]

    def counted(call: Callable[..., None]) -> Callable[..., None]:
        def step(*args: object) -> None:
            if not left[0]:
                raise Killed
            left[0] -= 1
            call(*args)

        return step

    mocker.patch.object(storage.lvm, "rename", counted(storage.lvm.rename))
    try:
        writer = storage.write_volume(vdi)
        writer.write(0, b"after!")
        writer.finish(ignore)
        mocker.patch.object(Volumes, "remove", counted(Volumes.remove))
        writer.commit()
    except Killed:
        pass
    os.close(writer._descriptor)  # type: ignore[attr-defined]  # as the kernel does
    mocker.stopall()
    restarted = bench.again()
    restarted.decide(lambda uuid: not fresh)
    restarted.recover(sr)
    vdi.location = vdi.location or f"/dev/{bench.group.name}/{vdi.uuid}"
    assert bench.there() == ([] if fresh else [vdi.uuid])
    if not fresh:
        assert bench.content(vdi)[:6] in (b"before", b"after!")
    assert list(bench.journal.glob("*")) == []

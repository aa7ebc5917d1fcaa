"""Clones that share blocks, on file systems that really can: made here on loop devices, where there are any."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import classes as c
from drivers.connection import Connection
from drivers.disk_journal import DiskJournal
from drivers.storage import LibvirtStorage
from tests.contract import real_xen
from tests.contract.daemon import private_libvirtd
from tests.contract.groups import SIZE, loop_device, require_loop_devices
from tests.contract.storage import MIB, Bench, digest

MAKERS = {"xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}


@pytest.fixture(scope="module", params=MAKERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URI of a libvirt, and a folder on a file system of the kind."""
    maker = MAKERS[request.param]
    require_loop_devices()
    kinds = Path("/proc/filesystems").read_text().split()
    if request.param not in kinds or not shutil.which(maker[0]):
        pytest.skip(f"needs a kernel that has {request.param}, and {maker[0]}")
    place = tmp_path_factory.mktemp(request.param)
    with loop_device(place / "image", SIZE) as device:
        subprocess.run([*maker, device], check=True, capture_output=True)
        folder = place / "mounted"
        folder.mkdir()
        subprocess.run(["mount", device, folder], check=True)
        try:
            if real_xen.URI:
                yield real_xen.URI, folder
            else:
                with private_libvirtd(tmp_path_factory.mktemp("libvirtd"), "storage") as uri:
                    yield uri, folder
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture
def bench(served: tuple[str, Path], tmp_path: Path) -> Iterator[Bench]:
    uri, folder = served
    connection = Connection(uri)
    connection.start()
    assert connection.connected
    storage = LibvirtStorage(connection, DiskJournal(tmp_path / "journal"))
    before = {pool.uuid for pool in storage.pools()}
    yield Bench(storage, folder, c.Host(name_label="here"))
    for pool in storage.pools():
        if pool.uuid not in before:
            left = c.SR(type=pool.type)
            left.uuid = pool.uuid
            storage.forget(left)
    connection.close()


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_clone_shares_the_blocks_of_its_disk_until_one_of_them_writes(bench: Bench, format: str) -> None:
    sr = bench.sr()
    disk = bench.vdi(sr, 64 * MIB, sm_config={"type": format})
    bench.made(disk, bench.storage.create_volume(disk))
    bench.storage.settle(disk)
    for at in range(0, 32 * MIB, 8 * MIB):
        bench.write(disk, os.urandom(8 * MIB), at)
    os.sync()
    _, used = bench.storage.usage(sr)
    before = digest(disk.location)
    clones = []
    for _ in range(8):
        clone = bench.vdi(sr, 64 * MIB, sm_config={"type": format})
        bench.made(clone, bench.storage.clone_volume(disk, clone))
        bench.storage.settle(clone)
        clones.append(clone)
    os.sync()
    # Eight full copies would be 256 MiB.
    assert bench.storage.usage(sr)[1] < used + 16 * MIB
    assert {digest(clone.location) for clone in clones} == {before}
    content = bench.read(clones[1])
    bench.write(disk, b"the disk's own", 8 * MIB)
    bench.write(clones[0], b"the clone's own", 16 * MIB)
    assert digest(clones[1].location) == before
    assert bench.read(disk)[8 * MIB :].startswith(b"the disk's own")
    assert bench.read(clones[0])[16 * MIB :].startswith(b"the clone's own")
    bench.storage.destroy_volume(disk)
    assert hashlib.sha256(bench.read(clones[1])).digest() == hashlib.sha256(content).digest()

"""The storage driver over a libvirt that fails, hangs and lies, and over volume groups, which no sandbox has."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import libvirt
import pytest
from lxml import etree
from pytest_mock import MockerFixture

from agent import classes as c
from agent.classes.enums import VdiType
from agent.errors import (
    HostOffline,
    SrBackendFailure,
    SrFull,
    SrHasNoPbds,
    SrNotEmpty,
    ValueNotSupported,
    VdiInUse,
    VdiMissing,
    XenError,
)
from agent.model import api
from drivers import devices as devices_module
from drivers import storage as module
from drivers.disk_journal import DiskJournal, Operation
from drivers.lvm import Lvm, Volume
from drivers.storage import LibvirtStorage

api.seal_classes(c)

MIB = 1024 * 1024
NO_LVM = OSError(errno.ENOPKG, "lvm2 is not installed")


def ignore(part: float) -> None:
    """A progress callback that nobody looks at."""


def refusal(code: int, message: str = "refused", domain: int = libvirt.VIR_FROM_STORAGE) -> libvirt.libvirtError:
    error = libvirt.libvirtError(message)
    error.err = (code, domain, message, 2, None, None, None, 0, 0)
    return error


class Libvirt:
    """A connection with one pool, whose answers a test sets."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.mocker = mocker
        self.alive = True
        self.volumes: dict[str, Mock] = {}
        """What there is in the pool, by name."""
        self.gone = False
        """Whether it answers nobody."""
        self.handle = mocker.create_autospec(libvirt.virConnect, instance=True)
        self.pool = self._pool()
        self.lvm = mocker.create_autospec(Lvm, instance=True)
        self.lvm.look.return_value = Volume("", "", 4 * MIB)
        self.lvm.installed = True
        self.journal = DiskJournal(None)
        connection = Mock(handle=self.handle, long=self.handle, suspect=lambda: not self.alive)
        self.storage = LibvirtStorage(connection, self.journal, lvm=self.lvm)
        self.host = c.Host()

    def _pool(self) -> Mock:
        pool: Mock = self.mocker.create_autospec(libvirt.virStoragePool, instance=True)
        pool.isActive.return_value = 1
        pool.info.return_value = [2, 100 * MIB, 40 * MIB, 60 * MIB]
        pool.storageVolLookupByName.side_effect = self._look_up
        pool.listAllVolumes.return_value = []
        self.handle.storagePoolLookupByUUIDString.return_value = pool
        self.handle.storagePoolLookupByUUIDString.side_effect = self._find
        self.handle.listAllStoragePools.return_value = [pool]
        return pool

    def _find(self, uuid: str) -> Any:
        if self.gone:
            raise refusal(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed", libvirt.VIR_FROM_RPC)
        return DEFAULT

    def _look_up(self, name: str) -> Mock:
        if name not in self.volumes:
            raise refusal(libvirt.VIR_ERR_NO_STORAGE_VOL)
        return self.volumes[name]

    def restart(self) -> None:
        """It was started anew: what it gave before belongs to a connection that is dead."""
        before, self.pool = self.pool, self._pool()
        self.pool.XMLDesc.return_value = before.XMLDesc.return_value
        self.pool.createXML.side_effect = before.createXML.side_effect
        for method in ("createXML", "storageVolLookupByName", "listAllVolumes", "refresh", "info", "XMLDesc"):
            getattr(before, method).side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed")

    def volume(
        self, path: str, *, size: int = 4 * MIB, format: str = "raw", more: str = "", type: str = "file"
    ) -> Mock:
        """A volume that libvirt knows."""
        volume: Mock = self.mocker.create_autospec(libvirt.virStorageVol, instance=True)
        volume.path.return_value, volume.name.return_value = path, Path(path).name
        volume.delete.side_effect = lambda: self.volumes.pop(Path(path).name)
        self.volumes[Path(path).name] = volume
        volume.info.return_value = [0, size, 0]
        volume.XMLDesc.return_value = (
            f"<volume type='{type}'><name>{Path(path).name}</name><capacity>{size}</capacity>"
            f"<allocation>0</allocation><physical>{size}</physical>"
            f"<target><path>{path}</path><format type='{format}'/></target>{more}</volume>"
        )
        return volume

    def is_a_volume_group(self) -> None:
        """Make the pool one."""
        self.pool.XMLDesc.return_value = (
            "<pool type='logical'><name>vg</name><source><name>vg</name></source>"
            "<target><path>/dev/vg</path></target></pool>"
        )

    def is_a_folder(self, path: Path) -> None:
        """Make the pool one."""
        self.pool.XMLDesc.return_value = f"<pool type='dir'><name>p</name><target><path>{path}</path></target></pool>"


@pytest.fixture
def below(mocker: MockerFixture) -> Libvirt:
    return Libvirt(mocker)


@pytest.fixture
def sr() -> c.SR:
    return c.SR(name_label="disks", type="lvm")


def disk(sr: c.SR, location: str = "", size: int = 4 * MIB, **fields: Any) -> c.VDI:
    vdi = c.VDI(SR=sr, virtual_size=size, type=VdiType.USER, **fields)
    vdi.location = location
    return vdi


# --- libvirt fails


def test_without_a_connection_everything_says_so_at_once(sr: c.SR, below: Libvirt) -> None:
    class Offline:
        @property
        def handle(self) -> libvirt.virConnect:
            raise HostOffline("xen:///system")

        long = handle

        def suspect(self) -> bool:
            return True

    storage = LibvirtStorage(Offline(), DiskJournal(None))  # type: ignore[arg-type]
    vdi = disk(sr, "/dev/vg/x")
    pbd = c.PBD(host=below.host, SR=sr, device_config={})
    calls: list[Callable[[], object]] = [
        storage.supported_types,
        storage.pools,
        lambda: storage.create(sr, {"name": "vg"}),
        lambda: storage.attach(pbd),
        lambda: storage.detach(pbd),
        lambda: storage.forget(sr),
        lambda: storage.destroy(sr),
        lambda: storage.usage(sr),
        lambda: storage.scan(sr),
        lambda: storage.create_volume(vdi),
        lambda: storage.destroy_volume(vdi),
        lambda: storage.resize_volume(vdi, 8 * MIB),
        lambda: storage.copy_volume(vdi, disk(sr), ignore),
    ]
    for call in calls:
        with pytest.raises(HostOffline):
            call()


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (refusal(libvirt.VIR_ERR_SYSTEM_ERROR, "cannot extend file: No space left on device"), SrFull),
        (refusal(1, "lvcreate: Volume group has insufficient free space", libvirt.VIR_FROM_NONE), SrFull),
        (refusal(1, "Child process (lvcreate) unexpected exit status 5", libvirt.VIR_FROM_NONE), SrBackendFailure),
        (refusal(libvirt.VIR_ERR_OPERATION_INVALID, "storage pool 'x' is not active"), SrHasNoPbds),
        (refusal(libvirt.VIR_ERR_NO_STORAGE_POOL), SrHasNoPbds),
        (refusal(libvirt.VIR_ERR_SYSTEM_ERROR, "broken"), SrBackendFailure),
    ],
)
def test_what_libvirt_refuses_is_told_in_xenapis_words(
    below: Libvirt, sr: c.SR, error: libvirt.libvirtError, meaning: type[XenError]
) -> None:
    below.is_a_volume_group()
    below.pool.createXML.side_effect = error
    with pytest.raises(meaning) as caught:
        below.storage.create_volume(disk(sr, size=8 * MIB))
    if isinstance(caught.value, SrFull):
        assert (caught.value.requested, caught.value.maximum) == (8 * MIB, 60 * MIB)


def test_an_error_on_a_dead_connection_is_nothing_but_that(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()

    def die(*_: object) -> None:
        below.alive = False
        raise refusal(libvirt.VIR_ERR_SYSTEM_ERROR, "No space left on device")

    below.pool.createXML.side_effect = die
    with pytest.raises(HostOffline):
        below.storage.create_volume(disk(sr))


def test_a_pool_that_does_not_start_is_not_left_defined(below: Libvirt, sr: c.SR) -> None:
    below.handle.storagePoolLookupByUUIDString.side_effect = refusal(libvirt.VIR_ERR_NO_STORAGE_POOL)
    made = below.handle.storagePoolDefineXML.return_value
    made.create.side_effect = refusal(1, "Child process (mount) unexpected exit status 32", libvirt.VIR_FROM_NONE)
    with pytest.raises(SrBackendFailure):
        below.storage.create(sr, {"device": "/dev/sdb"})
    made.build.assert_called_once_with(libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE)
    made.undefine.assert_called_once_with()


def test_a_volume_group_that_is_there_is_taken_and_not_made(below: Libvirt, sr: c.SR) -> None:
    below.handle.storagePoolLookupByUUIDString.side_effect = refusal(libvirt.VIR_ERR_NO_STORAGE_POOL)
    below.storage.create(sr, {"name": "vg0"})
    made = below.handle.storagePoolDefineXML.return_value
    made.build.assert_not_called()
    made.create.assert_called_once_with()


def test_types_that_this_libvirt_lacks_are_not_offered(below: Libvirt) -> None:
    below.handle.getStoragePoolCapabilities.return_value = (
        "<storagepoolCapabilities><pool type='dir' supported='yes'/><pool type='netfs' supported='no'/>"
        "</storagepoolCapabilities>"
    )
    assert set(below.storage.supported_types()) == {"file", "ext", "iso", "dir"}


def test_a_pool_that_goes_away_meanwhile_is_left_out(below: Libvirt) -> None:
    below.is_a_volume_group()
    gone = below.mocker.create_autospec(libvirt.virStoragePool, instance=True)
    gone.XMLDesc.side_effect = refusal(libvirt.VIR_ERR_NO_STORAGE_POOL)
    below.handle.listAllStoragePools.return_value = [gone, below.pool]
    below.pool.UUIDString.return_value = "u"
    below.pool.name.return_value = "odd\nname"
    (seen,) = below.storage.pools()
    assert (seen.name, seen.type, seen.device_config) == ("oddname", "lvm", {"name": "vg"})
    assert (seen.capacity, seen.allocation) == (100 * MIB, 40 * MIB)


def test_a_scan_does_without_a_refresh_while_libvirt_makes_volumes(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    gone = below.volume("/dev/vg/gone")
    gone.XMLDesc.side_effect = refusal(libvirt.VIR_ERR_NO_STORAGE_VOL)
    below.pool.listAllVolumes.return_value = [gone, below.volume("/dev/vg/here", type="block")]
    below.pool.refresh.side_effect = refusal(1, "internal error: pool 'vg' has asynchronous jobs running.")
    assert [volume.location for volume in below.storage.scan(sr)] == ["/dev/vg/here"]
    below.pool.refresh.side_effect = refusal(libvirt.VIR_ERR_SYSTEM_ERROR, "broken")
    with pytest.raises(SrBackendFailure):
        below.storage.scan(sr)


# --- pools that are attached


@pytest.mark.parametrize(
    ("device_config", "redefined"),
    [({}, False), ({"name": "vg"}, False), ({"name": "other"}, True)],
)
def test_attach_redefines_a_pool_only_where_it_says_something_else(
    below: Libvirt, sr: c.SR, device_config: dict[str, str], redefined: bool
) -> None:
    below.is_a_volume_group()
    below.pool.isActive.return_value = 0
    below.pool.name.return_value = "vg"
    below.handle.storagePoolDefineXML.return_value = below.pool
    below.storage.attach(c.PBD(host=below.host, SR=sr, device_config=device_config))
    assert below.handle.storagePoolDefineXML.called is redefined
    below.pool.create.assert_called_once_with()


def test_attach_starts_an_adopted_pool_of_a_type_that_cannot_be_made(below: Libvirt) -> None:
    below.pool.isActive.return_value = 0
    below.pool.XMLDesc.return_value = "<pool type='sheepdog'><source><name>tank</name></source></pool>"
    below.storage.attach(c.PBD(host=below.host, SR=c.SR(type="sheepdog"), device_config={"tank": "yes"}))
    below.pool.create.assert_called_once_with()


def test_the_mount_point_of_an_export_is_made_before_it_is_mounted(below: Libvirt) -> None:
    below.pool.isActive.return_value = 0
    sr = c.SR(type="nfs")
    below.pool.XMLDesc.return_value = (
        "<pool type='netfs'><source><host name='filer'/><dir path='/srv'/></source>"
        f"<target><path>/run/sr-mount/{sr.uuid}</path></target></pool>"
    )
    below.storage.attach(c.PBD(host=below.host, SR=sr, device_config={"server": "filer", "serverpath": "/srv"}))
    assert [call[0] for call in below.pool.method_calls if call[0] in ("build", "create")] == ["build", "create"]
    below.handle.storagePoolDefineXML.assert_not_called()


def test_a_stopped_volume_group_is_looked_into_before_it_is_destroyed(below: Libvirt, sr: c.SR) -> None:
    below.pool.isActive.return_value = 0
    below.pool.numOfVolumes.return_value = 1
    with pytest.raises(SrNotEmpty):
        below.storage.destroy(sr)
    below.pool.create.assert_called_once_with()
    below.pool.destroy.assert_called_once_with()
    below.pool.delete.assert_not_called()


@pytest.mark.parametrize("active", [0, 1])
@pytest.mark.parametrize(
    ("volumes", "meaning"), [({"return_value": ["thinpool"]}, SrNotEmpty), ({"side_effect": NO_LVM}, SrBackendFailure)]
)
def test_a_volume_group_goes_only_where_lvm2_says_that_it_is_empty(
    below: Libvirt, sr: c.SR, active: int, volumes: dict[str, Any], meaning: type[XenError]
) -> None:
    """libvirt lists no thin pool, nor a volume that is not active."""
    below.is_a_volume_group()
    below.pool.isActive.return_value = active
    below.pool.numOfVolumes.return_value = 0
    below.lvm.volumes.configure_mock(**volumes)
    with pytest.raises(meaning):
        below.storage.destroy(sr)
    assert below.pool.destroy.called is not active
    below.pool.delete.assert_not_called()
    below.lvm.volumes.configure_mock(return_value=[], side_effect=None)
    below.storage.destroy(sr)
    below.pool.delete.assert_called_once_with()


# --- volume groups


def test_a_logical_volume_has_the_uuid_for_its_name_and_all_its_room(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    vdi = disk(sr, size=8 * MIB)
    below.pool.createXML.return_value = below.volume(f"/dev/vg/{vdi.uuid}", size=8 * MIB, type="block")
    seen = below.storage.create_volume(vdi)
    (definition,) = below.pool.createXML.call_args.args
    assert definition == f'<volume><name>{vdi.uuid}</name><capacity unit="bytes">{8 * MIB}</capacity></volume>'
    assert (seen.location, seen.capacity, seen.format) == (f"/dev/vg/{vdi.uuid}", 8 * MIB, "raw")


def test_a_logical_volume_larger_than_what_is_free_is_refused(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    with pytest.raises(SrFull) as caught:
        below.storage.create_volume(disk(sr, size=61 * MIB))
    assert (caught.value.requested, caught.value.maximum) == (61 * MIB, 60 * MIB)
    below.pool.createXML.assert_not_called()


def test_a_logical_volume_has_no_format(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    with pytest.raises(ValueNotSupported):
        below.storage.create_volume(disk(sr, sm_config={"type": "qcow2"}))


NO_GROWTH = refusal(libvirt.VIR_ERR_NO_SUPPORT, "storage pool does not support changing of volume capacity")


@pytest.mark.parametrize(("larger", "grown"), [(8 * MIB, True), (4 * MIB, False)])
def test_a_logical_volume_grows_by_lvm2_where_it_is_not_so_large(
    below: Libvirt, sr: c.SR, larger: int, grown: bool
) -> None:
    """Volumes have whole extents: more than their disks, maybe."""
    below.is_a_volume_group()
    below.volume("/dev/vg/x", type="block")
    below.lvm.look.side_effect = [Volume("", "", 4 * MIB), Volume("", "", 8 * MIB)]
    below.storage.resize_volume(disk(sr, "/dev/vg/x", 3 * MIB), larger)
    assert [asked.args for asked in below.lvm.grow.mock_calls] == ([("vg", "x", larger)] if grown else [])


def test_a_logical_volume_grows_into_what_is_free(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    below.volume("/dev/vg/x", type="block")
    below.lvm.look.side_effect = [Volume("", "", 20 * MIB), Volume("", "", 80 * MIB)]
    with pytest.raises(SrFull) as caught:
        below.storage.resize_volume(disk(sr, "/dev/vg/x", 20 * MIB), 81 * MIB)
    assert (caught.value.requested, caught.value.maximum) == (61 * MIB, 60 * MIB)
    below.storage.resize_volume(disk(sr, "/dev/vg/x", 20 * MIB), 80 * MIB)


def test_a_logical_volume_that_has_not_grown_is_told(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    below.volume("/dev/vg/x", type="block")
    with pytest.raises(SrBackendFailure):
        below.storage.resize_volume(disk(sr, "/dev/vg/x"), 8 * MIB)
    below.lvm.grow.assert_called_once_with("vg", "x", 8 * MIB)


def test_a_snapshot_in_a_volume_group_does_not_grow(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    below.volume("/dev/vg/x", type="block")
    below.lvm.look.return_value = Volume("y", "", 4 * MIB)
    with pytest.raises(ValueNotSupported):
        below.storage.resize_volume(disk(sr, "/dev/vg/x"), 8 * MIB)
    below.lvm.grow.assert_not_called()


@pytest.mark.parametrize(
    ("error", "meaning"),
    [(OSError(28, "insufficient free space"), SrFull), (OSError(5, "only while inactive"), SrBackendFailure)],
)
def test_what_lvm2_refuses_is_told(below: Libvirt, sr: c.SR, error: OSError, meaning: type[XenError]) -> None:
    below.is_a_volume_group()
    below.volume("/dev/vg/x", type="block")
    below.lvm.grow.side_effect = below.lvm.snapshot.side_effect = error
    with pytest.raises(meaning):
        below.storage.resize_volume(disk(sr, "/dev/vg/x"), 8 * MIB)
    target = disk(sr)
    with pytest.raises(meaning):
        below.storage.clone_volume(disk(sr, "/dev/vg/x"), target)
    assert below.journal.under_way(target.uuid) is None


def test_where_there_is_no_lvm2_a_logical_volume_cannot_grow(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    below.lvm.installed = False
    volume = below.volume("/dev/vg/x", type="block")
    volume.resize.side_effect = NO_GROWTH
    with pytest.raises(ValueNotSupported):
        below.storage.resize_volume(disk(sr, "/dev/vg/x"), 8 * MIB)
    assert below.storage.clone_volume(disk(sr, "/dev/vg/x"), disk(sr)) is None


BACKING = "<backingStore><path>/dev/vg/x</path></backingStore>"


@pytest.mark.parametrize(
    ("kind", "thin"),
    [(Volume("", "", 4 * MIB), False), (Volume("", "pool", 4 * MIB), True), (Volume("y", "p", 4 * MIB), True)],
)
def test_a_logical_volume_is_cloned_at_once(below: Libvirt, sr: c.SR, kind: Volume, thin: bool) -> None:
    below.is_a_volume_group()
    target = disk(sr)
    below.lvm.look.return_value = kind
    volumes = {
        "x": below.volume("/dev/vg/x", type="block"),
        target.uuid: below.volume(f"/dev/vg/{target.uuid}", type="block", more=BACKING),
    }
    below.pool.storageVolLookupByName.side_effect = lambda name: volumes[name]
    seen = below.storage.clone_volume(disk(sr, "/dev/vg/x"), target)
    assert seen is not None
    assert (seen.location, seen.parent) == (f"/dev/vg/{target.uuid}", "/dev/vg/x")
    below.lvm.snapshot.assert_called_once_with("vg", "x", target.uuid, thin=thin)
    operation = below.journal.under_way(target.uuid)
    assert operation is not None
    assert operation.undo == [("remove", target.uuid)]


def test_a_volume_group_tells_which_volumes_rest_on_others(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    snapshot = below.volume("/dev/vg/s", type="block", more=BACKING)
    below.pool.listAllVolumes.return_value = [below.volume("/dev/vg/x", type="block"), snapshot]
    seen = [(volume.name, volume.parent, volume.whole) for volume in below.storage.scan(sr)]
    assert seen == [("x", "", True), ("s", "/dev/vg/x", False)]


def test_a_snapshot_of_a_snapshot_is_left_to_a_copy(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    below.lvm.look.return_value = Volume("y", "", 4 * MIB)
    below.volume("/dev/vg/x", type="block")
    assert below.storage.clone_volume(disk(sr, "/dev/vg/x"), disk(sr)) is None
    below.lvm.snapshot.assert_not_called()
    assert below.storage.split_volume(disk(sr, "/dev/vg/x"), disk(sr)) is None
    assert below.storage.merge_volume(disk(sr, "/dev/vg/x"), disk(sr, "/dev/vg/y"), None, ignore) is None


def test_a_logical_volume_that_has_snapshots_is_not_removed_with_them(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    volume = below.volume("/dev/vg/x", type="block")
    snapshot = below.volume("/dev/vg/s", type="block", more=BACKING)

    def refresh() -> None:
        """Somebody made it by lvm2, which libvirt has not heard of until it looks."""
        below.pool.listAllVolumes.return_value = [volume, snapshot]

    below.pool.refresh.side_effect = refresh
    for call in (below.storage.doom_volume, below.storage.destroy_volume):
        below.pool.listAllVolumes.return_value = [volume]
        with pytest.raises(VdiInUse):
            call(disk(sr, "/dev/vg/x"))
    doomed = disk(sr, "/dev/vg/x")
    below.journal.begin(Operation(doomed.uuid, sr.uuid, makes=False, finish=[("remove", "x")]))
    below.storage.settle(doomed)
    volume.delete.assert_not_called()
    below.pool.refresh.side_effect = None
    below.pool.listAllVolumes.return_value = [volume]
    below.storage.destroy_volume(doomed)
    volume.delete.assert_called_once_with()


@pytest.mark.parametrize("gone", [False, True])
def test_a_volume_that_a_crash_left_is_removed(below: Libvirt, sr: c.SR, tmp_path: Path, gone: bool) -> None:
    below.is_a_volume_group()
    vdi = disk(sr, size=8 * MIB)
    journal = DiskJournal(tmp_path)
    connection = Mock(handle=below.handle, long=below.handle, suspect=lambda: not below.alive)
    below.pool.createXML.return_value = below.volume(f"/dev/vg/{vdi.uuid}", size=8 * MIB, type="block")
    LibvirtStorage(connection, journal, lvm=below.lvm).create_volume(vdi)
    restarted = LibvirtStorage(connection, DiskJournal(tmp_path), lvm=below.lvm)
    if gone:
        del below.volumes[vdi.uuid]
    restarted.decide(lambda uuid: False)
    restarted.recover(sr)
    below.pool.storageVolLookupByName.assert_called_with(vdi.uuid)
    assert below.volumes == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_crash_left_is_judged_by_what_the_store_had_at_the_start(
    below: Libvirt, sr: c.SR, tmp_path: Path, kept: bool
) -> None:
    """The disk, or all of its storage, may be forgotten before the storage is there again, and the agent end anew."""
    folder, journal = tmp_path / "folder", tmp_path / "journal"
    folder.mkdir()
    below.is_a_folder(folder)
    made, doomed, spared = disk(sr), disk(sr), disk(sr)
    connection = Mock(handle=below.handle, long=below.handle, suspect=lambda: not below.alive)
    storage = LibvirtStorage(connection, DiskJournal(journal))
    for vdi in (made, doomed, spared):
        vdi.location = storage.create_volume(vdi).location
    storage.settle(doomed, spared)
    storage.doom_volume(doomed)
    storage.doom_volume(spared)
    LibvirtStorage(connection, DiskJournal(journal)).decide({made.uuid, spared.uuid}.__contains__)
    assert [path.stem for path in journal.glob("*")] == [doomed.uuid]
    again = LibvirtStorage(connection, DiskJournal(journal))
    again.decide(lambda uuid: kept)
    again.recover(sr)
    assert {path.stem for path in folder.iterdir()} == {made.uuid, spared.uuid}
    assert list(journal.glob("*")) == []


def test_the_usage_of_a_volume_group_is_what_libvirt_says(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    assert below.storage.usage(sr) == (100 * MIB, 40 * MIB)


# --- copies to and from devices


class Devices:
    """Volumes of a group, whose devices are files here."""

    def __init__(self, below: Libvirt, folder: Path, mocker: MockerFixture) -> None:
        below.is_a_volume_group()
        self.below, self.folder = below, folder
        below.pool.createXML.side_effect = self._make
        below.lvm.rename.side_effect = self.rename
        self.answer_lost = False
        self.dies = False
        """Whether libvirt is gone after an answer that was lost."""
        for place in (module, devices_module):
            mocker.patch.object(place, "device", self._opened)
        self._add("source", CONTENT)

    def _add(self, name: str, content: bytes) -> Mock:
        (self.folder / name).write_bytes(content)
        return self.below.volume(f"/dev/vg/{name}", type="block")

    def _make(self, definition: str) -> Mock:
        # What a volume group gives has what was there before in it.
        made = self._add(etree.fromstring(definition).findtext("name", ""), b"\xaa" * 4 * MIB)
        if self.answer_lost:
            self.below.gone = self.dies
            raise refusal(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed", libvirt.VIR_FROM_RPC)
        return made

    def rename(self, group: str, name: str, new: str) -> None:
        """As lvm2 does."""
        if name not in self.below.volumes or new in self.below.volumes:
            raise OSError(errno.EIO, f"{name} cannot be called {new}")
        del self.below.volumes[name]
        self._add(new, (self.folder / name).read_bytes())

    def content(self) -> dict[str, bytes]:
        """What there is, by name."""
        return {name: (self.folder / name).read_bytes() for name in self.below.volumes}

    @contextmanager
    def _opened(self, path: str, *, write: bool = False) -> Iterator[int]:
        with (self.folder / Path(path).name).open("r+b" if write else "rb") as file:
            yield file.fileno()


CONTENT = b"content" + bytes(3 * MIB) + b"more" + bytes(MIB - 11)


@pytest.fixture
def devices(below: Libvirt, tmp_path: Path, mocker: MockerFixture) -> Devices:
    return Devices(below, tmp_path, mocker)


def test_a_copy_of_a_device_is_all_of_it_and_nothing_that_was_there_before(devices: Devices, sr: c.SR) -> None:
    parts: list[float] = []
    target = disk(sr)
    copied = devices.below.storage.copy_volume(disk(sr, "/dev/vg/source"), target, parts.append)
    assert copied.location == f"/dev/vg/{target.uuid}"
    assert devices.content() == {"source": CONTENT, target.uuid: CONTENT}
    assert (parts[0], parts[-1]) == (0.0, 1.0)
    assert parts == sorted(parts)


def test_an_unwanted_copy_to_a_device_is_removed_at_once(devices: Devices, sr: c.SR) -> None:
    def progress(part: float) -> None:
        if part > 0:
            raise KeyError("unwanted")

    with pytest.raises(KeyError):
        devices.below.storage.copy_volume(disk(sr, "/dev/vg/source"), disk(sr), progress)
    assert devices.content() == {"source": CONTENT}


def test_a_copy_that_libvirt_makes_no_room_for_removes_nothing(devices: Devices, sr: c.SR) -> None:
    devices.below.pool.createXML.side_effect = refusal(libvirt.VIR_ERR_SYSTEM_ERROR, "No space left on device")
    with pytest.raises(SrFull):
        devices.below.storage.copy_volume(disk(sr, "/dev/vg/source"), disk(sr), ignore)
    assert devices.content() == {"source": CONTENT}


def test_what_libvirt_calls_a_device_and_is_none_is_not_read(below: Libvirt, sr: c.SR, tmp_path: Path) -> None:
    below.is_a_volume_group()
    (tmp_path / "secret").write_bytes(b"secret")
    location = str(tmp_path / "secret")
    below.volume(location, type="block")
    with pytest.raises(VdiMissing):
        below.storage.copy_volume(disk(sr, location), disk(sr), ignore)
    below.pool.createXML.assert_not_called()


@pytest.mark.parametrize("to", ["device", "folder"])
@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_disks_go_from_folders_to_devices_and_back(
    below: Libvirt, devices: Devices, sr: c.SR, tmp_path: Path, to: str, format: str
) -> None:
    folder, group = tmp_path / "folder", below.pool.XMLDesc.return_value
    folder.mkdir()
    below.is_a_folder(folder)
    files = c.SR(type="file", sm_config={"type": format})
    there = below.storage.create_volume(vdi := disk(files))
    vdi.location = there.location
    pools = {files.uuid: below.pool.XMLDesc.return_value, sr.uuid: group}

    def look_up(uuid: str) -> Mock:
        below.pool.XMLDesc.return_value = pools[uuid]
        return below.pool

    below.handle.storagePoolLookupByUUIDString.side_effect = look_up
    if to == "device":
        below.storage.copy_volume(vdi, target := disk(sr), ignore)
        assert devices.content()[target.uuid] == bytes(4 * MIB)
    else:
        made = below.storage.copy_volume(disk(sr, "/dev/vg/source"), disk(files), ignore)
        assert (made.format, made.capacity, Path(made.location).parent) == (format, 4 * MIB, folder)
        if format == "raw":
            assert Path(made.location).read_bytes() == CONTENT


# --- what fails in the middle


@pytest.mark.parametrize("verb", ["create_volume", "copy_volume", "clone_volume", "write_volume"])
def test_a_volume_that_was_made_goes_again_where_the_answer_was_lost(devices: Devices, sr: c.SR, verb: str) -> None:
    below, target = devices.below, disk(sr)
    devices.answer_lost = True

    def snapshot(group: str, origin: str, name: str, *, thin: bool) -> None:
        below.volume(f"/dev/vg/{name}", type="block")
        raise OSError(errno.ETIMEDOUT, "lvcreate does not end")

    below.lvm.snapshot.side_effect = snapshot
    params = {"copy_volume": [disk(sr, "/dev/vg/source"), target, ignore]}
    params["clone_volume"] = params["copy_volume"][:2]
    with pytest.raises(SrBackendFailure if verb == "clone_volume" else HostOffline):
        getattr(below.storage, verb)(*params.get(verb, [target]))
    assert devices.content() == {"source": CONTENT}
    assert below.journal.under_way(target.uuid) is None


@pytest.mark.parametrize("whole", [True, False])
def test_an_upload_to_a_device_outlives_libvirt(devices: Devices, sr: c.SR, whole: bool) -> None:
    vdi = disk(sr, "/dev/vg/source")
    writer = devices.below.storage.write_volume(vdi)
    writer.write(0, b"after")
    if not whole:
        writer.spool(b"an image")
    devices.below.restart()
    if whole:
        writer.finish(ignore)
        assert writer.commit().location == vdi.location
    writer.close()
    assert devices.content() == {"source": b"after" + bytes(4 * MIB - 5) if whole else CONTENT}
    assert devices.below.journal.under_way(vdi.uuid) is None


@pytest.mark.parametrize("again", [True, False], ids=["upload", "scan"])
def test_what_an_upload_could_not_remove_the_next_one_or_a_scan_does(devices: Devices, sr: c.SR, again: bool) -> None:
    vdi = disk(sr, "/dev/vg/source")
    writer = devices.below.storage.write_volume(vdi)
    devices.below.gone = True
    writer.close()
    devices.below.gone = False
    assert devices.content().keys() == {"source", f"{vdi.uuid}.new"}
    if again:
        devices.below.storage.write_volume(vdi).close()
    else:
        devices.below.storage.recover(sr)
    assert devices.content() == {"source": CONTENT}
    assert devices.below.journal.left(sr.uuid) == []


def test_a_volume_that_could_not_be_removed_goes_before_anybody_adopts_it(
    devices: Devices, sr: c.SR, tmp_path: Path
) -> None:
    """The next start would remove it: by then it might be somebody's."""
    below, vdi = devices.below, disk(sr)
    below.storage.journal = DiskJournal(tmp_path / "journal")
    devices.answer_lost = devices.dies = True
    with pytest.raises(HostOffline):
        below.storage.create_volume(vdi)
    assert devices.content().keys() == {"source", vdi.uuid}
    below.gone = False
    below.storage.recover(sr)
    assert devices.content() == {"source": CONTENT}
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize("failing", [{1}, {2}, {2, 3}, {2, 3, 4}])
def test_a_disk_that_gets_no_new_volume_has_its_old_one(devices: Devices, sr: c.SR, failing: set[int]) -> None:
    """lvm2 refuses to rename, and to take that back."""
    below, vdi = devices.below, disk(sr, "/dev/vg/source")

    def rename(group: str, name: str, new: str) -> None:
        if below.lvm.rename.call_count in failing:
            raise OSError(errno.EIO, "Volume group vg metadata archive failed.")
        devices.rename(group, name, new)

    below.lvm.rename.side_effect = rename
    writer = below.storage.write_volume(vdi)
    writer.finish(ignore)
    with pytest.raises(SrBackendFailure):
        writer.commit()
    writer.close()
    if 4 in failing:
        assert devices.content() == {f"{vdi.uuid}.old": CONTENT}
        assert len(below.journal.left(sr.uuid)) == 1
        below.storage.write_volume(vdi).close()
    assert devices.content() == {"source": CONTENT}
    assert below.journal.under_way(vdi.uuid) is None


# --- libvirt lies


def test_what_libvirt_takes_a_raw_disk_for_makes_no_difference(below: Libvirt, tmp_path: Path) -> None:
    below.is_a_folder(tmp_path)
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(16) + (2**40).to_bytes(8, "big") + bytes(80)
    (tmp_path / "a.raw").write_bytes(header + bytes(4 * MIB - len(header)))
    sr = c.SR(type="file", sm_config={"type": "qcow2"})
    below.volume(str(tmp_path / "a.raw"), format="qcow2")
    copied = below.storage.copy_volume(disk(sr, str(tmp_path / "a.raw")), target := disk(sr), ignore)
    target.location = copied.location
    back = below.storage.copy_volume(target, disk(c.SR(type="file")), ignore)
    assert (copied.format, copied.capacity) == ("qcow2", 4 * MIB)
    assert Path(back.location).read_bytes() == (tmp_path / "a.raw").read_bytes()


def test_a_volume_that_is_elsewhere_than_its_disk_is_not_it(below: Libvirt, sr: c.SR) -> None:
    below.is_a_volume_group()
    volume = below.volume("/dev/other/x", type="block")
    below.storage.destroy_volume(disk(sr, "/dev/vg/x"))
    volume.delete.assert_not_called()
    with pytest.raises(VdiMissing):
        below.storage.copy_volume(disk(sr, "/dev/vg/x"), disk(sr), ignore)


def test_a_volume_that_claims_to_be_outside_its_folder_is_not_seen(below: Libvirt, tmp_path: Path) -> None:
    below.is_a_folder(tmp_path)
    below.pool.listAllVolumes.return_value = [below.volume("/etc/shadow"), below.volume(str(tmp_path / "a" / "b"))]
    assert below.storage.scan(c.SR(type="file")) == []

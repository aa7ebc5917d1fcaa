"""Disks as volumes of real libvirt storage pools: files of a folder or an NFS export, logical volumes, CD images.

What is done to the files of a folder is in ``disks``. Devices (logical volumes, partitions) are raw; libvirt makes and
deletes them, and qemu-img copies them. Pools themselves are in ``pools``.

Over the usual size: one class for one port.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import libvirt
from lxml import etree

from agent.classes import SR, VDI
from agent.errors import OperationNotAllowed, SrFull, SrNotEmpty, ValueNotSupported, VdiInUse, VdiMissing, XenError
from agent.ports import SeenVolume, VolumeReader, VolumeWriter
from drivers import images
from drivers.connection import Connection
from drivers.devices import DeviceImage, device, zero
from drivers.disk_journal import DiskJournal, Operation, Step
from drivers.disks import FolderDisks, asked_format, format_for, room
from drivers.lvm import Lvm
from drivers.pool_xml import FOLDER_POOLS
from drivers.pools import file_call
from drivers.qemu_img import Layer, QemuImg
from drivers.sparse import Folder, Image
from drivers.text import cleaned

log = logging.getLogger(__name__)
_PASSING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(new|old|spool)", re.ASCII)
"""Volumes of devices that are there for a while: what is to replace a disk, and what was replaced."""


@dataclass(frozen=True)
class Place:
    """A running pool, and the folder its volumes are files of; None for one of devices."""

    pool: libvirt.virStoragePool
    folder: Path | None
    group: str = ""
    """The volume group, for a pool that is one."""

    @property
    def volumes(self) -> Volumes:
        """Its volumes."""
        return Volumes(lambda: self.pool)


class LibvirtStorage(FolderDisks):
    """The port Storage over any libvirt connection whose pools are real."""

    def __init__(
        self,
        connection: Connection,
        journal: DiskJournal,
        qemu_img: QemuImg | None = None,
        lvm: Lvm | None = None,
    ) -> None:
        super().__init__(connection, journal, qemu_img)
        self.lvm = lvm or Lvm()

    def _require_empty(self, sr: SR, pool: libvirt.virStoragePool) -> None:
        super()._require_empty(sr, pool)
        # libvirt (9.0.0) lists neither volumes that are not active nor thin pools, and removes them with the group.
        if group := _group(etree.fromstring(pool.XMLDesc())):
            with file_call(sr):
                if self.lvm.volumes(group):
                    raise SrNotEmpty()

    def usage(self, sr: SR) -> tuple[int, int]:
        """Size and used bytes. SR_HAS_NO_PBDS for a pool that does not run."""
        with self._call(sr):
            place = self._place(sr)
            if place.folder is None:
                capacity, allocation = place.pool.info()[1:3]
                return capacity, allocation
        # libvirt looks at a file system when it refreshes the pool; images grow in between, as guests write.
        with file_call(sr), Folder(place.folder) as folder:
            size, free = folder.space()
            return size, size - free

    def scan(self, sr: SR) -> Sequence[SeenVolume]:
        """The volumes there are."""
        with self._call(sr):
            place = self._place(sr)
            _refresh(place.pool)
            if place.folder is None:
                described = (_described(volume) for volume in place.pool.listAllVolumes())
                seen = [_seen(volume) for volume in described if volume is not None]
                return [volume for volume in seen if not _PASSING.fullmatch(volume.name)]
        return self.scan_folder(sr)

    def create_volume(self, vdi: VDI) -> SeenVolume:
        """Make a volume of ``vdi.virtual_size`` in ``vdi.SR``. SR_FULL if it does not fit."""
        size = vdi.virtual_size
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
        if place.folder is not None:
            return super().create_volume(vdi)
        with self._call(vdi.SR, vdi):
            _require_raw(vdi)
            free = _free(place, size)
        if _is_wiped(vdi):
            with closing(self.write_volume(vdi)) as empty:
                empty.finish(_ignore)
                return empty.commit()
        with self._call(vdi.SR, vdi, size, free), self._device_noted(vdi, "create"):
            volume = place.pool.createXML(_volume_xml(vdi.uuid, size))
            self.journal.reached("create: named")
            return _seen(etree.fromstring(volume.XMLDesc()))

    @contextmanager
    def _device_noted(self, vdi: VDI, step: str) -> Iterator[None]:
        """Note that a volume of devices is made for the disk, which goes again unless the store comes to know it."""
        self.journal.begin(Operation(vdi.uuid, vdi.SR.uuid, makes=True, undo=[("remove", vdi.uuid)]))
        with self._or_undone(vdi):
            self.journal.reached(f"{step}: noted")
            yield

    @contextmanager
    def _or_undone(self, vdi: VDI) -> Iterator[None]:
        """Should the body fail, undo what was noted for the disk: it may be done, and only the answer be lost."""
        try:
            yield
        except BaseException:
            with suppress(XenError):  # the first error is the one to tell; the next scan tries again
                self.undo(vdi)
            raise

    def doom_volume(self, vdi: VDI) -> None:
        """Note that the disk is to be destroyed: a start after a crash finishes it."""
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
        if place.folder is not None:
            super().doom_volume(vdi)
            return
        with suppress(VdiMissing), self._call(vdi.SR, vdi):
            name = self._volume(place, vdi).name()
            _require_no_snapshots(place, vdi)
            self.journal.begin(Operation(vdi.uuid, vdi.SR.uuid, makes=False, finish=[("remove", name)]))

    def destroy_volume(self, vdi: VDI) -> None:
        """Delete it. One that is gone is no error."""
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
        if place.folder is not None:
            super().destroy_volume(vdi)
            return
        with suppress(VdiMissing), self._call(vdi.SR, vdi):
            volume = self._volume(place, vdi)
            _require_no_snapshots(place, vdi)
            volume.delete()
        self.journal.end(vdi.uuid)

    def read_volume(self, vdi: VDI, progress: Callable[[float], None]) -> VolumeReader:
        """Open the volume for reading."""
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
            if place.folder is None:
                path = self._volume(place, vdi).path()
        if place.folder is not None:
            return super().read_volume(vdi, progress)
        guard = partial(file_call, vdi.SR, vdi)
        with guard(), device(path) as descriptor:
            return images.open_device(descriptor, guard)

    def write_volume(self, vdi: VDI) -> VolumeWriter:
        """Begin what is to take the place of a volume, or become it.

        VALUE_NOT_SUPPORTED where volumes are devices that nothing can give other names.
        """
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
        if place.folder is not None:
            return super().write_volume(vdi)
        if not place.group or not self.lvm.installed:
            raise ValueNotSupported("SR", vdi.SR.ref, "on this storage the content of a disk cannot be replaced")
        name, new, old = PurePosixPath(vdi.location).name, f"{vdi.uuid}.new", f"{vdi.uuid}.old"
        undo: list[Step] = [("remove", new), ("remove", f"{vdi.uuid}.spool")]
        if name:
            undo += [("move", old, name), ("remove", old, name)]
        self._take(vdi.SR, undo)  # what an earlier attempt has left
        with self._call(vdi.SR, vdi):
            _require_raw(vdi)
            if name:
                self._volume(place, vdi)
            else:
                undo.append(("remove", vdi.uuid))
            free = _free(place, vdi.virtual_size)
        self.journal.begin(Operation(vdi.uuid, vdi.SR.uuid, makes=not name, undo=undo))

        @contextmanager
        def guard() -> Iterator[None]:
            with self._call(vdi.SR, vdi, vdi.virtual_size, free), file_call(vdi.SR, vdi, vdi.virtual_size, free):
                yield

        def put() -> SeenVolume:
            place = self._place(vdi.SR)
            if name:
                self._exchange(place, vdi, name, new, old)
            else:
                self.lvm.rename(place.group, new, vdi.uuid)
            _refresh(place.pool)
            return _seen(etree.fromstring(place.pool.storageVolLookupByName(name or vdi.uuid).XMLDesc()))

        with self._or_undone(vdi):
            volumes = Volumes(partial(self._running, vdi.SR))
            return DeviceImage(volumes, vdi.uuid, vdi.virtual_size, self.qemu_img, guard, put, partial(self.undo, vdi))

    def _exchange(self, place: Place, vdi: VDI, name: str, new: str, old: str) -> None:
        """Let one volume have the name of another, which goes."""
        _require_no_snapshots(place, vdi)
        self.lvm.rename(place.group, name, old)
        try:
            self.lvm.rename(place.group, new, name)
        except OSError:
            self.lvm.rename(place.group, old, name)
            raise
        try:
            _refresh(place.pool)  # what lvm2 named anew, libvirt knows after that
            place.volumes.remove(old)
        except libvirt.libvirtError as error:  # it is done all the same; the next scan tries again
            log.warning("what %r was before cannot be removed: %s", vdi, error)
            self.journal.put_off(vdi.uuid)
        else:
            self.journal.end(vdi.uuid)

    def resize_volume(self, vdi: VDI, size: int) -> None:
        """Grow it to `size`. VALUE_NOT_SUPPORTED for less than it has, and where the storage cannot grow a volume."""
        if size < vdi.virtual_size:
            raise ValueNotSupported("virtual_size", size, "a disk only grows")
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
        if place.folder is not None:
            super().resize_volume(vdi, size)
            return
        wiped = _is_wiped(vdi)
        with self._call(vdi.SR, vdi):
            free = _free(place, size - vdi.virtual_size)
        with self._call(vdi.SR, vdi, size, free), file_call(vdi.SR, vdi, size, free):
            volume = self._volume(place, vdi)
            # libvirt 9.0.0, logical pools: "storage pool does not support changing of volume capacity".
            if place.group and self.lvm.installed:
                self._grow(place.group, volume.name(), size)
                _refresh(place.pool)
            else:
                try:
                    volume.resize(size)
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                        raise
                    raise ValueNotSupported("virtual_size", size, "this storage cannot grow a disk") from error
        if wiped:
            with file_call(vdi.SR, vdi, size, free), device(vdi.location, write=True) as descriptor:
                zero(descriptor, vdi.virtual_size, os.lseek(descriptor, 0, os.SEEK_END))
                os.fsync(descriptor)

    def _grow(self, group: str, name: str, size: int) -> None:
        """Make a logical volume at least so large. VALUE_NOT_SUPPORTED for a snapshot of an ordinary one, of which
        lvextend would only enlarge the room for what changes.
        """
        volume = self.lvm.look(group, name)
        if volume.origin and not volume.thin_pool:
            raise ValueNotSupported(
                "virtual_size", size, "a snapshot in a volume group does not grow; a copy of it does"
            )
        if volume.size < size:
            self.lvm.grow(group, name, size)
            if self.lvm.look(group, name).size < size:
                raise OSError(errno.EIO, "lvextend has not made the volume larger")

    def copy_volume(self, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
        """Make the volume of `target`, in ``target.SR``, with the content of `source`.

        `progress` is called with the part done, 0 to 1; what it raises ends the copy, and nothing of it stays.
        """
        if target.virtual_size < source.virtual_size:
            raise ValueNotSupported("virtual_size", target.virtual_size, "the copy would be smaller than the disk")
        with self._call(source.SR, source):
            origin = self._place(source.SR)
        with self._call(target.SR, target):
            place = self._place(target.SR)
        if origin.folder is not None and place.folder is not None:
            return super().copy_volume(source, target, progress)
        size = target.virtual_size
        with ExitStack() as opened:
            chain = self._open_layers(source, origin, opened)
            if place.folder is None:
                with self._call(target.SR, target):
                    _require_raw(target)
                    free = _free(place, size)
                with self._call(target.SR, target, size, free), file_call(target.SR, target, size, free):
                    return self._fill_device(chain, source.virtual_size, place, target, progress)
            folder = opened.enter_context(self.folder(target.SR))
            free = room(folder, target.SR, size)
            with file_call(target.SR, target, size, free):
                format = format_for(target)

                def make(name: str) -> None:
                    self.write_image(chain, folder, name, format, size, progress)

                return self._copied(source, target, folder, format, make)

    def _open_layers(self, source: VDI, origin: Place, opened: ExitStack) -> list[Layer]:
        """The open images of a disk, itself first."""
        if origin.folder is not None:
            folder = opened.enter_context(self.folder(source.SR))
            with file_call(source.SR, source):
                return self._layers(folder, source, opened)
        with self._call(source.SR, source):
            path = self._volume(origin, source).path()
        with file_call(source.SR, source):
            return [Layer(opened.enter_context(device(path)), "raw")]

    def _fill_device(
        self, chain: Sequence[Layer], shown: int, place: Place, target: VDI, progress: Callable[[float], None]
    ) -> SeenVolume:
        progress(0.0)
        with self._device_noted(target, "copy"):
            volume = place.pool.createXML(_volume_xml(target.uuid, target.virtual_size))
            try:
                with device(volume.path(), write=True) as descriptor:
                    self.journal.reached("copy: begun")
                    self.qemu_img.convert(chain, Layer(descriptor, "raw"), progress, zeroed=False, shared=True)
                    zero(descriptor, shown, os.lseek(descriptor, 0, os.SEEK_END))
                    os.fsync(descriptor)
                    self.journal.reached("copy: written")
                progress(1.0)
            except BaseException:
                with suppress(libvirt.libvirtError):
                    volume.delete()
                raise
            self.journal.reached("copy: named")
            return _seen(etree.fromstring(volume.XMLDesc()))

    def clone_volume(self, source: VDI, target: VDI) -> SeenVolume | None:
        """Make the volume of `target` one with the content of `source`, at once; None where this storage cannot.

        In a volume group that is a snapshot by lvm2, since libvirt's (9.0.0) asks lvcreate for one without its size.
        """
        with self._call(source.SR, source):
            place = self._place(source.SR)
        if place.folder is not None:
            return super().clone_volume(source, target)
        if not place.group or not self.lvm.installed:
            return None
        with self._call(source.SR, source):
            origin = self._volume(place, source).name()
            free = int(place.pool.info()[3])
        with self._call(target.SR, target, target.virtual_size, free), file_call(target.SR, target, 0, free):
            kind = self.lvm.look(place.group, origin)
            if kind.origin and not kind.thin_pool:
                return None  # it is a snapshot itself
            _require_raw(target)
            with self._device_noted(target, "create"):
                self.lvm.snapshot(place.group, origin, target.uuid, thin=bool(kind.thin_pool))
                self.journal.reached("create: named")
            _refresh(place.pool)
            return _seen(etree.fromstring(place.pool.storageVolLookupByName(target.uuid).XMLDesc()))

    def split_volume(self, vdi: VDI, base: VDI) -> SeenVolume | None:
        """Lay a new volume for `vdi` over its old one, which becomes that of `base`; None where that cannot be."""
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
        return super().split_volume(vdi, base) if place.folder is not None else None

    def merge_volume(
        self, base: VDI, vdi: VDI, most: int | None, progress: Callable[[float], None]
    ) -> SeenVolume | None:
        """Merge two volumes of a folder; None for devices, which are not laid over each other by us."""
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
        return super().merge_volume(base, vdi, most, progress) if place.folder is not None else None

    def _take(self, sr: SR, steps: Sequence[Step]) -> None:
        if not steps:
            return
        with self._call(sr):
            place = self._place(sr)
        if place.folder is not None:
            super()._take(sr, steps)
            return
        volumes = place.volumes
        with self._call(sr), file_call(sr):
            _refresh(place.pool)
            for verb, name, *more in steps:
                if verb == "remove" and all(map(volumes.has, more)) and not volumes.snapshots(name):
                    volumes.remove(name)
                elif verb == "move" and volumes.has(name) and not volumes.has(more[0]):
                    self.lvm.rename(place.group, name, more[0])
                    _refresh(place.pool)

    def _folder_path(self, sr: SR) -> Path:
        with self._call(sr):
            folder = self._place(sr).folder
        if folder is None:
            raise OperationNotAllowed("this storage keeps its disks as devices")
        return folder

    def _foreign_size(self, sr: SR, image: Image) -> int:
        with self._call(sr):
            size: int = self._running(sr).storageVolLookupByName(image.name).info()[1]
            return size

    def _place(self, sr: SR) -> Place:
        pool = self._running(sr)
        described = etree.fromstring(pool.XMLDesc())
        folder = described.findtext("target/path") if described.get("type") in FOLDER_POOLS else None
        return Place(pool, Path(folder) if folder else None, _group(described))

    def _volume(self, place: Place, vdi: VDI) -> libvirt.virStorageVol:
        """The volume of a disk; VDI_MISSING if its pool has none at its location."""
        name = PurePosixPath(vdi.location).name
        if not name:
            raise VdiMissing(vdi.SR, vdi)
        try:
            volume = place.pool.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
            # What was put there by anything but libvirt it knows after a refresh only.
            _refresh(place.pool)
            volume = place.pool.storageVolLookupByName(name)
        if volume.path() != vdi.location:
            raise VdiMissing(vdi.SR, vdi)
        return volume


@dataclass(frozen=True)
class Volumes:
    """The volumes of a pool of devices, by name. What libvirt refuses, it says itself."""

    pool: Callable[[], libvirt.virStoragePool]
    """Looks the pool up: a libvirt that was started anew knows none that it gave before."""

    def make(self, name: str, size: int) -> str:
        """Make one. Returns its path."""
        return str(self.pool().createXML(_volume_xml(name, size)).path())

    def has(self, name: str) -> bool:
        """Whether there is one of this name."""
        return self._find(name) is not None

    def remove(self, name: str) -> None:
        """Remove it. One that is gone is no error."""
        volume = self._find(name)
        if volume is not None:
            volume.delete()

    def snapshots(self, name: str) -> list[str]:
        """The names of those that are snapshots of this one, as far as libvirt has looked."""
        origin = self._find(name)
        if origin is None:
            return []
        described = [each for volume in self.pool().listAllVolumes() if (each := _described(volume)) is not None]
        return [each.findtext("name", "") for each in described if each.findtext("backingStore/path") == origin.path()]

    def _find(self, name: str) -> libvirt.virStorageVol | None:
        try:
            return self.pool().storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
            return None


def _group(described: etree._Element) -> str:
    """The volume group that a pool is; empty for another one."""
    return described.findtext("source/name", "") if described.get("type") == "logical" else ""


def _require_raw(vdi: VDI) -> None:
    """VALUE_NOT_SUPPORTED where another format is asked for on storage whose volumes are devices."""
    if (format := asked_format(vdi)) not in ("", "raw"):
        raise ValueNotSupported("sm_config", format, "on this storage disks are raw")


def _is_wiped(vdi: VDI) -> bool:
    """Whether a new disk, or what it has more now, is to be zeroed before anybody reads it. VALUE_NOT_SUPPORTED for a
    word that says neither.
    """
    wanted = vdi.sm_config.get("wipe") or vdi.SR.sm_config.get("wipe") or "false"
    if wanted not in ("true", "false"):
        raise ValueNotSupported("sm_config", f"wipe={wanted}", "wipe is true or false")
    return wanted == "true"


def _ignore(part: float) -> None:
    """Takes note of no progress."""


def _volume_xml(name: str, size: int) -> str:
    volume = etree.Element("volume")
    etree.SubElement(volume, "name").text = name
    etree.SubElement(volume, "capacity", unit="bytes").text = str(size)
    return etree.tostring(volume, encoding="unicode")


def _described(volume: libvirt.virStorageVol) -> etree._Element | None:
    """The XML of a volume; None if it went away while it was looked at."""
    try:
        return etree.fromstring(volume.XMLDesc())
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return None


def _seen(volume: etree._Element) -> SeenVolume:
    parent = volume.findtext("backingStore/path", "")
    return SeenVolume(
        location=volume.findtext("target/path", ""),
        name=cleaned(volume.findtext("name")),
        capacity=int(volume.findtext("capacity", "0")),
        allocation=int(volume.findtext("allocation", "0")),
        parent=parent,
        whole=not parent,
    )


def _require_no_snapshots(place: Place, vdi: VDI) -> None:
    """VDI_IN_USE for a volume that has snapshots: lvm2 would remove them with it. Within translated only."""
    if not place.group:
        return
    _refresh(place.pool)
    for name in place.volumes.snapshots(PurePosixPath(vdi.location).name):
        raise VdiInUse(vdi, f"be the base of {name}")


def _free(place: Place, size: int) -> int:
    """What is free, in bytes. SR_FULL if a disk of `size` does not fit: devices take all their room at once."""
    free = int(place.pool.info()[3])
    if size > free:
        raise SrFull(size, free)
    return free


def _refresh(pool: libvirt.virStoragePool) -> None:
    """Let libvirt look what is in the pool, unless it is just making something there: then what it knows must do."""
    try:
        pool.refresh()
    except libvirt.libvirtError as error:
        # libvirt 9.0.0: "internal error: pool 'x' has asynchronous jobs running."
        if "asynchronous jobs" not in (error.get_error_message() or str(error)):
            raise

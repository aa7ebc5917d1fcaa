"""Disks as volumes of real libvirt storage pools: files of a folder or an NFS export, logical volumes, CD images.

What a file holds is never guessed from its content, which a guest may have written: its name says whether it is raw or
qcow2. Raw files are grown and copied here and not by libvirt, which guesses. Pools themselves are in ``pools``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import libvirt
from lxml import etree

from agent.classes import SR, VDI
from agent.errors import OperationNotAllowed, SrFull, ValueNotSupported, VdiMissing
from agent.ports import SeenVolume
from drivers.pool_xml import FOLDER_POOLS
from drivers.pools import Pools, file_call
from drivers.sparse import Folder
from drivers.text import cleaned

FORMATS = {".qcow2": "qcow2", ".qcow": "qcow", ".qed": "qed", ".vhd": "vhd", ".vdi": "vdi", ".vmdk": "vmdk"}
"""Formats by the ending of a file's name; every other file is a raw image."""

POLL_SECONDS = 0.5
"""How often a copy that libvirt makes is looked at."""


@dataclass(frozen=True)
class Place:
    """A running pool, and the folder its volumes are files of; None for one of devices."""

    pool: libvirt.virStoragePool
    folder: Path | None

    def image_name(self, vdi: VDI) -> str:
        """The name of the image's file; VDI_MISSING if its location is not in this folder."""
        location = Path(vdi.location)
        if self.folder is None or location.parent != self.folder:
            raise VdiMissing(vdi.SR, vdi)
        return location.name

    def holds(self, volume: etree._Element) -> bool:
        """Whether this volume of the pool is a disk. Links are none: they may lead anywhere; nor are folders."""
        if self.folder is None:
            return True
        path = Path(volume.findtext("target/path", ""))
        return volume.get("type") == "file" and path.parent == self.folder and not path.is_symlink()


class LibvirtStorage(Pools):
    """The port Storage over any libvirt connection whose pools are real."""

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
            _sweep(place, sr)
            _refresh(place.pool)
            described = (_described(volume) for volume in place.pool.listAllVolumes())
            return [_seen(volume, place) for volume in described if volume is not None and place.holds(volume)]

    def create_volume(self, vdi: VDI) -> SeenVolume:
        """Make a volume of ``vdi.virtual_size`` in ``vdi.SR``. SR_FULL if it does not fit."""
        size = vdi.virtual_size
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
            format = _format_for(vdi, place)
            free = _free(vdi.SR, place, size)
        with self._call(vdi.SR, vdi, size, free):
            volume = place.pool.createXML(_volume_xml(vdi, place, format))
            return _seen(etree.fromstring(volume.XMLDesc()), place)

    def destroy_volume(self, vdi: VDI) -> None:
        """Delete it. One that is gone is no error."""
        with suppress(VdiMissing), self._call(vdi.SR, vdi):
            self._volume(self._place(vdi.SR), vdi).delete()

    def resize_volume(self, vdi: VDI, size: int) -> None:
        """Grow it to `size`. VALUE_NOT_SUPPORTED for less than it has, and where the storage cannot grow a volume."""
        if size < vdi.virtual_size:
            raise ValueNotSupported("virtual_size", size, "a disk only grows")
        with self._call(vdi.SR, vdi):
            place = self._place(vdi.SR)
            free = _free(vdi.SR, place, size)
        if place.folder is not None and format_of(vdi.location) == "raw":
            with file_call(vdi.SR, vdi, size, free), Folder(place.folder) as folder:
                folder.grow(place.image_name(vdi), size)
            return
        with self._call(vdi.SR, vdi, size, free):
            try:
                self._volume(place, vdi).resize(size)
            except libvirt.libvirtError as error:
                # libvirt 9.0.0, logical pools: "storage pool does not support changing of volume capacity".
                if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                    raise
                raise ValueNotSupported("virtual_size", size, "this storage cannot grow a disk") from error

    def copy_volume(self, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
        """Make the volume of `target`, in ``target.SR``, with the content of `source`.

        `progress` is called with the part done, 0 to 1; what it raises ends the copy, and nothing of it stays. Files of
        the same format are copied here, with their holes. What has to be converted, or is a device, libvirt copies;
        that call cannot be ended, so an unwanted copy is removed when it is done.
        """
        if target.virtual_size < source.virtual_size:
            raise ValueNotSupported("virtual_size", target.virtual_size, "the copy would be smaller than the disk")
        with self._call(source.SR, source):
            origin = self._place(source.SR)
            original = self._volume(origin, source)
        with self._call(target.SR, target):
            place = self._place(target.SR)
            format = _format_for(target, place)
            free = _free(target.SR, place, target.virtual_size)
        # An image with a header says in it how large it is; a raw one is as large as its file is made.
        as_it_is = format == format_of(source.location) and (
            format == "raw" or target.virtual_size == source.virtual_size
        )
        if origin.folder and place.folder and as_it_is:
            name = _volume_name(target, place, format)
            with file_call(target.SR, target, target.virtual_size, free):
                copied = _copied_file(origin.folder, origin.image_name(source), place.folder, name, target, progress)
            with self._call(target.SR):
                _refresh(place.pool)
            return copied
        with self._call(source.SR, source), file_call(source.SR, source):
            _require_honest(origin, original, source)
        room = target.virtual_size, free
        with self._call(target.SR, target, *room), file_call(target.SR, target, *room):
            volume = self._copied_by_libvirt(original, place, target, format, progress)
            return _seen(etree.fromstring(volume.XMLDesc()), place)

    def _place(self, sr: SR) -> Place:
        pool = self._running(sr)
        described = etree.fromstring(pool.XMLDesc())
        folder = described.findtext("target/path") if described.get("type") in FOLDER_POOLS else None
        return Place(pool, Path(folder) if folder else None)

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
        if volume.path() != vdi.location or not place.holds(etree.fromstring(volume.XMLDesc())):
            raise VdiMissing(vdi.SR, vdi)
        return volume

    def _copied_by_libvirt(
        self,
        original: libvirt.virStorageVol,
        place: Place,
        target: VDI,
        format: str,
        progress: Callable[[float], None],
    ) -> libvirt.virStorageVol:
        watched = self.connection.handle.storagePoolLookupByUUIDString(target.SR.uuid)
        name = _volume_name(target, place, format)
        progress(0.0)
        with ThreadPoolExecutor(1, thread_name_prefix="copy") as worker:
            copying = worker.submit(place.pool.createXMLFrom, _volume_xml(target, place, format), original, 0)
            try:
                while not wait([copying], POLL_SECONDS).done:
                    progress(_part_done(watched, name))
                volume = copying.result()
                _grow(volume, place, name, format, target.virtual_size)
                progress(1.0)
            except BaseException:
                with suppress(libvirt.libvirtError):
                    copying.result().delete()
                raise
        return volume


def format_of(location: str) -> str:
    """The format that the name of a file says it has."""
    return FORMATS.get(PurePosixPath(location).suffix.lower(), "raw")


def _format_for(vdi: VDI, place: Place) -> str:
    """The format a new volume is to have. VALUE_NOT_SUPPORTED for one that cannot be made there."""
    format = vdi.sm_config.get("type") or vdi.SR.sm_config.get("type") or "raw"
    if format not in ("raw", "qcow2"):
        raise ValueNotSupported("sm_config", format, "disks are made as raw or qcow2")
    if format == "qcow2" and place.folder is None:
        raise ValueNotSupported("sm_config", format, "on this storage disks are raw")
    return format


def _volume_name(vdi: VDI, place: Place, format: str) -> str:
    return vdi.uuid if place.folder is None else f"{vdi.uuid}.{format}"


def _volume_xml(vdi: VDI, place: Place, format: str) -> str:
    volume = etree.Element("volume")
    etree.SubElement(volume, "name").text = _volume_name(vdi, place, format)
    etree.SubElement(volume, "capacity", unit="bytes").text = str(vdi.virtual_size)
    if place.folder is not None:
        # Nothing is set aside: the file takes room as it is written. Logical volumes have all of theirs at once.
        etree.SubElement(volume, "allocation", unit="bytes").text = "0"
        target = etree.SubElement(volume, "target")
        etree.SubElement(target, "format", type=format)
        if format == "qcow2":
            # Without it libvirt 9.0.0 makes images for QEMU before 1.1, which cannot hold zeroes without room.
            etree.SubElement(target, "compat").text = "1.1"
    return etree.tostring(volume, encoding="unicode")


def _described(volume: libvirt.virStorageVol) -> etree._Element | None:
    """The XML of a volume; None if it went away while it was looked at."""
    try:
        return etree.fromstring(volume.XMLDesc())
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return None


def _seen(volume: etree._Element, place: Place) -> SeenVolume:
    location = volume.findtext("target/path", "")
    format = "raw" if place.folder is None else format_of(location)
    capacity = int(volume.findtext("capacity", "0"))
    if place.folder is not None and format == "raw":
        # libvirt calls a raw file in which a guest wrote the header of another format by that format, with the size
        # that the header claims; a raw disk is as large as its file.
        capacity = int(volume.findtext("physical") or capacity)
    return SeenVolume(
        location=location,
        name=cleaned(volume.findtext("name")),
        capacity=capacity,
        allocation=int(volume.findtext("allocation", "0")),
        format=format,
        read_only=location.lower().endswith(".iso"),
    )


def _require_honest(origin: Place, original: libvirt.virStorageVol, source: VDI) -> None:
    """Refuse to let libvirt read an image whose header would make it read something else.

    A guest can write any header into its raw disk, and an uploaded image can name any file of the host as what it rests
    on or has its data in: a copy would hand that file to the guest.
    """
    if origin.folder is None:
        return
    format = format_of(source.location)
    if format == "qcow2":
        with Folder(origin.folder) as folder:
            _require_whole(folder.head(origin.image_name(source), _QCOW2_HEADER.size))
    elif format == "raw":
        # What libvirt holds it for from now on, it holds it for when it copies.
        origin.pool.refresh()
        seen = etree.fromstring(original.XMLDesc()).find("target/format")
        if seen is not None and seen.get("type") not in ("raw", "iso"):
            raise OperationNotAllowed(f"the raw disk holds what looks like a {seen.get('type')} image: copy it as raw")
    else:
        raise OperationNotAllowed(f"images in the format {format} are not converted")


_QCOW2_HEADER = struct.Struct(">4sIQ56xQ")
"""Magic, version, where the name of the image below is, and, from version 3 on, the incompatible features."""

_EXTERNAL_DATA = 1 << 2


def _require_whole(header: bytes) -> None:
    """OPERATION_NOT_ALLOWED for a qcow2 image that is not all in its own file."""
    if len(header) < _QCOW2_HEADER.size or not header.startswith(b"QFI\xfb"):
        raise OperationNotAllowed("the image is not what its name says")
    _, version, below, features = _QCOW2_HEADER.unpack(header)
    if below or (version >= 3 and features & _EXTERNAL_DATA):
        raise OperationNotAllowed("the image needs another file, which a copy does not follow")


def _grow(volume: libvirt.virStorageVol, place: Place, name: str, format: str, size: int) -> None:
    """Make a fresh copy as large as it is to be: qemu-img, which converts for libvirt, only looks at the source."""
    if volume.info()[1] >= size:
        return
    if place.folder is not None and format == "raw":
        with Folder(place.folder) as folder:
            folder.grow(name, size)
    else:
        volume.resize(size)


def _part_done(pool: libvirt.virStoragePool, name: str) -> float:
    """How much of a volume that is being made is there already, by what it takes; a sparse one jumps to its end."""
    try:
        _, capacity, allocation = pool.storageVolLookupByName(name).info()
    except libvirt.libvirtError:
        return 0.0  # not there yet
    return min(allocation / capacity, 1.0) if capacity else 0.0


def _free(sr: SR, place: Place, size: int) -> int:
    """What is free, in bytes. SR_FULL if a disk of `size` can never fit.

    Images of a folder take room as they are written, so several may promise more than there is; one that alone is
    larger than the whole file system is refused. Logical volumes take all their room at once.
    """
    if place.folder is None:
        free = whole = int(place.pool.info()[3])
    else:
        with file_call(sr), Folder(place.folder) as folder:
            whole, free = folder.space()
    if size > whole:
        raise SrFull(size, free)
    return free


def _copied_file(
    folder: Path, name: str, into: Path, new_name: str, target: VDI, progress: Callable[[float], None]
) -> SeenVolume:
    format = format_of(name)
    with Folder(folder) as source, Folder(into) as destination:
        length = source.image(name).size
        if format == "raw":
            if length > target.virtual_size:
                raise ValueNotSupported("virtual_size", target.virtual_size, f"the disk is {length} bytes long")
            length = target.virtual_size
        else:
            _require_whole(source.head(name, _QCOW2_HEADER.size))
        image = destination.copy(source, name, new_name, length, progress)
    return SeenVolume(str(into / new_name), new_name, target.virtual_size, image.used, format)


def _sweep(place: Place, sr: SR) -> None:
    if place.folder is not None:
        with file_call(sr), Folder(place.folder) as folder:
            folder.sweep()


def _refresh(pool: libvirt.virStoragePool) -> None:
    """Let libvirt look what is in the pool, unless it is just making something there: then what it knows must do."""
    try:
        pool.refresh()
    except libvirt.libvirtError as error:
        # libvirt 9.0.0: "internal error: pool 'x' has asynchronous jobs running."
        if "asynchronous jobs" not in str(error):
            raise

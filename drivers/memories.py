"""The memory of machines that were saved, kept as files: for snapshots with memory, and to make a machine of one again.

A file is what libvirt wrote when it saved a domain: a head, the domain's XML, and what else there is. Where a disk
lies now may be another place than then, so the XML is written anew. What was begun is noted first, so that the next
start finishes or undoes it. Which machine is saved when, ``domains`` knows.

The heads are libvirt's own (9.0.0): ``libxlSavefileHeader`` in ``libxl_conf.h``, and ``TEST_SAVE_MAGIC``.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from agent.classes import VBD
from agent.classes.devices import place_of
from agent.errors import OperationNotAllowed
from drivers import xml_devices, xml_read
from drivers.disk_journal import sync_folder

log = logging.getLogger(__name__)
LIBVIRT_SAVES = Path("/var/lib/libvirt/libxl/save")
"""Where libvirt's Xen driver (9.0.0) keeps a suspended domain, as ``NAME.save``; no setting of its moves it. It goes on
from that file at the domain's next start, whoever wrote it.
"""
XML_MAX = 16 * 2**20
_XEN = struct.Struct("=16sII40s")
_XEN_MAGIC = b"libvirt-xml\n \0 \r"
_XEN_VERSION = 2
_TEST = struct.Struct("=15si")
_TEST_MAGIC = b"TestGuestMagic\0"
_COPY_BYTES = 2**30
_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True)
class MemoryFolder:
    """The folder, and the one where the hypervisor's library keeps suspended domains, where it does.

    ``UUID.save`` is the memory of the snapshot with that uuid, ``UUID.begun`` notes the machine whose snapshot is being
    made, and ``UUID.ready`` is what the machine with that uuid is to go on from.
    """

    folder: Path | None
    saves: Path | None = None

    def _at(self, uuid: str, ending: str) -> Path:
        if self.folder is None:
            raise OperationNotAllowed("the hypervisor is on another host, or keeps no memory as files")
        assert _NAME.fullmatch(uuid), uuid
        return self.folder / f"{uuid}.{ending}"

    def image(self, uuid: str) -> Path:
        """The memory of a snapshot."""
        return self._at(uuid, "save")

    def ready(self, uuid: str) -> Path:
        """What a machine is to go on from."""
        return self._at(uuid, "ready")

    def saved(self, name: str) -> Path | None:
        """What libvirt goes on from when it starts the domain of this name; None where nothing is there."""
        if self.saves is None or "/" in name:
            return None
        path = self.saves / f"{name}.save"
        return path if path.exists() else None

    @contextmanager
    def spared(self, name: str, is_off: Callable[[], bool | None]) -> Iterator[None]:
        """Let libvirt go on from what is saved under this name, which it deletes before it tries (9.0.0). Where that
        fails, and `is_off` says that the domain is, it is put back; None is that nobody knows.
        """
        saved = self.saved(name)
        if saved is None or not _linked(saved, spare := saved.with_name(f".{name}.spare")):
            yield
            return
        try:
            yield
        except BaseException:
            _put_back(spare, saved, is_off())
            raise
        _unlink(spare)

    def begin(self, uuid: str, machine: str) -> None:
        """Note that the machine is being saved for a snapshot of this uuid."""
        path = self._at(uuid, "begun")
        with _kept():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("w", encoding="ascii") as file:
                file.write(machine)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.parent)

    def settle(self, uuid: str) -> None:
        """The snapshot is made, and the machine goes on."""
        self._remove(uuid, "begun")

    def drop(self, uuid: str) -> None:
        """There is to be no such memory. What there is none of is no error."""
        self._remove(uuid, "save")
        self._remove(uuid, "begun")

    def _remove(self, uuid: str, ending: str) -> None:
        if self.folder is None:
            return
        try:
            self._at(uuid, ending).unlink(missing_ok=True)
        except OSError as error:  # the next start tries again
            log.warning("what is left of the memory of %s cannot be removed: %s", uuid, error)

    def begun(self) -> Mapping[str, str]:
        """Snapshots that were begun and not settled, and the machines that were saved for them."""
        return {uuid: self._at(uuid, "begun").read_text("ascii", "replace") for uuid in self._all("begun")}

    def kept(self) -> Sequence[str]:
        """The snapshots of which there is a memory."""
        return self._all("save")

    def waiting(self) -> Sequence[str]:
        """The machines for which something was made ready that they never got."""
        return self._all("ready")

    def _all(self, ending: str) -> Sequence[str]:
        if self.folder is None:
            return []
        found = sorted(self.folder.glob(f"*.{ending}"))
        return [path.stem for path in found if _NAME.fullmatch(path.stem)]

    def keep(self, uuid: str, saved: Path) -> None:
        """Keep a file that libvirt wrote, at once where both are on one file system, else as a copy."""
        with _kept():
            target = self.image(uuid)
            try:
                os.link(saved, target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                    raise
                with _new(target) as descriptor, saved.open("rb") as file:
                    _copy(file.fileno(), descriptor)
            sync_folder(target.parent)

    def write(self, uuid: str, text: str) -> None:
        """Make what the test hypervisor writes: its domains have no memory but this."""
        with _kept(), _new(self.image(uuid)) as descriptor:
            _write(descriptor, _Head(-1).fill(text))

    def make_ready(self, uuid: str, machine: str, name: str, vbds: Sequence[VBD]) -> None:
        """Make what the machine is to go on from: the memory of a snapshot, under the domain's name of now, with its
        disks where these say. OPERATION_NOT_ALLOWED where there is no memory, or one with another disk.
        """
        with _kept(), self.image(uuid).open("rb") as file:
            head, text = _read(file.fileno())
            data = head.fill(_with_disks(text, name, vbds))
            with _new(self.ready(machine)) as descriptor:
                _write(descriptor, data)
                _copy(file.fileno(), descriptor)

    def drop_ready(self, machine: str) -> None:
        """The machine is to go on from nothing."""
        self._remove(machine, "ready")

    def sources(self, machine: str) -> Mapping[str, str]:
        """Names and places of the disks in what was made ready for a machine."""
        with _kept(), self.ready(machine).open("rb") as file:
            _, text = _read(file.fileno())
        return {xml_read.target_of(disk): xml_read.source_of(disk) for disk in xml_read.disks(xml_read.parse(text))}

    def put(self, machine: str, name: str) -> None:
        """Let libvirt go on from what was made ready when it starts the domain of this name."""
        ready = self.ready(machine)
        assert self.saves is not None
        target = self.saves / f"{name}.save"
        with _kept():
            try:
                ready.rename(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with _new(target) as descriptor, ready.open("rb") as file:
                    _copy(file.fileno(), descriptor)
                ready.unlink()
            sync_folder(target.parent)


NO_MEMORIES = MemoryFolder(None)


@dataclass(frozen=True)
class _Head:
    """How the file of one driver begins."""

    version: int
    """Of the Xen driver's; -1 is the test driver's."""
    unused: bytes = b""

    def fill(self, text: str) -> bytes:
        """The head of a file with this XML, and the XML."""
        data = text.encode()
        if self.version < 0:
            return _TEST.pack(_TEST_MAGIC, len(data)) + data
        data += b"\0"
        return _XEN.pack(_XEN_MAGIC, self.version, len(data), self.unused) + data


def _read(descriptor: int) -> tuple[_Head, str]:
    """Head and XML of an open file, which then stands behind them. OPERATION_NOT_ALLOWED for what is none."""
    raw = os.read(descriptor, _XEN.size)
    if len(raw) == _XEN.size and raw.startswith(_XEN_MAGIC):
        _, version, length, unused = _XEN.unpack(raw)
        head, end = _Head(version, unused), _XEN.size
    elif raw.startswith(_TEST_MAGIC):
        _, length = _TEST.unpack(raw[: _TEST.size])
        head, end = _Head(-1), _TEST.size
    else:
        raise OperationNotAllowed("libvirt wrote the memory in a way that is not known here")
    if head.version > _XEN_VERSION or not 0 < length <= XML_MAX:
        raise OperationNotAllowed("libvirt wrote the memory in a way that is not known here")
    data = os.pread(descriptor, length, end)
    os.lseek(descriptor, end + length, os.SEEK_SET)
    return head, data.rstrip(b"\0").decode("utf-8", "replace")


def _with_disks(text: str, name: str, vbds: Sequence[VBD]) -> str:
    root = xml_read.parse(text)
    element = root.find("name")
    if element is not None:
        element.text = name
    wanted = {place_of(xml_devices.device_name(vbd)): vbd for vbd in vbds}
    for disk in xml_read.disks(root):
        vbd = wanted.get(place_of(xml_read.target_of(disk)))
        if vbd is None:
            raise OperationNotAllowed(f"the memory has a disk {xml_read.target_of(disk)} that the snapshot has not")
        xml_devices.refill(vbd, disk)
    return etree.tostring(root, encoding="unicode")


def _linked(path: Path, other: Path) -> bool:
    """Give a file one name more. False where the file system cannot."""
    try:
        other.unlink(missing_ok=True)
        os.link(path, other)
    except OSError as error:
        log.warning("%s is not spared, should it be lost: %s", path, error)
        return False
    return True


def _put_back(spare: Path, saved: Path, off: bool | None) -> None:
    if off is None:  # with stale memory over newer disks more would be lost than without any
        log.warning("whether the machine goes on that %s is the memory of, nobody tells", spare)
        return
    try:
        if off and not saved.exists():
            spare.rename(saved)
            sync_folder(saved.parent)
    except OSError as error:
        log.error("the memory of a machine that does not go on is left in %s: %s", spare, error)
    else:
        _unlink(spare)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be removed: %s", path, error)


def _copy(source: int, target: int) -> None:
    """Copy what is left of a file, in the kernel where that can be."""
    while True:
        try:
            if not os.copy_file_range(source, target, _COPY_BYTES):
                return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            data = os.read(source, 2**20)
            if not data:
                return
            _write(target, data)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _new(path: Path) -> Iterator[int]:
    """A file that is there under its name when it is whole and on the disk, and else is not."""
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
        os.fsync(descriptor)
        part.rename(path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    finally:
        os.close(descriptor)


@contextmanager
def _kept() -> Iterator[None]:
    """OPERATION_NOT_ALLOWED for what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise OperationNotAllowed(f"the memory of a machine cannot be kept: {error.strerror}") from error

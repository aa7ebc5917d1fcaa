"""Disks as files of a folder: raw images and qcow2 ones, which may be laid over each other. The same code serves real
folder pools (``storage``) and the simulated host (``folders``).

What a file holds is never guessed from its content, which a guest may have written: its name says whether it is raw or
qcow2. What an image is laid over is the disk's ``parent``, as the agent noted it; the head of the image must say the
same, or nothing is done with it. All are within one folder, and no name is ever followed as a link.

An image that has others laid over it is never written to. To clone a disk, its file becomes the one of a hidden base,
and disk and clone are new images over it, which takes no time. Every operation is noted in the disk journal first.

Over the usual size: one class for one port, whose operations agree on what the name of a file says.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath

from agent.classes import SR, VDI
from agent.errors import InvalidValue, OperationNotAllowed, SrFull, ValueNotSupported, VdiInUse, VdiMissing, XenError
from agent.ports import SeenVolume, VolumeReader, VolumeWriter
from drivers import images
from drivers.chain_reader import open_chain
from drivers.connection import Connection
from drivers.disk_journal import DiskJournal, Operation, Step
from drivers.pools import Pools, file_call
from drivers.qcow2 import Head, NotQcow2, is_untouched, judge, read_head
from drivers.qemu_img import Layer, QemuImg
from drivers.sparse import Folder, Image, Written, state

log = logging.getLogger(__name__)
FORMATS = {".qcow2": "qcow2", ".qcow": "qcow", ".qed": "qed", ".vhd": "vhd", ".vdi": "vdi", ".vmdk": "vmdk"}
"""Formats by the ending of a file's name; every other file is a raw image."""
MADE = ("raw", "qcow2")
"""The formats in which disks are made."""
ATTEMPTS = 3
"""How often a disk is copied because somebody wrote to it meanwhile: what a paused guest had under way ends soon."""


def format_of(location: str) -> str:
    """The format that the name of a file says it has."""
    return FORMATS.get(PurePosixPath(location).suffix.lower(), "raw")


def asked_format(vdi: VDI) -> str:
    """The format that was asked for a new disk or for all of its storage; empty where nobody said."""
    return vdi.sm_config.get("type") or vdi.SR.sm_config.get("type") or ""


def format_for(vdi: VDI) -> str:
    """The format a new file is to have. VALUE_NOT_SUPPORTED for one that cannot be made."""
    format = asked_format(vdi) or "raw"
    if format not in MADE:
        raise ValueNotSupported("sm_config", format, "disks are made as raw or qcow2")
    return format


class FolderDisks(Pools, ABC):
    """The volumes of pools that are folders. Which folder a pool is, a subclass says."""

    def __init__(self, connection: Connection, journal: DiskJournal, qemu_img: QemuImg | None = None) -> None:
        super().__init__(connection)
        self.journal = journal
        self.qemu_img = qemu_img or QemuImg()

    @abstractmethod
    def _folder_path(self, sr: SR) -> Path:
        """The folder of a pool that runs. SR_HAS_NO_PBDS if it does not."""

    def _is_disk(self, name: str) -> bool:
        """Whether a file of the folder is a disk."""
        return not name.startswith(".")

    def _foreign_size(self, sr: SR, image: Image) -> int:
        """What a guest would see of an image in a format that only libvirt knows."""
        return image.size

    @contextmanager
    def folder(self, sr: SR) -> Iterator[Folder]:
        """The open folder of a pool that runs."""
        path = self._folder_path(sr)
        with file_call(sr):
            folder = Folder(path, reached=self.journal.reached)
        with folder:
            yield folder

    # --- seeing

    def scan_folder(self, sr: SR) -> list[SeenVolume]:
        """The disks there are, without those that are still being made."""
        with self.folder(sr) as folder, file_call(sr):
            folder.sweep()
            return [self._seen(sr, folder, image) for image in folder.images() if self._is_disk(image.name)]

    def _seen(self, sr: SR, folder: Folder, image: Image) -> SeenVolume:
        format, size, below = format_of(image.name), image.size, ""
        head: Head | None = None
        if format == "qcow2":
            head = _head_or_none(folder, image.name)
            size = head.size if head is not None else 0
            if head is not None and _is_name(head.backing) and folder.exists(head.backing):
                below = str(folder.path / head.backing)
        elif format != "raw":
            size = self._foreign_size(sr, image)
        return SeenVolume(
            location=str(folder.path / image.name),
            name=image.name,
            capacity=size,
            allocation=image.used,
            format=format,
            read_only=image.name.lower().endswith(".iso"),
            parent=below,
            whole=format == "raw" or (head is not None and not head.backing),
        )

    # --- one disk

    def create_volume(self, vdi: VDI) -> SeenVolume:
        """Make a file of ``vdi.virtual_size``, which takes room as it is written. SR_FULL if it can never fit."""
        with self.folder(vdi.SR) as folder:
            size, format = vdi.virtual_size, format_for(vdi)
            free = room(folder, vdi.SR, size)
            with file_call(vdi.SR, vdi, size, free):
                return self._made(vdi, folder, format, "create", lambda name: self._blank(folder, name, format, size))

    def _blank(self, folder: Folder, name: str, format: str, size: int) -> None:
        if format == "raw":
            folder.create(name, size)
            return
        with folder.new(name) as descriptor:
            self.qemu_img.create(descriptor, size)

    def _made(self, vdi: VDI, folder: Folder, format: str, step: str, make: Callable[[str], None]) -> SeenVolume:
        """Make the file of a new disk, which goes again unless the store comes to know the disk."""
        name = f"{vdi.uuid}.{format}"
        if folder.exists(name):
            raise FileExistsError(name)
        operation = Operation(vdi.uuid, vdi.SR.uuid, makes=True, undo=[("remove", name)])
        with self._noted(folder, operation) as undo:
            undo.clear()  # a name that is not ours yet is not ours to remove
            self.journal.reached(f"{step}: noted")
            make(name)
            undo += operation.undo
            return self._seen(vdi.SR, folder, folder.image(name))

    @contextmanager
    def _noted(self, folder: Folder, operation: Operation) -> Iterator[list[Step]]:
        """Note what is done meanwhile. Should it fail, the steps are taken that it yields, which are those noted."""
        undo = list(operation.undo)
        self.journal.begin(operation)
        try:
            yield undo
        except BaseException:
            try:
                _take_steps(folder, undo)
            except OSError:  # the first error is the one to tell; the next scan tries again
                self.journal.put_off(operation.disk)
            else:
                self.journal.end(operation.disk)
            raise

    def doom_volume(self, vdi: VDI) -> None:
        """Note that the disk is to be destroyed: a start after a crash finishes it. VDI_IN_USE if others rest on it."""
        with self.folder(vdi.SR) as folder, suppress(VdiMissing), file_call(vdi.SR, vdi):
            name = name_in(folder, vdi)
            _require_no_children(folder, name, vdi)
            self.journal.begin(Operation(vdi.uuid, vdi.SR.uuid, makes=False, finish=[("remove", name)]))
            self.journal.reached("destroy: noted")

    def destroy_volume(self, vdi: VDI) -> None:
        """Delete the file. One that is gone is no error; VDI_IN_USE if another image is laid over it."""
        with self.folder(vdi.SR) as folder, suppress(VdiMissing), file_call(vdi.SR, vdi):
            self.journal.reached("destroy: begun")
            name = name_in(folder, vdi)
            _require_no_children(folder, name, vdi)
            folder.remove(name)
            self.journal.reached("destroy: removed")
        self.journal.end(vdi.uuid)

    # --- the content as a whole

    def judge_image(self, format: str, head: bytes) -> int:
        """The size of the disk in a qcow2 image that begins so. INVALID_VALUE for one that is not taken."""
        assert format == "qcow2", format
        try:
            return judge(head)
        except NotQcow2 as error:
            raise InvalidValue("format", f"this is no qcow2 image that can be taken: {error}") from None

    def read_volume(self, vdi: VDI, progress: Callable[[float], None]) -> VolumeReader:
        """Open the disk for reading. Compressed data is unpacked, beside it in its folder, when it is met."""
        guard = partial(file_call, vdi.SR, vdi, vdi.virtual_size)
        with self.folder(vdi.SR) as folder, guard(), ExitStack() as opened:
            chain = self._layers(folder, vdi, opened)
            if other := {layer.format for layer in chain} - set(MADE):
                raise ValueNotSupported("format", min(other), "only raw and qcow2 images are read")
            return open_chain(chain, vdi.virtual_size, self.qemu_img, guard, partial(self._unpacked, vdi, progress))

    def _unpacked(self, vdi: VDI, progress: Callable[[float], None], chain: Sequence[Layer]) -> VolumeReader:
        """What a chain of the disk's images shows, as a file that has no name."""
        guard = partial(file_call, vdi.SR, vdi, vdi.virtual_size)
        with self.folder(vdi.SR) as folder, guard(), closing(folder.stage("export")) as staged:
            os.ftruncate(staged.descriptor, vdi.virtual_size)
            with images.damage():
                self.qemu_img.convert(chain, Layer(staged.descriptor, "raw"), progress, shared=True)
            return images.Opened(os.dup(staged.descriptor), vdi.virtual_size, "", guard)

    def write_volume(self, vdi: VDI) -> VolumeWriter:
        """Begin what is to take the place of the disk's image, or become it. It will rest on nothing.

        VALUE_NOT_SUPPORTED for a format that cannot be made, VDI_IN_USE where other images are laid over it.
        """
        size = vdi.virtual_size
        with self.folder(vdi.SR) as folder:
            format = format_of(vdi.location) if vdi.location else format_for(vdi)
            if format not in MADE:
                raise ValueNotSupported("format", format, "only raw and qcow2 images are written")
            name = name_in(folder, vdi) if vdi.location else f"{vdi.uuid}.{format}"
            path, guard = folder.path, partial(file_call, vdi.SR, vdi, size, room(folder, vdi.SR, size))
            new = Operation(vdi.uuid, vdi.SR.uuid, makes=True, undo=[("remove", name)]) if not vdi.location else None

            def put() -> None:
                if new is not None:
                    self.journal.begin(new)
                else:
                    with Folder(path) as now:
                        now.image(name)
                        _require_no_children(now, name, vdi)

            def seen(name: str, size: int, used: int) -> SeenVolume:
                return SeenVolume(str(path / name), name, size, used, format, name.lower().endswith(".iso"))

            with guard():
                if vdi.location:
                    folder.image(name)  # VDI_MISSING where there is none
                return images.StagedImage(folder, name, format, size, self.qemu_img, guard, put, seen)

    def resize_volume(self, vdi: VDI, size: int) -> None:
        """Grow the disk to `size`. VALUE_NOT_SUPPORTED for less than it has. What is new reads as zeroes."""
        if size < vdi.virtual_size:
            raise ValueNotSupported("virtual_size", size, "a disk only grows")
        with self.folder(vdi.SR) as folder:
            free = room(folder, vdi.SR, size)
            with file_call(vdi.SR, vdi, size, free):
                name = name_in(folder, vdi)
                folder.image(name)
                _require_no_children(folder, name, vdi)
                self.journal.reached("resize: begun")
                if format_of(name) == "raw":
                    folder.grow(name, size)
                elif format_of(name) == "qcow2":
                    _require_as_noted(folder, vdi)
                    with folder.opened(name, write=True) as descriptor:
                        if read_head(descriptor).size < size:
                            self.qemu_img.resize(descriptor, size)
                            os.fsync(descriptor)
                else:
                    raise ValueNotSupported("virtual_size", size, f"images in the format {format_of(name)} do not grow")
                self.journal.reached("resize: done")

    # --- copies

    def copy_volume(self, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
        """Make the file of `target` with the content of `source`, holes kept.

        Where both have the same parent, what `source` has of its own is copied; else all that it shows. `progress` is
        called with the part done, 0 to 1; what it raises ends the copy, and nothing of it stays.
        """
        size = target.virtual_size
        with self.folder(source.SR) as origin, self.folder(target.SR) as folder:
            with file_call(source.SR, source):
                name = name_in(origin, source)
                image = origin.image(name)
                if format_of(name) == "raw" and image.size > size:
                    raise ValueNotSupported("virtual_size", size, "the copy would be smaller than the disk")
                if source.virtual_size > size:
                    raise ValueNotSupported("virtual_size", size, "the copy would be smaller than the disk")
                _require_as_noted(origin, source)
            layer = target.parent is not None and target.parent is source.parent
            format = format_of(name) if layer else format_for(target)
            free = room(folder, target.SR, size)

            def make(new_name: str) -> None:
                if format_of(name) == format and (layer or source.parent is None) and (format == "raw" or _same(size)):
                    folder.copy(origin, name, new_name, size if format == "raw" else None, progress)
                else:
                    self._convert(origin, source, folder, new_name, format, size, progress)

            def _same(size: int) -> bool:
                return size == source.virtual_size

            with file_call(target.SR, target, size, free):
                return self._copied(source, target, folder, format, make)

    def _copied(self, source: VDI, target: VDI, folder: Folder, format: str, make: Callable[[str], None]) -> SeenVolume:
        """A file made by `make`, which is tried again while somebody writes to the source, and then VDI_IN_USE."""
        for _ in range(ATTEMPTS):
            with suppress(Written):
                return self._made(target, folder, format, "copy", make)
        raise VdiInUse(source, "copy")

    def _convert(
        self,
        origin: Folder,
        source: VDI,
        folder: Folder,
        name: str,
        format: str,
        size: int,
        progress: Callable[[float], None],
    ) -> None:
        if format_of(source.location) not in MADE:
            raise OperationNotAllowed(f"images in the format {format_of(source.location)} are not converted")
        with ExitStack() as opened:
            with file_call(source.SR, source):
                chain = self._layers(origin, source, opened)
            self.write_image(chain, folder, name, format, size, progress)

    def write_image(
        self,
        chain: Sequence[Layer],
        folder: Folder,
        name: str,
        format: str,
        size: int,
        progress: Callable[[float], None],
    ) -> None:
        """Make a file of `size` bytes with what the chain of images shows. Written if somebody writes to one."""
        progress(0.0)
        before = [state(layer.descriptor) for layer in chain]
        with folder.new(name, "copy") as descriptor:
            if format == "raw":
                os.ftruncate(descriptor, size)
            else:
                self.qemu_img.create(descriptor, size)
            self.qemu_img.convert(chain, Layer(descriptor, format), progress, shared=True)
            if [state(layer.descriptor) for layer in chain] != before:
                raise Written(name)
            progress(1.0)

    def clone_volume(self, source: VDI, target: VDI) -> SeenVolume | None:
        """Make the file of `target` share all blocks of `source`; None where the file system has no such thing."""
        with self.folder(source.SR) as folder:
            with file_call(source.SR, source):
                name = name_in(folder, source)
                _require_as_noted(folder, source)
                format = format_of(name)
                if asked_format(target) not in ("", format) or not folder.can_share(name):
                    return None
            with file_call(target.SR, target, target.virtual_size, room(folder, target.SR, 0)):
                return self._made(
                    target,
                    folder,
                    format,
                    "reflink",
                    lambda new: _nothing(folder.copy(folder, name, new, None, _ignore, "reflink")),
                )

    # --- images over images

    def is_untouched(self, vdi: VDI) -> bool:
        """Whether the disk has nothing of its own: it shows what its parent does."""
        if vdi.parent is None or format_of(vdi.location) != "qcow2":
            return False
        with self.folder(vdi.SR) as folder, file_call(vdi.SR, vdi):
            return _untouched(folder, vdi)

    def split_volume(self, vdi: VDI, base: VDI) -> SeenVolume | None:
        """Make the file of `vdi` the one of `base`, and lay a new image for `vdi` over it.

        Sets where the base is. None where the disk is to be raw, or there is no qemu-img.
        """
        if asked_format(vdi) == "raw" or not self.qemu_img.installed or format_of(vdi.location) not in MADE:
            return None
        with self.folder(vdi.SR) as folder, file_call(vdi.SR, vdi, 0, room(folder, vdi.SR, 0)):
            name = name_in(folder, vdi)
            _require_as_noted(folder, vdi)
            _require_no_children(folder, name, vdi)
            format = format_of(name)
            base_name, new = f"{base.uuid}.{format}", f".{base.uuid}.new"
            top = name if format == "qcow2" else f"{vdi.uuid}.qcow2"
            if top != name and folder.exists(top):
                raise FileExistsError(top)
            undo: list[Step] = [("remove", top, base_name)] if top != name else []
            undo += [("restore", base_name, name), ("remove", new)]
            with self._noted(folder, Operation(base.uuid, vdi.SR.uuid, makes=True, undo=undo)):
                self.journal.reached("split: noted")
                with folder.new(new, "overlay") as descriptor:
                    self.qemu_img.create(descriptor, vdi.virtual_size, below=(base_name, format))
                self.journal.reached("split: overlay made")
                folder.rename(name, base_name)
                self.journal.reached("split: base named")
                folder.rename(new, top)
                self.journal.reached("split: overlay named")
                seen = self._seen(vdi.SR, folder, folder.image(top))
            base.location, base.format = str(folder.path / base_name), format
            return seen

    def overlay_volume(self, base: VDI, target: VDI) -> SeenVolume:
        """Make the file of `target`, laid over the one of `base`, which is in the same storage."""
        with self.folder(target.SR) as folder, file_call(target.SR, target, 0, room(folder, target.SR, 0)):
            below = name_in(folder, base)
            folder.image(below)
            _require_as_noted(folder, base)

            def make(name: str) -> None:
                with folder.new(name, "overlay") as descriptor:
                    self.qemu_img.create(descriptor, target.virtual_size, below=(below, format_of(below)))

            return self._made(target, folder, "qcow2", "overlay", make)

    def merge_volume(
        self, base: VDI, vdi: VDI, most: int | None, progress: Callable[[float], None]
    ) -> SeenVolume | None:
        """Write what `vdi` has of its own into `base`, on which nothing else rests, and make that the file of `vdi`.

        None where images that rest on `vdi` could not follow, and where that is more than `most` bytes. What `progress`
        raises ends it, and nothing has changed.
        """
        with self.folder(vdi.SR) as folder, file_call(vdi.SR, vdi, 0, room(folder, vdi.SR, 0)):
            name, below = name_in(folder, vdi), name_in(folder, base)
            format = format_of(below)
            merged = name if format_of(name) == format else f"{vdi.uuid}.{format}"
            old = f".{base.uuid}.old"
            if _resting_on(folder, below) != [name] or (merged != name and _resting_on(folder, name)):
                return None
            if most is not None and folder.image(name).used > most and not _untouched(folder, vdi):
                return None
            self.journal.reached("merge: begun")
            self._write_down(folder, base, vdi, progress)
            self.journal.reached("merge: committed")
            undo: list[Step] = [("move", merged, below), ("move", old, name)]
            operation = Operation(base.uuid, vdi.SR.uuid, makes=False, undo=undo, finish=[("remove", old)])
            with self._noted(folder, operation):
                self.journal.reached("merge: noted")
                folder.rename(name, old)
                self.journal.reached("merge: overlay aside")
                folder.rename(below, merged)
                self.journal.reached("merge: base named")
                return self._seen(vdi.SR, folder, folder.image(merged))

    def _write_down(self, folder: Folder, base: VDI, vdi: VDI, progress: Callable[[float], None]) -> None:
        """Write what a disk has of its own into its base. Cut off, it can begin again: the disk shows the same."""
        with ExitStack() as opened:
            chain = self._layers(folder, vdi, opened, writable=2)
            top, below = chain[:2]
            if not _untouched(folder, vdi):
                self.qemu_img.commit(chain, progress)
            elif below.format == "raw":
                if os.fstat(below.descriptor).st_size < vdi.virtual_size:
                    os.ftruncate(below.descriptor, vdi.virtual_size)
            elif read_head(below.descriptor).size < read_head(top.descriptor).size:
                self.qemu_img.resize(below.descriptor, vdi.virtual_size)
            os.fsync(below.descriptor)

    def _layers(self, folder: Folder, vdi: VDI, opened: ExitStack, writable: int = 0) -> list[Layer]:
        """The open images of a disk, itself first, each of which is what was noted."""
        _require_as_noted(folder, vdi)
        layers: list[Layer] = []
        one = vdi
        while True:
            name = name_in(folder, one)
            descriptor = opened.enter_context(folder.opened(name, write=len(layers) < writable))
            layers.append(Layer(descriptor, format_of(name)))
            if one.parent is None:
                return layers
            one = one.parent

    # --- what a crash leaves

    def settle(self, *vdis: VDI) -> None:
        """The store has what was done: finish it, and note that there is nothing to undo."""
        for vdi in vdis:
            operation = self.journal.under_way(vdi.uuid)
            if operation is None:
                continue
            try:
                with file_call(vdi.SR):
                    self.journal.reached("settle: begun")
                    self._take(vdi.SR, operation.finish)
                    self.journal.reached("settle: finished")
            except XenError as error:  # it is done all the same; the next start tries again
                log.warning("what %r has left behind cannot be cleared away yet: %s", vdi, error)
                continue
            self.journal.end(vdi.uuid)

    def undo(self, vdi: VDI) -> None:
        """Undo what was begun and not settled for this disk; where nothing was, that is no error.

        Where it cannot be undone now, the next scan of the storage tries again, before anybody adopts what is there.
        """
        operation = self.journal.under_way(vdi.uuid)
        if operation is not None:
            try:
                self._take(vdi.SR, operation.undo)
            except XenError:
                self.journal.put_off(vdi.uuid)
                raise
            self.journal.end(vdi.uuid)

    def decide(self, known: Callable[[str], bool]) -> None:
        """Decide whether what an earlier run left half done is to be undone or finished. Needs no storage."""
        self.journal.decide(known)

    def recover(self, sr: SR) -> None:
        """Undo or finish what was left half done, by an earlier run as it was decided."""
        for operation in self.journal.left(sr.uuid):
            self.journal.reached("undo: begun")
            self._take(sr, operation.undo)
            self.journal.reached("undo: done")
            self.journal.end_left(operation)

    def _take(self, sr: SR, steps: Sequence[Step]) -> None:
        if steps:
            with self.folder(sr) as folder, file_call(sr):
                folder.sweep()
                _take_steps(folder, steps)


def _take_steps(folder: Folder, steps: Sequence[Step]) -> None:
    """Take steps on names: ``remove`` a file, with a third word only where that other one is there; ``move`` one to a
    name that is free; ``restore`` one in the place of another. Taken again, they do no harm.
    """
    for verb, name, *more in steps:
        if verb == "remove" and all(map(folder.exists, more)) and not _resting_on(folder, name):
            folder.remove(name)
        elif verb == "move" and folder.exists(name) and not folder.exists(more[0]):
            folder.rename(name, more[0])
        elif verb == "restore" and folder.exists(name):
            folder.rename(name, more[0], replace=True)


def name_in(folder: Folder, vdi: VDI) -> str:
    """The file of a disk there is; VDI_MISSING if its location is elsewhere."""
    location = Path(vdi.location)
    if location.parent != folder.path:
        raise VdiMissing(vdi.SR, vdi)
    return location.name


def room(folder: Folder, sr: SR, size: int) -> int:
    """What is free, in bytes. SR_FULL for a disk that alone is larger than the file system; several may overcommit."""
    with file_call(sr):
        whole, free = folder.space()
    if size > whole:
        raise SrFull(size, free)
    return free


def _ignore(part: float) -> None:
    """Takes note of no progress."""


def _nothing(image: Image) -> None:
    """Drops what is looked at again anyway."""


def _is_name(backing: str) -> bool:
    """Whether the head of an image names a file of its own folder."""
    return bool(backing) and "/" not in backing and ":" not in backing and backing not in (".", "..")


def _head_or_none(folder: Folder, name: str) -> Head | None:
    try:
        with folder.opened(name) as descriptor:
            return read_head(descriptor)
    except (NotQcow2, FileNotFoundError):
        return None


def _resting_on(folder: Folder, name: str) -> list[str]:
    """The images of the folder that say they are laid over this one, by whatever name."""
    found = []
    for image in folder.images():
        if format_of(image.name) == "qcow2" or image.name.startswith("."):
            head = _head_or_none(folder, image.name)
            if head is not None and head.backing and head.backing.rsplit("/", 1)[-1] == name:
                found.append(image.name)
    return found


def _require_no_children(folder: Folder, name: str, vdi: VDI) -> None:
    if resting := _resting_on(folder, name):
        raise VdiInUse(vdi, f"be the base of {resting[0]}")


def _untouched(folder: Folder, vdi: VDI) -> bool:
    with folder.opened(name_in(folder, vdi)) as descriptor:
        return is_untouched(descriptor, read_head(descriptor))


def _require_as_noted(folder: Folder, vdi: VDI) -> None:
    """OPERATION_NOT_ALLOWED for an image whose head says something else than what was noted of it.

    Whoever brought an image may have written any file of the host into its head: a copy would hand that to a guest.
    """
    below: VDI | None = vdi
    while below is not None:
        name, parent = name_in(folder, below), below.parent
        wanted = (name_in(folder, parent), format_of(parent.location)) if parent is not None else ("", "")
        format = format_of(name)
        if format == "qcow2":
            try:
                with folder.opened(name) as descriptor:
                    head = read_head(descriptor)
            except NotQcow2:
                raise OperationNotAllowed(f"the image {name} is not what its name says") from None
            said = (head.backing, head.backing_format) if head.backing else ("", "")
            if said != wanted or head.external_data:
                raise OperationNotAllowed(f"the image {name} needs another file than the agent knows of")
        elif parent is not None:
            raise OperationNotAllowed(f"the image {name} cannot rest on another one")
        below = parent

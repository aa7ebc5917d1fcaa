"""The journal of disk operations: what is to be undone, or finished, where the agent ended in the middle of one.

An operation is noted, durably, before its first step, with what undoes it and what finishes it. Both are lists of steps
on names within one storage, and may be taken again and again. Which of them it is to be, the store decides at the next
start, before anything changes it: it knows a new disk or does not. How a step is taken is the storage's business.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agent.errors import InternalError

log = logging.getLogger(__name__)

JOURNAL = "disk-operations"
"""Its folder within the agent's state folder."""

STEPS = (
    "create: noted",
    "create: begun",
    "create: written",
    "create: named",
    "copy: noted",
    "copy: begun",
    "copy: written",
    "copy: named",
    "overlay: noted",
    "overlay: begun",
    "overlay: written",
    "overlay: named",
    "reflink: noted",
    "reflink: begun",
    "reflink: written",
    "reflink: named",
    "split: noted",
    "split: overlay made",
    "split: base named",
    "split: overlay named",
    "merge: begun",
    "merge: committed",
    "merge: noted",
    "merge: overlay aside",
    "merge: base named",
    "resize: begun",
    "resize: done",
    "destroy: noted",
    "destroy: begun",
    "destroy: removed",
    "settle: begun",
    "settle: finished",
    "undo: begun",
    "undo: done",
)
"""Every step at which an operation can be cut off."""


def nothing(step: str) -> None:
    """Takes no notice of a step."""


Step = tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """One operation under way."""

    disk: str
    """The uuid of the disk that the operation makes or takes away."""
    sr: str
    makes: bool
    """It was done if the store knows the disk; else, if the store no longer knows it."""
    undo: Sequence[Step] = ()
    finish: Sequence[Step] = ()
    """The same as `undo` once it is decided which is to be taken."""


class DiskJournal:
    """The operations under way, a file each in `folder`; none is kept where that is None. `reached` hears of steps."""

    def __init__(self, folder: Path | None, reached: Callable[[str], None] = nothing) -> None:
        self._folder = folder
        self._reached = reached
        self._lock = threading.Lock()
        self._open: dict[str, Operation] = {}
        self._undecided = self._read()
        self._left: dict[str, Operation] = {}

    def reached(self, step: str) -> None:
        """A step of an operation was taken; a test may want to know what becomes of it if it was the last."""
        assert step in STEPS, step
        self._reached(step)

    def decide(self, known: Callable[[str], bool]) -> None:
        """Note of each operation that an earlier run left whether it is to be finished or undone, for good: a disk may
        be forgotten before its storage is there. `known` says whether the store has a disk of a uuid.
        """
        for operation in self._undecided:
            steps = operation.finish if known(operation.disk) is operation.makes else operation.undo
            decided = replace(operation, undo=steps, finish=steps)
            with self._lock:
                self._left[operation.disk] = decided
            if not steps:
                self.end_left(decided)
            elif decided != operation:
                try:
                    self._write(decided)
                except OSError as error:  # the next start decides again
                    log.warning("the journal of disk operations cannot be written: %s", error)
        self._undecided = []

    def begin(self, operation: Operation) -> None:
        """Note an operation. INTERNAL_ERROR where that cannot be kept: then nothing is to be done.

        One that was left on this disk is forgotten: who begins another has taken its steps.
        """
        with self._lock:
            self._left.pop(operation.disk, None)
        try:
            self._write(operation)
        except OSError as error:
            raise InternalError(f"the journal of disk operations cannot be written: {error.strerror}") from error
        with self._lock:
            self._open[operation.disk] = operation

    def end(self, disk: str) -> None:
        """Forget the operation on this disk, which is over; where there is none, that is no error.

        Should a power cut bring it back, the store says that it was done, or its steps find nothing to be done to: no
        name of an operation is ever used for another.
        """
        with self._lock:
            known = self._open.pop(disk, None)
        if known is not None:
            self._remove(disk)

    def put_off(self, disk: str) -> None:
        """The operation on this disk can neither go on nor be undone now: it is left, as if by an earlier run."""
        with self._lock:
            if (operation := self._open.pop(disk, None)) is not None:
                self._left[disk] = operation

    def end_left(self, operation: Operation) -> None:
        """Forget one that was left, which is over, unless another was begun on its disk."""
        with self._lock:
            if self._left.get(operation.disk) is operation:
                del self._left[operation.disk]
                self._remove(operation.disk)

    def under_way(self, disk: str) -> Operation | None:
        """The operation of this run on a disk."""
        with self._lock:
            return self._open.get(disk)

    def left(self, sr: str) -> list[Operation]:
        """What was left in this storage, the latest first: its steps `undo` are to be taken."""
        with self._lock:
            return [operation for operation in self._left.values() if operation.sr == sr][::-1]

    def _remove(self, disk: str) -> None:
        if self._folder is None:
            return
        try:
            (self._folder / f"{disk}.json").unlink(missing_ok=True)
        except OSError as error:  # at the next start it is looked at again, and found to be over
            log.warning("the journal of disk operations cannot be written: %s", error)

    def _write(self, operation: Operation) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{operation.disk}.json"
        new = path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(operation), file)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        sync_folder(self._folder)

    def _read(self) -> list[Operation]:
        if self._folder is None or not self._folder.is_dir():
            return []
        found = []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            try:
                kept = json.loads(path.read_text("utf-8"))
                kept["undo"] = [tuple(step) for step in kept["undo"]]
                kept["finish"] = [tuple(step) for step in kept["finish"]]
                found.append(Operation(**kept))
            except (ValueError, TypeError, KeyError) as error:
                log.error("%s cannot be read, what it was to undo stays: %s", path, error)
        return found


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

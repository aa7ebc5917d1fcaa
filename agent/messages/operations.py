"""What is being done to an object, noted on it while it lasts: its current_operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.classes import VDI, Task
from agent.classes.enums import VdiOperation
from agent.errors import HandleInvalid, VdiInUse
from agent.model.entity import Entity
from agent.store.store import Store


@contextmanager
def noted(store: Store, subject: Any, operation: str, task: Task) -> Iterator[None]:
    """Let the object say that a task does this to it. HANDLE_INVALID if it has gone, VDI_IN_USE for a disk whose
    content is being replaced.
    """
    entity: Entity = subject
    word = entity.fields["current_operations"].type.decode({"": operation}, store.find)[""]
    with store.transaction(wait=False):
        if not store.is_live(entity):
            raise HandleInvalid(entity.wire_name, entity.ref)
        if isinstance(subject, VDI) and VdiOperation.BLOCKED in subject.current_operations.values():
            raise VdiInUse(subject, operation)
        subject.current_operations = {**subject.current_operations, task.ref: word}
    try:
        yield
    finally:
        with store.transaction(wait=False):
            if store.is_live(entity):
                rest = {key: item for key, item in subject.current_operations.items() if key != task.ref}
                subject.current_operations = rest

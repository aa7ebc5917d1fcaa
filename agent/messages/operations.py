"""What is being done to an object, noted on it while it lasts: its current_operations; tasks of the agent's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from agent.call import Site
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


@contextmanager
def own_task(site: Site, name: str) -> Iterator[Task]:
    """A task of the agent's own, which others see while it lasts."""
    task = Task()
    task.name_label, task.created, task.resident_on = name, datetime.now(UTC), site.observer.host
    with site.store.transaction(wait=False):
        site.store.add(task, volatile=True)
    try:
        yield task
    finally:
        with site.store.transaction(wait=False):
            if site.store.is_live(task):
                site.store.destroy(task)

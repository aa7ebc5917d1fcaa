"""The store: every object by reference and uuid, transactions, both ends of bound fields, and who refers to whom.

Memory is the truth for readers. A transaction changes it in place under one lock and can be undone; its end derives
what follows from the changes, hands the rows to the journal and, once they are durable, the changes to the ring. No
call to the machine below is made while the lock is held.

Over the usual size: one class, all of it under one lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import orjson

from agent.errors import HandleInvalid, InternalError, OperationNotAllowed, UuidInvalid, XenError
from agent.model.entity import Entity, Field
from agent.model.types import Mistyped, Ref, Refused
from agent.store.changes import ADD, DEL, MOD, Changes
from agent.store.journal import Commit, Journal

log = logging.getLogger(__name__)
E = TypeVar("E", bound=Entity)


class Transaction:
    """What one transaction has done so far."""

    __slots__ = ("commit", "deriving", "dirty", "operations", "owner", "todo", "undo")

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.undo: list[Callable[[], None]] = []
        self.operations: dict[Entity, str] = {}
        self.dirty: dict[Entity, None] = {}
        self.todo: dict[Entity, None] = {}
        self.deriving: Entity | None = None
        self.commit: Commit | None = None
        """Set when the transaction has ended; wait for it before telling anyone it is done."""


class Store:
    """All objects of the sealed classes. Open it with `load` before use, end it with `close`."""

    def __init__(self, classes: Mapping[str, type[Entity]], journal: Journal, *, cascade: bool = False) -> None:
        self.classes = classes
        self.cascade = cascade
        self.changes = Changes()
        self.epoch = 0
        """Number of this run; a generation of changes means something only within it."""
        self.lock = threading.RLock()
        """Readers of more than one value hold it, so that they see no transaction's middle."""
        self.versions: dict[str, int] = dict.fromkeys(classes, 0)
        """Grows with every change of an object of the class: what was made from all of them is good until then."""
        self._objects: dict[str, dict[str, Entity]] = {name: {} for name in classes}
        self._by_uuid: dict[str, dict[str, Entity]] = {name: {} for name in classes}
        self._transaction: Transaction | None = None
        self._journal = journal
        journal.durable = lambda commit: self.changes.publish(commit.changes) if commit.changes else None
        journal.failed = self._journal_failed

    # --- reading

    def find(self, class_name: str, ref: str) -> Entity | None:
        """The live object of this class with this reference, if there is one."""
        objects = self._objects.get(class_name)
        return None if objects is None else objects.get(ref)

    def get(self, cls: type[E], ref: str) -> E:
        """The object with this reference; HANDLE_INVALID if there is none."""
        found = self._objects[cls.wire_name].get(ref)
        if found is None:
            raise HandleInvalid(cls.wire_name, ref)
        return cast(E, found)

    def by_uuid(self, cls: type[E], uuid: str) -> E:
        """The object with this uuid; UUID_INVALID if there is none."""
        found = self._by_uuid[cls.wire_name].get(uuid)
        if found is None:
            raise UuidInvalid(cls.wire_name, uuid)
        return cast(E, found)

    def known(self, cls: type[E], uuid: str) -> E | None:
        """The object with this uuid, or None."""
        return cast("E | None", self._by_uuid[cls.wire_name].get(uuid))

    def all(self, cls: type[E]) -> list[E]:
        """All objects of the class, in the order they came."""
        with self.lock:
            return cast("list[E]", list(self._objects[cls.wire_name].values()))

    def only(self, cls: type[E]) -> E:
        """The one object of a class that has just one: the pool, the host."""
        return cast(E, next(iter(self._objects[cls.wire_name].values())))

    def count(self, class_name: str) -> int:
        """How many objects of the class there are."""
        return len(self._objects[class_name])

    # --- transactions

    @contextmanager
    def transaction(self, *, wait: bool = True) -> Iterator[Transaction]:
        """All or nothing: what the body assigns, adds and destroys is kept if it ends, undone if it raises.

        With `wait` it returns when the changes are durable; without, the caller waits for ``transaction.commit``.
        Within another transaction of the same thread it is a part of that one. The body must not call the machine
        below.
        """
        self.lock.acquire()
        try:
            if self._transaction is not None:
                yield self._transaction
                return
            transaction = self._transaction = Transaction(threading.get_ident())
            try:
                yield transaction
                self._derive(transaction)
                commit = self._commit_of(transaction)
            except BaseException:
                for undo in reversed(transaction.undo):
                    undo()
                raise
            finally:
                self._transaction = None
            transaction.commit = commit
            self._journal.submit(commit)
        finally:
            self.lock.release()
        if wait:
            commit.wait()

    def add(self, entity: E, *, volatile: bool = False) -> E:
        """Take a new object in. A `volatile` one the journal does not keep."""
        transaction = self._current()
        objects, by_uuid = self._objects[entity.wire_name], self._by_uuid[entity.wire_name]
        if entity.uuid in by_uuid:
            raise OperationNotAllowed(f"there is a {entity.wire_name} with the uuid {entity.uuid}")
        object.__setattr__(entity, "_volatile", volatile)
        object.__setattr__(entity, "_store", self)
        objects[entity.ref] = by_uuid[entity.uuid] = entity
        transaction.undo.append(partial(self._forget, entity))
        transaction.operations[entity] = ADD
        transaction.todo[entity] = None
        if not volatile:
            transaction.dirty[entity] = None
        self.versions[entity.wire_name] += 1
        for field in entity.fields.values():
            if isinstance(field.type, Ref):
                self._link(entity, field, entity.__dict__[field.name])
        return entity

    def assign(self, entity: Entity, name: str, value: Any) -> None:
        """Set a field. Entities call it when one of their attributes is assigned."""
        transaction = self._current()
        held = entity.__dict__
        old = held[name]
        if old == value:
            return
        field = entity.fields[name]
        if isinstance(field.type, Ref):
            self._unlink(entity, field, old)
            self._set(transaction, entity, name, value)
            self._link(entity, field, value)
        else:
            self._set(transaction, entity, name, value)
        if field.persistent and not entity._volatile:
            transaction.dirty[entity] = None
        if not field.quiet:
            transaction.operations.setdefault(entity, MOD)
        if transaction.deriving is not entity and (entity.derive_from is None or name in entity.derive_from):
            transaction.todo[entity] = None

    def destroy(self, entity: Entity) -> None:
        """Take an object out, with the parts the agent made for it.

        OPERATION_NOT_ALLOWED, naming the referrer, while another object refers to it; weak references become null.
        """
        transaction = self._current()
        going, weak = self._leaving(entity)
        for referrer, name in weak:
            self.assign(referrer, name, None)
        for gone in going:
            for field in gone.fields.values():
                if isinstance(field.type, Ref):
                    self._unlink(gone, field, gone.__dict__[field.name])
        for gone in going:
            del self._objects[gone.wire_name][gone.ref], self._by_uuid[gone.wire_name][gone.uuid]
            for slot in ("_store", "_xml", "_json"):  # the ring may hold it for long: let it hold little
                object.__setattr__(gone, slot, None)
            transaction.undo.append(partial(self._remember, gone))
            self.versions[gone.wire_name] += 1
            transaction.todo.pop(gone, None)
            if transaction.operations.get(gone) == ADD:
                del transaction.operations[gone]
                transaction.dirty.pop(gone, None)
            else:
                transaction.operations[gone] = DEL
                if not gone._volatile:
                    transaction.dirty[gone] = None

    def assert_unreferenced(self, entity: Entity) -> None:
        """OPERATION_NOT_ALLOWED if destroy would refuse now."""
        with self.lock:
            self._leaving(entity)

    def is_live(self, entity: Entity) -> bool:
        """Whether the object is still in the store."""
        return entity._store is self

    # --- opening and closing

    def load(self) -> None:
        """Read the journal, and begin to write it. What no longer fits the declarations is named in the log and left
        out.
        """
        raw: list[tuple[Entity, Mapping[str, Any]]] = []
        unknown: set[str] = set()
        values: dict[str, list[tuple[str, Field]]] = {}
        references: dict[str, list[tuple[str, Field]]] = {}
        for name, cls in self.classes.items():
            persistent = cls.persistent_fields.items()
            values[name] = [item for item in persistent if not isinstance(item[1].type, Ref)]
            references[name] = [item for item in persistent if isinstance(item[1].type, Ref)]
        for class_name, uuid, data in self._journal.rows():
            known = self.classes.get(class_name)
            if known is None:
                unknown.add(class_name)
                continue
            record = _record(data)
            if record is None:
                log.warning("the journal's record of the %s %s cannot be read; it is left out", class_name, uuid)
                continue
            unknown.update(f"{class_name}.{name}" for name in record.keys() - known.persistent_fields.keys())
            entity = known(uuid=uuid)
            held = entity.__dict__
            for name, field in values[class_name]:
                if name in record:
                    held[name] = self._loaded(entity, field, record[name])
            object.__setattr__(entity, "_store", self)
            self._objects[class_name][entity.ref] = self._by_uuid[class_name][uuid] = entity
            raw.append((entity, record))
        for name in sorted(unknown):
            log.warning("the journal has %s, which this version does not keep; it is left out", name)
        orphans = [
            entity for entity, record in raw if not self._load_references(entity, record, references[entity.wire_name])
        ]
        self.epoch = int(self._journal.meta("epoch", "0")) + 1
        self._journal.set_meta("epoch", str(self.epoch))
        self._journal.start()
        with self.transaction() as transaction:
            for entity in orphans:
                self._discard(entity)
            for objects in self._objects.values():
                transaction.todo.update(dict.fromkeys(objects.values()))

    def close(self) -> None:
        """Write what waits."""
        self._journal.close()

    def _loaded(self, entity: Entity, field: Field, value: Any) -> Any:
        try:
            return field.type.load(value, self.find)
        except (Mistyped, Refused, XenError):
            log.warning("%r: the journal's value for %s is not one of type %s", entity, field.name, field.type)
            return field.default

    def _load_references(
        self, entity: Entity, record: Mapping[str, Any], references: Sequence[tuple[str, Field]]
    ) -> bool:
        whole = True
        for name, field in references:
            kind = cast(Ref, field.type)
            reference = record.get(name)
            target = self.find(kind.to, reference) if isinstance(reference, str) else None
            if target is None:
                whole = whole and (kind.nullable or field.weak)
                continue
            entity.__dict__[name] = target
            target._referrers[entity, name] = None
            if field.bound:
                target.__dict__[field.bound] += (entity,)
        return whole

    def _discard(self, entity: Entity) -> None:
        """Take out an object that refers to something gone, with those that cannot be without it. In a transaction."""
        if not self.is_live(entity):
            return
        log.warning("%r refers to something that is gone; it is left out", entity)
        for referrer, name in list(entity._referrers):
            if cast(Ref, referrer.fields[name].type).nullable:
                self.assign(referrer, name, None)
            else:
                self._discard(referrer)
        self.destroy(entity)

    # --- inside a transaction

    def _current(self) -> Transaction:
        transaction = self._transaction
        if transaction is None or transaction.owner != threading.get_ident():
            raise RuntimeError("objects of the store change in a transaction only")
        return transaction

    def _set(self, transaction: Transaction, entity: Entity, name: str, value: Any) -> None:
        transaction.undo.append(partial(self._restore, entity, name, entity.__dict__[name]))
        self._restore(entity, name, value)

    def _restore(self, entity: Entity, name: str, value: Any) -> None:
        entity.__dict__[name] = value
        object.__setattr__(entity, "_xml", None)
        object.__setattr__(entity, "_json", None)
        self.versions[entity.wire_name] += 1

    def _link(self, entity: Entity, field: Field, target: Entity | None) -> None:
        if target is None:
            return
        if target._store is not self:
            # It was destroyed since the caller found it; a reference to it would outlive it in the journal.
            raise HandleInvalid(target.wire_name, target.ref)
        transaction = self._current()
        target._referrers[entity, field.name] = None
        transaction.undo.append(partial(target._referrers.pop, (entity, field.name), None))
        if field.bound:
            self._set_other_end(transaction, target, field.bound, (*target.__dict__[field.bound], entity))

    def _unlink(self, entity: Entity, field: Field, target: Entity | None) -> None:
        if target is None:
            return
        transaction = self._current()
        target._referrers.pop((entity, field.name), None)
        transaction.undo.append(partial(target._referrers.__setitem__, (entity, field.name), None))
        if field.bound:
            others = tuple(other for other in target.__dict__[field.bound] if other is not entity)
            self._set_other_end(transaction, target, field.bound, others)

    def _set_other_end(self, transaction: Transaction, target: Entity, name: str, value: tuple[Entity, ...]) -> None:
        self._set(transaction, target, name, value)
        transaction.operations.setdefault(target, MOD)
        derives = target.derive_from is None or name in target.derive_from
        if derives and transaction.deriving is not target and target._store is self:
            transaction.todo[target] = None

    def _forget(self, entity: Entity) -> None:
        self._objects[entity.wire_name].pop(entity.ref, None)
        self._by_uuid[entity.wire_name].pop(entity.uuid, None)
        object.__setattr__(entity, "_store", None)
        self.versions[entity.wire_name] += 1

    def _remember(self, entity: Entity) -> None:
        object.__setattr__(entity, "_store", self)
        self._objects[entity.wire_name][entity.ref] = self._by_uuid[entity.wire_name][entity.uuid] = entity
        self.versions[entity.wire_name] += 1

    def _leaving(self, entity: Entity) -> tuple[dict[Entity, None], list[tuple[Entity, str]]]:
        """What goes with the object, and the weak references that become null. Refused while a strong one is left."""
        going = self._going(entity)
        weak: list[tuple[Entity, str]] = []
        for gone in going:
            for referrer, name in gone._referrers:
                if referrer in going:
                    continue
                if not referrer.fields[name].weak:
                    raise OperationNotAllowed(
                        f"{gone.wire_name} {gone.ref} is still the {name} of {referrer.wire_name} {referrer.ref}"
                    )
                weak.append((referrer, name))
        return going, weak

    def _going(self, entity: Entity) -> dict[Entity, None]:
        """The object and its parts, each once."""
        going = {entity: None}
        waiting = [entity]
        while waiting:
            gone = waiting.pop()
            parts = [
                referrer
                for referrer, name in gone._referrers
                if (field := referrer.fields[name]).part or (field.cascade and self.cascade)
            ]
            parts += [gone.__dict__[field.name] for field in gone.fields.values() if field.owns]
            for part in parts:
                if part is not None and part not in going:
                    going[part] = None
                    waiting.append(part)
        return going

    @staticmethod
    def _derive(transaction: Transaction) -> None:
        while transaction.todo:
            entity = next(iter(transaction.todo))
            del transaction.todo[entity]
            transaction.deriving = entity
            entity.derive()
        transaction.deriving = None

    def _commit_of(self, transaction: Transaction) -> Commit:
        rows = [
            (entity.wire_name, entity.uuid, None if entity._store is None else self._row(entity))
            for entity in transaction.dirty
        ]
        changes = [(operation, entity) for entity, operation in transaction.operations.items() if entity.announced]
        return Commit(rows, changes, transaction.undo)

    @staticmethod
    def _row(entity: Entity) -> bytes:
        held = entity.__dict__
        record = {
            name: held[name] if field.type.plain else field.type.dump(held[name])
            for name, field in entity.persistent_fields.items()
        }
        return orjson.dumps(record, option=orjson.OPT_NON_STR_KEYS)

    def _journal_failed(self, lost: list[Commit], error: Exception) -> None:
        """Undo in memory what could not be kept, newest first, and all that was built on it.

        Who has read it meanwhile is told what holds again, as changes of the same objects.
        """
        with self.lock:
            lost += self._journal.drain()
            log.error("the journal cannot be written, %d changes are undone: %s", len(lost), error)
            for commit in reversed(lost):
                for undo in reversed(commit.undo):
                    undo()
            undone = dict.fromkeys(entity for commit in lost for _, entity in commit.changes)
            self.changes.publish([(MOD if self.is_live(entity) else DEL, entity) for entity in undone])
        for commit in lost:
            commit.error = InternalError(f"the change could not be kept and was undone: the state folder says: {error}")
            commit.settle()


def _record(data: bytes) -> dict[str, Any] | None:
    """A row's record; None where it is none."""
    try:
        record = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None

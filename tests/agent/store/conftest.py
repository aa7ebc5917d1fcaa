"""What the tests of the store share: objects that refer to each other, and stores that can be opened again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.classes import SR, VBD, VDI, VIF, VM, Network, VIFMetrics
from agent.model.entity import Entity
from agent.store.journal import Journal
from agent.store.store import Store

Open = Callable[..., Store]


@dataclass
class Lab:
    """A machine on a network, with a disk in a storage; all of it in one store."""

    store: Store
    network: Network
    vm: VM
    vif: VIF
    sr: SR
    vdi: VDI
    vbd: VBD


def furnish(store: Store) -> Lab:
    """Fill a store."""
    with store.transaction():
        network = store.add(Network(name_label="lan"))
        vm = store.add(VM(name_label="web"))
        vif = VIF(VM=vm, network=network, device="0")
        vif.metrics = store.add(VIFMetrics())
        store.add(vif)
        sr = store.add(SR(name_label="local"))
        vdi = store.add(VDI(SR=sr, name_label="root"))
        vbd = store.add(VBD(VM=vm, VDI=vdi, userdevice="0"))
    return Lab(store, network, vm, vif, sr, vdi, vbd)


def killed(file: Path, folder: str) -> Path:
    """The files as a kill at this moment would leave them: a copy of them while the store has them open."""
    copy = file.parent / folder / file.name
    copy.parent.mkdir()
    for part in ("", "-wal"):
        shutil.copy(f"{file}{part}", f"{copy}{part}")
    return copy


def kept(store: Store) -> dict[str, dict[str, Any]]:
    """The values that the journal is to keep, by reference; references as text."""
    return {
        entity.ref: {name: field.type.dump(entity.__dict__[name]) for name, field in cls.persistent_fields.items()}
        for cls in store.classes.values()
        for entity in store.all(cls)
    }


@pytest.fixture
def lab(store: Store) -> Lab:
    """A furnished store whose journal is in memory."""
    return furnish(store)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a journal is kept."""
    return tmp_path / "journal.db"


@pytest.fixture
def open_store(classes: Mapping[str, type[Entity]], file: Path) -> Iterator[Open]:
    """Opens the store of a file; all are closed at the end."""
    opened: list[Store] = []

    def open_(path: Path = file, some: Mapping[str, type[Entity]] = classes, *, cascade: bool = False) -> Store:
        store = Store(some, Journal(path), cascade=cascade)
        opened.append(store)
        store.load()
        return store

    yield open_
    for store in opened:
        store.close()

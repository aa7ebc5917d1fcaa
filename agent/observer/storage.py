"""Pools become storage repositories, volumes disks. What is found is adopted; what is gone is marked, never
forgotten.
"""

from __future__ import annotations

import logging
import uuid as uuids
from collections.abc import Collection, Mapping, Sequence

from agent.classes import PBD, SM, SR, VDI, Host, Pool
from agent.classes.enums import VdiType
from agent.errors import XenError
from agent.ports import SeenPool, SeenStorageType, SeenVolume, Storage
from agent.store.store import Store

log = logging.getLogger(__name__)
OUTSIDE = "outside"
"""The type of the one SR that stands for disks outside of any pool."""


def outside_sr(store: Store) -> SR:
    """The SR of disks that machines use and that lie in no pool. In a transaction."""
    host = store.only(Host)
    uuid = str(uuids.uuid5(uuids.UUID(host.uuid), OUTSIDE))
    sr = store.known(SR, uuid)
    if sr is None:
        sr = SR(type=OUTSIDE, content_type="user", name_label="Disks outside of any storage")
        sr.uuid = uuid
        sr.name_description = (
            "Files and devices that machines use and that no storage pool has; the agent only names them"
        )
        store.add(sr)
    return sr


def note(store: Store, storage: Storage, making: Collection[str]) -> None:
    """Make storage and disks what was seen, and attach again what the hypervisor has forgotten."""
    seen = {pool.uuid: pool for pool in storage.pools()}
    types = storage.types()
    with store.transaction():
        _types(store, types)
        for pool in seen.values():
            _pool(store, pool)
    for sr in store.all(SR):
        if sr.uuid not in seen and any(pbd.plugged for pbd in sr.PBDs):
            _attach_again(store, storage, sr)
        if any(pbd.currently_attached for pbd in sr.PBDs):
            try:
                scan(store, storage, sr, making)
            except XenError as error:
                log.warning("%r cannot be scanned: %s", sr, error)
    _choose_default(store)


def _types(store: Store, types: Sequence[SeenStorageType]) -> None:
    """Make the types of storage what was seen."""
    known = {sm.type: sm for sm in store.all(SM)}
    for seen in types:
        sm = known.pop(seen.type, None)
        if sm is None:
            sm = SM()
            sm.uuid = str(uuids.uuid5(uuids.UUID(store.only(Host).uuid), f"SM {seen.type}"))
            sm.type, sm.name_label, sm.vendor = seen.type, seen.type, "libvirt"
            store.add(sm)
        sm.name_description = seen.description
        sm.capabilities, sm.features = tuple(seen.capabilities), dict.fromkeys(seen.capabilities, 1)
        sm.supported_image_formats = tuple(seen.formats)
    for sm in known.values():
        store.destroy(sm)


def scan(store: Store, storage: Storage, sr: SR, making: Collection[str]) -> None:
    """Look at the volumes of an attached SR and at its room.

    `making` has the uuids of disks whose volume may be there before they are in the store: those are not adopted.
    """
    storage.recover(sr)
    before = {vdi: (vdi.location, vdi.parent) for vdi in sr.VDIs}
    volumes = storage.scan(sr)
    size, used = storage.usage(sr)
    with store.transaction():
        if store.is_live(sr):
            _volumes(store, sr, before, volumes, set(making))
            _note_room(sr, size, used)


def measure_room(store: Store, storage: Storage, sr: SR) -> None:
    """Note how much room there is, after something was made or removed."""
    size, used = storage.usage(sr)
    with store.transaction():
        if store.is_live(sr):
            _note_room(sr, size, used)


def _note_room(sr: SR, size: int, used: int) -> None:
    sr.physical_size, sr.physical_utilisation = size, used
    sr.virtual_allocation = sum(vdi.virtual_size for vdi in sr.VDIs if vdi.managed)


def _pool(store: Store, seen: SeenPool) -> None:
    sr = store.known(SR, seen.uuid)
    if sr is None:
        content = "iso" if seen.type == "iso" else "user"
        sr = SR(name_label=seen.name, type=seen.type, content_type=content)
        sr.uuid = seen.uuid
        store.add(sr)
    if not sr.PBDs:
        store.add(PBD(host=store.only(Host), SR=sr, device_config=dict(seen.device_config)))
    for pbd in sr.PBDs:
        pbd.currently_attached = seen.active
        pbd.plugged = pbd.plugged or seen.active
    if seen.active:
        sr.physical_size, sr.physical_utilisation = seen.capacity, seen.allocation


def _attach_again(store: Store, storage: Storage, sr: SR) -> None:
    for pbd in sr.PBDs:
        try:
            storage.attach(pbd)
            attached = True
        except XenError as error:
            log.warning("%r cannot be attached: %s", sr, error)
            attached = False
        with store.transaction():
            pbd.currently_attached = attached


def _is_of(volume: SeenVolume, making: Collection[str]) -> bool:
    return any(uuid in volume.location for uuid in making)


def _volumes(
    store: Store,
    sr: SR,
    before: Mapping[VDI, tuple[str, VDI | None]],
    volumes: Sequence[SeenVolume],
    making: Collection[str],
) -> None:
    """What was listed, against the disks as they were then and are now: one may have come, gone or moved in between."""
    known = {vdi.location: vdi for vdi in sr.VDIs}
    gone = {location for location, _ in before.values()} - known.keys()
    adopted: list[tuple[VDI, str]] = []
    for seen in volumes:
        vdi = known.pop(seen.location, None)
        if vdi is None:
            if seen.location in gone or _is_of(seen, making):
                continue
            vdi = VDI(
                SR=sr,
                name_label=seen.name,
                type=VdiType.USER,
                virtual_size=seen.capacity,
                read_only=seen.read_only,
            )
            vdi.format = seen.format
            vdi.location = seen.location
            store.add(vdi)
            adopted.append((vdi, seen.parent))
        elif seen.whole and vdi.parent is not None and before.get(vdi) == (vdi.location, vdi.parent):
            vdi.parent = None  # its content was replaced, and the agent killed before it could note that
        vdi.missing = False
        vdi.physical_utilisation = seen.allocation
        vdi.virtual_size = seen.capacity
    note_parents(sr, adopted)
    for vdi in known.values():
        if vdi in before and before[vdi][0] == vdi.location and vdi.uuid not in making:
            vdi.missing = True


def note_parents(sr: SR, adopted: Sequence[tuple[VDI, str]]) -> None:
    """Note what adopted disks are laid over, within their storage. Below an image, that is a hidden base unless a
    machine has it; the origin of a snapshot by lvm2 may be written to. In a transaction.
    """
    places = {vdi.location: vdi for vdi in sr.VDIs}
    for vdi, location in adopted:
        below = places.get(location)
        if below is None or below is vdi:
            continue
        vdi.parent = below
        if not below.VBDs and vdi.format != "raw":
            below.managed, below.read_only = False, True


def _choose_default(store: Store) -> None:
    pool = store.only(Pool)
    if pool.default_SR is None:
        usable = [sr for sr in store.all(SR) if sr.content_type != "iso" and sr.type != OUTSIDE and sr.PBDs]
        if usable:
            with store.transaction():
                pool.default_SR = usable[0]

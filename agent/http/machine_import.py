"""``/import``: a whole machine with its disks, made of an XVA file.

All or nothing: its disks are files that nobody sees until the last byte has come, then one transaction makes the
machine. What the file says is taken as what a client says: the fields that ``create`` takes, checked alike. References,
uuids and paths in it name nothing on this host, but for networks and media, which are looked up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from agent.call import Call
from agent.classes import SR, VBD, VDI, VIF, VM, Network, VBDMetrics, VIFMetrics
from agent.classes.devices import CARDS, PLACES, number_of
from agent.classes.enums import VbdMode, VdiType
from agent.errors import (
    DeviceAlreadyExists,
    ImportFailed,
    ImportObjectMissing,
    InvalidDevice,
    UniquenessViolated,
    ValueNotSupported,
    VdiTooSmall,
    VMRequiresSR,
    XenError,
)
from agent.http import ova, xva
from agent.http.jobs import Job, find
from agent.http.ova import Described
from agent.messages.sr import UUID, note_room
from agent.messages.vdi_chains import note_volume, or_undone, require_attached, require_own, settle
from agent.messages.vif import random_mac
from agent.messages.vm import define_or_undo
from agent.messages.vm_memory import check_limits, check_vcpus
from agent.model.entity import Entity
from agent.model.messages import construct, constructor_record
from agent.model.types import Mistyped, Ref, Set
from agent.observer.domains import make_parts
from agent.ports import VolumeWriter
from agent.rpc.xmlrpc import value_text

log = logging.getLogger(__name__)

NOT_TAKEN = frozenset(
    {
        "affinity",
        "appliance",
        "ha_always_run",
        "ha_restart_priority",
        "is_vmss_snapshot",
        "last_booted_record",
        "protection_policy",
        "snapshot_schedule",
        "suspend_SR",
    }
)
"""Fields of a machine that mean something on the host it came from only."""


@dataclass
class Plan:
    """A machine that is to be made, and the loose objects that it is to be made of."""

    vm: VM
    vbds: list[VBD] = field(default_factory=list)
    vifs: list[VIF] = field(default_factory=list)
    vdis: dict[str, VDI] = field(default_factory=dict)
    """By their ids in the description."""
    networks: list[Network] = field(default_factory=list)
    """Those that this host does not have yet."""


def import_machine(job: Job) -> str:
    """Make a machine of what is sent."""
    call = job.call
    assert job.upload is not None
    sr = _storage(job)
    restore = job.word("restore", "false", "false", "true") == "true"
    force = job.word("force", "false", "false", "true") == "true"
    if force:
        raise ValueNotSupported("force", "true", "a damaged file is not taken")
    job.begin(None)
    archive = xva.Archive(xva.plain(job.upload.read))
    plan = _planned(call, ova.read(archive.description(ova.LONGEST)), sr, restore=restore)
    uuids = {vdi.uuid for vdi in plan.vdis.values()}
    call.observer.making.update(uuids)
    try:
        with ExitStack() as opened:
            writers: dict[str, VolumeWriter] = {}
            for id, vdi in plan.vdis.items():
                writers[id] = call.storage.write_volume(vdi)
                opened.callback(writers[id].close)
            _fill(call, archive, plan, writers)
            if job.upload.bounded:
                archive.rest()
            made = _made(call, plan, writers)
    finally:
        call.observer.making.difference_update(uuids)
    for room in {vdi.SR for vdi in plan.vdis.values()}:
        note_room(call, room)
    return value_text(Set(Ref("VM")), (made,))


def _storage(job: Job) -> SR:
    """Where the disks are to be: the SR that is named, else the pool's default."""
    for name in ("sr_id", "sr_uuid"):
        if job.query.get(name):
            sr = find(job.call, SR, job.query[name])
            break
    else:
        default = job.call.pool.default_SR
        if default is None:
            raise VMRequiresSR("OpaqueRef:NULL", "the pool's default SR, which is not set")
        sr = default
    require_own(sr)
    require_attached(sr)
    return sr


def _fill(call: Call, archive: xva.Archive, plan: Plan, writers: Mapping[str, VolumeWriter]) -> None:
    whole = sum(writer.size for writer in writers.values()) or 1
    done = 0
    try:
        for step in archive.disks({id: xva.Disk(writer) for id, writer in writers.items()}):
            done += step
            call.progress(0.9 * done / whole)
    except VdiTooSmall as error:
        raise ImportFailed(f"a disk has more content than the size it is told to have: {error.minimum} bytes") from None
    for number, writer in enumerate(writers.values()):
        before = number

        def progress(part: float, before: int = before) -> None:
            call.progress(0.9 + 0.1 * (before + part) / len(writers))

        writer.finish(progress)


def _planned(call: Call, objects: list[Described], sr: SR, *, restore: bool) -> Plan:
    """What is to be made, checked as far as it can be before a disk has come."""
    by_id = {item.id: item for item in objects}
    machines = [item for item in objects if item.class_name == "VM"]
    if len(machines) != 1:
        raise ImportFailed(f"the file describes {len(machines)} machines; one at a time is imported")
    [machine] = machines
    vm = construct(VM, _fields(VM, machine, drop=NOT_TAKEN))
    vm.ours = True
    if restore:
        uuid = _uuid(machine)
        if call.store.known(VM, uuid) is not None:
            raise UniquenessViolated("VM", "uuid", uuid)
        vm.uuid = uuid
    check_limits(vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max)
    check_vcpus(vm.VCPUs_at_startup, vm.VCPUs_max)
    plan = Plan(vm)
    for item in objects:
        if item.record.get("VM") == machine.id:
            if item.class_name == "VBD":
                _plan_vbd(call, plan, item, by_id, sr)
            elif item.class_name == "VIF":
                _plan_vif(call, plan, item, by_id, restore=restore)
    call.domains.check(vm)
    return plan


def _uuid(item: Described) -> str:
    uuid = item.record.get("uuid")
    if not isinstance(uuid, str) or not UUID.fullmatch(uuid):
        raise ImportFailed("ova.xml has a machine without a proper uuid")
    return uuid


def _fields(
    cls: type[Entity],
    item: Described,
    *,
    drop: frozenset[str] = frozenset(),
    given: Mapping[str, Entity | None] = {},
) -> dict[str, Any]:
    """The fields that create takes, decoded as if a client had sent them. `given` are the references among them."""
    record = constructor_record(cls)
    entities = {entity.ref: entity for entity in given.values() if entity is not None}
    raw = {name: value for name, value in item.record.items() if name in record.fields and name not in drop}
    raw |= {name: entity.ref if entity is not None else ova.NULL for name, entity in given.items()}
    for name, kind in record.fields.items():
        if isinstance(kind.type, Ref) and name not in given:
            raw.pop(name, None)
    try:
        decoded = record.decode(raw, lambda wire_name, ref: entities.get(ref))
    except Mistyped:
        raise ImportFailed(f"the record of {item.id[:20]} is none") from None
    decoded.pop("", None)
    return decoded


def _plan_vbd(call: Call, plan: Plan, item: Described, by_id: Mapping[str, Described], sr: SR) -> None:
    is_drive = str(item.record.get("type", "")).lower() == "cd"
    id = item.record.get("VDI")
    described = by_id.get(id) if isinstance(id, str) else None
    vdi: VDI | None = None
    if is_drive:
        vdi = _medium(call, described)
    elif described is None or described.class_name != "VDI":
        raise ImportObjectMissing(str(id)[:100])
    else:
        vdi = plan.vdis.get(described.id) or _plan_vdi(plan, described, sr)
    vbd = construct(VBD, _fields(VBD, item, given={"VM": plan.vm, "VDI": vdi}))
    number = number_of(vbd.userdevice or vbd.device)
    if number is None or not 0 <= number < PLACES:
        raise InvalidDevice(vbd.userdevice or vbd.device)
    vbd.userdevice = str(number)
    if any(other.userdevice == vbd.userdevice for other in plan.vbds):
        raise DeviceAlreadyExists(vbd.userdevice)
    if is_drive:
        vbd.mode = VbdMode.RO
    vbd.empty = vdi is None
    plan.vbds.append(vbd)


def _medium(call: Call, described: Described | None) -> VDI | None:
    """The medium of a drive where this host has it, by uuid or, in a storage of media, by name; else the drive is
    empty.
    """
    if described is None:
        return None
    with call.store.lock:
        media = [vdi for vdi in call.store.all(VDI) if vdi.SR.content_type == "iso" and not vdi.missing]
    for name in ("uuid", "name_label"):
        found = [vdi for vdi in media if getattr(vdi, name) and getattr(vdi, name) == described.record.get(name)]
        if len(found) == 1:
            return found[0]
    return None


def _plan_vdi(plan: Plan, item: Described, sr: SR) -> VDI:
    kind = str(item.record.get("type", "")).lower()
    record = {**item.record, "type": kind if kind in ("system", "user") else "user"}
    drop = frozenset({"sm_config", "read_only"})  # formats and places are those of the storage that it comes to
    vdi = construct(VDI, _fields(VDI, replace(item, record=record), drop=drop, given={"SR": sr}))
    if vdi.virtual_size <= 0:
        raise ImportFailed("a disk has no size")
    plan.vdis[item.id] = vdi
    vdi.type = VdiType(vdi.type)
    return vdi


def _plan_vif(call: Call, plan: Plan, item: Described, by_id: Mapping[str, Described], *, restore: bool) -> None:
    id = item.record.get("network")
    described = by_id.get(id) if isinstance(id, str) else None
    if described is None or described.class_name != "network":
        raise ImportObjectMissing(str(id)[:100])
    network = _network(call, plan, described)
    vif = construct(VIF, _fields(VIF, item, given={"VM": plan.vm, "network": network}))
    if vif.device not in {str(place) for place in range(CARDS)}:
        raise InvalidDevice(vif.device)
    if any(other.device == vif.device for other in plan.vifs):
        raise DeviceAlreadyExists(vif.device)
    vif.MAC_autogenerated = not (restore and vif.MAC)
    vif.MAC = vif.MAC.lower() if restore and vif.MAC else random_mac()
    plan.vifs.append(vif)


def _network(call: Call, plan: Plan, item: Described) -> Network:
    """The network of this uuid or name, else a new one that only machines are on, as xapi makes it."""
    with call.store.lock:
        known = [*call.store.all(Network), *plan.networks]
    for name in ("uuid", "name_label"):
        found = [
            network for network in known if getattr(network, name) and getattr(network, name) == item.record.get(name)
        ]
        if found:
            return found[0]
    network = construct(Network, _fields(Network, item, drop=frozenset({"bridge", "managed"})))
    network.managed = True
    plan.networks.append(network)
    return network


def _made(call: Call, plan: Plan, writers: Mapping[str, VolumeWriter]) -> VM:
    """Put the volumes in place and make the machine; what fails undoes all of it."""
    vm = plan.vm
    placed: list[VDI] = []
    bridged: list[Network] = []
    try:
        for network in plan.networks:
            network.bridge = call.networks.create(network)
            bridged.append(network)
        for id, writer in writers.items():
            with or_undone(call, plan.vdis[id]):
                note_volume(plan.vdis[id], _commit(call, plan.vdis[id], writer))
            placed.append(plan.vdis[id])
        with call.store.transaction():
            for entity in (*plan.networks, *plan.vdis.values(), vm):
                call.store.add(entity)
            make_parts(call.store, vm)
            for vbd in plan.vbds:
                vbd.metrics = call.store.add(VBDMetrics())
                call.store.add(vbd)
            for vif in plan.vifs:
                vif.metrics = call.store.add(VIFMetrics())
                call.store.add(vif)
        settle(call, *placed)
        if not vm.is_a_template:
            define_or_undo(call, vm)
    except BaseException:
        _undo(call, placed, bridged)
        raise
    return vm


def _commit(call: Call, vdi: VDI, writer: VolumeWriter) -> Any:
    return call.site.lanes.submit(vdi.SR.ref, writer.commit).result()


def _undo(call: Call, vdis: list[VDI], networks: list[Network]) -> None:
    """Take away what nothing came of; the first error is the one to tell."""
    undoing: list[tuple[Entity, Callable[[], None]]] = []
    undoing += [(vdi, partial(call.storage.destroy_volume, vdi)) for vdi in vdis]
    undoing += [(network, partial(call.networks.destroy, network)) for network in networks]
    for entity, undo in undoing:
        try:
            undo()
        except XenError as error:
            log.warning("%r, of an import that failed, cannot be removed: %s", entity, error)
        with call.store.transaction():
            if call.store.is_live(entity):
                call.store.destroy(entity)

"""Storage repositories: making, scanning, forgetting and destroying them."""

from __future__ import annotations

import logging
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from contextlib import suppress

from agent.call import Call
from agent.classes import PBD, SR, Host
from agent.classes.enums import StorageOperation
from agent.classes.lifecycle import vdi_in_use
from agent.errors import (
    InvalidValue,
    SrHasPbd,
    SrNotEmpty,
    UniquenessViolated,
    VdiInUse,
    XenError,
)
from agent.messages.vdi_chains import ancestors, require_attached, require_own
from agent.model.entity import Entity
from agent.model.messages import Kind, message
from agent.observer import storage
from agent.roles import Role

log = logging.getLogger(__name__)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def require_new_uuid(call: Call, cls: type[Entity], uuid: str) -> None:
    """INVALID_VALUE for what is no uuid, DB_UNIQUENESS_CONSTRAINT_VIOLATION for one that is taken; empty will do."""
    if uuid and not UUID.fullmatch(uuid):
        raise InvalidValue(
            "uuid", f"{uuid[:100]}: a uuid is written as 8-4-4-4-12 hexadecimal digits, in small letters"
        )
    if uuid and call.store.known(cls, uuid) is not None:
        raise UniquenessViolated(cls.wire_name, "uuid", uuid)


def note_room(call: Call, sr: SR) -> None:
    """Note how much room there is after something was made or removed. That is done even if this cannot be read now:
    the next sweep reads it.
    """
    try:
        storage.measure_room(call.store, call.storage, sr)
    except XenError as error:
        log.warning("the room in %r cannot be read now: %s", sr, error)


def note_content(call: Call, sr: SR) -> None:
    """Note what is in a storage that was just attached. It is attached even if this cannot be read now."""
    try:
        storage.scan(call.store, call.storage, sr, call.observer.making)
    except XenError as error:
        log.warning("%r cannot be scanned now: %s", sr, error)


@message(SR)
def create(
    call: Call,
    host: Host,
    device_config: Mapping[str, str],
    physical_size: int,
    name_label: str,
    name_description: str,
    type: str,
    content_type: str,
    shared: bool,
    sm_config: Mapping[str, str] = {},
) -> SR:
    """Make a storage of one of the types that get_supported_types names, and attach it.

    `device_config` says where, as the type needs it. A device is formatted only if ``device_config:format`` asks for
    it: ``true`` if nothing is on it, ``overwrite`` whatever is. ``sm_config:type`` is the format of new disks, raw or
    qcow2; ``sm_config:wipe``, true or false, whether those that are devices are zeroed first. `physical_size` is not
    used: the size is what the place has. SR_UNKNOWN_DRIVER for another type.
    """
    sr = SR(type=type, content_type=content_type or "user", name_label=name_label, name_description=name_description)
    sr.shared, sr.sm_config = shared, sm_config
    try:
        call.storage.create(sr, device_config)
        with call.store.transaction():
            call.store.add(sr)
            pbd = PBD(host=host, SR=sr, device_config=device_config)
            pbd.currently_attached = pbd.plugged = True
            call.store.add(pbd)
    except XenError:
        with suppress(XenError):  # the first error is the one to tell
            call.storage.forget(sr)
        raise
    note_content(call, sr)
    if call.pool.default_SR is None and sr.content_type != "iso":
        with call.store.transaction():
            call.pool.default_SR = sr
    return sr


@message(SR, kind=Kind.WRITE, has_async=True)
def introduce(
    call: Call,
    uuid: str,
    name_label: str,
    name_description: str,
    type: str,
    content_type: str,
    shared: bool,
    sm_config: Mapping[str, str] = {},
) -> SR:
    """Make known a storage that exists; a PBD that says where it is, and PBD.plug, then attach it.

    INVALID_VALUE for what is no uuid; an empty one is made up.
    """
    require_new_uuid(call, SR, uuid)
    sr = SR(type=type, content_type=content_type or "user", name_label=name_label, name_description=name_description)
    sr.shared, sr.sm_config = shared, sm_config
    if uuid:
        sr.uuid = uuid
    return call.store.add(sr)


@message(SR, kind=Kind.BESIDE)
def probe(
    call: Call, host: Host, device_config: Mapping[str, str], type: str, sm_config: Mapping[str, str] = {}
) -> str:
    """Look which storage of a type there is: on the server that `device_config` names, or on this host.

    The answer is XML as xapi's: ``<SRlist><SR><serverpath>...</serverpath></SR>...</SRlist>``, with the device_config
    that each can be created or introduced with. SR_UNKNOWN_DRIVER, VALUE_NOT_SUPPORTED for types whose storage cannot
    be looked for, such as folders.
    """
    root = ElementTree.Element("SRlist")
    for found in call.storage.probe(type, device_config):
        element = ElementTree.SubElement(root, "SR")
        for key, value in found.items():
            ElementTree.SubElement(element, key).text = value
    return ElementTree.tostring(root, encoding="unicode")


@message(SR, role=Role.VM_POWER_ADMIN, operation=StorageOperation.SCAN.value)
def scan(call: Call, sr: SR) -> None:
    """Look at what is in the storage: new volumes become disks, and those whose volume is gone are marked missing."""
    require_attached(sr)
    storage.scan(call.store, call.storage, sr, call.observer.making)


@message(SR, operation=StorageOperation.UPDATE.value)
def update(call: Call, sr: SR) -> None:
    """Read again how large and how full the storage is."""
    require_attached(sr)
    storage.measure_room(call.store, call.storage, sr)


@message(SR, operation=StorageOperation.FORGET.value)
def forget(call: Call, sr: SR) -> None:
    """Forget the storage and its disks; nothing in it is touched. SR_HAS_PBD while it is attached."""
    if any(pbd.currently_attached for pbd in sr.PBDs):
        raise SrHasPbd(sr)
    for vdi in sr.VDIs:
        if vdi.VBDs:
            call.store.assert_unreferenced(vdi)
    # First: an SR that the hypervisor has no definition of can be plugged, or forgotten again; one that it still has
    # would come back, and not as it was.
    call.storage.forget(sr)
    _leave(call, sr)


@message(SR, operation=StorageOperation.DESTROY.value)
def destroy(call: Call, sr: SR) -> None:
    """Destroy the storage, which must have no disks (SR_NOT_EMPTY)."""
    require_own(sr)
    if sr.VDIs:
        raise SrNotEmpty
    call.storage.destroy(sr)
    _leave(call, sr)


def _leave(call: Call, sr: SR) -> None:
    """Take an SR with its PBDs and disks out of the store; refused while something else refers to one of them."""
    for vdi in sr.VDIs:
        if vdi_in_use(vdi):
            raise VdiInUse(vdi, "forget")
    with call.store.transaction():
        for vdi in sorted(sr.VDIs, key=lambda vdi: len(ancestors(vdi)), reverse=True):  # first what rests on others
            call.store.destroy(vdi)
        for pbd in sr.PBDs:
            call.store.destroy(pbd)
        call.store.destroy(sr)


@message(SR, kind=Kind.BESIDE, role=Role.READ_ONLY, has_async=False)
def get_supported_types(call: Call) -> tuple[str, ...]:
    """The types of storage that create takes on this host."""
    return tuple(call.storage.supported_types())

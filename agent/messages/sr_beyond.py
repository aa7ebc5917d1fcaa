"""What else xapi has on storage: a probe as records, and what one host alone cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from agent.call import Call
from agent.classes import PBD, SR, VBD, Host
from agent.classes.lifecycle import require_reach
from agent.errors import (
    DeviceAlreadyAttached,
    MessageDeprecated,
    OperationNotAllowed,
    SrOperationNotSupported,
    ValueNotSupported,
)
from agent.messages.vbd import require_vdi_free
from agent.model.messages import Kind, message
from agent.model.types import Bool, Int, Map, Set, String, Struct

SrStat = Struct(
    "sr_stat record",
    (
        ("name_label", String()),
        ("name_description", String()),
        ("free_space", Int()),
        ("total_space", Int()),
        ("clustered", Bool()),
        ("health", String()),
    ),
)
ProbeResult = Struct(
    "probe_result record",
    (
        ("configuration", Map(String(), String())),
        ("complete", Bool()),
        ("sr", SrStat),
        ("extra_info", Map(String(), String())),
    ),
    optional=frozenset({"sr"}),
)
Found = Annotated[tuple[Any, ...], Set(ProbeResult)]


@message(SR, kind=Kind.BESIDE)
def probe_ext(
    call: Call, host: Host, device_config: Mapping[str, str], type: str, sm_config: Mapping[str, str] = {}
) -> Found:
    """Look which storage of a type there is, as SR.probe does; each is a device_config that is complete.

    SR_UNKNOWN_DRIVER, VALUE_NOT_SUPPORTED for types whose storage cannot be looked for, such as folders.
    """
    found = call.storage.probe(type, device_config)
    return tuple({"configuration": dict(each), "complete": True, "extra_info": {}} for each in found)


@message(SR)
def make(
    call: Call,
    host: Host,
    device_config: Mapping[str, str],
    physical_size: int,
    name_label: str,
    name_description: str,
    type: str,
    content_type: str,
    sm_config: Mapping[str, str] = {},
) -> str:
    """Refused with MESSAGE_DEPRECATED, as by today's xapi: use SR.create."""
    raise MessageDeprecated


@message(SR, kind=Kind.WRITE, has_async=True)
def set_shared(call: Call, sr: SR, value: bool) -> None:
    """Note whether other hosts reach the storage too. The agent does not look; assert_agile goes by it."""
    sr.shared = value


@message(SR, kind=Kind.READ, has_async=False)
def set_physical_size(call: Call, self: SR, value: int) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for the size it has: libvirt measures it."""
    if value != self.physical_size:
        raise ValueNotSupported("physical_size", value, "it is what libvirt measures")


@message(SR)
def enable_database_replication(call: Call, sr: SR) -> None:
    """Refused with SR_OPERATION_NOT_SUPPORTED: the journal is on the host, and in no storage."""
    raise SrOperationNotSupported(sr)


@message(SR)
def assert_supports_database_replication(call: Call, sr: SR) -> None:
    """Refused with SR_OPERATION_NOT_SUPPORTED: the journal is on the host, and in no storage."""
    raise SrOperationNotSupported(sr)


@message(SR)
def disable_database_replication(call: Call, sr: SR) -> None:
    """Keep no copy of the journal in the storage. There is none, so nothing is to be done."""


@message(PBD)
def set_device_config(call: Call, self: PBD, value: Mapping[str, str]) -> None:
    """Say anew where the storage is, which must be unplugged; PBD.plug goes by it."""
    PBD.wire_fields["device_config"].admit(value)
    if self.currently_attached:
        raise OperationNotAllowed("the storage is attached: unplug the PBD first")
    call.storage.forget(self.SR)  # libvirt's definition has the old place; plug makes a new one
    with call.store.transaction():
        self.device_config = value


@message(VBD, kind=Kind.READ, has_async=True)
def assert_attachable(call: Call, self: VBD) -> None:
    """Fail as plug would for the disk's sake: DEVICE_ALREADY_ATTACHED, VDI_IN_USE."""
    require_reach(self.VM)
    if self.currently_attached:
        raise DeviceAlreadyAttached(self)
    require_vdi_free(self)

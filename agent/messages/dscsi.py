"""SCSI devices of the host for machines: refused, since nothing here could hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from agent.call import Call
from agent.classes import DSCSI, DSCSIHBA
from agent.errors import ValueNotSupported
from agent.model.messages import Kind, message
from agent.model.types import Record

REASON = (
    "libvirt's Xen driver passes no SCSI device through; a disk of the host can be given as a VDI, "
    "and an adapter whole as a PCI device"
)


@message(DSCSI, kind=Kind.WRITE, has_async=True, name="create")
def create_device(call: Call, args: Annotated[Mapping[str, Any], Record("DSCSI")]) -> DSCSI:
    """Refused with VALUE_NOT_SUPPORTED: libvirt's Xen driver passes no SCSI device through to a machine."""
    raise ValueNotSupported("PSCSI", args["PSCSI"].ref, REASON)


@message(DSCSIHBA, kind=Kind.WRITE, has_async=True, name="create")
def create_adapter(call: Call, args: Annotated[Mapping[str, Any], Record("DSCSI_HBA")]) -> DSCSIHBA:
    """Refused with VALUE_NOT_SUPPORTED: libvirt's Xen driver passes no SCSI adapter through to a machine."""
    raise ValueNotSupported("virtual_host", args["virtual_host"], REASON)

"""What else xapi has on disks: other storages' features, and pools' metadata in disks. Refused where it is not so
already.
"""

from __future__ import annotations

from typing import Annotated, Any

from agent.call import Call
from agent.classes import SM, SR, VDI, Session
from agent.classes.enums import OnBoot, VdiType
from agent.errors import (
    CouldNotImportDatabase,
    SrDoesNotSupportMigration,
    SrOperationNotSupported,
    ValueNotSupported,
    VdiIncompatibleType,
    VdiNeedsVMForMigrate,
)
from agent.model.messages import Kind, message
from agent.model.types import Int, Map, Set, String, Struct
from agent.roles import Role

NbdServer = Struct(
    "vdi_nbd_server_info record",
    (("exportname", String()), ("address", String()), ("port", Int()), ("cert", String()), ("subject", String())),
)
NO_DATABASE = "the agent keeps its journal on the host, and never in a disk"


@message(VDI, kind=Kind.READ, has_async=True)
def get_nbd_info(call: Call, self: VDI) -> Annotated[tuple[Any, ...], Set(NbdServer)]:
    """Always empty: no NBD server shows the disk to others. It is sent and fetched over HTTP instead."""
    return ()


@message(VDI, kind=Kind.READ, has_async=True)
def set_on_boot(call: Call, self: VDI, value: OnBoot) -> None:
    """Keep what the guest writes, as every disk does. SR_OPERATION_NOT_SUPPORTED for reset."""
    if value is not self.on_boot:
        raise SrOperationNotSupported(self.SR)


@message(VDI, kind=Kind.READ, has_async=True)
def set_allow_caching(call: Call, self: VDI, value: bool) -> None:
    """Let nothing of the disk be cached in other storage. VALUE_NOT_SUPPORTED for true: the agent caches no disks."""
    if value:
        raise ValueNotSupported("allow_caching", "true", "the agent caches no disks")


@message(VDI, kind=Kind.READ, role=Role.VM_POWER_ADMIN, has_async=True)
def revert(call: Call, snapshot: VDI) -> None:
    """Refused with SR_OPERATION_NOT_SUPPORTED: disks go back with their machine, by VM.revert."""
    raise SrOperationNotSupported(snapshot.SR)


@message(VDI, kind=Kind.READ, role=Role.VM_POWER_ADMIN, has_async=True)
def pool_migrate(call: Call, vdi: VDI, sr: SR, options: Annotated[Any, Map(String(), String())]) -> VDI:
    """Refused: VDI_NEEDS_VM_FOR_MIGRATE for a disk that no running machine has, which VDI.copy copies, and
    SR_DOES_NOT_SUPPORT_MIGRATION for one that is in use, since libvirt's Xen driver moves no disk under a machine.
    """
    if not any(vbd.currently_attached for vbd in vdi.VBDs):
        raise VdiNeedsVMForMigrate(vdi)
    types = {sm.type: sm for sm in call.store.all(SM)}
    capabilities = types[vdi.SR.type].capabilities if vdi.SR.type in types else ()
    raise SrDoesNotSupportMigration(vdi.SR, ", ".join(capabilities))


# --- metadata of pools


@message(VDI, kind=Kind.READ, role=Role.POOL_OPERATOR, has_async=True)
def open_database(call: Call, self: VDI) -> Session:
    """Refused with VDI_INCOMPATIBLE_TYPE, or COULD_NOT_IMPORT_DATABASE: the agent reads no metadata from disks."""
    raise _no_metadata(self)


@message(VDI, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def read_database_pool_uuid(call: Call, self: VDI) -> str:
    """Refused with VDI_INCOMPATIBLE_TYPE, or COULD_NOT_IMPORT_DATABASE: the agent reads no metadata from disks."""
    raise _no_metadata(self)


@message(Session, kind=Kind.READ, role=Role.POOL_ADMIN, has_async=True)
def create_from_db_file(call: Call, filename: str) -> Session:
    """Refused with COULD_NOT_IMPORT_DATABASE: a session is of the agent's own journal."""
    raise CouldNotImportDatabase(NO_DATABASE)


def _no_metadata(vdi: VDI) -> VdiIncompatibleType | CouldNotImportDatabase:
    if vdi.type is not VdiType.METADATA:
        return VdiIncompatibleType(vdi, vdi.type)
    return CouldNotImportDatabase(NO_DATABASE)

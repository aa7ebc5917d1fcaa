"""The class VDI. Making and copying disks is in ``agent.messages.vdi``; what may be done when, in ``lifecycle``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.classes.enums import OnBoot, VdiOperation, VdiType
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class VDI(Entity, role=Role.VM_ADMIN, creates=True, destroys=True, lane="SR"):
    """A disk image, a volume or the medium of a CD drive, kept in one storage repository."""

    uuid: str = runtime("permanent name of this disk")
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the disk is for, for people", default="", check=checks.modest)
    SR: m.SR = constructor("storage repository that the disk is kept in", bound="VDIs")
    VBDs: tuple[m.VBD, ...] = runtime("devices that show the disk to machines", default=())
    crash_dumps: tuple[m.Crashdump, ...] = runtime("crash dumps whose memory is in the disk", default=())
    virtual_size: int = readwrite(
        "bytes that the guest sees; made larger by resize", default=0, check=checks.not_negative
    )
    physical_utilisation: int = runtime("bytes that the disk takes in its storage, by the last scan", default=0)
    type: VdiType = constructor("what the disk is for; user unless told otherwise", default=VdiType.USER)
    sharable: bool = readwrite("may several machines have the disk at once", default=False)
    read_only: bool = readwrite("is the disk never to be written to", default=False)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    security_label: str = runtime("always empty: Xen's security module FLASK labels domains only", default="")
    allowed_operations: tuple[VdiOperation, ...] = runtime("what can be done to the disk now", default=())
    current_operations: Mapping[str, VdiOperation] = runtime(
        "what is being done to the disk, by the reference of the task that does it", default={}
    )
    storage_lock: bool = runtime("always false: the agent locks no storage", default=False)
    location: str = runtime("path of the file or volume on the host", default="", kept=True)
    managed: bool = runtime(
        "is it a disk to work with; false for a hidden base that others are laid over", default=True, kept=True
    )
    missing: bool = runtime("was the volume gone at the last scan of its storage", default=False)
    parent: m.VDI | None = runtime(
        "hidden disk that this one is laid over, holding only what differs from it; null for a whole disk",
        default=None,
        kept=True,
    )
    xenstore_data: Mapping[str, str] = readwrite(
        "keys for the device's place in xenstore; noted, not acted on, since libvirt writes none",
        default={},
        check=checks.modest,
    )
    sm_config: Mapping[str, str] = readwrite(
        "details of the storage: type is the format of the volume (raw, qcow2, vhd); all else is noted, not acted on",
        default={},
        check=checks.modest,
    )
    is_a_snapshot: bool = runtime("was the disk made by a snapshot", default=False, kept=True)
    snapshot_of: m.VDI | None = runtime(
        "disk that this one is a snapshot of; null for none", default=None, bound="snapshots", kept=True, weak=True
    )
    snapshots: tuple[m.VDI, ...] = runtime("snapshots of this disk", default=())
    snapshot_time: datetime = runtime("when the snapshot was taken; 1970 for none", default=EPOCH, kept=True)
    tags: tuple[str, ...] = readwrite(
        "words to find the disk by", default=(), role=Role.VM_OPERATOR, check=checks.modest
    )
    allow_caching: bool = runtime("always false: the agent caches no disks", default=False, kept=True)
    on_boot: OnBoot = runtime("always persist: a disk keeps what the guest wrote", default=OnBoot.PERSIST, kept=True)
    metadata_of_pool: m.Pool | None = runtime(
        "always null: the agent keeps its journal on the host, not in a disk",
        default=None,
        bound="metadata_VDIs",
        weak=True,
    )
    metadata_latest: bool = runtime("always false: no disk holds a pool's metadata", default=False)
    is_tools_iso: bool = runtime("always false: the agent brings no guest tools", default=False, kept=True)
    cbt_enabled: bool = runtime("always false: the agent does not track changed blocks", default=False)

    doomed: bool = internal("was a scheduled snapshot's, and is to be deleted with it", default=False)
    format: str = internal(
        "how the volume is written: raw, qcow2 or vhd; set by the agent when it makes or finds the volume, "
        "never by clients",
        default="",
    )

    derive_from = frozenset({"managed", "read_only", "missing", "current_operations", "VBDs", "SR"})

    def derive(self) -> None:
        """Which operations are allowed follows from the state."""
        lifecycle.derive_vdi(self)

"""The class SR. How storage is made, scanned and forgotten is in ``agent.messages.sr``; attaching it is the PBD's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.classes.blob import Blobs
from agent.classes.enums import StorageOperation
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class SR(Entity, role=Role.POOL_OPERATOR, destroys=True, lane="self"):
    """A storage repository: a folder, volume group or share that disks are kept in. Each is a libvirt storage pool."""

    uuid: str = runtime("permanent name of this storage, the same as its libvirt pool's")
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the storage is for, for people", default="", check=checks.modest)
    VDIs: tuple[m.VDI, ...] = runtime("disks that are kept here", default=())
    PBDs: tuple[m.PBD, ...] = runtime("ways in which hosts reach the storage", default=())
    virtual_allocation: int = runtime("bytes that the guests see of all disks here together", default=0)
    physical_utilisation: int = runtime("bytes in use, by libvirt", default=0)
    physical_size: int = constructor(
        "bytes there are in all, by libvirt; of a shared file system, all of it", default=0
    )
    type: str = constructor("kind of storage, such as ext, file, lvm, nfs or iso", default="")
    content_type: str = constructor("what is kept here: iso for media, user for disks, or empty", default="")
    allowed_operations: tuple[StorageOperation, ...] = runtime("what can be done to the storage now", default=())
    current_operations: Mapping[str, StorageOperation] = runtime(
        "what is being done to the storage, by the reference of the task that does it", default={}
    )
    shared: bool = runtime("can other hosts reach the storage too", default=False, kept=True)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    tags: tuple[str, ...] = readwrite(
        "words to find the storage by", default=(), role=Role.VM_OPERATOR, check=checks.modest
    )
    sm_config: Mapping[str, str] = readwrite(
        "details of the storage: type is the format of new disks where they say none (raw, qcow2); all else is noted, "
        "not acted on",
        default={},
        check=checks.modest,
    )
    blobs: Blobs = runtime("binary pieces that clients keep with it, by name", default={})
    local_cache_enabled: bool = runtime("always false: the agent caches no disks", default=False)
    introduced_by: Entity | None = runtime(
        "always null: there is no recovery from another site's storage", default=None, to="DR_task"
    )
    clustered: bool = runtime("always false: the agent sets up no cluster file system", default=False)
    is_tools_sr: bool = runtime("always false: the agent brings no guest tools", default=False, kept=True)

    derive_from = frozenset({"current_operations", "PBDs", "VDIs"})

    def derive(self) -> None:
        """Which operations are allowed follows from the state."""
        lifecycle.derive_sr(self)

"""The class VBD. How a disk gets to a machine is in ``agent.messages.vbd``; what may be done when, in ``lifecycle``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.classes.enums import VbdMode, VbdOperation, VbdType
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class VBD(Entity, role=Role.VM_ADMIN, creates=True, destroys=True, lane="VM"):
    """A block device of a machine: the disk that it shows to the guest, or a CD drive with or without a medium."""

    uuid: str = runtime("permanent name of this device")
    VM: m.VM = constructor("machine that has the device", bound="VBDs", cascade=True)
    VDI: m.VDI | None = constructor("disk behind the device; null for a drive without a medium", bound="VBDs")
    device: str = readwrite(
        "name of the device in the guest, such as xvda; made from userdevice when empty",
        default="",
        check=checks.disk_place,
    )
    bootable: bool = readwrite(
        "is it the disk to boot from; noted, not acted on: a machine boots from its first disk", default=False
    )
    mode: VbdMode = readwrite("may the guest write (RW) or only read (RO)", default=VbdMode.RW)
    type: VbdType = readwrite(
        "what the guest takes the device for: Disk or CD",
        default=VbdType.DISK,
        check=checks.only("type", VbdType.DISK, VbdType.CD, reason="libvirt's Xen driver gives guests no floppies"),
    )
    currently_attached: bool = runtime("does the running machine have the device now, by the hypervisor", default=False)
    status_code: int = runtime("always 0: libvirt tells no more of a device than that it is there", default=0)
    status_detail: str = runtime("always empty: libvirt tells no more of a device than that it is there", default="")
    runtime_properties: Mapping[str, str] = runtime("always empty: libvirt has no such details", default={})
    qos_algorithm_type: str = readwrite(
        "shaper of the device's input and output; empty, since libvirt's Xen driver has none",
        default="",
        check=checks.only("qos_algorithm_type", "", reason="libvirt's Xen driver shapes no disks"),
    )
    qos_algorithm_params: Mapping[str, str] = readwrite(
        "settings of the shaper; noted, not acted on, since there is none", default={}, check=checks.modest
    )
    qos_supported_algorithms: tuple[str, ...] = runtime(
        "always empty: libvirt's Xen driver has no shaper for disks", default=()
    )
    metrics: m.VBDMetrics | None = runtime("what the device carries, measured", default=None, kept=True, owns=True)
    allowed_operations: tuple[VbdOperation, ...] = runtime("what can be done to the device now", default=())
    current_operations: Mapping[str, VbdOperation] = runtime(
        "what is being done to the device, by the reference of the task that does it", default={}
    )
    userdevice: str = readwrite(
        "place of the device among those of its machine, from 0 (xvda); create takes a free one if empty or autodetect",
        default="",
        check=checks.disk_place,
    )
    unpluggable: bool = readwrite("may the device be taken from the running machine", default=True)
    storage_lock: bool = runtime("always false: the agent locks no storage", default=False)
    empty: bool = constructor("is it a drive without a medium", default=False)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )

    derive_from = frozenset({"currently_attached", "type", "unpluggable", "empty", "current_operations", "VDI"})

    def derive(self) -> None:
        """Which operations are allowed follows from the state."""
        lifecycle.derive_vbd(self)

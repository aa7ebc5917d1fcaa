"""The classes DSCSI and DSCSI_HBA. libvirt's Xen driver passes no SCSI device through, so there are no objects of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.model.entity import Entity, constructor, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class DSCSIHBA(Entity, name="DSCSI_HBA", role=Role.POOL_ADMIN, creates=True, destroys=True, lane="VM"):
    """An adapter of a machine that SCSI devices of the host would be on. create refuses to make one."""

    uuid: str = runtime("permanent name of this adapter")
    VM: m.VM = constructor("machine that would have the adapter", bound="DSCSI_HBAs", cascade=True)
    PSCSI_HBAs: tuple[m.PSCSIHBA, ...] = runtime("adapters of the host that it would stand for", default=())
    DSCSIs: tuple[m.DSCSI, ...] = runtime("devices on this adapter", default=())
    virtual_host: int = constructor("number that the guest would see the adapter under")
    assignment_mode: str = constructor("which devices it would have: HOST for all of an adapter, VIRTUAL for a choice")


class DSCSI(Entity, role=Role.POOL_ADMIN, creates=True, destroys=True, lane="VM"):
    """A SCSI device of the host that one machine would have for itself. create refuses to make one."""

    uuid: str = runtime("permanent name of this assignment")
    VM: m.VM = constructor("machine that would have the device", bound="DSCSIs", cascade=True)
    PSCSI: m.PSCSI = constructor("device of the host")
    HBA: m.DSCSIHBA = runtime("adapter of the machine that the device would be on", bound="DSCSIs", kept=True)
    virtual_host: int = runtime("first number of its place in the guest", default=0, kept=True)
    virtual_channel: int = runtime("second number of its place in the guest", default=0, kept=True)
    virtual_target: int = runtime("third number of its place in the guest", default=0, kept=True)
    virtual_lun: int = runtime("last number of its place in the guest", default=0, kept=True)
    virtual_HCTL: str = constructor("place that the guest would see the device at, such as 0:0:0:0")
    runtime_properties: Mapping[str, str] = runtime("always empty: libvirt has no such details", default={})

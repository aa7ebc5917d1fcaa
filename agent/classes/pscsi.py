"""The classes PSCSI and PSCSI_HBA: the host's SCSI devices and the adapters they are on, as the driver sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model.entity import Entity, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class PSCSIHBA(Entity, name="PSCSI_HBA", role=Role.POOL_OPERATOR):
    """An adapter of the host that SCSI devices are on; those for SATA disks are among them."""

    uuid: str = runtime("permanent name of this adapter")
    host: m.Host = runtime("host that has the adapter", bound="PSCSI_HBAs", kept=True)
    physical_host: int = runtime("number that Linux gives the adapter", default=0, kept=True)
    PSCSIs: tuple[m.PSCSI, ...] = runtime("devices on this adapter", default=())


class PSCSI(Entity, role=Role.POOL_OPERATOR):
    """A SCSI device of the host: a disk, a drive, a tape, a changer."""

    uuid: str = runtime("permanent name of this device")
    host: m.Host = runtime("host that has the device", bound="PSCSIs", kept=True)
    HBA: m.PSCSIHBA = runtime("adapter that the device is on", bound="PSCSIs", kept=True)
    physical_host: int = runtime("number of its adapter, the first of its place", default=0, kept=True)
    physical_channel: int = runtime("second number of its place", default=0, kept=True)
    physical_target: int = runtime("third number of its place", default=0, kept=True)
    physical_lun: int = runtime("last number of its place", default=0, kept=True)
    physical_HCTL: str = runtime("its place as Linux writes it, such as 2:0:0:0", default="", kept=True)
    vendor_name: str = runtime("maker, as the device says", default="")
    model: str = runtime("model, as the device says", default="")
    type_id: int = runtime("what kind of device it is, as INQUIRY numbers them: 0 disk, 1 tape, 5 CD drive", default=0)
    type: str = runtime("what kind of device it is, in a word; empty for a number without one", default="")
    dev_name: str = runtime("its device file on the host, such as /dev/sda; empty for none", default="")
    sg_name: str = runtime(
        "device file on the host that takes SCSI commands, such as /dev/sg0; empty for none", default=""
    )
    revision: str = runtime("revision of its firmware, as the device says", default="")
    scsi_id: str = runtime("its name in the world, such as naa.5000c500a1b2c3d4; empty where it has none", default="")
    scsi_level: int = runtime("level of the SCSI standard that it speaks, as Linux counts them", default=0)

"""The nouns of the XenAPI, one file a class: fields only. Verbs are in ``agent.messages``."""

from agent.classes.absent import ABSENT
from agent.classes.blob import Blob
from agent.classes.bond import Bond
from agent.classes.certificate import Certificate
from agent.classes.console import Console
from agent.classes.cpu_pool import CpuPool
from agent.classes.crashdump import Crashdump
from agent.classes.debug import Debug
from agent.classes.dpci import DPCI
from agent.classes.dscsi import DSCSI, DSCSIHBA
from agent.classes.event import Event
from agent.classes.gpu import PGPU, GPUGroup
from agent.classes.host import Host
from agent.classes.host_cpu import HostCpu
from agent.classes.host_metrics import HostMetrics
from agent.classes.message import Message
from agent.classes.network import Network
from agent.classes.pbd import PBD
from agent.classes.pci import PCI
from agent.classes.pif import PIF
from agent.classes.pif_metrics import PIFMetrics
from agent.classes.pool import Pool
from agent.classes.ppci import PPCI
from agent.classes.pscsi import PSCSI, PSCSIHBA
from agent.classes.role import AccessRole
from agent.classes.secret import Secret
from agent.classes.session import Session
from agent.classes.sm import SM
from agent.classes.sr import SR
from agent.classes.task import Task
from agent.classes.usb import PUSB, VUSB, USBGroup
from agent.classes.user import User
from agent.classes.vbd import VBD
from agent.classes.vbd_metrics import VBDMetrics
from agent.classes.vdi import VDI
from agent.classes.vif import VIF
from agent.classes.vif_metrics import VIFMetrics
from agent.classes.vlan import VLAN
from agent.classes.vm import VM
from agent.classes.vm_appliance import VMAppliance
from agent.classes.vm_guest_metrics import VMGuestMetrics
from agent.classes.vm_metrics import VMMetrics
from agent.classes.vmss import VMSS
from agent.classes.vtpm import VTPM
from agent.classes.xs_policy import ACMPolicy, XSPolicy

__all__ = [
    "ABSENT",
    "DPCI",
    "DSCSI",
    "DSCSIHBA",
    "PBD",
    "PCI",
    "PGPU",
    "PIF",
    "PPCI",
    "PSCSI",
    "PSCSIHBA",
    "PUSB",
    "SM",
    "SR",
    "VBD",
    "VDI",
    "VIF",
    "VLAN",
    "VM",
    "VMSS",
    "VTPM",
    "VUSB",
    "ACMPolicy",
    "AccessRole",
    "Blob",
    "Bond",
    "Certificate",
    "Console",
    "CpuPool",
    "Crashdump",
    "Debug",
    "Event",
    "GPUGroup",
    "Host",
    "HostCpu",
    "HostMetrics",
    "Message",
    "Network",
    "PIFMetrics",
    "Pool",
    "Secret",
    "Session",
    "Task",
    "USBGroup",
    "User",
    "VBDMetrics",
    "VIFMetrics",
    "VMAppliance",
    "VMGuestMetrics",
    "VMMetrics",
    "XSPolicy",
]

"""All that the agent ever asks of the machine below. A driver satisfies these protocols; the agent knows no more of it.

What a driver sees comes back as the frozen ``Seen...`` and ``...Reading`` values of this module. What it is asked to
realise comes as the live object, whose fields it reads. A driver raises XenErrors only. Every method may block and is
called from worker threads, never with the store's lock held. Sizes are bytes, times seconds, rates KiB/s unless a name
says otherwise. Text that comes from a guest or from another tool is cleaned by the driver: no control characters,
lengths capped.

Over the usual size: all that a driver has to satisfy, in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from socket import socket
from typing import Protocol

from agent.classes import DPCI, PBD, SR, VBD, VDI, VIF, VM, VUSB, Console, Network
from agent.classes.enums import BondMode, DomainType, ImageFormat, OnCrash, OnNormalExit, PowerState

# --- what is seen


@dataclass(frozen=True)
class SeenDisk:
    """A disk or CD drive of a domain."""

    target: str
    """As the guest names it: ``xvda``, ``hdc``, ``sda``."""
    cdrom: bool = False
    source: str = ""
    """Path or volume; empty for a drive without a medium."""
    format: str = "raw"
    read_only: bool = False


@dataclass(frozen=True)
class SeenNic:
    """A network card of a domain."""

    MAC: str
    bridge: str = ""
    network: str = ""
    """The name of the libvirt network, where the card names one instead of a bridge."""
    model: str = ""


@dataclass(frozen=True)
class SeenConsole:
    """A console of a running domain."""

    protocol: str
    """``rfb`` or ``vt100``."""
    location: str
    """Where a client on this host finds it: ``127.0.0.1:5900``, the path of a Unix socket, or a terminal's path."""


@dataclass(frozen=True)
class GuestReading:
    """What a running guest tells of itself, which may be anything. Two are equal if no client need hear of a change."""

    os_version: Mapping[str, str] = field(default_factory=dict)
    """``name``, ``distro``, ``major``, ``minor``, ``uname``."""
    PV_drivers_version: Mapping[str, str] = field(default_factory=dict)
    """``major``, ``minor``, ``micro``, ``build``."""
    memory: Mapping[str, str] = field(default_factory=dict, compare=False)
    """KiB: ``total`` and ``free``."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """Addresses: ``0/ip``, ``0/ipv4/0``, ``0/ipv6/0`` of the first card."""
    other: Mapping[str, str] = field(default_factory=dict)
    PV_drivers_detected: bool = False
    """Whether it talks to a device through Xen's drivers."""
    can_use_hotplug_vbd: bool = False
    can_use_hotplug_vif: bool = False
    """False means that nothing was seen of it, not that it cannot."""
    last_updated: datetime = field(default=datetime.fromtimestamp(0, UTC), compare=False)


@dataclass(frozen=True)
class SeenDomain:
    """A domain as the hypervisor has it now."""

    uuid: str
    name: str
    power_state: PowerState
    domid: int = -1
    title: str = ""
    description: str = ""
    persistent: bool = True
    is_control_domain: bool = False
    foreign: bool = False
    """It runs, but the driver has no hold of it: another tool made it. Only to be looked at."""
    in_transition: bool = False
    """It is off for now, but the hypervisor is at work on it: it is being started, rebooted or cleared away. What comes
    of it is told by a change.
    """
    domain_type: DomainType = DomainType.PV
    VCPUs_max: int = 1
    VCPUs: int = 1
    """What the domain was given last, or is to have at its start."""
    VCPUs_online: int = 0
    """Those that the guest has switched on, which may not have heeded a change; 0 where that cannot be known."""
    memory_max: int = 0
    memory: int = 0
    """What the domain has, or is to have at its start."""
    PV_kernel: str = ""
    PV_ramdisk: str = ""
    PV_args: str = ""
    PV_bootloader: str = ""
    PV_bootloader_args: str = ""
    boot_order: str = ""
    """xapi's letters: ``c`` disk, ``d`` CD, ``n`` network."""
    firmware: str = ""
    """``bios`` or ``uefi`` for an HVM guest."""
    platform: Mapping[str, str] = field(default_factory=dict)
    actions_after_shutdown: OnNormalExit = OnNormalExit.DESTROY
    actions_after_reboot: OnNormalExit = OnNormalExit.RESTART
    actions_after_crash: OnCrash = OnCrash.DESTROY
    disks: Sequence[SeenDisk] = ()
    nics: Sequence[SeenNic] = ()
    pci: Sequence[str] = ()
    """The addresses of the PCI devices of the host that it has."""
    usb: Sequence[str] = ()
    """The USB devices of the host that it has, as ``SeenUsb.device``."""
    consoles: Sequence[SeenConsole] = ()
    guest: GuestReading | None = None
    """None where it does not run, or nothing can be known of it."""
    security_label: str = ""
    """What the hypervisor's security module calls it."""


@dataclass(frozen=True)
class SeenDump:
    """The memory of a guest that crashed, as a file that is written to its end."""

    location: str
    """The path."""
    domain_uuid: str
    when: datetime
    size: int
    allocation: int


@dataclass(frozen=True)
class SeenPool:
    """A storage pool."""

    uuid: str
    name: str
    type: str
    """XenAPI's name where there is one (``ext`` or ``file`` for a folder, ``lvm``, ``nfs``, ``iso``), else
    libvirt's.
    """
    active: bool
    device_config: Mapping[str, str] = field(default_factory=dict)
    capacity: int = 0
    allocation: int = 0


@dataclass(frozen=True)
class SeenStorageType:
    """A type of storage that can be made or attached."""

    type: str
    description: str
    capabilities: Sequence[str]
    """xapi's words, such as ``VDI_CREATE``."""
    formats: Sequence[ImageFormat]
    """What disks there can be."""


@dataclass(frozen=True)
class SeenVolume:
    """A volume of a pool."""

    location: str
    """What names it for good within its storage: the path."""
    name: str
    capacity: int
    allocation: int
    format: str = "raw"
    read_only: bool = False
    parent: str = ""
    """The location of the volume that this one is laid over, in the same storage, by what it says of itself; nothing
    is opened because of it.
    """
    whole: bool = False
    """It says that it is laid over nothing."""


@dataclass(frozen=True)
class SeenNetwork:
    """A virtual network."""

    uuid: str
    name: str
    bridge: str
    active: bool
    MTU: int = 1500


@dataclass(frozen=True)
class SeenBond:
    """Cards of the host that act as one."""

    mode: BondMode
    """BALANCE_SLB for every mode that balances without the switch's help."""
    slaves: Sequence[str]
    """The names of the cards."""
    primary: str = ""
    """The card that is preferred; empty for none."""
    links_up: int = 0
    """How many of them have a link."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """xapi's ``hashing_algorithm`` and ``lacp-time``, and ``mode``: what Linux calls a mode that xapi has no word
    for.
    """


@dataclass(frozen=True)
class SeenInterface:
    """A network card of the host."""

    device: str
    MAC: str
    MTU: int
    physical: bool
    carrier: bool
    speed: int
    """Mbit/s; 0 where unknown."""
    duplex: bool
    bridge: str = ""
    """The bridge that the card is a port of."""
    IP: str = ""
    netmask: str = ""
    gateway: str = ""
    DNS: str = ""
    IPv6: Sequence[str] = ()
    VLAN: int = -1
    trunk: str = ""
    """The card that a VLAN is on."""
    vendor_id: str = ""
    vendor_name: str = ""
    device_id: str = ""
    device_name: str = ""
    pci_bus_path: str = ""
    up: bool = True
    """Is it switched on, with or without a cable in it."""
    bond: SeenBond | None = None
    """Which cards it consists of, where it is a bond."""
    virtual_functions: int = 0
    """How many functions for guests the card could have (SR-IOV)."""


@dataclass(frozen=True)
class SeenPci:
    """A PCI device of the host. Names are empty where the host has no list of them."""

    address: str
    """Domain, bus, slot and function as Linux writes them: ``0000:00:1f.2``."""
    class_code: int = 0
    """Class and subclass: 16 bits."""
    class_name: str = ""
    vendor_id: int = 0
    vendor_name: str = ""
    device_id: int = 0
    device_name: str = ""
    revision_id: int = 0
    subsystem_vendor_id: int = 0
    subsystem_vendor_name: str = ""
    subsystem_id: int = 0
    subsystem_name: str = ""
    driver: str = ""
    """The host's driver that has it; ``pciback`` for one that is set aside for guests, empty for none."""
    boot_display: bool = False
    """Is it the graphics card that the host booted with."""


@dataclass(frozen=True)
class SeenUsb:
    """A USB device of the host that is no hub."""

    path: str
    """Its place as Linux writes it: bus and ports, ``1-2.1``."""
    kind: str
    """Maker and model in hexadecimal digits: ``0951:1666``."""
    device: str
    """As a domain names it: the kind, and the numbers of bus and device that it has now, ``0951:1666:1:4``."""
    vendor_name: str
    product_name: str
    serial: str = ""
    version: str = ""
    speed: float = 0.0
    """Mbit/s."""


@dataclass(frozen=True)
class SeenScsi:
    """A device on a SCSI adapter of the host."""

    host: int
    """The number of the adapter."""
    channel: int
    target: int
    lun: int
    vendor_name: str = ""
    model: str = ""
    type_id: int = 0
    type: str = ""
    dev_name: str = ""
    """Its device file, such as ``/dev/sda``; empty for none."""
    sg_name: str = ""
    """The device file that takes SCSI commands, such as ``/dev/sg0``; empty for none."""
    revision: str = ""
    scsi_id: str = ""
    """Its name in the world; empty where it has none."""
    scsi_level: int = 0


@dataclass(frozen=True)
class SeenCpu:
    """One processor of the host, numbered as the hypervisor does."""

    number: int
    vendor: str
    modelname: str
    speed: int
    """MHz."""
    family: int = 0
    model: int = 0
    stepping: str = ""
    flags: str = ""
    features: str = ""


@dataclass(frozen=True)
class SeenCpuPool:
    """A CPU pool that the hypervisor has."""

    name: str
    sched_policy: str
    cpus: Sequence[int]
    """The numbers of its processors."""
    domains: Sequence[str]
    """The uuids of the domains in it, the control domain included."""


@dataclass(frozen=True)
class SeenSecurity:
    """The security module of the hypervisor."""

    module: str = ""
    """``flask``, or nothing where there is none."""
    enforcing: bool = False
    """Whether it refuses what its policy does not allow, and does not only complain."""


@dataclass(frozen=True)
class SeenHost:
    """What does not change while the host runs."""

    hostname: str
    address: str
    software_version: Mapping[str, str]
    """At least ``product_brand``, ``product_version`` (three numbers), ``xapi``, ``libvirt``; ``xen`` where it is
    Xen.
    """
    capabilities: Sequence[str]
    cpu_configuration: Mapping[str, str]
    cpu_info: Mapping[str, str]
    sched_policy: str
    supported_bootloaders: Sequence[str]
    bios_strings: Mapping[str, str]
    memory_total: int
    boot_time: datetime
    boot_id: str = ""
    """Another one after every boot of the host; empty where it cannot be known."""
    uefi: bool = False
    """Whether an HVM guest can have UEFI firmware."""


@dataclass(frozen=True)
class WantedBond:
    """A bond to make."""

    members: Sequence[str]
    """The names of the cards."""
    mode: BondMode
    properties: Mapping[str, str]
    MAC: str
    """Empty for that of the first card."""
    bridge: str


# --- what is measured


@dataclass(frozen=True)
class DomainReading:
    """What a running domain does, as rates between the last two measurements."""

    VCPUs_utilisation: Mapping[int, float] = field(default_factory=dict)
    """0 to 1, by number of the virtual CPU."""
    VCPUs_CPU: Mapping[int, int] = field(default_factory=dict)
    VCPUs_flags: Mapping[int, Sequence[str]] = field(default_factory=dict)
    memory_actual: int = 0
    disks: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Read and written KiB/s, by target."""
    nics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """KiB/s received and sent by the guest, by MAC."""
    guest_memory: Mapping[str, str] = field(default_factory=dict)
    """As in GuestReading."""


@dataclass(frozen=True)
class HostReading:
    """What the host does."""

    memory_total: int
    memory_free: int
    cpus: Mapping[int, float] = field(default_factory=dict)
    """0 to 1, by number."""
    interfaces: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """KiB/s received and sent, by device."""
    load_average: float | None = None
    """Processes of the control domain that run or want to, over a minute; None where that is not known."""


@dataclass(frozen=True)
class Reading:
    """One measurement of all, shared by whoever reads within its lifetime of a second."""

    when: datetime
    host: HostReading
    domains: Mapping[str, DomainReading]
    """By uuid; running domains only."""


# --- the ports


class Domains(Protocol):
    """Virtual machines. Methods that act on a machine raise VM_BAD_POWER_STATE where the hypervisor has it in another
    state.
    """

    def watch(self, changed: Callable[[str | None], None], crashed: Callable[[str], None] | None = None) -> None:
        """Call `changed` with a uuid whenever something about that domain changed, in no particular thread; it returns
        at once.

        None means that anything may have changed (the connection was lost and is back): look at everything. Where the
        hypervisor tells that the guest of a domain has crashed, `crashed` is called before.
        """

    def list(self) -> Sequence[SeenDomain]:
        """All domains, the control domain included."""

    def look(self, uuid: str) -> SeenDomain | None:
        """One domain as it is now; None if there is none."""

    def check(self, vm: VM) -> None:
        """VALUE_NOT_SUPPORTED or INVALID_DEVICE for what this hypervisor could not realise if the machine were
        started.
        """

    def define(self, vm: VM) -> None:
        """Make the persistent definition what the machine's fields and devices say; what they do not say stays as it
        is.
        """

    def undefine(self, vm: VM) -> None:
        """Forget the definition and a saved image. A machine that is not defined is no error."""

    def start(self, vm: VM, paused: bool) -> None:
        """Define and boot it; with `paused`, its first instruction waits for unpause."""

    def pause(self, vm: VM) -> None:
        """Stop its CPUs."""

    def unpause(self, vm: VM) -> None:
        """Let its CPUs go on."""

    def shutdown(self, vm: VM) -> None:
        """Ask the guest to shut down. Returns when it was asked."""

    def reboot(self, vm: VM) -> None:
        """Ask the guest to reboot. Returns when it was asked."""

    def destroy(self, vm: VM) -> None:
        """Pull the plug; of a suspended machine, drop what was saved."""

    def suspend(self, vm: VM) -> None:
        """Save memory and devices to disk and stop."""

    def resume(self, vm: VM, paused: bool) -> None:
        """Go on from what suspend saved."""

    def save_memory(self, vm: VM, snapshot: str) -> None:
        """Suspend the running machine, and keep what it saved as the memory of the snapshot of this uuid.

        OPERATION_NOT_ALLOWED where that cannot be kept; then the machine may be suspended all the same.
        """

    def settle_memory(self, snapshot: str) -> None:
        """The snapshot is made and the machine goes on: nothing is left for the next start to undo."""

    def drop_memory(self, snapshot: str) -> None:
        """Delete the memory of a snapshot, or what was begun of it. None is no error."""

    def ready_memory(self, vm: VM, snapshot: str, vbds: Sequence[VBD]) -> None:
        """Make, and put aside, what the machine can go on from: the memory of a snapshot, with these disks.

        OPERATION_NOT_ALLOWED where there is no such memory, or no room.
        """

    def put_memory(self, vm: VM) -> None:
        """Make the halted machine a suspended one, which goes on from what was made ready for it."""

    def drop_ready_memory(self, vm: VM) -> None:
        """Delete what was made ready for the machine. None is no error."""

    def recover_memories(self, find: Callable[[str], VM | None]) -> Collection[str]:
        """Undo or finish what an earlier run left half done; `find` knows machines by uuid. Returns the uuids of the
        snapshots that have a memory.

        A machine that was saved for a snapshot which never came to be goes on if it is `held_still`; one that was
        being reverted has its memory if it has the disks that go with it.
        """

    def plug_vbd(self, vbd: VBD) -> None:
        """Give the running machine the disk."""

    def unplug_vbd(self, vbd: VBD) -> None:
        """Take the disk from the running machine. DEVICE_DETACH_REJECTED if the guest keeps it."""

    def change_medium(self, vbd: VBD) -> None:
        """Make the medium of the running machine's drive what ``vbd.VDI`` says; null ejects."""

    def plug_vif(self, vif: VIF) -> None:
        """Give the running machine the card."""

    def unplug_vif(self, vif: VIF) -> None:
        """Take the card from the running machine."""

    def plug_pci(self, dpci: DPCI) -> None:
        """Give the running machine the device. OPERATION_NOT_ALLOWED where the hypervisor cannot."""

    def unplug_pci(self, dpci: DPCI) -> None:
        """Take the device from the running machine. DEVICE_DETACH_REJECTED if the guest keeps it,
        DEVICE_ALREADY_DETACHED if it has it no more.
        """

    def plug_usb(self, vusb: VUSB) -> None:
        """Give the running machine the device. OPERATION_NOT_ALLOWED where the hypervisor cannot."""

    def unplug_usb(self, vusb: VUSB) -> None:
        """Take the device from the running machine. DEVICE_DETACH_REJECTED if the guest keeps it,
        DEVICE_ALREADY_DETACHED if it has it no more.
        """

    def set_vcpus(self, vm: VM, number: int) -> None:
        """Change the number of CPUs of the running machine."""

    def set_memory(self, vm: VM, target: int) -> None:
        """Change the memory of the running machine."""

    def set_scheduler(self, vm: VM, weight: int | None, cap: int | None) -> None:
        """Change the running machine's share of the processors."""

    def pin_vcpus(self, vm: VM, mask: str) -> None:
        """Let all virtual CPUs of the running machine run on the processors of a list such as ``0,2-3`` only.

        VALUE_NOT_SUPPORTED for what is no such list, or of none that the host has.
        """

    def open_console(self, console: Console) -> socket:
        """Connect to a console of a running machine. Returns a connected stream socket, which its taker closes: what
        the console speaks travels through it, in both directions, until either end is closed.

        OPERATION_NOT_ALLOWED where the console is not there, cannot be reached, or somebody else has it.
        """

    def keep_image(self, data: bytes) -> str:
        """Keep a kernel or ramdisk as a file that the hypervisor can read. Returns its path."""

    def drop_images(self, kept: Collection[str]) -> None:
        """Remove what keep_image kept, but for these paths and for what has just come."""

    def crash_dumps(self) -> Sequence[SeenDump]:
        """The memory dumps that crashed guests left. Those of domains that are not known any more are left out."""

    def remove_crash_dump(self, location: str) -> None:
        """Delete the file. One that is gone is no error; OPERATION_NOT_ALLOWED for one that is no dump."""

    def send_sysrq(self, vm: VM, key: str) -> None:
        """Send a magic key to the guest's kernel. VALUE_NOT_SUPPORTED where the hypervisor's library has no way to."""

    def send_trigger(self, vm: VM, trigger: str) -> None:
        """Send ``nmi``, ``reset``, ``init``, ``power`` or ``sleep``. VALUE_NOT_SUPPORTED likewise."""


class VolumeReader(Protocol):
    """A volume that is open for reading: the bytes that a guest sees. Good until it is closed, by one thread."""

    size: int
    tag: str
    """Another one whenever the content may be another."""

    def next_data(self, offset: int) -> tuple[int, int]:
        """Where, from `offset` on, the next stretch begins and ends that may hold anything but zeroes; the size twice
        if there is none.
        """

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, which lie within the size."""

    def close(self) -> None:
        """Let go of it. Once is enough."""


class VolumeWriter(Protocol):
    """What is to become a volume, or to take the place of one's content. Nobody sees it before `commit`; closed without
    that, it is gone. Used by one thread.
    """

    size: int
    """Bytes that the guest will see; what is not written is zero."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write within the size; zeroes take no room. SR_FULL if there is none."""

    def spool(self, data: bytes | memoryview) -> None:
        """Append to an image that can be read only when all of it is there."""

    def unpack(self, format: str, progress: Callable[[float], None]) -> None:
        """Write what the spooled image holds, which must be a whole one that needs no other file; `format` is
        ``qcow2``. VDI_IO_ERROR for one that cannot be read.
        """

    def finish(self, progress: Callable[[float], None]) -> None:
        """Bring all to the disk, in the volume's own format. `progress` may end it by raising."""

    def commit(self) -> SeenVolume:
        """Put it in place, in one step."""

    def close(self) -> None:
        """Let go of it. Once is enough."""


class Storage(Protocol):
    """Storage pools and volumes."""

    def judge_image(self, format: str, head: bytes) -> int:
        """The size of the disk in an image that begins so, in bytes; `format` is ``qcow2``, of which 112 bytes are
        enough. INVALID_VALUE for one that is none, or is not all in its own file.
        """

    def supported_types(self) -> Mapping[str, str]:
        """The types that create takes, each with a sentence."""

    def types(self) -> Sequence[SeenStorageType]:
        """The same, with what can be done in such storage."""

    def pools(self) -> Sequence[SeenPool]:
        """All pools."""

    def create(self, sr: SR, device_config: Mapping[str, str]) -> None:
        """Make the storage and start it. SR_UNKNOWN_DRIVER for a type it cannot make."""

    def probe(self, type: str, device_config: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
        """The storage of a type that there is, as the device_configs that make it; the given one says where to look.

        SR_UNKNOWN_DRIVER, or VALUE_NOT_SUPPORTED for a type whose storage cannot be looked for.
        """

    def attach(self, pbd: PBD) -> None:
        """Start the pool of ``pbd.SR`` as ``pbd.device_config`` says, defining it first where the host has forgotten
        it.
        """

    def detach(self, pbd: PBD) -> None:
        """Stop the pool; nothing in it is touched."""

    def forget(self, sr: SR) -> None:
        """Remove the definition; nothing in it is touched. One that is not defined is no error."""

    def destroy(self, sr: SR) -> None:
        """Remove the storage itself, which has no volumes any more."""

    def usage(self, sr: SR) -> tuple[int, int]:
        """Size and used bytes."""

    def scan(self, sr: SR) -> Sequence[SeenVolume]:
        """The volumes there are."""

    def create_volume(self, vdi: VDI) -> SeenVolume:
        """Make a volume of ``vdi.virtual_size`` in ``vdi.SR``. SR_FULL if it does not fit."""

    def doom_volume(self, vdi: VDI) -> None:
        """Note that the disk is about to be destroyed. VDI_IN_USE if another volume is laid over it."""

    def destroy_volume(self, vdi: VDI) -> None:
        """Delete it. One that is gone is no error; VDI_IN_USE if another volume is laid over it."""

    def resize_volume(self, vdi: VDI, size: int) -> None:
        """Grow it to `size`."""

    def copy_volume(self, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
        """Make the volume of `target`, in ``target.SR``, with the content of `source`.

        If both have the same parent, only what `source` has of its own is copied. `progress` is called with the part
        done, 0 to 1; what it raises ends the copy, and nothing of it stays. VDI_IN_USE if somebody writes to `source`
        meanwhile.
        """

    def clone_volume(self, source: VDI, target: VDI) -> SeenVolume | None:
        """Make the volume of `target`, in the same storage, one with the content of `source`, at once and without
        touching that: by shared blocks, or a snapshot of a volume group. None where this storage cannot.
        """

    def is_untouched(self, vdi: VDI) -> bool:
        """Whether the volume has nothing of its own and shows what its parent does."""

    def split_volume(self, vdi: VDI, base: VDI) -> SeenVolume | None:
        """Make the volume of `vdi` that of `base`, noting there where it is, and lay a new one over it for `vdi`.

        At once. None where this storage has no volumes that are laid over others, or that disk must not be one.
        """

    def overlay_volume(self, base: VDI, target: VDI) -> SeenVolume:
        """Make the volume of `target`, in the same storage, an empty one laid over that of `base`. At once."""

    def merge_volume(
        self, base: VDI, vdi: VDI, most: int | None, progress: Callable[[float], None]
    ) -> SeenVolume | None:
        """Write what `vdi` has of its own into `base`, on which nothing else rests, and make that the volume of `vdi`.

        None where what rests on `vdi` could not follow, or `vdi` has more than `most` bytes of its own. What `progress`
        raises ends it, with nothing changed.
        """

    def settle(self, *vdis: VDI) -> None:
        """The store has what was done: the disks that were made, split off, merged or destroyed.

        Until then all of it is undone if the agent ends. Nothing to settle is no error.
        """

    def undo(self, vdi: VDI) -> None:
        """Undo what was begun for this disk and not settled: for the base of a split or merge, that; for one that is
        doomed, its doom. Nothing to undo is no error. What cannot be undone now `recover` undoes.
        """

    def decide(self, known: Callable[[str], bool]) -> None:
        """Decide whether what an earlier run of the agent left half done is to be undone or finished. Called once, at
        the start, before anything else; no storage need be there. `known` says whether the store has a disk of a uuid.
        """

    def recover(self, sr: SR) -> None:
        """Undo or finish what was left half done in this storage: by an earlier run as it was decided, and what could
        not be undone since.
        """

    def read_volume(self, vdi: VDI, progress: Callable[[float], None]) -> VolumeReader:
        """Open a volume, which nobody writes to meanwhile. Where it must be unpacked first, `progress` may end that."""

    def write_volume(self, vdi: VDI) -> VolumeWriter:
        """Begin what is to take the place of a disk's content, or the volume of a disk that has none yet: one whose
        `location` is empty. SR_FULL for a size that can never fit.
        """


class Networks(Protocol):
    """Virtual networks."""

    def list(self) -> Sequence[SeenNetwork]:
        """All networks."""

    def create(self, network: Network) -> str:
        """Make and start a network that only machines of this host are on. Returns the name of its bridge."""

    def destroy(self, network: Network) -> None:
        """Stop and forget it. One that is gone is no error."""

    def create_vlan(self, device: str, tag: int, bridge: str) -> str:
        """Make the VLAN on this card of the host, as a port of the bridge. Returns the name of what carries it.

        One that is there already is only made that port. VLAN_IN_USE if the bridge of another network has it.
        """

    def destroy_vlan(self, device: str) -> None:
        """Remove what create_vlan returned. One that is gone is no error."""

    def create_bond(self, bond: WantedBond, name: str = "") -> str:
        """Make a bond of cards of the host, as a port of a bridge; they are ports of none any more. Returns the name of
        what carries it, which is `name` where that is given.

        VALUE_NOT_SUPPORTED for a mode or a property that the host's kernel does not have.
        """

    def change_bond(self, name: str, mode: BondMode, properties: Mapping[str, str]) -> None:
        """Give a bond another mode and properties, with an interruption. VALUE_NOT_SUPPORTED likewise."""

    def destroy_bond(self, name: str, homes: Mapping[str, str]) -> None:
        """Remove what create_bond returned; each card becomes a port of the bridge that `homes` has for it. One that is
        gone is no error.
        """

    def switch(self, device: str, *, up: bool) -> None:
        """Switch a card of the host on or off. INVALID_VALUE if there is none of this name."""


class CpuPools(Protocol):
    """CPU pools. Every domain begins in the first, which the hypervisor has from its start. Pools go by their names."""

    def list(self) -> Sequence[SeenCpuPool] | None:
        """All pools, the first one first; None where the hypervisor does not tell, now or ever."""

    def policies(self) -> Sequence[str]:
        """The schedulers that a pool can have."""

    def create(self, name: str, sched_policy: str, cpus: Sequence[int]) -> None:
        """Make a pool with these processors, which are in no pool: INVALID_CPU.

        An empty `sched_policy` is the hypervisor's own. DB_UNIQUENESS_CONSTRAINT_VIOLATION for the name of another.
        """

    def destroy(self, name: str) -> None:
        """Remove a pool; its processors are in none then. POOL_BAD_STATE: ``in use`` with domains in it,
        ``deactivated`` where there is none of this name.
        """

    def rename(self, name: str, new_name: str) -> None:
        """Give a pool another name."""

    def add_cpu(self, name: str, number: int) -> None:
        """Add a processor that is in no pool. INVALID_CPU, POOL_BAD_STATE."""

    def remove_cpu(self, name: str, number: int) -> None:
        """Take a processor out, which is in no pool then. INVALID_CPU if the pool does not have it, POOL_BAD_STATE,
        LAST_CPU_NOT_REMOVEABLE while domains are in the pool.
        """

    def move(self, vm: VM, name: str) -> None:
        """Move the running machine into a pool that has processors. POOL_BAD_STATE, VM_BAD_POWER_STATE."""


class Control(Protocol):
    """What is done to the host as a whole. OPERATION_NOT_ALLOWED, with the reason, for what cannot be done here."""

    def dmesg(self, *, clear: bool) -> str:
        """The hypervisor's message buffer; with `clear` it is empty then."""

    def log(self) -> str:
        """The end of the host's log since it was booted."""

    def send_debug_keys(self, keys: str) -> None:
        """Have the hypervisor do what these keys on its console would do. What it tells is in its message buffer."""

    def security(self) -> SeenSecurity:
        """Its security module."""

    def clock_synchronized(self) -> bool:
        """Whether its clock follows another."""

    def reboot(self) -> None:
        """Reboot it. Returns when that is under way."""

    def shutdown(self) -> None:
        """Switch it off. Returns when that is under way."""


class Node(Protocol):
    """The host."""

    @property
    def control(self) -> Control:
        """What is done to it as a whole."""

    @property
    def cpu_pools(self) -> CpuPools:
        """The parts that its processors are divided into."""

    def host(self) -> SeenHost:
        """What it is."""

    def cpus(self) -> Sequence[SeenCpu]:
        """Its processors."""

    def interfaces(self) -> Sequence[SeenInterface]:
        """Its network cards: those that can carry a network (no loopback, no guests' ends)."""

    def pci_devices(self) -> Sequence[SeenPci]:
        """All PCI devices of the machine, also those that a guest has."""

    def usb_devices(self) -> Sequence[SeenUsb]:
        """All USB devices but hubs."""

    def scsi_adapters(self) -> Sequence[int]:
        """The numbers of its SCSI adapters."""

    def scsi_devices(self) -> Sequence[SeenScsi]:
        """The devices on these adapters."""


class Meters(Protocol):
    """Live numbers."""

    def read(self) -> Reading:
        """What host and domains do now: measured at most once a second, however many ask."""


@dataclass(frozen=True)
class Machine:
    """All ports of one hypervisor."""

    domains: Domains
    storage: Storage
    networks: Networks
    node: Node
    meters: Meters
    close: Callable[[], None]
    alive: Callable[[], bool]
    """Whether what drives the hypervisor's connection is at work. It may be at work in vain: libvirt may be away."""

"""The class VM. What can be done to a machine is in ``agent.messages.vm``; what may be done when, in ``lifecycle``.

Fields with the text "noted, not acted on" are kept for clients that set them; libvirt's Xen driver cannot realise them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.classes.blob import Blobs
from agent.classes.enums import (
    DomainType,
    OnCrash,
    OnNormalExit,
    OnSoftrebootBehavior,
    PowerState,
    UpdateGuidances,
    VmOperation,
    VmSecurebootCertificatesState,
)
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

MEMORY = 512 * 1024 * 1024
"""Bytes of memory of a machine made without a word about it: small systems boot with it, and it leaves room for others.

The three upper limits have it, so that the machine starts with all of it and no balloon; the lowest is 0, so that a
client which sets smaller ones need not know it.
"""
ONE_HOST_HA = "high availability needs several hosts"


class VM(Entity, role=Role.VM_ADMIN, creates=True, destroys=True, lane="self"):
    """A virtual machine: a domain of Xen's and all that is to be kept of it while it does not run.

    Templates, snapshots and the control domain (dom0) are machines too, told apart by is_a_template, is_a_snapshot and
    is_control_domain.
    """

    uuid: str = runtime("permanent name of this machine, the same as its domain's")
    power_state: PowerState = runtime("does it run, by the hypervisor", default=PowerState.HALTED)
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the machine is for, for people", default="", check=checks.modest)
    user_version: int = readwrite("version that its maker gave the machine or template", default=1)
    is_a_template: bool = readwrite("is it a pattern to clone, which cannot be started", default=False)
    auto_power_on: bool = readwrite("is the machine to be started when the host was booted", default=False)
    suspend_VDI: m.VDI | None = runtime(
        "always null: a suspended machine is kept by libvirt, not in a disk", default=None, kept=True, weak=True
    )
    resident_on: m.Host | None = runtime(
        "host that it runs or is paused on; null while halted or suspended",
        default=None,
        bound="resident_VMs",
        weak=True,
    )
    memory_static_max: int = readwrite(
        "most bytes of memory that it can ever have; fixed while it runs",
        default=MEMORY,
        role=Role.VM_POWER_ADMIN,
        check=checks.not_negative,
    )
    memory_dynamic_max: int = readwrite(
        "bytes of memory that it starts with, and the most that its balloon gives back to it while it runs",
        default=MEMORY,
        role=Role.VM_POWER_ADMIN,
        check=checks.not_negative,
    )
    memory_dynamic_min: int = readwrite(
        "least bytes of memory that its balloon may leave it while it runs",
        default=MEMORY,
        role=Role.VM_POWER_ADMIN,
        check=checks.not_negative,
    )
    memory_static_min: int = readwrite(
        "least bytes of memory that memory_dynamic_min may be set to",
        default=0,
        role=Role.VM_POWER_ADMIN,
        check=checks.not_negative,
    )
    VCPUs_params: Mapping[str, str] = readwrite(
        "settings of Xen's scheduler: weight (1 to 65535), cap (percent of one CPU, 0 for none), mask (0,2-3)",
        default={},
        check=checks.vcpus_params,
    )
    VCPUs_max: int = readwrite("most virtual CPUs that it can have; fixed while it runs", default=1, check=checks.vcpus)
    VCPUs_at_startup: int = readwrite("virtual CPUs that it starts with", default=1, check=checks.vcpus)
    actions_after_shutdown: OnNormalExit = readwrite(
        "what becomes of it when the guest shuts down: destroy (it is halted) or restart", default=OnNormalExit.DESTROY
    )
    actions_after_reboot: OnNormalExit = readwrite(
        "what becomes of it when the guest reboots: restart or destroy (it is halted)", default=OnNormalExit.RESTART
    )
    actions_after_crash: OnCrash = readwrite("what becomes of it when the guest crashes", default=OnCrash.RESTART)
    consoles: tuple[m.Console, ...] = runtime("consoles of the running machine", default=())
    VIFs: tuple[m.VIF, ...] = runtime("its network cards", default=())
    VBDs: tuple[m.VBD, ...] = runtime("its disks and drives", default=())
    crash_dumps: tuple[m.Crashdump, ...] = runtime(
        "memory that its guest left when it crashed; actions_after_crash say whether it does", default=()
    )
    VTPMs: tuple[m.VTPM, ...] = runtime(
        "virtual TPMs that it is to have; with one it cannot be started, since libvirt's Xen driver makes none",
        default=(),
    )
    DPCIs: tuple[m.DPCI, ...] = runtime("PCI devices of the host that it was given", default=())
    DSCSIs: tuple[m.DSCSI, ...] = runtime(
        "always empty: libvirt's Xen driver passes no SCSI devices through", default=()
    )
    DSCSI_HBAs: tuple[m.DSCSIHBA, ...] = runtime(
        "always empty: libvirt's Xen driver passes no SCSI adapters through", default=()
    )
    PV_bootloader: str = readwrite(
        "program on the host that finds a PV guest's kernel on its disk, such as pygrub",
        default="",
        check=checks.modest,
    )
    PV_kernel: str = readwrite(
        "kernel of a PV or PVH guest: a path in /boot or another folder of the host that is meant for it, its file: "
        "URI, or a data: URI with the kernel itself, which reads back as the URI of the file that keeps it",
        default="",
        check=checks.image,
    )
    PV_ramdisk: str = readwrite(
        "initial ramdisk that goes with PV_kernel, in the same forms", default="", check=checks.image
    )
    PV_args: str = readwrite("command line of a PV or PVH guest's kernel", default="", check=checks.modest)
    PV_bootloader_args: str = readwrite("arguments of PV_bootloader", default="", check=checks.modest)
    HVM_boot_policy: str = readwrite(
        "BIOS order for an HVM guest, empty for PV, where domain_type leaves it open", default="", check=checks.modest
    )
    HVM_boot_params: Mapping[str, str] = readwrite(
        "how an HVM guest boots: order (c disk, d CD, n network) and firmware (bios or uefi)",
        default={},
        check=checks.modest,
    )
    platform: Mapping[str, str] = readwrite(
        "virtual hardware: acpi, apic, pae, hap, hpet, timeoffset, vga, hvm_serial, nic_type; others are kept unread",
        default={},
        check=checks.modest,
    )
    PCI_bus: str = readwrite(
        "PCI devices to pass through, in xapi's old way; noted, not acted on: make a DPCI",
        default="",
        check=checks.modest,
    )
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    domid: int = runtime("number of the running domain; -1 while halted or suspended", default=-1)
    is_control_domain: bool = runtime("is it dom0, in which the agent runs", default=False, kept=True)
    metrics: m.VMMetrics | None = runtime("what it has and does, measured", default=None, kept=True, owns=True)
    guest_metrics: m.VMGuestMetrics | None = runtime(
        "what its guest says of itself; null while it says nothing that the agent can read", default=None, owns=True
    )
    security_label: str = runtime(
        "label of Xen's security module FLASK: while it runs, the one it has; else the one it is to have, if any",
        default="",
    )
    allowed_operations: tuple[VmOperation, ...] = runtime("what can be done to the machine now", default=())
    current_operations: Mapping[str, VmOperation] = runtime(
        "what is being done to the machine, by the reference of the task that does it", default={}
    )
    is_default_template: bool = runtime("is it a template that came with the agent", default=False, kept=True)
    scheduled_to_be_resident_on: m.Host | None = runtime(
        "always null: a machine is started at once or not at all", default=None, weak=True
    )
    affinity: m.Host | None = readwrite(
        "host that it would rather run on; noted, not acted on, since there is one host",
        default=None,
        weak=True,
        role=Role.VM_POWER_ADMIN,
    )
    memory_overhead: int = runtime(
        "always 0: compute_memory_overhead estimates what Xen needs beside the guest's memory", default=0
    )
    memory_target: int = constructor(
        "bytes that its balloon leaves it, as a client gave it to create; the agent goes by memory_dynamic_max",
        default=0,
        check=checks.not_negative,
    )
    actions_after_softreboot: OnSoftrebootBehavior = readwrite(
        "what becomes of it when the guest starts a new kernel without a reboot; noted, not acted on",
        default=OnSoftrebootBehavior.SOFT_REBOOT,
    )
    VUSBs: tuple[m.VUSB, ...] = runtime("USB devices that it has while it runs", default=())
    PV_legacy_args: str = readwrite(
        "command line for kernels of Zurich's time; noted, not acted on", default="", check=checks.modest
    )
    HVM_shadow_multiplier: float = readwrite(
        "factor on the memory for shadow page tables; noted, not acted on, since libvirt cannot say it",
        default=1.0,
        role=Role.VM_POWER_ADMIN,
        check=checks.not_negative,
    )
    domarch: str = runtime("always empty: libvirt does not tell the width of a running guest's pages", default="")
    last_boot_CPU_flags: Mapping[str, str] = constructor(
        "processor's abilities when it last booted, as a client gave them to create", default={}, check=checks.modest
    )
    last_booted_record: str = constructor(
        "record of the machine when it last booted, as a client gave it to create", default=""
    )
    recommendations: str = readwrite(
        "XML with limits that clients suggest; noted, not acted on", default="", check=checks.modest
    )
    xenstore_data: Mapping[str, str] = readwrite(
        "keys for the guest to find in xenstore; noted, not acted on, since libvirt writes none",
        default={},
        check=checks.modest,
    )
    ha_always_run: bool = readwrite(
        "is it restarted when its host fails; false, since no other host could",
        default=False,
        role=Role.POOL_OPERATOR,
        check=checks.only("ha_always_run", False, reason=ONE_HOST_HA),
    )
    ha_restart_priority: str = readwrite(
        "how it is restarted when its host fails; empty, since no other host could",
        default="",
        role=Role.POOL_OPERATOR,
        check=checks.only("ha_restart_priority", "", reason=ONE_HOST_HA),
    )
    is_a_snapshot: bool = runtime("was it made by a snapshot", default=False, kept=True)
    snapshot_of: m.VM | None = runtime(
        "machine that it is a snapshot of; null for none", default=None, bound="snapshots", kept=True, weak=True
    )
    snapshots: tuple[m.VM, ...] = runtime("snapshots of this machine", default=())
    snapshot_time: datetime = runtime("when the snapshot was taken; 1970 for none", default=EPOCH, kept=True)
    transportable_snapshot_id: str = runtime("always empty: snapshots do not travel", default="", kept=True)
    blobs: Blobs = runtime("binary pieces that clients keep with it, by name", default={})
    tags: tuple[str, ...] = readwrite(
        "words to find the machine by", default=(), role=Role.VM_OPERATOR, check=checks.modest
    )
    blocked_operations: Mapping[VmOperation, str] = readwrite(
        "operations that are refused, each with the code of the error that says why", default={}, check=checks.modest
    )
    snapshot_info: Mapping[str, str] = runtime("what was noted when the snapshot was taken", default={}, kept=True)
    snapshot_metadata: str = runtime(
        "always empty: the snapshot itself has the fields that the machine had", default="", kept=True
    )
    parent: m.VM | None = runtime(
        "always null: which snapshot a machine was last reverted to is not kept",
        default=None,
        bound="children",
        kept=True,
        weak=True,
    )
    children: tuple[m.VM, ...] = runtime("always empty: no machine has a parent", default=())
    bios_strings: Mapping[str, str] = runtime(
        "always empty: the guest sees Xen's own names of maker and model", default={}
    )
    protection_policy: Entity | None = constructor(
        "always null: the agent takes no snapshots by itself", default=None, to="VMPP"
    )
    snapshot_schedule: m.VMSS | None = readwrite(
        "schedule by which snapshots of it are taken; null for none",
        default=None,
        bound="VMs",
        weak=True,
        role=Role.POOL_OPERATOR,
    )
    is_vmss_snapshot: bool = constructor("is it a snapshot that a schedule took", default=False)
    appliance: m.VMAppliance | None = readwrite(
        "appliance that the machine belongs to; null for none",
        default=None,
        bound="VMs",
        weak=True,
        role=Role.POOL_OPERATOR,
    )
    start_delay: int = readwrite(
        "seconds to wait after its start before those next in order, when its appliance or the host starts",
        default=0,
        role=Role.POOL_OPERATOR,
        check=checks.not_negative,
    )
    shutdown_delay: int = readwrite(
        "seconds to wait after its shutdown before those next in order, when its appliance stops; and that its guest"
        " may take when the host goes down, 0 for what the agent's configuration says",
        default=0,
        role=Role.POOL_OPERATOR,
        check=checks.not_negative,
    )
    order: int = readwrite(
        "place among the machines of its appliance, or of the host: the lowest starts first and stops last",
        default=0,
        role=Role.POOL_OPERATOR,
        check=checks.not_negative,
    )
    VGPUs: tuple[Entity, ...] = runtime(
        "always empty: the agent makes no virtual graphics cards", default=(), to="VGPU"
    )
    attached_PCIs: tuple[m.PCI, ...] = runtime(
        "PCI devices of the host that the running machine has now, by the hypervisor", default=()
    )
    suspend_SR: m.SR | None = readwrite(
        "storage for the suspended machine; noted, not acted on, since libvirt keeps it in its own folder",
        default=None,
        weak=True,
    )
    version: int = constructor("how often it was changed, as a client gave it to create", default=0)
    generation_id: str = constructor(
        "two 64-bit numbers by which Windows sees that it was cloned or reverted; noted, not acted on",
        default="0:0",
        check=checks.modest,
    )
    hardware_platform_version: int = readwrite(
        "which generation of xapi's virtual hardware it was made for; noted, not acted on", default=0
    )
    has_vendor_device: bool = readwrite(
        "is the PCI device for Windows' drivers asked for; noted, not acted on: libvirt's Xen driver has none",
        default=False,
    )
    requires_reboot: bool = runtime(
        "always false: the agent does not keep count of what waits for the next boot", default=False, kept=True
    )
    reference_label: str = constructor(
        "template that it came from, in the maker's words", default="", check=checks.modest
    )
    domain_type: DomainType = readwrite(
        "how the guest is virtualised: hvm, pv or pvh; unspecified leaves it to HVM_boot_policy",
        default=DomainType.UNSPECIFIED,
        check=checks.only(
            "domain_type",
            DomainType.HVM,
            DomainType.PV,
            DomainType.PVH,
            DomainType.UNSPECIFIED,
            reason="libvirt's Xen driver has no PV shim: use pvh or pv",
        ),
    )
    NVRAM: Mapping[str, str] = readwrite(
        "variables of UEFI firmware; noted, not acted on, since Xen's firmware keeps them with the guest",
        default={},
        check=checks.modest,
    )
    pending_guidances: tuple[UpdateGuidances, ...] = runtime("always empty: the agent installs no updates", default=())
    pending_guidances_recommended: tuple[UpdateGuidances, ...] = runtime(
        "always empty: the agent installs no updates", default=()
    )
    pending_guidances_full: tuple[UpdateGuidances, ...] = runtime(
        "always empty: the agent installs no updates", default=()
    )
    groups: tuple[Entity, ...] = runtime(
        "always empty: there is one host to spread machines over", default=(), to="VM_group"
    )
    secureboot_certificates_state: VmSecurebootCertificatesState = runtime(
        "always ok: the agent keeps no certificates that could be out of date", default=VmSecurebootCertificatesState.OK
    )
    cpu_pool: tuple[m.CpuPool, ...] = runtime(
        "CPU pool that it runs in; none, while it does not run or the hypervisor does not tell",
        default=(),
        bound="started_VMs",
        through="in_pool",
    )
    pool_name: str = readwrite(
        "name of the CPU pool that it is moved into when it starts; empty for the one that all begin in",
        default="",
        check=checks.modest,
    )
    in_pool: m.CpuPool | None = internal(
        "the one pool of cpu_pool", default=None, bound="started_VMs", weak=True, passing=True
    )
    wanted_label: str = internal("security_label that clients set", default="")
    ours: bool = internal(
        "made or changed through the API: the hypervisor's definition follows these fields", default=False
    )
    started_here: bool = internal("runs, or is suspended, since the agent started it", default=False)
    held_still: bool = internal("stands still or sleeps for a snapshot, and is to go on after it", default=False)
    foreign: bool = internal("runs, but made with another tool and out of our reach: only to be seen", default=False)

    derive_from = frozenset(
        {
            "power_state",
            "current_operations",
            "blocked_operations",
            "is_a_template",
            "is_a_snapshot",
            "is_control_domain",
            "VBDs",
            "VIFs",
            "in_pool",
        }
    )

    def derive(self) -> None:
        """Which operations are allowed follows from the state; cpu_pool shows in_pool."""
        self.cpu_pool = () if self.in_pool is None else (self.in_pool,)
        lifecycle.derive_vm(self)

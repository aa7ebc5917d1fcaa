"""The class host: the machine that the agent runs on. What it is, is read from below; much of xapi's host is not here.

The host's own set-up (its name, network, time, certificates, ssh) belongs to its operating system. The agent reports
what it can see of it, and refuses to pretend that it changed the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.classes.blob import Blobs
from agent.classes.enums import (
    HostDisplay,
    HostNtpMode,
    HostNumaAffinityPolicy,
    HostOperation,
    LatestSyncedUpdatesAppliedState,
    UpdateGuidances,
)
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Host(Entity, name="host", role=Role.POOL_OPERATOR, destroys=True):
    """A physical machine that runs Xen, and the agent in its control domain."""

    uuid: str = runtime("permanent name of this host")
    name_label: str = readwrite("name for people", default="", check=checks.modest)
    name_description: str = readwrite("what the host is for, for people", default="", check=checks.modest)
    API_version_major: int = runtime("version of xapi's interface that clients may expect, before the dot", default=0)
    API_version_minor: int = runtime("version of xapi's interface that clients may expect, after the dot", default=0)
    API_version_vendor: str = runtime("who made this server of the interface", default="")
    API_version_vendor_implementation: Mapping[str, str] = runtime(
        "always empty: software_version has the details", default={}
    )
    enabled: bool = runtime(
        "may machines be started here; host.disable and host.enable set it", default=True, kept=True
    )
    software_version: Mapping[str, str] = runtime("versions of Xen, libvirt, Linux and the agent, by name", default={})
    other_config: Mapping[str, str] = readwrite(
        "notes of clients; boot_time and agent_start_time, in seconds since 1970, are the agent's",
        default={},
        check=checks.modest,
    )
    capabilities: tuple[str, ...] = runtime("kinds of guest that Xen can run, such as hvm-3.0-x86_64", default=())
    cpu_configuration: Mapping[str, str] = runtime("how many sockets, cores and threads the processors are", default={})
    sched_policy: str = runtime("scheduler that Xen shares its processors by, such as credit2", default="")
    supported_bootloaders: tuple[str, ...] = runtime("loaders that PV_bootloader can name", default=())
    resident_VMs: tuple[m.VM, ...] = runtime(
        "machines that run or are paused here, the control domain included", default=()
    )
    logging: Mapping[str, str] = readwrite(
        "where the agent's own log goes beside the host's journal: syslog_destination, a host with or without :PORT,"
        " is sent it by UDP at once; what other programs log is the host's own logger's",
        default={},
        check=checks.log_destinations,
    )
    PIFs: tuple[m.PIF, ...] = runtime("network cards of the host", default=())
    suspend_image_sr: m.SR | None = readwrite(
        "storage for suspended machines; noted, not acted on, since libvirt keeps them in its own folder",
        default=None,
        weak=True,
    )
    crash_dump_sr: m.SR | None = readwrite(
        "storage for crash dumps; noted, not acted on, since libvirt keeps them in its own folder",
        default=None,
        weak=True,
    )
    PBDs: tuple[m.PBD, ...] = runtime("ways in which the host reaches storage", default=())
    PPCIs: tuple[m.PPCI, ...] = runtime("PCI devices of the host", default=())
    PSCSIs: tuple[m.PSCSI, ...] = runtime("SCSI devices of the host", default=())
    PSCSI_HBAs: tuple[m.PSCSIHBA, ...] = runtime("adapters that SCSI devices of the host are on", default=())
    host_CPUs: tuple[m.HostCpu, ...] = runtime("processors of the host", default=())
    metrics: m.HostMetrics | None = runtime("what the host does, measured", default=None, kept=True, owns=True)
    resident_cpu_pools: tuple[m.CpuPool, ...] = runtime(
        "CPU pools of the host, those included that are not activated", default=()
    )
    memory_overhead: int = runtime("always 0: libvirt does not tell what Xen itself takes", default=0)
    allowed_operations: tuple[HostOperation, ...] = runtime("what can be done to or on the host now", default=())
    current_operations: Mapping[str, HostOperation] = runtime(
        "what is being done to the host, by the reference of the task that does it", default={}
    )
    crashdumps: tuple[Entity, ...] = runtime(
        "always empty: the agent keeps no crash dumps", default=(), to="host_crashdump"
    )
    patches: tuple[Entity, ...] = runtime("always empty: the agent installs no patches", default=(), to="host_patch")
    updates: tuple[Entity, ...] = runtime("always empty: the agent installs no updates", default=(), to="pool_update")
    cpu_info: Mapping[str, str] = runtime("maker, model, count and sockets of the processors, as text", default={})
    hostname: str = readwrite(
        "name that the host calls itself in the network",
        default="",
        check=checks.fixed("hostname", "change it with the host's own hostnamectl"),
    )
    address: str = readwrite(
        "address at which clients reach the agent",
        default="",
        check=checks.fixed("address", "change it in the host's own network configuration"),
    )
    license_params: Mapping[str, str] = runtime("always empty: there is no licence to buy", default={})
    ha_statefiles: tuple[str, ...] = runtime("always empty: there is no high availability", default=())
    ha_network_peers: tuple[str, ...] = runtime("always empty: there is no high availability", default=())
    blobs: Blobs = runtime("binary pieces that clients keep with it, by name", default={})
    tags: tuple[str, ...] = readwrite(
        "words to find the host by", default=(), role=Role.VM_OPERATOR, check=checks.modest
    )
    external_auth_type: str = runtime("always empty: users come from the agent's own file", default="")
    external_auth_service_name: str = runtime("always empty: users come from the agent's own file", default="")
    external_auth_configuration: Mapping[str, str] = runtime(
        "always empty: users come from the agent's own file", default={}
    )
    edition: str = runtime("always empty: there is one edition", default="")
    license_server: Mapping[str, str] = readwrite(
        "where licences are fetched; noted, not acted on, since there are none", default={}, check=checks.modest
    )
    bios_strings: Mapping[str, str] = runtime("maker, model and serial number, by the host's firmware", default={})
    power_on_mode: str = runtime("always empty: the agent cannot switch on a host", default="")
    power_on_config: Mapping[str, str] = runtime("always empty: the agent cannot switch on a host", default={})
    local_cache_sr: m.SR | None = constructor("always null: the agent caches no disks", default=None, weak=True)
    chipset_info: Mapping[str, str] = runtime("always empty: the agent does not look at the chipset", default={})
    PCIs: tuple[m.PCI, ...] = runtime("PCI devices of the host, in xapi's words; PPCIs are the same ones", default=())
    PGPUs: tuple[m.PGPU, ...] = runtime("its graphics cards", default=())
    PUSBs: tuple[m.PUSB, ...] = runtime("its USB devices, hubs left out", default=())
    ssl_legacy: bool = readwrite(
        "is TLS older than 1.2 offered; false, since the agent never does",
        default=False,
        check=checks.only("ssl_legacy", False, reason="the agent offers no TLS older than 1.2"),
    )
    guest_VCPUs_params: Mapping[str, str] = readwrite(
        "scheduler's settings for machines that have none; noted, not acted on: set VM.VCPUs_params",
        default={},
        check=checks.vcpus_params,
    )
    display: HostDisplay = readwrite(
        "does the host's own screen show its console; always enabled",
        default=HostDisplay.ENABLED,
        check=checks.only(
            "display", HostDisplay.ENABLED, reason="the agent does not hand the host's screen to a guest"
        ),
    )
    virtual_hardware_platform_versions: tuple[int, ...] = runtime(
        "values of VM.hardware_platform_version that can run here", default=(0,)
    )
    control_domain: m.VM | None = runtime("dom0, the machine that the agent runs in", default=None, weak=True)
    updates_requiring_reboot: tuple[Entity, ...] = runtime(
        "always empty: the agent installs no updates", default=(), to="pool_update"
    )
    features: tuple[Entity, ...] = runtime("always empty: no features are switched on or off", default=(), to="Feature")
    iscsi_iqn: str = readwrite(
        "name of the host towards iSCSI storage; empty, since the host keeps it",
        default="",
        check=checks.only("iscsi_iqn", "", reason="the host's own open-iscsi has the name, in /etc/iscsi"),
    )
    multipathing: bool = readwrite(
        "does the agent set up several paths to storage; false, since the host does that",
        default=False,
        check=checks.only("multipathing", False, reason="several paths are set up by the host's own multipathd"),
    )
    uefi_certificates: str = readwrite(
        "always empty: the agent keeps no Secure Boot certificates",
        default="",
        check=checks.only("uefi_certificates", "", reason="the agent keeps no Secure Boot certificates"),
    )
    certificates: tuple[m.Certificate, ...] = runtime("certificate that the agent's https listeners show", default=())
    editions: tuple[str, ...] = runtime("always empty: there is one edition", default=())
    pending_guidances: tuple[UpdateGuidances, ...] = runtime("always empty: the agent installs no updates", default=())
    tls_verification_enabled: bool = runtime("always false: the agent calls no other host", default=False)
    last_software_update: datetime = runtime("always 1970: the agent installs no updates", default=EPOCH)
    https_only: bool = runtime(
        "always false: which listeners there are is said in the agent's configuration", default=False
    )
    latest_synced_updates_applied: LatestSyncedUpdatesAppliedState = runtime(
        "always unknown: the agent looks for no updates", default=LatestSyncedUpdatesAppliedState.UNKNOWN
    )
    numa_affinity_policy: HostNumaAffinityPolicy = runtime(
        "always default_policy: Xen places machines as it likes", default=HostNumaAffinityPolicy.DEFAULT_POLICY
    )
    pending_guidances_recommended: tuple[UpdateGuidances, ...] = runtime(
        "always empty: the agent installs no updates", default=()
    )
    pending_guidances_full: tuple[UpdateGuidances, ...] = runtime(
        "always empty: the agent installs no updates", default=()
    )
    last_update_hash: str = runtime("always empty: the agent installs no updates", default="")
    ssh_enabled: bool = runtime("always false: the agent neither offers nor looks for ssh", default=False)
    ssh_enabled_timeout: int = runtime("always 0: the agent does not offer ssh", default=0)
    ssh_expiry: datetime = runtime("always 1970: the agent does not offer ssh", default=EPOCH)
    console_idle_timeout: int = runtime("always 0: the host's own console is no business of the agent", default=0)
    ssh_auto_mode: bool = runtime("always false: the agent does not offer ssh", default=False)
    max_cstate: str = runtime("always empty: the agent does not set how deep processors sleep", default="")
    secure_boot: bool = runtime("always false: the agent does not look how the host was booted", default=False)
    ntp_mode: HostNtpMode = runtime(
        "always Factory: the host keeps its time by its own means", default=HostNtpMode.FACTORY
    )
    ntp_custom_servers: tuple[str, ...] = runtime("always empty: the host keeps its time by its own means", default=())
    timezone: str = runtime("always empty: all times here are UTC", default="")
    uefi: bool = internal("can an HVM guest have UEFI firmware", default=False)

    boot_id: str = internal(
        "what tells this boot of the host from others; empty where it cannot be known", default="", passing=True
    )
    booted_as: str = internal("boot_id of the last boot after which machines were started", default="")
    to_start: tuple[str, ...] = internal("uuids of machines that are yet to be started after it", default=())
    listener: str = internal("URL of the listener by which clients from elsewhere come", default="", passing=True)

    derive_from = frozenset({"enabled", "resident_VMs"})

    def derive(self) -> None:
        """Which operations are allowed follows from the state."""
        lifecycle.derive_host(self)

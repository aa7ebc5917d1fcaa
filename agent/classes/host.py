"""The class host."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes.enums import HostDisplay, HostNtpMode, HostNumaAffinityPolicy, HostOperation, LatestSyncedUpdatesAppliedState, UpdateGuidances
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Host(Entity, name="host", role=Role.POOL_OPERATOR, destroys=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    name_label: str = readwrite("TODO name label", default="")
    name_description: str = readwrite("TODO name description", default="")
    API_version_major: int = runtime("TODO API version major", default=0)
    API_version_minor: int = runtime("TODO API version minor", default=0)
    API_version_vendor: str = runtime("TODO API version vendor", default="")
    API_version_vendor_implementation: Mapping[str, str] = runtime("TODO API version vendor implementation", default={})
    enabled: bool = runtime("TODO enabled", default=False, kept=True)
    software_version: Mapping[str, str] = runtime("TODO software version", default={})
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    capabilities: tuple[str, ...] = runtime("TODO capabilities", default=())
    cpu_configuration: Mapping[str, str] = runtime("TODO cpu configuration", default={})
    sched_policy: str = runtime("TODO sched policy", default="")
    supported_bootloaders: tuple[str, ...] = runtime("TODO supported bootloaders", default=())
    resident_VMs: tuple[m.VM, ...] = runtime("TODO resident VMs", default=())
    logging: Mapping[str, str] = readwrite("TODO logging", default={})
    PIFs: tuple[m.PIF, ...] = runtime("TODO PIFs", default=())
    suspend_image_sr: m.SR | None = readwrite("TODO suspend image sr", default=None, weak=True)
    crash_dump_sr: m.SR | None = readwrite("TODO crash dump sr", default=None, weak=True)
    PBDs: tuple[m.PBD, ...] = runtime("TODO PBDs", default=())
    PPCIs: tuple[Entity, ...] = runtime("TODO PPCIs", default=(), to="PPCI")
    PSCSIs: tuple[Entity, ...] = runtime("TODO PSCSIs", default=(), to="PSCSI")
    PSCSI_HBAs: tuple[Entity, ...] = runtime("TODO PSCSI HBAs", default=(), to="PSCSI_HBA")
    host_CPUs: tuple[m.HostCpu, ...] = runtime("TODO host CPUs", default=())
    metrics: m.HostMetrics | None = runtime("TODO metrics", default=None, kept=True, owns=True)
    resident_cpu_pools: tuple[Entity, ...] = runtime("TODO resident cpu pools", default=(), to="cpu_pool")
    memory_overhead: int = runtime("TODO memory overhead", default=0)
    allowed_operations: tuple[HostOperation, ...] = runtime("TODO allowed operations", default=())
    current_operations: Mapping[str, HostOperation] = runtime("TODO current operations", default={})
    crashdumps: tuple[Entity, ...] = runtime("TODO crashdumps", default=(), to="host_crashdump")
    patches: tuple[Entity, ...] = runtime("TODO patches", default=(), to="host_patch")
    updates: tuple[Entity, ...] = runtime("TODO updates", default=(), to="pool_update")
    cpu_info: Mapping[str, str] = runtime("TODO cpu info", default={})
    hostname: str = readwrite("TODO hostname", default="")
    address: str = readwrite("TODO address", default="")
    license_params: Mapping[str, str] = runtime("TODO license params", default={})
    ha_statefiles: tuple[str, ...] = runtime("TODO ha statefiles", default=())
    ha_network_peers: tuple[str, ...] = runtime("TODO ha network peers", default=())
    blobs: Mapping[str, str] = runtime("TODO blobs", default={})
    tags: tuple[str, ...] = readwrite("TODO tags", default=(), role=Role.VM_OPERATOR)
    external_auth_type: str = runtime("TODO external auth type", default="")
    external_auth_service_name: str = runtime("TODO external auth service name", default="")
    external_auth_configuration: Mapping[str, str] = runtime("TODO external auth configuration", default={})
    edition: str = runtime("TODO edition", default="")
    license_server: Mapping[str, str] = readwrite("TODO license server", default={})
    bios_strings: Mapping[str, str] = runtime("TODO bios strings", default={})
    power_on_mode: str = runtime("TODO power on mode", default="")
    power_on_config: Mapping[str, str] = runtime("TODO power on config", default={})
    local_cache_sr: m.SR | None = constructor("TODO local cache sr", default=None, weak=True)
    chipset_info: Mapping[str, str] = runtime("TODO chipset info", default={})
    PCIs: tuple[Entity, ...] = runtime("TODO PCIs", default=(), to="PCI")
    PGPUs: tuple[Entity, ...] = runtime("TODO PGPUs", default=(), to="PGPU")
    PUSBs: tuple[Entity, ...] = runtime("TODO PUSBs", default=(), to="PUSB")
    ssl_legacy: bool = readwrite("TODO ssl legacy", default=True)
    guest_VCPUs_params: Mapping[str, str] = readwrite("TODO guest VCPUs params", default={})
    display: HostDisplay = readwrite("TODO display", default=HostDisplay.ENABLED)
    virtual_hardware_platform_versions: tuple[int, ...] = runtime("TODO virtual hardware platform versions", default=())
    control_domain: m.VM | None = runtime("TODO control domain", default=None, weak=True)
    updates_requiring_reboot: tuple[Entity, ...] = runtime("TODO updates requiring reboot", default=(), to="pool_update")
    features: tuple[Entity, ...] = runtime("TODO features", default=(), to="Feature")
    iscsi_iqn: str = readwrite("TODO iscsi iqn", default="")
    multipathing: bool = readwrite("TODO multipathing", default=False)
    uefi_certificates: str = readwrite("TODO uefi certificates", default="")
    certificates: tuple[Entity, ...] = runtime("TODO certificates", default=(), to="Certificate")
    editions: tuple[str, ...] = runtime("TODO editions", default=())
    pending_guidances: tuple[UpdateGuidances, ...] = runtime("TODO pending guidances", default=())
    tls_verification_enabled: bool = runtime("TODO tls verification enabled", default=False)
    last_software_update: datetime = runtime("TODO last software update", default=EPOCH)
    https_only: bool = runtime("TODO https only", default=False)
    latest_synced_updates_applied: LatestSyncedUpdatesAppliedState = runtime("TODO latest synced updates applied", default=LatestSyncedUpdatesAppliedState.UNKNOWN)
    numa_affinity_policy: HostNumaAffinityPolicy = runtime("TODO numa affinity policy", default=HostNumaAffinityPolicy.DEFAULT_POLICY)
    pending_guidances_recommended: tuple[UpdateGuidances, ...] = runtime("TODO pending guidances recommended", default=())
    pending_guidances_full: tuple[UpdateGuidances, ...] = runtime("TODO pending guidances full", default=())
    last_update_hash: str = runtime("TODO last update hash", default="")
    ssh_enabled: bool = runtime("TODO ssh enabled", default=True)
    ssh_enabled_timeout: int = runtime("TODO ssh enabled timeout", default=0)
    ssh_expiry: datetime = runtime("TODO ssh expiry", default=EPOCH)
    console_idle_timeout: int = runtime("TODO console idle timeout", default=0)
    ssh_auto_mode: bool = runtime("TODO ssh auto mode", default=False)
    max_cstate: str = runtime("TODO max cstate", default="")
    secure_boot: bool = runtime("TODO secure boot", default=False)
    ntp_mode: HostNtpMode = runtime("TODO ntp mode", default=HostNtpMode.FACTORY)
    ntp_custom_servers: tuple[str, ...] = runtime("TODO ntp custom servers", default=())
    timezone: str = runtime("TODO timezone", default="UTC")

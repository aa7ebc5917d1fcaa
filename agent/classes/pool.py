"""The class pool."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes.enums import PoolOperation, TelemetryFrequency, UpdateSyncFrequency
from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Pool(Entity, name="pool", role=Role.POOL_OPERATOR):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    name_label: str = readwrite("TODO name label", default="")
    name_description: str = readwrite("TODO name description", default="")
    master: m.Host = runtime("TODO master", kept=True)
    default_SR: m.SR | None = readwrite("TODO default SR", default=None, weak=True)
    suspend_image_SR: m.SR | None = readwrite("TODO suspend image SR", default=None, weak=True)
    crash_dump_SR: m.SR | None = readwrite("TODO crash dump SR", default=None, weak=True)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    ha_enabled: bool = runtime("TODO ha enabled", default=False)
    ha_configuration: Mapping[str, str] = runtime("TODO ha configuration", default={})
    ha_statefiles: tuple[str, ...] = runtime("TODO ha statefiles", default=())
    ha_host_failures_to_tolerate: int = runtime("TODO ha host failures to tolerate", default=0)
    ha_plan_exists_for: int = runtime("TODO ha plan exists for", default=0)
    ha_allow_overcommit: bool = readwrite("TODO ha allow overcommit", default=False)
    ha_overcommitted: bool = runtime("TODO ha overcommitted", default=False)
    blobs: Mapping[str, str] = runtime("TODO blobs", default={})
    tags: tuple[str, ...] = readwrite("TODO tags", default=(), role=Role.VM_OPERATOR)
    gui_config: Mapping[str, str] = readwrite("TODO gui config", default={}, role=Role.VM_OPERATOR)
    health_check_config: Mapping[str, str] = readwrite("TODO health check config", default={})
    wlb_url: str = runtime("TODO wlb url", default="")
    wlb_username: str = runtime("TODO wlb username", default="")
    wlb_enabled: bool = readwrite("TODO wlb enabled", default=False)
    wlb_verify_cert: bool = readwrite("TODO wlb verify cert", default=False)
    redo_log_enabled: bool = runtime("TODO redo log enabled", default=False)
    redo_log_vdi: m.VDI | None = runtime("TODO redo log vdi", default=None, weak=True)
    vswitch_controller: str = runtime("TODO vswitch controller", default="")
    restrictions: Mapping[str, str] = runtime("TODO restrictions", default={})
    metadata_VDIs: tuple[m.VDI, ...] = runtime("TODO metadata VDIs", default=())
    ha_cluster_stack: str = runtime("TODO ha cluster stack", default="")
    allowed_operations: tuple[PoolOperation, ...] = runtime("TODO allowed operations", default=())
    current_operations: Mapping[str, PoolOperation] = runtime("TODO current operations", default={})
    guest_agent_config: Mapping[str, str] = runtime("TODO guest agent config", default={})
    cpu_info: Mapping[str, str] = runtime("TODO cpu info", default={})
    policy_no_vendor_device: bool = readwrite("TODO policy no vendor device", default=False)
    live_patching_disabled: bool = readwrite("TODO live patching disabled", default=False)
    igmp_snooping_enabled: bool = runtime("TODO igmp snooping enabled", default=False)
    uefi_certificates: str = readwrite("TODO uefi certificates", default="", role=Role.POOL_ADMIN)
    custom_uefi_certificates: str = readwrite("TODO custom uefi certificates", default="", role=Role.POOL_ADMIN)
    is_psr_pending: bool = readwrite("TODO is psr pending", default=False)
    tls_verification_enabled: bool = runtime("TODO tls verification enabled", default=False)
    repositories: tuple[Entity, ...] = runtime("TODO repositories", default=(), to="Repository")
    client_certificate_auth_enabled: bool = runtime("TODO client certificate auth enabled", default=False)
    client_certificate_auth_name: str = runtime("TODO client certificate auth name", default="")
    repository_proxy_url: str = runtime("TODO repository proxy url", default="")
    repository_proxy_username: str = runtime("TODO repository proxy username", default="")
    repository_proxy_password: Entity | None = runtime("TODO repository proxy password", default=None, to="secret")
    migration_compression: bool = readwrite("TODO migration compression", default=False)
    coordinator_bias: bool = readwrite("TODO coordinator bias", default=True)
    local_auth_max_threads: int = readwrite("TODO local auth max threads", default=8)
    ext_auth_max_threads: int = readwrite("TODO ext auth max threads", default=1)
    ext_auth_cache_enabled: bool = runtime("TODO ext auth cache enabled", default=True)
    ext_auth_cache_size: int = runtime("TODO ext auth cache size", default=50)
    ext_auth_cache_expiry: int = runtime("TODO ext auth cache expiry", default=300)
    telemetry_uuid: Entity | None = runtime("TODO telemetry uuid", default=None, to="secret")
    telemetry_frequency: TelemetryFrequency = runtime("TODO telemetry frequency", default=TelemetryFrequency.WEEKLY)
    telemetry_next_collection: datetime = runtime("TODO telemetry next collection", default=EPOCH)
    last_update_sync: datetime = runtime("TODO last update sync", default=EPOCH)
    update_sync_frequency: UpdateSyncFrequency = runtime("TODO update sync frequency", default=UpdateSyncFrequency.WEEKLY)
    update_sync_day: int = runtime("TODO update sync day", default=0)
    update_sync_enabled: bool = runtime("TODO update sync enabled", default=False)
    recommendations: Mapping[str, str] = runtime("TODO recommendations", default={})
    license_server: Mapping[str, str] = readwrite("TODO license server", default={})
    ha_reboot_vm_on_internal_shutdown: bool = readwrite("TODO ha reboot vm on internal shutdown", default=True)
    limit_console_sessions: bool = readwrite("TODO limit console sessions", default=False)
    vm_console_idle_timeout: int = readwrite("TODO vm console idle timeout", default=0)
    auto_update_vm_secureboot_certificates: bool = readwrite("TODO auto update vm secureboot certificates", default=False)

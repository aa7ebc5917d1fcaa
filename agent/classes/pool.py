"""The class pool. The agent's pool has one host: most of what xapi's pool does for many rests here, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.classes.blob import Blobs
from agent.classes.enums import PoolOperation, TelemetryFrequency, UpdateSyncFrequency
from agent.model.entity import Entity, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

NO_LOAD_BALANCER = "there is no load balancer for a pool of one host"
NO_CERTIFICATES = "the agent keeps no Secure Boot certificates"


class Pool(Entity, name="pool", role=Role.POOL_OPERATOR):
    """The pool that this host alone makes up, and what is to hold for all of it."""

    uuid: str = runtime("permanent name of this pool")
    name_label: str = readwrite("name for people", default="", check=checks.modest)
    name_description: str = readwrite("what the pool is for, for people", default="", check=checks.modest)
    master: m.Host = runtime("the one host of the pool", kept=True)
    default_SR: m.SR | None = readwrite("storage for new disks that name none; null for none", default=None, weak=True)
    suspend_image_SR: m.SR | None = readwrite(
        "storage for suspended machines; noted, not acted on, since libvirt keeps them in its own folder",
        default=None,
        weak=True,
    )
    crash_dump_SR: m.SR | None = readwrite(
        "storage for crash dumps; noted, not acted on, since the agent keeps none", default=None, weak=True
    )
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    ha_enabled: bool = runtime("always false: high availability needs several hosts", default=False)
    ha_configuration: Mapping[str, str] = runtime("always empty: there is no high availability", default={})
    ha_statefiles: tuple[str, ...] = runtime("always empty: there is no high availability", default=())
    ha_host_failures_to_tolerate: int = runtime("always 0: there is no high availability", default=0)
    ha_plan_exists_for: int = runtime("always 0: there is no high availability", default=0)
    ha_allow_overcommit: bool = readwrite(
        "may more be promised than a lost host leaves; noted, not acted on: there is no high availability",
        default=False,
    )
    ha_overcommitted: bool = runtime("always false: there is no high availability", default=False)
    blobs: Blobs = runtime("binary pieces that clients keep with it, by name", default={})
    tags: tuple[str, ...] = readwrite(
        "words to find the pool by", default=(), role=Role.VM_OPERATOR, check=checks.modest
    )
    gui_config: Mapping[str, str] = readwrite(
        "settings of graphical clients, which the agent keeps and does not read",
        default={},
        role=Role.VM_OPERATOR,
        check=checks.modest,
    )
    health_check_config: Mapping[str, str] = readwrite(
        "settings of a vendor's health check; noted, not acted on, since the agent reports to nobody",
        default={},
        check=checks.modest,
    )
    wlb_url: str = runtime("always empty: there is no load balancer", default="")
    wlb_username: str = runtime("always empty: there is no load balancer", default="")
    wlb_enabled: bool = readwrite(
        "is a load balancer asked; false, since there is none",
        default=False,
        check=checks.only("wlb_enabled", False, reason=NO_LOAD_BALANCER),
    )
    wlb_verify_cert: bool = readwrite(
        "is the load balancer's certificate checked; false, since there is none",
        default=False,
        check=checks.only("wlb_verify_cert", False, reason=NO_LOAD_BALANCER),
    )
    redo_log_enabled: bool = runtime("always false: the agent's journal is on the host", default=False)
    redo_log_vdi: m.VDI | None = runtime("always null: the agent's journal is on the host", default=None, weak=True)
    vswitch_controller: str = runtime("always empty: the agent uses bridges without a controller", default="")
    restrictions: Mapping[str, str] = runtime("always empty: no licence restricts anything", default={})
    metadata_VDIs: tuple[m.VDI, ...] = runtime("always empty: the agent keeps its journal on the host", default=())
    ha_cluster_stack: str = runtime("always empty: there is no high availability", default="")
    allowed_operations: tuple[PoolOperation, ...] = runtime("always empty: all of them need several hosts", default=())
    current_operations: Mapping[str, PoolOperation] = runtime(
        "always empty: all of them need several hosts", default={}
    )
    guest_agent_config: Mapping[str, str] = runtime("always empty: the agent tells guests nothing", default={})
    cpu_info: Mapping[str, str] = runtime("processors of the pool, which are those of its host", default={})
    policy_no_vendor_device: bool = readwrite(
        "are new machines without the PCI device for Windows' drivers; noted, not acted on, since none has it",
        default=False,
    )
    live_patching_disabled: bool = readwrite(
        "is patching without a reboot forbidden; noted, not acted on, since the agent installs no patches",
        default=False,
    )
    igmp_snooping_enabled: bool = runtime(
        "always false: the agent does not set how bridges treat multicast", default=False
    )
    uefi_certificates: str = readwrite(
        "certificates of Secure Boot for all machines; empty, since the agent keeps none",
        default="",
        role=Role.POOL_ADMIN,
        check=checks.only("uefi_certificates", "", reason=NO_CERTIFICATES),
    )
    custom_uefi_certificates: str = readwrite(
        "certificates of Secure Boot that the admin brings; empty, since the agent keeps none",
        default="",
        role=Role.POOL_ADMIN,
        check=checks.only("custom_uefi_certificates", "", reason=NO_CERTIFICATES),
    )
    is_psr_pending: bool = readwrite(
        "is a change of the pool's secret under way; false, since a pool of one host has no secret",
        default=False,
        check=checks.only("is_psr_pending", False, reason="a pool of one host has no secret"),
    )
    tls_verification_enabled: bool = runtime("always false: the agent calls no other host", default=False)
    repositories: tuple[Entity, ...] = runtime(
        "always empty: the agent installs no updates", default=(), to="Repository"
    )
    client_certificate_auth_enabled: bool = runtime("always false: users log in with a password", default=False)
    client_certificate_auth_name: str = runtime("always empty: users log in with a password", default="")
    repository_proxy_url: str = runtime("always empty: the agent installs no updates", default="")
    repository_proxy_username: str = runtime("always empty: the agent installs no updates", default="")
    repository_proxy_password: Entity | None = runtime(
        "always null: the agent installs no updates", default=None, to="secret"
    )
    migration_compression: bool = readwrite(
        "are memory pages compressed on their way to another host; false, since there is no other",
        default=False,
        check=checks.only("migration_compression", False, reason="a pool of one host moves no machines"),
    )
    coordinator_bias: bool = readwrite(
        "are machines rather started on other hosts; noted, not acted on, since there is no other", default=True
    )
    local_auth_max_threads: int = readwrite(
        "most passwords checked at once; noted, not acted on: the agent has its own limit",
        default=8,
        check=checks.not_negative,
    )
    ext_auth_max_threads: int = readwrite(
        "most questions to a directory at once; noted, not acted on, since none is asked",
        default=1,
        check=checks.not_negative,
    )
    ext_auth_cache_enabled: bool = runtime("always false: no directory is asked", default=False)
    ext_auth_cache_size: int = runtime("always 0: no directory is asked", default=0)
    ext_auth_cache_expiry: int = runtime("always 0: no directory is asked", default=0)
    telemetry_uuid: Entity | None = runtime("always null: no telemetry is collected", default=None, to="secret")
    telemetry_frequency: TelemetryFrequency = runtime(
        "always weekly, and without meaning: no telemetry is collected", default=TelemetryFrequency.WEEKLY
    )
    telemetry_next_collection: datetime = runtime("always 1970: no telemetry is collected", default=EPOCH)
    last_update_sync: datetime = runtime("always 1970: the agent looks for no updates", default=EPOCH)
    update_sync_frequency: UpdateSyncFrequency = runtime(
        "always weekly, and without meaning: the agent looks for no updates", default=UpdateSyncFrequency.WEEKLY
    )
    update_sync_day: int = runtime("always 0: the agent looks for no updates", default=0)
    update_sync_enabled: bool = runtime("always false: the agent looks for no updates", default=False)
    recommendations: Mapping[str, str] = runtime("always empty: the agent recommends nothing", default={})
    license_server: Mapping[str, str] = readwrite(
        "where licences are fetched; noted, not acted on, since there are none", default={}, check=checks.modest
    )
    ha_reboot_vm_on_internal_shutdown: bool = readwrite(
        "are protected machines that shut themselves down started again; noted, not acted on: none is protected",
        default=True,
    )
    limit_console_sessions: bool = readwrite(
        "may only one client at a time have the consoles of a machine open", default=False
    )
    vm_console_idle_timeout: int = readwrite(
        "seconds after which a machine's console is closed to a client that sends nothing; 0 for never",
        default=0,
        check=checks.not_negative,
    )
    auto_update_vm_secureboot_certificates: bool = readwrite(
        "are machines given new Secure Boot certificates; false, since the agent keeps none",
        default=False,
        check=checks.only("auto_update_vm_secureboot_certificates", False, reason=NO_CERTIFICATES),
    )
    templates_made: tuple[str, ...] = internal(
        "keys of the default templates that were made, each once in the life of the store", default=()
    )

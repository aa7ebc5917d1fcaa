"""The closed lists of words that fields take, each under its wire name. A value here may be met; what the agent emits is decided where it is set."""

from __future__ import annotations

from agent.model.types import WireEnum


class TaskStatus(WireEnum, name="task_status_type"):
    """TODO task_status_type."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class TaskOperation(WireEnum, name="task_allowed_operations"):
    """TODO task_allowed_operations."""

    CANCEL = "cancel"
    DESTROY = "destroy"


class EventOperation(WireEnum, name="event_operation"):
    """TODO event_operation."""

    ADD = "add"
    DEL = "del"
    MOD = "mod"


class PoolOperation(WireEnum, name="pool_allowed_operations"):
    """TODO pool_allowed_operations."""

    HA_ENABLE = "ha_enable"
    HA_DISABLE = "ha_disable"
    CLUSTER_CREATE = "cluster_create"
    DESIGNATE_NEW_MASTER = "designate_new_master"
    CONFIGURE_REPOSITORIES = "configure_repositories"
    SYNC_UPDATES = "sync_updates"
    SYNC_BUNDLE = "sync_bundle"
    GET_UPDATES = "get_updates"
    APPLY_UPDATES = "apply_updates"
    TLS_VERIFICATION_ENABLE = "tls_verification_enable"
    CERT_REFRESH = "cert_refresh"
    EXCHANGE_CERTIFICATES_ON_JOIN = "exchange_certificates_on_join"
    EXCHANGE_CA_CERTIFICATES_ON_JOIN = "exchange_ca_certificates_on_join"
    COPY_PRIMARY_HOST_CERTS = "copy_primary_host_certs"
    EJECT = "eject"
    EXCHANGE_CRLS_ON_JOIN = "exchange_crls_on_join"


class TelemetryFrequency(WireEnum, name="telemetry_frequency"):
    """TODO telemetry_frequency."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class UpdateSyncFrequency(WireEnum, name="update_sync_frequency"):
    """TODO update_sync_frequency."""

    DAILY = "daily"
    WEEKLY = "weekly"


class HostOperation(WireEnum, name="host_allowed_operations"):
    """TODO host_allowed_operations."""

    PROVISION = "provision"
    EVACUATE = "evacuate"
    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    POWER_ON = "power_on"
    VM_START = "vm_start"
    VM_RESUME = "vm_resume"
    VM_MIGRATE = "vm_migrate"
    APPLY_UPDATES = "apply_updates"
    ENABLE = "enable"


class HostDisplay(WireEnum, name="host_display"):
    """TODO host_display."""

    ENABLED = "enabled"
    DISABLE_ON_REBOOT = "disable_on_reboot"
    DISABLED = "disabled"
    ENABLE_ON_REBOOT = "enable_on_reboot"


class UpdateGuidances(WireEnum, name="update_guidances"):
    """TODO update_guidances."""

    REBOOT_HOST = "reboot_host"
    REBOOT_HOST_ON_LIVEPATCH_FAILURE = "reboot_host_on_livepatch_failure"
    REBOOT_HOST_ON_KERNEL_LIVEPATCH_FAILURE = "reboot_host_on_kernel_livepatch_failure"
    REBOOT_HOST_ON_XEN_LIVEPATCH_FAILURE = "reboot_host_on_xen_livepatch_failure"
    RESTART_TOOLSTACK = "restart_toolstack"
    RESTART_DEVICE_MODEL = "restart_device_model"
    RESTART_VM = "restart_vm"


class LatestSyncedUpdatesAppliedState(WireEnum, name="latest_synced_updates_applied_state"):
    """TODO latest_synced_updates_applied_state."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class HostNumaAffinityPolicy(WireEnum, name="host_numa_affinity_policy"):
    """TODO host_numa_affinity_policy."""

    ANY = "any"
    BEST_EFFORT = "best_effort"
    DEFAULT_POLICY = "default_policy"


class HostNtpMode(WireEnum, name="host_ntp_mode"):
    """TODO host_ntp_mode."""

    DHCP = "DHCP"
    CUSTOM = "Custom"
    FACTORY = "Factory"
    DISABLED = "Disabled"


class PowerState(WireEnum, name="vm_power_state"):
    """TODO vm_power_state."""

    HALTED = "Halted"
    PAUSED = "Paused"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    CRASHED = "Crashed"
    UNKNOWN = "Unknown"


class OnNormalExit(WireEnum, name="on_normal_exit"):
    """TODO on_normal_exit."""

    DESTROY = "destroy"
    RESTART = "restart"


class OnCrash(WireEnum, name="on_crash_behaviour"):
    """TODO on_crash_behaviour."""

    DESTROY = "destroy"
    COREDUMP_AND_DESTROY = "coredump_and_destroy"
    RESTART = "restart"
    COREDUMP_AND_RESTART = "coredump_and_restart"
    PRESERVE = "preserve"
    RENAME_RESTART = "rename_restart"


class VmOperation(WireEnum, name="vm_operations"):
    """TODO vm_operations."""

    SNAPSHOT = "snapshot"
    CLONE = "clone"
    COPY = "copy"
    CREATE_TEMPLATE = "create_template"
    REVERT = "revert"
    CHECKPOINT = "checkpoint"
    SNAPSHOT_WITH_QUIESCE = "snapshot_with_quiesce"
    PROVISION = "provision"
    START = "start"
    START_ON = "start_on"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    CLEAN_SHUTDOWN = "clean_shutdown"
    CLEAN_REBOOT = "clean_reboot"
    HARD_SHUTDOWN = "hard_shutdown"
    POWER_STATE_RESET = "power_state_reset"
    HARD_REBOOT = "hard_reboot"
    SUSPEND = "suspend"
    CSVM = "csvm"
    RESUME = "resume"
    RESUME_ON = "resume_on"
    POOL_MIGRATE = "pool_migrate"
    MIGRATE_SEND = "migrate_send"
    GET_BOOT_RECORD = "get_boot_record"
    SEND_SYSRQ = "send_sysrq"
    SEND_TRIGGER = "send_trigger"
    QUERY_SERVICES = "query_services"
    SHUTDOWN = "shutdown"
    CALL_PLUGIN = "call_plugin"
    CHANGING_MEMORY_LIVE = "changing_memory_live"
    AWAITING_MEMORY_LIVE = "awaiting_memory_live"
    CHANGING_DYNAMIC_RANGE = "changing_dynamic_range"
    CHANGING_STATIC_RANGE = "changing_static_range"
    CHANGING_MEMORY_LIMITS = "changing_memory_limits"
    CHANGING_SHADOW_MEMORY = "changing_shadow_memory"
    CHANGING_SHADOW_MEMORY_LIVE = "changing_shadow_memory_live"
    CHANGING_VCPUS = "changing_VCPUs"
    CHANGING_VCPUS_LIVE = "changing_VCPUs_live"
    CHANGING_NVRAM = "changing_NVRAM"
    ASSERT_OPERATION_VALID = "assert_operation_valid"
    DATA_SOURCE_OP = "data_source_op"
    UPDATE_ALLOWED_OPERATIONS = "update_allowed_operations"
    MAKE_INTO_TEMPLATE = "make_into_template"
    IMPORT = "import"
    EXPORT = "export"
    METADATA_EXPORT = "metadata_export"
    REVERTING = "reverting"
    DESTROY = "destroy"
    CREATE_VTPM = "create_vtpm"
    SYSPREP = "sysprep"


class OnSoftrebootBehavior(WireEnum, name="on_softreboot_behavior"):
    """TODO on_softreboot_behavior."""

    SOFT_REBOOT = "soft_reboot"
    DESTROY = "destroy"
    RESTART = "restart"
    PRESERVE = "preserve"


class DomainType(WireEnum, name="domain_type"):
    """TODO domain_type."""

    HVM = "hvm"
    PV = "pv"
    PV_IN_PVH = "pv_in_pvh"
    PVH = "pvh"
    UNSPECIFIED = "unspecified"


class VmSecurebootCertificatesState(WireEnum, name="vm_secureboot_certificates_state"):
    """TODO vm_secureboot_certificates_state."""

    OK = "ok"
    UPDATE_AVAILABLE = "update_available"
    UPDATE_ON_BOOT = "update_on_boot"


class Tristate(WireEnum, name="tristate_type"):
    """TODO tristate_type."""

    YES = "yes"
    NO = "no"
    UNSPECIFIED = "unspecified"


class NetworkOperation(WireEnum, name="network_operations"):
    """TODO network_operations."""

    ATTACHING = "attaching"


class NetworkDefaultLockingMode(WireEnum, name="network_default_locking_mode"):
    """TODO network_default_locking_mode."""

    UNLOCKED = "unlocked"
    DISABLED = "disabled"


class NetworkPurpose(WireEnum, name="network_purpose"):
    """TODO network_purpose."""

    NBD = "nbd"
    INSECURE_NBD = "insecure_nbd"


class VifOperation(WireEnum, name="vif_operations"):
    """TODO vif_operations."""

    ATTACH = "attach"
    PLUG = "plug"
    UNPLUG = "unplug"


class VifLockingMode(WireEnum, name="vif_locking_mode"):
    """TODO vif_locking_mode."""

    NETWORK_DEFAULT = "network_default"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    DISABLED = "disabled"


class VifIpv4ConfigurationMode(WireEnum, name="vif_ipv4_configuration_mode"):
    """TODO vif_ipv4_configuration_mode."""

    NONE = "None"
    STATIC = "Static"
    DHCP = "DHCP"


class VifIpv6ConfigurationMode(WireEnum, name="vif_ipv6_configuration_mode"):
    """TODO vif_ipv6_configuration_mode."""

    NONE = "None"
    STATIC = "Static"
    AUTOCONF = "Autoconf"


class IpConfigurationMode(WireEnum, name="ip_configuration_mode"):
    """TODO ip_configuration_mode."""

    NONE = "None"
    DHCP = "DHCP"
    STATIC = "Static"


class Ipv6ConfigurationMode(WireEnum, name="ipv6_configuration_mode"):
    """TODO ipv6_configuration_mode."""

    NONE = "None"
    DHCP = "DHCP"
    STATIC = "Static"
    AUTOCONF = "Autoconf"


class PrimaryAddressType(WireEnum, name="primary_address_type"):
    """TODO primary_address_type."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class PifIgmpStatus(WireEnum, name="pif_igmp_status"):
    """TODO pif_igmp_status."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    UNKNOWN = "unknown"


class StorageOperation(WireEnum, name="storage_operations"):
    """TODO storage_operations."""

    SCAN = "scan"
    DESTROY = "destroy"
    FORGET = "forget"
    PLUG = "plug"
    UNPLUG = "unplug"
    UPDATE = "update"
    VDI_CREATE = "vdi_create"
    VDI_INTRODUCE = "vdi_introduce"
    VDI_DESTROY = "vdi_destroy"
    VDI_RESIZE = "vdi_resize"
    VDI_CLONE = "vdi_clone"
    VDI_SNAPSHOT = "vdi_snapshot"
    VDI_MIRROR = "vdi_mirror"
    VDI_ENABLE_CBT = "vdi_enable_cbt"
    VDI_DISABLE_CBT = "vdi_disable_cbt"
    VDI_DATA_DESTROY = "vdi_data_destroy"
    VDI_LIST_CHANGED_BLOCKS = "vdi_list_changed_blocks"
    VDI_SET_ON_BOOT = "vdi_set_on_boot"
    VDI_BLOCKED = "vdi_blocked"
    VDI_COPY = "vdi_copy"
    VDI_FORCE_UNLOCK = "vdi_force_unlock"
    VDI_FORGET = "vdi_forget"
    VDI_GENERATE_CONFIG = "vdi_generate_config"
    VDI_RESIZE_ONLINE = "vdi_resize_online"
    VDI_UPDATE = "vdi_update"
    VDI_REVERT = "vdi_revert"
    PBD_CREATE = "pbd_create"
    PBD_DESTROY = "pbd_destroy"


class VdiType(WireEnum, name="vdi_type"):
    """TODO vdi_type."""

    SYSTEM = "system"
    USER = "user"
    EPHEMERAL = "ephemeral"
    SUSPEND = "suspend"
    CRASHDUMP = "crashdump"
    HA_STATEFILE = "ha_statefile"
    METADATA = "metadata"
    REDO_LOG = "redo_log"
    RRD = "rrd"
    PVS_CACHE = "pvs_cache"
    CBT_METADATA = "cbt_metadata"


class VdiOperation(WireEnum, name="vdi_operations"):
    """TODO vdi_operations."""

    CLONE = "clone"
    COPY = "copy"
    RESIZE = "resize"
    RESIZE_ONLINE = "resize_online"
    SNAPSHOT = "snapshot"
    MIRROR = "mirror"
    DESTROY = "destroy"
    FORGET = "forget"
    UPDATE = "update"
    FORCE_UNLOCK = "force_unlock"
    GENERATE_CONFIG = "generate_config"
    ENABLE_CBT = "enable_cbt"
    DISABLE_CBT = "disable_cbt"
    DATA_DESTROY = "data_destroy"
    LIST_CHANGED_BLOCKS = "list_changed_blocks"
    SET_ON_BOOT = "set_on_boot"
    BLOCKED = "blocked"
    REVERT_TO = "revert_to"
    REVERT_FROM = "revert_from"


class OnBoot(WireEnum, name="on_boot"):
    """TODO on_boot."""

    RESET = "reset"
    PERSIST = "persist"


class VbdMode(WireEnum, name="vbd_mode"):
    """TODO vbd_mode."""

    RO = "RO"
    RW = "RW"


class VbdType(WireEnum, name="vbd_type"):
    """TODO vbd_type."""

    CD = "CD"
    DISK = "Disk"
    FLOPPY = "Floppy"


class VbdOperation(WireEnum, name="vbd_operations"):
    """TODO vbd_operations."""

    ATTACH = "attach"
    EJECT = "eject"
    INSERT = "insert"
    PLUG = "plug"
    UNPLUG = "unplug"
    UNPLUG_FORCE = "unplug_force"
    PAUSE = "pause"
    UNPAUSE = "unpause"


class ConsoleProtocol(WireEnum, name="console_protocol"):
    """TODO console_protocol."""

    VT100 = "vt100"
    RFB = "rfb"
    RDP = "rdp"

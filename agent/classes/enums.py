"""The closed lists of words that fields take, each under its name on the wire. The first of a list is the neutral one.

A list has the words of today's xapi and of the 1.0 reference. Which of them the agent ever sends is decided where a
field is set, not here.
Over the usual size, since it is one list of lists.
"""

from __future__ import annotations

from agent.model.types import WireEnum


class TaskStatus(WireEnum, name="task_status_type"):
    """How a task stands: under way, or how it ended. CANCELLING has been told to stop and has not yet."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class TaskOperation(WireEnum, name="task_allowed_operations"):
    """What can be done to a task itself."""

    CANCEL = "cancel"
    DESTROY = "destroy"


class EventOperation(WireEnum, name="event_operation"):
    """What happened to the object of an event."""

    ADD = "add"
    DEL = "del"
    MOD = "mod"


class PoolOperation(WireEnum, name="pool_allowed_operations"):
    """What can be done to a pool. The agent has one pool of one host, and allows none of it."""

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
    """How often xapi collects telemetry; the agent collects none."""

    WEEKLY = "weekly"
    DAILY = "daily"
    MONTHLY = "monthly"


class UpdateSyncFrequency(WireEnum, name="update_sync_frequency"):
    """How often xapi looks for updates; the agent looks for none."""

    WEEKLY = "weekly"
    DAILY = "daily"


class HostOperation(WireEnum, name="host_allowed_operations"):
    """What can be done to or on a host."""

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
    """Whether the host's own screen shows its console, now and after the next reboot."""

    ENABLED = "enabled"
    DISABLE_ON_REBOOT = "disable_on_reboot"
    DISABLED = "disabled"
    ENABLE_ON_REBOOT = "enable_on_reboot"


class UpdateGuidances(WireEnum, name="update_guidances"):
    """What an update asks to be restarted; the agent installs no updates and gives none."""

    REBOOT_HOST = "reboot_host"
    REBOOT_HOST_ON_LIVEPATCH_FAILURE = "reboot_host_on_livepatch_failure"
    REBOOT_HOST_ON_KERNEL_LIVEPATCH_FAILURE = "reboot_host_on_kernel_livepatch_failure"
    REBOOT_HOST_ON_XEN_LIVEPATCH_FAILURE = "reboot_host_on_xen_livepatch_failure"
    RESTART_TOOLSTACK = "restart_toolstack"
    RESTART_DEVICE_MODEL = "restart_device_model"
    RESTART_VM = "restart_vm"


class LatestSyncedUpdatesAppliedState(WireEnum, name="latest_synced_updates_applied_state"):
    """Whether the host has all updates that its pool knows of."""

    UNKNOWN = "unknown"
    YES = "yes"
    NO = "no"


class HostNumaAffinityPolicy(WireEnum, name="host_numa_affinity_policy"):
    """How machines are placed on NUMA nodes."""

    DEFAULT_POLICY = "default_policy"
    ANY = "any"
    BEST_EFFORT = "best_effort"


class HostNtpMode(WireEnum, name="host_ntp_mode"):
    """Where a host that xapi sets up takes its time servers from."""

    FACTORY = "Factory"
    DHCP = "DHCP"
    CUSTOM = "Custom"
    DISABLED = "Disabled"


class PowerState(WireEnum, name="vm_power_state"):
    """Whether a machine runs.

    CRASHED and UNKNOWN are of the 1.0 reference; the agent sends neither, since today's clients do not know them.
    """

    HALTED = "Halted"
    PAUSED = "Paused"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    CRASHED = "Crashed"
    UNKNOWN = "Unknown"


class OnNormalExit(WireEnum, name="on_normal_exit"):
    """What becomes of a machine whose guest shut down or rebooted."""

    DESTROY = "destroy"
    RESTART = "restart"


class OnCrash(WireEnum, name="on_crash_behaviour"):
    """What becomes of a machine whose guest crashed."""

    DESTROY = "destroy"
    COREDUMP_AND_DESTROY = "coredump_and_destroy"
    RESTART = "restart"
    COREDUMP_AND_RESTART = "coredump_and_restart"
    PRESERVE = "preserve"
    RENAME_RESTART = "rename_restart"


class VmOperation(WireEnum, name="vm_operations"):
    """What can be done to a machine: the words of allowed_operations, current_operations and blocked_operations."""

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
    """What becomes of a machine whose guest asked for a new kernel without a reboot (kexec)."""

    SOFT_REBOOT = "soft_reboot"
    DESTROY = "destroy"
    RESTART = "restart"
    PRESERVE = "preserve"


class DomainType(WireEnum, name="domain_type"):
    """How the guest is virtualised. UNSPECIFIED leaves it to HVM_boot_policy: empty is PV, anything else HVM."""

    UNSPECIFIED = "unspecified"
    HVM = "hvm"
    PV = "pv"
    PV_IN_PVH = "pv_in_pvh"
    PVH = "pvh"


class VmSecurebootCertificatesState(WireEnum, name="vm_secureboot_certificates_state"):
    """Whether the machine's Secure Boot certificates are the newest that its host has."""

    OK = "ok"
    UPDATE_AVAILABLE = "update_available"
    UPDATE_ON_BOOT = "update_on_boot"


class Tristate(WireEnum, name="tristate_type"):
    """Yes, no, or nobody said."""

    UNSPECIFIED = "unspecified"
    YES = "yes"
    NO = "no"


class NetworkOperation(WireEnum, name="network_operations"):
    """What can be done to a network."""

    ATTACHING = "attaching"


class NetworkDefaultLockingMode(WireEnum, name="network_default_locking_mode"):
    """What a card in the mode network_default may send."""

    UNLOCKED = "unlocked"
    DISABLED = "disabled"


class NetworkPurpose(WireEnum, name="network_purpose"):
    """What a network is set aside for in xapi."""

    NBD = "nbd"
    INSECURE_NBD = "insecure_nbd"


class VifOperation(WireEnum, name="vif_operations"):
    """What can be done to a virtual network card."""

    ATTACH = "attach"
    PLUG = "plug"
    UNPLUG = "unplug"


class VifLockingMode(WireEnum, name="vif_locking_mode"):
    """Which packets of a virtual network card its host lets pass."""

    NETWORK_DEFAULT = "network_default"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    DISABLED = "disabled"


class VifIpv4ConfigurationMode(WireEnum, name="vif_ipv4_configuration_mode"):
    """How xapi has a guest's agent set up IPv4."""

    NONE = "None"
    STATIC = "Static"
    DHCP = "DHCP"


class VifIpv6ConfigurationMode(WireEnum, name="vif_ipv6_configuration_mode"):
    """How xapi has a guest's agent set up IPv6."""

    NONE = "None"
    STATIC = "Static"
    AUTOCONF = "Autoconf"


class IpConfigurationMode(WireEnum, name="ip_configuration_mode"):
    """How a network card of the host gets its IPv4 address."""

    NONE = "None"
    DHCP = "DHCP"
    STATIC = "Static"


class Ipv6ConfigurationMode(WireEnum, name="ipv6_configuration_mode"):
    """How a network card of the host gets its IPv6 addresses."""

    NONE = "None"
    DHCP = "DHCP"
    STATIC = "Static"
    AUTOCONF = "Autoconf"


class PrimaryAddressType(WireEnum, name="primary_address_type"):
    """Which of its addresses a network card of the host is managed through."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class PifIgmpStatus(WireEnum, name="pif_igmp_status"):
    """Whether the bridge above a network card of the host snoops IGMP."""

    UNKNOWN = "unknown"
    ENABLED = "enabled"
    DISABLED = "disabled"


class VmApplianceOperation(WireEnum, name="vm_appliance_operation"):
    """What is done to the machines of an appliance."""

    START = "start"
    CLEAN_SHUTDOWN = "clean_shutdown"
    HARD_SHUTDOWN = "hard_shutdown"
    SHUTDOWN = "shutdown"


class VmssType(WireEnum, name="vmss_type"):
    """What a schedule of snapshots takes."""

    SNAPSHOT = "snapshot"
    CHECKPOINT = "checkpoint"
    SNAPSHOT_WITH_QUIESCE = "snapshot_with_quiesce"


class VmssFrequency(WireEnum, name="vmss_frequency"):
    """How often a schedule takes snapshots."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"


class PciDom0Access(WireEnum, name="pci_dom0_access"):
    """Whether the control domain uses a device, now and after its next boot."""

    ENABLED = "enabled"
    DISABLE_ON_REBOOT = "disable_on_reboot"
    DISABLED = "disabled"
    ENABLE_ON_REBOOT = "enable_on_reboot"


class AllocationAlgorithm(WireEnum, name="allocation_algorithm"):
    """Which of several graphics cards a machine's virtual one is put on."""

    DEPTH_FIRST = "depth_first"
    BREADTH_FIRST = "breadth_first"


class ImageFormat(WireEnum, name="image_format_type"):
    """A format of disks."""

    RAW = "raw"
    VHD = "vhd"
    QCOW2 = "qcow2"


class BondMode(WireEnum, name="bond_mode"):
    """How the cards of a bond share what it carries."""

    BALANCE_SLB = "balance-slb"
    ACTIVE_BACKUP = "active-backup"
    LACP = "lacp"


class StorageOperation(WireEnum, name="storage_operations"):
    """What can be done to or in a storage."""

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


class VtpmOperation(WireEnum, name="vtpm_operations"):
    """What can be done to a virtual TPM."""

    DESTROY = "destroy"


class PersistenceBackend(WireEnum, name="persistence_backend"):
    """Where the content of a virtual TPM would be kept."""

    XAPI = "xapi"


class VdiType(WireEnum, name="vdi_type"):
    """What a disk is for."""

    USER = "user"
    SYSTEM = "system"
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
    """What can be done to a disk."""

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
    """Whether a disk keeps what was written to it when its machine boots anew."""

    PERSIST = "persist"
    RESET = "reset"


class VbdMode(WireEnum, name="vbd_mode"):
    """Whether the guest may write."""

    RW = "RW"
    RO = "RO"


class VbdType(WireEnum, name="vbd_type"):
    """What the guest takes the device for."""

    DISK = "Disk"
    CD = "CD"
    FLOPPY = "Floppy"


class VbdOperation(WireEnum, name="vbd_operations"):
    """What can be done to a disk or drive of a machine."""

    ATTACH = "attach"
    EJECT = "eject"
    INSERT = "insert"
    PLUG = "plug"
    UNPLUG = "unplug"
    UNPLUG_FORCE = "unplug_force"
    PAUSE = "pause"
    UNPAUSE = "unpause"


class Cls(WireEnum, name="cls"):
    """What a message can be about."""

    VM = "VM"
    HOST = "Host"
    SR = "SR"
    POOL = "Pool"
    VMPP = "VMPP"
    VMSS = "VMSS"
    PVS_PROXY = "PVS_proxy"
    VDI = "VDI"
    CERTIFICATE = "Certificate"


class CertificateType(WireEnum, name="certificate_type"):
    """Whose certificate it is: an authority's, or a host's."""

    CA = "ca"
    HOST = "host"
    HOST_INTERNAL = "host_internal"
    PINNED = "pinned"


class CertificatePurpose(WireEnum, name="certificate_purpose"):
    """What the certificate of somebody else is trusted for."""

    LICENSING = "licensing"
    LDAPS = "ldaps"


class ConsoleProtocol(WireEnum, name="console_protocol"):
    """What a console speaks: text of a terminal, VNC's remote framebuffer, or Windows' remote desktop."""

    VT100 = "vt100"
    RFB = "rfb"
    RDP = "rdp"


class HostSchedGran(WireEnum, name="host_sched_gran"):
    """What Xen's scheduler gives a guest at a time."""

    CORE = "core"
    CPU = "cpu"
    SOCKET = "socket"


class VmUefiMode(WireEnum, name="vm_uefi_mode"):
    """Whether a guest's UEFI firmware still takes keys for Secure Boot."""

    SETUP = "setup"
    USER = "user"


class VmSecurebootReadiness(WireEnum, name="vm_secureboot_readiness"):
    """Whether a guest could boot by Secure Boot."""

    NOT_SUPPORTED = "not_supported"
    DISABLED = "disabled"
    FIRST_BOOT = "first_boot"
    READY = "ready"
    READY_NO_DBX = "ready_no_dbx"
    SETUP_MODE = "setup_mode"
    CERTS_INCOMPLETE = "certs_incomplete"


class PoolGuestSecurebootReadiness(WireEnum, name="pool_guest_secureboot_readiness"):
    """Whether guests of a pool could boot by Secure Boot."""

    READY = "ready"
    READY_NO_DBX = "ready_no_dbx"
    NOT_READY = "not_ready"


class VusbOperation(WireEnum, name="vusb_operations"):
    """What can be done to a USB device of a machine."""

    ATTACH = "attach"
    PLUG = "plug"
    UNPLUG = "unplug"

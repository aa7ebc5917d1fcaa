"""The classes of ``agent.classes.absent``, in the notation of ``agent.model.notation``.

Over the usual size, since it is one table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.errors import (
    AuthIsDisabled,
    FeatureRestricted,
    InvalidUpdate,
    LicenceRestriction,
    MessageRemoved,
    NetworkSriovEnableFailed,
    NotImplementedHere,
    OpenvswitchNotActive,
    PifIsNotSriovCapable,
    SrOperationNotSupported,
    XenError,
)
from agent.roles import Role


@dataclass(frozen=True)
class Absent:
    """A class without objects."""

    name: str
    doc: str
    """What xapi has it for."""
    fields: str = ""
    """All but the uuid, which each class has."""
    verbs: str = ""
    role: Role = Role.POOL_OPERATOR
    refusal: Callable[[str, Sequence[Any]], XenError] = lambda name, args: NotImplementedHere(name)
    """What a verb answers that got as far, by name and parameters. One that takes an object of the class never does."""


def _no_functions(pif: Any) -> XenError:
    """Why a card has no functions for guests: it cannot, or the agent does not give them."""
    if "sriov" in getattr(pif, "capabilities", ()):
        return NetworkSriovEnableFailed(pif, "the agent gives machines no functions of a card, only ports of bridges")
    return PifIsNotSriovCapable(pif)


TABLE = (
    Absent(
        "subject",
        "A user or group of a directory that may log in. The users of this agent are in a file of its own.",
        fields="""
            string subject_identifier !; (string -> string) map other_config !; role ref set roles
        """,
        verbs="""
            void add_to_roles(subject ref self, role ref role); void remove_from_roles(subject ref self, role ref role);
            string set get_permissions_name_label(subject ref self) @read-only;
            subject ref create(subject record args); void destroy(subject ref self)
        """,
        role=Role.POOL_ADMIN,
        refusal=lambda name, args: AuthIsDisabled(),
    ),
    Absent(
        "pool_patch",
        "A patch of XenServer before 7.0. This host is updated by the packages of its distribution.",
        fields="""
            string name_label !; string name_description !; string version !; int size; bool pool_applied;
            host_patch ref set host_patches; enum after_apply_guidance set after_apply_guidance;
            pool_update ref pool_update !; (string -> string) map other_config =
        """,
        verbs="""
            string apply(pool_patch ref self, host ref host); void pool_apply(pool_patch ref self);
            string precheck(pool_patch ref self, host ref host); void clean(pool_patch ref self);
            void pool_clean(pool_patch ref self); void destroy(pool_patch ref self);
            void clean_on_host(pool_patch ref self, host ref host)
        """,
    ),
    Absent(
        "pool_update",
        "An update of XenServer 7. This host is updated by the packages of its distribution.",
        fields="""
            string name_label !; string name_description !; string version !; int installation_size !; string key !;
            enum update_after_apply_guidance set after_apply_guidance !; VDI ref vdi !; host ref set hosts;
            (string -> string) map other_config =; bool enforce_homogeneity !
        """,
        verbs="""
            pool_update ref introduce(VDI ref vdi); enum livepatch_status precheck(pool_update ref self, host ref host);
            void apply(pool_update ref self, host ref host); void pool_apply(pool_update ref self);
            void pool_clean(pool_update ref self); void destroy(pool_update ref self)
        """,
        refusal=lambda name, args: InvalidUpdate("this host is updated by the packages of its distribution"),
    ),
    Absent(
        "host_patch",
        "A patch of XenServer before 7.0 on a host.",
        fields="""
            string name_label !; string name_description !; string version !; host ref host !; bool applied;
            datetime timestamp_applied; int size; pool_patch ref pool_patch !; (string -> string) map other_config =
        """,
        verbs="""
            void destroy(host_patch ref self); string apply(host_patch ref self)
        """,
    ),
    Absent(
        "host_crashdump",
        "What XenServer's kernel left when a host crashed. What guests leave is a crashdump.",
        fields="""
            host ref host !; datetime timestamp; int size; (string -> string) map other_config =
        """,
        verbs="""
            void destroy(host_crashdump ref self);
            void upload(host_crashdump ref self, string url, (string -> string) map options)
        """,
    ),
    Absent(
        "LVHD",
        "Settings of XenServer's storage of VHDs on LVM.",
        verbs="""
            string enable_thin_provisioning(host ref host, SR ref SR, int initial_allocation, int allocation_quantum)
        """,
        role=Role.POOL_ADMIN,
        refusal=lambda name, args: SrOperationNotSupported(args[1]),
    ),
    Absent(
        "VMPP",
        "A policy to protect machines, which xapi itself has removed.",
        fields="""
            string name_label =; string name_description =; bool is_policy_enabled =;
            enum vmpp_backup_type backup_type =; int backup_retention_value =;
            enum vmpp_backup_frequency backup_frequency =; (string -> string) map backup_schedule =;
            bool is_backup_running; datetime backup_last_run_time; enum vmpp_archive_target_type archive_target_type =;
            (string -> string) map archive_target_config =; enum vmpp_archive_frequency archive_frequency =;
            (string -> string) map archive_schedule =; bool is_archive_running; datetime archive_last_run_time;
            VM ref set VMs; bool is_alarm_enabled =; (string -> string) map alarm_config =; string set recent_alerts
        """,
        verbs="""
            string protect_now(VMPP ref vmpp); string archive_now(VM ref snapshot) @vm-power-admin;
            string set get_alerts(VMPP ref vmpp, int hours_from_now);
            void set_backup_last_run_time(VMPP ref self, datetime value) @pool-admin;
            void set_archive_last_run_time(VMPP ref self, datetime value) @pool-admin;
            VMPP ref create(VMPP record args); void destroy(VMPP ref self)
        """,
        refusal=lambda name, args: MessageRemoved(),
    ),
    Absent(
        "DR_task",
        "Work to recover machines from another site's storage.",
        fields="""
            SR ref set introduced_SRs
        """,
        verbs="""
            DR_task ref create(string type, (string -> string) map device_config, string set whitelist);
            void destroy(DR_task ref self)
        """,
        refusal=lambda name, args: LicenceRestriction("DR"),
    ),
    Absent(
        "VM_group",
        "Machines that are spread over the hosts of a pool, or kept together. Here is one host.",
        fields="""
            string name_label =; string name_description =; enum placement_policy placement !; VM ref set VMs
        """,
        verbs="""
            VM_group ref create(VM_group record args); void destroy(VM_group ref self)
        """,
        role=Role.VM_ADMIN,
        refusal=lambda name, args: LicenceRestriction("VM_group"),
    ),
    Absent(
        "VGPU",
        "A virtual graphics card. PCI devices are passed through whole: DPCI.",
        fields="""
            VM ref VM; GPU_group ref GPU_group; string device; bool currently_attached;
            (string -> string) map other_config =; VGPU_type ref type; PGPU ref resident_on;
            PGPU ref scheduled_to_be_resident_on; (string -> string) map compatibility_metadata; string extra_args =;
            PCI ref PCI
        """,
        verbs="""
            VGPU ref create(VM ref VM, GPU_group ref GPU_group, string device="0",
                (string -> string) map other_config={}, VGPU_type ref type=null);
            void destroy(VGPU ref self)
        """,
        refusal=lambda name, args: FeatureRestricted(),
    ),
    Absent(
        "VGPU_type",
        "A kind of virtual graphics card, which the vendor's driver knows.",
        fields="""
            string vendor_name !; string model_name !; int framebuffer_size !; int max_heads !; int max_resolution_x !;
            int max_resolution_y !; PGPU ref set supported_on_PGPUs; PGPU ref set enabled_on_PGPUs; VGPU ref set VGPUs;
            GPU_group ref set supported_on_GPU_groups; GPU_group ref set enabled_on_GPU_groups;
            enum vgpu_type_implementation implementation !; string identifier !; bool experimental !;
            VGPU_type ref set compatible_types_in_vm
        """,
    ),
    Absent(
        "PVS_site",
        "A site of Citrix's provisioning, whose disks come over the network.",
        fields="""
            string name_label =; string name_description =; string PVS_uuid =; PVS_cache_storage ref set cache_storage;
            PVS_server ref set servers; PVS_proxy ref set proxies
        """,
        verbs="""
            PVS_site ref introduce(string name_label, string name_description, string PVS_uuid);
            void forget(PVS_site ref self)
        """,
        refusal=lambda name, args: LicenceRestriction("PVS_proxy"),
    ),
    Absent(
        "PVS_server",
        "A server of Citrix's provisioning.",
        fields="""
            string set addresses !; int first_port !; int last_port !; PVS_site ref site !
        """,
        verbs="""
            PVS_server ref introduce(string set addresses, int first_port, int last_port, PVS_site ref site);
            void forget(PVS_server ref self)
        """,
        refusal=lambda name, args: LicenceRestriction("PVS_proxy"),
    ),
    Absent(
        "PVS_proxy",
        "A cache between a machine's card and the servers of Citrix's provisioning.",
        fields="""
            PVS_site ref site !; VIF ref VIF !; bool currently_attached; enum pvs_proxy_status status
        """,
        verbs="""
            PVS_proxy ref create(PVS_site ref site, VIF ref VIF); void destroy(PVS_proxy ref self)
        """,
        refusal=lambda name, args: LicenceRestriction("PVS_proxy"),
    ),
    Absent(
        "PVS_cache_storage",
        "The storage of such a cache.",
        fields="""
            host ref host !; SR ref SR !; PVS_site ref site !; int size !; VDI ref VDI
        """,
        verbs="""
            PVS_cache_storage ref create(PVS_cache_storage record args); void destroy(PVS_cache_storage ref self)
        """,
        refusal=lambda name, args: LicenceRestriction("PVS_proxy"),
    ),
    Absent(
        "Feature",
        "A part of XenServer that can be switched on and off.",
        fields="""
            string name_label !; string name_description !; bool enabled; bool experimental !; string version !;
            host ref host
        """,
    ),
    Absent(
        "SDN_controller",
        "A controller of Open vSwitch. This host's networks are bridges.",
        fields="""
            enum sdn_controller_protocol protocol !; string address !; int port !
        """,
        verbs="""
            SDN_controller ref introduce(enum sdn_controller_protocol protocol="ssl", string address="", int port=0);
            void forget(SDN_controller ref self)
        """,
        refusal=lambda name, args: OpenvswitchNotActive(),
    ),
    Absent(
        "Cluster",
        "Hosts of a pool that share a cluster file system. Here is one host.",
        fields="""
            Cluster_host ref set cluster_hosts; string set pending_forget; string cluster_token !;
            string cluster_stack !; int cluster_stack_version !; bool is_quorate; int quorum; int live_hosts;
            int expected_hosts; enum cluster_operation set allowed_operations;
            (string -> enum cluster_operation) map current_operations; bool pool_auto_join !; float token_timeout !;
            float token_timeout_coefficient !; (string -> string) map cluster_config !;
            (string -> string) map other_config =
        """,
        verbs="""
            Cluster ref create(PIF ref PIF, string cluster_stack, bool pool_auto_join, float token_timeout=20.0,
                float token_timeout_coefficient=1.0);
            void destroy(Cluster ref self); network ref get_network(Cluster ref self) @read-only;
            Cluster ref pool_create(network ref network, string cluster_stack, float token_timeout=20.0,
                float token_timeout_coefficient=1.0);
            void pool_force_destroy(Cluster ref self); void pool_destroy(Cluster ref self);
            void pool_resync(Cluster ref self)
        """,
        refusal=lambda name, args: LicenceRestriction("Corosync"),
    ),
    Absent(
        "Cluster_host",
        "A host in such a cluster.",
        fields="""
            Cluster ref cluster !; host ref host !; bool enabled; PIF ref PIF !; bool joined; bool live;
            datetime last_update_live; enum cluster_host_operation set allowed_operations;
            (string -> enum cluster_host_operation) map current_operations; (string -> string) map other_config !
        """,
        verbs="""
            Cluster_host ref create(Cluster ref cluster, host ref host, PIF ref pif);
            void destroy(Cluster_host ref self); void enable(Cluster_host ref self);
            void force_destroy(Cluster_host ref self); void disable(Cluster_host ref self)
        """,
        refusal=lambda name, args: LicenceRestriction("Corosync"),
    ),
    Absent(
        "Repository",
        "A source of XenServer's packages. Those of this host are its distribution's business.",
        fields="""
            string name_label =; string name_description =; string binary_url !; string source_url !; bool update !;
            string hash; bool up_to_date; string gpgkey_path =; enum origin origin !; string certificate !
        """,
        verbs="""
            Repository ref introduce(string name_label, string name_description, string binary_url, string source_url,
                bool update, string gpgkey_path="");
            Repository ref introduce_bundle(string name_label, string name_description);
            Repository ref introduce_remote_pool(string name_label, string name_description, string binary_url,
                string certificate);
            void forget(Repository ref self)
        """,
    ),
    Absent(
        "Observer",
        "Where xapi sends traces of what it does.",
        fields="""
            string name_label =; string name_description =; host ref set hosts =; (string -> string) map attributes =;
            string set endpoints =; string set components =; bool enabled =
        """,
        verbs="""
            Observer ref create(Observer record args); void destroy(Observer ref self)
        """,
        role=Role.POOL_ADMIN,
    ),
    Absent(
        "Host_driver",
        "A driver of a host in several variants, among which XenServer lets choose.",
        fields="""
            host ref host !; string name; string friendly_name; Driver_variant ref set variants;
            Driver_variant ref active_variant; Driver_variant ref selected_variant; string type; string description;
            string info
        """,
        verbs="""
            void select(Host_driver ref self, Driver_variant ref variant); void deselect(Host_driver ref self);
            void rescan(host ref host)
        """,
        role=Role.POOL_ADMIN,
    ),
    Absent(
        "Driver_variant",
        "One of them.",
        fields="""
            string name; Host_driver ref driver; string version; bool hardware_present; float priority; string status
        """,
        verbs="""
            void select(Driver_variant ref self)
        """,
        role=Role.POOL_ADMIN,
    ),
    Absent(
        "Caller",
        "A client that xapi tells from others, to limit how often it calls.",
        fields="""
            string name_label =; string name_description =; string user_agent !; string client_ip !;
            datetime last_access; string set groups; Rate_limit ref rate_limit; bool auto_registered
        """,
        verbs="""
            void add_group(Caller ref self, string group) @pool-operator;
            void remove_group(Caller ref self, string group) @pool-operator;
            float query_token_usage(Caller ref self) @pool-operator;
            int query_call_count(Caller ref self) @pool-operator;
            float query_group_token_usage(string group) @pool-operator;
            int query_group_call_count(string group) @pool-operator; string set set query_all_usage() @pool-operator;
            Caller ref create(Caller record args); void destroy(Caller ref self)
        """,
        role=Role.POOL_ADMIN,
    ),
    Absent(
        "Rate_limit",
        "How often such clients may call.",
        fields="""
            string name_label =; string name_description =; Caller ref set callers; float burst_size =;
            float fill_rate =
        """,
        verbs="""
            void add_caller(Rate_limit ref self, Caller ref caller);
            void remove_caller(Rate_limit ref self, Caller ref caller); Rate_limit ref create(Rate_limit record args);
            void destroy(Rate_limit ref self)
        """,
        role=Role.POOL_ADMIN,
    ),
    Absent(
        "tunnel",
        "A tunnel of Open vSwitch between hosts. The networks of this host are Linux' bridges.",
        fields="""
            PIF ref access_PIF !; PIF ref transport_PIF !; (string -> string) map status =;
            (string -> string) map other_config =; enum tunnel_protocol protocol =
        """,
        verbs="""
            tunnel ref create(PIF ref transport_PIF, network ref network, enum tunnel_protocol protocol="gre");
            void destroy(tunnel ref self)
        """,
        refusal=lambda name, args: OpenvswitchNotActive(),
    ),
    Absent(
        "network_sriov",
        "Functions of a card that are given to machines. libvirt's Xen driver connects machines to bridges only.",
        fields="""
            PIF ref physical_PIF !; PIF ref logical_PIF !; bool requires_reboot;
            enum sriov_configuration_mode configuration_mode
        """,
        verbs="""
            network_sriov ref create(PIF ref pif, network ref network); void destroy(network_sriov ref self);
            int get_remaining_capacity(network_sriov ref self) @read-only
        """,
        refusal=lambda name, args: _no_functions(args[0]),
    ),
)
"""All of them."""

WORDS = """
    after_apply_guidance: restartHVM restartPV restartHost restartXAPI
    cluster_host_operation: enable disable destroy
    cluster_operation: add remove enable disable destroy
    livepatch_status: ok_livepatch_complete ok_livepatch_incomplete ok
    origin: remote bundle remote_pool
    placement_policy: anti_affinity normal
    pvs_proxy_status: stopped initialised caching incompatible_write_cache_mode incompatible_protocol_version
    sdn_controller_protocol: ssl pssl
    sriov_configuration_mode: sysfs modprobe manual unknown
    tunnel_protocol: gre vxlan
    update_after_apply_guidance: restartHVM restartPV restartHost restartXAPI
    vgpu_type_implementation: passthrough nvidia nvidia_sriov gvt_g mxgpu
    vmpp_archive_frequency: never always_after_backup daily weekly
    vmpp_archive_target_type: none cifs nfs
    vmpp_backup_frequency: hourly daily weekly
    vmpp_backup_type: snapshot checkpoint
"""
"""The enums that no other class has."""

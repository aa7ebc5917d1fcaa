"""What becomes of the fields of a machine on Xen, in one table. ``docs/fields.md`` prints it, and tests keep it true.

A key is a field of VM that clients can set, or ``field:key`` for a key of a map. Fields that only the agent sets are
not here: they say what is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class How(Enum):
    """Where a value goes."""

    DEFINITION = "in the definition"
    """It is written into the domain XML, and holds from the next start on; what else is said may hold at once."""
    LIVE = "live"
    """It has no place in the definition: it is set by a call while the machine runs, after every start too."""
    AGENT = "by the agent"
    """The agent goes by it, and the hypervisor is told nothing."""
    REFUSED = "refused"
    """VALUE_NOT_SUPPORTED for what Xen or libvirt's driver could not do."""
    KEPT = "kept"
    """It is kept for clients, and nothing follows from it."""


DEFINITION, LIVE, AGENT, REFUSED, KEPT = How

REALISED: Mapping[str, tuple[How, str]] = {
    "name_label": (DEFINITION, "`<title>`, at once; `<name>` when the domain is first defined"),
    "name_description": (DEFINITION, "`<description>`, at once"),
    "memory_static_max": (DEFINITION, "`<memory>`"),
    "memory_dynamic_max": (DEFINITION, "`<currentMemory>`; of a running machine at once"),
    "memory_dynamic_min": (AGENT, "a limit of what a client may set, for Xen has one target and no range"),
    "memory_static_min": (AGENT, "a limit of what a client may set"),
    "VCPUs_params:weight": (DEFINITION, "`<cputune><shares>`; by add_to_VCPUs_params_live at once"),
    "VCPUs_params:cap": (LIVE, "the scheduler's parameter, after every start; by add_to_VCPUs_params_live at once"),
    "VCPUs_params:mask": (DEFINITION, "`<cputune><vcpupin>`; by add_to_VCPUs_params_live at once"),
    "VCPUs_max": (DEFINITION, "`<vcpu>`"),
    "VCPUs_at_startup": (DEFINITION, "`<vcpu current>`; set_VCPUs_number_live changes a running machine"),
    "actions_after_shutdown": (DEFINITION, "`<on_poweroff>`"),
    "actions_after_reboot": (DEFINITION, "`<on_reboot>`"),
    "actions_after_crash": (DEFINITION, "`<on_crash>`; libvirt takes rename_restart for restart"),
    "actions_after_softreboot": (KEPT, "libvirt's driver always lets the new kernel run"),
    "PV_bootloader": (DEFINITION, "`<bootloader>`; pygrub alone, REFUSED else, since the host runs it as root"),
    "PV_bootloader_args": (DEFINITION, "`<bootloader_args>`; one of pygrub's harmless options"),
    "PV_kernel": (DEFINITION, "`<os><kernel>`; a path in the folders for kernels, or data that the agent keeps in one"),
    "PV_ramdisk": (DEFINITION, "`<os><initrd>`, likewise"),
    "PV_args": (DEFINITION, "`<os><cmdline>`"),
    "PV_legacy_args": (KEPT, "for kernels of another time"),
    "HVM_boot_policy": (DEFINITION, "`<os><type>`, where domain_type leaves it open"),
    "HVM_boot_params:order": (DEFINITION, "`<os><boot>`"),
    "HVM_boot_params:firmware": (DEFINITION, "`<os firmware>`: bios or uefi"),
    "HVM_shadow_multiplier": (KEPT, "libvirt's driver computes the shadow memory itself"),
    "domain_type": (DEFINITION, "`<os><type>`; pv_in_pvh is refused, for libvirt has no PV shim"),
    "platform:acpi": (DEFINITION, "`<features><acpi>`; a PVH guest always has it, since it could not go off without"),
    "platform:apic": (DEFINITION, "`<features><apic>` of an HVM guest"),
    "platform:pae": (DEFINITION, "`<features><pae>` of an HVM guest"),
    "platform:hap": (DEFINITION, "`<features><hap>` of an HVM or PVH guest"),
    "platform:hpet": (DEFINITION, "`<clock><timer name='hpet'>` of an HVM guest"),
    "platform:timeoffset": (DEFINITION, "`<clock offset='variable'>` of an HVM guest"),
    "platform:vga": (DEFINITION, "`<video><model>` of an HVM guest: std or cirrus"),
    "platform:hvm_serial": (DEFINITION, "`<serial>` and `<console>` of an HVM guest: pty, or none, without a terminal"),
    "platform:nic_type": (DEFINITION, "`<interface><model>` of an HVM guest: rtl8139, e1000 or netfront"),
    "platform:secureboot": (REFUSED, "true; libvirt's driver has none"),
    "platform:viridian": (KEPT, "libvirt's driver (9.0) has no Hyper-V features"),
    "PCI_bus": (KEPT, "make a DPCI"),
    "xenstore_data": (KEPT, "libvirt writes no keys"),
    "NVRAM": (KEPT, "Xen's firmware keeps its variables with the guest"),
    "generation_id": (KEPT, "libvirt's driver ignores it"),
    "has_vendor_device": (KEPT, "libvirt's driver has none"),
    "hardware_platform_version": (KEPT, "it is xapi's own numbering"),
    "ha_always_run": (REFUSED, "true; there is one host"),
    "ha_restart_priority": (REFUSED, "all but the empty one; there is one host"),
    "protection_policy": (KEPT, "always null"),
    "snapshot_schedule": (AGENT, "the schedule that takes snapshots of it"),
    "appliance": (AGENT, "the machines that are started and stopped with it"),
    "is_a_template": (AGENT, "a template is not defined"),
    "blocked_operations": (AGENT, "what it names is refused"),
    "other_config": (
        AGENT,
        "`disks` of a template says what provision makes, `auto_poweron` whether the host starts it; all else is kept",
    ),
    "pool_name": (AGENT, "the CPU pool that it is moved into when it starts"),
    "affinity": (KEPT, "there is one host"),
    "suspend_SR": (KEPT, "libvirt keeps saved memory in its own folder"),
    "auto_power_on": (AGENT, "after the host was booted"),
    "start_delay": (AGENT, "when its appliance or the host starts"),
    "shutdown_delay": (AGENT, "when its appliance or the host stops"),
    "order": (AGENT, "when its appliance or the host starts or stops"),
    "memory_target": (KEPT, ""),
    "last_boot_CPU_flags": (KEPT, ""),
    "last_booted_record": (KEPT, ""),
    "recommendations": (KEPT, ""),
    "is_vmss_snapshot": (AGENT, "which snapshots a schedule deletes"),
    "version": (KEPT, ""),
    "reference_label": (KEPT, ""),
    "user_version": (KEPT, ""),
    "tags": (KEPT, ""),
}
"""How, and where it goes or why it goes nowhere."""

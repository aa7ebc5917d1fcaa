"""What a pool of one host does not have: each message is there, says why in xapi's word, and changes nothing."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from agent.classes import PIF, Host, Network
from agent.classes.enums import OnNormalExit
from agent.lanes import BESIDE
from agent.messages import vm_needs
from agent.roles import Role
from tests.door import Door, eventually
from tests.fake_machine import FakeMachine

POOL, HOST, SELF = object(), object(), object()
"""Stand for the pool, the host and the machine."""

REFUSED: list[tuple[str, tuple[Any, ...], str]] = [
    ("pool.join", ("other", "root", "secret"), "LICENSE_DOES_NOT_SUPPORT_POOLING"),
    ("pool.join_force", ("other", "root", "secret"), "LICENSE_DOES_NOT_SUPPORT_POOLING"),
    ("pool.eject", (HOST,), "OPERATION_NOT_ALLOWED"),
    ("pool.emergency_reset_master", ("other",), "OPERATION_NOT_ALLOWED"),
    ("pool.enable_local_storage_caching", (POOL,), "HOSTS_FAILED_TO_ENABLE_CACHING"),
    ("pool.set_vswitch_controller", ("10.0.0.1",), "OPENVSWITCH_NOT_ACTIVE"),
    ("pool.set_igmp_snooping_enabled", (POOL, True), "OPENVSWITCH_NOT_ACTIVE"),
    ("pool.send_test_post", ("other", "443", "body"), "OPERATION_NOT_ALLOWED"),
    ("pool.apply_edition", (POOL, "enterprise"), "INVALID_EDITION"),
    ("pool.rotate_secret", (), "OPERATION_NOT_ALLOWED"),
    ("pool.enable_ha", ([], {}), "HA_NOT_INSTALLED"),
    ("pool.disable_ha", (), "HA_NOT_ENABLED"),
    ("pool.ha_prevent_restarts_for", ("10",), "HA_NOT_ENABLED"),
    ("pool.set_ha_host_failures_to_tolerate", (POOL, "1"), "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"),
    ("pool.set_ha_host_failures_to_tolerate", (POOL, "-1"), "INVALID_VALUE"),
    ("pool.initialize_wlb", ("u", "n", "p", "x", "y"), "LICENCE_RESTRICTION"),
    ("pool.deconfigure_wlb", (), "WLB_NOT_INITIALIZED"),
    ("pool.send_wlb_configuration", ({},), "WLB_NOT_INITIALIZED"),
    ("pool.retrieve_wlb_configuration", (), "WLB_NOT_INITIALIZED"),
    ("pool.retrieve_wlb_recommendations", (), "WLB_NOT_INITIALIZED"),
    ("pool.enable_external_auth", (POOL, {}, "corp", "AD"), "AUTH_UNKNOWN_TYPE"),
    ("pool.disable_external_auth", (POOL,), "AUTH_IS_DISABLED"),
    ("pool.external_auth_set_ldaps", (POOL, True), "AUTH_IS_DISABLED"),
    ("pool.add_repository", (POOL, "OpaqueRef:x"), "HANDLE_INVALID"),
    ("pool.sync_updates", (POOL, False), "NO_REPOSITORY_ENABLED"),
    ("pool.check_update_readiness", (POOL, False), "NO_REPOSITORY_ENABLED"),
    ("pool.configure_repository_proxy", (POOL, "http://p", "", ""), "NO_REPOSITORIES_CONFIGURED"),
    ("pool.configure_update_sync", (POOL, "daily", "0"), "NO_REPOSITORIES_CONFIGURED"),
    ("pool.set_update_sync_enabled", (POOL, True), "NO_REPOSITORIES_CONFIGURED"),
    ("pool.enable_ssl_legacy", (POOL,), "MESSAGE_REMOVED"),
    ("pool.enable_ssh", (POOL,), "ENABLE_SSH_PARTIALLY_FAILED"),
    ("pool.disable_ssh", (POOL,), "DISABLE_SSH_PARTIALLY_FAILED"),
    ("pool.set_https_only", (POOL, True), "VALUE_NOT_SUPPORTED"),
    ("pool.set_ext_auth_cache_size", (POOL, "7"), "VALUE_NOT_SUPPORTED"),
    ("pool.enable_tls_verification", (), "OPERATION_NOT_ALLOWED"),
    ("pool.enable_client_certificate_auth", (POOL, "x"), "OPERATION_NOT_ALLOWED"),
    ("pool.certificate_install", ("a", "b"), "OPERATION_NOT_ALLOWED"),
    ("pool.install_ca_certificate", ("a", "b"), "OPERATION_NOT_ALLOWED"),
    ("pool.certificate_uninstall", ("a",), "CERTIFICATE_DOES_NOT_EXIST"),
    ("pool.uninstall_ca_certificate", ("a",), "CERTIFICATE_DOES_NOT_EXIST"),
    ("pool.crl_install", ("a", "b"), "OPERATION_NOT_ALLOWED"),
    ("pool.crl_uninstall", ("a",), "CRL_DOES_NOT_EXIST"),
    ("pool.reset_telemetry_uuid", (POOL,), "OPERATION_NOT_ALLOWED"),
    ("pool.add_to_guest_agent_config", (POOL, "a", "b"), "VALUE_NOT_SUPPORTED"),
    ("pool.test_archive_target", (POOL, {}), "MESSAGE_REMOVED"),
    ("host.emergency_ha_disable", (), "HA_NOT_ENABLED"),
    ("host.declare_dead", (HOST,), "HOST_IS_LIVE"),
    ("host.retrieve_wlb_evacuate_recommendations", (HOST,), "WLB_NOT_INITIALIZED"),
    ("host.enable_external_auth", (HOST, {}, "corp", "AD"), "AUTH_UNKNOWN_TYPE"),
    ("host.disable_external_auth", (HOST,), "AUTH_IS_DISABLED"),
    ("host.apply_updates", (HOST, ""), "NO_REPOSITORY_ENABLED"),
    ("host.apply_edition", (HOST, "enterprise"), "INVALID_EDITION"),
    ("host.license_add", (HOST, "x"), "LICENSE_PROCESSING_ERROR"),
    ("host.license_apply", (HOST, "x"), "MESSAGE_REMOVED"),
    ("host.power_on", (HOST,), "HOST_POWER_ON_MODE_DISABLED"),
    ("host.set_power_on_mode", (HOST, "wake-on-lan", {}), "VALUE_NOT_SUPPORTED"),
    ("host.set_hostname_live", (HOST, "another"), "VALUE_NOT_SUPPORTED"),
    ("host.set_ssh_auto_mode", (HOST, True), "VALUE_NOT_SUPPORTED"),
    ("host.set_ntp_mode", (HOST, "DHCP"), "VALUE_NOT_SUPPORTED"),
    ("host.disable_display", (HOST,), "OPERATION_NOT_ALLOWED"),
    ("host.management_disable", (), "OPERATION_NOT_ALLOWED"),
    ("host.local_management_reconfigure", ("no-such-card",), "INTERFACE_HAS_NO_IP"),
    ("host.enable_ssh", (HOST,), "ENABLE_SSH_FAILED"),
    ("host.disable_ssh", (HOST,), "DISABLE_SSH_FAILED"),
    ("host.set_cpu_features", (HOST, "x"), "MESSAGE_REMOVED"),
    ("VM.pool_migrate", (SELF, HOST, {}), "VM_BAD_POWER_STATE"),
    ("VM.migrate_send", (SELF, {}, True, {}, {}, {}), "VM_MIGRATE_FAILED"),
    ("VM.assert_can_migrate", (SELF, {}, True, {}, {}, {}), "VM_MIGRATE_FAILED"),
    ("VM.retrieve_wlb_recommendations", (SELF,), "WLB_NOT_INITIALIZED"),
    ("pool.set_ssh_enabled_timeout", (POOL, "60"), "SET_SSH_TIMEOUT_PARTIALLY_FAILED"),
    ("pool.set_ssh_auto_mode", (POOL, True), "SET_SSH_AUTO_MODE_PARTIALLY_FAILED"),
    ("pool.set_console_idle_timeout", (POOL, "60"), "VALUE_NOT_SUPPORTED"),
    ("pool.install_trusted_certificate", (POOL, True, "x", []), "OPERATION_NOT_ALLOWED"),
    ("host.emergency_reenable_tls_verification", (), "OPERATION_NOT_ALLOWED"),
    ("host.set_uefi_certificates", (HOST, "x"), "VALUE_NOT_SUPPORTED"),
    ("host.get_sched_gran", (HOST,), "OPERATION_NOT_ALLOWED"),
    ("host.set_sched_gran", (HOST, "core"), "OPERATION_NOT_ALLOWED"),
    ("host.rescan_drivers", (HOST,), "NOT_IMPLEMENTED"),
    ("host.restart_agent", (HOST,), "OPERATION_NOT_ALLOWED"),
    ("host.shutdown_agent", (), "OPERATION_NOT_ALLOWED"),
    ("session.create_from_db_file", ("x.db",), "COULD_NOT_IMPORT_DATABASE"),
    ("VM.set_uefi_mode", (SELF, "setup"), "OPERATION_NOT_ALLOWED"),
    ("VM.update_secureboot_certificates_on_boot", (SELF, True), "OPERATION_NOT_ALLOWED"),
    ("VM.sysprep", (SELF, "<unattend/>"), "SYSPREP"),
    ("VM.set_groups", (SELF, ["OpaqueRef:x"]), "HANDLE_INVALID"),
    ("VM.call_host_plugin", (SELF, "plugin", "fn", {}), "VM_BAD_POWER_STATE"),
    ("VM.copy_bios_strings", (SELF, HOST), "VALUE_NOT_SUPPORTED"),
    ("VM.set_bios_strings", (SELF, {"bios-vendor": "x"}), "VALUE_NOT_SUPPORTED"),
    ("VM.set_shadow_multiplier_live", (SELF, 2.0), "VALUE_NOT_SUPPORTED"),
    ("VM.restart_device_models", (SELF,), "VM_BAD_POWER_STATE"),
    ("VM.call_plugin", (SELF, "guest", "fn", {}), "VM_BAD_POWER_STATE"),
    ("VM.set_protection_policy", (SELF, "OpaqueRef:NULL"), "MESSAGE_REMOVED"),
]

DONE_ALREADY: list[tuple[str, tuple[Any, ...], Any]] = [
    ("pool.designate_new_master", (HOST,), None),
    ("pool.emergency_transition_to_master", (), None),
    ("pool.recover_slaves", (), ()),
    ("pool.disable_redo_log", (), None),
    ("pool.disable_local_storage_caching", (POOL,), None),
    ("pool.set_vswitch_controller", ("",), None),
    ("pool.set_igmp_snooping_enabled", (POOL, False), None),
    ("pool.apply_edition", (POOL, ""), None),
    ("pool.set_ha_host_failures_to_tolerate", (POOL, "0"), None),
    ("pool.detect_nonhomogeneous_external_auth", (POOL,), None),
    ("pool.set_update_sync_enabled", (POOL, False), None),
    ("pool.set_https_only", (POOL, False), None),
    ("pool.certificate_list", (), ()),
    ("pool.certificate_sync", (), None),
    ("pool.crl_list", (), ()),
    ("pool.remove_from_guest_agent_config", (POOL, "a"), None),
    ("host.set_ssh_auto_mode", (HOST, False), None),
    ("host.set_ntp_mode", (HOST, "factory"), None),
    ("host.enable_display", (HOST,), "enabled"),
    ("host.evacuate", (HOST,), None),
    ("host.assert_can_evacuate", (HOST,), None),
    ("pool.set_ssh_enabled_timeout", (POOL, "0"), None),
    ("pool.set_ssh_auto_mode", (POOL, False), None),
    ("pool.set_console_idle_timeout", (POOL, "0"), None),
    ("pool.get_guest_secureboot_readiness", (POOL,), "not_ready"),
    ("host.emergency_disable_tls_verification", (), None),
    ("host.emergency_clear_mandatory_guidance", (), None),
    ("host.set_uefi_certificates", (HOST, ""), None),
    ("host.get_ntp_synchronized", (HOST,), True),
    ("host.get_ntp_servers_status", (HOST,), {}),
    ("host.get_tracked_user_agents", (HOST,), {}),
    ("VM.get_secureboot_readiness", (SELF,), "not_supported"),
    ("VM.update_secureboot_certificates_on_boot", (SELF, False), None),
    ("VM.set_groups", (SELF, []), None),
    ("VM.set_bios_strings", (SELF, {}), None),
    ("VM.set_suspend_VDI", (SELF, "OpaqueRef:NULL"), None),
    ("VM.set_shadow_multiplier_live", (SELF, 1.0), None),
    ("VM.get_is_snapshot_from_vmpp", (SELF,), False),
]


def filled(door: Door, params: tuple[Any, ...], vm: object) -> list[Any]:
    stands = {POOL: door.observer.pool, HOST: door.observer.host, SELF: vm}
    return [stands[param] if type(param) is object else param for param in params]


@pytest.mark.parametrize(("name", "params", "code"), REFUSED, ids=[f"{name}-{code}" for name, _, code in REFUSED])
def test_what_one_host_cannot_have_is_refused(door: Door, name: str, params: tuple[Any, ...], code: str) -> None:
    vm = door.vm()
    before = door.store.changes.generation
    assert door.refused(name, *filled(door, params, vm))[0] == code
    assert door.store.changes.generation == before


@pytest.mark.parametrize(("name", "params", "value"), DONE_ALREADY, ids=[name for name, _, _ in DONE_ALREADY])
def test_what_is_so_already_is_no_error(door: Door, name: str, params: tuple[Any, ...], value: Any) -> None:
    vm = door.vm()
    before = door.store.changes.generation
    assert door(name, *filled(door, params, vm)) == value
    assert door.store.changes.generation == before


def test_the_licence_never_ends(door: Door) -> None:
    assert door("pool.get_license_state", door.observer.pool) == {"edition": "", "expiry": "never"}


@pytest.mark.parametrize("name", ["pool.sync_database", "host.sync_data"])
def test_a_flush_returns_when_what_came_before_is_durable(door: Door, name: str) -> None:
    params = [] if name.startswith("pool") else [door.observer.host]
    vm = door.vm()
    journal = door.store._journal
    write, go = journal.write, threading.Event()

    def held(rows: Any) -> None:
        assert go.wait(30.0)
        write(rows)

    journal.write = held  # type: ignore[method-assign]
    renamed = door.later("VM.set_name_label", vm, "another")
    eventually(lambda: vm.name_label == "another")
    flushed = door.later(name, *params)
    assert not renamed.done()
    assert not flushed.done()
    go.set()
    flushed.result(30.0)
    assert renamed.result(30.0) is not None


def test_a_running_machine_has_nowhere_to_go(door: Door) -> None:
    host = door.observer.host
    vm = door.vm()
    door("VM.start", vm, False)
    assert door.refused("VM.pool_migrate", vm, host, {})[:4] == ["VM_MIGRATE_FAILED", vm.ref, host.ref, host.ref]
    assert door.refused("host.evacuate", host) == ["CANNOT_EVACUATE_HOST", f"NO_HOSTS_AVAILABLE,{vm.ref}"]
    assert door.refused("host.assert_can_evacuate", host)[0] == "CANNOT_EVACUATE_HOST"
    assert door("host.get_vms_which_prevent_evacuation", host) == {vm: ("NO_HOSTS_AVAILABLE", vm.ref)}
    assert door.refused("VM.call_plugin", vm, "guest", "fn", {}) == ["VM_LACKS_FEATURE", vm.ref]
    assert door.refused("VM.restart_device_models", vm)[0] == "OPERATION_NOT_ALLOWED"


def test_templates_are_not_moved(door: Door) -> None:
    template = door.vm(is_a_template=True)
    assert door.refused("VM.pool_migrate", template, door.observer.host, {}) == ["VM_IS_TEMPLATE", template.ref]


def test_a_plan_for_a_lost_host_of_one_has_no_host(door: Door) -> None:
    host = door.observer.host
    vm = door.vm()
    door("VM.start", vm, False)
    assert door("pool.ha_compute_vm_failover_plan", [host.ref], []) == {vm: {"error_code": "NO_HOSTS_AVAILABLE"}}
    assert door("pool.ha_compute_vm_failover_plan", [], [vm.ref]) == {vm: {"host": host.ref}}
    huge = door.vm(
        memory_static_max=str(2**50), memory_dynamic_max=str(2**50), actions_after_shutdown=OnNormalExit.DESTROY
    )
    plan = door("pool.ha_compute_vm_failover_plan", [], [huge.ref])
    assert plan == {huge: {"error_code": "HOST_NOT_ENOUGH_FREE_MEMORY"}}
    assert door("pool.ha_failover_plan_exists", "0") is True
    assert door("pool.ha_failover_plan_exists", "1") is False
    assert door("pool.ha_compute_max_host_failures_to_tolerate") == 0


def disk_of(door: Door, vm: Any) -> Any:
    [sr] = door("SR.get_all")
    vdi = door("VDI.create", {"SR": sr.ref, "virtual_size": "4096", "type": "user", "name_label": "disk"})
    vbd = door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    return sr, vbd


def test_a_machine_is_agile_if_its_storage_and_networks_are_shared(door: Door) -> None:
    vm = door.vm()
    door("VM.assert_agile", vm)
    sr, _ = disk_of(door, vm)
    assert door.refused("VM.assert_agile", vm) == ["HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", sr.ref]
    door("SR.set_shared", sr, True)
    door("VM.assert_agile", vm)
    network = door("network.create", {"name_label": "private"})
    door("VIF.create", {"VM": vm.ref, "network": network.ref, "device": "0"})
    assert door.refused("VM.assert_agile", vm) == ["HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", network.ref]


def test_what_a_machine_needs_is_the_storage_that_is_away(door: Door) -> None:
    vm = door.vm()
    sr, _ = disk_of(door, vm)
    assert door("VM.get_SRs_required_for_recovery", vm, door.session) == ()
    door("VM.assert_can_be_recovered", vm, door.session)
    [pbd] = sr.PBDs
    door("PBD.unplug", pbd)
    assert door("VM.get_SRs_required_for_recovery", vm, door.session) == (sr,)
    assert door.refused("VM.assert_can_be_recovered", vm, door.session) == ["VM_REQUIRES_SR", vm.ref, sr.ref]


def test_storage_can_be_said_to_lie_elsewhere_while_it_is_unplugged(door: Door, machine: FakeMachine) -> None:
    [sr] = door("SR.get_all")
    [pbd] = sr.PBDs
    assert door.refused("PBD.set_device_config", pbd, {"location": "/other"})[0] == "OPERATION_NOT_ALLOWED"
    door("PBD.unplug", pbd)
    door("PBD.set_device_config", pbd, {"location": "/other"})
    assert pbd.device_config == {"location": "/other"}
    assert "forget" in machine.storage.calls


def test_a_probe_is_told_as_records_too(door: Door) -> None:
    [found] = door("SR.probe_ext", door.observer.host, {"server": "nas"}, "nfs")
    assert found["configuration"]["server"] == "nas"
    assert found["complete"] is True
    assert "sr" not in found


def test_a_disk_that_another_machine_has_cannot_be_attached(door: Door) -> None:
    vm = door.vm()
    _, vbd = disk_of(door, vm)
    door("VBD.assert_attachable", vbd)
    door("VM.start", vm, False)
    assert door.refused("VBD.assert_attachable", vbd)[0] == "DEVICE_ALREADY_ATTACHED"
    other = door("VBD.create", {"VM": door.vm().ref, "VDI": vbd.VDI.ref, "userdevice": "0"})
    assert door.refused("VBD.assert_attachable", other)[0] == "VDI_IN_USE"


def test_guests_set_up_their_addresses(door: Door) -> None:
    network = door("network.create", {"name_label": "private"})
    vif = door("VIF.create", {"VM": door.vm().ref, "network": network.ref, "device": "0"})
    for version in ("4", "6"):
        door(f"VIF.configure_ipv{version}", vif, "none")
        assert door.refused(f"VIF.configure_ipv{version}", vif, "static", "10.0.0.2/24")[0] == "VALUE_NOT_SUPPORTED"


def test_the_way_to_the_host_is_where_its_address_is(door: Door) -> None:
    host: Host = door.observer.host
    assert door("host.get_management_interface", host) is next((pif for pif in host.PIFs if pif.management), None)
    private: Network = door("network.create", {"name_label": "private"})
    assert door.refused("pool.management_reconfigure", private) == ["PIF_NOT_PRESENT", host.ref, private.ref]
    for pif in door("PIF.get_all"):
        told = management(door, pif)
        assert (told == "") == pif.management
    assert {management(door, pif) for pif in door("PIF.get_all")} <= {
        "",
        "PIF_HAS_NO_NETWORK_CONFIGURATION",
        "OPERATION_NOT_ALLOWED",
    }


def management(door: Door, pif: PIF) -> str:
    if pif.management:
        door("host.management_reconfigure", pif)
        return ""
    return door.refused("host.management_reconfigure", pif)[0]


def test_memory_is_waited_for_until_the_machine_has_it(
    door: Door, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = door.vm()
    assert door.refused("VM.wait_memory_target_live", vm)[0] == "VM_BAD_POWER_STATE"
    assert door("VM.get_cooperative", vm) is True
    door("VM.start", vm, False)
    door("VM.wait_memory_target_live", vm)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], memory=2 * vm.memory_dynamic_max)
    door.observer._measured = 0.0
    assert door("VM.get_cooperative", vm) is False
    assert door("host.get_uncooperative_resident_VMs", door.observer.host) == (vm,)
    monkeypatch.setattr(vm_needs, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(vm_needs, "LOOK_SECONDS", 0.0)
    assert door.refused("VM.wait_memory_target_live", vm)[0] == "OPERATION_NOT_ALLOWED"


def test_those_who_wait_for_memory_do_not_keep_it_from_being_measured(
    door: Door, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_needs, "STILL_SECONDS", 0.2)
    monkeypatch.setattr(vm_needs, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr("agent.observer.FRESH_SECONDS", 0.0)
    vm = door.vm()
    door("VM.start", vm, False)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], memory=2 * vm.memory_dynamic_max)
    waiting = [door("Async.VM.wait_memory_target_live", vm) for _ in range(2 * BESIDE)]
    for task in waiting:
        assert door.ended(task).error_info[0] == "OPERATION_NOT_ALLOWED"


def test_time_zones_have_names(door: Door) -> None:
    assert "UTC" in door("host.list_timezones", door.observer.host)


def test_who_only_looks_after_machines_does_not_join_pools(door: Door) -> None:
    session = door.log_in(Role.VM_POWER_ADMIN)
    assert door.refused("pool.join", "a", "b", "c", session=session)[0] == "RBAC_PERMISSION_DENIED"


def test_a_machine_with_uefi_firmware_has_it_without_secure_boot(door: Door) -> None:
    vm = door.vm(HVM_boot_params={"firmware": "uefi"})
    assert door("VM.get_secureboot_readiness", vm) == "disabled"


def test_disks_have_what_this_storage_can(door: Door) -> None:
    vm = door.vm()
    sr, vbd = disk_of(door, vm)
    vdi = vbd.VDI
    assert door("VDI.get_nbd_info", vdi) == ()
    door("VDI.set_on_boot", vdi, "persist")
    assert door.refused("VDI.set_on_boot", vdi, "reset") == ["SR_OPERATION_NOT_SUPPORTED", sr.ref]
    door("VDI.set_allow_caching", vdi, False)
    assert door.refused("VDI.set_allow_caching", vdi, True)[0] == "VALUE_NOT_SUPPORTED"
    assert door.refused("VDI.revert", vdi) == ["SR_OPERATION_NOT_SUPPORTED", sr.ref]
    for name in ("VDI.open_database", "VDI.read_database_pool_uuid"):
        assert door.refused(name, vdi) == ["VDI_INCOMPATIBLE_TYPE", vdi.ref, "user"]
    metadata = door("VDI.create", {"SR": sr.ref, "virtual_size": "4096", "type": "metadata"})
    assert door.refused("VDI.open_database", metadata)[0] == "COULD_NOT_IMPORT_DATABASE"
    assert door.refused("VDI.pool_migrate", vdi, sr, {}) == ["VDI_NEEDS_VM_FOR_MIGRATE", vdi.ref]
    door("VM.start", vm, False)
    assert door.refused("VDI.pool_migrate", vdi, sr, {})[:2] == ["SR_DOES_NOT_SUPPORT_MIGRATION", sr.ref]


def test_an_appliance_needs_what_its_machines_need(door: Door) -> None:
    vm = door.vm()
    sr, _ = disk_of(door, vm)
    appliance = door("VM_appliance.create", {"name_label": "together"})
    door("VM.set_appliance", vm, appliance)
    assert door("VM_appliance.get_SRs_required_for_recovery", appliance, door.session) == ()
    door("VM_appliance.assert_can_be_recovered", appliance, door.session)
    assert door.refused("VM_appliance.recover", appliance, door.session, False)[0] == "OPERATION_NOT_ALLOWED"
    [pbd] = sr.PBDs
    door("PBD.unplug", pbd)
    assert door("VM_appliance.get_SRs_required_for_recovery", appliance, door.session) == (sr,)
    assert door.refused("VM_appliance.assert_can_be_recovered", appliance, door.session)[0] == "VM_REQUIRES_SR"


def test_who_has_a_device_is_told_and_not_changed(door: Door) -> None:
    for pci in door("PCI.get_all"):
        access = door("PCI.get_dom0_access_status", pci)
        same, other = ("disable", "enable") if access == "disabled" else ("enable", "disable")
        assert door(f"PCI.{same}_dom0_access", pci) == access
        assert door.refused(f"PCI.{other}_dom0_access", pci)[0] == "OPERATION_NOT_ALLOWED"


def test_cards_of_the_host_have_no_properties_to_set(door: Door) -> None:
    [pif] = door("PIF.get_all")
    assert door.refused("PIF.set_property", pif, "gro", "on") == ["PIF_UNMANAGED", pif.ref]
    assert door.refused("PIF.set_property", pif, "mtu", "9000")[0] == "INVALID_VALUE"


def test_a_schedule_is_told_when_it_was_last_at_work(door: Door) -> None:
    vmss = door("VMSS.create", {"name_label": "daily", "type": "snapshot", "frequency": "daily", "schedule": {}})
    door("VMSS.set_last_run_time", vmss, "20260101T00:00:00Z")
    assert vmss.last_run_time.year == 2026
    assert door.refused("VMSS.set_last_run_time", vmss, "29990101T00:00:00Z")[0] == "INVALID_VALUE"

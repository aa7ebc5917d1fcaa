"""Domains on a libvirt that fails, hangs and lies, as its Xen driver was seen to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import libvirt
import pytest

from agent.classes.enums import OnCrash, PowerState
from agent.errors import (
    DeviceAlreadyAttached,
    DeviceDetachRejected,
    HostNotEnoughFreeMemory,
    HostOffline,
    InternalError,
    OperationNotAllowed,
    ValueNotSupported,
    VMBadPowerState,
    VMFailedShutdownAcknowledgment,
    XenError,
)
from agent.store.store import Store
from drivers.connection import Connection
from drivers.domains import LibvirtDomains
from tests.drivers.fake_xen import LIBXL, FakeDomain, FakeXen, closed, error
from tests.drivers.machines import MIB, Machines

Verb = Callable[[LibvirtDomains, Any], object]


def running(domains: LibvirtDomains, machines: Machines, xen: FakeXen, **fields: Any) -> tuple[Any, FakeDomain]:
    vm = machines.vm(**fields)
    domains.start(vm, False)
    return vm, xen.domains[vm.uuid]


# --- seeing


def test_the_control_domain_is_seen_as_one(domains: LibvirtDomains) -> None:
    (seen,) = domains.list()
    assert (seen.name, seen.is_control_domain, seen.domid, seen.power_state) == (
        "Domain-0",
        True,
        0,
        PowerState.RUNNING,
    )


def test_consoles_of_an_hvm_guest_are_seen_while_it_runs(domains: LibvirtDomains, machines: Machines) -> None:
    vm = machines.hvm()
    domains.start(vm, False)
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert [console.protocol for console in seen.consoles] == ["rfb", "vt100"]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (libvirt.VIR_DOMAIN_NOSTATE, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_BLOCKED, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_SHUTDOWN, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_PMSUSPENDED, PowerState.PAUSED),
        (libvirt.VIR_DOMAIN_CRASHED, PowerState.HALTED),
        (99, PowerState.UNKNOWN),
    ],
)
def test_libvirts_states_have_xenapi_names(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen, code: int, state: PowerState
) -> None:
    vm, domain = running(domains, machines, xen)
    domain.state = [code, 0]
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert seen.power_state is state


def test_a_domain_that_vanishes_while_it_is_looked_at_is_not_there(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)
    domain.mock.XMLDesc.side_effect = error(libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", LIBXL)
    assert domains.look(vm.uuid) is None
    assert [seen.name for seen in domains.list()] == ["Domain-0"]


def test_a_guest_that_reboots_reads_as_halted_for_a_while_and_start_says_it_runs(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)
    domain.state, domain.working = [libvirt.VIR_DOMAIN_SHUTOFF, 1], True
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert (seen.power_state, seen.domid) == (PowerState.HALTED, -1)
    with pytest.raises(VMBadPowerState) as refusal:
        domains.start(vm, False)
    assert (refusal.value.expected, refusal.value.actual) == ("halted", "running")
    domains.destroy(vm)
    assert domain.live is None


def test_the_plug_of_a_guest_that_reboots_is_pulled_while_it_has_no_number(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)
    domain.state, domain.working, domain.live = [libvirt.VIR_DOMAIN_SHUTOFF, 1], True, None
    domains.destroy(vm)
    assert (domain.live, domain.working) == (None, False)
    with pytest.raises(VMBadPowerState):
        domains.destroy(vm)


def test_a_definition_has_no_disk_that_another_machine_has_got_meanwhile(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen, store: Store
) -> None:
    vm, other = machines.vm(), machines.vm("other")
    mine, theirs = (machines.disk(each, "0", "/srv/a.raw") for each in (vm, other))
    with store.transaction():
        theirs.VDI = mine.VDI
        vm.power_state, other.power_state, theirs.currently_attached = PowerState.RUNNING, PowerState.RUNNING, True
    domains.define(vm)
    defined = xen.domains[vm.uuid]
    assert "/srv/a.raw" not in defined.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    with store.transaction():
        theirs.currently_attached = False
    domains.define(vm)
    assert "/srv/a.raw" in defined.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


@pytest.mark.parametrize("code", [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED])
def test_a_crashed_domain_that_is_kept_gives_way_when_the_machine_is_started_or_forgotten(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen, code: int
) -> None:
    vm, domain = running(domains, machines, xen)
    kept = domain.mock.ID()
    domain.state = [code, 0]
    domains.define(vm)
    assert domain.mock.ID() == kept
    domains.start(vm, False)
    assert domain.mock.ID() not in (kept, -1)
    domain.state = [code, 0]
    domains.undefine(vm)
    assert domains.look(vm.uuid) is None


def test_xml_that_is_none_is_an_internal_error(domains: LibvirtDomains, machines: Machines, xen: FakeXen) -> None:
    vm, domain = running(domains, machines, xen)
    domain.mock.XMLDesc.side_effect = lambda flags: "<domain"
    with pytest.raises(InternalError):
        domains.look(vm.uuid)


# --- a connection that is gone

CALLS: list[Verb] = [
    lambda domains, vm: domains.list(),
    lambda domains, vm: domains.look(vm.uuid),
    LibvirtDomains.check,
    LibvirtDomains.define,
    LibvirtDomains.undefine,
    lambda domains, vm: domains.start(vm, False),
    LibvirtDomains.pause,
    LibvirtDomains.unpause,
    LibvirtDomains.shutdown,
    LibvirtDomains.reboot,
    LibvirtDomains.destroy,
    LibvirtDomains.suspend,
    lambda domains, vm: domains.resume(vm, False),
    lambda domains, vm: domains.plug_vbd(vm.VBDs[0]),
    lambda domains, vm: domains.unplug_vbd(vm.VBDs[0]),
    lambda domains, vm: domains.change_medium(vm.VBDs[1]),
    lambda domains, vm: domains.plug_vif(vm.VIFs[0]),
    lambda domains, vm: domains.unplug_vif(vm.VIFs[0]),
    lambda domains, vm: domains.set_vcpus(vm, 1),
    lambda domains, vm: domains.set_memory(vm, MIB),
    lambda domains, vm: domains.set_scheduler(vm, 1, 1),
    lambda domains, vm: domains.send_sysrq(vm, "b"),
    lambda domains, vm: domains.send_trigger(vm, "nmi"),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_on_a_lost_connection_is_host_offline_at_once(
    connection: Connection, domains: LibvirtDomains, machines: Machines, xen: FakeXen, call: Verb
) -> None:
    vm = machines.vm()
    machines.disk(vm, "0", "/srv/a.raw")
    machines.drive(vm, "3", "/srv/cd.iso")
    machines.card(vm, "0")
    domains.start(vm, False)
    xen.alive = False
    with pytest.raises(HostOffline) as refusal:
        call(domains, vm)
    assert refusal.value.host == "xen:///system"


def test_a_connection_that_dies_during_a_call_is_host_offline(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)

    def die() -> int:
        xen.alive = False
        raise closed()

    domain.mock.suspend.side_effect = die
    with pytest.raises(HostOffline):
        domains.pause(vm)


def test_after_a_reconnect_anything_may_have_changed(
    connection: Connection, domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    reported: list[str | None] = []
    lost, heard = threading.Event(), threading.Event()

    def changed(uuid: str | None) -> None:
        reported.append(uuid)
        if uuid is None:
            heard.set()

    domains.watch(changed)
    connection.on_close(lambda handle: lost.set())
    xen.alive = False
    assert connection.suspect()
    assert lost.wait(60)
    xen.alive = True
    assert heard.wait(60)
    vm = machines.vm()
    domains.define(vm)
    assert reported == [None, vm.uuid]


@pytest.mark.parametrize("crashed", [True, False])
def test_that_a_guest_crashed_is_told_before_the_change(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen, crashed: bool
) -> None:
    vm, domain = running(domains, machines, xen)
    told: list[str] = []
    domains.watch(lambda uuid: told.append("changed"), lambda uuid: told.append(f"{uuid} crashed"))
    domain.stop(libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED if crashed else libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    assert told == ([f"{vm.uuid} crashed"] if crashed else []) + ["changed"]


def test_a_call_that_hangs_does_not_hold_up_those_who_look(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)
    gate = threading.Event()
    domain.mock.managedSave.side_effect = lambda flags: gate.wait() and 0
    saving = threading.Thread(target=domains.suspend, args=(vm,))
    saving.start()
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert seen.power_state is PowerState.RUNNING
    gate.set()
    saving.join()


# --- refusals


@pytest.mark.parametrize("code", [libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_INTERNAL_ERROR])
def test_a_state_that_changes_between_look_and_call_is_a_bad_power_state(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen, code: int
) -> None:
    vm, domain = running(domains, machines, xen)

    def too_late() -> int:
        domain.stop(0)
        raise error(code, "domain is not running")

    domain.mock.suspend.side_effect = too_late
    with pytest.raises(VMBadPowerState) as refusal:
        domains.pause(vm)
    assert (refusal.value.expected, refusal.value.actual) == ("running", "halted")


def test_a_refusal_in_the_right_state_is_told_in_libvirts_words(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)
    domain.mock.suspend.side_effect = error(libvirt.VIR_ERR_OPERATION_INVALID, "not for this one")
    with pytest.raises(OperationNotAllowed) as refusal:
        domains.pause(vm)
    assert refusal.value.reason == "not for this one"


def test_a_job_that_does_not_end_refuses_others(domains: LibvirtDomains, machines: Machines, xen: FakeXen) -> None:
    vm, domain = running(domains, machines, xen)
    domain.mock.destroy.side_effect = error(libvirt.VIR_ERR_OPERATION_TIMEOUT, "cannot acquire state change lock")
    with pytest.raises(OperationNotAllowed) as refusal:
        domains.destroy(vm)
    assert "cannot acquire state change lock" in refusal.value.reason


def test_a_guest_without_drivers_is_not_asked_to_reboot(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm = machines.hvm()
    domains.start(vm, False)
    xen.guests_have_no_drivers = True
    with pytest.raises(OperationNotAllowed) as refusal:
        domains.reboot(vm)
    assert "without Xen drivers" in refusal.value.reason


@pytest.mark.parametrize(("verb", "call"), [("shutdown", "shutdownFlags"), ("reboot", "reboot")])
def test_a_guest_that_does_not_react_is_told_as_that(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen, verb: str, call: str
) -> None:
    vm, domain = running(domains, machines, xen)
    failed = error(libvirt.VIR_ERR_INTERNAL_ERROR, "Failed to shutdown domain '7' with libxenlight", LIBXL)
    getattr(domain.mock, call).side_effect = failed
    with pytest.raises(VMFailedShutdownAcknowledgment) as refusal:
        getattr(domains, verb)(vm)
    assert refusal.value.vm is vm


def test_a_start_without_memory_says_how_much_is_missing(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm = machines.vm(PV_kernel="/boot/missing")
    xen.connection.getFreeMemory.return_value = 64 * MIB
    with pytest.raises(HostNotEnoughFreeMemory) as refusal:
        domains.start(vm, False)
    assert (refusal.value.needed, refusal.value.available) == (128 * MIB, 64 * MIB)


def test_a_start_that_fails_for_another_reason_is_told_in_libvirts_words(
    domains: LibvirtDomains, machines: Machines
) -> None:
    with pytest.raises(InternalError) as refusal:
        domains.start(machines.vm(PV_kernel="/boot/missing"), False)
    assert "libxenlight failed to create new domain" in refusal.value.message


def test_a_machine_whose_cap_cannot_be_set_does_not_run(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm = machines.vm(VCPUs_params={"cap": "50"})
    domains.define(vm)
    domain = xen.domains[vm.uuid]
    domain.mock.setSchedulerParameters.side_effect = LookupError('Attribute name "cap" could not be recognized')
    with pytest.raises(ValueNotSupported) as refusal:
        domains.start(vm, False)
    assert refusal.value.field == "VCPUs_params"
    assert domain.live is None
    assert domain.mock.resume.call_count == 0


def test_a_cap_is_set_before_the_first_instruction_and_again_after_a_suspend(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen, VCPUs_params={"cap": "50", "weight": "512"})
    for _ in range(2):
        domain.mock.createWithFlags.assert_called_with(libvirt.VIR_DOMAIN_START_PAUSED)
        assert domain.scheduler == {"weight": 512, "cap": 50}
        assert domain.state[0] == libvirt.VIR_DOMAIN_RUNNING
        domains.suspend(vm)
        domains.resume(vm, False)


def test_a_disk_that_the_guest_keeps_is_rejected_with_libvirts_words(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, _ = running(domains, machines, xen)
    disk = machines.disk(vm, "1", "/dev/group/b")
    domains.plug_vbd(disk)
    xen.guests_keep_devices = True
    with pytest.raises(DeviceDetachRejected) as refusal:
        domains.unplug_vbd(disk)
    assert (refusal.value.class_name, refusal.value.device) == ("VBD", disk)
    assert "failed to detach" in refusal.value.message


def test_a_disk_on_a_bus_that_cannot_be_plugged_is_refused(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, _ = running(domains, machines, xen)
    with pytest.raises(ValueNotSupported):
        domains.plug_vbd(machines.disk(vm, "hdb", "/srv/b.raw"))


def test_a_drive_is_not_unplugged(domains: LibvirtDomains, machines: Machines) -> None:
    vm = machines.hvm()
    drive = machines.drive(vm, "3")
    domains.start(vm, False)
    with pytest.raises(ValueNotSupported):
        domains.unplug_vbd(drive)


def test_what_the_library_has_no_call_for_is_not_supported(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, _ = running(domains, machines, xen)
    calls: list[tuple[Callable[[Any, str], None], str]] = [
        (domains.send_trigger, "nmi"),
        (domains.send_trigger, "reset"),
        (domains.send_sysrq, "b"),
    ]
    for call, value in calls:
        with pytest.raises(ValueNotSupported) as refusal:
            call(vm, value)
        assert refusal.value.value == value


def test_a_magic_key_is_pressed_with_alt_and_sysrq(domains: LibvirtDomains, machines: Machines, xen: FakeXen) -> None:
    vm, domain = running(domains, machines, xen)
    domain.mock.sendKey.side_effect = None
    domains.send_sysrq(vm, "s")
    assert domain.mock.sendKey.call_args.args[2] == [56, 99, 31]


def test_a_guest_in_a_sleep_of_its_own_is_woken_up(domains: LibvirtDomains, machines: Machines, xen: FakeXen) -> None:
    vm, domain = running(domains, machines, xen)
    domain.state = [libvirt.VIR_DOMAIN_PMSUSPENDED, 0]
    domains.unpause(vm)
    assert domain.mock.pMWakeup.call_count == 1
    assert domain.mock.resume.call_count == 0


# --- definitions


def test_a_definition_that_says_it_all_is_not_defined_again(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm = machines.vm()
    machines.disk(vm, "0", "/srv/a.qcow2")
    machines.card(vm, "0")
    for _ in range(3):
        domains.define(vm)
    assert xen.connection.defineXML.call_count == 1


@pytest.mark.threat("T21")
def test_a_definition_is_read_with_its_passwords(domains: LibvirtDomains, machines: Machines, xen: FakeXen) -> None:
    vm = machines.vm()
    domains.define(vm)
    domains.define(vm)
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    xen.domains[vm.uuid].mock.XMLDesc.assert_called_with(flags)


def test_a_domain_that_stops_before_it_gets_its_new_title_is_defined_all_the_same(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)
    machines.change(vm, name_label="shop")
    domain.mock.setMetadata.side_effect = error(libvirt.VIR_ERR_OPERATION_INVALID, "it is busy")
    with pytest.raises(OperationNotAllowed):
        domains.define(vm)

    def too_late(*args: object) -> int:
        domain.stop(0)
        raise error(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running")

    domain.mock.setMetadata.side_effect = too_late
    domains.define(vm)
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert seen.title == "shop"


def test_a_name_that_somebody_takes_meanwhile_is_made_unique(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    one, other = machines.vm("web"), machines.vm("web")
    domains.define(one)
    find = xen.connection.lookupByName.side_effect
    xen.connection.lookupByName.side_effect = error(libvirt.VIR_ERR_NO_DOMAIN)
    domains.define(other)
    xen.connection.lookupByName.side_effect = find
    assert xen.domains[other.uuid].mock.name() == f"web-{other.uuid[:8]}"


def test_a_definition_that_libvirt_refuses_for_good_is_an_internal_error(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    xen.connection.defineXML.side_effect = error(libvirt.VIR_ERR_XML_ERROR, "no such thing", libvirt.VIR_FROM_DOMAIN)
    with pytest.raises(InternalError):
        domains.define(machines.vm())


def test_a_domain_that_only_runs_is_defined(domains: LibvirtDomains, machines: Machines, xen: FakeXen) -> None:
    vm, domain = running(domains, machines, xen)
    domain.definition = None
    assert domain.live is not None
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert not seen.persistent
    domains.define(vm)
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert seen.persistent


@pytest.mark.parametrize("known", [True, False], ids=["a known network", "a network that is gone"])
def test_a_card_on_a_libvirt_network_is_compared_by_its_bridge(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen, known: bool
) -> None:
    vm = machines.vm(actions_after_crash=OnCrash.DESTROY)
    card = machines.card(vm, "0", network=machines.on_bridge("virbr0"))
    domains.define(vm)
    text = xen.domains[vm.uuid].XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    xen.define(text.replace('type="bridge"', 'type="network"').replace('bridge="virbr0"', 'network="default"'))
    if not known:
        xen.bridges.clear()
    xen.connection.defineXML.reset_mock()
    domains.define(vm)
    assert xen.connection.defineXML.call_count == 0
    machines.change(card, network=machines.network)
    domains.define(vm)
    assert xen.connection.defineXML.call_count == int(known)


def test_a_device_that_came_meanwhile_is_attached_already(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm, domain = running(domains, machines, xen)
    disk, card = machines.disk(vm, "1", "/dev/group/b"), machines.card(vm, "0")

    def late(text: str, flags: int) -> int:
        FakeDomain.attachDeviceFlags(domain, text, flags)
        return FakeDomain.attachDeviceFlags(domain, text, flags)

    domain.mock.attachDeviceFlags.side_effect = late
    with pytest.raises(DeviceAlreadyAttached):
        domains.plug_vbd(disk)
    with pytest.raises(DeviceAlreadyAttached):
        domains.plug_vif(card)


def test_closing_takes_the_event_registrations_back(
    connection: Connection, domains: LibvirtDomains, xen: FakeXen
) -> None:
    connection.close()
    assert xen.connection.domainEventDeregisterAny.call_count == 2


def test_only_xenapi_errors_leave_the_driver(domains: LibvirtDomains, machines: Machines, xen: FakeXen) -> None:
    vm = machines.vm()
    machines.disk(vm, "0", "/srv/a.raw")
    machines.drive(vm, "3", "/srv/cd.iso")
    machines.card(vm, "0")
    domains.start(vm, False)
    xen.connection.lookupByUUIDString.side_effect = error(libvirt.VIR_ERR_NO_MEMORY, "out of memory")
    xen.connection.listAllDomains.side_effect = error(libvirt.VIR_ERR_NO_MEMORY, "out of memory")
    for call in CALLS:
        with pytest.raises(XenError):
            call(domains, vm)


def test_the_virtual_cpus_that_run_are_pinned_and_those_that_come_later_too(
    domains: LibvirtDomains, machines: Machines, xen: FakeXen
) -> None:
    vm = machines.vm(VCPUs_max=4, VCPUs_at_startup=2)
    domains.start(vm, False)
    domains.pin_vcpus(vm, "0,2-3")
    assert xen.domains[vm.uuid].pins == {0: {0, 2, 3}, 1: {0, 2, 3}}
    machines.change(vm, VCPUs_params={"mask": "1"})
    domains.set_vcpus(vm, 4)
    assert xen.domains[vm.uuid].pins == {0: {0, 2, 3}, 1: {0, 2, 3}, 2: {1}, 3: {1}}
    with pytest.raises(ValueNotSupported, match="processors 0 to 3"):
        domains.pin_vcpus(vm, "4-7")

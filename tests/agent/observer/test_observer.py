"""The observer: what the hypervisor has is what the store says, whoever made it and whatever was missed."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.classes import SR, VBD, VDI, VM, Console, Network
from agent.classes.enums import DomainType, PowerState
from agent.errors import HostOffline, InternalError
from agent.observer.domains import differs
from agent.ports import SeenConsole, SeenDisk, SeenDomain, SeenInterface, SeenNic, SeenVolume
from tests.door import WAIT_SECONDS, Block, Door, eventually
from tests.fake_machine import LAN, LOCAL, FakeMachine

FOREIGN = "33333333-3333-4333-8333-333333333333"
MAC = "52:54:00:aa:bb:cc"
GIB = 2**30
RUNNING, HALTED, PAUSED = PowerState.RUNNING, PowerState.HALTED, PowerState.PAUSED


def foreign(**fields: Any) -> SeenDomain:
    """A domain that somebody made with other tools."""
    known: dict[str, Any] = {
        "power_state": RUNNING,
        "domid": 5,
        "VCPUs_max": 2,
        "VCPUs": 2,
        "memory_max": GIB,
        "memory": GIB,
        "disks": (SeenDisk("xvda", source="/srv/root.raw"), SeenDisk("hdc", cdrom=True)),
        "nics": (SeenNic(MAC, "xenbr0"),),
        "consoles": (SeenConsole("rfb", "127.0.0.1:5901"), SeenConsole("vt100", "/dev/pts/3")),
    }
    return SeenDomain(FOREIGN, "theirs", **{**known, **fields})


def look(door: Door, machine: FakeMachine, uuid: str | None) -> None:
    """Tell the agent that something changed, and wait until it has looked."""
    machine.domains.changed(uuid)
    door.idle()


@pytest.fixture
def theirs(door: Door, machine: FakeMachine) -> VM:
    """A domain of others, adopted."""
    machine.domains.known[FOREIGN] = foreign()
    look(door, machine, FOREIGN)
    return door.store.by_uuid(VM, FOREIGN)


# --- adoption


@pytest.mark.fault("F5")
def test_a_domain_of_others_is_adopted_whole(theirs: VM, door: Door, machine: FakeMachine) -> None:
    assert (theirs.name_label, theirs.power_state, theirs.domid, theirs.ours) == ("theirs", RUNNING, 5, False)
    assert (theirs.VCPUs_max, theirs.memory_static_max) == (2, GIB)
    assert theirs.resident_on is door.observer.host
    disk, drive = sorted(theirs.VBDs, key=lambda vbd: int(vbd.userdevice))
    assert (disk.device, disk.userdevice, disk.type, disk.mode, disk.currently_attached) == (
        "xvda",
        "0",
        "Disk",
        "RW",
        True,
    )
    assert disk.VDI is not None
    assert (disk.VDI.location, disk.VDI.SR.type) == ("/srv/root.raw", "outside")
    assert (drive.userdevice, drive.type, drive.empty, drive.VDI) == ("2", "CD", True, None)
    (card,) = theirs.VIFs
    assert (card.MAC, card.network.uuid, card.currently_attached) == (MAC, LAN, True)
    assert sorted(console.location for console in theirs.consoles) == ["file:///dev/pts/3", "vnc://127.0.0.1:5901"]
    assert "define" not in machine.domains.calls


def test_a_disk_in_a_pool_is_the_pools(door: Door, machine: FakeMachine) -> None:
    vdi: VDI = door("VDI.create", {"SR": door.store.by_uuid(SR, LOCAL).ref, "virtual_size": GIB})
    machine.domains.known[FOREIGN] = foreign(disks=(SeenDisk("xvda", source=vdi.location),))
    look(door, machine, FOREIGN)
    assert [vbd.VDI for vbd in door.store.by_uuid(VM, FOREIGN).VBDs] == [vdi]


@pytest.mark.parametrize("targets", [("xvda1", "xvda2"), ("xvda", "xvda1"), ("hda", "sda"), ("hda", "sda", "xvdb")])
def test_disks_that_are_called_alike_are_one_each(door: Door, machine: FakeMachine, targets: tuple[str, ...]) -> None:
    """A disk of a PV guest may be called as a partition is."""
    disks = tuple(SeenDisk(target, source=f"/srv/{target}.raw") for target in targets)
    machine.domains.known[FOREIGN] = foreign(disks=disks)
    for _ in range(3):
        look(door, machine, FOREIGN)
        vm = door.store.by_uuid(VM, FOREIGN)
        found = {vbd.device: vbd.VDI.location for vbd in vm.VBDs if vbd.VDI is not None}
        assert (found, len(vm.VBDs)) == ({disk.target: disk.source for disk in disks}, len(disks))
        assert len({vbd.userdevice for vbd in vm.VBDs}) == len(disks)
        assert not differs(door.store, machine.domains.known[FOREIGN])
    machine.domains.known[FOREIGN] = foreign(disks=disks[1:])
    look(door, machine, FOREIGN)
    assert [vbd.device for vbd in vm.VBDs] == list(targets[1:])


def test_two_domains_may_have_one_disk(theirs: VM, door: Door, machine: FakeMachine) -> None:
    other = "44444444-4444-4444-8444-444444444444"
    machine.domains.known[other] = replace(foreign(nics=()), uuid=other)
    look(door, machine, other)
    assert len([vdi for vdi in door.store.all(VDI) if vdi.location == "/srv/root.raw"]) == 1


def test_a_card_on_an_unknown_bridge_makes_its_network(door: Door, machine: FakeMachine) -> None:
    machine.domains.known[FOREIGN] = foreign(nics=(SeenNic(MAC, "strange0"),))
    look(door, machine, FOREIGN)
    (card,) = door.store.by_uuid(VM, FOREIGN).VIFs
    assert (card.network.bridge, card.network.managed) == ("strange0", False)


def test_a_bridge_is_one_network(door: Door) -> None:
    assert [network.uuid for network in door.store.all(Network) if network.bridge == "xenbr0"] == [LAN]
    assert [pif.network.uuid for pif in door.observer.host.PIFs] == [LAN]


def test_the_control_domain_is_known_to_its_host(door: Door, machine: FakeMachine) -> None:
    machine.domains.known[FOREIGN] = foreign(is_control_domain=True, domid=0)
    look(door, machine, FOREIGN)
    assert door.observer.host.control_domain is door.store.by_uuid(VM, FOREIGN)


def test_what_is_there_at_the_start_is_adopted(machine: FakeMachine) -> None:
    machine.domains.known[FOREIGN] = foreign()
    machine.storage.volumes[LOCAL]["/pool/a.raw"] = SeenVolume("/pool/a.raw", "a", GIB, 0)
    door = Door(machine.ports(), None)
    try:
        assert door.store.by_uuid(VM, FOREIGN).power_state is RUNNING
        assert [vdi.name_label for vdi in door.store.by_uuid(SR, LOCAL).VDIs] == ["a"]
        assert door.store.known(Network, LAN) is not None
        assert [pif.device for pif in door.observer.host.PIFs] == ["eth0"]
        assert len(door.observer.host.host_CPUs) == 2
    finally:
        door.close()


# --- changes behind our back


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    ("state", "domid"), [(PAUSED, 7), (HALTED, -1), (PowerState.SUSPENDED, -1)], ids=["paused", "halted", "suspended"]
)
def test_a_state_changed_behind_our_back_is_noted(
    door: Door, machine: FakeMachine, state: PowerState, domid: int
) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], power_state=state, domid=domid)
    look(door, machine, vm.uuid)
    assert (vm.power_state, vm.domid) == (state, domid)
    assert vm.resident_on is (door.observer.host if state is PAUSED else None)


@pytest.mark.fault("F5")
def test_a_domain_that_is_gone_is_a_halted_machine(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    assert door.store.count("console") == 1
    machine.domains.known.pop(vm.uuid)
    look(door, machine, vm.uuid)
    assert (vm.power_state, vm.domid, vm.resident_on, vm.consoles) == (HALTED, -1, None, ())
    assert door.store.all(Console) == []
    assert vm.metrics is not None
    assert vm.metrics.memory_actual == 0


def test_a_machine_of_others_follows_the_hypervisors_configuration(
    theirs: VM, door: Door, machine: FakeMachine
) -> None:
    machine.domains.known[FOREIGN] = foreign(
        title="renamed", VCPUs_max=4, memory_max=2 * GIB, domain_type=DomainType.HVM, boot_order="cd"
    )
    look(door, machine, FOREIGN)
    assert (theirs.name_label, theirs.VCPUs_max, theirs.memory_static_max) == ("renamed", 4, 2 * GIB)
    assert (theirs.HVM_boot_policy, theirs.HVM_boot_params["order"]) == ("BIOS order", "cd")


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    "fields",
    [
        {"VCPUs_max": 8},
        {"description": "new"},
        {"disks": (SeenDisk("xvda", source="/srv/other.raw"), SeenDisk("hdc", cdrom=True))},
        {"disks": (SeenDisk("xvda", source="/srv/root.raw"), SeenDisk("hdc", cdrom=True, source="/srv/cd.iso"))},
        {"nics": ()},
    ],
    ids=["processors", "text", "disk", "medium", "card"],
)
def test_a_lost_event_costs_time_and_no_truth(
    theirs: VM, door: Door, machine: FakeMachine, fields: dict[str, Any]
) -> None:
    """The slow sweep looks at everything; nobody said that this domain had changed."""
    machine.domains.known[FOREIGN] = seen = foreign(**fields)
    look(door, machine, None)
    door.idle()
    assert theirs.VCPUs_max == seen.VCPUs_max
    assert theirs.name_description == seen.description
    media = {vbd.device: vbd.VDI.location if vbd.VDI else "" for vbd in theirs.VBDs}
    assert media == {disk.target: disk.source for disk in seen.disks}
    assert len(theirs.VIFs) == len(seen.nics)


def test_a_card_moved_to_another_bridge_is_on_its_network(theirs: VM, door: Door, machine: FakeMachine) -> None:
    machine.domains.known[FOREIGN] = foreign(nics=(SeenNic(MAC, "xenbr9"),))
    look(door, machine, FOREIGN)
    assert theirs.VIFs[0].network.bridge == "xenbr9"


def test_a_machine_of_ours_stays_as_it_was_asked_for(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], title="renamed", VCPUs_max=9)
    look(door, machine, vm.uuid)
    assert (vm.name_label, vm.VCPUs_max) == ("web", 1)


def test_a_machine_of_others_that_is_changed_here_is_ours(theirs: VM, door: Door, machine: FakeMachine) -> None:
    door("VM.set_name_label", theirs, "mine now")
    door.idle()
    assert theirs.ours
    assert machine.domains.calls.count("define") == 1
    machine.domains.known[FOREIGN] = foreign(title="renamed")
    look(door, machine, FOREIGN)
    assert theirs.name_label == "mine now"


@pytest.mark.fault("F5")
def test_devices_plugged_behind_our_back_appear_and_go(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    bare = machine.domains.known[vm.uuid]
    machine.domains.known[vm.uuid] = replace(
        bare, disks=(SeenDisk("xvdb", source="/srv/b.raw"),), nics=(SeenNic(MAC, "xenbr0"),)
    )
    look(door, machine, vm.uuid)
    assert [(vbd.device, vbd.currently_attached) for vbd in vm.VBDs] == [("xvdb", True)]
    assert [(vif.MAC, vif.currently_attached) for vif in vm.VIFs] == [(MAC, True)]
    machine.domains.known[vm.uuid] = bare
    look(door, machine, vm.uuid)
    assert [vbd.currently_attached for vbd in vm.VBDs] == [False]
    assert [vif.currently_attached for vif in vm.VIFs] == [False]


def test_many_events_of_one_domain_are_few_looks(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door.idle()
    machine.domains.calls.clear()
    block = Block(machine.domains, "look")
    machine.domains.changed(vm.uuid)
    block.await_entry()
    for _ in range(50):
        machine.domains.changed(vm.uuid)
    block.release()
    door.idle()
    assert machine.domains.calls.count("look") == 2


@pytest.mark.parametrize("error", [InternalError("on demand"), ZeroDivisionError()], ids=["known", "unknown"])
def test_a_look_that_fails_ends_no_looking(
    door: Door, machine: FakeMachine, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    vm = door.vm()
    door("VM.start", vm, False)

    def fail() -> None:
        raise error

    machine.domains.plan["look"] = fail
    look(door, machine, vm.uuid)
    assert f"domain {vm.uuid} cannot be" in caplog.text
    assert vm.power_state is RUNNING
    machine.domains.plan.clear()
    machine.domains.known.pop(vm.uuid)
    look(door, machine, vm.uuid)
    assert vm.power_state is HALTED


# --- a hypervisor that comes and goes


def all_offline(machine: FakeMachine, host: Any) -> None:
    for port, name in (
        (machine.node, "host"),
        (machine.domains, "list"),
        (machine.domains, "look"),
        (machine.storage, "pools"),
        (machine.networks, "list"),
    ):
        port.fail(name, HostOffline(host))


def test_a_hypervisor_that_is_away_at_the_start_still_gives_host_and_pool(machine: FakeMachine) -> None:
    machine.domains.known[FOREIGN] = foreign()
    all_offline(machine, "host")
    door = Door(machine.ports(), None)
    try:
        assert len(door("host.get_all")) == len(door("pool.get_all")) == 1
        assert door("VM.get_all") == []
        metrics = door.observer.host.metrics
        assert metrics is not None
        assert not metrics.live
        for port in (machine.node, machine.domains, machine.storage, machine.networks):
            port.plan.clear()
        look(door, machine, None)
        door.idle()
        assert [vm.uuid for vm in door("VM.get_all")] == [FOREIGN]
        assert metrics.live
    finally:
        door.close()


@pytest.mark.fault("F3")
def test_a_hypervisor_that_goes_away_leaves_what_was_known(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    metrics = door.observer.host.metrics
    before = door("host_metrics.get_live", metrics)
    all_offline(machine, door.observer.host)
    look(door, machine, None)
    assert vm.power_state is RUNNING
    assert (before, door("host_metrics.get_live", metrics)) == (True, False)
    assert door("VM.get_record", vm) is vm


@pytest.mark.fault("F3")
def test_after_a_lost_connection_everything_is_looked_at(door: Door, machine: FakeMachine) -> None:
    first, second = door.vm(), door.vm()
    for vm in (first, second):
        door("VM.start", vm, False)
    machine.domains.known.pop(first.uuid)
    machine.domains.known[second.uuid] = replace(machine.domains.known[second.uuid], power_state=PAUSED)
    machine.domains.known[FOREIGN] = foreign()
    look(door, machine, None)
    door.idle()
    assert (first.power_state, second.power_state) == (HALTED, PAUSED)
    assert door.store.known(VM, FOREIGN) is not None
    assert first.uuid in machine.domains.known  # ours: it was defined again


@pytest.mark.parametrize(
    ("port", "name"), [("networks", "list"), ("storage", "pools"), ("node", "host"), ("domains", "list")]
)
def test_one_part_that_cannot_be_seen_hides_no_other(
    door: Door, machine: FakeMachine, port: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    getattr(machine, port).fail(name, InternalError("on demand"))
    machine.domains.known[FOREIGN] = foreign()
    machine.storage.volumes[LOCAL]["/pool/a.raw"] = SeenVolume("/pool/a.raw", "a", GIB, 0)
    machine.node.seen_interfaces.append(SeenInterface("eth1", "52:54:00:00:00:02", 1500, True, True, 0, False))
    look(door, machine, None)
    assert "cannot be looked at now: INTERNAL_ERROR on demand" in caplog.text
    assert (door.store.known(VM, FOREIGN) is not None) == (port != "domains")
    assert (len(door.store.by_uuid(SR, LOCAL).VDIs) == 1) == (port != "storage")
    assert (len(door.observer.host.PIFs) == 2) == (port != "node")


# --- the definition follows


def test_many_changes_are_few_definitions(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door.idle()
    machine.domains.calls.clear()
    block = Block(machine.domains, "define")
    door("VM.set_name_description", vm, "first")
    block.await_entry()
    for number in range(50):
        door("VM.set_name_description", vm, str(number))
    block.release()
    door.idle()
    assert machine.domains.calls.count("define") == 2


def test_templates_and_snapshots_are_not_defined(door: Door, machine: FakeMachine) -> None:
    template = door.vm(is_a_template=True)
    snapshot: VM = door("VM.snapshot", door.vm(), "kept")
    for vm in (template, snapshot):
        door("VM.set_name_label", vm, "renamed")
    look(door, machine, None)
    door.idle()
    assert not {template.uuid, snapshot.uuid} & machine.domains.known.keys()


def test_a_definition_that_fails_is_tried_again(
    door: Door, machine: FakeMachine, caplog: pytest.LogCaptureFixture
) -> None:
    vm = door.vm(name_label="old")
    door.idle()
    machine.domains.fail("define", InternalError("on demand"))
    door("VM.set_name_label", vm, "new")
    door.idle()
    assert "cannot be defined yet" in caplog.text
    assert machine.domains.known[vm.uuid].title == "old"
    machine.domains.plan.clear()
    look(door, machine, None)
    door.idle()
    assert machine.domains.known[vm.uuid].title == "new"


def test_what_could_not_be_defined_and_was_destroyed_is_not_taken_for_the_next_of_its_uuid(
    door: Door, machine: FakeMachine
) -> None:
    """Seen on Xen: others defined a domain anew, and it was taken as changed by us, so its devices stayed."""
    machine.domains.known[FOREIGN] = foreign(power_state=HALTED, disks=(), nics=())
    look(door, machine, FOREIGN)
    vm = door.store.by_uuid(VM, FOREIGN)
    machine.domains.fail("define", InternalError("on demand"))
    door("VM.set_name_label", vm, "new")
    door.idle()
    door("VM.destroy", vm)
    machine.domains.plan.clear()
    machine.domains.known[FOREIGN] = foreign()
    look(door, machine, FOREIGN)
    look(door, machine, None)
    adopted = door.store.by_uuid(VM, FOREIGN)
    assert (adopted.ours, adopted.name_label) == (False, "theirs")


# --- networks and storage


def test_a_network_of_ours_is_made_again_where_it_was_forgotten(door: Door, machine: FakeMachine) -> None:
    network: Network = door("network.create", {"name_label": "mine"})
    machine.networks.known.pop(network.uuid)
    look(door, machine, None)
    assert network.uuid in machine.networks.known


def test_a_network_that_cannot_be_made_again_keeps_nobody_from_the_others(
    door: Door, machine: FakeMachine, caplog: pytest.LogCaptureFixture
) -> None:
    networks = [door("network.create", {"name_label": name}) for name in ("a", "b")]
    for network in networks:
        machine.networks.known.pop(network.uuid)
    left = [1]

    def once() -> None:
        if left[0]:
            left[0] -= 1
            raise InternalError("on demand")

    machine.networks.plan["create"] = once
    look(door, machine, None)
    assert "cannot be made again" in caplog.text
    assert len(machine.networks.known.keys() & {network.uuid for network in networks}) == 1


def test_storage_is_attached_again_where_it_was_forgotten(door: Door, machine: FakeMachine) -> None:
    sr = door.store.by_uuid(SR, LOCAL)
    machine.storage.attached.pop(LOCAL)
    look(door, machine, None)
    assert LOCAL in machine.storage.attached
    assert [pbd.currently_attached for pbd in sr.PBDs] == [True]


def test_storage_that_was_detached_on_purpose_stays_so(door: Door, machine: FakeMachine) -> None:
    (pbd,) = door.store.by_uuid(SR, LOCAL).PBDs
    door("PBD.unplug", pbd)
    look(door, machine, None)
    assert not pbd.currently_attached
    assert not machine.storage.attached[LOCAL].active


def test_a_volume_that_is_gone_is_marked_and_one_that_is_back_is_not(door: Door, machine: FakeMachine) -> None:
    vdi: VDI = door("VDI.create", {"SR": door.store.by_uuid(SR, LOCAL).ref, "virtual_size": GIB})
    volume = machine.storage.volumes[LOCAL].pop(vdi.location)
    look(door, machine, None)
    assert vdi.missing
    machine.storage.volumes[LOCAL][vdi.location] = volume
    look(door, machine, None)
    assert not vdi.missing


def test_hardware_that_comes_and_goes_is_followed(door: Door, machine: FakeMachine) -> None:
    machine.node.seen_interfaces.append(SeenInterface("eth1", "52:54:00:00:00:02", 9000, True, False, 0, False))
    machine.node.seen_cpus.pop()
    look(door, machine, None)
    host = door.observer.host
    assert [(pif.device, pif.MTU) for pif in host.PIFs] == [("eth0", 1500), ("eth1", 9000)]
    assert len(host.host_CPUs) == 1
    machine.node.seen_interfaces.pop()
    look(door, machine, None)
    assert [pif.device for pif in host.PIFs] == ["eth0"]


def test_the_uuids_of_host_and_pool_stay_for_good(machine: FakeMachine, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        door = Door(machine.ports(), tmp_path / "journal.db")
        found.append((door.observer.host.uuid, door.observer.pool.uuid, [pif.uuid for pif in door.observer.host.PIFs]))
        door.close()
    assert found[0] == found[1]


# --- live numbers


def test_what_is_measured_is_in_the_records(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    vdi: VDI = door("VDI.create", {"SR": door.store.by_uuid(SR, LOCAL).ref, "virtual_size": GIB})
    vbd: VBD = door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    vif = door("VIF.create", {"VM": vm.ref, "network": door.store.by_uuid(Network, LAN).ref, "device": "0"})
    door("VM.start", vm, False)
    metrics = door("VM_metrics.get_record", vm.metrics)
    assert (metrics.VCPUs_utilisation, metrics.memory_actual) == ({0: 0.5}, vm.memory_dynamic_max)
    assert (vbd.metrics.io_read_kbs, vbd.metrics.io_write_kbs) == (10.0, 20.0)  # type: ignore[union-attr]
    assert (vif.metrics.io_read_kbs, vif.metrics.io_write_kbs) == (1.0, 2.0)
    host = door.observer.host
    assert sorted(cpu.utilisation for cpu in host.host_CPUs) == [0.25, 0.75]
    assert host.PIFs[0].metrics is not None
    assert host.PIFs[0].metrics.io_write_kbs == 4.0
    assert door("host.compute_free_memory", host) == 8 * GIB


def test_many_readers_cost_one_measurement(door: Door, machine: FakeMachine) -> None:
    block = Block(machine.meters, "read")
    metrics = door.observer.host.metrics
    assert metrics is not None
    reads = [door.later("host_metrics.get_record", metrics) for _ in range(100)]
    block.await_entry()
    block.release()
    for read in reads:
        assert read.result(WAIT_SECONDS).value is metrics
    assert machine.meters.calls == ["read"]


@pytest.mark.fault("F4")
def test_meters_that_hang_leave_the_last_values(door: Door, machine: FakeMachine) -> None:
    metrics = door.observer.host.metrics
    assert door("host_metrics.get_memory_free", metrics) == 8 * GIB
    door.observer._measured = 0.0  # long ago
    block = Block(machine.meters, "read")
    read = door.later("host_metrics.get_memory_free", metrics)
    block.await_entry()
    assert door("VM.get_all") == []  # nobody else waits
    assert read.result(WAIT_SECONDS).value == 8 * GIB
    block.release()


@pytest.mark.parametrize("error", [InternalError("on demand"), ZeroDivisionError()], ids=["known", "unknown"])
def test_meters_that_fail_leave_the_last_values(
    door: Door, machine: FakeMachine, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    machine.meters.plan["read"] = fail
    assert isinstance(door("host_metrics.get_record", door.observer.host.metrics).memory_total, int)
    assert "live numbers cannot be" in caplog.text


def test_the_sweep_looks_by_itself(machine: FakeMachine) -> None:
    door = Door(machine.ports(), None)
    try:
        door.observer._sweep_seconds = 0.01
        sweeping = threading.Thread(target=door.observer._sweep, daemon=True)
        sweeping.start()
        machine.domains.known[FOREIGN] = foreign()
        eventually(lambda: door.store.known(VM, FOREIGN) is not None, "the adoption by the sweep")
        door.observer.close()
        sweeping.join(WAIT_SECONDS)
        assert not sweeping.is_alive()
    finally:
        door.close()


def test_an_offline_hypervisor_refuses_changes_and_answers_reads(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    machine.domains.fail("start", HostOffline(door.observer.host))
    assert door.refused("VM.start", vm, False) == ["HOST_OFFLINE", door.observer.host.ref]
    assert door("VM.get_power_state", vm) == "Halted"

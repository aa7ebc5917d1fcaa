"""What the simulated hypervisor adds to libvirt's test driver: no middle of a step is seen, and failures on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

import drivers
from agent.classes.enums import PowerState
from agent.errors import HostOffline, VMBadPowerState
from drivers.connection import Connection
from drivers.domains import LibvirtDomains
from drivers.folders import SimulatedStorage
from drivers.simulator import SimulatedDomains
from drivers.storage import LibvirtStorage
from tests.drivers.machines import Machines

NODE = """<node><domain type='test'><name>born</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
<memory>8192</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain></node>"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """A hypervisor with one domain, which runs. A file names it, so that its state is nobody else's."""
    (tmp_path / "node.xml").write_text(NODE)
    made = Connection(f"test://{tmp_path}/node.xml")
    yield made
    made.close()


@pytest.fixture
def domains(connection: Connection) -> SimulatedDomains:
    """The port on it."""
    made = SimulatedDomains(connection)
    connection.start()
    return made


def state_of(domains: SimulatedDomains, uuid: str) -> PowerState:
    seen = domains.look(uuid)
    assert seen is not None
    return seen.power_state


def test_a_domain_that_was_there_before_is_seen(domains: SimulatedDomains) -> None:
    (seen,) = domains.list()
    assert (seen.name, seen.power_state, seen.is_control_domain) == ("born", PowerState.RUNNING, False)


def test_nobody_sees_a_paused_start_or_a_reboot_half_done(domains: SimulatedDomains, machines: Machines) -> None:
    paused, running = machines.vm("paused"), machines.vm("running")
    domains.start(running, False)
    seen: set[tuple[str, PowerState]] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for domain in domains.list():
                seen.add((domain.name, domain.power_state))

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(20):
        domains.start(paused, True)
        domains.reboot(running)
        domains.destroy(paused)
    stop.set()
    looking.join()
    assert ("paused", PowerState.RUNNING) not in seen
    assert ("running", PowerState.HALTED) not in seen


def test_a_transient_domain_reboots_too(connection: Connection, domains: SimulatedDomains, machines: Machines) -> None:
    vm = machines.vm()
    domains.start(vm, False)
    before = domains.look(vm.uuid)
    connection.handle.lookupByUUIDString(vm.uuid).undefine()
    domains.reboot(vm)
    after = domains.look(vm.uuid)
    assert before is not None
    assert after is not None
    assert (after.power_state, after.persistent) == (PowerState.RUNNING, False)
    assert after.domid > before.domid


def test_weight_and_cap_are_remembered_while_it_runs(domains: SimulatedDomains, machines: Machines) -> None:
    vm = machines.vm(VCPUs_params={"cap": "50"})
    domains.start(vm, False)
    domains.set_scheduler(vm, 512, None)
    assert domains.scheduler(vm) == {"cap": 50, "weight": 512}
    domains.reboot(vm)
    assert domains.scheduler(vm) == {}


def test_plugged_devices_outlive_a_suspend(domains: SimulatedDomains, machines: Machines) -> None:
    vm = machines.vm()
    domains.start(vm, False)
    card = machines.card(vm, "0")
    domains.plug_vif(card)
    domains.suspend(vm)
    domains.resume(vm, False)
    seen = domains.look(vm.uuid)
    assert seen is not None
    assert [nic.MAC for nic in seen.nics] == [card.MAC]


def test_a_reset_gives_a_new_number_and_an_nmi_is_taken(domains: SimulatedDomains, machines: Machines) -> None:
    vm = machines.vm()
    domains.start(vm, False)
    before = domains.look(vm.uuid)
    domains.send_trigger(vm, "nmi")
    domains.send_trigger(vm, "reset")
    after = domains.look(vm.uuid)
    assert before is not None
    assert after is not None
    assert after.domid > before.domid
    domains.send_sysrq(vm, "b")


def test_what_was_undefined_leaves_nothing_behind(domains: SimulatedDomains, machines: Machines) -> None:
    vm = machines.vm()
    domains.start(vm, False)
    domains.plug_vif(machines.card(vm, "0"))
    domains.destroy(vm)
    domains.undefine(vm)
    assert domains.look(vm.uuid) is None
    assert vm.uuid not in domains._overlays


def test_open_gives_the_simulation_for_a_test_uri_and_plain_libvirt_for_any_other(tmp_path: Path) -> None:
    (tmp_path / "node.xml").write_text(NODE)
    simulated = drivers.open(f"test://{tmp_path}/node.xml", tmp_path)
    assert isinstance(simulated.domains, SimulatedDomains)
    assert isinstance(simulated.storage, SimulatedStorage)
    assert [seen.name for seen in simulated.domains.list()] == ["born"]
    simulated.close()
    real = drivers.open(f"test+unix:///default?socket={tmp_path}/none", tmp_path)
    assert type(real.domains) is LibvirtDomains
    assert type(real.storage) is LibvirtStorage
    for machine in (simulated, real):
        with pytest.raises(HostOffline):
            machine.domains.list()
    real.close()


# --- failures on demand


def test_an_armed_call_fails_as_often_as_was_said_and_does_nothing(
    domains: SimulatedDomains, machines: Machines
) -> None:
    vm = machines.vm()
    domains.failures.arm("start", HostOffline("test"), times=2)
    for _ in range(2):
        with pytest.raises(HostOffline):
            domains.start(vm, False)
    assert domains.look(vm.uuid) is None
    domains.start(vm, False)
    assert state_of(domains, vm.uuid) is PowerState.RUNNING


def test_a_call_waits_for_its_gate_and_others_do_not(domains: SimulatedDomains, machines: Machines) -> None:
    vm, gate, ended = machines.vm(), threading.Event(), threading.Event()
    domains.start(vm, False)
    domains.failures.arm("pause", gate=gate, delay_seconds=0.001)

    def pause() -> None:
        domains.pause(vm)
        ended.set()

    pausing = threading.Thread(target=pause)
    pausing.start()
    assert state_of(domains, vm.uuid) is PowerState.RUNNING
    assert not ended.is_set()
    gate.set()
    pausing.join()
    assert state_of(domains, vm.uuid) is PowerState.PAUSED


def test_a_cleared_plan_lets_all_pass(domains: SimulatedDomains, machines: Machines) -> None:
    vm = machines.vm()
    domains.failures.arm("define", VMBadPowerState(vm, "halted", "running"))
    domains.failures.clear()
    domains.define(vm)
    assert state_of(domains, vm.uuid) is PowerState.HALTED


def test_the_driver_below_still_lacks_what_is_made_up_for(
    connection: Connection, domains: SimulatedDomains, machines: Machines
) -> None:
    vm = machines.vm()
    domains.define(vm)
    domain = connection.handle.lookupByUUIDString(vm.uuid)
    with pytest.raises(libvirt.libvirtError) as refusal:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert refusal.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
    domain.create()
    with pytest.raises(LookupError):
        domain.setSchedulerParameters({"cap": 50})

"""Devices, processors, memory and limits of running guests on a real Xen, as the guest sees them, for each kind."""

from __future__ import annotations

import pytest
import XenAPI

from tests.xen.installed import wait_until
from tests.xen.machines import MIB, Machine
from tests.xen.works import operation, refusal


@operation("plug and unplug a disk")
def test_a_disk_comes_to_a_running_guest_and_goes(machine: Machine) -> None:
    vbd = machine.add_disk(24 * MIB, device="1", plug=True)
    wait_until(lambda: machine.number("disk.xvdb.bytes") == 24 * MIB, "the guest sees the disk")
    assert machine.api.VBD.get_currently_attached(vbd)
    machine.run("store xvdb 'written by the guest'")
    vdi = machine.api.VBD.get_VDI(vbd)
    location = machine.api.VDI.get_location(vdi)
    assert machine.dom0.run(f"head -c 20 {location}").stdout == "written by the guest"
    with pytest.raises(XenAPI.Failure, match="VDI_IN_USE"):
        machine.api.VDI.destroy(vdi)
    machine.api.VBD.unplug(vbd)
    wait_until(lambda: "xvdb" not in machine.state().get("disks", "xvdb"), "the guest no longer sees the disk")
    assert not machine.api.VBD.get_currently_attached(vbd)
    machine.api.VBD.destroy(vbd)
    machine.api.VDI.destroy(vdi)


@operation("plug and unplug a card", "limit a card's rate")
def test_a_card_comes_to_a_running_guest_with_its_limit_and_goes(machine: Machine) -> None:
    vif = machine.add_card(
        device="1",
        MAC="00:16:3e:0a:0b:0c",
        qos_algorithm_type="ratelimit",
        qos_algorithm_params={"kbps": "2048"},
    )
    machine.api.VIF.plug(vif)
    wait_until(lambda: machine.state().get("card.eth1.mac") == "00:16:3e:0a:0b:0c", "the guest sees the card")
    assert machine.api.VIF.get_currently_attached(vif)
    back_end = f"/local/domain/0/backend/vif/{machine.domid}"
    rates = machine.dom0.run(
        f"for n in $(xenstore-list {back_end}); do "
        f"echo $(xenstore-read {back_end}/$n/mac) $(xenstore-read {back_end}/$n/rate 2>/dev/null); done"
    ).stdout.splitlines()
    [limited] = [line for line in rates if line.startswith("00:16:3e:0a:0b:0c")]
    # Bytes of credit, and the microseconds after which it is filled up again.
    credit, microseconds = map(int, limited.split()[1].split(","))
    assert credit * 1_000_000 // microseconds // 1024 in range(2040, 2057)
    machine.api.VIF.unplug(vif)
    wait_until(lambda: "eth1" not in machine.state().get("cards", "eth1"), "the guest no longer sees the card")
    machine.api.VIF.destroy(vif)


def add_processor(machine: Machine) -> None:
    machine.api.VM.set_VCPUs_number_live(machine.vm, "2")
    wait_until(lambda: machine.number("cpus") == 2, "the guest has two processors")
    metrics = machine.api.VM.get_metrics(machine.vm)
    wait_until(lambda: machine.api.VM_metrics.get_VCPUs_number(metrics) == "2", "the API shows both")


@operation("add a VCPU")
def test_a_guest_gets_another_processor(machine: Machine) -> None:
    add_processor(machine)


@operation("take a VCPU")
def test_a_guest_gives_a_processor_back(machine: Machine) -> None:
    add_processor(machine)
    machine.api.VM.set_VCPUs_number_live(machine.vm, "1")
    wait_until(lambda: machine.number("cpus") == 1, "the guest has one processor")


@refusal("take a VCPU")
def test_a_guest_that_keeps_its_processor_is_shown_with_it(machine: Machine) -> None:
    """It may give it back long after it was asked; what the API shows is what Xen has, at any moment."""
    add_processor(machine)
    machine.api.VM.set_VCPUs_number_live(machine.vm, "1")
    metrics = machine.api.VM.get_metrics(machine.vm)

    def both_agree() -> bool:
        shown = machine.api.VM_metrics.get_VCPUs_number(metrics)
        online = machine.dom0.run(f"xl vcpu-list {machine.domid}").stdout.splitlines()[1:]
        # A name may have spaces; the processor comes before state, seconds and "all / all".
        return int(shown) == sum(line.split()[-6] != "-" for line in online)

    wait_until(both_agree, "the API shows the processors that Xen has online")


@operation("memory by ballooning")
def test_a_guest_gives_memory_and_gets_it_back(machine: Machine) -> None:
    most = int(machine.api.VM.get_memory_static_max(machine.vm))
    least = most - 32 * MIB
    machine.api.VM.set_memory_dynamic_range(machine.vm, str(least), str(most))
    full = machine.number("memory_total_kib")
    metrics = machine.api.VM.get_metrics(machine.vm)
    # Of the size of an HVM guest its screen has this much, which Xen does not count with the domain's memory.
    screen = 16 * MIB if machine.kind == "hvm" else 0

    def actual() -> int:
        return int(machine.api.VM_metrics.get_memory_actual(metrics))

    machine.api.VM.set_memory_dynamic_range(machine.vm, str(least), str(least))
    wait_until(lambda: 0 < machine.number("memory_total_kib") <= full - 28 * 1024, "the guest gave memory")
    wait_until(lambda: abs(actual() - least + screen) <= 4 * MIB, "the API shows it")
    machine.api.VM.set_memory_dynamic_range(machine.vm, str(most), str(most))
    wait_until(lambda: machine.number("memory_total_kib") >= full - 4 * 1024, "the guest has its memory back")
    wait_until(lambda: abs(actual() - most + screen) <= 4 * MIB, "the API shows it")


@operation("weight and cap")
def test_weight_and_cap_reach_the_scheduler_at_once(machine: Machine) -> None:
    def scheduled() -> tuple[int, int]:
        name = machine.api.VM.get_name_label(machine.vm)
        line = machine.dom0.run(f"xl sched-credit2 -d '{name}'").stdout.splitlines()[-1]
        return int(line.split()[-2]), int(line.split()[-1])

    machine.api.VM.add_to_VCPUs_params_live(machine.vm, "weight", "512")
    machine.api.VM.add_to_VCPUs_params_live(machine.vm, "cap", "80")
    assert scheduled() == (512, 80)
    machine.api.VM.set_VCPUs_params(machine.vm, {})


def a_medium(machine: Machine) -> str:
    """A VDI that begins with a word."""
    record = {"name_label": "a CD", "SR": machine.workshop.SR, "virtual_size": str(2 * MIB), "type": "user"}
    vdi = str(machine.api.VDI.create(record))
    machine.dom0.run(f"echo first | dd of={machine.api.VDI.get_location(vdi)} conv=notrunc status=none")
    return vdi


def drive_of(machine: Machine) -> str:
    [drive] = [vbd for vbd in machine.api.VM.get_VBDs(machine.vm) if machine.api.VBD.get_type(vbd) == "CD"]
    return str(drive)


@operation("insert and eject a CD")
def test_a_medium_comes_to_a_running_guest_and_goes(halted_machine: Machine) -> None:
    machine = halted_machine
    api, drive, vdi = machine.api, drive_of(machine), a_medium(machine)
    api.VBD.insert(drive, vdi)
    machine.bring_up()
    wait_until(lambda: machine.run("content sr0", check=False).strip() == "first", "the guest reads what it began with")
    for _ in range(2):
        api.VBD.eject(drive)
        assert api.VBD.get_empty(drive)
        wait_until(lambda: machine.run("content sr0", check=False).strip() == "", "the guest's drive is empty")
        api.VBD.insert(drive, vdi)
        assert not api.VBD.get_empty(drive)
        wait_until(lambda: machine.run("content sr0", check=False).strip() == "first", "the guest reads the medium")
    api.VBD.eject(drive)
    api.VDI.destroy(vdi)


@operation("insert and eject a CD")
def test_a_drive_that_began_empty_is_not_touched_for_qemu_would_not_survive_it(machine: Machine) -> None:
    """A QEMU that survives it makes this fail."""
    machine.halt()
    machine.bring_up()
    api, drive, vdi = machine.api, drive_of(machine), a_medium(machine)
    with pytest.raises(XenAPI.Failure, match="since the machine started") as refused:
        api.VBD.insert(drive, vdi)
    assert refused.value.details[0] == "OPERATION_NOT_ALLOWED"
    assert api.VBD.get_empty(drive)
    assert machine.state()["type"] == "HVM"
    assert machine.dom0.run(f"pgrep -f -- '-xen-domid {machine.domid} '").stdout.strip()
    api.VDI.destroy(vdi)


@refusal("insert and eject a CD")
def test_a_medium_that_qemu_does_not_serve_is_not_shown_as_inserted(machine: Machine) -> None:
    """libvirt says that it is there. A QEMU that serves it makes this fail, and README's table with it."""
    api, drive, vdi = machine.api, drive_of(machine), a_medium(machine)
    with pytest.raises(XenAPI.Failure, match="read-only") as refused:
        api.VBD.insert(drive, vdi)
    assert refused.value.details[0] == "OPERATION_NOT_ALLOWED"
    assert api.VBD.get_empty(drive)
    assert "xvdd" not in machine.dom0.run(f"virsh -c xen:///system domblklist {machine.uuid}").stdout
    api.VDI.destroy(vdi)

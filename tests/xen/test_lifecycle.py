"""The life of a machine on a real Xen, for each kind of guest: what README's table says, row by row.

The tests of a kind share one machine, and run in the order in which they are written, which spares most boots; each
brings the machine to where it needs it, so each can be run alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import XenAPI

from lab.dom0 import Dom0
from tests.xen.installed import wait_until
from tests.xen.machines import KERNELS, Machine, Workshop
from tests.xen.works import operation, refusal


@operation("create, start", "start paused, unpause")
def test_a_machine_starts_paused_and_its_guest_comes_up_when_let_go(halted_machine: Machine) -> None:
    machine = halted_machine.start(paused=True)
    assert machine.power_state == "Paused"
    assert machine.dom0.run(f"xl domname {machine.domid}").stdout.strip() == machine.api.VM.get_name_label(machine.vm)
    assert machine.is_paused_in_xen()
    machine.api.VM.unpause(machine.vm)
    assert machine.power_state == "Running"
    assert machine.wait_until_it_answers()["type"] == machine.kind.upper()


def console(machine: Machine, protocol: str) -> dict[str, str]:
    """The one console of the machine that speaks this protocol."""
    consoles = map(machine.api.console.get_record, machine.api.VM.get_consoles(machine.vm))
    [found] = [record for record in consoles if record["protocol"] == protocol]
    return dict(found)


@operation("console text")
def test_what_the_guest_prints_reaches_the_console_of_the_api(machine: Machine) -> None:
    line = "ttyS0" if machine.kind == "hvm" else "hvc0"
    heard = b""
    with machine.workshop.agent.opened(console(machine, "vt100")["location"]) as terminal:
        terminal.settimeout(5.0)

        def is_heard() -> bool:
            """Nobody keeps what a serial line said while nobody listened, so the guest says it until it is heard."""
            nonlocal heard
            machine.run(f"echo a word from inside >/dev/{line}")
            with suppress(TimeoutError):
                heard += terminal.recv(65536)
            return b"a word from inside" in heard

        wait_until(is_heard, f"what the guest says on {line} reaches the client")


@operation("VNC")
def test_a_screen_answers_where_the_api_says(machine: Machine) -> None:
    with machine.workshop.agent.opened(console(machine, "rfb")["location"]) as screen:
        assert screen.recv(12).startswith(b"RFB 003.")


@refusal("VNC")
def test_a_guest_without_graphics_has_no_screen(machine: Machine) -> None:
    consoles = map(machine.api.console.get_record, machine.api.VM.get_consoles(machine.vm))
    assert [console["protocol"] for console in consoles] == ["vt100"]


@operation("pause, unpause")
def test_a_paused_guest_stands_still_and_goes_on_when_let_go(machine: Machine) -> None:
    before = machine.state()
    machine.api.VM.pause(machine.vm)
    assert machine.power_state == "Paused"
    assert machine.is_paused_in_xen()
    machine.api.VM.unpause(machine.vm)
    assert machine.power_state == "Running"
    after = machine.wait_until_it_answers()
    assert after["boot"] == before["boot"]
    assert int(after["ticks"]) >= int(before["ticks"])


@operation("suspend to disk, resume")
def test_a_suspended_guest_goes_on_with_its_memory_intact(machine: Machine) -> None:
    before = machine.state()
    machine.run("echo remembered >/run/word")
    machine.api.VM.suspend(machine.vm)
    assert machine.power_state == "Suspended"
    assert machine.dom0.run(f"xl domid '{machine.api.VM.get_name_label(machine.vm)}'", check=False).returncode != 0
    machine.api.VM.resume(machine.vm, False, False)
    assert machine.power_state == "Running"
    after = machine.wait_until_it_answers()
    assert after["boot"] == before["boot"]
    assert int(after["ticks"]) >= int(before["ticks"])
    assert machine.run("cat /run/word").strip() == "remembered"


@operation("reboot from inside")
def test_a_guest_that_reboots_itself_is_the_same_machine_in_a_new_domain(machine: Machine) -> None:
    before, domid = machine.state(), machine.domid
    machine.run("leave reboot")
    machine.wait_for_another_boot(before["boot"])
    machine.wait_for("Running")
    wait_until(lambda: machine.domid not in (domid, -1), "the API has the new domain")


@operation("clean reboot")
def test_a_guest_reboots_when_asked(machine: Machine) -> None:
    before, domid = machine.state(), machine.domid
    machine.api.VM.clean_reboot(machine.vm)
    assert machine.power_state == "Running"
    assert machine.domid not in (domid, -1)
    machine.wait_for_another_boot(before["boot"])


def crash(machine: Machine, action: str) -> tuple[str, int]:
    """Have the guest crash under this action; its boot id and its domain's until then."""
    if machine.api.VM.get_actions_after_crash(machine.vm) != action:
        # It holds from the next start on.
        machine.halt()
        machine.api.VM.set_actions_after_crash(machine.vm, action)
    boot, domid = machine.bring_up().state()["boot"], machine.domid
    machine.run("leave crash")
    return boot, domid


@operation("crash: restart")
def test_a_crashed_guest_is_restarted(shared_machine: Machine) -> None:
    boot, domid = crash(shared_machine, "restart")
    shared_machine.wait_for_another_boot(boot)
    wait_until(lambda: shared_machine.domid not in (domid, -1), "the API has the new domain")
    assert shared_machine.power_state == "Running"


@operation("power off from inside")
def test_a_guest_that_powers_itself_off_leaves_a_halted_machine(machine: Machine) -> None:
    machine.run("leave poweroff")
    machine.wait_for("Halted")
    assert machine.domid == -1


@operation("hard reboot", "hard shutdown")
def test_the_plug_is_pulled_whether_the_guest_is_ready_or_not(halted_machine: Machine) -> None:
    machine = halted_machine
    machine.api.VM.start(machine.vm, False, False)
    domid = machine.domid
    machine.api.VM.hard_reboot(machine.vm)
    assert machine.power_state == "Running"
    assert machine.domid not in (domid, -1)
    machine.api.VM.hard_shutdown(machine.vm)
    assert machine.power_state == "Halted"
    assert machine.api.VM.get_uuid(machine.vm) not in machine.dom0.run("xl list -v").stdout


@operation("clean shutdown")
def test_a_guest_goes_off_when_asked(machine: Machine) -> None:
    machine.api.VM.clean_shutdown(machine.vm)
    assert machine.power_state == "Halted"
    assert machine.domid == -1


@operation("crash: destroy")
def test_a_crashed_guest_is_destroyed(shared_machine: Machine) -> None:
    crash(shared_machine, "destroy")
    shared_machine.wait_for("Halted")


@operation("crash: preserve")
def test_a_crashed_guest_is_preserved_to_be_looked_at_and_can_be_taken_away(shared_machine: Machine) -> None:
    _, domid = crash(shared_machine, "preserve")
    wait_until(lambda: "c-" in shared_machine.dom0.run(f"xl list {domid}").stdout, "Xen has the crashed domain")
    shared_machine.wait_for("Halted")
    assert shared_machine.dom0.run(f"xl list {domid}", check=False).returncode == 0
    shared_machine.api.VM.start(shared_machine.vm, False, False)
    assert shared_machine.domid != domid


@pytest.fixture
def dumps(dom0: Dom0) -> Iterator[str]:
    """The folder where libvirt's Xen driver writes the memory of crashed guests."""
    folder = "/var/lib/libvirt/libxl/dump"
    dom0.run(f"rm -rf {folder}/*")
    yield folder
    dom0.run(f"rm -rf {folder}/*")


@operation("crash: coredump, then destroy or restart")
def test_a_crashed_guest_leaves_its_memory(shared_machine: Machine, dumps: str) -> None:
    """Of one that is not PV, each page below 4 GiB is tried, which takes emulation minutes: such leave one dump."""

    def written() -> int:
        return shared_machine.dom0.run(f"ls {dumps}").stdout.count("\n")

    if shared_machine.kind == "pv":
        crash(shared_machine, "coredump_and_destroy")
        shared_machine.wait_for("Halted")
        wait_until(lambda: written() == 1, "the memory was written")
    before = written()
    boot, _ = crash(shared_machine, "coredump_and_restart")
    shared_machine.wait_for_another_boot(boot)
    assert written() == before + 1


@operation("boot by pygrub")
def test_a_guest_boots_from_its_disk_by_pygrub(workshop: Workshop, kind: str) -> None:
    machine = workshop.make(kind, PV_kernel="", PV_ramdisk="", PV_args="", PV_bootloader="pygrub")
    vbd = machine.add_disk(64 << 20)
    location = machine.api.VDI.get_location(machine.api.VBD.get_VDI(vbd))
    address = f"ip4={machine.address}/24"
    machine.dom0.run(f"dd if=/var/lib/lab/pygrub.img of={location} conv=notrunc,sparse status=none")
    # libvirt hands all of it to the boot loader as one word, which is added to what the menu says.
    machine.api.VM.set_PV_bootloader_args(machine.vm, f"--args={address}")
    machine.start()
    assert address in machine.state()["command_line"]
    machine.remove()


@refusal("boot by pygrub")
def test_a_boot_loader_of_the_host_means_nothing_to_firmware(workshop: Workshop, kind: str) -> None:
    """As on xapi, where clients leave it in machines that they make HVM: it is kept, and its kernel boots."""
    machine = workshop.make(kind, PV_bootloader="pygrub")
    machine.start(paused=True)
    assert "bootloader" not in machine.dom0.run(f"virsh -c xen:///system dumpxml {machine.uuid}").stdout
    assert machine.api.VM.get_PV_bootloader(machine.vm) == "pygrub"
    machine.remove()


@operation("start with all disks or not at all")
def test_a_machine_without_one_of_its_disks_does_not_start(workshop: Workshop, kind: str) -> None:
    """libvirt says that it runs. What QEMU says is told."""
    machine = workshop.make(kind)
    machine.add_disk()
    lost = machine.api.VDI.get_location(machine.api.VBD.get_VDI(machine.add_disk(device="1")))
    machine.dom0.run(f"mv {lost} {lost}.away")
    with pytest.raises(XenAPI.Failure, match="No such file") as refused:
        machine.start()
    assert refused.value.details[0] == "OPERATION_NOT_ALLOWED"
    assert machine.power_state == "Halted"
    machine.dom0.run(f"mv {lost}.away {lost}")
    machine.remove()


def test_the_kernels_of_these_guests_are_where_the_agent_takes_them_from(workshop: Workshop) -> None:
    with pytest.raises(Exception, match="VALUE_NOT_SUPPORTED"):
        workshop.make("pv", PV_kernel="/var/lib/lab/vmlinux")
    assert workshop.dom0.run(f"ls {KERNELS}").stdout.split()

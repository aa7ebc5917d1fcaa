"""What the other tests on a real Xen build on: the lab itself, its guests, and the agent's service in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.dom0 import Dom0
from lab.image import LAB
from tests.xen.installed import InstalledAgent, wait_until

ADDRESS = "10.0.2.150"
DISK = "/var/lib/libvirt/images/tiny.img"
DEFINITION = f"""
<domain type='xen'>
  <name>tiny</name><memory unit='MiB'>192</memory><currentMemory unit='MiB'>160</currentMemory>
  <vcpu current='1'>2</vcpu>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>/var/lib/lab/vmlinux</kernel><initrd>/var/lib/lab/guest.cpio.gz</initrd>
    <cmdline>console=hvc0 quiet ip4={ADDRESS}/24</cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{DISK}'/><target dev='xvda' bus='xen'/>
    </disk>
    <interface type='bridge'><mac address='00:16:3e:00:01:50'/><source bridge='br0'/></interface>
    <console type='pty'/>
  </devices>
</domain>
"""


@dataclass(frozen=True)
class Guest:
    """The tiny guest, as virsh and its own word show it."""

    dom0: Dom0

    def virsh(self, command: str) -> str:
        return self.dom0.run(f"virsh -c xen:///system {command}").stdout

    def run(self, command: str) -> str:
        return self.dom0.guest(ADDRESS, command)

    def state(self) -> dict[str, str]:
        return self.dom0.guest_state(ADDRESS)

    def number(self, key: str) -> int:
        """One of its numbers; -1 while it does not answer."""
        return int(self.state().get(key, -1))

    def wait_until_it_answers(self) -> dict[str, str]:
        wait_until(lambda: "ticks" in self.state(), "the guest answers")
        return self.state()


@pytest.fixture(scope="module")
def definition(dom0: Dom0) -> str:
    """Of a guest whose disk is there: without, libvirt starts it all the same, and it waits minutes for the disk."""
    dom0.run(f"truncate -s 16M {DISK}")
    return DEFINITION


@pytest.fixture(scope="module")
def guest(dom0: Dom0, definition: str) -> Iterator[Guest]:
    """One running PV guest with a disk and a card."""
    dom0.run("cat >/root/tiny.xml", input=definition)
    guest = Guest(dom0)
    guest.virsh("define /root/tiny.xml")
    guest.virsh("start tiny")
    guest.wait_until_it_answers()
    yield guest
    dom0.run("virsh -c xen:///system destroy tiny", check=False)
    guest.virsh("undefine tiny")


def test_libvirt_drives_xen(dom0: Dom0) -> None:
    assert "Running hypervisor: Xen 4.17" in dom0.run("virsh -c xen:///system version").stdout


@pytest.mark.parametrize("kind", ["pv", "pvh"])
def test_a_guest_starts_answers_and_goes_off_when_asked(dom0: Dom0, kind: str) -> None:
    assert f"{kind}: good" in dom0.run(f"python3 - {kind}", input=(LAB / "smoke.py").read_text()).stdout


def test_files_go_in_and_out(dom0: Dom0, tmp_path_factory: pytest.TempPathFactory) -> None:
    sent, received = tmp_path_factory.mktemp("sent"), tmp_path_factory.mktemp("received")
    (sent / "file").write_bytes(bytes(range(256)))
    dom0.put(sent, "/root/some/folder")
    dom0.put(sent / "file", "/root/some/other name")
    dom0.get("/root/some", received)
    for path in ("folder/file", "other name"):
        assert (received / path).read_bytes() == bytes(range(256))


def test_a_guest_tells_what_it_has(guest: Guest) -> None:
    state = guest.wait_until_it_answers()
    assert state["type"] == "PV"
    assert state["disks"] == "xvda"
    assert state["disk.xvda.bytes"] == str(16 << 20)
    assert state["card.eth0.mac"] == "00:16:3e:00:01:50"
    assert state["cpus"] == "1"
    assert 100 * 1024 < int(state["memory_total_kib"]) < 192 * 1024


def test_a_guest_counts_on_in_its_memory_across_save_and_restore(guest: Guest) -> None:
    before = guest.wait_until_it_answers()
    guest.virsh("managedsave tiny")
    guest.virsh("start tiny")
    after = guest.wait_until_it_answers()
    assert after["boot"] == before["boot"]
    assert int(after["ticks"]) >= int(before["ticks"])


def test_a_guest_brings_a_hot_added_processor_online(guest: Guest) -> None:
    guest.virsh("setvcpus tiny 2 --live")
    wait_until(lambda: guest.number("cpus") == 2, "the guest has two processors")
    guest.virsh("setvcpus tiny 1 --live")
    wait_until(lambda: guest.number("cpus") == 1, "the guest has one processor")


def test_a_guest_writes_through_to_its_disk(guest: Guest) -> None:
    guest.run("store xvda 'written by the guest'")
    assert guest.run("content xvda").strip() == "written by the guest"
    assert guest.dom0.run(f"head -c 20 {DISK}").stdout == "written by the guest"


def test_a_guest_tells_the_host_its_address_and_memory(guest: Guest) -> None:
    domid = guest.virsh("domid tiny").strip()

    def told(key: str) -> str:
        return guest.dom0.run(f"xenstore-read /local/domain/{domid}/{key}", check=False).stdout.strip()

    wait_until(lambda: told("data/updated") == "1", "the guest told the host about itself")
    assert told("attr/vif/0/ipv4/0") == ADDRESS
    assert int(told("data/meminfo_total")) == int(guest.state()["memory_total_kib"])
    guest.run("xs write data/note 'a word'")
    assert told("data/note") == "a word"
    assert guest.run("xs read data/note").strip() == "a word"


def test_a_guest_burns_a_processor_until_told_otherwise(guest: Guest) -> None:
    def used_seconds() -> float:
        [line] = [line for line in guest.virsh("dominfo tiny").splitlines() if line.startswith("CPU time")]
        return float(line.split()[2].removesuffix("s"))

    guest.run("burn")
    start = used_seconds()
    wait_until(lambda: used_seconds() > start + 5, "five seconds of processor time are used")
    guest.run("burn 0")
    assert guest.run("ps").count("while :") == 0


def test_a_guest_reads_its_disk_at_the_rate_asked_for(guest: Guest) -> None:
    before = guest.wait_until_it_answers()
    guest.run("load disk xvda 1000000")
    wait_until(
        lambda: guest.number("disk.xvda.read_bytes") > int(before["disk.xvda.read_bytes"]) + 20_000_000,
        "20 MB were read",
    )
    guest.run("load stop")
    after = guest.wait_until_it_answers()
    seconds = float(after["uptime_seconds"]) - float(before["uptime_seconds"])
    read = int(after["disk.xvda.read_bytes"]) - int(before["disk.xvda.read_bytes"])
    assert read <= seconds * 1_000_000 * 1.1


def test_a_guest_sends_to_the_host(guest: Guest) -> None:
    start = int(guest.wait_until_it_answers()["card.eth0.sent_bytes"])
    guest.run("load net 10.0.2.15 5001 1000000")
    wait_until(lambda: guest.number("card.eth0.sent_bytes") > start + 10_000_000, "10 MB were sent")
    guest.run("load stop")


def test_a_guest_reboots_from_inside(guest: Guest) -> None:
    before = guest.wait_until_it_answers()
    guest.run("leave reboot")
    wait_until(lambda: guest.state().get("boot", before["boot"]) != before["boot"], "the guest was booted anew")


def test_a_guest_crashes_from_inside(guest: Guest) -> None:
    """The last of this guest: its definition says that a crashed one is destroyed."""
    guest.wait_until_it_answers()
    guest.run("leave crash")
    wait_until(lambda: "shut off" in guest.virsh("domstate tiny --reason"), "the guest is gone")
    assert "crashed" in guest.virsh("domstate tiny --reason")


def test_the_machine_has_a_pci_device_to_give(dom0: Dom0, definition: str) -> None:
    with_device = definition.replace("tiny<", "spare<").replace(
        "<console",
        "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
        "<address domain='0' bus='0' slot='0x10' function='0'/></source></hostdev><console",
    )
    dom0.run("cat >/root/spare.xml && virsh -c xen:///system create /root/spare.xml", input=with_device)
    try:
        wait_until(lambda: "0x8086:0x10d3" in dom0.guest_state(ADDRESS).get("pci", ""), "the guest has the device")
    finally:
        dom0.run("virsh -c xen:///system destroy spare")


def test_the_agent_answers_a_login_from_outside(agent: InstalledAgent) -> None:
    with agent.session() as session:
        [host] = session.xenapi.host.get_all()
        assert session.xenapi.host.get_hostname(host) == "xenlab"
        controls = [vm for vm in session.xenapi.VM.get_all_records().values() if vm["is_control_domain"]]
        assert [vm["power_state"] for vm in controls] == ["Running"]

"""What is done with virsh and xl while a client waits in event.from: it is shown as it is, and soon (see ``watch``).

One domain of libvirt's and one of xl's are led through their lives, the cases in this order; each brings its domain to
where it begins, so that one can be run alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libvirt
import pytest
import XenAPI

from lab.dom0 import Dom0
from tests.xen.installed import InstalledAgent, wait_until
from tests.xen.watch import Change, Watch, watching

DEFINED = libvirt.VIR_DOMAIN_EVENT_DEFINED
UNDEFINED = libvirt.VIR_DOMAIN_EVENT_UNDEFINED
STARTED = libvirt.VIR_DOMAIN_EVENT_STARTED
SUSPENDED = libvirt.VIR_DOMAIN_EVENT_SUSPENDED
RESUMED = libvirt.VIR_DOMAIN_EVENT_RESUMED
STOPPED = libvirt.VIR_DOMAIN_EVENT_STOPPED

LIBVIRTS_XML = """
<domain type='xen'>
  <name>theirs</name><uuid>a2a2a2a2-0000-4000-8000-000000000001</uuid>
  <memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>/var/lib/lab/vmlinux</kernel><initrd>/var/lib/lab/guest.cpio.gz</initrd>
    <cmdline>console=hvc0 quiet ip4=10.0.2.160/24</cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='/var/lib/libvirt/images/theirs.img'/><target dev='xvda' bus='xen'/>
    </disk>
    <interface type='bridge'><mac address='00:16:3e:00:01:60'/><source bridge='br0'/></interface>
    <console type='pty'/>
  </devices>
</domain>
"""
XLS_CONFIGURATION = """
name = "of xl"
uuid = "a2a2a2a2-0000-4000-8000-000000000002"
type = "pv"
kernel = "/var/lib/lab/vmlinux"
ramdisk = "/var/lib/lab/guest.cpio.gz"
extra = "console=hvc0 quiet ip4=10.0.2.161/24"
memory = 128
vcpus = 1
vif = ["mac=00:16:3e:00:01:61,bridge=br0"]
disk = ["format=raw,vdev=xvda,access=rw,target=/var/lib/libvirt/images/of-xl.img"]
"""
DISK = "/var/lib/libvirt/images/theirs.img"
MORE = "/var/lib/libvirt/images/theirs-more.img"
"""A file that is plugged needs QEMU, which Xen 4.17 runs for a PV guest only if it was started with such a disk."""
CARD = "00:16:3e:00:01:62"


class Theirs:
    """A domain that others made, and the way to it from dom0 and through the API."""

    uuid: str
    address: str

    def __init__(self, watch: Watch, api: Any) -> None:
        self.watch = watch
        self.dom0 = watch.dom0
        self.api = api

    @property
    def vm(self) -> str:
        """The machine that the API shows it as."""
        return str(self.api.VM.get_by_uuid(self.uuid))

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.VM.get_record(self.vm)
        return found

    def forget(self) -> None:
        """Have the API show it no more, if it does: its domain is gone."""
        if self.api.VM.get_all_records_where(f'field "uuid" = "{self.uuid}"'):
            self.shows("Halted")
            record = self.record
            for vbd in record["VBDs"]:
                self.api.VBD.destroy(vbd)
            for vif in record["VIFs"]:
                self.api.VIF.destroy(vif)
            self.api.VM.destroy(self.vm)

    def shows(self, power_state: str) -> None:
        """Wait until the API shows this state."""
        wait_until(
            lambda: any(
                vm["power_state"] == power_state
                for vm in self.api.VM.get_all_records().values()
                if vm["uuid"] == self.uuid
            ),
            f"the API shows {self.uuid} as {power_state}",
        )

    def wait_until_it_answers(self) -> dict[str, str]:
        wait_until(lambda: "ticks" in self.dom0.guest_state(self.address), f"the guest {self.address} answers")
        return self.dom0.guest_state(self.address)


class OfLibvirt(Theirs):
    """A domain that was made with virsh."""

    uuid = "a2a2a2a2-0000-4000-8000-000000000001"
    address = "10.0.2.160"

    def virsh(self, command: str) -> Change:
        return self.watch.change(f"virsh -q -c xen:///system {command}")

    def state(self) -> str:
        """What virsh says; empty if there is no such domain."""
        return self.dom0.run("virsh -c xen:///system domstate theirs", check=False).stdout.strip()

    def defined(self) -> OfLibvirt:
        if not self.state():
            self.virsh("define /root/theirs.xml")
        return self

    def running(self) -> OfLibvirt:
        match self.defined().state():
            case "shut off":
                self.virsh("start theirs")
            case "paused":
                self.virsh("resume theirs")
        self.wait_until_it_answers()
        self.shows("Running")
        return self

    def domid(self) -> str:
        return self.dom0.run("virsh -c xen:///system domid theirs").stdout.strip()

    def end(self) -> None:
        """Leave nothing of it."""
        self.dom0.run("virsh -c xen:///system destroy theirs", check=False)
        self.dom0.run("virsh -c xen:///system undefine --managed-save theirs", check=False)


class OfXl(Theirs):
    """A domain that was made with xl."""

    uuid = "a2a2a2a2-0000-4000-8000-000000000002"
    address = "10.0.2.161"

    def xl(self, command: str) -> Change:
        return self.watch.change(f"xl {command}")

    def domid(self) -> int:
        """Its number; -1 if it is not there."""
        lines = [line for line in self.dom0.run("xl list -v").stdout.splitlines() if self.uuid in line]
        return int(lines[0].split(self.uuid)[0].split()[-5]) if lines else -1

    def running(self) -> OfXl:
        if self.domid() == -1:
            self.xl("create /root/of-xl.cfg")
        self.wait_until_it_answers()
        self.shows("Running")
        return self

    def end(self) -> None:
        """Leave nothing of it."""
        if (domid := self.domid()) != -1:
            self.dom0.run(f"xl destroy {domid}")
        self.dom0.run("rm -f /root/of-xl.cfg /root/of-xl.saved /var/lib/libvirt/images/of-xl.img")


@pytest.fixture(scope="module")
def watch(agent: InstalledAgent) -> Iterator[Watch]:
    with watching(agent.dom0) as watch:
        yield watch


@pytest.fixture(scope="module")
def session(agent: InstalledAgent) -> Iterator[XenAPI.Session]:
    with agent.session() as session:
        yield session


@pytest.fixture(scope="module")
def theirs(watch: Watch, session: XenAPI.Session, dom0: Dom0) -> Iterator[OfLibvirt]:
    dom0.run("cat >/root/theirs.xml", input=LIBVIRTS_XML)
    dom0.run(f"truncate -s 16M {DISK} {MORE}")
    theirs = OfLibvirt(watch, session.xenapi)
    yield theirs
    theirs.end()
    theirs.forget()
    dom0.run(f"rm -f /root/theirs.xml /root/theirs.saved {DISK} {MORE}")


@pytest.fixture(scope="module")
def of_xl(watch: Watch, session: XenAPI.Session, dom0: Dom0) -> Iterator[OfXl]:
    dom0.run("cat >/root/of-xl.cfg; truncate -s 16M /var/lib/libvirt/images/of-xl.img", input=XLS_CONFIGURATION)
    of_xl = OfXl(watch, session.xenapi)
    yield of_xl
    of_xl.end()


# --- virsh


def test_a_domain_that_virsh_defines_is_a_halted_machine(theirs: OfLibvirt) -> None:
    if theirs.state():
        theirs.end()
    theirs.forget()
    told = theirs.virsh("define /root/theirs.xml").seen(uuid=theirs.uuid, event=DEFINED, operation="add")
    assert told["power_state"] == "Halted"
    record = theirs.record
    assert record["name_label"] == "theirs"
    assert record["memory_static_max"] == str(128 << 20)
    assert record["domain_type"] == "pv"
    assert record["PV_args"] == "console=hvc0 quiet ip4=10.0.2.160/24"
    [vif], [vbd] = record["VIFs"], record["VBDs"]
    assert theirs.api.VIF.get_MAC(vif) == "00:16:3e:00:01:60"
    assert theirs.api.VDI.get_location(theirs.api.VBD.get_VDI(vbd)) == DISK
    assert "start" in record["allowed_operations"]


def test_a_domain_that_virsh_starts_runs(theirs: OfLibvirt) -> None:
    change = theirs.defined().virsh("start theirs")
    told = change.seen(uuid=theirs.uuid, event=STARTED, power_state="Running", domid=theirs.domid())
    change.seen("vif", VM=told["ref"], MAC="00:16:3e:00:01:60", currently_attached=True)
    change.seen("vbd", VM=told["ref"], device="xvda", currently_attached=True)


def test_a_domain_that_virsh_pauses_and_unpauses_is_paused_and_runs(theirs: OfLibvirt) -> None:
    before = theirs.running().dom0.guest_state(theirs.address)
    theirs.virsh("suspend theirs").seen(uuid=theirs.uuid, event=SUSPENDED, power_state="Paused")
    theirs.virsh("resume theirs").seen(uuid=theirs.uuid, event=RESUMED, power_state="Running")
    assert theirs.wait_until_it_answers()["boot"] == before["boot"]


def test_libvirt_renames_no_domain_of_xen_and_the_machine_keeps_its_name(theirs: OfLibvirt) -> None:
    refused = theirs.running().dom0.run("virsh -c xen:///system domrename theirs others", check=False)
    assert "not supported by the connection driver: virDomainRename" in refused.stderr
    assert theirs.record["name_label"] == "theirs"


def test_a_disk_that_virsh_attaches_and_detaches_comes_and_goes(theirs: OfLibvirt) -> None:
    vm = theirs.running().vm
    attached = theirs.virsh(f"attach-disk theirs {MORE} xvdb --driver qemu --subdriver raw --live")
    told = attached.seen("vbd", VM=vm, device="xvdb", currently_attached=True)
    assert theirs.api.VDI.get_location(theirs.api.VBD.get_VDI(told["ref"])) == MORE
    wait_until(lambda: "xvdb" in theirs.dom0.guest_state(theirs.address).get("disks", ""), "the guest has the disk")
    theirs.virsh("detach-disk theirs xvdb --live").seen("vbd", ref=told["ref"], operation="del")
    assert [theirs.api.VBD.get_device(vbd) for vbd in theirs.api.VM.get_VBDs(vm)] == ["xvda"]


def test_a_card_that_virsh_attaches_and_detaches_comes_and_goes(theirs: OfLibvirt) -> None:
    vm = theirs.running().vm
    attached = theirs.virsh(f"attach-interface theirs bridge br0 --mac {CARD} --live")
    told = attached.seen("vif", VM=vm, MAC=CARD, currently_attached=True)
    network = theirs.api.VIF.get_network(told["ref"])
    assert theirs.api.network.get_bridge(network) == "br0"
    detached = theirs.virsh(f"detach-interface theirs bridge --mac {CARD} --live")
    detached.seen("vif", ref=told["ref"], operation="del")
    assert len(theirs.api.VM.get_VIFs(vm)) == 1


def test_a_domain_of_libvirts_that_xl_pauses_is_paused_and_can_be_unpaused(theirs: OfLibvirt) -> None:
    vm = theirs.running().vm
    theirs.watch.change("xl pause theirs").seen(uuid=theirs.uuid, power_state="Paused")
    theirs.api.VM.unpause(vm)
    assert theirs.record["power_state"] == "Running"
    theirs.wait_until_it_answers()
    theirs.watch.change("xl pause theirs").seen(uuid=theirs.uuid, power_state="Paused")
    theirs.watch.change("xl unpause theirs").seen(uuid=theirs.uuid, power_state="Running")
    theirs.wait_until_it_answers()


def test_a_domain_of_libvirts_that_xl_renames_is_shown_by_its_new_name(theirs: OfLibvirt) -> None:
    domid = theirs.running().domid()
    theirs.watch.change(f"xl rename {domid} others").seen(uuid=theirs.uuid, name_label="others")
    theirs.watch.change(f"xl rename {domid} theirs").seen(uuid=theirs.uuid, name_label="theirs")


def test_a_domain_that_virsh_suspends_to_disk_is_suspended_and_goes_on(theirs: OfLibvirt) -> None:
    before = theirs.running().wait_until_it_answers()
    theirs.virsh("managedsave theirs").seen(uuid=theirs.uuid, event=STOPPED, power_state="Suspended", domid="-1")
    theirs.virsh("start theirs").seen(uuid=theirs.uuid, event=STARTED, power_state="Running", domid=theirs.domid())
    assert theirs.wait_until_it_answers()["boot"] == before["boot"]


def test_a_domain_that_virsh_saves_to_a_file_is_halted_until_it_is_restored(theirs: OfLibvirt) -> None:
    before = theirs.running().wait_until_it_answers()
    saved = theirs.virsh("save theirs /root/theirs.saved")
    saved.seen(uuid=theirs.uuid, event=STOPPED, power_state="Halted", domid="-1")
    restored = theirs.virsh("restore /root/theirs.saved")
    restored.seen(uuid=theirs.uuid, event=STARTED, power_state="Running", domid=theirs.domid())
    assert theirs.wait_until_it_answers()["boot"] == before["boot"]


def test_a_domain_that_virsh_shuts_down_is_halted(theirs: OfLibvirt) -> None:
    theirs.running().virsh("shutdown theirs").seen(uuid=theirs.uuid, event=STOPPED, power_state="Halted", domid="-1")


def test_a_domain_that_virsh_destroys_is_halted(theirs: OfLibvirt) -> None:
    """It need not have booted for that."""
    if theirs.defined().state() == "shut off":
        theirs.virsh("start theirs --paused").seen(uuid=theirs.uuid, event=STARTED, power_state="Paused")
    theirs.virsh("destroy theirs").seen(uuid=theirs.uuid, event=STOPPED, power_state="Halted", domid="-1")


def test_a_machine_whose_domain_virsh_undefines_is_halted_and_can_be_removed(theirs: OfLibvirt) -> None:
    theirs.end()
    theirs.defined().shows("Halted")
    vm = theirs.vm
    since = theirs.watch.position()
    theirs.virsh("undefine theirs")
    theirs.watch.wait(
        lambda told: told["by"] == "libvirt" and told.get("uuid") == theirs.uuid and told["event"] == UNDEFINED,
        "libvirt's event",
        since=since,
    )
    assert theirs.api.VM.get_power_state(vm) == "Halted"
    theirs.forget()
    assert theirs.api.VM.get_all_records_where(f'field "uuid" = "{theirs.uuid}"') == {}
    assert theirs.state() == ""


# --- xl


def test_a_domain_of_xl_is_shown_as_it_was_made(of_xl: OfXl) -> None:
    told = of_xl.xl("create /root/of-xl.cfg").seen(uuid=of_xl.uuid, power_state="Running", domid=str(of_xl.domid()))
    record = of_xl.api.VM.get_record(told["ref"])
    assert record["name_label"] == "of xl"
    assert record["domain_type"] == "pv"
    assert record["PV_args"] == "console=hvc0 quiet ip4=10.0.2.161/24"
    [vif], [vbd] = record["VIFs"], record["VBDs"]
    assert of_xl.api.VIF.get_MAC(vif) == "00:16:3e:00:01:61"
    assert of_xl.api.network.get_bridge(of_xl.api.VIF.get_network(vif)) == "br0"
    assert of_xl.api.VBD.get_device(vbd) == "xvda"
    assert of_xl.api.VDI.get_location(of_xl.api.VBD.get_VDI(vbd)) == "/var/lib/libvirt/images/of-xl.img"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("pause", ()),
        ("clean_shutdown", ()),
        ("hard_shutdown", ()),
        ("hard_reboot", ()),
        ("suspend", ()),
        ("set_name_label", ("mine",)),
        ("set_memory_dynamic_range", (str(100 << 20), str(100 << 20))),
        ("set_VCPUs_number_live", ("1",)),
    ],
)
def test_a_domain_of_xl_can_only_be_looked_at(of_xl: OfXl, verb: str, arguments: tuple[str, ...]) -> None:
    vm = of_xl.running().vm
    with pytest.raises(XenAPI.Failure) as refused:
        getattr(of_xl.api.VM, verb)(vm, *arguments)
    assert refused.value.details[0] == "OPERATION_NOT_ALLOWED"
    assert "made with xl" in refused.value.details[1]
    record = of_xl.record
    assert record["power_state"] == "Running"
    assert record["name_label"] == "of xl"
    assert set(record["allowed_operations"]) <= {"get_boot_record"}


def test_a_domain_of_xl_is_paused_and_unpaused(of_xl: OfXl) -> None:
    domid = of_xl.running().domid()
    of_xl.xl(f"pause {domid}").seen(uuid=of_xl.uuid, power_state="Paused")
    of_xl.xl(f"unpause {domid}").seen(uuid=of_xl.uuid, power_state="Running")


def test_a_domain_of_xl_is_renamed(of_xl: OfXl) -> None:
    domid = of_xl.running().domid()
    of_xl.xl(f"rename {domid} 'another name'").seen(uuid=of_xl.uuid, name_label="another name")
    of_xl.xl(f"rename {domid} 'of xl'").seen(uuid=of_xl.uuid, name_label="of xl")


def test_a_card_that_xl_attaches_and_detaches_comes_and_goes(of_xl: OfXl) -> None:
    vm, domid = of_xl.running().vm, of_xl.domid()
    told = of_xl.xl(f"network-attach {domid} mac=00:16:3e:00:01:63 bridge=br0").seen(
        "vif", VM=vm, MAC="00:16:3e:00:01:63", currently_attached=True
    )
    of_xl.xl(f"network-detach {domid} 00:16:3e:00:01:63").seen("vif", ref=told["ref"], operation="del")


def test_a_domain_of_xl_is_saved_and_restored(of_xl: OfXl) -> None:
    before = of_xl.running().wait_until_it_answers()
    of_xl.xl(f"save {of_xl.domid()} /root/of-xl.saved").seen(uuid=of_xl.uuid, power_state="Halted", domid="-1")
    restored = of_xl.xl("restore /root/of-xl.saved")
    restored.seen(uuid=of_xl.uuid, power_state="Running", domid=str(of_xl.domid()))
    assert of_xl.wait_until_it_answers()["boot"] == before["boot"]


def test_a_domain_of_xl_that_is_destroyed_is_halted_and_soon_forgotten(of_xl: OfXl) -> None:
    """It stays for a while as a halted one: a domain that reboots comes back with the same uuid."""
    domid = of_xl.running().domid()
    change = of_xl.xl(f"destroy {domid}")
    told = change.seen(uuid=of_xl.uuid, power_state="Halted", domid="-1")
    of_xl.watch.wait(
        lambda line: line["by"] == "api" and line.get("ref") == told["ref"] and line["operation"] == "del",
        "the machine is forgotten",
        since=0,
    )

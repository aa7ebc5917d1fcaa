"""What the other tests on a real Xen build on: the lab itself, its guests, and the agent's service in it."""

from __future__ import annotations

import pytest

from lab.dom0 import Dom0
from tests.xen.installed import InstalledAgent, wait_until

ADDRESS = "10.0.2.150"
WITH_A_PCI_DEVICE = f"""
<domain type='xen'>
  <name>spare</name><memory unit='MiB'>160</memory><vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>/var/lib/lab/vmlinux</kernel><initrd>/var/lib/lab/guest.cpio.gz</initrd>
    <cmdline>console=hvc0 quiet ip4={ADDRESS}/24</cmdline>
  </os>
  <devices>
    <interface type='bridge'><mac address='00:16:3e:00:01:50'/><source bridge='br0'/></interface>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0' bus='0' slot='0x10' function='0'/></source>
    </hostdev>
    <console type='pty'/>
  </devices>
</domain>
"""


def test_libvirt_drives_xen(dom0: Dom0) -> None:
    assert "Running hypervisor: Xen 4.17" in dom0.run("virsh -c xen:///system version").stdout


def test_files_go_in_and_out(dom0: Dom0, tmp_path_factory: pytest.TempPathFactory) -> None:
    sent, received = tmp_path_factory.mktemp("sent"), tmp_path_factory.mktemp("received")
    (sent / "file").write_bytes(bytes(range(256)))
    dom0.put(sent, "/root/some/folder")
    dom0.put(sent / "file", "/root/some/other name")
    dom0.get("/root/some", received)
    for path in ("folder/file", "other name"):
        assert (received / path).read_bytes() == bytes(range(256))


def test_the_machine_has_a_pci_device_to_give(dom0: Dom0) -> None:
    dom0.run("cat >/root/spare.xml && virsh -c xen:///system create /root/spare.xml", input=WITH_A_PCI_DEVICE)
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

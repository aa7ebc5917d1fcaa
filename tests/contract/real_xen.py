"""The Xen of this host, for contracts that run in its control domain: only where asked for, and then nothing else.

``XEN_HOST_AGENT_CONTRACT=xen:///system pytest tests/contract`` runs every contract on the ports that ``drivers.open``
puts together for this URI. Machines are really started: their kernel is the lab's, and what a test gives them as disks
is made as sparse files at these very places. So this is for a host that nobody misses, such as dom0 of the lab, where
``tests/xen/test_contract.py`` runs it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt
import pytest

import drivers
from agent import classes as c
from agent.ports import Domains, Machine
from agent.store.store import Store
from tests.drivers.machines import MIB, Machines

URI = os.environ.get("XEN_HOST_AGENT_CONTRACT", "")
"""The hypervisor to run the contracts on; empty for those that every machine can play."""

NAME = "real_xen"
PATIENCE_SECONDS = 300.0
"""An emulated machine on busy processors is slow; that is no failure."""
POLL_SECONDS = 0.3
"""Between two looks at what is waited for: each costs the emulated machine a good part of that."""
LAB = Path("/var/lib/lab")
KERNELS = Path("/boot/lab")
"""A folder that the agent takes kernels from; the lab's are linked there."""
BRIDGES = ("xenbr0", "xenbr1")
"""Where ``Machines`` have their cards."""
DISK_BYTES = 16 * MIB

NOT_ON_XEN: Mapping[str, str] = {
    "test_a_pci_device_is_one_machine_s": "the lab has one PCI device to spare, and this needs two",
    "test_an_hvm_guest_is_given_a_pci_device_and_gives_it_back": "a guest that has not booted keeps its device",
    "test_a_paravirtual_guest_has_its_cd_only_while_there_is_a_medium": "QEMU 7.2 serves no file read-only",
    "test_a_played_vlan_is_a_card_of_the_host": "it is about the simulation",
    "test_a_clone_shares_the_blocks_of_its_disk_until_one_of_them_writes": "the lab makes no XFS and no btrfs",
}
"""Cases that a real Xen cannot hold to, by the name of the function, and why."""


def on(*others: Any) -> Sequence[Any]:
    """The parameters of a fixture: the real Xen where it is asked for, else `others`."""
    return [NAME] if URI else others


def leave_out(items: Sequence[pytest.Item]) -> None:
    """Skip what NOT_ON_XEN names, in its words, where the contracts run on a real Xen."""
    for item in items:
        reason = NOT_ON_XEN.get(getattr(item, "originalname", item.name))
        if URI and reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@contextmanager
def opened(state: Path) -> Iterator[Machine]:
    """All ports of the hypervisor, as the agent has them."""
    machine = drivers.open(URI, state)
    yield machine
    machine.close()


@contextmanager
def prepared() -> Iterator[None]:
    """The host with the kernels and bridges that machines here need."""
    assert (LAB / "vmlinux").exists(), f"a contract on a real Xen needs the lab's kernels in {LAB}"
    KERNELS.mkdir(exist_ok=True)
    for name in ("vmlinux", "vmlinuz", "guest.cpio.gz"):
        if not (KERNELS / name).exists():
            (KERNELS / name).symlink_to(LAB / name)
    made = [bridge for bridge in BRIDGES if not Path("/sys/class/net", bridge).exists()]
    for bridge in made:
        subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
    yield
    for bridge in made:
        subprocess.run(["ip", "link", "delete", bridge], check=True)


class RealMachines(Machines):
    """Machines that can be started: the lab's guest is in them, and their disks are there."""

    spare = "0000:00:10.0"
    not_resettable = "0000:00:1f.3"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.made: set[str] = set()
        """The uuids of all that may have a domain."""
        self._files: set[Path] = set()
        self._folders: set[Path] = set()

    def vm(self, name: str = "web", uuid: str = "", **fields: Any) -> c.VM:
        """A machine as the others, with the lab's guest unless it has a kernel of its own or none."""
        # Every processor more makes the boot of an emulated guest longer.
        fields = {"VCPUs_max": 1, "VCPUs_at_startup": 1} | fields
        if "PV_kernel" not in fields:
            guest = {
                "PV_kernel": f"{KERNELS}/vmlinux",
                "PV_ramdisk": f"{KERNELS}/guest.cpio.gz",
                "PV_args": "console=hvc0 quiet",
            }
            fields = guest | fields
        vm = super().vm(name, uuid, **fields)
        self.made.add(vm.uuid)
        return vm

    def vdi(self, location: str, **fields: Any) -> c.VDI:
        """A disk whose file is there."""
        self._make_file(Path(location))
        return super().vdi(location, **fields)

    def _make_file(self, path: Path) -> None:
        """A sparse image there, of the format that its name says."""
        if path.exists():
            return
        self._folders.update(folder for folder in path.parents if not folder.exists())
        path.parent.mkdir(parents=True, exist_ok=True)
        form = "qcow2" if path.suffix == ".qcow2" else "raw"
        subprocess.run(["qemu-img", "create", "-q", "-f", form, path, str(DISK_BYTES)], check=True)
        self._files.add(path)

    def close(self) -> None:
        """Remove the domains that are left, and the files."""
        with _connection() as handle:
            for domain in handle.listAllDomains():
                if domain.UUIDString() in self.made:
                    _remove(domain)
        for path in self._files:
            path.unlink(missing_ok=True)
        for folder in sorted(self._folders, reverse=True):
            folder.rmdir()


@contextmanager
def _connection() -> Iterator[libvirt.virConnect]:
    handle = libvirt.open(URI)
    try:
        yield handle
    finally:
        handle.close()


def _remove(domain: libvirt.virDomain) -> None:
    wait_until(lambda: domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE, f"{domain.name()} is at rest")
    if domain.isActive():
        domain.destroy()
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


def define(text: str) -> None:
    """Define a domain, as an admin with a tool of his own."""
    with _connection() as handle:
        handle.defineXML(text)


def definition_of(uuid: str) -> str:
    """The XML of a domain's definition."""
    with _connection() as handle:
        return str(handle.lookupByUUIDString(uuid).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))


def guest_answers(domains: Domains, vm: c.VM) -> bool:
    """Whether the guest's user space is there, and told so: what is asked of it earlier it may never hear."""
    seen = domains.look(vm.uuid)
    return seen is not None and seen.guest is not None and bool(seen.guest.memory)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition for as long as emulation may need; fail naming it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(POLL_SECONDS)

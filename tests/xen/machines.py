"""The lab's tiny guest as a machine of the agent's: made, changed and ended through the API, from outside.

What a guest says of itself comes over dom0, from the guest (docs/xen.md tells what it can be asked).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import XenAPI

from lab.dom0 import Dom0
from tests.xen.installed import InstalledAgent, wait_until

MIB = 1 << 20
KERNELS = "/boot/lab"
"""A folder that the agent takes kernels from; the lab's are linked there by `Workshop.prepare`."""


@dataclass
class Machine:
    """A machine, and the guest in it."""

    workshop: Workshop
    vm: str
    uuid: str
    kind: str
    address: str

    @property
    def api(self) -> Any:
        """The stock client's session."""
        return self.workshop.api

    @property
    def dom0(self) -> Dom0:
        return self.workshop.dom0

    @property
    def power_state(self) -> str:
        return str(self.api.VM.get_power_state(self.vm))

    @property
    def domid(self) -> int:
        return int(self.api.VM.get_domid(self.vm))

    def is_paused_in_xen(self) -> bool:
        """What `xl list` says; a guest that was idle when it was paused is blocked as well."""
        state = self.dom0.run(f"xl list {self.domid}").stdout.rsplit(None, 2)[1]
        return state[2] == "p"

    def run(self, command: str, *, check: bool = True) -> str:
        """Have the guest do something; what it printed."""
        return self.dom0.guest(self.address, command, check=check)

    def state(self) -> dict[str, str]:
        """What the guest sees of itself; empty while it does not answer."""
        return self.dom0.guest_state(self.address)

    def number(self, key: str) -> int:
        """One of its numbers; -1 while it does not answer or has no such thing."""
        return int(self.state().get(key, -1))

    def start(self, *, paused: bool = False) -> Machine:
        """Start it; unless `paused`, wait until the guest answers."""
        self.api.VM.start(self.vm, paused, False)
        if not paused:
            self.wait_until_it_answers()
        return self

    def bring_up(self) -> Machine:
        """Running and answering, from whatever state it is in."""
        match self.power_state:
            case "Halted":
                self.api.VM.start(self.vm, False, False)
            case "Suspended":
                self.api.VM.resume(self.vm, False, False)
            case "Paused":
                self.api.VM.unpause(self.vm)
        self.wait_until_it_answers()
        return self

    def halt(self) -> Machine:
        """Off, from whatever state it is in."""
        if self.power_state != "Halted":
            self.api.VM.hard_shutdown(self.vm)
        return self

    def wait_for_another_boot(self, before: str) -> None:
        """Until the guest answers, and it is not the one that was booted as `before`."""
        wait_until(lambda: self.state().get("boot", before) != before, f"the {self.kind} guest was booted anew")

    def wait_until_it_answers(self) -> dict[str, str]:
        """Until its user space is there: a guest asked to go off earlier never does."""
        wait_until(lambda: "ticks" in self.state(), f"the {self.kind} guest answers")
        return self.state()

    def wait_for(self, power_state: str) -> None:
        """Until the API shows the state."""
        wait_until(lambda: self.power_state == power_state, f"the {self.kind} machine is {power_state}")

    def add_disk(self, size: int = 16 * MIB, *, device: str = "0", plug: bool = False) -> str:
        """A new disk of its own, in the machine; returns the VBD."""
        record = {"name_label": f"disk {device}", "SR": self.workshop.SR, "virtual_size": str(size), "type": "user"}
        vdi = self.api.VDI.create(record)
        vbd = self.api.VBD.create({"VM": self.vm, "VDI": vdi, "userdevice": device, "mode": "RW", "type": "Disk"})
        if plug:
            self.api.VBD.plug(vbd)
        return str(vbd)

    def add_drive(self) -> str:
        """An empty CD drive; returns the VBD. A PV or PVH guest sees nothing of it before it has a medium."""
        record = {"VM": self.vm, "VDI": "OpaqueRef:NULL", "userdevice": "3", "mode": "RO", "type": "CD", "empty": True}
        return str(self.api.VBD.create(record))

    def add_card(self, *, device: str = "0", MAC: str = "", **fields: Any) -> str:
        """A card on the bridge that dom0 is on; returns the VIF."""
        record = {"VM": self.vm, "network": self.workshop.network, "device": device, "MAC": MAC, **fields}
        return str(self.api.VIF.create(record))

    def remove(self) -> None:
        """End it, however it is, with its disks."""
        if self.power_state != "Halted":
            self.api.VM.hard_shutdown(self.vm)
        vdis = []
        for vbd in self.api.VM.get_VBDs(self.vm):
            record = self.api.VBD.get_record(vbd)
            if not record["empty"] and record["type"] == "Disk":
                vdis.append(record["VDI"])
            self.api.VBD.destroy(vbd)
        for vif in self.api.VM.get_VIFs(self.vm):
            self.api.VIF.destroy(vif)
        for vdi in vdis:
            self.api.VDI.destroy(vdi)
        self.api.VM.destroy(self.vm)


@dataclass
class Workshop:
    """Makes machines, on the lab's one bridge and with disks in a folder of dom0's, and ends those that are left."""

    agent: InstalledAgent
    session: XenAPI.Session
    network: str = ""
    SR: str = ""
    made: list[Machine] = field(default_factory=list)
    _addresses: int = 100

    @property
    def api(self) -> Any:
        return self.session.xenapi

    @property
    def dom0(self) -> Dom0:
        return self.agent.dom0

    def prepare(self) -> Workshop:
        """The bridge, the storage, and kernels where the agent takes them from."""
        self.dom0.run(f"mkdir -p {KERNELS} && ln -sf /var/lib/lab/vmlinu* /var/lib/lab/guest.cpio.gz {KERNELS}/")
        [self.network] = [
            network for network, record in self.api.network.get_all_records().items() if record["bridge"] == "br0"
        ]
        found = self.api.SR.get_by_name_label("lab disks")
        [host] = self.api.host.get_all()
        place = {"location": "/var/lib/libvirt/images"}
        self.SR = (
            found[0] if found else self.api.SR.create(host, place, "0", "lab disks", "", "file", "user", False, {})
        )
        return self

    def make(self, kind: str, name: str = "", *, memory: int = 0, card: bool = True, **fields: Any) -> Machine:
        """A halted machine of the kind, with a card and an address of its own; `fields` are more of VM.create."""
        self._addresses += 1
        address = f"10.0.2.{self._addresses}"
        memory = memory or (256 if kind == "hvm" else 160) * MIB
        record = {
            "name_label": name or f"{kind} {self._addresses}",
            "domain_type": kind,
            "memory_static_min": str(96 * MIB),
            "memory_dynamic_min": str(memory),
            "memory_dynamic_max": str(memory),
            "memory_static_max": str(memory),
            "VCPUs_max": "1",
            "VCPUs_at_startup": "1",
            "PV_kernel": f"{KERNELS}/{'vmlinuz' if kind == 'hvm' else 'vmlinux'}",
            "PV_ramdisk": f"{KERNELS}/guest.cpio.gz",
            "PV_args": f"{'xen_legacy_crash' if kind == 'hvm' else 'console=hvc0'} quiet ip4={address}/24",
            **fields,
        }
        vm = str(self.api.VM.create(record))
        machine = Machine(self, vm, str(self.api.VM.get_uuid(vm)), kind, address)
        self.made.append(machine)
        if card:
            machine.add_card()
        return machine

    def close(self) -> None:
        """Remove what was made and is still there."""
        for machine in self.made:
            if self.api.VM.get_all_records_where(f'field "uuid" = "{machine.uuid}"'):
                machine.remove()

"""Machines with disks and cards, made in a store as the agent makes them: both ends of every relation are there."""

from __future__ import annotations

from typing import Any

from agent import classes as c
from agent.classes.enums import DomainType, OnNormalExit, VbdMode, VbdType, VdiType
from agent.store.store import Store

MIB = 2**20
WEB = "a4c1a1de-0000-4000-8000-000000000001"


class Machines:
    """Makes machines on one network and one storage."""

    spare = "0000:01:00.0"
    """A PCI device that the host can give away."""
    not_resettable = "0000:02:00.0"
    """One that libvirt cannot reset, and so does not give away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.transaction():
            self.sr = store.add(c.SR(name_label="disks"))
            self.host = store.add(c.Host())
        self.network, self.other_network = self.on_bridge("xenbr0"), self.on_bridge("xenbr1")

    def on_bridge(self, bridge: str) -> c.Network:
        """A network on this bridge of the host."""
        with self._store.transaction():
            return self._store.add(c.Network(name_label="lan", bridge=bridge))

    def vm(self, name: str = "web", uuid: str = "", **fields: Any) -> c.VM:
        """A machine that can be started: paravirtual unless told otherwise, with a kernel of its own."""
        chosen: dict[str, Any] = {
            "PV_kernel": "/boot/vmlinuz",
            "domain_type": DomainType.PV,
            "memory_static_max": 256 * MIB,
            "memory_dynamic_max": 128 * MIB,
            "VCPUs_max": 4,
            "VCPUs_at_startup": 2,
            "actions_after_reboot": OnNormalExit.RESTART,
        } | fields
        made = c.VM(name_label=name, **chosen)
        if uuid:
            made.uuid = uuid
        with self._store.transaction():
            return self._store.add(made)

    def hvm(self, name: str = "win", uuid: str = "", **fields: Any) -> c.VM:
        """A fully virtualised one."""
        return self.vm(name, uuid, **{"PV_kernel": "", "domain_type": DomainType.HVM} | fields)

    def vdi(self, location: str, **fields: Any) -> c.VDI:
        """A disk in the storage, of the format that its name says."""
        form = {"qcow2": "qcow2", "vhd": "vhd"}.get(location.rpartition(".")[2], "raw")
        made = c.VDI(SR=self.sr, type=VdiType.USER, **fields)
        made.format = form
        made.location = location
        with self._store.transaction():
            return self._store.add(made)

    def disk(self, vm: c.VM, place: str, location: str, **fields: Any) -> c.VBD:
        """A disk of the machine."""
        fields = {"type": VbdType.DISK, "mode": VbdMode.RW} | fields
        made = c.VBD(VM=vm, VDI=self.vdi(location), userdevice=place, **fields)
        with self._store.transaction():
            return self._store.add(made)

    def drive(self, vm: c.VM, place: str, location: str = "") -> c.VBD:
        """A CD drive of the machine, empty without a `location`."""
        vdi = self.vdi(location) if location else None
        made = c.VBD(VM=vm, VDI=vdi, userdevice=place, type=VbdType.CD, mode=VbdMode.RO, empty=vdi is None)
        with self._store.transaction():
            return self._store.add(made)

    def card(self, vm: c.VM, device: str, **fields: Any) -> c.VIF:
        """A network card of the machine."""
        chosen: dict[str, Any] = {"network": self.network, "MAC": f"00:16:3e:00:00:0{device}"} | fields
        with self._store.transaction():
            return self._store.add(c.VIF(VM=vm, device=device, **chosen))

    def passed_through(self, vm: c.VM, address: str) -> c.DPCI:
        """A PCI device of the host that the machine was given."""
        device = c.PPCI()
        device.name = address
        domain, bus, last = address.split(":")
        slot, _, func = last.partition(".")
        device.domain, device.bus, device.slot, device.func = (int(part, 16) for part in (domain, bus, slot, func))
        with self._store.transaction():
            device.host = self.host
            return self._store.add(c.DPCI(VM=vm, PPCI=self._store.add(device)))

    def tpm(self, vm: c.VM) -> c.VTPM:
        """A virtual TPM that the machine is to have."""
        with self._store.transaction():
            return self._store.add(c.VTPM(VM=vm))

    def change(self, entity: Any, **values: Any) -> None:
        """Assign fields, as a client's setter does."""
        with self._store.transaction():
            for name, value in values.items():
                setattr(entity, name, value)

    def remove(self, entity: Any) -> None:
        """Destroy an object."""
        with self._store.transaction():
            self._store.destroy(entity)

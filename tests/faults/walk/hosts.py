"""What is made on a stage for verbs to work on. Each maker makes the same each time it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from agent.classes import (
    DPCI,
    PIF,
    PPCI,
    PUSB,
    SR,
    VBD,
    VDI,
    VIF,
    VLAN,
    VM,
    VMSS,
    VUSB,
    Bond,
    CpuPool,
    Crashdump,
    HostCpu,
    Network,
    VMAppliance,
)
from agent.model.entity import Entity
from agent.ports import SeenInterface
from tests.faults.walk.walk import Stage

MIB = 2**20
NULL = "OpaqueRef:NULL"
SPARE = "0000:01:00.0"
"""A PCI device of the simulated host that it can give away."""
CARDS = [
    SeenInterface("eth0", "52:54:00:00:00:01", 1500, True, True, 1000, True, "xenbr0", "192.0.2.10"),
    SeenInterface("eth1", "52:54:00:00:00:02", 1500, True, True, 1000, True, "xenbr1"),
    SeenInterface("eth2", "52:54:00:00:00:03", 1500, True, True, 1000, True, "xenbr2"),
]
"""The cards of the host, instead of those of the machine that runs the tests."""
DISKS = """<provision><disk device="0" size="1048576" sr="" bootable="true" type="system"/>
<disk device="1" size="1048576" sr="" type="user"/></provision>"""

E = TypeVar("E", bound=Entity)


def every(stage: Stage, cls: type[E], **wanted: Any) -> list[E]:
    """All objects with these fields."""
    return [each for each in stage.door.store.all(cls) if all(vars(each)[key] == wanted[key] for key in wanted)]


def one(stage: Stage, cls: type[E], **wanted: Any) -> E:
    [found] = every(stage, cls, **wanted)
    return found


def sr(stage: Stage) -> SR:
    """The storage that there is from the start."""
    return one(stage, SR, name_label="default-pool")


def network(stage: Stage) -> Network:
    return one(stage, Network, name_label="default")


# --- disks


def disk(stage: Stage, format: str = "") -> VDI:
    args = {"SR": sr(stage).ref, "virtual_size": MIB, "name_label": "disk", "type": "user"}
    made: VDI = stage.door("VDI.create", args | ({"sm_config": {"type": format}} if format else {}))
    return made


def cloned(stage: Stage) -> VDI:
    """A disk that is laid over a hidden base, as another is."""
    vdi = disk(stage, "qcow2")
    stage.door("VDI.clone", vdi)
    stage.door.idle()
    return vdi


def storage(stage: Stage, content: str = "user") -> SR:
    """Storage of its own, attached."""
    host = stage.door.observer.host
    given = {"location": f"/srv/{uuid4()}"}
    made: SR = stage.door("SR.create", host, given, 0, f"more {uuid4()}", "", "file", content, False, {})
    return made


def detached(stage: Stage) -> SR:
    made = storage(stage)
    stage.door("PBD.unplug", made.PBDs[0])
    return made


def medium(stage: Stage) -> VDI:
    """A CD image."""
    library = every(stage, SR, type="file", content_type="iso") or [storage(stage, "iso")]
    folder = stage.state / "storage" / library[0].uuid
    name = f"{len(library[0].VDIs)}.iso"
    (folder / name).write_bytes(bytes(4096))
    stage.door("SR.scan", library[0])
    return next(vdi for vdi in library[0].VDIs if Path(vdi.location).name == name)


# --- machines


def halted(stage: Stage, *, format: str | None = "", **fields: Any) -> VM:
    """A machine with a card, and a disk of a format or none."""
    given = {"PV_bootloader": "pygrub"} | fields
    memory = {"memory_static_max": 256 * MIB, "memory_dynamic_max": 128 * MIB, "memory_dynamic_min": 32 * MIB}
    vm = stage.door.vm(VCPUs_max=4, **memory, **given)
    if format is not None:
        vdi = disk(stage, format)
        stage.door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0", "bootable": True})
    stage.door("VIF.create", {"VM": vm.ref, "network": network(stage).ref, "device": "0"})
    stage.door.idle()
    return vm


def bare(stage: Stage, **fields: Any) -> VM:
    """A machine that has nothing."""
    made = stage.door.vm(**fields)
    stage.door.idle()
    return made


def running(stage: Stage, **fields: Any) -> VM:
    vm = halted(stage, **fields)
    stage.door("VM.start", vm, False, False)
    return vm


def paused(stage: Stage) -> VM:
    vm = halted(stage)
    stage.door("VM.start", vm, True, False)
    return vm


def suspended(stage: Stage) -> VM:
    vm = running(stage)
    stage.door("VM.suspend", vm)
    return vm


def hvm(stage: Stage, **fields: Any) -> VM:
    return halted(stage, PV_bootloader="", HVM_boot_policy="BIOS order", **fields)


def template(stage: Stage) -> VM:
    """One that says which disks it wants."""
    return bare(stage, is_a_template=True, other_config={"disks": DISKS})


def snapshot(stage: Stage, vm: VM) -> VM:
    made: VM = stage.door("VM.snapshot", vm, "kept")
    stage.door.idle()
    return made


def checkpoint(stage: Stage) -> VM:
    """A snapshot with the memory of a machine that runs on."""
    made: VM = stage.door("VM.checkpoint", running(stage), "kept")
    stage.door.idle()
    return made


def loose_disk(stage: Stage, vm: VM) -> VBD:
    """A disk that the running machine does not have yet."""
    vdi = disk(stage)
    made: VBD = stage.door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "1"})
    stage.door.idle()
    return made


def plugged_disk(stage: Stage) -> VBD:
    made = loose_disk(stage, running(stage))
    stage.door("VBD.plug", made)
    return made


def drive(stage: Stage, vdi: VDI | None = None) -> VBD:
    """A CD drive of a running HVM machine."""
    vm = hvm(stage)
    given = {"VM": vm.ref, "VDI": vdi.ref if vdi else NULL, "userdevice": "3", "type": "CD"}
    made: VBD = stage.door("VBD.create", given)
    stage.door.idle()
    stage.door("VM.start", vm, False, False)
    return made


def loose_card(stage: Stage, vm: VM) -> VIF:
    made: VIF = stage.door("VIF.create", {"VM": vm.ref, "network": network(stage).ref, "device": "1"})
    stage.door.idle()
    return made


def card(stage: Stage, vm: VM) -> VIF:
    return vm.VIFs[0]


def crashed(stage: Stage) -> Crashdump:
    vm = halted(stage, actions_after_crash="coredump_and_destroy")
    stage.door("VM.start", vm, False, False)
    before = every(stage, Crashdump)
    stage.door("VM.send_sysrq", vm, "c")
    stage.settle()
    [made] = [each for each in every(stage, Crashdump) if each not in before]
    return made


def appliance(stage: Stage, maker: Any) -> VMAppliance:
    made: VMAppliance = stage.door("VM_appliance.create", {"name_label": "both"})
    for order in (1, 2):
        vm = maker(stage)
        stage.door("VM.set_appliance", vm, made)
        stage.door("VM.set_order", vm, order)
    stage.door.idle()
    return made


def schedule(stage: Stage) -> VMSS:
    made: VMSS = stage.door("VMSS.create", {"name_label": "nightly", "frequency": "daily", "type": "snapshot"})
    stage.door("VM.set_snapshot_schedule", halted(stage), made)
    stage.door.idle()
    return made


# --- the host's


def bridge(stage: Stage) -> Network:
    """A network that the agent made."""
    made: Network = stage.door("network.create", {"name_label": "made"})
    return made


def pif(stage: Stage, device: str) -> PIF:
    return one(stage, PIF, device=device)


def vlan(stage: Stage) -> VLAN:
    made: VLAN = stage.door("VLAN.create", pif(stage, "eth1"), 7, bridge(stage))
    return made


def bond(stage: Stage, mode: str = "active-backup") -> Bond:
    cards = [pif(stage, device).ref for device in ("eth1", "eth2")]
    made: Bond = stage.door("Bond.create", bridge(stage), cards, "", mode)
    return made


def spare(stage: Stage) -> PPCI:
    return one(stage, PPCI, name=SPARE)


def stick(stage: Stage) -> PUSB:
    """A USB device that machines may have."""
    found = min(every(stage, PUSB), key=lambda pusb: pusb.path)
    stage.door("PUSB.set_passthrough_enabled", found, True)
    return found


def free_cpus(stage: Stage) -> list[HostCpu]:
    """Processors that are in no pool: two of them."""
    first = one(stage, CpuPool, name_label="Pool-0")
    while len(free := [cpu for cpu in every(stage, HostCpu) if cpu.in_pool is None]) < 2:
        stage.door("cpu_pool.remove_host_CPU_live", first, first.host_CPUs[-1])
    return free


def cpu_pool(stage: Stage, *, activated: bool) -> CpuPool:
    free_cpus(stage)
    made: CpuPool = stage.door("cpu_pool.create", {"name_label": "mine", "ncpu": 1})
    if activated:
        stage.door("cpu_pool.activate", made)
    return made


def switched(stage: Stage, *, up: bool) -> PIF:
    """A card of the host that is on, or off."""
    found = pif(stage, "eth1")
    stage.door("PIF.plug" if up else "PIF.unplug", found)
    return found


def hvm_running(stage: Stage) -> VM:
    vm = hvm(stage)
    stage.door("VM.start", vm, False, False)
    return vm


def given(stage: Stage, vm: VM) -> DPCI:
    """The PCI device that a machine has."""
    made: DPCI = stage.door("DPCI.create", {"VM": vm.ref, "PPCI": spare(stage).ref})
    return made


def loose_stick(stage: Stage) -> VUSB:
    made: VUSB = stage.door("VUSB.create", hvm(stage), stick(stage).USB_group, {})
    stage.door.idle()
    return made


def plugged_stick(stage: Stage) -> VUSB:
    made = loose_stick(stage)
    stage.door("VM.start", made.VM, False, False)
    return made

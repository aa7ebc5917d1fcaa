"""A machine that only exists in memory: all the ports, obedient, and failing on demand. For tests of the agent
alone.
"""

from __future__ import annotations

import hashlib
import itertools
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from agent.classes import DPCI, PBD, SR, VBD, VDI, VIF, VM, VUSB, Console, Network
from agent.classes.devices import name_of
from agent.classes.enums import BondMode, ImageFormat, PowerState, VbdType
from agent.classes.lifecycle import small
from agent.errors import DeviceAlreadyDetached, SrFull, SrUnknownDriver, ValueNotSupported, VMBadPowerState, XenError
from agent.ports import (
    DomainReading,
    HostReading,
    Machine,
    Reading,
    SeenBond,
    SeenConsole,
    SeenCpu,
    SeenCpuPool,
    SeenDisk,
    SeenDomain,
    SeenDump,
    SeenHost,
    SeenInterface,
    SeenNetwork,
    SeenNic,
    SeenPci,
    SeenPool,
    SeenScsi,
    SeenSecurity,
    SeenStorageType,
    SeenUsb,
    SeenVolume,
    VolumeReader,
    VolumeWriter,
    WantedBond,
)
from drivers.cpu_pools import SimulatedCpuPools
from drivers.qcow2 import judge

GIB = 2**30
LOCAL = "11111111-1111-4111-8111-111111111111"
LAN = "22222222-2222-4222-8222-222222222222"
SPARE = "0000:00:10.0"
"""The address of a PCI device that the host has no use for."""
Hook = Callable[[], None]


class Failing:
    """Fails on demand: what `plan` has under a method's name is called instead of doing it."""

    def __init__(self) -> None:
        self.plan: dict[str, Hook] = {}
        self.calls: list[str] = []

    def meet(self, name: str) -> None:
        self.calls.append(name)
        if (hook := self.plan.get(name)) is not None:
            hook()

    def fail(self, name: str, error: XenError) -> None:
        """Let the method raise this error from now on."""

        def hook() -> None:
            raise error

        self.plan[name] = hook


class FakeDomains(Failing):
    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, SeenDomain] = {}
        self.saved: set[str] = set()
        self.images: dict[str, bytes] = {}
        self.pinned: dict[str, str] = {}
        self.memories: dict[str, str] = {}
        """Snapshots with memory, and whose it is."""
        self.ready: dict[str, list[str]] = {}
        """Machines that something was made ready for, and the disks it has."""
        self.dumps: list[SeenDump] = []
        self.consoles: Sequence[SeenConsole] = (SeenConsole("rfb", "127.0.0.1:5900"),)
        """Those of machines that are started from now on."""
        self.domids = itertools.count(1)
        self.changed: Callable[[str | None], None] = lambda uuid: None
        self.crashed: Callable[[str], None] | None = None

    def watch(self, changed: Callable[[str | None], None], crashed: Callable[[str], None] | None = None) -> None:
        self.changed, self.crashed = changed, crashed

    def list(self) -> Sequence[SeenDomain]:
        self.meet("list")
        return list(self.known.values())

    def running(self) -> Mapping[str, int]:
        """The number of every running or paused domain."""
        live = (PowerState.RUNNING, PowerState.PAUSED)
        return {uuid: seen.domid for uuid, seen in self.known.items() if seen.power_state in live}

    def look(self, uuid: str) -> SeenDomain | None:
        self.meet("look")
        return self.known.get(uuid)

    def check(self, vm: VM) -> None:
        self.meet("check")

    def define(self, vm: VM) -> None:
        self.meet("define")
        old = self.known.get(vm.uuid)
        if old is None or old.power_state in (PowerState.HALTED, PowerState.SUSPENDED):
            state = old.power_state if old is not None else PowerState.HALTED
            self.known[vm.uuid] = replace(self._seen(vm), power_state=state)

    def undefine(self, vm: VM) -> None:
        self.meet("undefine")
        self.known.pop(vm.uuid, None)

    def start(self, vm: VM, paused: bool) -> None:
        self.meet("start")
        self._require(vm, PowerState.HALTED)
        state = PowerState.PAUSED if paused else PowerState.RUNNING
        seen = replace(self._seen(vm), power_state=state, domid=next(self.domids), consoles=self.consoles)
        self.known[vm.uuid] = seen

    def pause(self, vm: VM) -> None:
        self._move("pause", vm, PowerState.RUNNING, PowerState.PAUSED)

    def unpause(self, vm: VM) -> None:
        self._move("unpause", vm, PowerState.PAUSED, PowerState.RUNNING)

    def shutdown(self, vm: VM) -> None:
        self._move("shutdown", vm, PowerState.RUNNING, PowerState.HALTED)

    def reboot(self, vm: VM) -> None:
        self._move("reboot", vm, PowerState.RUNNING, PowerState.RUNNING)
        self.known[vm.uuid] = replace(self.known[vm.uuid], domid=next(self.domids))

    def destroy(self, vm: VM) -> None:
        self.meet("destroy")
        self.known[vm.uuid] = replace(self.known[vm.uuid], power_state=PowerState.HALTED, domid=-1)

    def suspend(self, vm: VM) -> None:
        self._move("suspend", vm, PowerState.RUNNING, PowerState.SUSPENDED)

    def resume(self, vm: VM, paused: bool) -> None:
        self._move("resume", vm, PowerState.SUSPENDED, PowerState.PAUSED if paused else PowerState.RUNNING)
        self.known[vm.uuid] = replace(self.known[vm.uuid], domid=next(self.domids))

    def save_memory(self, vm: VM, snapshot: str) -> None:
        self.suspend(vm)
        self.meet("save_memory")
        self.memories[snapshot] = vm.uuid

    def settle_memory(self, snapshot: str) -> None:
        self.meet("settle_memory")

    def drop_memory(self, snapshot: str) -> None:
        self.meet("drop_memory")
        self.memories.pop(snapshot, None)

    def ready_memory(self, vm: VM, snapshot: str, vbds: Sequence[VBD]) -> None:
        self.meet("ready_memory")
        assert self.memories[snapshot] == vm.uuid
        self.ready[vm.uuid] = [vbd.VDI.location for vbd in vbds if vbd.VDI is not None]

    def put_memory(self, vm: VM) -> None:
        self.meet("put_memory")
        self._require(vm, PowerState.HALTED)
        del self.ready[vm.uuid]
        self.known[vm.uuid] = replace(self.known[vm.uuid], power_state=PowerState.SUSPENDED)

    def drop_ready_memory(self, vm: VM) -> None:
        self.meet("drop_ready_memory")
        self.ready.pop(vm.uuid, None)

    def recover_memories(self, find: Callable[[str], VM | None]) -> Collection[str]:
        self.meet("recover_memories")
        return list(self.memories)

    def plug_vbd(self, vbd: VBD) -> None:
        self.meet("plug_vbd")
        seen = self.known[vbd.VM.uuid]
        self.known[vbd.VM.uuid] = replace(seen, disks=(*seen.disks, self._disk(vbd)))

    def unplug_vbd(self, vbd: VBD) -> None:
        self.meet("unplug_vbd")
        seen = self.known[vbd.VM.uuid]
        left = tuple(disk for disk in seen.disks if disk.target != self._disk(vbd).target)
        self.known[vbd.VM.uuid] = replace(seen, disks=left)

    def change_medium(self, vbd: VBD) -> None:
        self.meet("change_medium")
        self.unplug_vbd(vbd)
        self.plug_vbd(vbd)

    def plug_vif(self, vif: VIF) -> None:
        self.meet("plug_vif")
        seen = self.known[vif.VM.uuid]
        self.known[vif.VM.uuid] = replace(seen, nics=(*seen.nics, SeenNic(vif.MAC, vif.network.bridge)))

    def unplug_vif(self, vif: VIF) -> None:
        self.meet("unplug_vif")
        seen = self.known[vif.VM.uuid]
        self.known[vif.VM.uuid] = replace(seen, nics=tuple(nic for nic in seen.nics if nic.MAC != vif.MAC))

    def plug_pci(self, dpci: DPCI) -> None:
        self.meet("plug_pci")
        seen = self.known[dpci.VM.uuid]
        self.known[dpci.VM.uuid] = replace(seen, pci=(*seen.pci, dpci.PPCI.name))

    def plug_usb(self, vusb: VUSB) -> None:
        self.meet("plug_usb")
        seen = self.known[vusb.VM.uuid]
        self.known[vusb.VM.uuid] = replace(seen, usb=(*seen.usb, vusb.device))

    def unplug_usb(self, vusb: VUSB) -> None:
        self.meet("unplug_usb")
        seen = self.known[vusb.VM.uuid]
        self.known[vusb.VM.uuid] = replace(seen, usb=tuple(each for each in seen.usb if each != vusb.device))

    def unplug_pci(self, dpci: DPCI) -> None:
        self.meet("unplug_pci")
        seen = self.known[dpci.VM.uuid]
        if dpci.PPCI.name not in seen.pci:
            raise DeviceAlreadyDetached(dpci)
        left = tuple(address for address in seen.pci if address != dpci.PPCI.name)
        self.known[dpci.VM.uuid] = replace(seen, pci=left)

    def set_vcpus(self, vm: VM, number: int) -> None:
        self.meet("set_vcpus")
        self.known[vm.uuid] = replace(self.known[vm.uuid], VCPUs=number)

    def set_memory(self, vm: VM, target: int) -> None:
        self.meet("set_memory")
        self.known[vm.uuid] = replace(self.known[vm.uuid], memory=target)

    def set_scheduler(self, vm: VM, weight: int | None, cap: int | None) -> None:
        self.meet("set_scheduler")

    def pin_vcpus(self, vm: VM, mask: str) -> None:
        self.meet("pin_vcpus")
        self.pinned[vm.uuid] = mask

    def open_console(self, console: Console) -> socket.socket:
        self.meet("open_console")
        host, _, port = console.endpoint.rpartition(":")
        return socket.create_connection((host, int(port)))

    def keep_image(self, data: bytes) -> str:
        self.meet("keep_image")
        path = f"/images/{len(data)}"
        self.images[path] = data
        return path

    def drop_images(self, kept: Collection[str]) -> None:
        self.meet("drop_images")
        self.images = {path: data for path, data in self.images.items() if path in kept}

    def crash_dumps(self) -> Sequence[SeenDump]:
        self.meet("crash_dumps")
        return list(self.dumps)

    def remove_crash_dump(self, location: str) -> None:
        self.meet("remove_crash_dump")
        self.dumps = [dump for dump in self.dumps if dump.location != location]

    def send_sysrq(self, vm: VM, key: str) -> None:
        raise ValueNotSupported("key", key, "this machine has no kernel")

    def send_trigger(self, vm: VM, trigger: str) -> None:
        self.meet("send_trigger")

    def _move(self, name: str, vm: VM, before: PowerState, after: PowerState) -> None:
        self.meet(name)
        self._require(vm, before)
        self.known[vm.uuid] = replace(self.known[vm.uuid], power_state=after)

    def _require(self, vm: VM, state: PowerState) -> None:
        seen = self.known.get(vm.uuid)
        actual = seen.power_state if seen is not None else PowerState.HALTED
        if actual is not state:
            raise VMBadPowerState(vm, small(state), small(actual))

    @staticmethod
    def _disk(vbd: VBD) -> SeenDisk:
        source = vbd.VDI.location if vbd.VDI is not None else ""
        return SeenDisk(name_of(int(vbd.userdevice)), vbd.type is VbdType.CD, source)

    def _seen(self, vm: VM) -> SeenDomain:
        return SeenDomain(
            vm.uuid,
            vm.name_label or vm.uuid,
            PowerState.HALTED,
            title=vm.name_label,
            VCPUs_max=vm.VCPUs_max,
            VCPUs=vm.VCPUs_at_startup,
            memory_max=vm.memory_static_max,
            memory=vm.memory_dynamic_max,
            disks=tuple(self._disk(vbd) for vbd in vm.VBDs),
            nics=tuple(SeenNic(vif.MAC, vif.network.bridge) for vif in vm.VIFs),
            pci=tuple(dpci.PPCI.name for dpci in vm.DPCIs),
            usb=tuple(vusb.device for vusb in vm.VUSBs if vusb.device),
        )


class FakeStorage(Failing):
    def __init__(self) -> None:
        super().__init__()
        self.attached: dict[str, SeenPool] = {LOCAL: SeenPool(LOCAL, "local", "file", True, {}, 100 * GIB, 0)}
        self.volumes: dict[str, dict[str, SeenVolume]] = {LOCAL: {}}
        self.contents: dict[str, bytes] = {}
        """What was written to volumes, by location."""
        self.overlays = False
        """Whether images can be laid over each other here."""
        self.snapshots = False
        """Whether a volume that is no snapshot can have some here, as in a volume group."""
        self.split: dict[str, tuple[SeenVolume, SeenVolume]] = {}
        self.settled: list[str] = []

    def supported_types(self) -> Mapping[str, str]:
        return {"file": "a folder", "iso": "a folder of CD images"}

    def types(self) -> Sequence[SeenStorageType]:
        self.meet("types")
        return [
            SeenStorageType(name, text, ["VDI_CREATE"], [ImageFormat.RAW])
            for name, text in self.supported_types().items()
        ]

    def pools(self) -> Sequence[SeenPool]:
        self.meet("pools")
        return list(self.attached.values())

    def create(self, sr: SR, device_config: Mapping[str, str]) -> None:
        self.meet("create")
        if sr.type not in self.supported_types():
            raise SrUnknownDriver(sr.type)
        self.attached[sr.uuid] = SeenPool(sr.uuid, sr.name_label, sr.type, True, dict(device_config), 100 * GIB, 0)
        self.volumes[sr.uuid] = {}

    def probe(self, type: str, device_config: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
        self.meet("probe")
        return [{"server": device_config.get("server", ""), "serverpath": "/srv & <more>"}] if type == "nfs" else []

    def attach(self, pbd: PBD) -> None:
        self.meet("attach")
        self.volumes.setdefault(pbd.SR.uuid, {})
        self.attached[pbd.SR.uuid] = SeenPool(pbd.SR.uuid, pbd.SR.name_label, pbd.SR.type, True)

    def detach(self, pbd: PBD) -> None:
        self.meet("detach")
        self.attached[pbd.SR.uuid] = replace(self.attached[pbd.SR.uuid], active=False)

    def forget(self, sr: SR) -> None:
        self.meet("forget")
        self.attached.pop(sr.uuid, None)

    def destroy(self, sr: SR) -> None:
        self.meet("destroy")
        self.attached.pop(sr.uuid, None)
        self.volumes.pop(sr.uuid, None)

    def usage(self, sr: SR) -> tuple[int, int]:
        self.meet("usage")
        return 100 * GIB, sum(volume.allocation for volume in self.volumes[sr.uuid].values())

    def scan(self, sr: SR) -> Sequence[SeenVolume]:
        self.meet("scan")
        return list(self.volumes[sr.uuid].values())

    def create_volume(self, vdi: VDI) -> SeenVolume:
        self.meet("create_volume")
        if vdi.virtual_size > 100 * GIB:
            raise SrFull(vdi.virtual_size, 100 * GIB)
        volume = SeenVolume(f"/{vdi.SR.uuid}/{vdi.uuid}.raw", vdi.uuid, vdi.virtual_size, 0)
        self.volumes[vdi.SR.uuid][volume.location] = volume
        return volume

    def destroy_volume(self, vdi: VDI) -> None:
        self.meet("destroy_volume")
        self.volumes[vdi.SR.uuid].pop(vdi.location, None)

    def resize_volume(self, vdi: VDI, size: int) -> None:
        self.meet("resize_volume")
        volumes = self.volumes[vdi.SR.uuid]
        volumes[vdi.location] = replace(volumes[vdi.location], capacity=size)

    def copy_volume(self, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
        for step in self.steps():
            progress(step)
        self.meet("copy_volume")
        made = self.create_volume(target)
        if self.overlays and target.parent is not None and target.parent is source.parent:
            made = self.volumes[target.SR.uuid][made.location] = replace(made, parent=target.parent.location)
        return made

    def judge_image(self, format: str, head: bytes) -> int:
        self.meet("judge_image")
        return judge(head)

    def read_volume(self, vdi: VDI, progress: Callable[[float], None]) -> VolumeReader:
        self.meet("read_volume")
        return FakeReader(self.contents.get(vdi.location, bytes(vdi.virtual_size)))

    def write_volume(self, vdi: VDI) -> VolumeWriter:
        self.meet("write_volume")
        return FakeWriter(self, vdi)

    def doom_volume(self, vdi: VDI) -> None:
        self.meet("doom_volume")

    def clone_volume(self, source: VDI, target: VDI) -> SeenVolume | None:
        self.meet("clone_volume")
        volumes = self.volumes[source.SR.uuid]
        if not self.snapshots or volumes[source.location].parent:
            return None
        made = self.create_volume(target)
        volumes[made.location] = replace(made, parent=source.location)
        return volumes[made.location]

    def is_untouched(self, vdi: VDI) -> bool:
        self.meet("is_untouched")
        return False

    def split_volume(self, vdi: VDI, base: VDI) -> SeenVolume | None:
        self.meet("split_volume")
        if not self.overlays:
            return None
        volumes = self.volumes[vdi.SR.uuid]
        old = volumes.pop(vdi.location)
        base.location = f"/{vdi.SR.uuid}/{base.uuid}.raw"
        volumes[base.location] = replace(old, location=base.location)
        new = SeenVolume(
            f"/{vdi.SR.uuid}/{vdi.uuid}.qcow2", vdi.uuid, vdi.virtual_size, 0, "qcow2", False, base.location
        )
        volumes[new.location] = new
        self.split[base.uuid] = old, new
        return new

    def overlay_volume(self, base: VDI, target: VDI) -> SeenVolume:
        self.meet("overlay_volume")
        location = f"/{target.SR.uuid}/{target.uuid}.qcow2"
        made = SeenVolume(location, target.uuid, target.virtual_size, 0, "qcow2", False, base.location)
        self.volumes[target.SR.uuid][location] = made
        return made

    def merge_volume(
        self, base: VDI, vdi: VDI, most: int | None, progress: Callable[[float], None]
    ) -> SeenVolume | None:
        self.meet("merge_volume")
        volumes = self.volumes[vdi.SR.uuid]
        del volumes[vdi.location]
        below = volumes.pop(base.location)
        made = replace(below, location=f"/{vdi.SR.uuid}/{vdi.uuid}.raw", capacity=vdi.virtual_size)
        volumes[made.location] = made
        return made

    def settle(self, *vdis: VDI) -> None:
        self.meet("settle")
        self.settled += [vdi.uuid for vdi in vdis]

    def undo(self, vdi: VDI) -> None:
        self.meet("undo")
        if vdi.uuid in self.split:
            old, new = self.split.pop(vdi.uuid)
            volumes = self.volumes[vdi.SR.uuid]
            del volumes[new.location], volumes[vdi.location]
            volumes[old.location] = old

    def decide(self, known: Callable[[str], bool]) -> None:
        self.meet("decide")

    def recover(self, sr: SR) -> None:
        self.meet("recover")

    @staticmethod
    def steps() -> Iterator[float]:
        yield from (0.25, 0.5, 0.75, 1.0)


class FakeReader:
    """Some bytes, without holes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.tag = hashlib.sha256(content).hexdigest()

    def next_data(self, offset: int) -> tuple[int, int]:
        return min(offset, self.size), self.size

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def close(self) -> None:
        pass


class FakeWriter:
    """What is to become a volume, in memory."""

    def __init__(self, storage: FakeStorage, vdi: VDI) -> None:
        self.storage = storage
        self.vdi = vdi
        self.size = vdi.virtual_size
        self.content = bytearray(vdi.virtual_size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.storage.meet("write")
        self.content[offset : offset + len(data)] = data

    def spool(self, data: bytes | memoryview) -> None:
        raise NotImplementedError("images with a header are the real drivers' business")

    def unpack(self, format: str, progress: Callable[[float], None]) -> None:
        raise NotImplementedError("images with a header are the real drivers' business")

    def finish(self, progress: Callable[[float], None]) -> None:
        self.storage.meet("finish")
        progress(1.0)

    def commit(self) -> SeenVolume:
        self.storage.meet("commit")
        location = self.vdi.location or self.storage.create_volume(self.vdi).location
        self.storage.contents[location] = bytes(self.content)
        return self.storage.volumes[self.vdi.SR.uuid][location]

    def close(self) -> None:
        self.storage.meet("close")


class FakeNetworks(Failing):
    def __init__(self, node: FakeNode) -> None:
        super().__init__()
        self.node = node
        self.known: dict[str, SeenNetwork] = {LAN: SeenNetwork(LAN, "lan", "xenbr0", True)}

    def list(self) -> Sequence[SeenNetwork]:
        self.meet("list")
        return list(self.known.values())

    def create(self, network: Network) -> str:
        self.meet("create")
        bridge = network.bridge or f"xapi{len(self.known)}"
        self.known[network.uuid] = SeenNetwork(network.uuid, network.name_label, bridge, True)
        return bridge

    def destroy(self, network: Network) -> None:
        self.meet("destroy")
        self.known.pop(network.uuid, None)

    def create_vlan(self, device: str, tag: int, bridge: str) -> str:
        self.meet("create_vlan")
        [trunk] = [seen for seen in self.node.seen_interfaces if seen.device == device]
        name = f"{device}.{tag}"
        vlan = replace(trunk, device=name, physical=False, bridge=bridge, IP="", VLAN=tag, trunk=device, bond=None)
        self.node.seen_interfaces = [*(seen for seen in self.node.seen_interfaces if seen.device != name), vlan]
        return name

    def destroy_vlan(self, device: str) -> None:
        self.meet("destroy_vlan")
        self.node.seen_interfaces = [seen for seen in self.node.seen_interfaces if seen.device != device]

    def create_bond(self, bond: WantedBond, name: str = "") -> str:
        self.meet("create_bond")
        name = name or f"bond{sum(seen.bond is not None for seen in self.node.seen_interfaces)}"
        cards = {seen.device: seen for seen in self.node.seen_interfaces}
        for device in bond.members:
            cards[device] = replace(cards[device], bridge="")
        first, made = cards[bond.members[0]], SeenBond(bond.mode, bond.members, "", 1, bond.properties)
        cards[name] = replace(
            first, device=name, MAC=bond.MAC or first.MAC, physical=False, bridge=bond.bridge, IP="", bond=made
        )
        self.node.seen_interfaces = list(cards.values())
        return name

    def change_bond(self, name: str, mode: BondMode, properties: Mapping[str, str]) -> None:
        self.meet("change_bond")
        self.node.seen_interfaces = [
            replace(seen, bond=replace(seen.bond, mode=mode, properties=properties))
            if seen.device == name and seen.bond is not None
            else seen
            for seen in self.node.seen_interfaces
        ]

    def destroy_bond(self, name: str, homes: Mapping[str, str]) -> None:
        self.meet("destroy_bond")
        self.node.seen_interfaces = [
            replace(seen, bridge=homes.get(seen.device, seen.bridge))
            for seen in self.node.seen_interfaces
            if seen.device != name
        ]

    def switch(self, device: str, *, up: bool) -> None:
        self.meet("switch")
        self.node.seen_interfaces = [
            replace(seen, up=up) if seen.device == device else seen for seen in self.node.seen_interfaces
        ]


class FakeCpuPools(Failing, SimulatedCpuPools):
    """Those of the simulator, which have no machine below either."""

    def __init__(self, domains: FakeDomains) -> None:
        Failing.__init__(self)
        SimulatedCpuPools.__init__(self, lambda: range(2), domains.running)

    def list(self) -> Sequence[SeenCpuPool]:
        self.meet("list")
        return super().list()

    def create(self, name: str, sched_policy: str, cpus: Sequence[int]) -> None:
        self.meet("create")
        super().create(name, sched_policy, cpus)

    def move(self, vm: VM, name: str) -> None:
        self.meet("move")
        super().move(vm, name)


class FakeControl(Failing):
    """Does nothing to anything; `seen` is its security module."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = SeenSecurity()
        self.ring = "(XEN) it was booted"

    def dmesg(self, *, clear: bool) -> str:
        self.meet("dmesg")
        text = self.ring
        if clear:
            self.ring = ""
        return text

    def log(self) -> str:
        self.meet("log")
        return "a line\nanother"

    def send_debug_keys(self, keys: str) -> None:
        self.meet("send_debug_keys")
        self.ring += f"\n{keys} pressed"

    def security(self) -> SeenSecurity:
        self.meet("security")
        return self.seen

    def clock_synchronized(self) -> bool:
        self.meet("clock_synchronized")
        return True

    def reboot(self) -> None:
        self.meet("reboot")

    def shutdown(self) -> None:
        self.meet("shutdown")


class FakeNode(Failing):
    def __init__(self, domains: FakeDomains) -> None:
        super().__init__()
        self.cpu_pools = FakeCpuPools(domains)
        self.control = FakeControl()
        self.address = "192.0.2.10"
        self.boot_id = "first boot"
        self.seen_cpus = [SeenCpu(number, "AuthenticAMD", "a processor", 3000) for number in range(2)]
        self.seen_interfaces = [
            SeenInterface("eth0", "52:54:00:00:00:01", 1500, True, True, 1000, True, "xenbr0", "192.0.2.10")
        ]

        self.seen_pci = [
            SeenPci("0000:00:00.0", 0x0600, "Host bridge", 0x8086),
            SeenPci("0000:00:03.0", 0x0100, "SCSI storage controller", 0x1AF4, driver="virtio-pci"),
            SeenPci(SPARE, 0x0200, "Ethernet controller", 0x8086, "Intel Corporation", 0x10D3, "82574L"),
            SeenPci("0000:04:00.0", 0x0200, "Ethernet controller", 0x8086, device_id=0x10C9, driver="pciback"),
            SeenPci("0000:04:00.1", 0x0200, "Ethernet controller", 0x8086, device_id=0x10C9, driver="pciback"),
        ]
        self.seen_scsi = [SeenScsi(2, 0, 0, 0, "ATA", "a disk", 0, "disk", "/dev/sda", "/dev/sg0")]
        self.seen_adapters = [2, 3]
        self.seen_usb = [
            SeenUsb("1-1", "0951:1666", "0951:1666:1:2", "Kingston", "stick", "0001", "2.00", 480.0),
            SeenUsb("1-2", "0951:1666", "0951:1666:1:3", "Kingston", "stick", "0002", "2.00", 480.0),
        ]

    def usb_devices(self) -> Sequence[SeenUsb]:
        self.meet("usb_devices")
        return list(self.seen_usb)

    def pci_devices(self) -> Sequence[SeenPci]:
        self.meet("pci_devices")
        return list(self.seen_pci)

    def scsi_adapters(self) -> Sequence[int]:
        self.meet("scsi_adapters")
        return list(self.seen_adapters)

    def scsi_devices(self) -> Sequence[SeenScsi]:
        self.meet("scsi_devices")
        return list(self.seen_scsi)

    def host(self) -> SeenHost:
        self.meet("host")
        return SeenHost(
            hostname="xenhost",
            address=self.address,
            software_version={"product_brand": "xen-host-agent", "product_version": "0.1.0", "xapi": "26.1"},
            capabilities=("xen-3.0-x86_64",),
            cpu_configuration={"nr_nodes": "1"},
            cpu_info={"cpu_count": "2"},
            sched_policy="credit2",
            supported_bootloaders=("pygrub",),
            bios_strings={},
            memory_total=16 * GIB,
            boot_time=datetime(2026, 1, 1, tzinfo=UTC),
            boot_id=self.boot_id,
        )

    def cpus(self) -> Sequence[SeenCpu]:
        self.meet("cpus")
        return list(self.seen_cpus)

    def interfaces(self) -> Sequence[SeenInterface]:
        self.meet("interfaces")
        return list(self.seen_interfaces)


class FakeMeters(Failing):
    def __init__(self, domains: FakeDomains) -> None:
        super().__init__()
        self._domains = domains

    def read(self) -> Reading:
        self.meet("read")
        running = {
            uuid: DomainReading(
                {0: 0.5},
                {0: 1},
                {0: ("running",)},
                seen.memory,
                {disk.target: (10.0, 20.0) for disk in seen.disks},
                {nic.MAC: (1.0, 2.0) for nic in seen.nics},
                {} if seen.guest is None else seen.guest.memory,
            )
            for uuid, seen in self._domains.known.items()
            if seen.power_state is PowerState.RUNNING
        }
        host = HostReading(16 * GIB, 8 * GIB, {0: 0.25, 1: 0.75}, {"eth0": (3.0, 4.0)})
        return Reading(datetime(2026, 1, 2, tzinfo=UTC), host, running)


class FakeMachine:
    """The ports, each by its own class, so that tests can reach into them."""

    def __init__(self) -> None:
        self.domains = FakeDomains()
        self.storage = FakeStorage()
        self.node = FakeNode(self.domains)
        self.networks = FakeNetworks(self.node)
        self.meters = FakeMeters(self.domains)

    def ports(self) -> Machine:
        return Machine(self.domains, self.storage, self.networks, self.node, self.meters, lambda: None, lambda: True)

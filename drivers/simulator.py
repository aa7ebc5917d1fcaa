"""Virtual machines on libvirt's test hypervisor, with what it lacks of Xen made up for; and failures on demand.

The test driver (libvirt 9.0.0) runs in the process and keeps machines as records: it starts, stops, saves and resizes
them, and sends events. It refuses every hot-plug, has no paused start, keeps the number of a domain that reboots and
knows no cap. Here these are done as Xen does them, so that all above can be tried without a Xen. Newer drivers do some
of it themselves, each in its own way; they are not asked, so that the simulation is the same everywhere. There are no
guests, hence no consoles; disks are ``folders``' business, and made-up loads are ``meters``'.
"""

from __future__ import annotations

import copy
import functools
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ParamSpec, TypeVar

import libvirt
from lxml import etree

from agent.classes import VM
from agent.classes.enums import DomainType, OnNormalExit, PowerState
from agent.errors import DeviceAlreadyDetached, OperationNotAllowed, XenError
from agent.ports import Domains, SeenDomain
from drivers import xml, xml_read
from drivers.connection import Connection
from drivers.domains import ALIVE, DEFINITION, LibvirtDomains
from drivers.dumps import NO_DUMPS, DumpFolder
from drivers.kernels import NO_KERNELS, KernelFolder
from drivers.memories import NO_MEMORIES, MemoryFolder
from drivers.simulated_host import NOT_RESETTABLE

PLAYED_DUMP = b"\x7fELF\x02\x01\x01" + bytes(1017)
"""How a core begins, and nothing of a memory that is not there."""
PLUGGED = ("disk", "interface", "hostdev")
"""The devices that can be plugged into a running machine."""
_NAMES: Mapping[str, Callable[[etree._Element], str]] = {
    "disk": xml_read.target_of,
    "interface": xml_read.mac_of,
    "hostdev": xml_read.host_device_of,
}
"""What tells one device of a kind from another."""

_DESTROY = libvirt.virDomain.destroy

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class _Trap:
    error: XenError | None
    delay_seconds: float
    gate: threading.Event | None


class FailurePlan:
    """Calls that are to fail, to take long or to hang. For tests; empty, it does nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traps: dict[str, list[_Trap]] = {}

    def arm(
        self,
        method: str,
        error: XenError | None = None,
        *,
        delay_seconds: float = 0.0,
        gate: threading.Event | None = None,
        times: int = 1,
    ) -> None:
        """Have the next `times` calls of `method` wait for `gate` and the delay, then raise `error` if there is one."""
        with self._lock:
            self._traps.setdefault(method, []).extend([_Trap(error, delay_seconds, gate)] * times)

    def clear(self) -> None:
        """Let every call do what it does again. Those that wait, wait on."""
        with self._lock:
            self._traps.clear()

    def guarding(self, method: str, call: Callable[P, R]) -> Callable[P, R]:
        """`call`, which this plan can trip under the name `method`."""

        @functools.wraps(call)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            self._spring(method)
            return call(*args, **kwargs)

        return guarded

    def _spring(self, method: str) -> None:
        with self._lock:
            traps = self._traps.get(method)
            trap = traps.pop(0) if traps else None
        if trap is None:
            return
        if trap.gate is not None:
            trap.gate.wait()
        time.sleep(trap.delay_seconds)
        if trap.error is not None:
            raise trap.error


@dataclass
class _Overlay:
    """What differs between a running domain and what the test driver knows of it."""

    domid: str
    devices: list[etree._Element] | None = None
    """Its disks and cards, once one was plugged or unplugged."""
    scheduler: dict[str, int] = field(default_factory=dict)


class SimulatedDomains(LibvirtDomains):
    """The port ``agent.ports.Domains`` on ``test:///``."""

    def __init__(
        self,
        connection: Connection,
        *,
        kernel_folders: Sequence[str] = xml.KERNEL_FOLDERS,
        dumps: DumpFolder = NO_DUMPS,
        images: KernelFolder = NO_KERNELS,
        memories: MemoryFolder = NO_MEMORIES,
    ) -> None:
        super().__init__(connection, kernel_folders=kernel_folders, dumps=dumps, images=images, memories=memories)
        self.failures = FailurePlan()
        self._overlays: dict[str, _Overlay] = {}
        self._changing = threading.RLock()
        """Held over what is one step on Xen and takes several here, and by whoever looks: nobody sees the middle."""
        for method in (name for name, item in vars(Domains).items() if callable(item) and not name.startswith("_")):
            setattr(self, method, self.failures.guarding(method, getattr(self, method)))

    # --- seeing

    def _see(self, domain: libvirt.virDomain) -> SeenDomain | None:
        with self._changing:
            return super()._see(domain)

    def _working(self, domain: libvirt.virDomain) -> bool:
        # The test driver does everything at once, and has no jobs to tell of.
        return False

    def _tree(self, domain: libvirt.virDomain) -> etree._Element:
        with self._changing:
            root = super()._tree(domain)
            overlay = self._overlays.get(domain.UUIDString())
            if overlay is None or overlay.devices is None or overlay.domid != root.get("id"):
                return root
            devices = root.find("devices")
            if devices is not None:
                for device in [item for item in devices if item.tag in PLUGGED]:
                    devices.remove(device)
                devices.extend(copy.deepcopy(overlay.devices))
            return root

    def _overlay(self, domain: libvirt.virDomain) -> _Overlay:
        """What differs on the running domain; nothing yet if it was started since."""
        domid = xml_read.parse(domain.XMLDesc(0)).get("id", "")
        overlay = self._overlays.get(domain.UUIDString())
        if overlay is None or overlay.domid != domid:
            overlay = self._overlays[domain.UUIDString()] = _Overlay(domid)
        return overlay

    def scheduler(self, vm: VM) -> Mapping[str, int]:
        """Weight and cap that the running machine was given; what it was not given is absent."""
        with self._acting(vm, *ALIVE) as domain, self._changing:
            return dict(self._overlay(domain).scheduler)

    def undefine(self, vm: VM) -> None:
        """Forget the definition and a saved image."""
        super().undefine(vm)
        self._overlays.pop(vm.uuid, None)

    # --- power

    def _boot(self, domain: libvirt.virDomain, *, paused: bool) -> None:
        # createWithFlags(START_PAUSED): 8 "unsupported flags (0x1) in function testDomainCreateWithFlags" (9.0.0).
        with self._changing:
            self._boot_devices(domain)
            domain.create()
            if paused:
                domain.suspend()

    def _restart(self, domain: libvirt.virDomain, end: Callable[[libvirt.virDomain], object] = _DESTROY) -> None:
        """Run it anew, from its definition and under a new number, as Xen does after a reboot."""
        with self._changing:
            if domain.isPersistent():
                end(domain)
                domain.create()
                return
            definition = domain.XMLDesc(DEFINITION)
            end(domain)
            self._connection.handle.createXML(definition, 0)

    def shutdown(self, vm: VM) -> None:
        """Ask the guest to shut down, which it does at once."""
        with self._acting(vm, PowerState.RUNNING) as domain:
            if xml_read.read_exit(self._tree(domain), "on_poweroff", OnNormalExit.DESTROY) is OnNormalExit.RESTART:
                self._restart(domain)
            else:
                domain.shutdownFlags(0)

    def reboot(self, vm: VM) -> None:
        """Ask the guest to reboot, which it does at once; reboot() itself would send no event and keep the number."""
        with self._acting(vm, PowerState.RUNNING) as domain:
            if xml_read.read_exit(self._tree(domain), "on_reboot", OnNormalExit.RESTART) is OnNormalExit.RESTART:
                self._restart(domain)
            else:
                domain.destroy()

    def send_sysrq(self, vm: VM, key: str) -> None:
        """Send a magic key, which no guest is there to feel; but ``c`` crashes it, as it does a Linux."""
        super().send_sysrq(vm, key)
        if key == "c":
            self.crash(vm)

    def crash(self, vm: VM) -> None:
        """Have the guest crash. What becomes of it its definition says; one that is to be preserved is gone, too."""
        with self._acting(vm, PowerState.RUNNING) as domain, self._changing:
            action = xml_read.text_at(self._tree(domain), "on_crash")
            if action.startswith("coredump"):
                self._dumps.write(domain.name(), datetime.now(), PLAYED_DUMP)
            if action.endswith("restart"):
                self._restart(domain, _crash)
            else:
                _crash(domain)

    def send_trigger(self, vm: VM, trigger: str) -> None:
        """Send ``nmi``, which no guest is there to feel, or ``reset``; reset() itself would do nothing (9.0.0)."""
        if trigger != "reset":
            super().send_trigger(vm, trigger)
            return
        with self._acting(vm, PowerState.RUNNING) as domain:
            self._restart(domain)

    def resume(self, vm: VM, paused: bool) -> None:
        """Go on from what suspend saved, with the devices that were plugged then."""
        with self._changing:
            saved = self._overlays.get(vm.uuid)
            super().resume(vm, paused)
            with self._acting(vm, *ALIVE) as domain:
                overlay = self._overlay(domain)
                if saved is not None:
                    overlay.devices = saved.devices

    def save_memory(self, vm: VM, snapshot: str) -> None:
        """Suspend the running machine, and keep its XML, which is all the memory it has."""
        with self._changing:
            with self._acting(vm, PowerState.RUNNING) as domain:
                text = etree.tostring(self._tree(domain), encoding="unicode")
            self._memories.begin(snapshot, vm.uuid)
            self.suspend(vm)
            self._memories.write(snapshot, text)

    def put_memory(self, vm: VM) -> None:
        """Make the halted machine one that is suspended: restored and saved again, of which nobody sees the middle."""
        ready = self._memories.ready(vm.uuid)
        with self._changing, self._acting(vm, PowerState.HALTED) as domain:
            self._connection.handle.restore(str(ready))
            devices = [item for item in super()._tree(domain).iterfind("devices/*") if item.tag in PLUGGED]
            domain.managedSave(0)
            self._overlays[vm.uuid] = _Overlay("", devices)
        self._memories.drop_ready(vm.uuid)

    # --- devices and shares of a running machine

    def _live_devices(self, domain: libvirt.virDomain) -> list[etree._Element]:
        """The disks and cards it has, to be changed in place."""
        overlay = self._overlay(domain)
        if overlay.devices is None:
            root = self._tree(domain)
            overlay.devices = [item for item in root.iterfind("devices/*") if item.tag in PLUGGED]
        return overlay.devices

    def _attach(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        with self._changing:
            if usb := xml_read.usb_device_of(device):
                self._require_usb_free(usb)
            elif device.tag == "hostdev":
                address = xml_read.pci_address_of(device)
                self._require_to_give(address)
                started = xml_read.parse(domain.XMLDesc(0))
                if xml_read.kind_of(started) is not DomainType.HVM and not list(xml_read.pci_devices(started)):
                    raise OperationNotAllowed(f"{address}: a PV guest that was started without one has no PCI bus")
            self._live_devices(domain).append(copy.deepcopy(device))

    def _detach(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        with self._changing:
            devices = self._live_devices(domain)
            devices.remove(_counterpart(devices, device))

    def _update(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        with self._changing:
            devices = self._live_devices(domain)
            devices[devices.index(_counterpart(devices, device))] = copy.deepcopy(device)

    def _boot_devices(self, domain: libvirt.virDomain) -> None:
        """Refuse PCI devices of the definition that could not be given to the domain, as libvirt does on Xen."""
        for hostdev in xml_read.pci_devices(xml_read.parse(domain.XMLDesc(DEFINITION))):
            self._require_to_give(xml_read.pci_address_of(hostdev))
        for hostdev in xml_read.usb_devices(xml_read.parse(domain.XMLDesc(DEFINITION))):
            self._require_usb_free(xml_read.usb_device_of(hostdev))

    def _require_usb_free(self, device: str) -> None:
        for other in self._connection.handle.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            if device in map(xml_read.usb_device_of, xml_read.usb_devices(self._tree(other))):
                raise OperationNotAllowed(f"USB device {device} is in use by domain {other.name()}")

    def _require_to_give(self, address: str) -> None:
        if address in NOT_RESETTABLE:
            raise OperationNotAllowed(f"Unable to reset PCI device {address}: no FLR, PM reset or bus reset available")
        for other in self._connection.handle.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            if address in map(xml_read.pci_address_of, xml_read.pci_devices(self._tree(other))):
                raise OperationNotAllowed(f"PCI device {address} is in use by domain {other.name()}")

    def set_scheduler(self, vm: VM, weight: int | None, cap: int | None) -> None:
        """Change the running machine's share; the driver knows no cap and forgets the weight (9.0.0)."""
        with self._acting(vm, *ALIVE) as domain, self._changing:
            given = {name: value for name, value in (("weight", weight), ("cap", cap)) if value is not None}
            self._overlay(domain).scheduler.update(given)


def _crash(domain: libvirt.virDomain) -> None:
    """Have it end as one that crashed, of which the driver tells as of such; the core that it writes is none."""
    domain.coreDump(os.devnull, libvirt.VIR_DUMP_CRASH)


def _counterpart(devices: Sequence[etree._Element], wanted: etree._Element) -> etree._Element:
    """The device that `wanted` names: the disk of the same target, the card or PCI device of the same address."""
    for device in devices:
        if device.tag == wanted.tag and _name_of(device) == _name_of(wanted):
            return device
    raise DeviceAlreadyDetached(_name_of(wanted))


def _name_of(device: etree._Element) -> str:
    return _NAMES[str(device.tag)](device)

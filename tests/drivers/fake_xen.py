"""A libvirt connection to a Xen that is not there: it answers as libvirt 9.0.0's Xen driver was seen to, call by call.

Connection and domains are mocks with libvirt's own signatures, so a call that libvirt does not have fails. Each can be
told to fail, to hang and to lie. What the driver was seen to do is in the comments: code, and its words.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import libvirt
from lxml import etree
from pytest_mock import MockerFixture

from agent.ports import SeenDisk, SeenDomain, SeenNic
from drivers.simulated_host import NOT_RESETTABLE
from drivers.xl import Xl, XlDomain, XlVcpu
from drivers.xml_read import pci_address_of as _place
from drivers.xml_read import pci_devices

LIBXL, GENERIC, RPC = libvirt.VIR_FROM_LIBXL, libvirt.VIR_FROM_DOM, libvirt.VIR_FROM_RPC
CONTROL_DOMAIN = """<domain type='xen' id='0'><name>Domain-0</name><uuid>00000000-0000-0000-0000-000000000000</uuid>
<memory unit='KiB'>1048576</memory><currentMemory unit='KiB'>1048576</currentMemory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='xenpv'>linux</type></os><devices/></domain>"""
MEMORY = b"what libxl saved of a guest" * 1000
UNDER = {"disk": ("target", "dev"), "interface": ("mac", "address")}
NO_RESET = "internal error: Unable to reset PCI device {}: no FLR, PM reset or bus reset available"
PCI_IN_USE = "Requested operation is not valid: PCI device {} is in use by driver xenlight, domain {}"
UNSUPPORTED = ("injectNMI", "reset", "sendKey", "screenshot", "rename")


def error(code: int, message: str = "it failed", domain: int = GENERIC) -> libvirt.libvirtError:
    """A libvirtError as the library makes them."""
    made = libvirt.libvirtError(message)
    made.err = (code, domain, message, 2, message, None, None, 0, 0)
    return made


def closed() -> libvirt.libvirtError:
    """What every call on a connection says whose daemon is gone."""
    return error(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: client socket is closed", RPC)


def printed(root: etree._Element | None) -> str:
    """A tree as text."""
    assert root is not None
    return str(etree.tostring(root, encoding="unicode"))


class FakeDomain:
    """One domain; `mock` is what libvirt would have given for it."""

    def __init__(self, xen: FakeXen, definition: etree._Element) -> None:
        self.xen = xen
        self.definition: etree._Element | None = definition
        self.live: etree._Element | None = None
        self.started_with: etree._Element | None = None
        self.state = [libvirt.VIR_DOMAIN_SHUTOFF, 0]
        self.saved = False
        self.working = False
        """Whether a job is under way, such as a reboot, in which it says that it is shut off."""
        self.keeps_running = False
        """Whether it cannot be saved; what was written of it stays."""
        self.pauses = 0
        """How often it is paused: Xen counts."""
        self.scheduler = {"weight": 256, "cap": 0}
        self.pins: dict[int, frozenset[int]] = {}
        """The processors that a virtual CPU was pinned to."""
        self.mock: Mock = xen.mocker.create_autospec(libvirt.virDomain, instance=True)
        self.mock.UUIDString.return_value = definition.findtext("uuid")
        self.mock.name.return_value = definition.findtext("name")
        for name, method in vars(FakeDomain).items():
            if callable(method) and not name.startswith("_") and hasattr(libvirt.virDomain, name):
                getattr(self.mock, name).side_effect = self._answering(getattr(self, name))
        self.mock.state.side_effect = self._answering(lambda: list(self.state))
        for name in UNSUPPORTED:
            words = f"this function is not supported by the connection driver: virDomain{name}"
            getattr(self.mock, name).side_effect = error(libvirt.VIR_ERR_NO_SUPPORT, words)

    def _answering(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*args: Any) -> Any:
            self.xen.require_alive()
            if self.definition is None and self.live is None:
                raise error(libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", LIBXL)
            return method(*args)

        return answer

    def _require_running(self, *states: int) -> etree._Element:
        if self.live is None or (states and self.state[0] not in states):
            raise error(libvirt.VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: domain is not running")
        return self.live

    # --- the calls

    def XMLDesc(self, flags: int = 0) -> str:
        if flags & libvirt.VIR_DOMAIN_XML_INACTIVE or self.live is None:
            return printed(self.definition if self.definition is not None else self.live)
        return printed(self.live)

    def ID(self) -> int:
        return -1 if self.live is None else int(self.live.get("id") or 0)

    def isActive(self) -> int:
        return int(self.live is not None)

    def jobInfo(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_JOB_UNBOUNDED if self.working else libvirt.VIR_DOMAIN_JOB_NONE, *[0] * 11]

    def isPersistent(self) -> int:
        return int(self.definition is not None)

    def hasManagedSaveImage(self, flags: int = 0) -> int:
        return int(self.saved)

    def managedSaveRemove(self, flags: int = 0) -> int:
        self.saved = False
        if self.xen.saves is not None:
            self._saved_as().unlink()
        return 0

    def _saved_as(self) -> Path:
        """Where a suspended domain is kept, if that is played."""
        assert self.xen.saves is not None
        return Path(self.xen.saves, f"{self.mock.name()}.save")

    def _restored(self) -> etree._Element | None:
        """The domain of the file that is found at a start, whoever put it there; the file goes."""
        if self.xen.saves is None or not self._saved_as().exists():
            return None
        magic, version, length = struct.unpack("=16sII40x", self._saved_as().read_bytes()[:64])
        assert (magic, version) == (b"libvirt-xml\n \0 \r", 2)
        data = self._saved_as().read_bytes()[64:]
        assert data[length - 1 :] == b"\0" + MEMORY
        root = etree.fromstring(data[: length - 1])
        assert self.definition is not None
        assert [root.findtext(tag) for tag in ("name", "uuid")] == [self.mock.name(), self.mock.UUIDString()]
        self._saved_as().unlink()
        return root

    def createWithFlags(self, flags: int = 0) -> int:
        if self.live is not None:
            raise error(
                libvirt.VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: Domain is already running"
            )
        assert self.definition is not None
        begins_as = self._restored()  # first of all, and then what was saved is gone
        if begins_as is not None:
            self.saved = False
        if "missing" in (self.definition.findtext("os/kernel") or ""):
            words = f"internal error: libxenlight failed to create new domain '{self.mock.name()}'"
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, words, LIBXL)
        self._prepare(pci_devices(self.definition))
        self.live = copy.deepcopy(self.definition if begins_as is None else begins_as)
        self.started_with = copy.deepcopy(self.live)
        self.live.set("id", str(self.xen.next_id()))
        for graphics in self.live.iterfind("devices/graphics"):
            graphics.set("port", "5900")
        for console in self.live.iterfind("devices/console"):
            console.set("tty", f"/dev/pts/{self.live.get('id')}")
        restored, self.saved = self.saved or begins_as is not None, False
        paused = bool(flags & libvirt.VIR_DOMAIN_START_PAUSED)
        self.state = [libvirt.VIR_DOMAIN_PAUSED if paused else libvirt.VIR_DOMAIN_RUNNING, 1]
        self.pauses = int(paused)
        self.scheduler = {"weight": 256, "cap": 0}
        self.xen.tell(self, libvirt.VIR_DOMAIN_EVENT_STARTED, 2 if restored else 0)
        return 0

    def suspend(self) -> int:
        self._require_running()
        if self.state[0] != libvirt.VIR_DOMAIN_PAUSED:
            self.state, self.pauses = [libvirt.VIR_DOMAIN_PAUSED, 1], self.pauses + 1
            self.xen.tell(self, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, 0)
        return 0

    def resume(self) -> int:
        live = self._require_running()
        if self.state[0] == libvirt.VIR_DOMAIN_PAUSED:
            if self.pauses == 0:
                words = f"internal error: Failed to resume domain '{live.get('id')}' with libxenlight"
                raise error(libvirt.VIR_ERR_INTERNAL_ERROR, words, LIBXL)
            self.state, self.pauses = [libvirt.VIR_DOMAIN_RUNNING, 5], self.pauses - 1
            self.xen.tell(self, libvirt.VIR_DOMAIN_EVENT_RESUMED, 0)
        return 0

    def stop(self, detail: int) -> None:
        """The domain is gone, for the reason `detail` of the event."""
        self.live, self.state = None, [libvirt.VIR_DOMAIN_SHUTOFF, detail]
        self.xen.tell(self, libvirt.VIR_DOMAIN_EVENT_STOPPED, detail)

    def destroy(self) -> int:
        if not self.working:  # else it waits for the job, such as a reboot, and ends what comes of it
            self._require_running()
        self.working = False
        self.stop(1)
        return 0

    def shutdownFlags(self, flags: int = 0) -> int:
        live = self._require_running()
        if live.findtext("on_poweroff") == "restart":
            self._run_anew()
        else:
            self.stop(0)
        return 0

    def reboot(self, flags: int = 0) -> int:
        live = self._require_running()
        if self.xen.guests_have_no_drivers:
            words = f"internal error: Failed to reboot domain '{live.get('id')}' with libxenlight"
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, words, LIBXL)
        if live.findtext("on_reboot") == "restart":
            self._run_anew()
        else:
            self.stop(0)
        return 0

    def _run_anew(self) -> None:
        """As libvirt does it: a new number, and the events in the wrong order."""
        self.live = None
        self.createWithFlags()
        self.xen.tell(self, libvirt.VIR_DOMAIN_EVENT_STOPPED, 0)

    def managedSave(self, flags: int = 0) -> int:
        live = self._require_running(libvirt.VIR_DOMAIN_RUNNING)
        if self.xen.saves is not None:
            text = printed(live).encode() + b"\0"
            head = struct.pack("=16sII40x", b"libvirt-xml\n \0 \r", 2, len(text))
            self._saved_as().write_bytes(head + text + MEMORY)
        if self.keeps_running:
            words = f"internal error: Failed to save domain '{live.get('id')}' with libxenlight"
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, words, LIBXL)
        self.saved = True
        self.stop(4)
        return 0

    def undefineFlags(self, flags: int = 0) -> int:
        if self.saved and not flags & libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE:
            raise error(
                libvirt.VIR_ERR_OPERATION_INVALID, "Refusing to undefine while domain managed save image exists"
            )
        self.definition, self.saved = None, False
        if self.xen.saves is not None:
            self._saved_as().unlink(missing_ok=True)
        self.xen.tell(self, libvirt.VIR_DOMAIN_EVENT_UNDEFINED, 0)
        return 0

    def _find(self, wanted: etree._Element) -> etree._Element | None:
        if wanted.tag == "hostdev":
            return next((one for one in pci_devices(self._require_running()) if _place(one) == _place(wanted)), None)
        element, attribute = UNDER[str(wanted.tag)]
        for device in self._require_running().iterfind(f"devices/{wanted.tag}"):
            if device.find(element).get(attribute) == wanted.find(element).get(attribute):  # type: ignore[union-attr]
                return device
        return None

    def _require_qemu(self, disk: etree._Element) -> None:
        """Xen 4.17 runs the QEMU that serves files only for a guest that is HVM or began with such a disk."""
        assert self.started_with is not None
        if self.started_with.findtext("os/type") == "hvm" or disk.find("driver[@name='qemu']") is None:
            return
        if self.started_with.find("devices/disk/driver[@name='qemu']") is None:
            words = f"internal error: libxenlight failed to attach disk '{disk.find('target').get('dev')}'"  # type: ignore[union-attr]
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, words, LIBXL)

    def attachDeviceFlags(self, text: str, flags: int = 0) -> int:
        device = etree.fromstring(text)
        devices = self._require_running().find("devices")
        if self._find(device) is not None:
            if device.tag == "hostdev":
                words = f"operation failed: target pci device {_place(device)} already exists"
                raise error(libvirt.VIR_ERR_OPERATION_FAILED, words, LIBXL)
            if device.tag == "disk":
                raise error(libvirt.VIR_ERR_OPERATION_FAILED, "operation failed: target already exists")
            raise error(libvirt.VIR_ERR_INVALID_ARG, "invalid argument: network device already exists")
        if device.tag == "disk" and device.find("target").get("bus") != "xen":  # type: ignore[union-attr]
            raise error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "disk bus 'ide' cannot be hotplugged.", LIBXL)
        if device.tag == "disk":
            self._require_qemu(device)
        if device.tag == "hostdev":
            self._prepare([device])
            self._require_pci_bus(device)
        devices.append(device)  # type: ignore[union-attr]
        return 0

    def _require_pci_bus(self, hostdev: etree._Element) -> None:
        """A paravirtual guest that was started without a PCI device has no bus to plug one into."""
        live = self._require_running()
        had = self.started_with is not None and any(True for _ in pci_devices(self.started_with))
        if live.findtext("os/type") != "hvm" and not had:
            words = f"internal error: libxenlight failed to attach pci device {_place(hostdev)}"
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, words, LIBXL)

    def _prepare(self, hostdevs: Iterable[etree._Element]) -> None:
        """Take PCI devices from the host, as libvirt does before it asks Xen."""
        for address in map(_place, hostdevs):
            if address in self.xen.not_resettable:
                raise error(libvirt.VIR_ERR_INTERNAL_ERROR, NO_RESET.format(address))
            for other in self.xen.domains.values():
                if other.live is not None and address in map(_place, pci_devices(other.live)):
                    words = PCI_IN_USE.format(address, other.mock.name())
                    raise error(libvirt.VIR_ERR_OPERATION_INVALID, words)

    def detachDeviceFlags(self, text: str, flags: int = 0) -> int:
        found = self._find(etree.fromstring(text))
        if found is None:
            raise error(libvirt.VIR_ERR_INVALID_ARG, "invalid argument: no target device")
        if self.xen.guests_keep_devices:
            words = "internal error: libxenlight failed to detach disk 'xvdb'"
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, words, LIBXL)
        found.getparent().remove(found)  # type: ignore[union-attr]
        return 0

    def updateDeviceFlags(self, text: str, flags: int = 0) -> int:
        device = etree.fromstring(text)
        found = self._find(device)
        if device.tag != "disk" or found is None or found.get("device") != "cdrom":
            raise error(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "disk bus 'xen' cannot be updated.", LIBXL)
        found.getparent().replace(found, device)  # type: ignore[union-attr]
        return 0

    def setMetadata(self, kind: int, text: str | None, key: None, uri: None, flags: int = 0) -> int:
        live = self._require_running()
        tag = {libvirt.VIR_DOMAIN_METADATA_TITLE: "title", libvirt.VIR_DOMAIN_METADATA_DESCRIPTION: "description"}[kind]
        for old in live.findall(tag):
            live.remove(old)
        if text is not None:
            etree.SubElement(live, tag).text = text
        return 0

    def setVcpusFlags(self, number: int, flags: int = 0) -> int:
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE, "the Xen driver wants LIVE or CONFIG said"
        vcpu = self._require_running().find("vcpu")
        assert vcpu is not None
        if number > int(vcpu.text or "0"):
            words = "invalid argument: requested vcpus is greater than max allowable vcpus for the domain"
            raise error(libvirt.VIR_ERR_INVALID_ARG, words, LIBXL)
        vcpu.set("current", str(number))
        return 0

    def setMemoryFlags(self, kibibytes: int, flags: int = 0) -> int:
        live = self._require_running()
        if kibibytes > int(live.findtext("memory") or "0"):
            raise error(
                libvirt.VIR_ERR_INVALID_ARG, "invalid argument: cannot set memory higher than max memory", LIBXL
            )
        live.find("currentMemory").text = str(kibibytes)  # type: ignore[union-attr]
        return 0

    def setSchedulerParameters(self, parameters: dict[str, int]) -> int:
        self._require_running()
        if unknown := parameters.keys() - self.scheduler.keys():
            raise LookupError(f'Attribute name "{unknown.pop()}" could not be recognized')
        self.scheduler |= parameters
        return 0

    def pin(self, number: int, cpus: Collection[int]) -> None:
        """``virDomainPinVcpu``, which the agent calls past the binding."""
        vcpu = self._require_running().find("vcpu")
        assert vcpu is not None
        if number >= int(vcpu.get("current") or vcpu.text or "0"):
            raise error(libvirt.VIR_ERR_INVALID_ARG, f"invalid argument: vcpu '{number}' is not active", LIBXL)
        self.pins[number] = frozenset(cpus)


class FakeXl(Xl):
    """xl on a fake Xen: it sees all domains as the hypervisor has them, its own too, and tells libvirt nothing."""

    def __init__(self, xen: FakeXen) -> None:
        super().__init__("/usr/sbin/xl")
        self._xen = xen
        self.own: dict[str, XlDomain] = {}
        """Domains that were made with it."""
        self.disks: tuple[SeenDisk, ...] = (SeenDisk("xvda", source="/srv/theirs.raw"),)
        """Those of each."""
        self.fails = False
        self.runs = 0
        self.described = 0

    def create(self, uuid: str, name: str = "theirs", **fields: Any) -> XlDomain:
        """Make a domain; or change one."""
        known = self.own.get(uuid)
        domid = known.domid if known is not None else self._xen.next_id()
        self.own[uuid] = replace(XlDomain(name, domid, 128 * 2**20, 1, "-b----", 1.0, uuid), **fields)
        return self.own[uuid]

    def list(self) -> Sequence[XlDomain] | None:
        self.runs += 1
        if self.fails:
            return None
        return [self._line(domain) for domain in self._xen.domains.values() if domain.live is not None] + [
            *self.own.values()
        ]

    @staticmethod
    def _line(domain: FakeDomain) -> XlDomain:
        assert domain.live is not None
        state = "--p---" if domain.pauses else "-b----"
        return XlDomain(domain.mock.name(), domain.ID(), 2**30, 2, state, 1.0, domain.mock.UUIDString())

    def describe(self, domain: XlDomain) -> SeenDomain | None:
        self.described += 1
        known = self.own.get(domain.uuid)
        if self.fails or known is None or known.domid != domain.domid:
            return None
        nics = (SeenNic("00:16:3e:77:00:01", "xenbr0"),)
        return SeenDomain(
            known.uuid, known.name, known.power_state, known.domid, persistent=False, disks=self.disks, nics=nics
        )

    def vcpus(self) -> Sequence[XlVcpu]:
        return []

    def pause(self, domid: int) -> bool:
        self._running(domid).pauses += 1
        return True

    def unpause(self, domid: int) -> bool:
        self._running(domid).pauses -= 1
        return True

    def _running(self, domid: int) -> FakeDomain:
        return next(one for one in self._xen.domains.values() if one.live is not None and one.ID() == domid)


class FakeXen:
    """A Xen with its control domain; `connection` is what ``libvirt.open`` would have given."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.mocker = mocker
        self.domains: dict[str, FakeDomain] = {}
        self.alive = True
        self.guests_have_no_drivers = False
        self.guests_keep_devices = False
        self.not_resettable = NOT_RESETTABLE
        self.bridges: dict[str, str] = {"default": "virbr0"}
        self.saves: Path | None = None
        """The folder of suspended domains, where that is played."""
        self._ids = 0
        self._callbacks: dict[int, tuple[int, Callable[..., None]]] = {}
        self.connection: Mock = mocker.create_autospec(libvirt.virConnect, instance=True)
        self.connection.isAlive.side_effect = lambda: int(self.alive)
        self.connection.getInfo.return_value = ["x86_64", 16384, 4, 2000, 1, 1, 4, 1]
        self.connection.getFreeMemory.return_value = 8 * 2**30
        self.connection.listAllDomains.side_effect = self._list
        self.connection.lookupByUUIDString.side_effect = lambda uuid: self._by("uuid", uuid)
        self.connection.lookupByName.side_effect = lambda name: self._by("name", name)
        self.connection.defineXML.side_effect = self.define
        self.connection.networkLookupByName.side_effect = self._network
        self.connection.domainEventRegisterAny.side_effect = self._register
        self.connection.domainEventDeregisterAny.side_effect = self._callbacks.pop
        mocker.patch("drivers.domains.pin_vcpu", side_effect=self._pin)
        control = FakeDomain(self, etree.fromstring(CONTROL_DOMAIN))
        control.live, control.state = control.definition, [libvirt.VIR_DOMAIN_RUNNING, 1]
        self.domains[control.mock.UUIDString()] = control

    def require_alive(self) -> None:
        """Refuse as a dead connection does."""
        if not self.alive:
            raise closed()

    def next_id(self) -> int:
        """A domain's number, which is never used again."""
        self._ids += 1
        return self._ids

    def tell(self, domain: FakeDomain, event: int, detail: int) -> None:
        """Send a lifecycle event."""
        for kind, callback in list(self._callbacks.values()):
            if kind == libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE:
                callback(self.connection, domain.mock, event, detail, None)

    def define(self, text: str) -> Mock:
        """Take a definition as the driver does; also the way of an admin with a tool of his own."""
        self.require_alive()
        root = etree.fromstring(text)
        uuid, name = root.findtext("uuid") or "", root.findtext("name") or ""
        for other in self.domains.values():
            same_uuid, same_name = other.mock.UUIDString() == uuid, other.mock.name() == name
            if same_uuid != same_name:
                words = f"operation failed: domain '{name}' already exists with uuid {other.mock.UUIDString()}"
                raise error(libvirt.VIR_ERR_OPERATION_FAILED, words)
        for kind in root.iterfind("os/type"):
            kind.text = "linux" if kind.text == "xen" else kind.text
        if root.get("id") is not None:
            del root.attrib["id"]
        known = self.domains.get(uuid)
        if known is None:
            known = self.domains[uuid] = FakeDomain(self, root)
        known.definition = root
        self.tell(known, libvirt.VIR_DOMAIN_EVENT_DEFINED, 0)
        return known.mock

    def _there(self) -> list[FakeDomain]:
        self.require_alive()
        return [domain for domain in self.domains.values() if domain.definition is not None or domain.live is not None]

    def _list(self, flags: int = 0) -> list[Mock]:
        return [domain.mock for domain in self._there()]

    def _by(self, attribute: str, wanted: str) -> Mock:
        for domain in self._there():
            if wanted == (domain.mock.UUIDString() if attribute == "uuid" else domain.mock.name()):
                return domain.mock
        raise error(libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", LIBXL)

    def _network(self, name: str) -> Mock:
        self.require_alive()
        if name not in self.bridges:
            raise error(libvirt.VIR_ERR_NO_NETWORK, "Network not found", libvirt.VIR_FROM_NETWORK)
        network: Mock = self.mocker.create_autospec(libvirt.virNetwork, instance=True)
        network.bridgeName.return_value = self.bridges[name]
        return network

    def _pin(self, domain: Mock, number: int, cpus: Collection[int]) -> None:
        next(one for one in self.domains.values() if one.mock is domain).pin(number, cpus)

    def _register(self, domain: None, event: int, callback: Callable[..., None], opaque: object) -> int:
        self.require_alive()
        number = len(self._callbacks) + 1
        self._callbacks[number] = (event, callback)
        return number

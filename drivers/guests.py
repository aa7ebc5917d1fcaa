"""What guests tell of themselves in xenstore, read as it changes and kept until they say something else.

The names are those of XenServer's guest tools (``attr/``, ``data/``), which the tools of others use as well; what
devices a guest talks to through Xen's drivers is in ``device/``. A guest can write what it likes, as much and as often
as its quota allows: so few names are read, each capped and cleaned, addresses only if they are any, one guest at most
once a second. Everything runs in one thread of its own. While xenstore hangs or is gone, what was read last stays.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.ports import GuestReading
from drivers.text import cleaned
from drivers.xenstore import Xenstore, XenstoreError

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
"""At most so often one guest is read."""
ROUND_SHARE = 0.5
"""The part of a round in which guests are read; those left have their turn first in the next."""
SWEEP_SECONDS = 60.0
"""So often all are read, whatever the watches told."""
ECHOES_SECONDS: Sequence[float] = (1.0, 3.0, 7.0, 15.0)
"""After a device came or went, that is told again so much later: libvirt and xl show it once all is done, and tell
nobody (libvirt 9.0.0, Xen 4.17).
"""
PAUSES_SECONDS: Sequence[float] = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Between attempts to reach xenstore."""

REQUESTS = 200
"""The most that is asked of xenstore about one guest at a time."""
TEXT_LIMIT = 255
CARDS = 8
ADDRESSES = 8
"""Of each kind, of one card."""
FEATURES = 32
DEVICES = 16
FOLDER_BYTES = 2**18
"""Room for the numbers of 30,000 domains."""
NAMES = 64
"""The names of a folder that are looked at."""

CONTROL_DOMAIN = "0"
_DOMAINS = "domains"
"""The token of the watches for domains that come and go; those of one domain have its number."""
_OS = {
    "name": "data/os_name",
    "distro": "data/os_distro",
    "major": "data/os_majorver",
    "minor": "data/os_minorver",
    "uname": "data/os_uname",
}
_DRIVERS = {
    "major": "attr/PVAddons/MajorVersion",
    "minor": "attr/PVAddons/MinorVersion",
    "micro": "attr/PVAddons/MicroVersion",
    "build": "attr/PVAddons/BuildVersion",
}
_MEMORY = {"total": "data/meminfo_total", "free": "data/meminfo_free"}
_FEATURE = re.compile(r"(platform-)?feature-[a-z0-9_-]{1,64}", re.ASCII)
_CONNECTED = "4"
"""XenbusStateConnected of a device's front end."""
_UUID = re.compile(r"/vm/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


@dataclass(frozen=True)
class Told:
    """What xenstore has of one running domain."""

    uuid: str
    reading: GuestReading
    cards: Mapping[str, int] = field(default_factory=dict)
    """The number of each card by MAC, as the back end has it: no guest can write this."""
    devices: frozenset[str] = frozenset()
    """The disks and cards that it has, as ``vbd/51712``."""


class Folder:
    """A domain's folder in xenstore, of which a limited number of things is read."""

    def __init__(self, store: Xenstore, domid: str) -> None:
        self._store = store
        self._path = f"/local/domain/{domid}"
        self._left = REQUESTS

    def text(self, name: str) -> str:
        """A value, cleaned and capped; empty if there is none."""
        if not self._may_ask():
            return ""
        return cleaned(self._store.read(f"{self._path}/{name}"), TEXT_LIMIT)

    def names(self, folder: str, pattern: str = ".*", limit: int = NAMES) -> list[str]:
        """The first names in a folder that are of this kind."""
        if not self._may_ask():
            return []
        shape = re.compile(pattern, re.ASCII)
        return [name for name in self._store.directory(f"{self._path}/{folder}") if shape.fullmatch(name)][:limit]

    def texts(self, names: Mapping[str, str]) -> dict[str, str]:
        """The values that are not empty, under the keys of `names`."""
        return {key: text for key, name in names.items() if (text := self.text(name))}

    def _may_ask(self) -> bool:
        self._left -= 1
        return self._left >= 0


def read(store: Xenstore, domid: str) -> Told | None:
    """What there is about a domain; None if it is gone. XenstoreError if xenstore is."""
    folder = Folder(store, domid)
    named = _UUID.fullmatch(folder.text("vm"))
    if named is None:
        return None
    features = folder.names("control", _FEATURE.pattern, FEATURES)
    installed = folder.text("attr/PVAddons/Installed") == "1"
    devices = {kind: folder.names(f"device/{kind}", r"\d{1,10}") for kind in ("vbd", "vif")}
    vbd, vif = (_connected(folder, kind, numbers) for kind, numbers in devices.items())
    reading = GuestReading(
        os_version=folder.texts(_OS),
        PV_drivers_version=folder.texts(_DRIVERS),
        memory={key: text for key, text in folder.texts(_MEMORY).items() if text.isdecimal()},
        networks=dict(_addresses(folder)),
        other=folder.texts({name: f"control/{name}" for name in features}),
        PV_drivers_detected=installed or vbd or vif,
        can_use_hotplug_vbd=vbd,
        can_use_hotplug_vif=vif,
        last_updated=datetime.now(UTC).replace(microsecond=0),
    )
    there = frozenset(f"{kind}/{number}" for kind, numbers in devices.items() for number in numbers)
    return Told(named[1], reading, _cards(store, domid), there)


def _connected(folder: Folder, kind: str, numbers: Sequence[str]) -> bool:
    """Whether the guest's driver talks to one of its devices of this kind."""
    return any(folder.text(f"device/{kind}/{number}/state") == _CONNECTED for number in numbers[:DEVICES])


def _addresses(folder: Folder) -> Iterator[tuple[str, str]]:
    """XenAPI's keys and the addresses of the guest's cards, as new tools write them, and else as old ones do."""
    first: dict[str, str] = {}
    for card in folder.names("attr/vif", r"\d{1,2}", CARDS):
        for family in ("ipv4", "ipv6"):
            for place in folder.names(f"attr/vif/{card}/{family}", r"\d{1,2}", ADDRESSES):
                if address := _address(folder.text(f"attr/vif/{card}/{family}/{place}"), family):
                    yield f"{card}/{family}/{place}", address
                    if family == "ipv4":
                        first.setdefault(card, address)
    for name in folder.names("attr", r"eth\d{1,2}", CARDS):
        if address := _address(folder.text(f"attr/{name}/ip"), "ipv4"):
            card = name.removeprefix("eth")
            if card not in first:
                first[card] = address
                yield f"{card}/ipv4/0", address
    for card, address in first.items():
        yield f"{card}/ip", address


def _address(text: str, family: str) -> str:
    """The address; empty for a text that is none."""
    try:
        # After a percent sign an IPv6 address may have any text.
        text = text.partition("%")[0]
        return str(ipaddress.IPv4Address(text) if family == "ipv4" else ipaddress.IPv6Address(text))
    except ValueError:
        return ""


def _cards(store: Xenstore, domid: str) -> dict[str, int]:
    back_end = f"/local/domain/{CONTROL_DOMAIN}/backend/vif/{domid}"
    numbers = [number for number in store.directory(back_end) if number.isascii() and number.isdecimal()]
    macs = ((cleaned(store.read(f"{back_end}/{number}/mac")).lower(), int(number)) for number in numbers[:NAMES])
    return {mac: number for mac, number in macs if mac}


def watched(domid: str) -> Sequence[str]:
    """The folders in which something of a domain changes that is told here."""
    guest = f"/local/domain/{domid}"
    back_end = f"/local/domain/{CONTROL_DOMAIN}/backend/vif/{domid}"
    return (f"{guest}/attr", f"{guest}/data", f"{guest}/control", f"{guest}/device", back_end)


class Guests:
    """Follows what all running guests tell, for as long as it is open."""

    def __init__(
        self,
        connect: Callable[[], Xenstore] = Xenstore.connect,
        *,
        round_seconds: float = ROUND_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
        pauses_seconds: Sequence[float] = PAUSES_SECONDS,
        echoes_seconds: Sequence[float] = ECHOES_SECONDS,
    ) -> None:
        self._connect = connect
        self._round_seconds = round_seconds
        self._sweep_seconds = sweep_seconds
        self._pauses_seconds = pauses_seconds
        self._echoes_seconds = echoes_seconds
        self._echoes: list[tuple[float, str]] = []
        self._watchers: list[Callable[[str], None]] = []
        self._device_watchers: list[Callable[[str], None]] = []
        self._domain_watchers: list[Callable[[], None]] = []
        self._told: dict[int, Told] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # --- life

    def start(self) -> None:
        """Begin to follow; a xenstore that is not there is tried again."""
        self._thread = threading.Thread(target=self._run, name="xenstore", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follow no more. Nobody waits for a xenstore that hangs."""
        self._stop.set()

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with the uuid of a domain whose guest tells something else, but for its memory alone."""
        self._watchers.append(changed)

    def watch_devices(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with the uuid of a domain that got or lost a disk or a card, and again some seconds later."""
        self._device_watchers.append(changed)

    def watch_domains(self, changed: Callable[[], None]) -> None:
        """Call `changed` when domains came or went."""
        self._domain_watchers.append(changed)

    # --- what was told

    def reading(self, uuid: str, domid: int) -> GuestReading | None:
        """What the guest of this domain told last; None if it told nothing, or nothing is known of it."""
        told = self._told.get(domid)
        return told.reading if told is not None and told.uuid == uuid and told.reading != GuestReading() else None

    def cards(self, domid: int) -> Mapping[str, int]:
        """The numbers of a domain's network cards by MAC, as far as they are known."""
        told = self._told.get(domid)
        return {} if told is None else told.cards

    # --- in the thread

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                with self._connect() as store:
                    self._follow(store)
            except XenstoreError as error:
                if time.monotonic() - began > max(self._pauses_seconds):
                    failures = 0
                log.log(logging.WARNING if failures == 0 else logging.DEBUG, "guests cannot be listened to: %s", error)
                self._stop.wait(self._pauses_seconds[min(failures, len(self._pauses_seconds) - 1)])
                failures += 1

    def _follow(self, store: Xenstore) -> None:
        store.watch("@introduceDomain", _DOMAINS)
        store.watch("@releaseDomain", _DOMAINS)
        waiting: dict[str, None] = {}
        followed: set[str] = set()
        swept = float("-inf")
        while not self._stop.is_set():
            rung = store.rung(self._round_seconds)
            began = time.monotonic()
            if _DOMAINS in rung:
                self._recount(store, followed, waiting)
                for domains_changed in self._domain_watchers:
                    domains_changed()
            if began - swept > self._sweep_seconds:
                swept = began
                waiting |= dict.fromkeys(followed)
            waiting |= dict.fromkeys(token for token in rung if token in followed)
            while waiting and time.monotonic() - began < self._round_seconds * ROUND_SHARE:
                domid = next(iter(waiting))
                del waiting[domid]
                if domid in followed:
                    self._note(int(domid), read(store, domid))
            self._echo()
            self._stop.wait(max(0.0, began + self._round_seconds - time.monotonic()))

    def _recount(self, store: Xenstore, followed: set[str], waiting: dict[str, None]) -> None:
        """Begin to follow domains that came, and forget those that went."""
        there = {
            domid for domid in store.directory("/local/domain", FOLDER_BYTES) if domid.isascii() and domid.isdecimal()
        }
        there.discard(CONTROL_DOMAIN)
        for domid in followed - there:
            followed.discard(domid)
            waiting.pop(domid, None)
            for path in watched(domid):
                store.unwatch(path, domid)
        for domid in there - followed:
            followed.add(domid)
            for path in watched(domid):
                store.watch(path, domid)
        for known in [domid for domid in self._told if str(domid) not in there]:
            del self._told[known]

    def _note(self, domid: int, told: Told | None) -> None:
        before = self._told.get(domid)
        if told is None:
            return
        if before is None or before != told or before.reading.memory != told.reading.memory:
            self._told[domid] = told
        if before is None or before.reading != told.reading:
            for changed in self._watchers:
                changed(told.uuid)
        if before is not None and before.devices != told.devices:
            now = time.monotonic()
            self._echoes += [(now + seconds, told.uuid) for seconds in (0.0, *self._echoes_seconds)]

    def _echo(self) -> None:
        """Tell of the devices whose time it is."""
        now = time.monotonic()
        due = {uuid for when, uuid in self._echoes if when <= now}
        self._echoes = [(when, uuid) for when, uuid in self._echoes if when > now]
        for uuid in due:
            for changed in self._device_watchers:
                changed(uuid)

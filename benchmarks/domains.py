"""The other side of libvirt: whoever makes domains, changes them, listens to them and counts them without the agent.

``python -m benchmarks.domains URI`` obeys the methods of `Commands`, one line of JSON each. Several of them run beside
each other: one that changes things, one that listens. Nothing of the agent is in them.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any
from xml.sax.saxutils import escape

import libvirt

from benchmarks.processes import serve_commands

DISKS, CARDS = "abc", 2
POLL_SECONDS = 5.0


def name_of(number: int) -> str:
    """The name of a domain of ours."""
    return f"bench-{number:04}"


def title_of(number: int) -> str:
    """The title of a domain of ours, which its machine is called by."""
    return f"Machine {number}"


def definition(number: int) -> str:
    """A domain with three disks and two network cards, as a machine of some use has them."""
    mac = f"52:54:00:{number >> 8:02x}:{number & 255:02x}"
    disks = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/images/{name_of(number)}"
        f"-{letter}.img'/><target dev='xvd{letter}' bus='xen'/></disk>"
        for letter in DISKS
    )
    cards = "".join(
        f"<interface type='bridge'><mac address='{mac}:0{card}'/><source bridge='xenbr{card}'/></interface>"
        for card in range(CARDS)
    )
    return (
        f"<domain type='test'><name>{name_of(number)}</name><title>{title_of(number)}</title><description>"
        f"{escape('one of many & as good as any other')}</description><memory unit='MiB'>1024</memory><vcpu>2</vcpu>"
        f"<os><type>hvm</type></os><devices>{disks}{cards}</devices></domain>"
    )


def node(count: int) -> str:
    """A file for libvirt's test driver: a host with so many domains, which run."""
    domains = "".join(definition(number) for number in range(count))
    return f"<node><cpu><nodes>1</nodes><sockets>1</sockets><cores>8</cores></cpu>{domains}</node>"


class Commands:
    """What it does when told to. Times are nanoseconds of the clock that all processes of a machine share."""

    def __init__(self, uri: str) -> None:
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=self._events, daemon=True).start()
        self._connection = libvirt.open(uri)
        self._known: dict[int, libvirt.virDomain] = {}
        self._heard: list[int] = []

    @staticmethod
    def _events() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    def _domain(self, number: int) -> libvirt.virDomain:
        if number not in self._known:
            self._known[number] = self._connection.lookupByName(name_of(number))
        return self._known[number]

    # --- making

    def define(self, count: int) -> int:
        """Make so many domains, running, and remove all others."""
        for domain in self._connection.listAllDomains():
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        for number in range(count):
            self._known[number] = self._connection.defineXML(definition(number))
            self._known[number].create()
        return len(self._connection.listAllDomains())

    # --- changing

    def suspend(self, number: int) -> list[int]:
        """Pause a domain. When the call began, and when it had returned."""
        return self._timed(self._domain(number).suspend)

    def resume(self, number: int) -> list[int]:
        """Let it run again."""
        return self._timed(self._domain(number).resume)

    @staticmethod
    def _timed(call: Any) -> list[int]:
        begin = time.monotonic_ns()
        call()
        return [begin, time.monotonic_ns()]

    def storm(self, domains: int, passes: int) -> list[int]:
        """Pause and resume so many domains in turn, as fast as it goes. When it began and when it was over."""
        begin = time.monotonic_ns()
        for number in range(passes):
            for which in range(domains):
                domain = self._domain(which)
                domain.resume() if number % 2 else domain.suspend()
        return [begin, time.monotonic_ns()]

    def cycle(self, number: int) -> float:
        """Destroy it and start it again. The seconds."""
        domain = self._domain(number)
        begin = time.perf_counter()
        domain.destroy()
        domain.create()
        return time.perf_counter() - begin

    # --- listening

    def listen(self) -> None:
        """Begin to note when something about any domain changed."""
        self._connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda *event: self._heard.append(time.monotonic_ns()), None
        )

    def heard(self, count: int, seconds: float) -> list[int]:
        """When it did, since the last time this was asked, as soon as it was `count` times."""
        deadline = time.monotonic() + seconds
        while len(self._heard) < count and time.monotonic() < deadline:
            time.sleep(0.001)
        heard, self._heard[:] = list(self._heard), []
        return heard

    # --- looking. All return seconds.

    def bulk_stats(self) -> float:
        """One call that asks for the statistics of all domains."""
        begin = time.perf_counter()
        self._connection.getAllDomainStats()
        return time.perf_counter() - begin

    def each_stats(self) -> float:
        """The calls that a driver without such a call needs, in turn: for every domain, disk and card."""
        begin = time.perf_counter()
        for domain in self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            domain.info()
            domain.vcpus()
            for letter in DISKS:
                domain.blockStats(f"xvd{letter}")
            mac = domain.name()
            number = int(mac.rpartition("-")[2])
            for card in range(CARDS):
                domain.interfaceStats(f"52:54:00:{number >> 8:02x}:{number & 255:02x}:0{card}")
        return time.perf_counter() - begin

    def describe(self) -> float:
        """All that there is to know: the list, and of each its state and description."""
        begin = time.perf_counter()
        for domain in self._connection.listAllDomains():
            domain.name(), domain.UUIDString()
            domain.info()
            domain.XMLDesc()
        return time.perf_counter() - begin

    def poll(self) -> None:
        """From now on ask for all statistics every five seconds, and do nothing else."""
        threading.Thread(target=self._poll, daemon=True).start()

    def _poll(self) -> None:
        while True:
            self._connection.getAllDomainStats()
            time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    serve_commands(Commands(sys.argv[1]))

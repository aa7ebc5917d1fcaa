"""What Xen's own tool, xl, tells of the domains: all that the hypervisor runs, and how each was made.

libvirt's Xen driver knows only what was made through it, and the state it remembers goes stale when others pause a
domain (libvirt 9.0.0). xl asks the hypervisor. Here it is run and its output read, nothing more: what follows from a
list is ``census``' business. A host without xl is no error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.classes.enums import DomainType, OnCrash, OnNormalExit, PowerState
from agent.ports import SeenDisk, SeenDomain, SeenNic
from drivers.program import Program, installed
from drivers.text import cleaned

POOL_LOOKS = 3
"""CPU pools are told by two lists, between which one may come or go."""
KIB = 1024
MIB = KIB * KIB

_LINE = re.compile(
    r"(?P<name>.*?) +(?P<domid>\d+) +(?P<memory>\d+) +(?P<vcpus>\d+) +(?P<state>[r-][b-][p-][s-][a-zA-Z-][d-]) +"
    r"(?P<seconds>\d+\.\d) +(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) +(?P<reason>\S+)"
    r"(?: +(?P<label>\S+))?(?: +.*)?"
)
"""A line of ``xl list -v``. A name may have anything in it, so the line is told by what follows."""
_MEMBER_LINE = re.compile(r".* +(?P<domid>\d+) +\d+ +\d+ +[r-][b-][p-][s-][a-zA-Z-][d-] +\d+\.\d *(?P<pool>\S.*)")
"""A line of ``xl list -c``."""
_POOL_LINE = re.compile(r"(?P<name>.*?) *(?P<cpus>\d+) +(?P<sched>\S+) +y +(?P<domains>\d+)")
"""A line of ``xl cpupool-list``. A name fills 19 columns, and the number after it at least three."""
_VCPU_LINE = re.compile(
    r"(?P<name>.*?) +(?P<domid>\d+) +(?P<vcpu>\d+) +(?P<cpu>\d+|-) +(?P<state>[r-][b-][p-]) +(?P<seconds>\d+\.\d)"
    r"(?: +.*)?"
)
_NAMELESS = "(null)"
_KINDS = {"pv": DomainType.PV, "pvh": DomainType.PVH, "hvm": DomainType.HVM}
_CRASH_ACTIONS = {
    "restart": OnCrash.RESTART,
    "rename_restart": OnCrash.RENAME_RESTART,
    "preserve": OnCrash.PRESERVE,
    "coredump_destroy": OnCrash.COREDUMP_AND_DESTROY,
    "coredump_restart": OnCrash.COREDUMP_AND_RESTART,
}
_PATH_LIMIT = 4096


@dataclass(frozen=True)
class XlDomain:
    """A domain as a line of ``xl list -v`` has it."""

    name: str
    """Empty while it is being made or taken down."""
    domid: int
    memory: int
    vcpus: int
    """Those that are online."""
    state: str
    """Six letters: running, blocked, paused, shut down, what for (``r`` to reboot, ``s`` to be suspended, ``c`` it
    crashed), dying; a dash where it is not so, or was simply shut down.
    """
    cpu_seconds: float
    uuid: str
    label: str = ""
    """Its label of the security module; empty where there is none."""

    @property
    def settled(self) -> bool:
        """Whether it is neither being made nor being taken down, as far as one look tells."""
        return self.name != "" and self.state[5] == "-"

    @property
    def power_state(self) -> PowerState:
        """What it is to the API. One that shut down or crashed is only still there for its tools to clear away."""
        if self.state[3:] != "---":
            return PowerState.HALTED
        return PowerState.PAUSED if self.state[2] == "p" else PowerState.RUNNING


@dataclass(frozen=True)
class XlPool:
    """A CPU pool as ``xl cpupool-list`` has it, with and without its option for processors."""

    name: str
    sched: str
    cpus: tuple[int, ...]
    domains: int
    """How many domains are in it."""


@dataclass(frozen=True)
class XlVcpu:
    """A virtual CPU as a line of ``xl vcpu-list`` has it."""

    domid: int
    number: int
    cpu: int | None
    """The processor that it is on; None for one that is offline."""
    state: str
    """Three letters: running, blocked, paused (or offline)."""
    seconds: float

    @property
    def flags(self) -> tuple[str, ...]:
        """XenAPI's words for its state."""
        words = {"r": "running", "b": "blocked", "p": "paused"}
        return () if self.cpu is None else ("online", *(words[letter] for letter in self.state if letter in words))


def vcpus_in(text: str) -> list[XlVcpu]:
    """The virtual CPUs in the output of ``xl vcpu-list``."""
    matches = (_VCPU_LINE.fullmatch(line.rstrip()) for line in text.splitlines())
    return [
        XlVcpu(
            domid=int(matched["domid"]),
            number=int(matched["vcpu"]),
            cpu=int(matched["cpu"]) if matched["cpu"].isdecimal() else None,
            state=matched["state"],
            seconds=float(matched["seconds"]),
        )
        for matched in matches
        if matched
    ]


def pools_in(table: str, processors: str) -> list[XlPool] | None:
    """The CPU pools in the outputs of ``xl cpupool-list``, without and with ``-c``; None if the two do not agree."""
    lines, lists = table.splitlines()[1:], processors.splitlines()[1:]
    if len(lines) != len(lists):
        return None
    found = []
    for line, listed in zip(lines, lists, strict=True):
        matched = _POOL_LINE.fullmatch(line.rstrip())
        if matched is None or not listed.startswith(matched["name"]):
            return None
        numbers = listed[len(matched["name"]) :].strip()
        cpus = tuple(int(number) for number in numbers.split(",") if number.isdecimal())
        if len(cpus) != int(matched["cpus"]):
            return None
        found.append(XlPool(cleaned(matched["name"]), matched["sched"], cpus, int(matched["domains"])))
    return found


def members_in(text: str) -> dict[int, str]:
    """The names of the CPU pools in the output of ``xl list -c``, by the number of the domain."""
    matches = (_MEMBER_LINE.fullmatch(line.rstrip()) for line in text.splitlines())
    return {int(matched["domid"]): cleaned(matched["pool"]) for matched in matches if matched}


def domains_in(text: str) -> list[XlDomain]:
    """The domains in the output of ``xl list -v``; lines that say nothing of a domain are left out."""
    found = []
    for line in text.splitlines():
        if matched := _LINE.fullmatch(line.rstrip()):
            name = cleaned(matched["name"])
            found.append(
                XlDomain(
                    name="" if name == _NAMELESS else name,
                    domid=int(matched["domid"]),
                    memory=int(matched["memory"]) * MIB,
                    vcpus=int(matched["vcpus"]),
                    state=matched["state"],
                    cpu_seconds=float(matched["seconds"]),
                    uuid=matched["uuid"],
                    label=cleaned(matched["label"].strip("-")) if matched["label"] else "",
                )
            )
    return found


def described(text: str, domain: XlDomain) -> SeenDomain | None:
    """The domain as the output of ``xl list -l`` for it says it was made; None if that cannot be read."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    entries = found if isinstance(found, list) else [found]
    for entry in entries:
        if isinstance(entry, dict) and entry.get("domid") == domain.domid:
            config = _map(entry, "config")
            made, built = _map(config, "c_info"), _map(config, "b_info")
            kind = _KINDS.get(_text(made, "type"), DomainType.UNSPECIFIED)
            # Where the kernel is depends on the version of Xen: with the others, or in the part of its kind.
            own = _map(built, f"type.{_text(made, 'type')}")
            return SeenDomain(
                uuid=domain.uuid,
                name=domain.name,
                power_state=domain.power_state,
                domid=domain.domid,
                persistent=False,
                domain_type=kind,
                VCPUs_max=max(1, domain.vcpus, _number(built, "max_vcpus")),
                VCPUs=max(1, domain.vcpus),
                memory_max=max(domain.memory, _number(built, "max_memkb") * KIB),
                memory=domain.memory,
                PV_kernel=_text(built, "kernel") or _text(own, "kernel"),
                PV_ramdisk=_text(built, "ramdisk") or _text(own, "ramdisk"),
                PV_args=_text(built, "cmdline") or _text(own, "cmdline"),
                PV_bootloader=_text(built, "bootloader") or _text(own, "bootloader"),
                boot_order=_text(own, "boot") if kind is DomainType.HVM else "",
                actions_after_shutdown=_exit(config, "on_poweroff"),
                actions_after_reboot=_exit(config, "on_reboot"),
                actions_after_crash=_CRASH_ACTIONS.get(_text(config, "on_crash"), OnCrash.DESTROY),
                disks=tuple(_disks(config)),
                nics=tuple(_nics(config)),
            )
    return None


def _disks(config: Mapping[str, Any]) -> list[SeenDisk]:
    disks = []
    for disk in _maps(config, "disks"):
        cdrom, form = bool(disk.get("is_cdrom")), _text(disk, "format")
        if target := _text(disk, "vdev"):
            source = _text(disk, "pdev_path")
            read_only = cdrom or not disk.get("readwrite")
            disks.append(SeenDisk(target, cdrom, source, form if form not in ("", "empty") else "raw", read_only))
    return disks


def _nics(config: Mapping[str, Any]) -> list[SeenNic]:
    nics = sorted(_maps(config, "nics"), key=lambda nic: _number(nic, "devid"))
    return [
        SeenNic(_text(nic, "mac").lower(), bridge=_text(nic, "bridge"), model=_text(nic, "model"))
        for nic in nics
        if _text(nic, "mac")
    ]


def _exit(config: Mapping[str, Any], key: str) -> OnNormalExit:
    return OnNormalExit.RESTART if "restart" in _text(config, key) else OnNormalExit.DESTROY


def _map(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    return found if isinstance(found, dict) else {}


def _maps(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = parent.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _text(parent: Mapping[str, Any], key: str) -> str:
    found = parent.get(key)
    return cleaned(found, _PATH_LIMIT) if isinstance(found, str) else ""


def _number(parent: Mapping[str, Any], key: str) -> int:
    found = parent.get(key)
    return found if isinstance(found, int) else 0


class Xl(Program):
    """The tool, if this host has it."""

    @classmethod
    def installed(cls) -> Xl:
        """The one of this host."""
        return cls(installed("xl"))

    def list(self) -> Sequence[XlDomain] | None:
        """All domains that the hypervisor has; None if xl did not tell."""
        text = self.read("list", "-v")
        found = [] if text is None else domains_in(text)
        # There always is the control domain: a list without it is none.
        return found or None

    def describe(self, domain: XlDomain) -> SeenDomain | None:
        """How a domain was made; None if it has gone meanwhile, or xl did not tell."""
        text = self.read("list", "-l", str(domain.domid))
        return None if text is None else described(text, domain)

    def vcpus(self) -> Sequence[XlVcpu]:
        """The virtual CPUs of all domains; none if xl did not tell."""
        return vcpus_in(self.read("vcpu-list") or "")

    def pause(self, domid: int) -> bool:
        """Stop a domain's CPUs once more: Xen counts how often. Whether xl said that it is done."""
        return self.read("pause", str(domid)) is not None

    def unpause(self, domid: int) -> bool:
        """Undo one stop of a domain's CPUs. Whether xl said that it is done."""
        return self.read("unpause", str(domid)) is not None

    def pools(self) -> Sequence[XlPool] | None:
        """All CPU pools; None if xl did not tell."""
        for _ in range(POOL_LOOKS):
            table, processors = self.read("cpupool-list"), self.read("cpupool-list", "-c")
            if table is None or processors is None:
                return None
            if found := pools_in(table, processors):
                return found
        return None

    def members(self) -> Mapping[int, str]:
        """The CPU pool of every domain, by the domain's number; none if xl did not tell."""
        return members_in(self.read("list", "-c") or "")

"""``fsck``: checks the journal, compares it with what libvirt has, mends what is safe and tells the rest.

Without ``--repair`` a copy of the journal is looked at, so that an agent may run. Safe is what the agent would do
itself at its next start: leave out what refers to something gone, and define a machine of ours that libvirt has lost.
Nothing is ever removed from libvirt.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import drivers
from agent import config, messages
from agent.classes import SR, VDI, VM
from agent.cli import complain
from agent.config import Config, ConfigError
from agent.errors import XenError
from agent.ports import Machine
from agent.state_lock import StateHeld, held
from agent.store.journal import Journal, JournalError
from agent.store.store import Store
from agent.terminal import printable
from agent.upkeep import archive
from agent.upkeep.archive import ArchiveError


@dataclass(frozen=True)
class Difference:
    """Something that is not as it should be."""

    text: str
    todo: str
    mended: bool = False
    harmless: bool = False
    """The agent deals with it by itself; nothing is left to do."""


class _Heard(logging.Handler):
    """Collects what the store says about records that it leaves out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def run_fsck(args: argparse.Namespace) -> int:
    """``fsck``: print the differences. 1 if one is left that somebody has to look at."""
    try:
        settings = config.load(args.config, {"state": args.state and str(args.state)})
        with ExitStack() as opened:
            if args.repair:
                opened.enter_context(held(settings))
            elif settings.journal_path.exists():
                settings = _copied(settings, Path(opened.enter_context(tempfile.TemporaryDirectory())))
            if not settings.journal_path.exists():
                return complain(f"there is no journal in {settings.state}")
            found = list(check(settings, repair=args.repair))
    except StateHeld as error:
        return complain(f"{error}; stop it to repair: systemctl stop xen-host-agent.service xen-host-agent.socket")
    except (ConfigError, ArchiveError, JournalError, OSError) as error:
        return complain(error)
    for item in found:
        print(printable(f"{'mended' if item.mended else 'noted' if item.harmless else 'LEFT'}: {item.text}"))
        if not item.mended:
            print(printable(f"     -> {item.todo}"))
    left = [item for item in found if not item.mended and not item.harmless]
    print(f"{len(found)} differences, {sum(item.mended for item in found)} mended, {len(left)} left to look at")
    return int(bool(left))


def _copied(settings: Config, folder: Path) -> Config:
    """The configuration with a copy of the journal in place of it, which may be written."""
    archive.copy_journal(settings.journal_path, folder / archive.JOURNAL)
    return replace(settings, state=folder)


def check(settings: Config, *, repair: bool) -> Iterator[Difference]:
    """Compare, and with `repair` mend what is safe. ArchiveError if the journal is damaged."""
    archive.assert_sound(settings.journal_path)
    api = messages.api()
    heard = _Heard()
    logger = logging.getLogger("agent.store.store")
    logger.addHandler(heard)
    logger.propagate = False
    store = Store(api.classes, Journal(settings.journal_path))
    try:
        store.load()
        todo = "nothing: it is left out at the next start; --repair does it now"
        yield from (Difference(f"the journal: {line}", todo, mended=repair, harmless=True) for line in heard.lines)
        machine = drivers.open(settings.connect, settings.state)
        try:
            yield from machines(store, machine, repair=repair)
            yield from disks(store, machine)
        finally:
            machine.close()
    finally:
        logger.removeHandler(heard)
        logger.propagate = True
        store.close()


def machines(store: Store, machine: Machine, *, repair: bool) -> Iterator[Difference]:
    """Machines that one of the two does not have."""
    try:
        seen = {domain.uuid: domain for domain in machine.domains.list()}
    except XenError as error:
        yield Difference(f"libvirt does not list its domains: {error}", "see to libvirt first: xen-host-agent doctor")
        return
    kept = {vm.uuid: vm for vm in store.all(VM) if not vm.is_a_template and not vm.is_a_snapshot}
    for uuid, vm in kept.items():
        if uuid in seen or vm.is_control_domain:
            continue
        name = f"the machine {vm.name_label!r} ({uuid})"
        if not vm.ours:
            yield Difference(
                f"{name} was adopted, and is gone from libvirt", "nothing: the agent notes it as halted", harmless=True
            )
            continue
        mended, todo = False, "nothing: the agent defines it at its next start; --repair does it now"
        if repair:
            try:
                machine.domains.define(vm)
                mended = True
            except XenError as error:
                todo = f"it cannot be defined: {error}; correct the machine, or VM.destroy it"
        yield Difference(f"{name} is not defined in libvirt", todo, mended=mended, harmless=not repair)
    for uuid, domain in seen.items():
        if uuid not in kept and not domain.is_control_domain:
            text = f"the domain {domain.name!r} ({uuid}) of libvirt is not in the journal"
            yield Difference(text, "nothing: a running agent adopts it", harmless=True)


def disks(store: Store, machine: Machine) -> Iterator[Difference]:
    """Disks whose volume is gone. Which of the two is right, only an admin knows."""
    for sr in store.all(SR):
        if not sr.VDIs or not any(pbd.currently_attached for pbd in sr.PBDs):
            continue
        try:
            there = {volume.location for volume in machine.storage.scan(sr)}
        except XenError as error:
            yield Difference(
                f"the storage {sr.name_label!r} cannot be looked through: {error}", "attach it: PBD.plug", harmless=True
            )
            continue
        for vdi in sr.VDIs:
            if vdi.location and vdi.location not in there:
                yield Difference(_missing(vdi), "put the volume back, or VDI.forget the disk")


def _missing(vdi: VDI) -> str:
    return f"the volume {vdi.location} of the disk {vdi.name_label!r} ({vdi.uuid}) is gone"

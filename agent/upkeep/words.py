"""The words and options of the commands that keep an agent well. What they do is beside."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Add = Callable[..., argparse.ArgumentParser]


def add(commands: Any, add_command: Add, *common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add them; `common` are the options that all have."""
    backup = add_command(
        commands,
        "backup",
        "copy the agent's state to a file",
        "Copy what was asked for, users and keys to one file, of one moment even while an agent runs. Disks are not\n"
        "in it. The running agent makes such copies daily by itself.",
        """xen-host-agent backup /srv/backup/
        xen-host-agent backup state.tar.gz""",
    )
    backup.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="where to: a file, or a folder (FOLDER/), in which it gets a name with the time, as it does by default",
    )
    restore = add_command(
        commands,
        "restore",
        "put a copy of the state back",
        "Put a copy back in place of the state there is, which is copied first. No agent may run on it meanwhile.\n"
        "Running machines are not touched; those that the copy does not know are adopted at the next start.",
        """systemctl stop xen-host-agent.service xen-host-agent.socket xen-host-agent-http.socket
        xen-host-agent restore /var/lib/xen-host-agent/backups/state-20250101T000000Z.tar.gz""",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="a file that backup made")
    doctor = add_command(
        commands,
        "doctor",
        "look over the host and the agent, and say what to do",
        "Check dom0, Xen, libvirt and its driver, sockets, permissions, storage, time, certificate and disk space.\n"
        "Says of each finding what to do. Changes nothing. Exit code 1 where something keeps the agent from working.",
        """xen-host-agent doctor
        xen-host-agent doctor --json""",
    )
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    fsck = add_command(
        commands,
        "fsck",
        "compare the agent's state with libvirt's",
        "Check the journal, and compare machines and disks in it with those that libvirt has. Without --repair\n"
        "nothing is changed, and an agent may run. Exit code 1 where something is left to mend.",
        """xen-host-agent fsck
        systemctl stop xen-host-agent.service xen-host-agent.socket && xen-host-agent fsck --repair""",
    )
    fsck.add_argument("--repair", action="store_true", help="mend what is safe; no agent may run meanwhile")
    for command in (backup, restore, doctor, fsck):
        for option in common:
            option(command)

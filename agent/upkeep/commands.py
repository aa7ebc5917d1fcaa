"""The commands ``backup`` and ``restore``."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from agent import config
from agent.cli import complain
from agent.config import ConfigError
from agent.state_lock import StateHeld, held
from agent.upkeep import archive
from agent.upkeep.archive import ArchiveError


def run_backup(args: argparse.Namespace) -> int:
    """``backup``: copy the state, whether or not an agent runs on it."""
    name = f"xen-host-agent-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    target = Path(args.file or name)
    try:
        if str(args.file or "").endswith("/"):
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if target.is_dir():
            target /= name
        archive.make(config.load(args.config, {"state": args.state and str(args.state)}), target.absolute())
    except (ConfigError, ArchiveError, OSError) as error:
        return complain(error)
    print(target)
    return 0


def run_restore(args: argparse.Namespace) -> int:
    """``restore``: put a copy back, while no agent runs on the state."""
    try:
        settings = config.load(args.config, {"state": args.state and str(args.state)})
        with held(settings):
            before = archive.restore(settings, args.file.absolute())
    except StateHeld as error:
        return complain(f"{error}; stop it first: systemctl stop xen-host-agent.service xen-host-agent.socket")
    except (ConfigError, ArchiveError) as error:
        return complain(error)
    if before is not None:
        print(f"the state that was there is in {before}")
    return 0

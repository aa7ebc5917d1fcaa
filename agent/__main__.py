"""``xen-host-agent``: finds the module of a command and runs it. What the commands are is in ``agent.cli``.

This is the one place that imports by name and late: a command that only asks a running agent would otherwise wait for
libvirt, the HTTP server and the whole model to be imported, several times what it takes itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from agent.cli import parser

MODULES = {
    "serve": "agent.daemon",
    "user": "agent.cli",
    "call": "agent.client",
    "watch": "agent.client",
    "guests": "agent.client",
    "reference": "agent.describe",
    "check-config": "agent.cli",
    "backup": "agent.upkeep.commands",
    "restore": "agent.upkeep.commands",
    "doctor": "agent.upkeep.doctor",
    "fsck": "agent.upkeep.fsck",
    "help": "agent.shell.run",
    "completion": "agent.shell.completion",
}
"""The module of each command; its function is ``run_`` and the command. Others follow from the table."""


def table() -> dict[str, Any]:
    """The sealed table as plain data, for the commands that follow from it."""
    made: dict[str, Any] = import_module("agent.shell.table").data()
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line. Returns the exit code; raises SystemExit 2 where it is wrongly used."""
    try:
        code = _command(sys.argv[1:] if arguments is None else list(arguments))()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who read our output has left, as `head` does. Python would try once more to write it, at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _command(arguments: list[str]) -> Callable[[], int]:
    """What a command line runs. Options of all commands may stand before those that follow from the table."""
    words = [word for word in arguments if not word.startswith("-")]
    if words and arguments[0] not in (*MODULES, "--version", "--help", "-h"):
        return partial(import_module("agent.shell.run").run, arguments, table)
    args = parser().parse_args(arguments)
    args.table = table
    run: Callable[..., int] = getattr(import_module(MODULES[args.command]), f"run_{args.command.replace('-', '_')}")
    return partial(run, args)


if __name__ == "__main__":
    sys.exit(main())

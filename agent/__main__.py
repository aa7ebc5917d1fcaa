"""``xen-host-agent``: finds the module of a command and runs it. What the commands are is in ``agent.cli``.

This is the one place that imports by name and late: a command that only asks a running agent would otherwise wait for
libvirt, the HTTP server and the whole model to be imported, several times what it takes itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from agent.cli import parser

MODULES = {
    "serve": "agent.daemon",
    "user": "agent.cli",
    "call": "agent.client",
    "watch": "agent.client",
    "reference": "agent.describe",
    "check-config": "agent.cli",
}
"""The module of each command; its function is ``run_`` and the command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line. Returns the exit code; raises SystemExit 2 where it is wrongly used."""
    args = parser().parse_args(arguments)
    run: Callable[..., int] = getattr(import_module(MODULES[args.command]), f"run_{args.command.replace('-', '_')}")
    try:
        code = run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who read our output has left, as `head` does. Python would try once more to write it, at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())

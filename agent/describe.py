"""``xen-host-agent reference``: prints what this build serves. The formats are those of ``agent.model.reference``."""

from __future__ import annotations

import argparse
import json

from agent import manual, messages
from agent.model import reference
from agent.shell.table import data_of
from agent.shell.words import Words


def run_reference(args: argparse.Namespace) -> int:
    """Print the sealed table as text, HTML or JSON, or the manual page that is made of it."""
    api = messages.api()
    match args.format:
        case "html":
            print(reference.html(api), end="")
        case "json":
            print(json.dumps(reference.data(api), indent=1, ensure_ascii=False))
        case "man":
            print(manual.commands_page(Words(data_of(api))), end="")
        case _:
            print("\n".join(reference.text(api)))
    return 0

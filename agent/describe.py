"""``xen-host-agent reference``: prints what this build serves. The format is ``agent.model.reference``'s."""

from __future__ import annotations

import argparse
import json

from agent import messages
from agent.model import reference


def run_reference(args: argparse.Namespace) -> int:
    """Print the sealed table as text or JSON."""
    api = messages.api()
    if args.format == "json":
        print(json.dumps(reference.data(api), indent=1, ensure_ascii=False))
    else:
        print("\n".join(reference.text(api)))
    return 0

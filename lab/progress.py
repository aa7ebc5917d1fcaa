"""What all of the lab share: lines that tell how far it is, and the two ways to fail. Nothing that does any work."""

from __future__ import annotations

import sys
import time

START_SECONDS = time.monotonic()


class LabError(Exception):
    """The lab failed; the text says at what."""

    exit_code = 1


class CannotEmulate(LabError):
    """This machine cannot run the lab; one sentence says why. Tests may be skipped for it, in words."""

    exit_code = 77


def say(text: str) -> None:
    """One line of progress on standard error, with the seconds since the command began."""
    print(f"[lab {time.monotonic() - START_SECONDS:6.1f} s] {text}", file=sys.stderr, flush=True)

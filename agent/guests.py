"""What the admin has decided of machines that go up and down with the host. What becomes of them, ``messages.guests``
says.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Guests:
    """The decisions; a running agent changes them when its configuration is read again."""

    at_once: int = 4
    """So many are started at a time."""
    shutdown_seconds: int = 120
    """How long a guest may take to shut down, whose machine does not say it by shutdown_delay."""
    hard_shutdown: bool = True
    """Whether the plug of one is pulled that has not shut down by then."""

"""What the admin has decided of machines that go up and down with the host, of which ``messages.guests`` is, and of
guests that do not get far, of which ``observer.loops`` is.
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
    rapid_seconds: int = 120
    """A guest that crashes or reboots within this time of its start does so rapidly."""
    rapid_crashes: int = 3
    """After so many rapid crashes in a row its machine is stopped; with 0 it never is."""
    rapid_reboots: int = 10
    """After so many rapid reboots and crashes in a row likewise."""

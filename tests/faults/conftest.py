"""The machine in memory and the door to an agent on it, and the daemon, as other tests have them."""

from tests.agent.conftest import door, machine
from tests.front_door.conftest import own_daemon

__all__ = ["door", "machine", "own_daemon"]

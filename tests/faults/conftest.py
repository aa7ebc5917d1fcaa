"""The machine in memory and the door to an agent on it, and the daemon, as other tests have them."""

import pytest

pytest.register_assert_rewrite("tests.faults.walk")

from tests.agent.conftest import door, machine  # noqa: E402
from tests.front_door.conftest import libvirtd, own_daemon  # noqa: E402

__all__ = ["door", "libvirtd", "machine", "own_daemon"]

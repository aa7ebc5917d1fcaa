"""The machine in memory and the door to an agent on it, as the tests of the agent have them."""

from tests.agent.conftest import door, machine

__all__ = ["door", "machine"]

"""The machine in memory, the door to an agent on it and what is served, as the tests of the agent have them."""

from tests.agent.conftest import door, machine
from tests.agent.http.conftest import served

__all__ = ["door", "machine", "served"]

"""The agent's own process, as calls may end it or have it start anew. How that is done, the composition root knows."""

from __future__ import annotations

from collections.abc import Callable

from agent.errors import OperationNotAllowed


class Process:
    """What calls ask of the process. Both return at once: what is answered meanwhile is answered still."""

    def __init__(self) -> None:
        self._end: Callable[[bool], None] | None = None

    def attach(self, end: Callable[[bool], None]) -> None:
        """Let `end` be what ends it. It is called in any thread, with whether the agent is to start anew."""
        self._end = end

    def restart(self) -> None:
        """End, and start anew as the same process."""
        self._ask(again=True)

    def shut_down(self) -> None:
        """End, as if it had been told to by a signal."""
        self._ask(again=False)

    def _ask(self, *, again: bool) -> None:
        if self._end is None:
            raise OperationNotAllowed("the agent is not run as a service, so that its process is not its own")
        self._end(again)

"""Messages for clients to try themselves on: objects that are nothing, an answer that takes its time, and a failure."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from time import monotonic
from typing import Annotated, Any

from agent.call import Call
from agent.classes import Debug
from agent.errors import InvalidValue, OperationNotAllowed
from agent.model.messages import Kind, message
from agent.model.types import Record
from agent.roles import Role

OBJECTS_MAX = 100
WAIT_MAX_SECONDS = 3600.0
STEP_SECONDS = 1.0
"""How often it is looked whether the session is still open."""


@message(Debug, kind=Kind.WRITE)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("debug")]) -> Debug:
    """Make an object that is nothing. It ends with the agent. OPERATION_NOT_ALLOWED beyond 100 of them."""
    if call.store.count("debug") >= OBJECTS_MAX:
        raise OperationNotAllowed(f"there are {OBJECTS_MAX} of them: destroy some")
    return call.store.add(Debug(), volatile=True)


@message(Debug, kind=Kind.READ, role=Role.READ_ONLY)
def return_failure(call: Call) -> None:
    """Fail, always: OPERATION_NOT_ALLOWED, as many messages can."""
    raise OperationNotAllowed("debug.return_failure always fails")


@message(Debug, kind=Kind.WAIT, role=Role.POOL_ADMIN)
def wait(call: Call, wait_time: float) -> Generator[float, None, None]:
    """Answer after so many seconds, an hour at the most. The original server's message. INVALID_VALUE."""
    if not 0 <= wait_time <= WAIT_MAX_SECONDS:
        raise InvalidValue("wait_time", f"{wait_time}: it is none from 0 to {WAIT_MAX_SECONDS:.0f} seconds")
    until = monotonic() + wait_time
    while (left := until - monotonic()) > 0:
        yield -min(left, STEP_SECONDS)

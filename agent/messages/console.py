"""Consoles: the agent lists those that running machines have. Clients make and remove none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from agent.call import Call
from agent.classes import Console
from agent.errors import OperationNotAllowed
from agent.model.messages import Kind, message
from agent.model.types import Record


@message(Console, kind=Kind.WRITE)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("console")]) -> Console:
    """Refused with OPERATION_NOT_ALLOWED: a machine has the consoles that its platform gives it, while it runs."""
    raise OperationNotAllowed("a machine has the consoles that its platform gives it, while it runs")


@message(Console, kind=Kind.WRITE)
def destroy(call: Call, self: Console) -> None:
    """Refused with OPERATION_NOT_ALLOWED: a console goes when its machine stops."""
    raise OperationNotAllowed("a console goes when its machine stops")

"""The class event."""

from __future__ import annotations

from datetime import datetime

from agent.classes.enums import EventOperation
from agent.model.entity import Entity, constructor
from agent.model.types import EPOCH
from agent.roles import Role


class Event(Entity, name="event", role=Role.POOL_OPERATOR, stored=False):
    """TODO."""

    id: int = constructor("TODO id", default=0)
    timestamp: datetime = constructor("TODO timestamp", default=EPOCH)
    class_: str = constructor("TODO class", default="")
    operation: EventOperation = constructor("TODO operation", default=EventOperation.ADD)
    ref: str = constructor("TODO ref", default="")
    obj_uuid: str = constructor("TODO obj uuid", default="")

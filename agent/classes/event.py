"""The class event. Events are waited for in ``agent.messages.event``; no object of this class is ever stored."""

from __future__ import annotations

from datetime import datetime

from agent.classes.enums import EventOperation
from agent.model.entity import Entity, constructor
from agent.model.types import EPOCH
from agent.roles import Role


class Event(Entity, name="event", role=Role.POOL_OPERATOR, stored=False):
    """A change of one object, as event.next and event.from tell it."""

    id: int = constructor("number of the change; later ones have higher numbers", default=0)
    timestamp: datetime = constructor("when the change was made durable", default=EPOCH)
    class_: str = constructor("class of the object that changed, in lower case", default="")
    operation: EventOperation = constructor("add, mod or del", default=EventOperation.ADD)
    ref: str = constructor("reference of the object that changed", default="")
    obj_uuid: str = constructor("uuid of the object that changed", default="")

"""Messages: written by clients, found by what they are about and when they were written, and destroyed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from agent.call import Call
from agent.classes import Message
from agent.classes.checks import TEXT_MAX
from agent.classes.enums import Cls
from agent.errors import InvalidValue, UuidInvalid
from agent.model.messages import Kind, message
from agent.model.types import DateTime, Map, Mistyped, Record, Ref, Refused
from agent.observer.notices import tell
from agent.roles import Role

Messages = Annotated[Mapping[Message, Message], Map(Ref("message"), Record("message"))]
NAME_MAX = 256
ABOUT = {Cls.HOST: "host", Cls.POOL: "pool"}
"""The classes that are written otherwise where they are named in a message."""


@message(Message, kind=Kind.WRITE)
def create(call: Call, name: str, priority: int, cls: Cls, obj_uuid: str, body: str) -> Message:
    """Write a message about an object. UUID_INVALID where there is no such object; INVALID_VALUE for a name of none or
    more than 256 characters, or a body of more than 65536.
    """
    if not 0 < len(name) <= NAME_MAX:
        raise InvalidValue("name", f"it has {len(name)} characters, not 1 to {NAME_MAX}")
    if len(body) > TEXT_MAX:
        raise InvalidValue("body", f"it has {len(body)} characters; a message has {TEXT_MAX} at the most")
    about = call.site.api.classes.get(ABOUT.get(cls, str(cls)))
    if about is None:
        raise UuidInvalid(cls, obj_uuid[:200])
    call.store.by_uuid(about, obj_uuid)
    return tell(call.store, name, priority, cls, obj_uuid, body)


@message(Message, kind=Kind.WRITE, has_async=True)
def destroy_many(call: Call, messages: tuple[Message, ...]) -> None:
    """Destroy messages, all of them or none."""
    for each in messages:
        call.store.destroy(each)


@message(Message, kind=Kind.WRITE, has_async=True)
def destroy_all(call: Call, filters: Mapping[str, str]) -> None:
    """Destroy every message that the filters let through: ``before`` and ``after`` a date, or a field that is so:
    ``priority``, ``cls``, ``obj_uuid``, ``name``. Without filters all of them. INVALID_VALUE for another filter.
    """
    limits: dict[str, datetime] = {}
    for key, value in filters.items():
        if key in ("before", "after"):
            try:
                limits[key] = DateTime().decode(value, lambda name, ref: None)
            except (Mistyped, Refused):
                raise InvalidValue(key, f"{value[:100]!r} is no date") from None
        elif key not in ("priority", "cls", "obj_uuid", "name"):
            raise InvalidValue("filters", f"{key[:100]!r} is none of before, after, priority, cls, obj_uuid and name")
    equal = {key: value for key, value in filters.items() if key not in limits}
    for each in call.store.all(Message):
        if (
            all(str(each.__dict__[key]).lower() == value.lower() for key, value in equal.items())
            and ("before" not in limits or each.timestamp < limits["before"])
            and ("after" not in limits or each.timestamp > limits["after"])
        ):
            call.store.destroy(each)


@message(Message, kind=Kind.READ, role=Role.READ_ONLY)
def get(call: Call, cls: Cls, obj_uuid: str, since: datetime) -> Messages:
    """The messages about an object from a time on, with all their fields."""
    return {
        each: each
        for each in call.store.all(Message)
        if each.cls is cls and each.obj_uuid == obj_uuid and each.timestamp >= since
    }


@message(Message, kind=Kind.READ, role=Role.READ_ONLY)
def get_since(call: Call, since: datetime) -> Messages:
    """The messages from a time on, with all their fields."""
    return {each: each for each in call.store.all(Message) if each.timestamp >= since}

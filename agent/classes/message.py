"""The class message: what an admin should hear of. Written by the agent (``agent.observer.notices``) and by clients."""

from __future__ import annotations

from datetime import datetime

from agent.classes.enums import Cls
from agent.model.entity import Entity, runtime
from agent.model.types import EPOCH
from agent.roles import Role


class Message(Entity, name="message", role=Role.POOL_OPERATOR, destroys=True):
    """A notice to admins about an object: that a machine was started, or what a client has to tell.

    The newest 1,000 are kept.
    """

    uuid: str = runtime("permanent name of this message")
    name: str = runtime("what it says, as a word such as VM_STARTED", kept=True)
    priority: int = runtime("how much it matters, from 1, act now, to 5, day to day", default=5, kept=True)
    cls: Cls = runtime("class of the object that it is about", default=Cls.VM, kept=True)
    obj_uuid: str = runtime("uuid of the object that it is about, which may be gone", kept=True)
    timestamp: datetime = runtime("when it was written", default=EPOCH, kept=True)
    body: str = runtime("what it says, as text for people or for the client that wrote it", kept=True)

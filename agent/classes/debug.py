"""The class debug: objects that are nothing, for clients to try themselves on."""

from __future__ import annotations

from agent.model.entity import Entity, runtime
from agent.roles import Role


class Debug(Entity, name="debug", role=Role.POOL_ADMIN, creates=True, destroys=True):
    """Nothing. It can be made, found and destroyed, so that a client can be tried without touching anything."""

    uuid: str = runtime("permanent name of this object")

"""The class user."""

from __future__ import annotations

from collections.abc import Mapping

from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role


class User(Entity, name="user", role=Role.POOL_ADMIN, creates=True, destroys=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    short_name: str = constructor("TODO short name")
    fullname: str = readwrite("TODO fullname", default="")
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})

"""The class user. Passwords are not here: see ``agent.users``."""

from __future__ import annotations

from collections.abc import Mapping

from agent.classes import checks
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role


class User(Entity, name="user", role=Role.POOL_ADMIN, creates=True, destroys=True):
    """Somebody who has logged in, or may. It gives no rights: accounts are in the agent's own file."""

    uuid: str = runtime("permanent name of this object")
    short_name: str = constructor("name that the user logs in with", check=checks.modest)
    fullname: str = readwrite("name of the person, for people", default="", check=checks.modest)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )

"""The class role: what ``agent.roles`` says, as objects. ``agent.access`` makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model.entity import Entity, constructor, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class AccessRole(Entity, name="role", role=Role.POOL_ADMIN, announced=False):
    """A role that users have, or a permission, which is a role without others in it: to send one message.

    They follow from the messages that this agent serves, and nobody changes them.
    """

    uuid: str = runtime("permanent name of this role, the same on every host")
    name_label: str = constructor("pool-admin and such; of a permission class and message in small letters", default="")
    name_description: str = constructor("what who has it may do", default="")
    subroles: tuple[m.AccessRole, ...] = constructor("permissions that it has; none of a permission", default=())
    is_internal: bool = runtime("always false: all of them are for users", default=False)

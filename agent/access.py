"""The roles and their permissions as objects of the class role, for clients that ask what a user may do.

A permission is to send one message; its name is the message's in small letters, as in xapi. Who may send what, the
sealed table says, and it alone: here it is only told.
"""

from __future__ import annotations

import uuid as uuids

from agent.classes import AccessRole
from agent.model.api import Api
from agent.roles import Role
from agent.store.store import Store

NAMES = uuids.UUID("7b1e4d0a-52d3-4f0e-9a4c-0f6a3c1d2b58")
"""Where the uuids of roles come from, so that a role is the same one after a restart."""

DESCRIPTIONS = {
    Role.POOL_ADMIN: "may do all",
    Role.POOL_OPERATOR: "may do all but say who may do what, and reach into the host",
    Role.VM_POWER_ADMIN: "may make, change and move machines, and say where they run",
    Role.VM_ADMIN: "may make, change and remove machines",
    Role.VM_OPERATOR: "may start and stop machines, and use their consoles",
    Role.READ_ONLY: "may look at everything",
}


def tell_roles(store: Store, api: Api) -> None:
    """Make the objects, anew at each start. Messages that need no session are no permissions."""
    with store.transaction(wait=False):
        permissions = [
            (store.add(_role(message.full_name.lower(), f"send {message.full_name}"), volatile=True), message.role)
            for message in api.messages.values()
            if message.role is not None
        ]
        for role in Role:
            made = _role(role.wire, DESCRIPTIONS[role])
            made.subroles = tuple(permission for permission, least in permissions if least <= role)
            store.add(made, volatile=True)


def permissions_of(store: Store, role: Role) -> tuple[str, ...]:
    """The names of the permissions that a role has, which is told if `tell_roles` was called."""
    found = store.known(AccessRole, _uuid(role.wire))
    return () if found is None else tuple(permission.name_label for permission in found.subroles)


def _role(name: str, description: str) -> AccessRole:
    made = AccessRole(name_label=name, name_description=description)
    made.uuid = _uuid(name)
    return made


def _uuid(name: str) -> str:
    return str(uuids.uuid5(NAMES, name))

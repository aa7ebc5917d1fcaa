"""Which permissions a role has, and which roles a permission."""

from __future__ import annotations

from agent.call import Call
from agent.classes import AccessRole
from agent.model.messages import Kind, message
from agent.roles import Role


@message(AccessRole, kind=Kind.READ, role=Role.READ_ONLY)
def get_permissions(call: Call, self: AccessRole) -> tuple[AccessRole, ...]:
    """List the permissions that a role has; of a permission, that one."""
    return self.subroles or (self,)


@message(AccessRole, kind=Kind.READ, role=Role.READ_ONLY)
def get_permissions_name_label(call: Call, self: AccessRole) -> tuple[str, ...]:
    """List the names of the permissions that a role has."""
    return tuple(permission.name_label for permission in get_permissions(call, self))


@message(AccessRole, kind=Kind.READ, role=Role.READ_ONLY)
def get_by_permission(call: Call, permission: AccessRole) -> tuple[AccessRole, ...]:
    """List the roles that have a permission."""
    return tuple(role for role in call.store.all(AccessRole) if permission in role.subroles)


@message(AccessRole, kind=Kind.READ, role=Role.READ_ONLY)
def get_by_permission_name_label(call: Call, label: str) -> tuple[AccessRole, ...]:
    """List the roles that have the permission of this name; none where there is no such permission."""
    found = [role for role in call.store.all(AccessRole) if role.name_label == label]
    return get_by_permission(call, found[0]) if found else ()

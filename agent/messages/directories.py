"""Directories of users (external authentication), which the agent does not ask: its users are in its own file."""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import Host, Pool
from agent.errors import AuthIsDisabled, AuthUnknownType
from agent.model.messages import Kind, message
from agent.roles import Role

ADMIN = Role.POOL_ADMIN


@message(Pool, role=ADMIN, has_async=False)
def enable_external_auth(call: Call, pool: Pool, config: Mapping[str, str], service_name: str, auth_type: str) -> None:
    """Refused with AUTH_UNKNOWN_TYPE: the agent knows no kind of directory."""
    raise AuthUnknownType(auth_type)


@message(Pool, role=ADMIN, has_async=False)
def disable_external_auth(call: Call, pool: Pool, config: Mapping[str, str] = {}) -> None:
    """Refused with AUTH_IS_DISABLED: no directory is asked."""
    raise AuthIsDisabled


@message(Pool, kind=Kind.READ, has_async=False)
def detect_nonhomogeneous_external_auth(call: Call, pool: Pool) -> None:
    """Fail if hosts of the pool ask different directories. There is one host, which asks none."""


@message(Pool, role=ADMIN, has_async=False)
def external_auth_set_ldaps(call: Call, pool: Pool, ldaps: bool, force: bool = False) -> None:
    """Refused with AUTH_IS_DISABLED: no directory is asked."""
    raise AuthIsDisabled


@message(Host, role=ADMIN, has_async=False, name="enable_external_auth")
def enable_external_auth_of_host(
    call: Call, host: Host, config: Mapping[str, str], service_name: str, auth_type: str
) -> None:
    """Refused with AUTH_UNKNOWN_TYPE: the agent knows no kind of directory."""
    raise AuthUnknownType(auth_type)


@message(Host, role=ADMIN, has_async=False, name="disable_external_auth")
def disable_external_auth_of_host(call: Call, host: Host, config: Mapping[str, str] = {}, force: bool = False) -> None:
    """Refused with AUTH_IS_DISABLED: no directory is asked."""
    raise AuthIsDisabled


@message(Host, role=ADMIN, has_async=False, name="external_auth_set_ldaps")
def external_auth_set_ldaps_of_host(call: Call, host: Host, ldaps: bool, force: bool = False) -> None:
    """Refused with AUTH_IS_DISABLED: no directory is asked."""
    raise AuthIsDisabled

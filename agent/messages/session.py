"""Logging in and out."""

from __future__ import annotations

from typing import Annotated

from agent.call import Call
from agent.classes import Session
from agent.errors import OperationNotAllowed, SessionAuthenticationFailed
from agent.logins import By
from agent.model.messages import Kind, message
from agent.model.types import SessionSecret
from agent.roles import Role
from agent.users import NAME_MAX, UsersError


def _login(call: Call, uname: str, pwd: str, originator: str) -> str:
    who = call.site.logins.identify(call.site.users, call.caller, uname, pwd)
    if who is None:
        raise SessionAuthenticationFailed(uname[:NAME_MAX], "Authentication failure")
    return call.site.sessions.open(who.name, who.role, originator[:NAME_MAX], by=who.by)


@message(Session, kind=Kind.BESIDE, anybody=True, password=True)
def login_with_password(
    call: Call, uname: str, pwd: str, version: str = "1.1", originator: str = ""
) -> Annotated[str, SessionSecret()]:
    """Log in. The result is the session that all other messages take first; it is a secret.

    `version` is the client's idea of the API's and is not looked at. SESSION_AUTHENTICATION_FAILED, after a delay,
    where user and password do not go together. Root needs no password over a Unix socket of the agent, nor does who
    shows a certificate that the agent's configuration names; of several of its names, `uname` may choose one.
    """
    return _login(call, uname, pwd, originator)


@message(Session, kind=Kind.BESIDE, anybody=True, password=True)
def slave_local_login_with_password(call: Call, uname: str, pwd: str) -> Annotated[str, SessionSecret()]:
    """Log in to this host alone, which on a pool of one is the same as login_with_password."""
    return _login(call, uname, pwd, "")


@message(Session, kind=Kind.BESIDE, role=Role.READ_ONLY, has_async=False)
def logout(call: Call) -> None:
    """End this session. Whatever waits for events in it ends with SESSION_INVALID."""
    if call.session is not None:
        call.site.sessions.close(call.session)


@message(Session, kind=Kind.BESIDE, role=Role.READ_ONLY, has_async=False)
def local_logout(call: Call) -> None:
    """End a session that slave_local_login_with_password began."""
    logout(call)


@message(Session, kind=Kind.BESIDE, role=Role.READ_ONLY, has_async=False, password=True)
def change_password(call: Call, old_pwd: str, new_pwd: str) -> None:
    """Give the user of this session another password. SESSION_AUTHENTICATION_FAILED, after a delay, if the old one is
    wrong; OPERATION_NOT_ALLOWED for users who are not in the agent's own file.
    """
    if call.session is None:
        return
    if call.site.logins.mode != By.USERS:
        raise OperationNotAllowed("the agent keeps no passwords: its configuration says who may log in otherwise")
    name = call.session.auth_user_name
    account = call.site.users.check(name, old_pwd)
    if account is None:
        raise SessionAuthenticationFailed(name, "Authentication failure")
    try:
        call.site.users.change_password(name, new_pwd)
    except UsersError as error:
        raise OperationNotAllowed(str(error)) from error


@message(Session, kind=Kind.READ, role=Role.READ_ONLY)
def get_all_subject_identifiers(call: Call) -> tuple[str, ...]:
    """List the names of the users who are logged in."""
    return tuple(dict.fromkeys(session.auth_user_name for session in call.store.all(Session)))


@message(Session, kind=Kind.BESIDE, role=Role.POOL_OPERATOR, has_async=False)
def logout_subject_identifier(call: Call, subject_identifier: str) -> None:
    """End every session of a user, by name as get_all_subject_identifiers lists it, except the one that asks. Nothing
    happens where the user is not logged in.
    """
    call.site.sessions.close_all(subject_identifier, but=call.session)

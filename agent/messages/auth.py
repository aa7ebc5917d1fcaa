"""Who somebody is to a directory. There is none behind this agent, whose users are in a file: AUTH_IS_DISABLED."""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.errors import AuthIsDisabled
from agent.model.messages import Kind, Namespace, message

AUTH = Namespace("auth")


@message(AUTH, kind=Kind.READ)
def get_subject_identifier(call: Call, subject_name: str) -> str:
    """The directory's identifier of a user or group: AUTH_IS_DISABLED."""
    raise AuthIsDisabled


@message(AUTH, kind=Kind.READ)
def get_subject_information_from_identifier(call: Call, subject_identifier: str) -> Mapping[str, str]:
    """What the directory knows of a user or group: AUTH_IS_DISABLED."""
    raise AuthIsDisabled


@message(AUTH, kind=Kind.READ)
def get_group_membership(call: Call, subject_identifier: str) -> tuple[str, ...]:
    """The groups of the directory that a user is in: AUTH_IS_DISABLED."""
    raise AuthIsDisabled

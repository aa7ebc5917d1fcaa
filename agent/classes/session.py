"""The class session. Logging in and out is in ``agent.sessions``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Session(Entity, name="session", role=Role.POOL_ADMIN, announced=False):
    """Somebody who is logged in.

    The reference of this object opens nothing: what a client sends with every call is a secret that only login tells.
    """

    uuid: str = runtime("permanent name of this session, which does not open it")
    this_host: m.Host = runtime("host that the user is logged in to", kept=True)
    this_user: m.User = runtime("user who logged in", kept=True)
    last_active: datetime = runtime(
        "when the session was last used, to the minute", default=EPOCH, kept=True, quiet=True
    )
    pool: bool = runtime("always false: no other host logs in here", default=False, kept=True)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    is_local_superuser: bool = runtime("has the user the role pool-admin, which may do all", default=False, kept=True)
    subject: Entity | None = runtime(
        "always null: no user comes from a directory",
        default=None,
        kept=True,
        to="subject",
    )
    validation_time: datetime = runtime("when the password was checked", default=EPOCH, kept=True)
    auth_user_sid: str = runtime("always empty: no user comes from a directory", default="", kept=True)
    auth_user_name: str = runtime("name that the user logged in with", default="", kept=True)
    rbac_permissions: tuple[str, ...] = constructor(
        "permissions of the user's role by name; empty for a local superuser, who has them all",
        default=(),
        passing=True,
    )
    tasks: tuple[m.Task, ...] = runtime("tasks that were begun in this session", default=())
    parent: m.Session | None = constructor("always null: no session is made by another", default=None, weak=True)
    originator: str = runtime("what the client called itself at login", default="", kept=True)
    client_certificate: bool = runtime("was the user known by a certificate, not a password", default=False, kept=True)
    token_hash: str = internal("hash of the secret that the client holds", default="")
    role_name: str = internal("role that the user had at login", default="read-only")
    vouched_by: str = internal("what vouches for the user; it ends when that does no more", default="users")

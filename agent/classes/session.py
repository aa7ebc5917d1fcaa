"""The class session."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Session(Entity, name="session", role=Role.POOL_ADMIN, announced=False):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    this_host: m.Host = runtime("TODO this host", kept=True)
    this_user: m.User = runtime("TODO this user", kept=True)
    last_active: datetime = runtime("TODO last active", default=EPOCH, kept=True, quiet=True)
    pool: bool = runtime("TODO pool", default=False, kept=True)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    is_local_superuser: bool = runtime("TODO is local superuser", default=False, kept=True)
    subject: Entity | None = runtime("TODO subject", default=None, kept=True, to="subject")
    validation_time: datetime = runtime("TODO validation time", default=EPOCH, kept=True)
    auth_user_sid: str = runtime("TODO auth user sid", default="", kept=True)
    auth_user_name: str = runtime("TODO auth user name", default="", kept=True)
    rbac_permissions: tuple[str, ...] = constructor("TODO rbac permissions", default=())
    tasks: tuple[m.Task, ...] = runtime("TODO tasks", default=())
    parent: m.Session | None = constructor("TODO parent", default=None, weak=True)
    originator: str = runtime("TODO originator", default="", kept=True)
    client_certificate: bool = runtime("TODO client certificate", default=False, kept=True)
    token_hash: str = internal("hash of the secret that the client holds", default="")
    role_name: str = internal("role that the user had at login", default="read-only")

"""One upload or download as a worker sees it, what it is about, and how HTTP tells of what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from agent.call import Call, Site
from agent.classes import Task
from agent.errors import (
    HandleInvalid,
    InvalidValue,
    XenError,
)
from agent.http.streams import Download, Upload
from agent.model.entity import Entity
from agent.rpc.connection import Refusal

E = TypeVar("E", bound=Entity)

STATUSES = {
    "SESSION_INVALID": 401,
    "SESSION_AUTHENTICATION_FAILED": 401,
    "RBAC_PERMISSION_DENIED": 403,
    "PERMISSION_DENIED": 403,
    "HANDLE_INVALID": 404,
    "UUID_INVALID": 404,
    "VDI_MISSING": 404,
    "INVALID_VALUE": 400,
    "VALUE_NOT_SUPPORTED": 400,
    "FIELD_TYPE_ERROR": 400,
    "VDI_IO_ERROR": 400,
    "VDI_TOO_SMALL": 413,
    "SR_FULL": 507,
    "HOST_OFFLINE": 503,
    "TOO_MANY_PENDING_TASKS": 503,
    "INTERNAL_ERROR": 500,
    "SR_BACKEND_FAILURE": 500,
}
"""HTTP's word for an error; 400 for those of an import, 409 for what the state of things forbids."""


def status_of(error: XenError) -> int:
    """The HTTP status of an error."""
    return STATUSES.get(error.code, 400 if error.code.startswith("IMPORT_") else 409)


@dataclass
class Reply:
    """The head of the answer to a download."""

    status: int
    headers: Mapping[str, str]
    length: int | None
    """None where it is not known beforehand."""


@dataclass
class Job:
    """One transfer, as the worker sees it."""

    call: Call
    query: Mapping[str, str]
    headers: Mapping[str, str]
    upload: Upload | None
    download: Download | None
    head_only: bool
    begin: Callable[[Reply | None], None]
    """Said once, when all was checked: the client is to send its body, or is sent this head."""

    def wanted(self, cls: type[E], *names: str) -> E:
        """The object that one of these parameters names, by reference or uuid. HANDLE_INVALID or UUID_INVALID for none
        such.
        """
        for name in names:
            value = self.query.get(name)
            if value:
                return find(self.call, cls, value)
        raise InvalidValue(names[0], "it must be given")

    def word(self, name: str, default: str, *known: str) -> str:
        """A parameter that is one of some words; INVALID_VALUE for another."""
        value = self.query.get(name, default).lower()
        if value not in known:
            raise InvalidValue(name, f"{value[:40]!r} is none of {', '.join(known)}")
        return value


def find(call: Call | Site, cls: type[E], value: str) -> E:
    """The object of this reference or uuid."""
    with call.store.lock:
        if value.startswith("OpaqueRef:"):
            found = call.store.find(cls.wire_name, value)
            if not isinstance(found, cls):
                raise HandleInvalid(cls.wire_name, value[:100])
            return found
        return call.store.by_uuid(cls, value[:100])


def refusal(error: XenError, task: Task | None = None) -> Refusal:
    """An error as HTTP tells it."""
    status = status_of(error)
    headers = {} if task is None else {"Task-Id": task.ref}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="xen-host-agent", charset="UTF-8"'
    return Refusal(status, str(error).encode("utf-8", "replace").decode().replace("\n", " "), headers)

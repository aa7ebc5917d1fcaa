"""What libvirt says when it refuses, told as XenAPI errors: one table, one context manager.

The table is read by error code and, where the code alone says too little, by the part of libvirt it comes from. A wrong
power state cannot be told from a code (libvirt 9.0.0: the Xen driver answers 55, the test driver 1, and both use 1 for
everything else as well), so callers look at the state first; that is ``drivers.domains``' business, not this module's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import libvirt

from agent.errors import (
    HostOffline,
    InternalError,
    OperationNotAllowed,
    PermissionDenied,
    SrBackendFailure,
    SrHasNoPbds,
    UniquenessViolated,
    ValueNotSupported,
    VdiMissing,
    VMBadPowerState,
    XenError,
)


class Lifeline(Protocol):
    """The part of a connection that tells a refusal from a death."""

    uri: str

    def suspect(self) -> bool:
        """Whether the connection is dead; if it is, its repair begins."""


@dataclass(frozen=True)
class Failure:
    """One libvirtError, with what its caller knows of the matter."""

    code: int
    domain: int
    message: str
    subject: object
    what: Mapping[str, object]


def _offline(failure: Failure) -> XenError:
    return HostOffline(failure.what.get("host", ""))


def _gone(failure: Failure) -> XenError:
    # A machine without a domain is a halted machine: the hypervisor never keeps one of a name it does not know.
    return VMBadPowerState(failure.subject, str(failure.what.get("expected", "running")), "halted")


def _refused(failure: Failure) -> XenError:
    return OperationNotAllowed(failure.message)


def _busy(failure: Failure) -> XenError:
    return OperationNotAllowed(f"another operation on it is under way and does not end: {failure.message}")


def _unsupported(failure: Failure) -> XenError:
    if "field" in failure.what:
        return _out_of_range(failure)
    return OperationNotAllowed(f"the hypervisor's library has no way to do this: {failure.message}")


def _out_of_range(failure: Failure) -> XenError:
    if "field" not in failure.what:
        return _unknown(failure)
    return ValueNotSupported(str(failure.what["field"]), failure.what.get("value", ""), failure.message)


def _denied(failure: Failure) -> XenError:
    return PermissionDenied(failure.message)


def _no_pool(failure: Failure) -> XenError:
    return SrHasNoPbds(failure.what.get("sr", failure.subject))


def _no_volume(failure: Failure) -> XenError:
    return VdiMissing(failure.what.get("sr", ""), failure.what.get("vdi", failure.subject))


def _volume_exists(failure: Failure) -> XenError:
    return UniquenessViolated("VDI", "location", str(failure.what.get("value", failure.message)))


def _storage(failure: Failure) -> XenError:
    return SrBackendFailure(str(failure.code), "", failure.message)


def _unknown(failure: Failure) -> XenError:
    return InternalError(f"libvirt: {failure.message} (error {failure.code} of domain {failure.domain})")


TABLE: Mapping[tuple[int | None, int | None], Callable[[Failure], XenError]] = {
    (libvirt.VIR_ERR_AUTH_FAILED, None): _denied,
    (libvirt.VIR_ERR_ACCESS_DENIED, None): _denied,
    (libvirt.VIR_ERR_OPERATION_DENIED, None): _denied,
    (libvirt.VIR_ERR_NO_CONNECT, None): _offline,
    (libvirt.VIR_ERR_INVALID_CONN, None): _offline,
    # Errors of the RPC layer itself; what the daemon answers comes under the domain it arose in.
    (None, libvirt.VIR_FROM_RPC): _offline,
    (libvirt.VIR_ERR_NO_DOMAIN, None): _gone,
    (libvirt.VIR_ERR_OPERATION_INVALID, None): _refused,
    (libvirt.VIR_ERR_OPERATION_TIMEOUT, None): _busy,
    (libvirt.VIR_ERR_NO_SUPPORT, None): _unsupported,
    (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, None): _unsupported,
    (libvirt.VIR_ERR_OPERATION_UNSUPPORTED, None): _unsupported,
    (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, None): _unsupported,
    (libvirt.VIR_ERR_INVALID_ARG, None): _out_of_range,
    (libvirt.VIR_ERR_NO_STORAGE_POOL, None): _no_pool,
    (libvirt.VIR_ERR_NO_STORAGE_VOL, None): _no_volume,
    (libvirt.VIR_ERR_STORAGE_VOL_EXIST, None): _volume_exists,
    (None, libvirt.VIR_FROM_STORAGE): _storage,
}
"""By code and libvirt's error domain, None for any. The more particular key counts: both, then code, then domain."""


def explain(error: libvirt.libvirtError, subject: object = None, **what: object) -> XenError:
    """The XenError for `error`; INTERNAL_ERROR with libvirt's words and code for one that the table does not have."""
    code, domain = error.get_error_code() or 0, error.get_error_domain() or 0
    failure = Failure(code, domain, error.get_error_message() or str(error), subject, what)
    for key in ((code, domain), (code, None), (None, domain)):
        if key in TABLE:
            return TABLE[key](failure)
    return _unknown(failure)


@contextmanager
def translated(subject: object = None, *, connection: Lifeline | None = None, **what: object) -> Iterator[None]:
    """Raise every libvirtError of the body as a XenError about `subject`.

    `what` holds what the errors' parameters need: ``field`` and ``value`` where a value may be refused, ``expected``
    power state, ``sr``, ``vdi``, ``host``. With `connection`, an error on one that is dead is HOST_OFFLINE whatever its
    code (libvirt 9.0.0: a call that the keepalive ended says 1, "the cause is unknown"), and the repair begins.
    """
    try:
        yield
    except libvirt.libvirtError as error:
        if connection is not None:
            if connection.suspect():
                raise HostOffline(connection.uri) from error
            what.setdefault("host", connection.uri)
        raise explain(error, subject, **what) from error

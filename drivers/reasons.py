"""Why a call of libvirt failed, kept until its exception is made. What follows from a reason, ``failures`` says.

libvirt keeps the reason of the last failure in each thread until the next call there, and libvirt-python (9.0.0)
fetches it only while it makes the exception. Python may collect garbage just before; a domain or volume among that is
then freed by a call of libvirt's, and the exception has neither code nor words (``get_error_code()`` is None).
libvirt hands every reason to an error handler at once, in the thread of the call, so that is where it is kept.
"""

from __future__ import annotations

import threading
from typing import Any

import libvirt

_made = libvirt.libvirtError.__init__
_told = threading.local()


def keep() -> None:
    """Give every libvirtError its reason from now on, and have libvirt print none on stderr, as it else does."""
    libvirt.registerErrorHandler(_note, None)
    libvirt.libvirtError.__init__ = _init


def _note(context: object, reason: tuple[Any, ...]) -> None:
    _told.reason = reason


def _init(self: libvirt.libvirtError, defmsg: str) -> None:
    reason, _told.reason = getattr(_told, "reason", None), None
    _made(self, defmsg)
    if self.err is None and reason is not None:
        self.err = reason
        self.args = (reason[2],)

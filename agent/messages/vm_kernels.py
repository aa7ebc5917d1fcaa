"""Kernels and ramdisks of PV and PVH guests: a path of the host, the same as a ``file:`` URI, or the content itself as
a ``data:`` URI.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from agent.call import Call
from agent.classes import VM
from agent.errors import InvalidValue
from agent.model.messages import message

FIELDS = ("PV_kernel", "PV_ramdisk")
DATA, FILE = "data:", "file://"


def kept(call: Call, field: str, value: str) -> str:
    """The value to keep: a ``data:`` URI (RFC 2397) becomes a file of the host, and the URI of that.

    INVALID_VALUE for one that is malformed or empty. May block.
    """
    if value[: len(DATA)].lower() != DATA:
        return value
    head, comma, text = value[len(DATA) :].partition(",")
    try:
        if head.lower().endswith(";base64"):
            content = base64.b64decode(unquote_to_bytes(text), validate=True)
        else:
            content = unquote_to_bytes(text)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue(field, f"{value[:40]}...: {error}") from None
    if not comma or not content:
        raise InvalidValue(field, f"{value[:40]}: it has no content")
    return FILE + call.domains.keep_image(content)


@message(VM, has_async=False)
def set_PV_kernel(call: Call, self: VM, value: str) -> None:
    """Set the kernel of a PV or PVH guest, from its next start on: a path of the host, its ``file:`` URI, or the kernel
    itself as a ``data:`` URI, which is kept as a file and reads back as the URI of that.
    """
    _set(call, self, "PV_kernel", value)


@message(VM, has_async=False)
def set_PV_ramdisk(call: Call, self: VM, value: str) -> None:
    """Set the initial ramdisk that goes with PV_kernel, in the same forms."""
    _set(call, self, "PV_ramdisk", value)


def _set(call: Call, vm: VM, field: str, value: str) -> None:
    path = kept(call, field, value)
    with call.store.transaction():
        setattr(vm, field, path)
    call.observer.redefine(vm)

"""Crash dumps: removing them, with their files."""

from __future__ import annotations

from agent.call import Call
from agent.classes import Crashdump
from agent.model.messages import message


@message(Crashdump)
def destroy(call: Call, self: Crashdump) -> None:
    """Remove the dump, its VDI and the file on the host. One whose file is gone is no error.

    OPERATION_NOT_ALLOWED while something else refers to the VDI.
    """
    vdi = self.VDI
    with call.store.transaction():
        call.store.destroy(self)
        call.store.destroy(vdi)
    call.domains.remove_crash_dump(vdi.location)

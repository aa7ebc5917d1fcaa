"""PBDs: how this host reaches a storage, and whether it does now."""

from __future__ import annotations

from agent.call import Call
from agent.classes import PBD
from agent.classes.lifecycle import vdi_in_use
from agent.errors import OperationNotAllowed, VdiInUse
from agent.messages.sr import note_content
from agent.model.messages import Kind, message


@message(PBD)
def plug(call: Call, self: PBD) -> None:
    """Attach the storage and look at what is in it. One that is attached stays so."""
    if not self.currently_attached:
        call.storage.attach(self)
        _note(call, self, True)
    note_content(call, self.SR)


@message(PBD)
def unplug(call: Call, self: PBD) -> None:
    """Detach the storage; nothing in it is touched. VDI_IN_USE while a machine has one of its disks."""
    if not self.plugged and not self.currently_attached:
        return
    for vdi in self.SR.VDIs:
        if vdi_in_use(vdi):
            raise VdiInUse(vdi, "unplug")
    if self.currently_attached:
        call.storage.detach(self)
    _note(call, self, False)


def _note(call: Call, pbd: PBD, attached: bool) -> None:
    with call.store.transaction():
        pbd.currently_attached = pbd.plugged = attached


@message(PBD, kind=Kind.WRITE, has_async=True)
def destroy(call: Call, self: PBD) -> None:
    """Forget how the storage is reached. It must be unplugged."""
    if self.currently_attached:
        raise OperationNotAllowed("the storage is attached: unplug the PBD first")
    call.store.destroy(self)

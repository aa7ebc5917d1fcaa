"""The class DPCI. How a device gets to a machine is in ``agent.messages.dpci``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.classes import checks
from agent.model.entity import Entity, constructor, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

ANY_SLOT = -1


class DPCI(Entity, role=Role.POOL_ADMIN, creates=True, destroys=True, lane="VM"):
    """A PCI device of the host that one machine has for itself.

    It is given to a halted machine for its next start, and to a running one at once. A device that the host itself uses
    is refused.
    """

    uuid: str = runtime("permanent name of this assignment")
    VM: m.VM = constructor("machine that has the device", bound="DPCIs", cascade=True)
    PPCI: m.PPCI = constructor("device of the host")
    hotplug_slot: int = constructor(
        "slot that the guest is to see the device in; -1 for any, since libvirt's Xen driver chooses it",
        default=ANY_SLOT,
        check=checks.only("hotplug_slot", ANY_SLOT, reason="libvirt's Xen driver chooses the slot: leave it to -1"),
    )
    virtual_domain: int = runtime("always -1: libvirt's Xen driver does not tell where the guest sees it", default=-1)
    virtual_bus: int = runtime("always -1: libvirt's Xen driver does not tell where the guest sees it", default=-1)
    virtual_slot: int = runtime("always -1: libvirt's Xen driver does not tell where the guest sees it", default=-1)
    virtual_func: int = runtime("always -1: libvirt's Xen driver does not tell where the guest sees it", default=-1)
    virtual_name: str = runtime("always empty: libvirt's Xen driver does not tell where the guest sees it", default="")

"""The class VTPM. A machine that has one is refused at its start, by the driver: see ``agent.messages.vtpm``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.classes.enums import PersistenceBackend, VtpmOperation
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class VTPM(Entity, role=Role.VM_ADMIN, creates=True, destroys=True, lane="VM"):
    """A virtual TPM of a machine: the wish for one, since libvirt's Xen driver makes none.

    That driver takes the element and ignores it in silence, so a machine with a VTPM is not started.
    """

    uuid: str = runtime("permanent name of this TPM")
    VM: m.VM = constructor("machine that is to have the TPM", bound="VTPMs", cascade=True)
    backend: m.VM | None = constructor(
        "domain that would play the TPM; null for the control domain", default=None, weak=True
    )
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    runtime_properties: Mapping[str, str] = runtime("always empty: no such device runs", default={})
    allowed_operations: tuple[VtpmOperation, ...] = runtime(
        "what can be done to the TPM now", default=(VtpmOperation.DESTROY,)
    )
    current_operations: Mapping[str, VtpmOperation] = runtime(
        "what is being done to the TPM, by the reference of the task that does it", default={}
    )
    persistence_backend: PersistenceBackend = runtime(
        "always xapi: the one word that clients know; the TPM of a machine that cannot run keeps nothing",
        default=PersistenceBackend.XAPI,
    )
    is_unique: bool = constructor("is a copy of the machine to have no copy of the TPM", default=False)
    is_protected: bool = runtime("always false: there is no content to protect", default=False)

"""The class PBD. How storage is attached and detached is in ``agent.messages.pbd``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class PBD(Entity, role=Role.POOL_OPERATOR, creates=True, destroys=True, lane="SR"):
    """How one host reaches one storage repository. While it is attached, the libvirt pool is active."""

    uuid: str = runtime("permanent name of this way to the storage")
    host: m.Host = constructor("host that reaches the storage", bound="PBDs")
    SR: m.SR = constructor("storage that is reached", bound="PBDs", cascade=True)
    device_config: Mapping[str, str] = constructor(
        "where the storage is: location, device, server, serverpath and the like, by the type of the storage",
        check=checks.modest,
    )
    currently_attached: bool = runtime("is the storage usable now: is its libvirt pool active", default=False)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    plugged: bool = internal(
        "is it meant to be attached: a pool that the hypervisor has forgotten is then attached again", default=False
    )

    derive_from = frozenset({"currently_attached"})

    def derive(self) -> None:
        """What can be done with the storage follows from whether it is attached."""
        lifecycle.derive_sr(self.SR)

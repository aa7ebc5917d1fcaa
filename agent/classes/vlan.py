"""The class VLAN: which card of the host carries which VLAN. How one is made is in ``agent.messages.vlan``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class VLAN(Entity, role=Role.POOL_OPERATOR, destroys=True):
    """A VLAN on a card of the host: the card that its tagged frames pass, and the PIF that has them without the tag."""

    uuid: str = runtime("permanent name of this VLAN")
    tagged_PIF: m.PIF = constructor("card that carries the tagged frames", bound="VLAN_slave_of", part=True)
    untagged_PIF: m.PIF = runtime("PIF that carries the network, whose frames have no tag there", kept=True, part=True)
    tag: int = constructor("number of the VLAN, 1 to 4094", default=-1)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )

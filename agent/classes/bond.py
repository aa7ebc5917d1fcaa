"""The class Bond: cards of the host that act as one. How one is made is in ``agent.messages.bond``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.classes.enums import BondMode
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Bond(Entity, role=Role.POOL_OPERATOR, destroys=True):
    """Several cards of the host that act as one: more of them carry more, or stand in for each other."""

    uuid: str = runtime("permanent name of this bond")
    master: m.PIF = constructor("PIF of the bond as a whole", bound="bond_master_of", part=True)
    slaves: tuple[m.PIF, ...] = runtime("cards that it consists of", default=())
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    primary_slave: m.PIF | None = runtime(
        "card that is preferred, or whose address the bond has; null for none", default=None, kept=True, weak=True
    )
    mode: BondMode = runtime(
        "how the cards share the load; balance-slb stands for each of Linux' modes that xapi has no word for, of which "
        "properties has the name",
        default=BondMode.BALANCE_SLB,
        kept=True,
    )
    properties: Mapping[str, str] = runtime(
        "hashing_algorithm and lacp-time of lacp; mode, where Linux' own word for it is another", default={}, kept=True
    )
    links_up: int = runtime("how many of its cards have a link", default=0)
    auto_update_mac: bool = runtime(
        "is its address that of a card, rather than one that a client chose", default=True, kept=True
    )

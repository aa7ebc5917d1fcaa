"""Bonds of the host's cards: each verb, each error of its docstring, and what a failing port leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from agent.classes import PIF, VIF, VLAN, VM, Bond, Network
from agent.classes.enums import BondMode
from agent.errors import OperationNotAllowed
from agent.ports import SeenBond, SeenInterface
from tests.door import Door
from tests.fake_machine import FakeMachine

MAC = "52:54:00:00:00:0{}"


@pytest.fixture
def cards(machine: FakeMachine, door: Door) -> list[PIF]:
    """Two cards that nobody needs, beside the one that the host is managed through."""
    machine.node.seen_interfaces += [
        SeenInterface(f"eth{number}", MAC.format(number), 1500, True, True, 1000, True, f"xenbr{number}")
        for number in (2, 3)
    ]
    resync(door, machine)
    return [card(door, "eth2"), card(door, "eth3")]


@pytest.fixture
def network(door: Door) -> Network:
    made: Network = door("network.create", {"name_label": "lab"})
    return made


def card(door: Door, device: str) -> PIF:
    return next(pif for pif in door.store.all(PIF) if pif.device == device)


def resync(door: Door, machine: FakeMachine) -> None:
    """Look at everything again."""
    machine.domains.changed(None)
    door.idle()


def bond(door: Door, network: Network, cards: list[PIF], MAC: str = "", **more: Any) -> Bond:
    made: Bond = door("Bond.create", network, [each.ref for each in cards], MAC, more.get("mode", "active-backup"))
    return made


def refusal(door: Door, network: Network, cards: list[PIF], MAC: str = "", mode: str = "active-backup") -> list[str]:
    return door.refused("Bond.create", network, [each.ref for each in cards], MAC, mode)


def bridges(machine: FakeMachine) -> Mapping[str, str]:
    return {seen.device: seen.bridge for seen in machine.node.seen_interfaces}


def test_a_bond_carries_a_network(door: Door, machine: FakeMachine, network: Network, cards: list[PIF]) -> None:
    made = bond(door, network, cards)
    master = made.master
    assert (master.device, master.network, master.physical, master.MAC) == ("bond0", network, False, MAC.format(2))
    assert (made.slaves, made.primary_slave, made.auto_update_mac) == (tuple(cards), cards[0], True)
    assert [each.bond_slave_of for each in cards] == [made, made]
    resync(door, machine)
    assert (made.mode, made.links_up, master.bond_master_of) == (BondMode.ACTIVE_BACKUP, 1, (made,))
    assert bridges(machine) == {"eth0": "xenbr0", "eth2": "", "eth3": "", "bond0": network.bridge}


def test_a_removed_bond_leaves_its_cards_where_they_were(
    door: Door, machine: FakeMachine, network: Network, cards: list[PIF]
) -> None:
    made = bond(door, network, cards, "52:54:00:aa:bb:cc")
    assert (made.master.MAC, made.auto_update_mac) == ("52:54:00:aa:bb:cc", False)
    door("Bond.destroy", made)
    resync(door, machine)
    assert (door.store.all(Bond), [each.bond_slave_of for each in cards], network.PIFs) == ([], [None, None], ())
    assert bridges(machine) == {"eth0": "xenbr0", "eth2": "xenbr2", "eth3": "xenbr3"}


def test_mode_and_properties_are_changed(door: Door, machine: FakeMachine, network: Network, cards: list[PIF]) -> None:
    made = bond(door, network, cards)
    door("Bond.set_mode", made, "lacp")
    door("Bond.set_property", made, "lacp-time", "fast")
    resync(door, machine)
    assert (made.mode, made.properties) == (BondMode.LACP, {"lacp-time": "fast"})


def test_what_cannot_be_a_part_of_a_bond_is_refused(
    door: Door, machine: FakeMachine, network: Network, cards: list[PIF]
) -> None:
    eth0 = card(door, "eth0")
    assert refusal(door, network, cards[:1]) == ["PIF_BOND_NEEDS_MORE_MEMBERS"]
    assert refusal(door, network, [cards[0], cards[0]]) == ["PIF_BOND_NEEDS_MORE_MEMBERS"]
    assert refusal(door, network, [cards[0], eth0]) == ["PIF_IS_MANAGEMENT_INTERFACE", eth0.ref]
    assert refusal(door, network, cards, "01:00:00:00:00:00")[0] == "MAC_INVALID"
    assert refusal(door, eth0.network, cards)[0] == "NETWORK_ALREADY_CONNECTED"
    other: Network = door("network.create", {"name_label": "other"})
    vlan: VLAN = door("VLAN.create", cards[0], "5", other)
    assert refusal(door, network, cards) == ["PIF_VLAN_STILL_EXISTS", cards[0].ref]
    assert refusal(door, network, [vlan.untagged_PIF, cards[1]]) == ["PIF_IS_VLAN", vlan.untagged_PIF.ref]
    door("VLAN.destroy", vlan)
    made = bond(door, network, cards)
    assert refusal(door, other, cards) == ["PIF_ALREADY_BONDED", cards[0].ref]
    assert refusal(door, other, [made.master, eth0]) == ["PIF_IS_NOT_PHYSICAL", made.master.ref]
    assert door.refused("VLAN.create", cards[0], "5", other) == ["CANNOT_ADD_VLAN_TO_BOND_SLAVE", cards[0].ref]
    assert door.refused("PIF.destroy", made.master)[0] == "OPERATION_NOT_ALLOWED"


def test_a_card_that_has_an_address_or_carries_a_running_machine_is_refused(
    door: Door, machine: FakeMachine, network: Network, cards: list[PIF]
) -> None:
    vm: VM = door.vm()
    vif: VIF = door("VIF.create", {"VM": vm.ref, "network": cards[1].network.ref, "device": "0"})
    door.idle()
    door("VM.start", vm, False, False)
    assert refusal(door, network, cards) == ["VIF_IN_USE", cards[1].network.ref, vif.ref]
    machine.node.seen_interfaces[1] = replace(machine.node.seen_interfaces[1], IP="198.51.100.7")
    resync(door, machine)
    assert refusal(door, network, cards)[0] == "OPERATION_NOT_ALLOWED"


def test_a_bond_with_a_vlan_stays_until_that_is_removed(door: Door, network: Network, cards: list[PIF]) -> None:
    made = bond(door, network, cards)
    other: Network = door("network.create", {"name_label": "other"})
    vlan: VLAN = door("VLAN.create", made.master, "5", other)
    assert door.refused("Bond.destroy", made) == ["PIF_VLAN_STILL_EXISTS", made.master.ref]
    door("VLAN.destroy", vlan)
    door("Bond.destroy", made)


def test_a_bond_under_the_host_s_own_address_is_not_touched(
    door: Door, machine: FakeMachine, network: Network, cards: list[PIF]
) -> None:
    made = bond(door, network, cards)
    machine.node.seen_interfaces = [
        replace(seen, IP="192.0.2.10" if seen.device == "bond0" else "") for seen in machine.node.seen_interfaces
    ]
    resync(door, machine)
    for name, *more in (("destroy",), ("set_mode", "lacp"), ("set_property", "lacp-time", "fast")):
        assert door.refused(f"Bond.{name}", made, *more) == ["PIF_IS_MANAGEMENT_INTERFACE", made.master.ref]


def test_the_bonds_of_the_host_s_own_configuration_are_shown_and_left_alone(
    door: Door, machine: FakeMachine, cards: list[PIF]
) -> None:
    seen = SeenBond(BondMode.BALANCE_SLB, ["eth2"], "eth2", 1, {"mode": "balance-rr"})
    theirs = SeenInterface("bond7", MAC.format(7), 1500, False, True, 0, False, bond=seen)
    machine.node.seen_interfaces.append(theirs)
    resync(door, machine)
    [found] = door.store.all(Bond)
    assert (found.master.device, found.slaves, found.primary_slave) == ("bond7", (cards[0],), cards[0])
    assert (found.mode, found.properties) == (BondMode.BALANCE_SLB, {"mode": "balance-rr"})
    for name, *more in (("destroy",), ("set_mode", "lacp")):
        assert door.refused(f"Bond.{name}", found, *more)[0] == "OPERATION_NOT_ALLOWED"
    machine.node.seen_interfaces[-1] = replace(theirs, bond=replace(seen, slaves=["eth3"]))
    resync(door, machine)
    assert found.slaves == (cards[1],)
    machine.node.seen_interfaces.pop()
    resync(door, machine)
    assert (door.store.all(Bond), cards[1].bond_slave_of) == ([], None)


def test_a_bond_that_cannot_be_made_was_never_there(
    door: Door, machine: FakeMachine, network: Network, cards: list[PIF]
) -> None:
    machine.networks.fail("create_bond", OperationNotAllowed("no bonding"))
    assert refusal(door, network, cards) == ["OPERATION_NOT_ALLOWED", "no bonding"]
    assert (door.store.all(Bond), network.PIFs) == ([], ())


def test_a_bond_and_its_vlan_are_made_again_when_the_host_has_forgotten_them(
    door: Door, machine: FakeMachine, network: Network, cards: list[PIF]
) -> None:
    made = bond(door, network, cards)
    other: Network = door("network.create", {"name_label": "other"})
    door("VLAN.create", made.master, "5", other)
    machine.node.seen_interfaces = [seen for seen in machine.node.seen_interfaces if seen.physical]
    machine.networks.fail("create_bond", OperationNotAllowed("not now"))
    machine.networks.fail("create_vlan", OperationNotAllowed("not now"))
    resync(door, machine)
    assert (made.master.currently_attached, made.slaves) == (False, tuple(cards))
    machine.networks.plan.clear()
    resync(door, machine)
    assert sorted(bridges(machine)) == ["bond0", "bond0.5", "eth0", "eth2", "eth3"]
    assert (made.master.currently_attached, made.slaves) == (True, tuple(cards))

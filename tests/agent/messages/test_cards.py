"""The host's cards: switched on and off, looked for and forgotten; and what a network is set aside for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.classes import PIF, VIF, VM, Bond, Host, Network
from agent.errors import OperationNotAllowed
from agent.ports import SeenInterface
from tests.door import Door
from tests.fake_machine import FakeMachine

NEW = SeenInterface("eth2", "52:54:00:00:00:02", 1500, True, True, 1000, True, "xenbr2", virtual_functions=8)


def resync(door: Door, machine: FakeMachine) -> None:
    """Look at everything again."""
    machine.domains.changed(None)
    door.idle()


def card(door: Door, device: str) -> PIF:
    return next(pif for pif in door.store.all(PIF) if pif.device == device)


@pytest.fixture
def spare(door: Door, machine: FakeMachine) -> PIF:
    """A card that nobody needs."""
    machine.node.seen_interfaces.append(NEW)
    resync(door, machine)
    return card(door, "eth2")


def test_a_card_is_switched_off_and_on(door: Door, machine: FakeMachine, spare: PIF) -> None:
    door("PIF.unplug", spare)
    off = spare.currently_attached, machine.node.seen_interfaces[-1].up
    resync(door, machine)
    assert (*off, spare.currently_attached) == (False, False, False)
    door("PIF.plug", spare)
    assert (spare.currently_attached, machine.node.seen_interfaces[-1].up) == (True, True)
    machine.networks.fail("switch", OperationNotAllowed("no"))
    assert door.refused("PIF.unplug", spare) == ["OPERATION_NOT_ALLOWED", "no"]
    assert spare.currently_attached


def test_the_card_of_the_host_s_own_address_stays_on(door: Door, machine: FakeMachine) -> None:
    eth0 = card(door, "eth0")
    assert door.refused("PIF.unplug", eth0) == ["PIF_IS_MANAGEMENT_INTERFACE", eth0.ref]
    network: Network = door("network.create", {"name_label": "lab"})
    vlan = door("VLAN.create", eth0, "5", network)
    for address in ({"IP": "192.0.2.10"}, {"IPv6": ("192.0.2.10/64",)}):
        machine.node.seen_interfaces = [
            replace(seen, **{"IP": "", "IPv6": ()} | (address if seen.VLAN == 5 else {}))  # type: ignore[arg-type]
            for seen in machine.node.seen_interfaces
        ]
        resync(door, machine)
        assert door.refused("PIF.unplug", eth0) == ["PIF_IS_MANAGEMENT_INTERFACE", vlan.untagged_PIF.ref]


def test_a_card_with_an_address_or_a_running_machine_stays_on(door: Door, machine: FakeMachine, spare: PIF) -> None:
    vm: VM = door.vm()
    vif: VIF = door("VIF.create", {"VM": vm.ref, "network": spare.network.ref, "device": "0"})
    door.idle()
    door("VM.start", vm, False, False)
    assert door.refused("PIF.unplug", spare) == ["VIF_IN_USE", spare.network.ref, vif.ref]
    machine.node.seen_interfaces[-1] = replace(NEW, IP="198.51.100.7")
    resync(door, machine)
    assert door.refused("PIF.unplug", spare)[0] == "OPERATION_NOT_ALLOWED"


def test_a_client_can_forbid_that_a_card_is_switched_off(door: Door, spare: PIF) -> None:
    door("PIF.set_disallow_unplug", spare, True)
    assert door.refused("PIF.unplug", spare) == ["PIF_DOES_NOT_ALLOW_UNPLUG", spare.ref]
    door("PIF.set_disallow_unplug", spare, False)
    door("PIF.unplug", spare)


def test_a_card_of_a_bond_is_not_plugged_alone_and_keeps_the_address_of_the_bond(
    door: Door, machine: FakeMachine, spare: PIF
) -> None:
    machine.node.seen_interfaces.append(replace(NEW, device="eth3", MAC="52:54:00:00:00:03"))
    resync(door, machine)
    network: Network = door("network.create", {"name_label": "lab"})
    cards = [spare.ref, card(door, "eth3").ref]
    bond: Bond = door("Bond.create", network, cards, "", "active-backup")
    assert door.refused("PIF.plug", spare) == ["CANNOT_PLUG_BOND_SLAVE", spare.ref]
    assert door.refused("PIF.forget", spare) == ["PIF_ALREADY_BONDED", spare.ref]
    assert door.refused("PIF.forget", bond.master) == ["PIF_IS_NOT_PHYSICAL", bond.master.ref]
    machine.node.seen_interfaces = [
        replace(seen, IP="192.0.2.10" if seen.bond else "") for seen in machine.node.seen_interfaces
    ]
    resync(door, machine)
    assert door.refused("PIF.unplug", spare) == ["PIF_IS_MANAGEMENT_INTERFACE", bond.master.ref]


# --- which there are


def test_a_scan_finds_new_cards_and_what_they_can(door: Door, machine: FakeMachine) -> None:
    machine.node.seen_interfaces.append(NEW)
    door("PIF.scan", door.store.only(Host))
    assert (card(door, "eth2").MAC, card(door, "eth2").capabilities) == (NEW.MAC, ("sriov",))
    machine.node.seen_interfaces.pop()
    door("PIF.scan", door.store.only(Host))
    assert [pif.device for pif in door.store.all(PIF)] == ["eth0"]


def test_a_card_that_has_just_come_is_introduced(door: Door, machine: FakeMachine) -> None:
    host = door.store.only(Host)
    missing = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
    assert door.refused("PIF.introduce", host, NEW.MAC, "eth2") == [missing, "eth2", NEW.MAC]
    machine.node.seen_interfaces.append(NEW)
    assert door.refused("PIF.introduce", host, NEW.MAC, "eth3")[0] == missing
    assert door.refused("PIF.introduce", host, NEW.MAC, "eth2", False)[0] == "VALUE_NOT_SUPPORTED"
    made: PIF = door("PIF.introduce", host, NEW.MAC.upper(), "")
    assert made.device == "eth2"
    assert door.refused("PIF.introduce", host, NEW.MAC, "eth2") == ["DUPLICATE_PIF_DEVICE_NAME", "eth2"]


def record(door: Door) -> list[Any]:
    network = card(door, "eth0").network
    null = "OpaqueRef:NULL"
    rest = ["1500", "-1", True, "None", "", "", "", "", null, null, False, {"a": "b"}]
    return ["eth2", network, door.store.only(Host), NEW.MAC, *rest]


def test_the_record_of_a_card_is_made_where_the_host_has_it(door: Door, machine: FakeMachine) -> None:
    assert door.refused("PIF.db_introduce", *record(door))[0].startswith("COULD_NOT_FIND")
    machine.node.seen_interfaces.append(NEW)
    made: PIF = door("PIF.db_introduce", *record(door), True)
    assert (made.other_config, made.disallow_unplug, made.network.bridge) == ({"a": "b"}, True, "xenbr2")
    assert door.refused("PIF.db_introduce", *record(door))[0] == "DUPLICATE_PIF_DEVICE_NAME"


@pytest.mark.parametrize("verb", ["forget", "db_forget"])
def test_only_a_card_that_is_gone_is_forgotten(door: Door, machine: FakeMachine, spare: PIF, verb: str) -> None:
    eth0 = card(door, "eth0")
    assert door.refused(f"PIF.{verb}", eth0) == ["PIF_IS_MANAGEMENT_INTERFACE", eth0.ref]
    assert door.refused(f"PIF.{verb}", spare) == ["MAC_STILL_EXISTS", NEW.MAC]
    network: Network = door("network.create", {"name_label": "lab"})
    vlan = door("VLAN.create", spare, "5", network)
    assert door.refused(f"PIF.{verb}", spare) == ["PIF_VLAN_STILL_EXISTS", spare.ref]
    assert door.refused(f"PIF.{verb}", vlan.untagged_PIF) == ["PIF_IS_VLAN", vlan.untagged_PIF.ref]
    door("VLAN.destroy", vlan)
    machine.node.seen_interfaces.pop()
    door(f"PIF.{verb}", spare)
    assert not door.store.is_live(spare)


# --- addresses


def test_addresses_are_the_host_s_to_set(door: Door) -> None:
    eth0 = card(door, "eth0")
    same = ("Static", eth0.IP, eth0.netmask, "", "")
    door("PIF.reconfigure_ip", eth0, *same)
    for other in (("Static", "192.0.2.11", "", "", ""), ("DHCP", "", "", "", ""), ("None", "", "", "", "")):
        assert door.refused("PIF.reconfigure_ip", eth0, *other) == ["PIF_UNMANAGED", eth0.ref]
    assert door.refused("PIF.reconfigure_ip", eth0, "Static", "192.0.2", "", "", "")[:2] == ["INVALID_VALUE", "IP"]
    door("PIF.reconfigure_ipv6", eth0, "None", "", "", "")
    assert door.refused("PIF.reconfigure_ipv6", eth0, "Autoconf", "", "", "") == ["PIF_UNMANAGED", eth0.ref]
    door("PIF.set_primary_address_type", eth0, "IPv4")
    assert door.refused("PIF.set_primary_address_type", eth0, "IPv6") == ["PIF_UNMANAGED", eth0.ref]


# --- purposes


def test_a_network_is_set_aside_for_one_service(door: Door) -> None:
    network: Network = door("network.create", {"name_label": "lab"})
    door("network.add_purpose", network, "nbd")
    door("network.add_purpose", network, "nbd")
    assert door("network.get_purpose", network) == ("nbd",)
    refused = door.refused("network.add_purpose", network, "insecure_nbd")
    assert refused == ["NETWORK_INCOMPATIBLE_PURPOSES", "insecure_nbd", "nbd"]
    door("network.remove_purpose", network, "nbd")
    door("network.add_purpose", network, "insecure_nbd")
    assert network.purpose == ("insecure_nbd",)


def test_tunnels_and_functions_of_cards_are_refused_as_xapi_would(door: Door, machine: FakeMachine, spare: PIF) -> None:
    network: Network = door("network.create", {"name_label": "lab"})
    eth0 = card(door, "eth0")
    assert door.refused("tunnel.create", eth0, network) == ["OPENVSWITCH_NOT_ACTIVE"]
    assert door.refused("network_sriov.create", eth0, network) == ["PIF_IS_NOT_SRIOV_CAPABLE", eth0.ref]
    assert door.refused("network_sriov.create", spare, network)[:2] == ["NETWORK_SRIOV_ENABLE_FAILED", spare.ref]
    assert (door("tunnel.get_all"), door("network_sriov.get_all_records")) == ([], {})

"""What fields refuse: the checks by themselves, and through the messages that clients send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.classes import PIF, VBD, VIF, VM, Host, checks
from agent.errors import InvalidDevice, InvalidValue, MacInvalid, ValueNotSupported, XenError
from agent.messages import api as sealed
from agent.model.api import Api
from agent.model.entity import Entity

API: Api = sealed()


def admit(cls: type[Entity], field: str, value: object) -> None:
    """What a client's value for this field meets, once it is decoded."""
    cls.fields[field].admit(value)


def nobody(class_name: str, ref: str) -> None:
    """Finds nothing."""


@pytest.mark.parametrize("value", ["", "00:16:3e:01:02:03", "00:16:3E:AB:CD:EF", "fe:ff:ff:ff:ff:ff"])
def test_a_hardware_address_of_one_card_or_none_is_taken(value: str) -> None:
    admit(VIF, "MAC", value)


@pytest.mark.parametrize(
    "value",
    [
        "01:16:3e:01:02:03",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        "00-16-3e-01-02-03",
        "00:16:3e:01:02",
        "00:16:3e:01:02:03:04",
        "00:16:3e:01:02:0g",
        "00:16:3e:01:02:03\n",
        "0\uff10:16:3e:01:02:03",
    ],
)
def test_multicast_void_and_malformed_addresses_are_refused_as_xapi_does(value: str) -> None:
    with pytest.raises(MacInvalid):
        admit(VIF, "MAC", value)


@given(st.binary(min_size=6, max_size=6))
def test_an_address_is_taken_exactly_if_it_is_unicast_and_not_void(octets: bytes) -> None:
    text = octets.hex(":")
    if octets[0] & 1 or not any(octets):
        with pytest.raises(MacInvalid):
            checks.mac_or_empty(text)
    else:
        checks.mac_or_empty(text)


@pytest.mark.parametrize("value", [0, 68, 1500, 9000, 65535])
def test_an_mtu_of_a_card_may_be_left_to_its_network(value: int) -> None:
    admit(VIF, "MTU", value)


@pytest.mark.parametrize("value", [-1, 1, 67, 65536, 2**63 - 1])
def test_an_mtu_that_no_frame_can_have_is_refused(value: int) -> None:
    with pytest.raises(InvalidValue, match="octets"):
        admit(VIF, "MTU", value)


@pytest.mark.parametrize(
    ("cls", "field", "good", "bad"),
    [
        (VM, "VCPUs_max", [1, 4096], [0, -1, 4097]),
        (VM, "VCPUs_at_startup", [1, 4096], [0, -1, 4097]),
        (VM, "memory_static_max", [0, 2**40], [-1]),
        (VM, "memory_static_min", [0, 2**40], [-1]),
        (VM, "HVM_shadow_multiplier", [0.0, 1.0, 4.5], [-0.5]),
        (VM, "order", [0, 7], [-1]),
        (VM, "start_delay", [0, 7], [-1]),
        (VM, "shutdown_delay", [0, 7], [-1]),
        (VM, "VCPUs_params", [{}, {"weight": "256", "cap": "0", "mask": "0,2-3"}], [{"weight": "0"}, {"cap": "-1"}]),
        (VM, "VCPUs_params", [{"weight": "1"}, {"weight": "65535"}], [{"weight": "65536"}, {"weight": ""}]),
        (VIF, "qos_algorithm_params", [{}, {"kbps": "1"}], [{"kbps": "0"}, {"kbps": "x"}, {"kbps": "-3"}]),
        (VIF, "qos_algorithm_params", [{"kbps": "80000000"}], [{"kbps": ""}, {"kbps": "1.5"}, {"kbps": "9" * 40}]),
    ],
)
def test_ranges_have_both_ends(cls: type[Entity], field: str, good: list[object], bad: list[object]) -> None:
    for value in good:
        admit(cls, field, value)
    for value in bad:
        with pytest.raises(InvalidValue):
            admit(cls, field, value)


@pytest.mark.parametrize("value", ["", "autodetect", "0", "254", "xvda", "hdc", "sdaa", "xvda1", "/dev/xvdb"])
def test_a_disk_has_a_number_or_a_name_for_its_place(value: str) -> None:
    admit(VBD, "userdevice", value)
    admit(VBD, "device", value)


@pytest.mark.parametrize("value", ["-1", "1000", "xvd", "xvdabc", "XVDA", "xvda\n", "../xvda", "eth0", "\uff10"])
def test_a_place_that_no_disk_can_have_is_refused_as_xapi_does(value: str) -> None:
    with pytest.raises(InvalidDevice):
        admit(VBD, "userdevice", value)


@pytest.mark.parametrize("value", ["-1", "eth0", "xvda", "1 ", "1000", "²"])
def test_a_place_that_no_card_can_have_is_refused_as_xapi_does(value: str) -> None:
    with pytest.raises(InvalidDevice):
        admit(VIF, "device", value)


@pytest.mark.parametrize(
    ("cls", "field", "good", "bad"),
    [
        (VIF, "locking_mode", ["network_default", "unlocked"], ["locked", "disabled"]),
        (VIF, "ipv4_allowed", [()], [("192.0.2.1",)]),
        (VIF, "ipv6_allowed", [()], [("2001:db8::1",)]),
        (VIF, "trunks", [()], [(7,)]),
        (VIF, "qos_algorithm_type", ["", "ratelimit"], ["ionice"]),
        (VBD, "qos_algorithm_type", [""], ["ionice", "ratelimit"]),
        (VBD, "type", ["Disk", "CD"], ["Floppy"]),
        (VM, "domain_type", ["hvm", "pv", "pvh", "unspecified"], ["pv_in_pvh"]),
        (VM, "ha_always_run", [False], [True]),
        (VM, "ha_restart_priority", [""], ["restart", "best-effort"]),
        (Host, "multipathing", [False], [True]),
        (Host, "hostname", [], ["other"]),
        (PIF, "MTU", [], [1500]),
    ],
)
def test_what_this_host_cannot_do_is_refused_with_the_reason(
    cls: type[Entity], field: str, good: list[object], bad: list[object]
) -> None:
    decode = cls.fields[field].type.decode
    for value in good:
        admit(cls, field, decode(value, nobody))
    for value in bad:
        with pytest.raises(ValueNotSupported) as refused:
            admit(cls, field, decode(value, nobody))
        assert refused.value.field == field
        assert refused.value.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name_label", "x" * checks.TEXT_MAX),
        ("other_config", {"k" * 10: "v" * (checks.TEXT_MAX - 10)}),
        ("tags", ("a" * 100, "b" * (checks.TEXT_MAX - 100))),
        ("blocked_operations", {"start": "x" * (checks.TEXT_MAX - 5)}),
    ],
)
def test_a_field_keeps_as_many_characters_as_it_says_and_no_more(field: str, value: Any) -> None:
    admit(VM, field, value)
    match value:
        case str():
            larger: object = value + "x"
        case tuple():
            larger = (*value, "c")
        case _:
            larger = {key: item + "x" for key, item in value.items()}
    with pytest.raises(InvalidValue, match="characters"):
        admit(VM, field, larger)


@pytest.mark.threat("T14")
@pytest.mark.parametrize(
    ("message", "value", "code"),
    [
        ("VIF.set_MAC", "01:00:00:00:00:00", "MAC_INVALID"),
        ("VIF.set_MTU", 12, "INVALID_VALUE"),
        ("VIF.set_ipv4_allowed", ("192.0.2.1",), "VALUE_NOT_SUPPORTED"),
        ("VIF.add_ipv4_allowed", "192.0.2.1", "VALUE_NOT_SUPPORTED"),
        ("VIF.add_to_ipv4_allowed", "192.0.2.1", "VALUE_NOT_SUPPORTED"),
        ("VM.set_VCPUs_max", 0, "INVALID_VALUE"),
        ("VM.set_order", -1, "INVALID_VALUE"),
        ("VM.add_tags", "x" * (checks.TEXT_MAX + 1), "INVALID_VALUE"),
        ("VBD.set_userdevice", "nowhere", "INVALID_DEVICE"),
    ],
)
def test_setters_derived_or_written_by_hand_refuse_what_the_field_refuses(message: str, value: Any, code: str) -> None:
    found = API.messages[message]
    loose = object.__new__(API.classes[found.class_name])
    Entity.__init__(loose)
    with pytest.raises(XenError) as refused:
        found.function(None, loose, value)
    assert refused.value.code == code


@pytest.mark.threat("T14")
def test_adding_a_key_counts_what_the_map_has_already() -> None:
    vm = VM(other_config={"a": "x" * (checks.TEXT_MAX - 2)})
    add = API.messages["VM.add_to_other_config"].function
    with pytest.raises(InvalidValue, match="characters"):
        add(None, vm, "b", "y")
    assert "b" not in vm.other_config

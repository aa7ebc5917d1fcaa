"""The table of what becomes of a machine's fields: whole, printed, and true to the domain XML that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.classes import VM
from agent.classes.enums import DomainType, OnCrash, OnNormalExit, OnSoftrebootBehavior
from agent.classes.realised import REALISED, How
from agent.errors import ValueNotSupported
from agent.model import types
from agent.model.entity import Field, Qualifier
from drivers import xml
from tests.drivers.machines import MIB, Machines

DOCUMENT = Path(__file__).parents[2] / "docs" / "fields.md"
SAMPLES: dict[str, Any] = {
    "name_label": "another",
    "name_description": "another",
    "memory_static_max": 512 * MIB,
    "memory_dynamic_max": 64 * MIB,
    "VCPUs_max": 5,
    "VCPUs_at_startup": 3,
    "actions_after_shutdown": OnNormalExit.RESTART,
    "actions_after_reboot": OnNormalExit.DESTROY,
    "actions_after_crash": OnCrash.PRESERVE,
    "actions_after_softreboot": OnSoftrebootBehavior.DESTROY,
    "PV_bootloader": "pygrub",
    "PV_bootloader_args": "-q",
    "PV_kernel": "/boot/another",
    "PV_ramdisk": "/boot/initrd.img",
    "PV_args": "ro",
    "domain_type": DomainType.PVH,
    "VCPUs_params:weight": "512",
    "VCPUs_params:cap": "50",
    "VCPUs_params:mask": "0,2",
    "HVM_boot_params:order": "n",
    "HVM_boot_params:firmware": "uefi",
    "platform:hpet": "false",
    "platform:timeoffset": "60",
    "platform:vga": "cirrus",
    "platform:hvm_serial": "none",
    "platform:nic_type": "e1000",
    "platform:viridian": "true",
    "platform:secureboot": "true",
}
"""A value that is another than a plain machine has."""
OF_HVM = ("HVM_boot_params", "platform")


def settable() -> list[str]:
    return [name for name, field in VM.wire_fields.items() if field.qualifier in (Qualifier.RW, Qualifier.CONSTRUCTOR)]


def other_than(field: Field) -> Any:
    """A value that the field's check admits or not, and that is not its default."""
    match field.type:
        case types.Bool():
            return not field.default
        case types.Int() | types.Float():
            return field.default + 1
        case types.String():
            return f"{field.default}x"
        case types.Set():
            return ("x",) if isinstance(field.type.of, types.String) else ()
        case types.Map():
            return {"x": "y"}
    return None


def changed(machines: Machines, key: str) -> tuple[VM, VM]:
    """A machine, and one that differs in this field alone, each with a card."""
    field, _, part = key.partition(":")
    kind: dict[str, Any] = {"domain_type": DomainType.HVM} if field in OF_HVM else {}
    kind |= {"domain_type": DomainType.UNSPECIFIED, "HVM_boot_policy": ""} if field == "HVM_boot_policy" else {}
    if field == "PV_bootloader_args":
        kind["PV_bootloader"] = "pygrub"
    value = SAMPLES.get(key, "false" if part else other_than(VM.wire_fields[field]))
    plain = machines.vm(**kind)
    given: dict[str, Any] = {"name" if field == "name_label" else field: {part: value} if part else value}
    other = machines.vm(**{**kind, **given})
    for vm in (plain, other):
        machines.card(vm, "0")
    return plain, other


def written(vm: VM) -> Any:
    root = xml.build(vm, "name")
    root.find("uuid").text = ""  # type: ignore[union-attr]
    return root


@pytest.mark.threat("T14")
def test_every_field_that_clients_set_is_in_the_table() -> None:
    assert sorted({key.split(":")[0] for key in REALISED} ^ set(settable())) == []


@pytest.mark.parametrize("key", [key for key, (how, _) in REALISED.items() if how is How.DEFINITION])
def test_what_goes_into_the_definition_does(machines: Machines, key: str) -> None:
    plain, other = changed(machines, key)
    assert not xml.same(written(plain), written(other))


@pytest.mark.threat("T14")
@pytest.mark.parametrize("key", [key for key, (how, _) in REALISED.items() if how in (How.LIVE, How.AGENT, How.KEPT)])
def test_what_does_not_go_into_the_definition_leaves_it_as_it_was(machines: Machines, key: str) -> None:
    plain, other = changed(machines, key)
    assert xml.same(written(plain), written(other))


REFUSED = [key for key, (how, _) in REALISED.items() if how is How.REFUSED]


@pytest.mark.threat("T8", "T14")
@pytest.mark.parametrize("key", [key for key in REFUSED if ":" in key])
def test_a_key_that_is_refused_is(machines: Machines, key: str) -> None:
    other = changed(machines, key)[1]
    with pytest.raises(ValueNotSupported):
        written(other)


@pytest.mark.parametrize("key", [key for key in REFUSED if ":" not in key])
def test_a_field_that_is_refused_is(key: str) -> None:
    field = VM.wire_fields[key]
    with pytest.raises(ValueNotSupported):
        field.admit(other_than(field))


def test_the_table_is_printed() -> None:
    rows = "".join(
        f"| `{key}` | {how.value} | {where or VM.wire_fields[key].doc} |\n" for key, (how, where) in REALISED.items()
    )
    assert f"\n| field | how | where, or why not |\n| --- | --- | --- |\n{rows}" in DOCUMENT.read_text("utf-8")

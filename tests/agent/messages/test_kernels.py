"""Kernels and ramdisks by path, by ``file:`` and by ``data:`` URI."""

from __future__ import annotations

import base64

import pytest

from agent.classes import VM
from agent.errors import OperationNotAllowed
from tests.door import Door
from tests.fake_machine import FakeMachine

KERNEL = b"\x7fELF" + bytes(range(256))
DATA = f"data:application/octet-stream;base64,{base64.b64encode(KERNEL).decode()}"


@pytest.mark.parametrize("field", ["PV_kernel", "PV_ramdisk"])
def test_a_kernel_sent_as_data_is_kept_as_a_file(door: Door, machine: FakeMachine, field: str) -> None:
    made = door.vm(**{field: DATA})
    assert getattr(made, field) == "file:///images/260"
    assert machine.domains.images == {"/images/260": KERNEL}
    door(f"VM.set_{field}", made, "data:,short%20text")
    assert getattr(made, field) == "file:///images/10"
    assert machine.domains.images["/images/10"] == b"short text"


def test_paths_and_file_uris_stay_as_they_are(door: Door, machine: FakeMachine) -> None:
    vm = door.vm(PV_kernel="/boot/vmlinuz", PV_ramdisk="file:///boot/initrd.img")
    assert (vm.PV_kernel, vm.PV_ramdisk) == ("/boot/vmlinuz", "file:///boot/initrd.img")
    door("VM.set_PV_kernel", vm, "")
    door.idle()
    assert (vm.PV_kernel, machine.domains.images) == ("", {})
    assert machine.domains.calls.count("define") == 2


@pytest.mark.parametrize("value", ["data:", "data:,", "data:;base64,", "data:;base64,@@@", "DATA:;base64,YQ"])
def test_data_that_is_none_is_refused(door: Door, value: str) -> None:
    vm: VM = door.vm()
    assert door.refused("VM.set_PV_kernel", vm, value)[:2] == ["INVALID_VALUE", "PV_kernel"]
    assert vm.PV_kernel == ""


def test_a_path_is_of_modest_length_and_data_is_not(door: Door) -> None:
    vm: VM = door.vm()
    assert door.refused("VM.set_PV_kernel", vm, "/" * 70_000)[:2] == ["INVALID_VALUE", "PV_kernel"]
    door("VM.set_PV_kernel", vm, "data:," + "x" * 70_000)
    assert vm.PV_kernel == "file:///images/70000"


def test_what_cannot_be_kept_changes_nothing(door: Door, machine: FakeMachine) -> None:
    vm: VM = door.vm(PV_kernel="/boot/vmlinuz")
    machine.domains.fail("keep_image", OperationNotAllowed("the disk is full"))
    assert door.refused("VM.set_PV_kernel", vm, DATA) == ["OPERATION_NOT_ALLOWED", "the disk is full"]
    assert vm.PV_kernel == "/boot/vmlinuz"


def test_a_kernel_that_no_machine_names_is_dropped(door: Door, machine: FakeMachine) -> None:
    vm: VM = door.vm(PV_kernel=DATA)
    machine.domains.changed(None)
    door.idle()
    assert list(machine.domains.images) == ["/images/260"]
    door("VM.set_PV_kernel", vm, "")
    machine.domains.changed(None)
    door.idle()
    assert machine.domains.images == {}


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("default_gateway", ("", "192.0.2.1"), ("192.0.2", "gateway", "::1")),
        ("default_netmask", ("", "255.255.255.0"), ("24", "255.0.255.0", "255.255.255")),
    ],
)
def test_a_network_has_addresses_that_are_some(
    door: Door, field: str, good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    network = door("network.create", {"name_label": "lab"})
    for value in good:
        door(f"network.set_{field}", network, value)
        assert getattr(network, field) == value
    for value in bad:
        assert door.refused(f"network.set_{field}", network, value)[:2] == ["INVALID_VALUE", field]

"""Where consoles are opened: at the front door as it can be reached, else where the hypervisor has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.classes import VM, Console
from agent.observer.consoles import ON_HOST, best_listener
from agent.ports import SeenConsole
from tests.door import Door
from tests.fake_machine import FakeMachine


@pytest.fixture
def vm(door: Door, machine: FakeMachine) -> VM:
    """A running machine with a screen, one at a Unix socket, and a terminal."""
    machine.domains.consoles = (
        SeenConsole("rfb", "127.0.0.1:5901"),
        SeenConsole("rfb", "/run/vnc"),
        SeenConsole("vt100", "/dev/pts/3"),
    )
    made = door.vm()
    door("VM.start", made, False)
    return made


def on_host(vm: VM) -> list[str]:
    return sorted(console.other_config[ON_HOST] for console in vm.consoles)


PLACES = ["file:///dev/pts/3", "vnc+unix:///run/vnc", "vnc://127.0.0.1:5901"]


def test_without_a_listener_on_the_network_they_are_where_the_hypervisor_has_them(vm: VM, door: Door) -> None:
    door.observer.listens(["unix:/run/agent"])
    assert sorted(console.location for console in vm.consoles) == on_host(vm) == PLACES


@pytest.mark.parametrize(
    ("urls", "door_url"),
    [
        (["http://127.0.0.1:8086"], "http://127.0.0.1:8086"),
        (["unix:/x", "http://127.0.0.1:80", "https://127.0.0.1:443"], "https://127.0.0.1"),
        (["http://127.0.0.1:8086", "http://192.0.2.7:80"], "http://192.0.2.7"),
        (["https://[::1]:443", "https://[2001:db8::7]:8443"], "https://[2001:db8::7]:8443"),
        (["https://localhost:443", "https://xen.example:443"], "https://xen.example"),
        (["http://0.0.0.0:80", "https://0.0.0.0:443"], "https://192.0.2.10"),
        (["https://[::]:444"], "https://192.0.2.10:444"),
    ],
)
def test_the_front_door_is_the_best_way_to_the_agent(vm: VM, door: Door, urls: Sequence[str], door_url: str) -> None:
    door.observer.listens(urls)
    assert door.observer.host.address == "192.0.2.10"
    for console in vm.consoles:
        assert console.location == f"{door_url}/console?uuid={console.uuid}"
    assert on_host(vm) == PLACES


def test_a_console_that_appears_later_is_at_the_front_door_too(door: Door, machine: FakeMachine) -> None:
    door.observer.listens(["https://192.0.2.7:443"])
    vm = door.vm()
    door("VM.start", vm, False)
    [console] = vm.consoles
    assert console.location == f"https://192.0.2.7/console?uuid={console.uuid}"


def test_it_follows_the_address_of_the_host(vm: VM, door: Door, machine: FakeMachine) -> None:
    door.observer.listens(["https://0.0.0.0:443"])
    machine.node.address = "192.0.2.99"
    door.observer._resync()
    assert {console.location.partition("/console")[0] for console in vm.consoles} == {"https://192.0.2.99"}


def test_a_console_stays_the_same_object_while_it_is_where_it_was(vm: VM, door: Door, machine: FakeMachine) -> None:
    before = {console.endpoint: console for console in vm.consoles}
    door("console.set_other_config", before["/dev/pts/3"], {"mine": "kept"})
    moved = (SeenConsole("rfb", "127.0.0.1:5907"), SeenConsole("vt100", "/dev/pts/3"))
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], consoles=moved)
    door.observer.refresh(vm.uuid)
    after = {console.endpoint: console for console in vm.consoles}
    assert after.keys() == {"127.0.0.1:5907", "/dev/pts/3"}
    assert [console.protocol for console in vm.consoles] == ["rfb", "vt100"]
    assert after["/dev/pts/3"] is before["/dev/pts/3"]
    assert after["/dev/pts/3"].other_config == {"mine": "kept", ON_HOST: "file:///dev/pts/3"}
    assert len(door.store.all(Console)) == 2


def test_unix_sockets_are_no_way_for_a_browser() -> None:
    assert best_listener(["unix:/run/a", "unix:/run/b"]) == ""

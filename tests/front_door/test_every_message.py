"""Every message of the sealed table is called through the front door at least once, and none of them breaks."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from agent import messages
from agent.classes import ABSENT
from agent.messages.system import UNLISTED
from agent.model import types
from agent.model.messages import Kind, Message
from tests.front_door.conftest import PASSWORD, Daemon, eventually, make_card, make_disk, make_vm

API = messages.api()
NEVER = {"INTERNAL_ERROR", "MESSAGE_METHOD_UNKNOWN", "MESSAGE_PARAMETER_COUNT_MISMATCH", "FIELD_TYPE_ERROR"}
WITHOUT_OBJECTS = {
    *("VM_guest_metrics", "console", "DSCSI", "DSCSI_HBA", "XSPolicy", "ACMPolicy"),
    *("VLAN", "Bond"),
    "Certificate",
    *(cls.wire_name for cls in ABSENT),
}
"""Classes of which this host has no object: guests on the test hypervisor tell nothing and have no console to open, no
SCSI device is passed through to any, it has no security module, and no card that a VLAN could be on.
It listens on no https address, which would have a certificate.
"""
SPARE = "0000:01:00.0"
"""A PCI device of the simulation that its host can give away."""


def order(message: Message) -> int:
    """What ends things comes after what only looks at them, and the end of the session last of all; the agent itself
    is only asked to end by a session that is over.
    """
    if message.name in ("restart_agent", "shutdown_agent"):
        return 6
    if message.name in ("logout", "local_logout"):
        return 5
    if message.name == "destroy":
        return 4
    if message.name in ("forget", "unplug", "set_is_a_template", "disable"):
        return 3
    return {Kind.READ: 0, Kind.MEASURE: 0, Kind.WAIT: 0, Kind.WRITE: 1}.get(message.kind, 2)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    started = Daemon(tmp_path_factory.mktemp("every"))
    started.start()
    yield started
    started.stop()


def by_order(message: Message) -> tuple[int, str]:
    return order(message), message.full_name


IN_ORDER = sorted(API.messages.values(), key=by_order)


class Caller:
    """Calls messages with parameters made up from their types, on objects that are there."""

    def __init__(self, daemon: Daemon) -> None:
        self.proxy = xmlrpc.client.ServerProxy(daemon.url)
        self.secret = self.send("session.login_with_password", "root", PASSWORD)["Value"]
        api = daemon.login().xenapi
        self.api = api
        vm = make_vm(api, "subject")
        make_disk(api, vm)
        make_card(api, vm)
        ppci = next(ref for ref, record in api.PPCI.get_all_records().items() if record["name"] == SPARE)
        api.DPCI.create({"VM": vm, "PPCI": ppci})
        api.VM.start(vm, False, False)
        self.crash(api)
        self.subject = {
            "VM": vm,
            "task": api.task.create("mine", "made for the test"),
            "debug": api.debug.create({}),
            "secret": api.secret.create({"value": "word"}),
            "blob": api.blob.create("text/plain"),
            "VUSB": self.stick(api),
            "cpu_pool": api.cpu_pool.create({"name_label": "mine"}),
            "VM_appliance": api.VM_appliance.create({"name_label": "mine"}),
            "VMSS": api.VMSS.create({"name_label": "mine"}),
        }
        self.session = api.session.get_by_uuid(api.session.get_uuid(self.secret))

    @staticmethod
    def stick(api: Any) -> Any:
        """A USB device that a machine is given."""
        pusb, record = next(iter(api.PUSB.get_all_records().items()))
        api.PUSB.set_passthrough_enabled(pusb, True)
        vm = make_vm(api, "with a stick", PV_bootloader="", HVM_boot_policy="BIOS order")
        return api.VUSB.create(vm, record["USB_group"], {})

    @staticmethod
    def crash(api: Any) -> None:
        """A machine with a TPM whose guest has crashed and left its memory."""
        vm = make_vm(api, "crashed")
        api.VM.set_actions_after_crash(vm, "coredump_and_destroy")
        api.VM.start(vm, False, False)
        api.VM.send_sysrq(vm, "c")
        eventually(api.crashdump.get_all, "the crash dump")
        api.VTPM.create({"VM": vm, "other_config": {}})

    def send(self, name: str, *params: Any) -> Any:
        return getattr(self.proxy, name)(*params)

    def reference(self, class_name: str) -> str:
        if class_name == "session":
            return str(self.session)
        if class_name in self.subject:
            return str(self.subject[class_name])
        known = class_name in API.classes
        # No object is known to a session that is over.
        every = self.send(f"{class_name}.get_all", self.secret).get("Value", []) if known else []
        return str(every[-1]) if every else "OpaqueRef:NULL"

    def value(self, kind: types.Type) -> Any:
        match kind:
            case types.Ref():
                return self.reference(kind.to)
            case types.Int():
                return "1"
            case types.Float():
                return 0.5
            case types.Bool():
                return False
            case types.DateTime():
                return xmlrpc.client.DateTime("20260101T00:00:00")
            case types.Enum():
                return str(kind.default)
            case types.Set():
                return []
            case types.Map():
                return {}
            case types.Record():
                return {name: self.value(field.type) for name, field in kind.fields.items() if field.required}
        return "abc"

    def call(self, message: Message) -> Any:
        params = [self.value(param.type) for param in message.params]
        return self.send(message.full_name, *([self.secret] if message.role is not None else []), *params)


@pytest.fixture(scope="module")
def caller(house: Daemon) -> Iterator[Caller]:
    made = Caller(house)
    yield made
    made.proxy("close")()


@pytest.mark.parametrize("message", IN_ORDER, ids=lambda each: each.full_name)
def test_it_answers(caller: Caller, message: Message) -> None:
    answer = caller.call(message)
    if message.class_name == "system":
        assert answer or message.name != "listMethods"
        return
    if answer["Status"] == "Success":
        return
    code = answer["ErrorDescription"][0]
    assert code not in NEVER, answer
    if order(message) == 0 and message.derived and message.class_name not in WITHOUT_OBJECTS:
        assert code in ("UUID_INVALID", "INVALID_VALUE"), f"a read of what is there failed: {answer}"


def test_every_async_form_answers_with_a_task(house: Daemon) -> None:
    """On objects that are gone: what is asked for never begins, but every form is there and checks its parameters."""
    api = house.login().xenapi
    gone = api.task.create("gone", "")
    api.task.destroy(gone)
    for message in API.messages.values():
        if not message.has_async or not message.params or not isinstance(message.params[0].type, types.Ref):
            continue
        with pytest.raises(XenAPI.Failure) as caught:
            getattr(getattr(api.Async, message.class_name), message.name)(
                gone, *["" for _ in message.params[1 : message.required]]
            )
        assert caught.value.details[0] == "HANDLE_INVALID", message.full_name


def test_the_table_of_the_command_is_the_one_that_is_served(house: Daemon, tmp_path: Path) -> None:
    with xmlrpc.client.ServerProxy(house.url) as proxy:
        served: Any = proxy.system.listMethods()
    assert {name for name in served if not name.startswith("Async.")} == set(API.messages) - UNLISTED

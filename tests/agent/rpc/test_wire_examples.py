"""The examples of the wire, ``tests/reference/wire-examples``: every request is read, every answer in today's dialect
is what we write for the same value, octet for octet but for white space between elements and the order of fields.
"""

from __future__ import annotations

import json
import re
import xmlrpc.client
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from agent import classes as c
from agent.classes.enums import NetworkDefaultLockingMode, TaskStatus
from agent.messages.event import BATCH
from agent.model import types
from agent.model.entity import Entity
from agent.model.types import Map, Ref, Set, String, Type
from agent.rpc import jsonrpc
from agent.rpc import xmlrpc as xml

EXAMPLES = Path(__file__).parents[2] / "reference" / "wire-examples"
INDEX: list[dict[str, str]] = json.loads((EXAMPLES / "index.json").read_text("utf-8"))
SESSION = "OpaqueRef:3f6b1c52-8c0e-4a7d-9d43-0a6e1f2b7c11"
VM_REF = "OpaqueRef:7d1e4b80-53f1-2c0a-bb6d-8d2f60a9c3e4"
TASK_REF = "OpaqueRef:5c0d7a3e-91b4-4f0f-8a57-31d1c2e8b6a0"


def of_kind(kind: str, protocol: str) -> list[str]:
    """The files of this kind that are ours to understand: the old server's answers are not."""
    return [
        entry["file"]
        for entry in INDEX
        if entry["kind"] == kind
        and entry["protocol"].startswith(protocol)
        and (kind == "request" or entry["dialect"] != "1.0")
    ]


def canonical(document: str) -> str:
    """An XML example as xapi's writer would have it: nothing between elements, strings bare."""
    document = re.sub(r">\s+<", "><", document.strip())
    return re.sub(r"<string>([^<]*)</string>", r"\1", document)


def success(kind: Type, value: Any) -> str:
    out: list[bytes] = []
    for _ in xml.writer(kind).steps(value, out):
        pass
    return b"".join((xml.SUCCESS[0], *out, xml.SUCCESS[1])).decode()


def failure(*description: str) -> str:
    return xml.failure(description).decode()


def reference(cls: type[Entity], ref: str) -> Entity:
    """A loose object that only lends its reference."""
    return cls(
        uuid=ref.removeprefix("OpaqueRef:"), **{name: None for name, field in cls.fields.items() if field.required}
    )


def event(id: str, class_name: str, operation: str, ref: str, snapshot: Entity | None) -> dict[str, Any]:
    return {
        "id": id,
        "timestamp": "0.0",
        "class": class_name,
        "operation": operation,
        "ref": ref,
        "snapshot": snapshot,
    }


def batch(*events: dict[str, Any]) -> dict[str, Any]:
    """What event.from answers in the examples."""
    return {
        "events": events,
        "valid_ref_counts": {"vm": 12, "vbd": 19, "console": 24, "host": 1, "host_metrics": 1, "network": 3},
        "token": "00000000000000002096,00000000000000000000",
    }


def full_batch() -> dict[str, Any]:
    console = reference(c.Console, "OpaqueRef:0b9d6d39-3b5c-4cf4-8f0a-5a1f2e6f7d10")
    console.__dict__.update(
        protocol="rfb",
        location="https://192.0.2.10/console?uuid=0b9d6d39-3b5c-4cf4-8f0a-5a1f2e6f7d10",
        VM=reference(c.VM, VM_REF),
        other_config={},
    )
    metrics = reference(c.HostMetrics, "OpaqueRef:b7f9e1c2-3333-4444-8555-666677778888")
    metrics.__dict__.update(
        memory_total=137438953472,
        memory_free=68719476736,
        live=True,
        last_updated=datetime(2026, 8, 21, 2, 0, 23, tzinfo=UTC),
        other_config={},
    )
    return batch(
        event("2093", "console", "add", console.ref, console),
        event("2095", "host_metrics", "mod", metrics.ref, metrics),
        event("2096", "vbd", "del", "OpaqueRef:9a3c1d77-6a2e-4a0c-b1de-70d2c8e5f401", None),
    )


EXACT: Mapping[str, Callable[[], str]] = {
    "02-login-four-args.response.xml": lambda: success(String(), SESSION),
    "03-login-refused-xapi.response.xml": lambda: failure(
        "SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"
    ),
    "05-bad-power-state-xapi.response.xml": lambda: failure("VM_BAD_POWER_STATE", VM_REF, "halted", "running"),
    "06-map-duplicate-key-xapi.response.xml": lambda: failure(
        "MAP_DUPLICATE_KEY", "VM", "other_config", VM_REF, "owner"
    ),
    "07-session-invalid.response.xml": lambda: failure("SESSION_INVALID", SESSION.removeprefix("OpaqueRef:")),
    "08-method-unknown.response.xml": lambda: failure("MESSAGE_METHOD_UNKNOWN", "VM.frobnicate"),
    "09-parameter-count-xapi.response.xml": lambda: failure(
        "MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_name_label", "1", "0"
    ),
    "10-handle-invalid.response.xml": lambda: failure("HANDLE_INVALID", "VM", "no-such-ref"),
    "10-uuid-invalid-xapi.response.xml": lambda: failure("UUID_INVALID", "VM", "00000000-0000-0000-0000-0000000000ff"),
    "11-empty-set.response.xml": lambda: success(Set(Ref("VM")), ()),
    "11-empty-map.response.xml": lambda: success(Map(String(), String()), {}),
    "12-void-xapi.response.xml": lambda: success(types.Void(), None),
    "13-int64-get.response.xml": lambda: success(types.Int(), -9223372036854775808),
    "14-datetime-xapi.response.xml": lambda: success(types.DateTime(), datetime(2026, 8, 21, 2, 0, 23, tzinfo=UTC)),
    "15-special-characters.response.xml": lambda: success(
        String(), "a < b & c > d \"quoted\" 'single'\ttab, é ü 日本 \U0001f600, ]]> end"
    ),
    "15-whitespace.response.xml": lambda: success(String(), "  leading, trailing and\nnewline  "),
    "18-async-clone.response.xml": lambda: success(String(), TASK_REF.removeprefix("OpaqueRef:")),
    "19-event-next-unregistered.response.xml": lambda: failure(
        "SESSION_NOT_REGISTERED", SESSION.removeprefix("OpaqueRef:")
    ),
    "20-event-from.response.xml": lambda: success(BATCH, full_batch()),
    "20-event-from-timeout.response.xml": lambda: success(BATCH, batch()),
    "22-null-reference.response.xml": lambda: success(Ref("VDI", nullable=True), None),
    "23-async-unsupported-xapi.response.xml": lambda: failure(
        "Fault", "No async mode for this operation (rpc: VM.get_name_label)"
    ),
}
"""Examples whose octets do not depend on which fields this build's classes have beyond those of the example."""
RECORDS = {"18-task-success-xapi.response.xml"}


def parsed(document: str) -> Any:
    ((envelope,), _) = xmlrpc.client.loads(document)
    return envelope


def test_every_answer_in_our_dialect_has_its_test() -> None:
    assert set(EXACT) | RECORDS == set(of_kind("response", "xml-rpc"))


@pytest.mark.parametrize("file", of_kind("request", "xml-rpc"))
def test_a_request_is_read_as_the_stock_client_reads_it(file: str) -> None:
    body = (EXAMPLES / file).read_bytes()
    params, method = xmlrpc.client.loads(body)
    assert xml.decode(body) == (method, list(params))
    assert method == next(entry["method"] for entry in INDEX if entry["file"] == file)


@pytest.mark.parametrize("file", EXACT)
def test_an_answer_is_what_we_write_for_its_value(file: str, classes: Mapping[str, type[Entity]]) -> None:
    example = (EXAMPLES / file).read_text("utf-8")
    assert parsed(EXACT[file]()) == parsed(example)
    ours = canonical(EXACT[file]())
    if "snapshot" in example:  # our classes declare their fields in an order of their own
        assert sorted(ours) == sorted(canonical(example))
    else:
        assert ours == canonical(example)


def test_the_record_of_a_finished_task_is_what_we_write_for_it(classes: Mapping[str, type[Entity]]) -> None:
    clone = reference(c.VM, "OpaqueRef:d2b5a1f6-0c1b-4b86-9b7c-7f51e0f3aa91")
    task = reference(c.Task, TASK_REF)
    task.__dict__.update(
        name_label="Async.VM.clone",
        created=datetime(2026, 8, 21, 2, 0, 0, tzinfo=UTC),
        finished=datetime(2026, 8, 21, 2, 0, 23, tzinfo=UTC),
        status=TaskStatus.SUCCESS,
        resident_on=reference(c.Host, "OpaqueRef:a1c7f0de-0b5e-49c1-8f2a-6c1d7be05e11"),
        progress=1.0,
        type="<none/>",
        result=xml.value_text(Ref("VM"), clone),
    )
    ours = parsed(success(types.Record("task"), task))["Value"]
    example = parsed((EXAMPLES / "18-task-success-xapi.response.xml").read_text("utf-8"))["Value"]
    assert {name: ours[name] for name in example} == example


def test_a_fault_is_what_we_write_for_what_is_no_call() -> None:
    example = (EXAMPLES / "21-fault.response.xml").read_text("utf-8")
    assert canonical(xml.fault("Malformed request").decode()) == canonical(example)


# --- JSON-RPC


def network() -> Entity:
    made = reference(c.Network, "OpaqueRef:c0ffee00-1234-4abc-8def-000000000001")
    made.__dict__.update(
        name_label="lan",
        MTU=1500,
        VIFs=(reference(c.VIF, "OpaqueRef:51f2a9f4-1d0b-4d8b-a0d8-2f4b7f3a9c01"),),
        other_config={"automatic": "true"},
        bridge="xenbr0",
        managed=True,
        default_locking_mode=NetworkDefaultLockingMode.UNLOCKED,
    )
    return made


VALUES: Mapping[str, Callable[[], tuple[Type, Any]]] = {
    "30-json-login.response.json": lambda: (String(), SESSION),
    "32-json-get-record.response.json": lambda: (types.Record("network"), network()),
    "34-json-event-from.response.json": lambda: (BATCH, full_batch()),
    "35-json-async.response.json": lambda: (Ref("task"), reference(c.Task, TASK_REF)),
    "36-json-void.response.json": lambda: (types.Void(), None),
    "37-json-int64.response.json": lambda: (types.Int(), 9007199254740993),
}
ERRORS = {
    "31-json-error.response.json": ["SESSION_INVALID", SESSION],
    "33-json-error.response.json": ["VM_BAD_POWER_STATE", VM_REF, "halted", "running"],
}


def asked(example: Mapping[str, Any]) -> jsonrpc.Request:
    """A call that the example could be the answer to."""
    return jsonrpc.Request("a", [], 2 if "jsonrpc" in example else 1, example["id"])


def test_every_json_answer_has_its_test() -> None:
    assert {*VALUES, *ERRORS} == set(of_kind("response", "json-rpc"))


@pytest.mark.parametrize("file", of_kind("request", "json-rpc"))
def test_a_json_request_is_read(file: str) -> None:
    body = (EXAMPLES / file).read_bytes()
    example = json.loads(body)
    version = 2 if "jsonrpc" in example else 1
    assert jsonrpc.decode(body) == jsonrpc.Request(example["method"], example["params"], version, example["id"])


@pytest.mark.parametrize("file", VALUES)
def test_a_json_answer_is_what_we_write_for_its_value(file: str, classes: Mapping[str, type[Entity]]) -> None:
    example = json.loads((EXAMPLES / file).read_bytes())
    kind, value = VALUES[file]()
    out: list[bytes] = []
    for _ in jsonrpc.writer(kind).steps(value, out):
        pass
    before, after = asked(example).success()
    ours = json.loads(b"".join((before, *out, after)))
    if isinstance(kind, types.Record):
        ours["result"] = {name: ours["result"][name] for name in example["result"]}
    assert ours == example
    sort = orjson.OPT_SORT_KEYS
    assert orjson.dumps(ours, option=sort) == orjson.dumps(example, option=sort), (
        "5 and 5.0 are equal, and not the same"
    )


@pytest.mark.parametrize("file", ERRORS)
def test_a_json_error_is_what_we_write_for_it(file: str) -> None:
    example = json.loads((EXAMPLES / file).read_bytes())
    assert asked(example).failure(ERRORS[file]) == orjson.dumps(example)

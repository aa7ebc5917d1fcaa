"""JSON-RPC: what is read as a call and what is refused, and how every type is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import classes as c
from agent import messages
from agent.classes.enums import PowerState
from agent.model import types
from agent.model.entity import Entity
from agent.model.types import INT_MAX, INT_MIN, Map, Ref, Set, String, Struct, Type
from agent.rpc import jsonrpc as wire
from agent.rpc.xmlrpc import VALUES_MAX
from agent.store.store import Store

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(INT_MIN, INT_MAX),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)),
    max_leaves=10,
)


def written(kind: Type, value: Any) -> bytes:
    out: list[bytes] = []
    for _ in wire.writer(kind).steps(value, out):
        pass
    return b"".join(out)


def refused(body: bytes) -> Any:
    with pytest.raises(wire.Malformed) as error:
        wire.decode(body)
    return json.loads(error.value.answer)


# --- reading


def test_a_call_of_version_2_is_told_by_its_member() -> None:
    request = wire.decode(b'{"jsonrpc":"2.0","method":"VM.start","params":["s",1,true,null,1.5],"id":7}')
    assert (request.method, request.params, request.version, request.id) == (
        "VM.start",
        ["s", 1, True, None, 1.5],
        2,
        7,
    )


@pytest.mark.parametrize("member", ["", '"jsonrpc":"1.0",'])
def test_a_call_without_the_member_is_of_version_1(member: str) -> None:
    request = wire.decode(f'{{{member}"method":"VM.start","params":[],"id":null}}'.encode())
    assert (request.version, request.id, request.params) == (1, None, [])


@pytest.mark.parametrize("member", ["", ',"params":null', ',"params":[]'])
def test_a_call_without_parameters_may_say_so_in_several_ways(member: str) -> None:
    assert wire.decode(f'{{"jsonrpc":"2.0","method":"system.listMethods","id":1{member}}}'.encode()).params == []


@pytest.mark.parametrize("id", [0, -5, INT_MAX, 1.5, "7", ""])
def test_an_id_comes_back_with_its_type(id: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", "method": "a", "id": id}).encode()
    before, after = wire.decode(body).success()
    answer = json.loads(before + b'""' + after)
    assert answer["id"] == id
    assert type(answer["id"]) is type(id)


def test_a_success_of_version_2_has_no_error_and_one_of_version_1_has_null() -> None:
    two = wire.decode(b'{"jsonrpc":"2.0","method":"a","id":1}')
    one = wire.decode(b'{"method":"a","id":"x"}')
    assert b"1".join(two.success()) == b'{"jsonrpc":"2.0","result":1,"id":1}'
    assert b"1".join(one.success()) == b'{"result":1,"error":null,"id":"x"}'


def test_a_failure_has_code_message_and_data_or_is_one_array() -> None:
    two = wire.decode(b'{"jsonrpc":"2.0","method":"a","id":1}')
    one = wire.decode(b'{"method":"a","id":"x"}')
    description = ["VM_BAD_POWER_STATE", "OpaqueRef:1", "halted", "running"]
    assert json.loads(two.failure(description)) == {
        "jsonrpc": "2.0",
        "error": {"code": 1, "message": "VM_BAD_POWER_STATE", "data": ["OpaqueRef:1", "halted", "running"]},
        "id": 1,
    }
    assert json.loads(one.failure(description)) == {"result": None, "error": description, "id": "x"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"jsonrpc":"2.0","method":"a","id":1} more',
        b"{'jsonrpc':'2.0'}",
        b'{"jsonrpc":"2.0","method":"a","id":1,}',
        b'{"method":"a","id":1,"params":[NaN]}',
        b'{"method":"a","id":1,"params":[-Infinity]}',
        b'{"method":"a","id":1,"params":["\x00"]}',
        b'{"method":"a","id":1,"params":["\n"]}',
        b'{"method":"a","id":1,"params":["\xff"]}',
        b'{"method":"a","id":1,"params":["\xed\xa0\x80"]}',
        rb'{"method":"a","id":1,"params":["\ud800"]}',
        rb'{"method":"a","id":1,"params":[{"\udc00x":1}]}',
        b'{"method":"a","id":1,"params":[' + b"9" * 4_000_000 + b"]}",
        b'{"method":"a","id":1,"id":1}',
        b'{"method":"a","id":1,"params":["s",{"k":"a","k":"b"}]}',
        b"\xef\xbb\xbf{}",
        '{"method":"a","id":1}'.encode("utf-16"),
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000,
        b'{"method":"a","id":1,"params":' + b"[" * 64 + b"]" * 64 + b"}",
    ],
)
def test_what_is_no_json_is_a_parse_error(body: bytes) -> None:
    answer = refused(body)
    assert answer["jsonrpc"] == "2.0"
    assert answer["error"]["code"] == -32700
    assert len(answer["error"]["message"]) < 300
    assert answer["id"] is None
    assert "result" not in answer


@pytest.mark.threat("T4")
def test_values_nest_64_deep() -> None:
    body = b'{"method":"a","id":1,"params":' + b"[" * 63 + b"]" * 63 + b"}"
    assert wire.decode(body).method == "a"


@pytest.mark.threat("T4")
@pytest.mark.parametrize("value", [b"0", b"[]", b"{}"])
def test_a_call_of_too_many_values_is_refused_unread(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def body(values: int) -> bytes:
        return b'{"method":"a","id":1,"params":[' + b",".join([value] * values) + b"]}"

    assert len(wire.decode(body(VALUES_MAX - 2)).params) == VALUES_MAX - 2
    monkeypatch.setattr(wire, "_DECODER", None)
    answer = refused(body(wire.MARKS_MAX + 1))
    assert answer["error"] == {"code": -32700, "message": "there are more than 200000 brackets and commas"}


def test_a_surrogate_pair_is_one_character() -> None:
    assert wire.decode(rb'{"method":"a","id":1,"params":["\ud83d\ude00"]}').params == ["\U0001f600"]


@pytest.mark.parametrize(
    ("body", "code", "id"),
    [
        (b"[]", -32600, None),
        (b'[{"jsonrpc":"2.0","method":"a","id":1}]', -32600, None),
        (b'"text"', -32600, None),
        (b'{"jsonrpc":"2.0","method":"a"}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"a","id":null}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"a","id":true}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"a","id":[1]}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"a","id":1e999}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"a","id":99999999999999999999}', -32600, None),
        (b'{"jsonrpc":"3.0","method":"a","id":1}', -32600, 1),
        (b'{"jsonrpc":2.0,"method":"a","id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","method":5,"id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","method":"a","params":{"x":1},"id":1}', -32602, 1),
        (b'{"jsonrpc":"2.0","method":"a","params":"","id":1}', -32602, 1),
    ],
)
def test_what_is_json_and_no_call_is_an_invalid_request(body: bytes, code: int, id: Any) -> None:
    answer = refused(body)
    assert answer["error"]["code"] == code
    assert answer["id"] == id


@pytest.mark.parametrize("body", [b'{"id":"x"}', b'{"id":"x","method":"a","params":{}}', b'{"id":{},"method":"a"}'])
def test_a_faulty_call_of_version_1_is_told_so_in_version_1(body: bytes) -> None:
    answer = refused(body)
    assert answer["result"] is None
    assert answer["error"][0] == "INTERNAL_ERROR"
    assert answer["id"] in ("x", None)


@given(st.lists(VALUES))
def test_what_json_can_say_is_read(params: list[Any]) -> None:
    for text in (json.dumps, lambda value: json.dumps(value, ensure_ascii=False)):
        body = text({"jsonrpc": "2.0", "method": "a", "params": params, "id": 1}).encode()
        assert wire.decode(body).params == params


# --- writing


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (types.Void(), None, ""),
        (String(), 'a"b\\c\x00\r', 'a"b\\c\x00\r'),
        (String(), "half \ud800", "half \ufffd"),
        (types.Int(), 9007199254740993, 9007199254740993),
        (types.Int(), INT_MIN, INT_MIN),
        (types.Int32(), 5, 5),
        (types.Float(), 1.0, 1.0),
        (types.Bool(), False, False),
        (types.DateTime(), datetime(2026, 8, 21, 2, 0, 23, tzinfo=UTC), "20260821T02:00:23Z"),
        (types.Enum(PowerState), PowerState.HALTED, "Halted"),
        (Ref("VM", nullable=True), None, "OpaqueRef:NULL"),
        (Set(String()), (), []),
        (Set(types.Enum(PowerState)), (PowerState.PAUSED,), ["Paused"]),
        (Set(types.DateTime()), (datetime(2026, 8, 21, tzinfo=UTC),), ["20260821T00:00:00Z"]),
        (Map(String(), String()), {}, {}),
        (Map(String(), String()), {"\udfff": "\ud800"}, {"\ufffd": "\ufffd"}),
        (Map(types.Int(), Set(types.Int())), {0: (1, 2)}, {"0": [1, 2]}),
        (Map(types.Enum(PowerState), String()), {PowerState.RUNNING: "x"}, {"Running": "x"}),
    ],
)
def test_every_type_is_written(kind: Type, value: Any, expected: Any) -> None:
    found = json.loads(written(kind, value))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"id": 1, "token": "t"}, {"id": 1, "token": "t"}),
        ({"id": 1, "snapshot": None, "token": "t"}, {"id": 1, "token": "t"}),
    ],
)
def test_a_struct_leaves_out_what_it_may(value: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    kind = Struct(
        "event", (("id", types.Int()), ("snapshot", types.AnyRecord()), ("token", String())), frozenset({"snapshot"})
    )
    assert json.loads(written(kind, value)) == expected


def test_records_stand_anywhere_in_structs_sets_and_maps(classes: Mapping[str, type[Entity]]) -> None:
    vm = c.VM(name_label="web")
    inner = Struct("inner", (("snapshot", types.AnyRecord()), ("more", types.AnyRecord())), frozenset({"more"}))
    kind = Struct("outer", (("all", Set(inner)), ("by", Map(String(), types.Record("VM"))), ("none", Set(inner))))
    found = json.loads(
        written(kind, {"all": [{"snapshot": vm}, {"snapshot": vm, "more": vm}], "by": {'"': vm}, "none": []})
    )
    assert [list(item) for item in found["all"]] == [["snapshot"], ["snapshot", "more"]]
    assert found["by"]['"']["name_label"] == "web"
    assert found["none"] == []
    assert json.loads(written(Struct("empty", (("x", inner),), frozenset({"x"})), {})) == {}
    assert json.loads(written(Map(String(), types.Record("VM")), {})) == {}


def test_a_record_has_every_field_of_its_class_in_order(classes: Mapping[str, type[Entity]]) -> None:
    for name, cls in classes.items():
        required = {
            field.name: c.VM() if isinstance(field.type, Ref) else field.type.default
            for field in cls.fields.values()
            if field.required
        }
        record = json.loads(written(types.Record(name), cls(**required)))
        assert list(record) == list(cls.wire_fields)


def test_a_record_is_written_once_until_the_object_changes(store: Store) -> None:
    with store.transaction():
        vm = store.add(c.VM(name_label="old"))
    first = wire.record(vm)
    assert wire.record(vm) is first
    with store.transaction():
        vm.name_label = "new"
    assert json.loads(wire.record(vm))["name_label"] == "new"


def test_every_result_of_every_message_can_be_written() -> None:
    for message in messages.api().messages.values():
        assert wire.writer(message.result).steps is not None

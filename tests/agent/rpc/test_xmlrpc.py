"""XML-RPC: what is read as a call and what is refused, and how every type is written."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import classes as c
from agent import messages
from agent.classes.enums import PowerState
from agent.model import types
from agent.model.entity import Entity
from agent.model.types import INT_MAX, INT_MIN, UNPRINTABLE, Map, Ref, Set, String, Struct, Type
from agent.rpc import xmlrpc as wire
from agent.store.store import Store

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CARRIED = TEXT.filter(lambda text: not UNPRINTABLE.search(text))


def call(*values: str) -> bytes:
    params = "".join(f"<param>{value}</param>" for value in values)
    return f"<methodCall><methodName>VM.start</methodName><params>{params}</params></methodCall>".encode()


def read(value: str) -> Any:
    """One value as the grammar reads it."""
    name, params = wire.decode(call(value))
    assert name == "VM.start"
    assert len(params) == 1
    return params[0]


def written(kind: Type, value: Any) -> str:
    return wire.value_text(kind, value).removeprefix("<value>").removesuffix("</value>")


def parsed(kind: Type, value: Any) -> Any:
    """A value as the stock client reads it."""
    out: list[bytes] = []
    for _ in wire.writer(kind).steps(value, out):
        pass
    document = b"".join((wire.SUCCESS[0], *out, wire.SUCCESS[1]))
    ((envelope,), method) = xmlrpc.client.loads(document)
    assert method is None
    assert isinstance(envelope, dict)
    assert envelope["Status"] == "Success"
    return envelope["Value"]


# --- reading


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("<value>bare</value>", "bare"),
        ("<value></value>", ""),
        ("<value/>", ""),
        ("<value><string>typed</string></value>", "typed"),
        ("<value><string/></value>", ""),
        ("<value>  white\n\tspace is data  </value>", "  white\n\tspace is data  "),
        ("<value><string> \n </string></value>", " \n "),
        ("<value>\n</value>", "\n"),
        ("<value>\n<string>x</string>\n</value>", "x"),
        ("<value>a &lt; b &amp;&amp; c &gt; d &quot;&apos;&#65;&#x1F600;</value>", "a < b && c > d \"'A\U0001f600"),
        ("<value><![CDATA[<b>]]></value>", "<b>"),
        ("<value>carriage&#13;return</value>", "carriage\rreturn"),
        ("<value>two\r\nlines</value>", "two\nlines"),
        ("<value>one<!-- aside -->text</value>", "onetext"),
        ("<value><int>42</int></value>", 42),
        ("<value><int> -42\n</int></value>", -42),
        ("<value><i4>+7</i4></value>", 7),
        ("<value><i8>9223372036854775807</i8></value>", INT_MAX),
        ("<value><i8>-9223372036854775808</i8></value>", INT_MIN),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><boolean> 0 </boolean></value>", False),
        ("<value><double>-1.5e3</double></value>", -1500.0),
        ("<value><double>30</double></value>", 30.0),
        ("<value><dateTime.iso8601>20260821T02:00:23Z</dateTime.iso8601></value>", "20260821T02:00:23Z"),
        ("<value><nil/></value>", None),
        ("<value><array><data/></array></value>", []),
        ("<value><array><data><value>a</value><value><int>1</int></value></data></array></value>", ["a", 1]),
        ("<value><struct/></value>", {}),
        (
            "<value><struct><member><name>a b</name><value>c</value></member>"
            "<member><name/><value><array><data><value/></data></array></value></member></struct></value>",
            {"a b": "c", "": [""]},
        ),
    ],
)
def test_a_value_is_read(value: str, meaning: object) -> None:
    found = read(value)
    assert found == meaning
    assert type(found) is type(meaning)


@pytest.mark.parametrize("head", ["", "<?xml version='1.0'?>\n", '<?xml version="1.0" encoding="UTF-8"?>', "\n\n"])
def test_a_call_is_read_after_any_usual_head(head: str) -> None:
    assert wire.decode(head.encode() + call("<value>é</value>")) == ("VM.start", ["é"])


def test_a_byte_order_mark_of_utf8_is_forgiven() -> None:
    assert wire.decode(b"\xef\xbb\xbf" + call("<value>x</value>")) == ("VM.start", ["x"])


def test_a_call_without_parameters_may_leave_the_element_out() -> None:
    body = b"<methodCall><methodName>system.listMethods</methodName></methodCall>"
    assert wire.decode(body) == ("system.listMethods", [])


def test_a_foreign_encoding_is_taken_where_all_is_ascii() -> None:
    head = b"<?xml version='1.0' encoding='ISO-8859-1'?>"
    assert wire.decode(head + call("<value>x</value>")) == ("VM.start", ["x"])
    with pytest.raises(wire.Malformed, match="only UTF-8"):
        wire.decode(head + call("<value>é</value>"))


@pytest.mark.threat("T4")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not well-formed"),
        (b"hello", "not well-formed"),
        (b"<methodCall>", "not well-formed"),
        (b"<methodCall/>", "not complete"),
        (b"<methodCall><params/></methodCall>", "<params> does not belong"),
        (b"<methodCall><methodName/></methodCall>", "names no method"),
        (b"<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>", "does not belong"),
        (b"<methodCall><methodName>a</methodName></methodCall><more/>", "not well-formed"),
        (b"<methodResponse/>", "<methodResponse> does not belong there in <the document>"),
        (b"<methodCall><methodName>a</methodName>stray<params/></methodCall>", "stray text"),
        (b"<methodCall><methodName>" + b"a" * 257 + b"</methodName></methodCall>", "method's name is longer than 256"),
        (call(""), "<param> is not complete"),
        (call("<value>a</value><value>b</value>"), "does not belong"),
        (call("<string>a</string>"), "does not belong"),
        (call("<value>a<int>1</int></value>"), "stray text"),
        (call("<value><int>1</int>a</value>"), "stray text"),
        (call("<value><int>1</int><int>2</int></value>"), "does not belong"),
        (call("<value><int></int></value>"), "integer"),
        (call("<value><int>1.5</int></value>"), "integer"),
        (call("<value><int>0x10</int></value>"), "integer"),
        (call("<value><int>1_0</int></value>"), "integer"),
        (call("<value><int>\u0661</int></value>"), "integer"),
        (call(f"<value><int>{'9' * 4_000_000}</int></value>"), "integer"),
        (call("<value><i8>999999999999999999999</i8></value>"), "integer"),
        (call("<value><double>nan</double></value>"), "double"),
        (call("<value><double>inf</double></value>"), "double"),
        (call("<value><double>1,5</double></value>"), "double"),
        (call(f"<value><double>{'1' * 65}</double></value>"), "double"),
        (call("<value><boolean>true</boolean></value>"), "boolean"),
        (call("<value><boolean/></value>"), "boolean"),
        (call(f"<value><dateTime.iso8601>{'2' * 65}</dateTime.iso8601></value>"), "date"),
        (call("<value><base64>AAAA</base64></value>"), "base64"),
        (call("<value><nil>x</nil></value>"), "nil"),
        (call("<value><array/></value>"), "<array> is not complete"),
        (call("<value><array><value>a</value></array></value>"), "does not belong"),
        (call("<value><array><data/><data/></array></value>"), "does not belong"),
        (call("<value><struct><member><name>a</name></member></struct></value>"), "<member> is not complete"),
        (call("<value><struct><member><value>a</value></member></struct></value>"), "does not belong"),
        (call("<value><bold>a</bold></value>"), "<bold> does not belong there in <value>"),
        (call("<value><string><b>markup</b></string></value>"), "<b> does not belong"),
        (call("<value>a ]]> b</value>"), "not well-formed"),
        (call("<value>NUL \0</value>"), "not UTF-8"),
        (call("<value>bell \x07</value>"), "not well-formed"),
        (call("<value>&#0;</value>"), "not well-formed"),
        (call("<value>&#xFFFE;</value>"), "not well-formed"),
        (call("<value>\ufffe</value>"), "not well-formed"),
        (call("<value>&undeclared;</value>"), "not well-formed"),
        (call("<value>x</value>").replace(b"x", b"\xff"), "not UTF-8"),
        (call("<value>x</value>").replace(b"x", b"\xc0\xaf"), "not UTF-8"),
        (call("<value>x</value>").replace(b"x", b"\xed\xa0\x80"), "not UTF-8"),
        (call("<value>x</value>").decode().encode("utf-16"), "not UTF-8"),
        (call("<value>x</value>").decode().encode("utf-16-le"), "not UTF-8"),
        (call("<value>x</value>").decode().encode("utf-16-be"), "not UTF-8"),
        (b"\x00\x00\xfe\xff" + call("<value>x</value>").decode().encode("utf-32-be"), "not UTF-8"),
        (b"<?xml version='1.0' encoding='utf-16'?>" + call("<value>é</value>"), "only UTF-8"),
        (b" <?xml version='1.0'?>" + call("<value>x</value>"), "not well-formed"),
    ],
)
def test_what_is_no_call_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(wire.Malformed, match=reason) as refused:
        wire.decode(body)
    assert len(str(refused.value)) < 200


@pytest.mark.threat("T4")
@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE methodCall>",
        "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>",
        "<!DOCTYPE x PUBLIC 'a' 'http://127.0.0.1:1/'>",
        "<!DOCTYPE x [<!ENTITY a 'b'>]>",
        "<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/'> %p;]>",
        "<!DOCTYPE x [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n + 1} '&a{n};&a{n};'>" for n in range(40)) + "]>",
    ],
)
def test_a_document_type_is_refused_before_anything_of_it_is_done(doctype: str) -> None:
    with pytest.raises(wire.Forbidden):
        wire.decode(doctype.encode() + call("<value>&a40;</value>"))


def test_the_word_doctype_in_text_is_text() -> None:
    assert read("<value><![CDATA[<!DOCTYPE x>]]></value>") == "<!DOCTYPE x>"


def _nested(depth: int) -> bytes:
    around = ("<value><array><data>", "</data></array></value>")
    return call(around[0] * (depth - 1) + "<value>x</value>" + around[1] * (depth - 1))


def test_values_nest_64_deep_and_no_deeper() -> None:
    ((value,),) = wire.decode(_nested(64))[1:]
    for _ in range(63):
        (value,) = value
    assert value == "x"
    with pytest.raises(wire.Malformed, match="nest deeper than 64"):
        wire.decode(_nested(65))


@pytest.mark.threat("T4")
def test_200000_levels_are_refused_at_the_65th() -> None:
    with pytest.raises(wire.Malformed, match="nest deeper than 64"):
        wire.decode(_nested(200_000))
    with pytest.raises(wire.Malformed, match="nest deeper than 64"):
        wire.decode(b"<methodCall><methodName>a</methodName><params><param>" + b"<value><array><data>" * 200_000)
    with pytest.raises(wire.Malformed, match="does not belong"):
        wire.decode(b"<methodCall>" * 200_000)


@pytest.mark.threat("T4")
def test_a_call_of_too_many_values_is_refused() -> None:
    values = "<value/>" * wire.VALUES_MAX
    with pytest.raises(wire.Malformed, match="more than 100000 values"):
        wire.decode(call(f"<value><array><data>{values}</data></array></value>"))


def test_a_struct_with_the_same_member_twice_is_refused() -> None:
    member = "<member><name>a</name><value>b</value></member>"
    assert read(f"<value><struct>{member}</struct></value>") == {"a": "b"}
    with pytest.raises(wire.Malformed, match="same member twice"):
        read(f"<value><struct>{member}{member}</struct></value>")


def test_a_members_name_of_1025_characters_is_refused() -> None:
    value = "<value><struct><member><name>%s</name><value/></member></struct></value>"
    assert len(next(iter(read(value % ("n" * 1024))))) == 1024
    with pytest.raises(wire.Malformed, match="longer than 1024"):
        read(value % ("n" * 1025))


@given(st.lists(st.one_of(CARRIED, st.integers(-(2**31), 2**31 - 1), st.booleans()), max_size=6))
def test_what_the_stock_client_sends_is_read(params: list[Any]) -> None:
    body = xmlrpc.client.dumps(tuple(params), "VM.start").encode()
    # XML turns every line end into LF, and the stock client does not escape CR.
    lines = [item.replace("\r\n", "\n").replace("\r", "\n") if isinstance(item, str) else item for item in params]
    assert wire.decode(body) == ("VM.start", lines)


SMALL = st.builds(
    lambda head, name, gap, params, tail: (
        f"{head}{gap}<methodCall>{gap}<methodName>{name}</methodName>{gap}<params>{gap}"
        + gap.join(f"<param>{gap}<value>{value}</value>{gap}</param>" for value in params)
        + f"{gap}</params></methodCall>{tail}"
    ),
    st.sampled_from(["", "<?xml version='1.0'?>", '<?xml version="1.0" encoding="utf-8"?>', "<?xml version='1.1'?>"]),
    st.one_of(st.just("VM.get_record"), TEXT),
    st.sampled_from(["", "\n", " \t", "\r\n", "\u00a0"]),
    st.lists(
        st.one_of(
            TEXT,
            TEXT.map(lambda text: f"<string>{text}</string>"),
            st.sampled_from(
                ["<int>1</int>", "<string/>", "&lt;", "a]b", "]]>", "<string>a</string> ", "\r", "\x7f\x85"]
            ),
        ),
        max_size=3,
    ),
    st.sampled_from(["", "\n", "x", "<!-- end -->"]),
)


@settings(max_examples=400)
@given(SMALL)
def test_the_fast_path_reads_what_the_grammar_reads_or_nothing(body: str) -> None:
    quick = wire.decode_small(body.encode())
    if quick is not None:
        assert quick == wire.decode_any(body.encode())


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="&<>]\x7f"))))
def test_the_fast_path_takes_the_usual_call(params: list[str]) -> None:
    body = xmlrpc.client.dumps(tuple(params), "VM.get_record", encoding="utf-8").encode()
    if len(params) < 20:
        assert wire.decode_small(body) == ("VM.get_record", params)


# --- writing


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (types.Void(), None, ""),
        (String(), "a<b>&c", "a&lt;b&gt;&amp;c"),
        (String(), "", ""),
        (String(), "line\nend\tand\rreturn", "line\nend\tand&#13;return"),
        (String(), "\x00\x07\ufffe\ud800", "\ufffd\ufffd\ufffd\ufffd"),
        (String(), "& \x01\r", "&amp; \ufffd&#13;"),
        (types.Int(), -(2**63), "-9223372036854775808"),
        (types.Int32(), 12, "<i4>12</i4>"),
        (types.Float(), 1.0, "<double>1</double>"),
        (types.Float(), 0.0004175995563293536, "<double>0.0004175995563293536</double>"),
        (types.Bool(), True, "<boolean>1</boolean>"),
        (types.Bool(), False, "<boolean>0</boolean>"),
        (
            types.DateTime(),
            datetime(2026, 8, 21, 2, 0, 23, tzinfo=UTC),
            "<dateTime.iso8601>20260821T02:00:23Z</dateTime.iso8601>",
        ),
        (
            types.DateTime(),
            datetime(2026, 8, 21, 4, 0, 23, tzinfo=timezone(timedelta(hours=2))),
            "<dateTime.iso8601>20260821T02:00:23Z</dateTime.iso8601>",
        ),
        (types.DateTime(), datetime(1, 1, 1, tzinfo=UTC), "<dateTime.iso8601>00010101T00:00:00Z</dateTime.iso8601>"),
        (types.Enum(PowerState), PowerState.RUNNING, "Running"),
        (Ref("VM", nullable=True), None, "OpaqueRef:NULL"),
        (Set(String()), (), "<array><data></data></array>"),
        (Set(String()), ("a", "<"), "<array><data><value>a</value><value>&lt;</value></data></array>"),
        (Set(Ref("VM")), [], "<array><data></data></array>"),
        (Map(String(), String()), {}, "<struct></struct>"),
        (
            Map(String(), String()),
            {"a&b": "<"},
            "<struct><member><name>a&amp;b</name><value>&lt;</value></member></struct>",
        ),
        (
            Map(types.Int(), types.Float()),
            {0: 0.25},
            "<struct><member><name>0</name><value><double>0.25</double></value></member></struct>",
        ),
        (
            Map(types.Int(), Set(String())),
            {1: ()},
            "<struct><member><name>1</name><value><array><data></data></array></value></member></struct>",
        ),
    ],
)
def test_every_type_is_written_in_the_dialect_of_xapi(kind: Type, value: Any, expected: str) -> None:
    assert written(kind, value) == expected.replace("<void>", "")


def test_the_result_of_a_task_is_the_text_of_its_value(classes: Mapping[str, type[Entity]]) -> None:
    vm = c.VM(name_label="x")
    assert wire.value_text(Ref("VM"), vm) == f"<value>{vm.ref}</value>"
    assert wire.value_text(String(), "a<b") == "<value>a&lt;b</value>"
    assert wire.value_text(types.Void(), None) == ""


def test_references_are_keys_of_maps(classes: Mapping[str, type[Entity]]) -> None:
    vm = c.VM()
    assert parsed(Map(Ref("VM"), types.Int()), {vm: 5}) == {vm.ref: "5"}


def test_a_struct_leaves_out_what_it_may(classes: Mapping[str, type[Entity]]) -> None:
    kind = Struct(
        "event",
        (("id", types.Int()), ("snapshot", types.AnyRecord()), ("token", String())),
        frozenset({"snapshot"}),
    )
    vm = c.VM(name_label="web")
    assert parsed(kind, {"id": 1, "token": "t"}) == {"id": "1", "token": "t"}
    assert parsed(kind, {"id": 1, "snapshot": None, "token": "t"}) == {"id": "1", "token": "t"}
    whole = parsed(kind, {"id": 1, "snapshot": vm, "token": "t"})
    assert list(whole) == ["id", "snapshot", "token"]
    assert whole["snapshot"]["name_label"] == "web"


def test_a_record_has_every_field_of_its_class_in_order(classes: Mapping[str, type[Entity]]) -> None:
    for name, cls in classes.items():
        required = {
            field.name: c.VM() if isinstance(field.type, Ref) else field.type.default
            for field in cls.fields.values()
            if field.required
        }
        record = parsed(types.Record(name), cls(**required))
        assert list(record) == list(cls.wire_fields)


def test_a_record_shows_no_internal_field(classes: Mapping[str, type[Entity]]) -> None:
    session = c.Session()
    session.__dict__.update(this_host=None, this_user=None, token_hash="hash-of-a-secret")
    assert b"hash-of-a-secret" not in wire.record(session)


def test_a_record_is_written_once_until_the_object_changes(store: Store) -> None:
    with store.transaction():
        vm = store.add(c.VM(name_label="old"))
    first = wire.record(vm)
    assert wire.record(vm) is first
    with store.transaction():
        vm.name_label = "new"
    second = wire.record(vm)
    assert b"new" in second
    assert b"old" not in second


def test_a_record_follows_the_other_end_of_a_bound_field(store: Store) -> None:
    with store.transaction():
        vm, network = store.add(c.VM()), store.add(c.Network())
    before = wire.record(vm)
    with store.transaction():
        vif = store.add(c.VIF(VM=vm, network=network, device="0", MTU=1500))
    assert vif.ref.encode() not in before
    assert vif.ref.encode() in wire.record(vm)


def test_a_record_is_right_again_after_a_transaction_is_undone(store: Store) -> None:
    with store.transaction():
        vm = store.add(c.VM(name_label="kept"))

    def change_and_fail() -> None:
        with store.transaction():
            vm.name_label = "passing"
            assert b"passing" in wire.record(vm)
            raise RuntimeError("undo")

    with pytest.raises(RuntimeError, match="undo"):
        change_and_fail()
    assert b"kept" in wire.record(vm)


def test_a_loose_object_is_written_as_it_is_now(classes: Mapping[str, type[Entity]]) -> None:
    vm = c.VM(name_label="one")
    wire.record(vm)
    vm.name_label = "two"
    assert b"two" in wire.record(vm)


@pytest.mark.threat("T11")
@given(CARRIED, CARRIED)
def test_all_text_that_xml_carries_comes_back(key: str, value: str) -> None:
    assert parsed(Map(String(), String()), {key: value}) == {key: value}


@pytest.mark.threat("T11")
@given(st.text(max_size=30))
def test_no_text_makes_an_answer_that_cannot_be_parsed(text: str) -> None:
    for document in (wire.failure(["CODE", text]), wire.fault(text)):
        ElementTree.fromstring(document)


def test_every_result_of_every_message_can_be_written() -> None:
    for message in messages.api().messages.values():
        assert wire.writer(message.result).steps is not None

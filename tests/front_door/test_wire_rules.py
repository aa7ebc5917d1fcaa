"""The rules of the wire that break real clients when they are broken, at the front door: who asks, in which way; what
every record looks like, in XML, JSON and events; and values without which some client crashes.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.request
import xml.etree.ElementTree as ElementTree
import xmlrpc.client
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent import messages
from agent.model import types
from agent.model.types import NULL, Type
from tests.front_door.conftest import PASSWORD, Daemon, eventually, make_card, make_disk, make_vm
from tests.front_door.test_lenient_input import Json, json_rpc
from tests.front_door.web import Web, answer_of

PAGE = "https://xo.example.org"
XAPI: dict[str, Any] = json.loads((Path(__file__).parents[1] / "reference" / "xapi.json").read_text("utf-8"))
NEWER = {"vm_operations": {"create_vtpm", "sysprep"}, "host_allowed_operations": {"enable"}}
"""Words that clients of 2021 do not know: one of them costs such a client the whole record."""
DATE = re.compile(r"\d{8}T\d\d:\d\d:\d\dZ")
API = messages.api()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    configuration = f'[api]\ncors_origins = ["{PAGE}"]\n'
    listen = ("http://127.0.0.1:0", "https://127.0.0.1:0")
    started = Daemon(tmp_path_factory.mktemp("state"), listen=listen, configuration=configuration)
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def web(daemon: Daemon) -> Web:
    """A session, and at least one object of most classes."""
    made = Web(daemon, daemon.login())
    api = made.api
    vm = make_vm(api, "on the wire")
    make_disk(api, vm)
    make_card(api, vm)
    api.VM.snapshot(vm, "kept")
    api.blob.create("text/plain")
    api.secret.create({"value": "word"})
    api.VM_appliance.create({"name_label": "mine"})
    api.VMSS.create({"name_label": "mine"})
    api.message.create("note", "3", "VM", api.VM.get_uuid(vm), "of the test")
    api.task.create("mine", "")
    running = make_vm(api, "running on the wire")
    make_disk(api, running)
    api.VM.start(running, False, False)
    return made


@pytest.fixture
def call(daemon: Daemon) -> Json:
    return json_rpc(daemon, "1.0", "wire")


# --- who asks

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
HANDLERS = {
    "PUT /import": 200,
    "PUT /import_raw_vdi": 200,
    "GET /export": 200,
    "GET /export_raw_vdi": 200,
    "GET /rrd_updates": 200,
    "GET /host_rrd": 200,
    "GET /host_rrds": 200,
    "GET /vm_rrd": 200,
    "GET /vm_rrds": 200,
    "GET /sr_rrd": 200,
    "GET /blob": 200,
    "PUT /blob": 200,
    "GET /console": 409,
}
"""Every path that is no call, and what is answered to who may: the machine has no console that could be opened."""


def subject(web: Web, path: str) -> dict[str, str]:
    """What a request to this path is about."""
    [vm] = web.api.VM.get_by_name_label("on the wire")
    if "vdi" in path:
        return {"vdi": web.api.VBD.get_VDI(web.api.VM.get_VBDs(vm)[0])}
    if path == "/blob":
        return {"ref": web.api.blob.get_all()[0]}
    if path == "/sr_rrd":
        return {"uuid": web.api.SR.get_uuid(web.sr())}
    return {"uuid": web.api.VM.get_uuid(vm)} if "rrd" in path else {"ref": vm}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_every_path_that_is_no_call_is_in_this_list(web: Web) -> None:
    for path in {request.split()[1] for request in HANDLERS}:
        assert web.send("DELETE", path).status == 405
        assert web.send("HEAD", path).status != 404
    assert web.send("GET", "/import").status == 405
    assert web.send("GET", "/no_such_path").status == 404


@pytest.mark.parametrize("request_", HANDLERS)
@pytest.mark.parametrize("end", ["", "/"])
def test_a_session_may_be_in_the_query_a_cookie_or_a_password(web: Web, request_: str, end: str) -> None:
    method, path = request_.split()
    query, extra = subject(web, path), UPGRADE if path == "/console" else {}
    body = b"" if method == "PUT" else None
    secret = web.session._session

    def status(headers: Mapping[str, str], session: str | None) -> int:
        return web.send(method, path + end, body, {**extra, **headers}, session_id=session, **query).status

    assert status({}, secret) == HANDLERS[request_]
    assert status({"Cookie": f"other=1; session_id={secret}"}, None) == HANDLERS[request_]
    assert status(basic("root", PASSWORD), None) == HANDLERS[request_]
    wrong = "OpaqueRef:00000000-0000-0000-0000-000000000000"
    assert status({}, None) == 401
    assert status({}, wrong) == 401
    assert status({"Cookie": f"session_id={wrong}"}, None) == 401
    assert status(basic("root", "wrong"), None) == 401
    # The query is asked first: who shows a session that is none is not let in by what else he shows.
    assert status(basic("root", PASSWORD), wrong) == 401
    assert status({"Cookie": f"session_id={wrong}"}, secret) == HANDLERS[request_]


def test_a_console_by_connect_names_its_session_in_each_way_too(web: Web) -> None:
    [vm] = web.api.VM.get_by_name_label("on the wire")

    def status(session: str | None, header: str = "") -> int:
        with web.link() as link:
            link.sendall(
                f"CONNECT {web.path('/console', ref=vm, session_id=session)} HTTP/1.0\r\n{header}\r\n".encode()
            )
            return answer_of(link)[0]

    secret = web.session._session
    known = "Authorization: " + basic("root", PASSWORD)["Authorization"] + "\r\n"
    assert [status(secret), status(None, f"Cookie: session_id={secret}\r\n"), status(None, known)] == [409] * 3
    assert [status(None), status("wrong"), status(None, "Cookie: session_id=wrong\r\n")] == [401] * 3


def test_a_page_that_is_named_reads_calls_and_numbers_and_no_other_does(web: Web) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    login = json.dumps({"jsonrpc": "2.0", "method": "system.listMethods", "params": [], "id": 0}).encode()
    for page, told in ((PAGE, PAGE), ("https://other.example.org", None)):
        origin = {"Origin": page}
        answers = [
            web.send("OPTIONS", "/jsonrpc", None, {**origin, **asks}),
            web.send("POST", "/jsonrpc", login, origin),
            web.get("/rrd_updates", origin, json="true", host="true"),
            web.send("OPTIONS", "/import", None, {**origin, **asks}),
            web.get("/rrd_updates", origin, session_id=None),
        ]
        assert [answer.headers["Access-Control-Allow-Origin"] for answer in answers] == [told] * 5
        assert [answer.status for answer in answers] == [204, 200, 200, 204, 401]


# --- how calls travel


def test_the_sdk_of_net_logs_in_by_version_1_and_goes_on_in_version_2(daemon: Daemon) -> None:
    def post(**body: Any) -> Any:
        with urllib.request.urlopen(f"{daemon.url}/jsonrpc", json.dumps(body).encode()) as response:
            assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
            return json.load(response)

    first = post(method="session.login_with_password", params=["root", PASSWORD, "2.21", "SDK"], id=0)
    assert first == {"result": first["result"], "error": None, "id": 0}
    wrong = post(method="pool.get_all", params=["OpaqueRef:none"], id="x")
    assert wrong == {"result": None, "error": ["SESSION_INVALID", "OpaqueRef:none"], "id": "x"}
    secret = first["result"]
    assert post(jsonrpc="2.0", method="session.get_is_local_superuser", params=[secret, secret], id="y") == {
        "jsonrpc": "2.0",
        "result": True,
        "id": "y",
    }
    missing = post(jsonrpc="2.0", method="VM.nothing", params=[secret], id=3)["error"]
    assert (missing["message"], missing["data"]) == ("MESSAGE_METHOD_UNKNOWN", ["VM.nothing"])
    assert isinstance(missing["code"], int)


@pytest.mark.parametrize("path", ["", "/", "/RPC2", "/xmlrpc", "/RPC2/", "/any/other"])
def test_a_call_in_xml_may_go_to_any_path_that_is_none(web: Web, path: str) -> None:
    body = xmlrpc.client.dumps((), "system.listMethods").encode()
    answer = web.send("POST", path or "/", body)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/xml")
    listed: Any = xmlrpc.client.loads(answer.body)[0][0]
    assert "VM.start" in listed


def test_a_client_of_http_1_0_is_answered_and_left(web: Web) -> None:
    body = json.dumps({"method": "system.listMethods", "params": [], "id": 1}).encode()
    with web.link() as link:
        link.sendall(b"POST /jsonrpc HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        status, answer = answer_of(link)
        assert (status, link.recv(1)) == (200, b"")
    assert "VM.start" in json.loads(answer)["result"]


def test_a_task_ends_with_its_result_in_xml_and_nothing_for_void(web: Web) -> None:
    [vm] = web.api.VM.get_by_name_label("on the wire")
    made = web.ended(web.api.Async.VM.clone(vm, "by a task"))["result"]
    found = re.fullmatch(r"<value>(OpaqueRef:[0-9a-f-]{36})</value>", made)
    assert found is not None
    assert web.api.VM.get_name_label(found[1]) == "by a task"
    assert web.ended(web.api.Async.VM.set_memory_dynamic_range(vm, str(2**27), str(2**28)))["result"] == ""


# --- what every record looks like

LISTED = sorted(name for name, cls in API.classes.items() if f"{name}.get_all_records" in API.messages and cls.stored)


def is_xml(kind: Type, value: ElementTree.Element) -> bool:
    """Whether a value is written as xapi writes this type: the decoders of Go and C take nothing else."""
    inner = next(iter(value), None)
    text = (inner if inner is not None else value).text or ""
    tag = "" if inner is None else inner.tag
    match kind:
        case types.Int():
            return tag == "" and re.fullmatch(r"-?\d+", text) is not None
        case types.Float():
            return tag == "double" and bool(text)
        case types.Bool():
            return tag == "boolean" and text in ("0", "1")
        case types.DateTime():
            return tag == "dateTime.iso8601" and DATE.fullmatch(text) is not None
        case types.Ref():
            return tag == "" and re.fullmatch(r"OpaqueRef:(NULL|[0-9a-f-]{36})", text) is not None
        case types.Enum():
            return tag == "" and text in words_of(kind)
        case types.Set():
            return tag == "array" and all(is_xml(kind.of, item) for item in value.iterfind("array/data/value"))
        case types.Map():
            return tag == "struct" and all(is_xml(kind.value, item) for item in value.iterfind("struct/member/value"))
    return tag == ""


def is_json(kind: Type, value: Any) -> bool:
    match kind:
        case types.Int():
            return type(value) is int
        case types.Float():
            return type(value) is float
        case types.Bool():
            return type(value) is bool
        case types.DateTime():
            return type(value) is str and DATE.fullmatch(value) is not None
        case types.Set():
            return type(value) is list and all(is_json(kind.of, item) for item in value)
        case types.Map():
            return type(value) is dict and all(is_json(kind.value, item) for item in value.values())
    return type(value) is str


def words_of(kind: types.Enum) -> set[str]:
    """The words that clients of 2021 know."""
    name = kind.of.wire_name
    return set(XAPI["enums"].get(name, list(kind.of))) - NEWER.get(name, set())


@pytest.mark.parametrize("name", LISTED)
def test_every_field_is_written_as_clients_parse_it(web: Web, call: Json, name: str) -> None:
    fields = API.classes[name].wire_fields
    body = xmlrpc.client.dumps((web.session._session,), f"{name}.get_all_records").encode()
    answer = ElementTree.fromstring(web.send("POST", "/", body).body)
    [records] = answer.findall("params/param/value/struct/member[name='Value']/value/struct")
    for record in records.iterfind("member/value/struct"):
        written = {member.findtext("name"): member.find("value") for member in record}
        assert written.keys() == fields.keys()
        wrong = [field for field, value in written.items() if not is_xml(fields[field].type, value)]  # type: ignore[index,arg-type]
        assert not wrong, ElementTree.tostring(record)
    for read in call(f"{name}.get_all_records")["result"].values():
        assert [field for field, value in read.items() if not is_json(fields[field].type, value)] == []


def test_every_reference_leads_somewhere(call: Json, web: Web) -> None:
    everything = {name: call(f"{name}.get_all_records")["result"] for name in LISTED}
    lost = [
        (name, field, value)
        for name, records in everything.items()
        for record in records.values()
        for field, value in record.items()
        if isinstance(kind := API.classes[name].wire_fields[field].type, types.Ref)
        and kind.to in everything
        and value != NULL
        and value not in everything[kind.to]
        and call(f"{kind.to}.get_uuid", value).get("error")  # it may have been made since
    ]
    assert lost == []


def test_no_word_is_newer_than_clients_in_any_state(web: Web, call: Json) -> None:
    """The machine goes through its states; of the host, the one where it takes none is looked at too."""
    [vm] = web.api.VM.get_by_name_label("on the wire")
    [host] = web.api.host.get_all()

    def look() -> None:
        for name, ref in (("VM", vm), ("host", host), ("VBD", web.api.VM.get_VBDs(vm)[0])):
            fields = API.classes[name].wire_fields
            record = call(f"{name}.get_record", ref)["result"]
            for field, value in record.items():
                kind = fields[field].type
                enum = kind.of if isinstance(kind, types.Set) else kind
                if isinstance(enum, types.Enum):
                    assert set(value if isinstance(value, list) else [value]) <= words_of(enum), field

    look()
    web.api.VM.start(vm, True, False)
    look()
    web.api.VM.unpause(vm)
    look()
    web.api.VM.suspend(vm)
    look()
    web.api.VM.hard_shutdown(vm)
    web.api.host.disable(host)
    look()
    web.api.host.enable(host)


# --- events


@pytest.mark.parametrize("name", LISTED)
def test_a_snapshot_is_the_record_and_the_count_is_true(web: Web, call: Json, name: str) -> None:
    if not API.classes[name].announced:
        assert name.lower() not in call("event.from", ["*"], "", 0.0)["result"]["valid_ref_counts"]
        return

    def same() -> bool:
        """Numbers change between two reads, and tasks come and go: one moment at which all agree will do."""
        batch = call("event.from", [name], "", 0.0)["result"]
        records = call(f"{name}.get_all_records")["result"]
        assert {(event["class"], event["operation"]) for event in batch["events"]} <= {(name.lower(), "add")}
        snapshots = {event["ref"]: event["snapshot"] for event in batch["events"]}
        return bool(snapshots == records and batch["valid_ref_counts"][name.lower()] == len(records))

    eventually(same, f"records of {name} like its snapshots")


def test_an_event_has_the_form_that_caches_of_clients_need(web: Web, call: Json) -> None:
    """In both formats: ids and times are text, a deletion has no snapshot, and the counts are numbers of XML."""
    vm = make_vm(web.api, "short of life")
    token = call("event.from", [f"vm/{vm}"], "", 0.0)["result"]["token"]
    web.api.VM.destroy(vm)
    batch = call("event.from", [f"vm/{vm}"], token, 30.0)["result"]
    [event] = batch["events"]
    assert event == {**event, "class": "vm", "operation": "del", "ref": vm}
    assert event.keys() == {"id", "timestamp", "class", "operation", "ref"}
    assert isinstance(event["id"], str)
    assert isinstance(event["timestamp"], str)
    body = xmlrpc.client.dumps((web.session._session, [f"vm/{vm}"], token, 30.0), "event.from").encode()
    answer = ElementTree.fromstring(web.send("POST", "/", body).body)
    [value] = answer.findall("params/param/value/struct/member[name='Value']/value/struct")
    counts = value.findall("member[name='valid_ref_counts']/value/struct/member/value")
    assert counts
    assert {next(iter(count)).tag for count in counts} == {"i4"}
    [told] = value.findall("member[name='events']/value/array/data/value/struct")
    assert {member.findtext("name") for member in told} == event.keys()


# --- values without which a client crashes


def test_values_without_which_clients_crash(web: Web) -> None:
    api = web.api
    [pool] = api.pool.get_all_records().values()
    [(host_ref, host)] = api.host.get_all_records().items()
    assert pool["master"] == host_ref
    assert pool["default_SR"] in api.SR.get_all()
    # os-xenapi makes numbers of all parts, Ansible needs two of them; the Go SDK asks for xapi, packer for a product.
    software = host["software_version"]
    assert re.fullmatch(r"\d+(\.\d+)+", software["product_version"])
    assert software.keys() >= {"xapi", "product_brand", "platform_version", "build_number"}
    assert host["cpu_info"].keys() >= {"cpu_count", "socket_count", "vendor", "modelname", "speed"}
    assert float(host["other_config"]["boot_time"]) > 0
    assert float(host["other_config"]["agent_start_time"]) > 0
    assert host["API_version_major"].isdecimal()
    machines = api.VM.get_all_records()
    # nova looks for the one control domain, by either of two ways. The test hypervisor has none.
    control = [host["control_domain"]] if host["control_domain"] != NULL else []
    assert [ref for ref, vm in machines.items() if vm["is_control_domain"] and vm["resident_on"] == host_ref] == control
    assert [ref for ref, vm in machines.items() if vm["domid"] == "0"] == control
    for vm in machines.values():
        if vm["is_default_template"]:
            assert vm["platform"].keys() >= {"cores-per-socket", "secureboot"}, vm["name_label"]
            assert vm["HVM_boot_params"].keys() >= {"firmware", "order"}, vm["name_label"]
        assert vm["metrics"] != NULL
        assert len(set(vm["VBDs"])) == len(vm["VBDs"])
    networks, disks = api.network.get_all(), api.VDI.get_all_records()
    for vbd in api.VBD.get_all_records().values():
        assert vbd["userdevice"].isdecimal()
        assert vbd["type"] == "CD" or vbd["VDI"] in disks
    for vif in api.VIF.get_all_records().values():
        assert vif["device"].isdecimal()
        assert vif["network"] in networks
    storages = api.SR.get_all()
    assert {disk["SR"] for disk in disks.values()} <= set(storages)
    for pif in api.PIF.get_all_records().values():
        assert pif["bond_slave_of"] == NULL or pif["bond_slave_of"] in api.Bond.get_all()

"""Who comes to the front door with nothing, or with another's: every path and every message turns them away alike."""

from __future__ import annotations

import http.client
import json
import uuid
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from agent.classes import VM
from agent.http.blobs import Blobs
from agent.http.paths import endpoints
from agent.model import types
from agent.model.messages import Kind
from agent.roles import Role
from drivers import xml
from tests.agent.http.served import Served
from tests.door import Door, sealed
from tests.front_door.conftest import PASSWORD, Daemon
from tests.test_imports import MODULES

PATHS = sorted(endpoints(None, Blobs(Path())))  # type: ignore[arg-type]  # nothing is served here
OPEN = {"/blob"}
"""Where something can be asked for without a session: a binary piece that was declared public."""
REACHES_OUT = {"host.bugreport_upload"}
"""Messages that have the agent itself connect to an address which a client names."""
METHODS = {"/console": "CONNECT", "/import": "PUT", "/import_raw_vdi": "PUT"}


def url(served: Served) -> str:
    return f"http://{served.address[0]}:{served.address[1]}"


def asked(served: Served, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    client = served.client()
    try:
        client.request(method, path, headers=headers)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


@pytest.mark.threat("T1", "T16", "T21")
@pytest.mark.parametrize("path", PATHS)
def test_no_path_is_open_to_who_has_no_session(served: Served, path: str) -> None:
    door = served.door
    vm, vdi = door.vm(), served.disk()
    logged_out = door.log_in(Role.POOL_ADMIN)
    door.send("session.logout", logged_out)
    session = door.sessions.find(door.session)
    objects = f"uuid={vm.uuid}&ref={vm.ref}&vdi={vdi.uuid}&format=raw&start=0"
    method = METHODS.get(path, "GET")
    before = door.store.changes.generation
    for given in ("", "OpaqueRef:NULL", f"OpaqueRef:{uuid.uuid4()}", session.ref, session.uuid, logged_out, "'"):
        query = f"?{objects}" + (f"&session_id={given}" if given else "")
        status, body = asked(served, method, path + query)
        assert status in ((401, 403, 404) if path in OPEN else (401, 403)), f"{path}{query}: {status} {body[:200]!r}"
        status, _ = asked(served, method, f"{path}?{objects}", Cookie=f"session_id={given}")
        assert status in ((401, 403, 404) if path in OPEN else (401, 403))
    assert door.store.changes.generation == before


@pytest.mark.threat("T1")
@pytest.mark.parametrize("name", ["system.listMethods", "system.methodHelp", "system.methodSignature"])
def test_introspection_tells_only_the_table(served: Served, name: str) -> None:
    params = () if name == "system.listMethods" else ("VM.start",)
    with xmlrpc.client.ServerProxy(url(served)) as proxy:
        answer: Any = getattr(proxy, name)(*params)
    told = set(answer) if name == "system.listMethods" else set()
    assert {each for each in told if each.removeprefix("Async.") not in sealed().messages} == set()


@pytest.mark.threat("T3")
def test_many_calls_in_one_are_not_served(served: Served) -> None:
    """Guesses are counted by call, so there is no call of many."""
    login = {"methodName": "session.login_with_password", "params": ["root", "guess"]}
    with xmlrpc.client.ServerProxy(url(served)) as proxy:
        answer: Any = proxy.system.multicall([login] * 100)
    assert answer["ErrorDescription"] == ["MESSAGE_METHOD_UNKNOWN", "system.multicall"]
    client = served.client()
    batch = [{"jsonrpc": "2.0", "id": n, "method": "pool.get_all", "params": [served.door.session]} for n in range(2)]
    client.request("POST", "/jsonrpc", json.dumps(batch))
    told = json.loads(client.getresponse().read())
    client.close()
    assert told["error"]["code"] == -32600
    assert "system.multicall" not in sealed().messages


@pytest.mark.threat("T8")
@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/update/../../etc/shadow",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc%5cpasswd",
        "//etc/passwd",
        "/blob/../../etc/passwd",
        "/export/../../../etc/passwd",
        "/etc/passwd%00.png",
        "/console/..;/etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(served: Served, path: str) -> None:
    status, body = asked(served, "GET", path)
    assert status in (400, 401, 403, 404, 405, 426)
    assert b"root:" not in body
    assert len(body) < 300


@pytest.mark.threat("T8", "T14")
@pytest.mark.parametrize("key", ["ref", "uuid"])
@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..%2f..", "%00", "*", "a" * 2000])
def test_no_name_of_a_piece_is_a_path(served: Served, key: str, name: str) -> None:
    status, body = asked(served, "GET", f"/blob?session_id={served.door.session}&{key}={name}")
    assert status in (400, 404)
    assert b"root:" not in body


@pytest.mark.threat("T22")
@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing/here", "/jsonrpc"])
def test_no_answer_is_taken_by_a_browser_for_what_it_is_not(served: Served, path: str) -> None:
    client = served.client()
    client.request("GET", path)
    answer = client.getresponse()
    answer.read()
    client.close()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Set-Cookie" not in answer.headers


@pytest.mark.threat("T22")
def test_a_call_takes_its_session_from_nowhere_but_its_parameters(served: Served) -> None:
    """A page of another site can have a browser send cookies and log-ins it keeps, and these open nothing here."""
    body = xmlrpc.client.dumps((), "VM.get_all").encode()
    for headers in (
        {"Cookie": f"session_id={served.door.session}"},
        {"Authorization": "Basic cm9vdDp3b3Jk", "Origin": "https://evil.example", "Content-Type": "text/plain"},
    ):
        client = served.client()
        client.request("POST", f"/?session_id={served.door.session}", body, headers)
        answer = client.getresponse()
        assert b"Failure" in answer.read()
        client.close()


@pytest.mark.threat("T15")
def test_one_role_may_change_a_field_whichever_message_does_it() -> None:
    """set_f, add_to_f, add_f, remove_from_f and remove_f ask for the same role, and create for no lower one."""
    different = {}
    for name, cls in sealed().classes.items():
        for field in cls.fields:
            changing = {
                message.full_name: message.role
                for verb in ("set", "add_to", "add", "remove_from", "remove")
                if (message := sealed().messages.get(f"{name}.{verb}_{field}")) is not None
            }
            if len(set(changing.values())) > 1:
                different[f"{name}.{field}"] = changing
    assert different == {}


@pytest.mark.threat("T14")
def test_a_key_is_refused_the_same_whichever_message_brings_it(door: Door) -> None:
    """What a field's check refuses of a map, set_f refuses, add_to_f refuses and create refuses."""
    bad: dict[str, dict[str, str]] = {"blocked_operations": {"no such operation": "x"}, "other_config": {"a\x00": "x"}}
    vm = door.vm()
    for field, value in bad.items():
        ((key, text),) = value.items()
        codes = {
            door.refused(f"VM.set_{field}", vm, value)[0],
            door.refused(f"VM.add_to_{field}", vm, key, text)[0],
            door.refused("VM.create", {"name_label": "x", field: value})[0],
        }
        assert len(codes) == 1, f"{field}: {codes}"


@pytest.mark.threat("T14")
def test_keys_that_nobody_knows_change_no_definition(door: Door) -> None:
    """The keys that xapi has come to grief over are text here: a guest is given the same with them and without."""
    vm = door.vm(name_label="plain")
    assert isinstance(vm, VM)
    before = etree.tostring(xml.build(vm, "plain"))
    for key in ("is_system_domain", "storage_driver_domain", "hvm_serial", "pci", "backend-local", "device-model"):
        door("VM.add_to_other_config", vm, key, "file:/etc/cron.d/x")
    assert etree.tostring(xml.build(vm, "plain")) == before
    assert vm.is_control_domain is False


@pytest.mark.threat("T23")
def test_only_operators_have_the_agent_connect_to_an_address() -> None:
    for name in REACHES_OUT:
        role = sealed().messages[name].role
        assert role is not None
        assert role >= Role.POOL_OPERATOR
    for name, message in sealed().messages.items():
        if name.startswith(("SR.create", "SR.probe", "SR.introduce", "PBD.create", "SR.make")):
            assert message.role is not None
            assert message.role >= Role.POOL_OPERATOR, f"{name} has storage of an address mounted"


@pytest.mark.threat("T23")
def test_no_other_message_of_the_agent_connects_anywhere() -> None:
    """Who opens connections is known: a module that begins to must be thought about."""
    networks = (
        "import urllib.request",
        "import http.client",
        "create_connection(",
        "import requests",
        "import smtplib",
    )
    reaching = {
        module
        for module, path in MODULES.items()
        if module.startswith(("agent.messages", "agent.http", "agent.rpc", "agent.observer", "agent.store"))
        and any(word in path.read_text("utf-8") for word in networks)
    }
    assert reaching == {"agent.messages.bugreport"}


@pytest.mark.threat("T15")
def test_what_is_secret_is_told_to_no_reader() -> None:
    secrets = [
        message
        for message in sealed().messages.values()
        if message.class_name == "secret" and message.kind in (Kind.READ, Kind.MEASURE)
    ]
    assert secrets
    for message in secrets:
        assert message.role is not None
        if message.name in ("get_value", "get_record", "get_all_records", "get_all_records_where", "get_other_config"):
            assert message.role >= Role.POOL_OPERATOR, message.full_name
    for message in sealed().messages.values():
        if isinstance(message.result, types.Record) and message.class_name == "session":
            assert "token_hash" not in message.result.fields


@pytest.mark.threat("T26", "T16")
def test_no_password_session_or_secret_is_in_the_log(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", configuration='[log]\nlevel = "debug"\n')
    daemon.start()
    try:
        session = daemon.login()
        secret = session._session
        kept = "a secret that nobody is to read"
        made = daemon.raw("secret.create", secret, {"value": kept, "other_config": {}})
        daemon.raw("secret.set_value", secret, made, f"{kept} again")
        with pytest.raises(Exception, match="SESSION_AUTHENTICATION_FAILED"):
            daemon.raw("session.login_with_password", "root\nforged entry", f"{PASSWORD}x")
        client = http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=30)
        client.request("GET", f"/rrd_updates?start=0&session_id={secret}")
        client.getresponse().read()
        client.close()
        with pytest.raises(Exception, match="SESSION_INVALID"):
            daemon.raw("VM.get_all", f"{secret}x")
        session.xenapi.session.logout()
    finally:
        daemon.stop()
    assert "SESSION_AUTHENTICATION_FAILED" in daemon.log
    assert PASSWORD not in daemon.log
    assert secret not in daemon.log
    assert kept not in daemon.log
    assert "\nforged" not in daemon.log

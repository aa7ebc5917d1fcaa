"""Reports of trouble: what is in them, where they go, and what is said when they do not arrive."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from agent.errors import OperationNotAllowed
from tests.door import Door
from tests.fake_machine import FakeMachine


class Desk:
    """A server that takes reports."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, bytes]] = []
        self.answer = 201
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                desk.reports.append((self.path, body))
                self.send_response(desk.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on stderr."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/reports/one"


@pytest.fixture
def desk() -> Iterator[Desk]:
    """It listens meanwhile."""
    made = Desk()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_a_report_has_what_helps_and_no_names(door: Door, machine: FakeMachine, desk: Desk) -> None:
    vm = door.vm(name_label="confidential", other_config={"password": "confidential"})
    machine.node.control.fail("log", OperationNotAllowed("no journal"))
    door("host.bugreport_upload", door.observer.host, desk.url, {})
    [(path, body)] = desk.reports
    report = json.loads(gzip.decompress(body))
    assert path == "/reports/one"
    assert report["host"]["software_version"]["product_brand"] == "xen-host-agent"
    assert report["dmesg"] == "(XEN) it was booted"
    assert "no journal" in report["log"]
    assert [each["uuid"] for each in report["machines"]] == [vm.uuid]
    assert b"confidential" not in gzip.decompress(body)


def test_a_report_goes_by_a_proxy_that_is_named(door: Door, desk: Desk) -> None:
    elsewhere = "http://192.0.2.1/reports/two"
    door("host.bugreport_upload", door.observer.host, elsewhere, {"http_proxy": desk.url.rpartition("/reports")[0]})
    assert [path for path, _ in desk.reports] == [elsewhere]


@pytest.mark.parametrize(
    "url",
    ["", "abc", "file:///etc/shadow", "ftp://127.0.0.1/x", "http://", "http://h:99999/", "http://a b/", "http://ü/"],
)
def test_what_is_no_address_is_refused(door: Door, url: str) -> None:
    assert door.refused("host.bugreport_upload", door.observer.host, url, {})[:2] == ["INVALID_VALUE", "url"]


def test_unknown_options_and_bad_proxies_are_refused(door: Door, desk: Desk) -> None:
    host = door.observer.host
    assert door.refused("host.bugreport_upload", host, desk.url, {"speed": "1"})[:3] == [
        "VALUE_NOT_SUPPORTED",
        "options",
        "speed",
    ]
    refused = door.refused("host.bugreport_upload", host, desk.url, {"http_proxy": "nowhere"})
    assert refused[:2] == ["INVALID_VALUE", "http_proxy"]
    assert desk.reports == []


def test_a_report_that_does_not_arrive_is_told(door: Door, desk: Desk) -> None:
    host = door.observer.host
    desk.answer = 507
    assert "507" in door.refused("host.bugreport_upload", host, desk.url, {})[1]
    refused = door.refused("host.bugreport_upload", host, "http://127.0.0.1:1/", {})
    assert refused[0] == "OPERATION_NOT_ALLOWED"
    assert "did not arrive" in refused[1]

"""The log of a daemon, as whoever collects it has it: standard error."""

from __future__ import annotations

import hashlib
import json
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import XenAPI

from agent.roles import Role
from agent.users import Users
from tests.front_door.conftest import PASSWORD, Daemon, make_vm


def test_each_line_is_an_object_of_json_where_that_was_asked_for(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", configuration='[log]\nformat = "json"\n')
    Users(daemon.state / "users.json").add("monitor", PASSWORD, Role.READ_ONLY)
    daemon.start(JOURNAL_STREAM="")
    try:
        api = daemon.login().xenapi
        vm = make_vm(api, "Ünïcode\u2028 two")
        reader = daemon.login("monitor").xenapi
        with pytest.raises(XenAPI.Failure):
            reader.VM.start(vm, False, False)
        uuid = api.VM.get_uuid(vm)
    finally:
        assert daemon.stop() == 0
    entries = [json.loads(line) for line in daemon.log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)
    assert entries[-1]["message"] == "ended"
    changes = [entry for entry in entries if entry.get("call", "").startswith("VM.")]
    assert [(each["call"], each["user"], each["result"]) for each in changes] == [
        ("VM.create", "root", "ok"),
        ("VM.start", "monitor", "RBAC_PERMISSION_DENIED"),
    ]
    assert {each["object"] for each in changes} == {f"VM {uuid} Ünïcode\u2028 two"}


@pytest.mark.threat("T20")
def test_the_fingerprint_of_the_certificate_is_told_at_the_start_and_when_it_is_another(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", listen=("https://127.0.0.1:0",))
    for _ in range(2):
        daemon.start()
        shown = ssl.get_server_certificate(("127.0.0.1", urlsplit(daemon.url).port or 0))
        daemon.stop()
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).digest().hex(":").upper()
        [line] = [each for each in daemon.log.splitlines() if "SHA-256 fingerprint" in each]
        assert line.endswith(
            f"https shows the certificate of {daemon.state}/server.pem: SHA-256 fingerprint {fingerprint}"
        )
        (daemon.state / "server.pem").unlink()
        (daemon.state / "log").unlink()

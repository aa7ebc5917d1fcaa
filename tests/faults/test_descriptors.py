"""An agent that may have no more descriptors: it serves those it has, and takes others when there is room again."""

from __future__ import annotations

import resource
import socket
from urllib.parse import urlsplit

import pytest

from tests.front_door.conftest import Daemon, eventually

LIMIT = 256


@pytest.mark.fault("F16")
@pytest.mark.threat("T7")
def test_an_agent_without_descriptors_serves_on_and_recovers(own_daemon: Daemon) -> None:
    api = own_daemon.login().xenapi
    assert own_daemon.process is not None
    pid = own_daemon.process.pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    at = urlsplit(own_daemon.url)
    links = []
    try:
        for _ in range(2 * LIMIT):
            links.append(socket.create_connection((at.hostname, at.port), timeout=30))
        assert api.VM.get_all() == api.VM.get_all()  # on the connection that there was
        vm = api.VM.create({"name_label": "made meanwhile"})
        assert api.VM.get_name_label(vm) == "made meanwhile"
    finally:
        for link in links:
            link.close()

    def answers() -> bool:
        try:
            return bool(own_daemon.login().xenapi.pool.get_all())
        except OSError:
            return False

    eventually(answers, "a new log-in")
    assert own_daemon.process is not None
    assert own_daemon.process.poll() is None
    assert own_daemon.process.pid == pid

"""The daemon killed by SIGKILL at steps of verbs, beside a libvirtd that lives on: what the walk plays is so.

One step of every other verb; all of all with ``XEN_HOST_AGENT_WALK=all`` in the environment.
"""

from __future__ import annotations

import os
import signal
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest
import XenAPI

from agent.failpoints import ENVIRONMENT
from tests.front_door.conftest import Daemon, make_vm

ALL = os.environ.get("XEN_HOST_AGENT_WALK") == "all"


@dataclass(frozen=True)
class Case:
    """A verb, what it is sent about, and calls that it makes."""

    name: str
    prepare: Callable[[Any], tuple[Any, ...]]
    calls: tuple[str, ...]
    seen: Callable[[Any, tuple[Any, ...]], object]
    """What it changes."""

    @property
    def steps(self) -> list[str]:
        return [f"{call}: {when}" for call in self.calls for when in ("begun", "done")]


def halted(api: Any) -> tuple[Any, ...]:
    return (make_vm(api, "subject"), False, False)


def running(api: Any) -> tuple[Any, ...]:
    vm = make_vm(api, "subject")
    api.VM.start(vm, False, False)
    return (vm,)


def suspended(api: Any) -> tuple[Any, ...]:
    [vm] = running(api)
    api.VM.suspend(vm)
    return (vm, False, False)


def state(api: Any, params: tuple[Any, ...]) -> object:
    return api.VM.get_power_state(params[0])


def names(api: Any, params: tuple[Any, ...]) -> object:
    return sorted(record["name_label"] for record in api.VM.get_all_records().values())


def bridges(api: Any, params: tuple[Any, ...]) -> object:
    return sorted((record["name_label"], record["managed"]) for record in api.network.get_all_records().values())


def made_network(api: Any) -> tuple[Any, ...]:
    return (api.network.create({"name_label": "made"}),)


CASES = [
    Case("VM.create", lambda api: ({"name_label": "new"},), ("Domains.define",), names),
    Case("VM.start", halted, ("Domains.start",), state),
    Case("VM.suspend", running, ("Domains.suspend",), state),
    Case("VM.resume", suspended, ("Domains.resume",), state),
    Case("VM.hard_shutdown", running, ("Domains.destroy",), state),
    Case("VM.destroy", lambda api: (make_vm(api, "subject"),), ("Domains.undefine",), names),
    Case("VM.clone", lambda api: (make_vm(api, "subject"), "twin"), ("Domains.define",), names),
    Case("network.create", lambda api: ({"name_label": "made"},), ("Networks.create",), bridges),
    Case("network.destroy", made_network, ("Networks.destroy",), bridges),
]
EACH = (
    [(case, step) for case in CASES for step in case.steps] if ALL else [(case, case.steps[-1]) for case in CASES[::2]]
)


@pytest.fixture
def beside_libvirtd(libvirtd: str, tmp_path: Path) -> Iterator[Daemon]:
    held = libvirt.open(libvirtd)  # its machines are there for as long as anybody is connected
    started = Daemon(tmp_path / "state", connect=libvirtd)
    started.start()
    yield started
    started.stop()
    held.close()


@pytest.mark.fault("F1")
@pytest.mark.parametrize(("case", "step"), EACH, ids=[f"{case.name} at {step}" for case, step in EACH])
def test_a_verb_that_is_killed_was_done_or_was_not(beside_libvirtd: Daemon, case: Case, step: str) -> None:
    daemon = beside_libvirtd
    params = case.prepare(daemon.login().xenapi)
    daemon.stop()
    daemon.start(**{ENVIRONMENT: f"{step}=kill"})
    session = daemon.login()
    secret, before = session._session, case.seen(session.xenapi, params)
    with pytest.raises((OSError, xmlrpc.client.Error)):
        daemon.raw(case.name, secret, *params)
    assert daemon.process is not None
    assert daemon.process.wait(60.0) == -signal.SIGKILL
    daemon.kill()
    daemon.start()
    api = daemon.login().xenapi
    found = case.seen(api, params)
    if found == before:
        verb = getattr(getattr(api, case.name.split(".")[0]), case.name.split(".")[1])
        verb(*params)
        assert case.seen(api, params) != before
    else:
        with suppress(XenAPI.Failure):
            case.seen(api, params)
    for record in api.VM.get_all_records().values():
        assert record["current_operations"] == {}

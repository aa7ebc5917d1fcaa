"""Failpoints: what the environment can arm, and that each call of a port and each write of the journal is two steps."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent import failpoints
from agent.classes import VDI
from agent.errors import InternalError, ValueNotSupported
from agent.failpoints import ENVIRONMENT, Failpoint, FailpointError
from tests.door import Door
from tests.fake_machine import FakeMachine


def test_an_environment_that_asks_for_none_gets_none() -> None:
    assert failpoints.armed({}) is None
    assert failpoints.armed({ENVIRONMENT: ""}) is None


@pytest.mark.parametrize(
    "text",
    [
        "Domains.start: done",
        "Domains.start: done=explode",
        "Domains.start: done#0=kill",
        "Domains.start: done=sleep",
        "Domains.start=kill",
        "Domains.fly: done=kill",
        "destroy: noted=kill",
    ],
)
def test_what_is_no_failpoint_is_refused_by_name(text: str) -> None:
    with pytest.raises(FailpointError, match=ENVIRONMENT):
        failpoints.armed({ENVIRONMENT: text})


def test_others_may_have_steps_of_their_own() -> None:
    failpoint = failpoints.armed({ENVIRONMENT: "destroy: noted=raise"}, ["destroy: noted"])
    assert failpoint is not None
    with pytest.raises(OSError, match="failpoint destroy: noted"):
        failpoint.reached("destroy: noted")


def test_an_error_comes_at_its_step_at_its_time_and_once() -> None:
    failpoint = Failpoint("Domains.start: done#2=raise")
    failpoint.reached("Domains.start: done")
    failpoint.reached("Domains.start: begun")
    with pytest.raises(OSError, match="failpoint") as caught:
        failpoint.reached("Domains.start: done")
    assert caught.value.errno == errno.EIO
    failpoint.reached("Domains.start: done")


def test_it_can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    Failpoint("Domains.start: begun=sleep 2.5").reached("Domains.start: begun")
    assert slept == [2.5]


def test_it_can_kill() -> None:
    program = "from agent.failpoints import Failpoint; Failpoint('Domains.start: begun=kill').reached({!r})"
    codes = [
        subprocess.run([sys.executable, "-c", program.format(step)], check=False, env=os.environ).returncode
        for step in ("Domains.start: begun", "Domains.start: done")
    ]
    assert codes == [-signal.SIGKILL, 0]


def test_every_call_of_a_port_and_of_what_it_has_and_gives_is_two_steps(machine: FakeMachine) -> None:
    taken: list[str] = []
    ports = failpoints.around(machine.ports(), taken.append)
    assert ports.domains.list() == []
    assert ports.node.cpu_pools.policies()
    door = Door(machine.ports(), None)
    sr = door.store.only(door.site.api.classes["SR"])
    writer = ports.storage.write_volume(VDI(SR=sr, type="user", virtual_size=512))  # type: ignore[arg-type]
    assert writer.size == 512
    writer.commit()
    door.close()
    calls = ["Domains.list", "CpuPools.policies", "Storage.write_volume", "VolumeWriter.commit"]
    assert taken == [f"{call}: {when}" for call in calls for when in ("begun", "done")]
    assert set(taken) < failpoints.steps()


def test_a_port_passes_an_error_on_as_its_own_before_the_call_and_after_it(machine: FakeMachine) -> None:
    ports = failpoints.around(machine.ports(), Failpoint("Domains.crash_dumps: begun=raise").reached)
    with pytest.raises(InternalError, match="failpoint"):
        ports.domains.crash_dumps()
    assert machine.domains.calls == []
    ports = failpoints.around(machine.ports(), Failpoint("Domains.crash_dumps: done=raise").reached)
    with pytest.raises(InternalError, match="failpoint"):
        ports.domains.crash_dumps()
    assert machine.domains.calls == ["crash_dumps"]


def test_what_a_port_itself_refuses_is_no_step_done(machine: FakeMachine) -> None:
    taken: list[str] = []
    machine.domains.fail("crash_dumps", ValueNotSupported("field", "value", "why"))
    with pytest.raises(ValueNotSupported):
        failpoints.around(machine.ports(), taken.append).domains.crash_dumps()
    assert taken == ["Domains.crash_dumps: begun"]


def test_an_agent_refuses_to_start_with_a_step_that_there_is_not(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("xen-host-agent")), "serve", "--connect", "test:///default"]
    command += ["--state", str(tmp_path), "--listen", "http://127.0.0.1:0"]
    refused = subprocess.run(
        command,
        env=os.environ | {ENVIRONMENT: "Domains.fly: done=kill"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert refused.returncode == 1
    assert "there is no step 'Domains.fly: done'" in refused.stderr

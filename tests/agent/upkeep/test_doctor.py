"""What doctor finds of the agent itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.config import Config
from agent.rpc import certificate as making
from agent.state_lock import held
from agent.upkeep import doctor
from drivers.checkup import Seen


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    made = Config(state=tmp_path / "state", listen=("https://127.0.0.1:1",))
    made.state.mkdir(mode=0o700)
    return made


@pytest.mark.parametrize(
    ("days", "level", "said"), [(3650, "ok", "is good until"), (10, "warning", "ends on"), (-0.5, "error", "ended on")]
)
def test_a_certificate_that_ends_soon_is_told(
    settings: Config, monkeypatch: pytest.MonkeyPatch, days: float, level: str, said: str
) -> None:
    monkeypatch.setattr(making, "VALID_DAYS", days)
    settings.certificate_path.write_bytes(making.self_signed(["host"], []))
    [found] = doctor.certificate(settings)
    assert found.level == level
    assert said in found.text
    assert bool(found.todo) is (level != "ok")


def test_a_certificate_that_is_none_is_told(settings: Config) -> None:
    settings.certificate_path.write_text("nonsense")
    [found] = doctor.certificate(settings)
    assert (found.level, found.subject) == ("error", "certificate")


def test_a_certificate_that_is_not_there_yet_is_no_fault(settings: Config) -> None:
    [found] = doctor.certificate(settings)
    assert found.level == "note"
    assert "is made when the agent first listens on https" in found.text


def test_a_full_disk_is_an_error(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 2**62)
    assert [(item.level, item.subject) for item in doctor.state(settings)] == [("error", "disk space")]


def test_a_listener_of_a_running_agent_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    settings = Config(state=tmp_path / "state", listen=(f"unix:{path}",))
    with held(settings):
        assert ("error", "listener") in [(item.level, item.subject) for item in doctor.agent(settings)]
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            assert Seen("ok", "listener", f"unix:{path} answers") in list(doctor.agent(settings))

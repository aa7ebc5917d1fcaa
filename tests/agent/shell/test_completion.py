"""What a shell is offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.__main__ import MODULES
from agent.shell import completion
from agent.shell.commands import Commands


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no agent."""
    monkeypatch.delenv(cli.PASSWORD_VARIABLE, raising=False)
    monkeypatch.setenv(cli.URL_VARIABLE, "http://127.0.0.1:1")


def offered(commands: Commands, line: str, shell: str = "fish") -> list[str]:
    return [each.partition("\t")[0] for each in completion.lines(shell, f"xen-host-agent {line}", commands)]


def test_every_command_is_offered(commands: Commands) -> None:
    assert set(offered(commands, "")) == {*MODULES, *commands.names()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vm-star", ["vm-start", "vm-start-on"]),
        ("check", ["check-config"]),
        ("vm-start ", ["force=", "start-paused=", "uuid=", "vm="]),
        ("vm-start vm=x ", ["force=", "start-paused=", "uuid="]),
        ("vm-start --minimal vm=x f", ["force="]),
        ("vm-start force=", ["force=false", "force=true"]),
        ("vm-start --min", ["--minimal"]),
        ("--user eve vm-start f", ["force="]),
        ("--user ", []),
        ("vm-list power-state=h", ["power-state=halted"]),
        ("vm-list params=uuid,name-l", ["params=uuid,name-label"]),
        ("vm-param-get param-name=power", ["param-name=power-state"]),
        ("vm-param-set uuid=1 name-", ["name-description=", "name-label="]),
        ("vm-param-add param-name=other-c", ["param-name=other-config"]),
        ("vm-param-add param-name=power", []),
        ("vdi-export format=v", ["format=vhd"]),
        ("network-create mt", ["mtu="]),
        ("user ", ["--help", "add", "list", "remove"]),
        ("user add --role vm-a", ["vm-admin"]),
        ("reference --format ", ["html", "json", "man", "text"]),
        ("completion f", ["fish"]),
        ("help vm-star", ["vm-start", "vm-start-on"]),
        ("help pif", None),
        ("call VM.hard_s", ["VM.hard_shutdown"]),
        ("call VM.get_power", ["VM.get_power_state"]),
        ("watch vb", []),
        ("watch VB", ["VBD", "VBD_metrics"]),
        ("zebra-list ", []),
        ("vm-start zebra=", []),
        ("vm-start 'open", []),
    ],
)
def test_a_line_is_completed(commands: Commands, line: str, expected: list[str] | None) -> None:
    found = offered(commands, line)
    assert found == expected if expected is not None else "pif-list" in found


def test_every_command_offers_what_it_takes_and_never_fails(commands: Commands) -> None:
    for name in commands.names():
        command = commands.find(name)
        for label, slot in completion._slots(command):
            assert label
            completion._values(command, slot, "", [name], commands.words)


def test_files_are_offered(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "a.raw").touch()
    (tmp_path / "b").mkdir()
    line = f"vdi-import filename={tmp_path}/"
    assert offered(commands, line) == [f"filename={tmp_path}/a.raw", f"filename={tmp_path}/b/"]
    assert offered(commands, f"vdi-import filename={tmp_path}/none/") == []


def test_bash_is_told_only_what_follows_its_last_break(commands: Commands) -> None:
    assert offered(commands, "vm-start fo", "bash") == ["force="]
    assert offered(commands, "vm-start force=t", "bash") == ["true"]


@pytest.mark.parametrize(
    ("line", "typed", "current", "quoted"),
    [
        ("", [], "", False),
        ("x", [], "", False),
        ("x ", [], "", False),
        ("x a b", ["a"], "b", False),
        ("x a b ", ["a", "b"], "", False),
        ("x 'a b' c", ["a b"], "c", False),
        ('x vm="a b', [], "vm=a b", True),
        ("x vm='a b", [], "vm=a b", True),
        ("x vm=a\\", [], "vm=a", False),
        ("x vm=a\\ ", [], "vm=a ", False),
    ],
)
def test_a_line_is_taken_apart_as_a_shell_does(line: str, typed: list[str], current: str, quoted: bool) -> None:
    assert completion.split(line) == (typed, current, quoted)


def test_names_of_objects_are_asked_for_and_marked_for_bash(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, mocker: Any
) -> None:
    monkeypatch.setenv(cli.PASSWORD_VARIABLE, "word")
    agent = mocker.MagicMock(session="secret")
    agent.send.return_value = {
        "OpaqueRef:1": {"uuid": "1-1", "name_label": "my $web", "is_a_template": False, "is_a_snapshot": False},
        "OpaqueRef:2": {"uuid": "2-2", "name_label": "pattern", "is_a_template": True, "is_a_snapshot": False},
        "OpaqueRef:3": {"uuid": "3-3", "name_label": "bad\x1b[2J", "is_a_template": False, "is_a_snapshot": False},
    }
    connected = mocker.patch.object(completion, "connected")
    connected.return_value.__enter__.return_value = agent
    assert offered(commands, "vm-start vm=m", "bash") == ["my\\ \\$web"]
    assert offered(commands, 'vm-start vm="m', "bash") == ["my $web"]
    assert offered(commands, "vm-start uuid=") == ["uuid=1-1", "uuid=3-3"]
    assert offered(commands, "template-param-list template=p") == ["template=pattern"]
    assert offered(commands, "vm-list name-label=") == ["name-label=my $web"]
    assert not any("\x1b" in line for line in completion.lines("fish", "xen-host-agent vm-start uuid=", commands))


def test_nobody_is_asked_without_a_password(commands: Commands, mocker: Any) -> None:
    connected = mocker.patch.object(completion, "connected")
    assert offered(commands, "vm-start vm=") == []
    connected.assert_not_called()


def test_it_is_silent_where_there_is_no_agent(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cli.PASSWORD_VARIABLE, "word")
    assert offered(commands, "vm-start vm=") == []
    caught = capsys.readouterr()
    assert caught.out == caught.err == ""

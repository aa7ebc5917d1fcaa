"""The words of this build, and an agent that notes what it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agent.client import Agent
from agent.shell import table
from agent.shell.asked import given
from agent.shell.commands import Commands
from agent.shell.objects import Objects
from agent.shell.run import understand
from agent.shell.sitting import Options, Sitting
from agent.shell.words import Words

UUID = "00000000-0000-0000-0000-000000000001"
REF = f"OpaqueRef:{UUID}"
FINISHED = {"uuid": UUID, "status": "success", "result": "", "progress": 1.0, "error_info": []}


class Recorder(Agent):
    """An agent of which the answers are written by a test; what nobody wrote is answered plausibly."""

    def __init__(self) -> None:
        super().__init__("unix:/nobody")
        self.session = "secret"
        self.sent: list[tuple[str, list[Any]]] = []
        self.answers: dict[str, Any] = {}

    def send(self, method: str, *params: object) -> Any:
        self.sent.append((method, list(params)))
        if method in self.answers:
            answer = self.answers[method]
            return answer(*params) if callable(answer) else answer
        if method.endswith(".get_all_records"):
            return {}
        if method == "task.get_record":
            return FINISHED
        if method.endswith(".get_record"):
            return {}
        return REF if method.endswith(".get_by_uuid") or method.startswith("Async.") else ""

    def changes(self) -> list[tuple[str, list[Any]]]:
        """What it was sent but for looking things up, without the session."""
        found = []
        as_task = any(method.startswith("Async.") for method, _ in self.sent)
        for method, params in self.sent:
            bare = method.removeprefix("Async.")
            if bare.endswith((".get_by_uuid", ".get_all_records")):
                continue
            if as_task and bare in ("task.get_record", "task.destroy"):
                continue
            found.append((bare, params[1:] if params and params[0] == "secret" else params))
        return found


@pytest.fixture(scope="session")
def words() -> Words:
    return Words(table.data())


@pytest.fixture(scope="session")
def commands(words: Words) -> Commands:
    return Commands(words)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


Perform = Callable[..., None]


@pytest.fixture
def perform(commands: Commands, recorder: Recorder) -> Perform:
    """Run a command line on the recorder."""

    def run(name: str, *texts: str, **options: bool) -> None:
        command = commands.find(name)
        work = understand(command, given(texts))
        objects = Objects(recorder, commands.words)
        work(Sitting(recorder, commands.words, objects, Options(**options), command.name))

    return run


def machines(**names: str) -> Mapping[str, Mapping[str, Any]]:
    """Records of halted machines, by reference: number and name."""
    return {
        f"OpaqueRef:{number[1:]:0>8}-0000-0000-0000-000000000000": {
            "uuid": f"{number[1:]:0>8}-0000-0000-0000-000000000000",
            "name_label": name,
            "power_state": "Halted",
            "is_a_template": False,
            "is_a_snapshot": False,
            "other_config": {"role": name},
            "tags": [name],
        }
        for number, name in names.items()
    }

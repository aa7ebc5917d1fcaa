"""What one command has at hand: the agent with its session, the words, the objects, and how results are wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.client import Agent
from agent.shell import output, tasks
from agent.shell.objects import Objects
from agent.shell.values import plain, show
from agent.shell.words import Shape, Verb, Words
from agent.terminal import as_json, printable_lines


class Failed(Exception):
    """The command could not do what it was told: exit code 1."""


@dataclass(frozen=True)
class Options:
    """How results are wanted, and of how many objects at once."""

    minimal: bool = False
    json: bool = False
    multiple: bool = False


@dataclass(frozen=True)
class Sitting:
    """One command at work."""

    agent: Agent
    words: Words
    objects: Objects
    options: Options
    title: str
    """The command, over its progress."""

    def verb(self, full_name: str) -> Verb:
        """A verb by ``Class.message``; Failed where this build has none such."""
        class_name, _, name = full_name.partition(".")
        found = self.words.noun(class_name).verbs.get(name) if class_name in self.words.names() else None
        if found is None:
            raise Failed(f"the agent has no message {full_name}")
        return found

    def do(self, full_name: str, *params: object) -> Any:
        """The result of a verb: as a task with its progress where it has that form."""
        verb = self.verb(full_name)
        if verb.has_async:
            return tasks.run(self.agent, full_name, list(params), self.title)
        return self.objects.send(full_name, *params)

    def print(self, lines: Iterable[str]) -> None:
        """Print lines of text."""
        for line in lines:
            print(line)

    def answer(self, shape: Shape, results: Sequence[Any]) -> None:
        """Print what a verb answered, of each object it was sent to."""
        if self.options.json:
            values = [plain(shape, result) for result in results]
            self.print([as_json(values if self.options.multiple else values[0])])
        elif shape.kind != "void":
            shown = [show(shape, result) for result in results]
            if self.options.minimal:
                self.print([output.minimal(shown)])
            else:
                self.print(output.text(each) for each in shown)


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    print(printable_lines(text), file=sys.stderr, flush=True)

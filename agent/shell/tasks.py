"""Verbs run as tasks: progress while one waits, Ctrl-C, and how it ended."""

from __future__ import annotations

import shutil
import signal
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any
from xml.parsers.expat import ExpatError

from agent.client import Agent, Failure, Unreachable
from agent.terminal import printable

OPEN = ("pending", "cancelling")
FIRST_SECONDS, LAST_SECONDS = 0.02, 0.25
"""Between two looks at a task, from the first to the last."""
PATIENCE_SECONDS = 0.5
"""What is over by then needs no bar."""
BAR = 30
QUESTION = "Cancel it? [y]es, [n]o and wait on, or [l]eave it running: "


class LeftRunning(Exception):
    """The user waits no longer; the text says how to find the task."""


class Cancelled(Exception):
    """The task was cancelled."""


class Progress:
    """A bar on the terminal's last line, on standard error; nothing where that is no terminal."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._shown = False
        self._on = sys.stderr.isatty()

    def show(self, part: float) -> None:
        """Draw that `part` of it is done, from 0 to 1."""
        seconds = time.monotonic() - self._began
        if not self._on or (seconds < PATIENCE_SECONDS and not self._shown):
            return
        self._shown = True
        full = int(max(0.0, min(1.0, part)) * BAR)
        minutes, rest = divmod(int(seconds), 60)
        line = f"{printable(self._title)} [{'#' * full}{'.' * (BAR - full)}] {part:4.0%} {minutes}:{rest:02}"
        sys.stderr.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


class Interrupt:
    """Whether Ctrl-C was pressed, noted without breaking off the call that is under way."""

    def __init__(self) -> None:
        self.pressed = False
        self._asking = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take the signal."""
        if self._asking:
            raise KeyboardInterrupt
        self.pressed = True

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While the user is asked, Ctrl-C is an answer."""
        self.pressed, self._asking = False, True
        try:
            yield
        finally:
            self._asking = False


@contextmanager
def noted() -> Iterator[Interrupt]:
    """Ctrl-C is noted in here, and goes its usual way after."""
    interrupt = Interrupt()
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def run(agent: Agent, message: str, params: list[object], title: str) -> Any:
    """The result of a message that runs as a task, waited for. Failure, Cancelled, LeftRunning or Unreachable."""
    task = agent.send(f"Async.{message}", agent.session, *params)
    record = watch(agent, task, title)
    with suppress(Failure, Unreachable):
        agent.send("task.destroy", agent.session, task)
    return outcome(record)


def watch(agent: Agent, task: str, title: str) -> dict[str, Any]:
    """The record of a task that has ended. Ctrl-C asks whether to cancel it; without a terminal it cancels."""
    progress = Progress(title)
    pause = FIRST_SECONDS
    with noted() as interrupt:
        while True:
            record: dict[str, Any] = agent.send("task.get_record", agent.session, task)
            if record["status"] not in OPEN:
                progress.clear()
                return record
            progress.show(float(record["progress"]))
            if interrupt.pressed:
                progress.clear()
                match "leave" if record["status"] == "cancelling" else decide(interrupt):
                    case "leave":
                        raise LeftRunning(f"it goes on as task {record['uuid']}; 'task-list' shows it")
                    case "cancel":
                        with suppress(Failure):  # it may have ended meanwhile
                            agent.send("task.cancel", agent.session, task)
            time.sleep(pause)
            pause = min(LAST_SECONDS, pause * 2)


def decide(interrupt: Interrupt) -> str:
    """What is to become of a task: ``cancel``, ``wait`` or ``leave``. Without a terminal to ask on, Ctrl-C cancels."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        interrupt.pressed = False
        return "cancel"
    with interrupt.asking():
        try:
            sys.stderr.write(f"\n{QUESTION}")
            sys.stderr.flush()
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            return "leave"
    if not answer:
        return "leave"
    return {"y": "cancel", "l": "leave"}.get(answer.strip().lower()[:1], "wait")


def outcome(record: dict[str, Any]) -> Any:
    """What a finished task answered, or what it failed with."""
    match record["status"]:
        case "success":
            return value(str(record["result"]))
        case "cancelled":
            raise Cancelled("it was cancelled")
    code, *params = record["error_info"] or ["INTERNAL_ERROR"]
    raise Failure(code, [str(param) for param in params])


def value(text: str) -> Any:
    """The value of a task's result, which is XML-RPC; of other text, that."""
    if not text.startswith("<value"):
        return text
    try:
        (result,), _ = xmlrpc.client.loads(
            f"<methodResponse><params><param>{text}</param></params></methodResponse>", use_builtin_types=False
        )
    except (ExpatError, xmlrpc.client.ResponseError, ValueError) as error:
        raise Unreachable(f"the result of a task is not XML-RPC: {error}") from error
    return result

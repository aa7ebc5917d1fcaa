"""Failpoints: steps at which the agent kills itself, waits or meets an error, for those who test it.

Steps are derived, not written down: every call of a port, and every write of the journal, is one when it begins and one
when it is done; the disk journal adds those within an operation on a disk. The environment variable arms one of them
when the agent starts. Without it nothing here is in any call's way. No client can reach it.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache, wraps
from typing import Any, get_type_hints

from agent.errors import InternalError
from agent.ports import Machine

ENVIRONMENT = "XEN_HOST_AGENT_FAILPOINT"
FORM = re.compile(r"(?P<step>[^=#]+)(#(?P<time>[1-9][0-9]{0,8}))?=(?P<action>kill|raise|sleep (?P<seconds>[0-9.]+))")
JOURNAL = "Journal.write"
Reached = Callable[[str], None]
"""Told the name of a step that was come to. What it raises is an OSError, which a port passes on as INTERNAL_ERROR."""


class FailpointError(ValueError):
    """There is no such failpoint; the text says why."""


class Failpoint:
    """A step, and what happens there: ``Domains.start: done#2=kill`` is the second time that a start is done."""

    def __init__(self, text: str, more: Collection[str] = ()) -> None:
        """FailpointError for a text of another form and for a step that there is not. `more` are the steps that others
        know of.
        """
        read = FORM.fullmatch(text)
        if read is None:
            raise FailpointError(f"{ENVIRONMENT}: {text!r} is not STEP=kill, STEP=raise or STEP=sleep SECONDS")
        self._text, self.step = text, read["step"]
        if self.step not in {*steps(), *more}:
            raise FailpointError(f"{ENVIRONMENT}: there is no step {self.step!r}")
        self._action, self._seconds = read["action"], float(read["seconds"] or 0)
        self._left = int(read["time"] or 1)
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return self._text

    def reached(self, step: str) -> None:
        """Do what is to be done if it is this step, and its time has come."""
        if step != self.step:
            return
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._action == "raise":
            raise OSError(errno.EIO, f"failpoint {step}")
        else:
            time.sleep(self._seconds)


def armed(environment: Mapping[str, str], more: Collection[str] = ()) -> Failpoint | None:
    """The failpoint that the environment asks for, if it does. FailpointError for one that there is not."""
    text = environment.get(ENVIRONMENT, "")
    return Failpoint(text, more) if text else None


@cache
def steps() -> frozenset[str]:
    """The steps of all ports and of the journal."""
    calls = [JOURNAL, *(name for protocol in _ports().values() for name in _calls(protocol))]
    return frozenset(f"{call}: {when}" for call in calls for when in ("begun", "done"))


def around(machine: Machine, reached: Reached) -> Machine:
    """The same machine, of whose ports each call is two steps."""
    ports: dict[str, Any] = {
        name: _Port(getattr(machine, name), protocol, reached) for name, protocol in _ports().items()
    }
    return replace(machine, **ports)


def stepping(call: str, function: Callable[..., Any], reached: Reached) -> Callable[..., Any]:
    """The function, which tells of its beginning and its end."""

    @wraps(function)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        reached(f"{call}: begun")
        result = function(*args, **kwargs)
        reached(f"{call}: done")
        return result

    return stepped


class _Port:
    """A port, or what one has or gives that is like one: a reader, a writer. All else it has is there as it is."""

    def __init__(self, target: Any, protocol: type, reached: Reached) -> None:
        self._target, self._protocol, self._reached = target, protocol, reached

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        declared = vars(self._protocol).get(name)
        if isinstance(declared, property):
            return self._like_one(declared.fget, value)
        return self._stepping(name, declared, value) if callable(declared) else value

    def _stepping(self, name: str, declared: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
        stepped = stepping(f"{self._protocol.__name__}.{name}", function, self._tell)
        return lambda *args, **kwargs: self._like_one(declared, stepped(*args, **kwargs))

    def _like_one(self, declared: Any, value: Any) -> Any:
        protocol = _given_by(declared)
        return value if protocol is None else _Port(value, protocol, self._reached)

    def _tell(self, step: str) -> None:
        try:
            self._reached(step)
        except OSError as error:
            raise InternalError(str(error.strerror)) from error


def _ports() -> dict[str, type]:
    return {name: kind for name, kind in get_type_hints(Machine).items() if _is_port(kind)}


def _calls(protocol: type) -> Iterator[str]:
    for name, declared in vars(protocol).items():
        if name.startswith("_") or not (callable(declared) or isinstance(declared, property)):
            continue
        if callable(declared):
            yield f"{protocol.__name__}.{name}"
        given = _given_by(declared.fget if isinstance(declared, property) else declared)
        if given is not None:
            yield from _calls(given)


@cache
def _given_by(declared: Callable[..., Any]) -> type | None:
    """The protocol of what a method or property of a port returns, if it is like a port."""
    kind = get_type_hints(declared).get("return")
    return kind if _is_port(kind) else None


def _is_port(kind: Any) -> bool:
    return isinstance(kind, type) and bool(getattr(kind, "_is_protocol", False))

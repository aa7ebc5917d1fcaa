"""Clients that wait for events of machines, each on a connection of its own."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from typing import Self

from benchmarks.agents import Agent
from benchmarks.rows import Failed
from benchmarks.wire import Crowd, xml_call

WAIT_SECONDS = 3600.0
CLASS = "VM"
ROUND_SECONDS = 30.0
_TOKEN, _REF, _STATE = (f"<name>{name}</name><value>".encode() for name in ("token", "ref", "power_state"))


class Watchers:
    """So many of them, in one session. Each waits on from the token of the last answer it had."""

    def __init__(self, agent: Agent, size: int, context: ssl.SSLContext | None = None) -> None:
        self._agent = agent
        # Tokens are the same whatever one asks about: there are few pools and many machines.
        batch = agent.call("event.from", ["pool"], "", 0.0)
        self._crowd = Crowd(agent.address(context), size, context)
        self._tokens = dict.fromkeys(self._crowd.members, str(batch["token"]))
        self._waiting: set[int] = set()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._crowd.close()

    def wait(self) -> None:
        """Let every one wait that does not, and return when the agent has nothing more to do."""
        for member in self._crowd.members:
            if member not in self._waiting:
                self._send(member)
        self._agent.process.settle()

    def _send(self, member: int) -> None:
        request = xml_call("event.from", self._agent.session, [CLASS], self._tokens[member], WAIT_SECONDS)
        self._crowd.send(member, request)
        self._waiting.add(member)

    def answers(self, seconds: float) -> Iterator[tuple[int, int, bytearray]]:
        """What comes first, at least one answer unless the time is up: who has it, when it was whole, and what it is.

        Times are nanoseconds of the clock that all processes share.
        """
        for member, answer in self._crowd.answers(seconds):
            now = time.monotonic_ns()
            self._waiting.discard(member)
            self._tokens[member] = _after(answer, _TOKEN, 0)[0]
            yield member, now, answer

    def round(self) -> list[int]:
        """When each of them had its next answer, first to last. Failed if one has none within half a minute."""
        deadline = time.monotonic() + ROUND_SECONDS
        come: dict[int, int] = {}
        while len(come) < len(self._crowd):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failed(f"{len(self._crowd) - len(come)} of {len(self._crowd)} clients heard nothing of a change")
            come.update({member: when for member, when, _ in self.answers(left)})
        return sorted(come.values())

    def follow(self, wanted: dict[str, str], seconds: float) -> dict[int, int]:
        """Have all go on waiting until each has heard last that machines are in the states `wanted`.

        When each of them did. Failed if one has not when the time is up.
        """
        known: dict[int, dict[str, str]] = {member: {} for member in self._crowd.members}
        right: dict[int, int] = {}
        deadline = time.monotonic() + seconds
        while len(right) < len(known):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failed(f"{len(known) - len(right)} clients never saw the right state of every machine")
            for member, now, answer in self.answers(left):
                self._send(member)
                known[member].update(_states(answer))
                if known[member] == wanted:
                    right[member] = now
                else:
                    right.pop(member, None)
        return right


def _after(answer: bytearray, name: bytes, start: int) -> tuple[str, int]:
    """The text of the next value of that name, and where it ends. ValueError if there is none."""
    begin = answer.index(name, start) + len(name)
    end = answer.index(b"<", begin)
    return answer[begin:end].decode(), end


def _states(answer: bytearray) -> Iterator[tuple[str, str]]:
    """Reference and power state of every machine in an answer, found as cheaply as it goes."""
    position = 0
    while (position := answer.find(_REF, position)) >= 0:
        ref, position = _after(answer, _REF, position)
        state, position = _after(answer, _STATE, position)
        yield ref, state

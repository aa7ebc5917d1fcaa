"""What is fuzzed: the decoders of XML-RPC and JSON-RPC, the framing of requests, and the dispatch behind them.

The first octet of an input says which of them it is for, the rest is what a client sends. Whatever that is, a decoder
reads a call or refuses with its own error; the dispatch answers, or fails with an error of the API that is none of the
agent's bugs; and what is answered can be read by whoever reads these formats. Anything else is raised.

Parameters that are the word ``@session``, or ``@`` and a class, stand for a session that is open and an object that
there is, so that an input means the same in every run.
"""

from __future__ import annotations

import json
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from agent.errors import InternalError, SessionInvalid, XenError
from agent.model.messages import Kind
from agent.roles import Role
from agent.rpc import jsonrpc
from agent.rpc import xmlrpc as ours
from agent.rpc.connection import Refusal, framing
from agent.rpc.dispatch import Result
from tests.door import Door, sealed
from tests.fake_machine import FakeMachine

SAMPLES = Path(__file__).parent / "samples"
KINDS = {".xml": b"x", ".json": b"j", ".http": b"h"}
"""The octet that an input begins with, by the ending of the sample it began as."""
CALLS_MAX = 3000
"""Calls that one agent answers: what an earlier input left must neither pile up nor matter."""
LEFT_OUT = frozenset(
    {
        "host.bugreport_upload",  # sends something over the network
        *(name for name, message in sealed().messages.items() if message.kind is Kind.WAIT),  # take their time
    }
)
BODY_MAX = 4 * 2**20


class Wrong(Exception):
    """An input did what no input may; the text says what."""


def samples() -> list[bytes]:
    """The inputs that fuzzing begins with."""
    return [KINDS[path.suffix] + path.read_bytes() for path in sorted(SAMPLES.iterdir())]


def words() -> list[str]:
    """What is worth putting into an input: the names of all messages, and the words of the formats."""
    tags = "methodCall methodName params param value string array data struct member name int i4 i8 double boolean nil"
    members = ('"jsonrpc":"2.0"', '"method":', '"params":[', '"id":', "\\ud800", "1e400", "NaN")
    objects = tuple(f"@{name}" for name in ("session", *OBJECTS))
    return [*sealed().messages, *(f"<{tag}>" for tag in tags.split()), *members, *objects, "Async.", "OpaqueRef:NULL"]


OBJECTS = ("VM", "VDI", "VBD", "VIF", "SR", "network", "host", "pool", "task", "user", "PIF")


class Target:
    """An agent on a machine in memory, and what is tried on it."""

    def __init__(self) -> None:
        self._door: Door | None = None
        self._calls = 0
        self._known: dict[object, str] = {}

    def close(self) -> None:
        """End the agent."""
        if self._door is not None:
            self._door.close()
            self._door = None

    def try_out(self, data: bytes) -> None:
        """Try one input. Raises what no input may raise."""
        kind, body = data[:1], data[1:]
        if kind == b"x":
            self._try_xml(body)
        elif kind == b"j":
            self._try_json(body)
        elif kind == b"h":
            self._try_head(body)

    def _try_xml(self, body: bytes) -> None:
        small = ours.decode_small(body)
        try:
            whole = ours.decode_any(body)
        except ours.Malformed as error:
            if small is not None:
                raise Wrong(f"the fast path reads what the grammar refuses: {error}") from None
            require_xml(ours.fault(str(error)))
            return
        if small is not None and small != whole:
            raise Wrong(f"the fast path reads {small!r}, the grammar {whole!r}")
        result = self._answer(*whole)
        if isinstance(result, XenError):
            require_xml(ours.failure(result.description))
        elif result is not None:
            require_xml(b"".join((ours.SUCCESS[0], *self._written(ours.writer(result.type), result), ours.SUCCESS[1])))

    def _try_json(self, body: bytes) -> None:
        try:
            asked = jsonrpc.decode(body)
        except jsonrpc.Malformed as error:
            json.loads(error.answer)
            return
        result = self._answer(asked.method, asked.params)
        if isinstance(result, XenError):
            json.loads(asked.failure(result.description))
        elif result is not None:
            before, after = asked.success()
            json.loads(b"".join((before, *self._written(jsonrpc.writer(result.type), result), after)))

    @staticmethod
    def _try_head(body: bytes) -> None:
        head = body.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        try:
            length, chunked = framing(head, BODY_MAX, frozenset({"/import_raw_vdi"}), frozenset({"/console"}))
        except Refusal as refusal:
            if not 400 <= refusal.status < 600:
                raise Wrong(f"a refusal with status {refusal.status}") from None
            return
        if length < 0 or (chunked and length):
            raise Wrong(f"a body of {length} octets, chunked: {chunked}")

    def _answer(self, name: str, params: Sequence[Any]) -> Result | XenError | None:
        """What the dispatch says to a call; None where it is not asked."""
        if name.removeprefix("Async.").replace("_", ".", 1) in LEFT_OUT or name.removeprefix("Async.") in LEFT_OUT:
            return None
        door = self._open()
        self._calls += 1
        try:
            return door._send(name, [self._meant(param) for param in params]).result(60.0)
        except InternalError as error:
            if "the agent's log has the rest" in str(error):
                raise Wrong(f"{name}{tuple(params)!r} failed unexpectedly: {error}") from error
            return error
        except XenError as error:
            if not all(isinstance(word, str) for word in error.description):
                raise Wrong(f"{name} was refused with {error.description!r}") from None
            return error

    def _written(self, writer: ours.Writer | jsonrpc.Writer, result: Result) -> list[bytes]:
        """A result as one format writes it."""
        out: list[bytes] = []
        with self._open().store.lock:
            for _ in writer.steps(result.value, out):
                pass
        return out

    def _open(self) -> Door:
        """An agent whose session is open and whose objects are there."""
        if self._calls >= CALLS_MAX:
            self.close()
        if self._door is None:
            self._calls = 0
            self._door = door = Door(FakeMachine().ports(), None)
            vm, sr = door.vm(), door("SR.get_all")[0]
            network = door("network.get_all")[0]
            vdi = door("VDI.create", {"SR": sr.ref, "virtual_size": 2**20, "type": "user"})
            door("VIF.create", {"VM": vm.ref, "network": network.ref, "device": "0"})
            door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0", "mode": "RW", "type": "Disk"})
            door("task.create", "mine", "")
            door("user.create", {"short_name": "me"})
            self._known = {"@session": door.session}
            self._known |= {f"@{name}": door(f"{name}.get_all")[0].ref for name in OBJECTS}
        try:
            self._door.sessions.find(self._door.session)
        except SessionInvalid:  # it was logged out
            self._door.session = self._known["@session"] = self._door.sessions.open("root", Role.POOL_ADMIN, "test")
        return self._door

    def _meant(self, value: Any) -> Any:
        """A parameter, with the words that stand for objects replaced."""
        if isinstance(value, str):
            return self._known.get(value, value)
        if isinstance(value, list):
            return [self._meant(item) for item in value]
        if isinstance(value, dict):
            return {self._meant(key): self._meant(item) for key, item in value.items()}
        return value


def require_xml(answer: bytes) -> None:
    """Whoever reads XML-RPC can read it."""
    try:
        xmlrpc.client.loads(answer.decode())
    except xmlrpc.client.Fault:
        return
    except (expat.ExpatError, ValueError, UnicodeDecodeError, xmlrpc.client.ResponseError) as error:
        raise Wrong(f"an answer cannot be read ({error}): {answer[:500]!r}") from error

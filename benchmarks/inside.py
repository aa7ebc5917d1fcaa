"""Parts of the agent without its front door: ``python -m benchmarks.inside URI STATE`` obeys `Commands`.

What is measured is CPU of this process, or time where it says so; each command measures both sides in turn.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import statistics
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import uvloop

import drivers
from agent import messages, users
from agent.call import Site
from agent.classes import VM
from agent.daemon import SWITCH_SECONDS
from agent.guests import Guests
from agent.lanes import Lanes
from agent.logins import Caller
from agent.observer import Observer
from agent.roles import Role
from agent.rpc import jsonrpc
from agent.rpc import xmlrpc as xml
from agent.rpc.answers import Answers, Wire
from agent.rpc.dispatch import Dispatch
from agent.rpc.server import gzipped
from agent.rpc.tasks import Tasks
from agent.sessions import Sessions
from agent.store.journal import Journal
from agent.store.store import Store
from benchmarks.processes import serve_commands
from benchmarks.rounds import Pairs, in_turn

T = TypeVar("T")
CALLER = Caller("127.0.0.1", local=True)
WORKERS = 64
REPEATED = 10
WRITES = 200
AT_ONCE = 100
APPEND = bytes(512)
TICK_SECONDS = 0.001


def _cpu(work: Callable[[], object], repeated: int = 1) -> float:
    before = time.process_time()
    for _ in range(repeated):
        work()
    return (time.process_time() - before) / repeated


def _wall(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def _said(pairs: Pairs) -> dict[str, Any]:
    return {"ours": pairs.ours, "base": pairs.base}


class Commands:
    """One agent, put together as the daemon does."""

    def __init__(self, uri: str, state: Path) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        state.mkdir(mode=0o700, parents=True)
        api = messages.api()
        self._state = state
        self._store = Store(api.classes, Journal(state / "journal.sqlite"))
        self._store.load()
        machine = drivers.open(uri, state)
        lanes = Lanes(WORKERS)
        # Nothing but what is measured is to happen.
        self._observer = Observer(self._store, machine, lanes, Guests(), sweep_seconds=24 * 3600.0)
        self._observer.start()
        sessions = Sessions(self._store)
        site = Site(api, self._store, machine, self._observer, lanes, sessions, users.Users(state / "users.json"), "0")
        self._session = sessions.open("root", Role.POOL_ADMIN, "benchmark")
        self._loop = uvloop.new_event_loop()
        self._dispatch = self._run(self._dispatch_of(site))
        self._templates: list[str] = []

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        # Not asyncio.Runner, whose run() writes out the whole result of the task before (Python 3.11: in an error of
        # signal.signal that is then suppressed), which takes longer than what is measured here.
        return self._loop.run_until_complete(work)

    async def _dispatch_of(self, site: Site) -> Dispatch:
        return Dispatch(site, Tasks(site))

    async def _call(self, name: str, *params: Any) -> Any:
        result = await self._dispatch.call(name, [self._session, *params], CALLER)
        return result.value

    def machines(self) -> int:
        """How many there are."""
        return self._store.count("VM")

    # --- all records

    def _writing(self, wire: Wire, *, anew: bool = False, cold: bool = False) -> Callable[[], list[bytes]]:
        """What writes all machines' records: from what is kept, from kept records joined anew, or from nothing."""
        answers = Answers(self._store, wire)

        async def write() -> list[bytes]:
            result = await self._dispatch.call("VM.get_all_records", [self._session], CALLER)
            return await answers.write(result.type, result.value)

        def run() -> list[bytes]:
            if cold:
                for vm in self._store.all(VM):
                    object.__setattr__(vm, "_xml", None)
                    object.__setattr__(vm, "_json", None)
            if anew or cold:
                self._store.versions["VM"] += 1
            return self._run(write())

        run()
        return run

    def _xml_answer(self) -> bytes:
        before, after = xml.SUCCESS
        return b"".join([before, *self._writing(xml.WIRE)(), after])

    def encode_cold(self, rounds: int) -> dict[str, Any]:
        """All records written as XML when all have changed, and the standard library writing the same."""
        plain = xmlrpc.client.loads(self._xml_answer())[0]
        ours = self._writing(xml.WIRE, cold=True)
        return _said(
            in_turn(
                rounds,
                lambda: _cpu(ours),
                lambda: _cpu(lambda: xmlrpc.client.dumps(plain, methodresponse=True).encode()),
            )
        )

    def encode_json(self, rounds: int) -> dict[str, Any]:
        """All records joined as JSON, and a copy of the XML."""
        answer = memoryview(self._xml_answer())
        joined, shared = self._writing(jsonrpc.WIRE, anew=True), self._writing(jsonrpc.WIRE)
        pairs = in_turn(rounds, lambda: _cpu(joined, REPEATED), lambda: _cpu(lambda: bytes(answer), REPEATED))
        return {**_said(pairs), "shared": [_cpu(shared, REPEATED) for _ in range(rounds)]}

    def gzip(self, rounds: int) -> dict[str, Any]:
        """The seconds that compressing the XML takes, and the octets that are left of it."""
        chunks = self._writing(xml.WIRE)()
        packed = self._run(gzipped(chunks))
        seconds = [_wall(lambda: self._run(gzipped(chunks))) for _ in range(rounds)]
        return {"seconds": seconds, "size": sum(map(len, packed))}

    # --- users and the store

    def hash(self) -> float:
        """CPU of one verification of a password."""
        return _cpu(
            lambda: hashlib.scrypt(b"x", salt=bytes(16), n=users.COST, r=users.BLOCK, p=users.LANES, maxmem=64 * 2**20)
        )

    def _some_templates(self) -> list[str]:
        """Machines whose changes no hypervisor has to follow."""
        if not self._templates:
            fields = {"name_label": "template", "is_a_template": True}
            for _ in range(AT_ONCE):
                self._templates.append(self._run(self._call("VM.create", fields)).ref)
        return self._templates

    def _row(self, ref: str) -> tuple[str, bytes]:
        """The journal's row of a machine: its uuid and the record."""
        uuid = ref.removeprefix("OpaqueRef:")
        with sqlite3.connect(self._state / "journal.sqlite") as connection:
            found = connection.execute("SELECT data FROM records WHERE class='VM' AND uuid=?", (uuid,)).fetchone()
        connection.close()
        return uuid, found[0]

    def write(self, rounds: int) -> dict[str, Any]:
        """A name set again and again by the dispatch, and the same row updated by sqlite3 with the same durability."""
        ref = self._some_templates()[0]
        uuid, data = self._row(ref)
        connection = sqlite3.connect(self._state / "other.sqlite", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS records "
            "(class TEXT, uuid TEXT, data BLOB, PRIMARY KEY (class, uuid)) WITHOUT ROWID"
        )
        connection.execute("INSERT OR REPLACE INTO records VALUES ('VM', ?, ?)", (uuid, data))

        async def set_names() -> None:
            for number in range(WRITES):
                await self._call("VM.set_name_label", ref, f"name {number}")

        def update() -> None:
            for _ in range(WRITES):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE records SET data=? WHERE class='VM' AND uuid=?", (data, uuid))
                connection.execute("COMMIT")

        pairs = in_turn(rounds, lambda: _cpu(lambda: self._run(set_names())) / WRITES, lambda: _cpu(update) / WRITES)
        connection.close()
        return _said(pairs)

    def write_group(self, rounds: int) -> dict[str, Any]:
        """The time of a hundred names set at once, and of an append that is synced."""
        refs = self._some_templates()
        turn = 0

        async def set_names() -> None:
            nonlocal turn
            turn += 1
            await asyncio.gather(*(self._call("VM.set_name_label", ref, f"name {turn}") for ref in refs))

        with (self._state / "append").open("ab", buffering=0) as file:

            def append() -> None:
                file.write(APPEND)
                os.fdatasync(file.fileno())

            return _said(
                in_turn(
                    rounds,
                    lambda: _wall(lambda: self._run(set_names())),
                    lambda: statistics.median(_wall(append) for _ in range(REPEATED)),
                )
            )

    # --- live numbers

    def _measuring(self) -> Future[None]:
        """A measurement that has just begun; the last one must have gone stale first."""
        while (measuring := self._observer.measure()) is None:
            time.sleep(0.05)
        return measuring

    def measure(self) -> float:
        """The seconds of measuring all machines, until the numbers are in their fields."""
        return _wall(self._measuring().result)

    def stall(self) -> dict[str, Any]:
        """The longest that a loop was held up while all machines were measured, and while nothing happened."""
        begin = time.perf_counter()
        measuring = self._measuring()
        busy = self._run(self._longest(lambda: measuring.done()))
        seconds = time.perf_counter() - begin
        end = time.perf_counter() + seconds
        return {"busy": busy, "idle": self._run(self._longest(lambda: time.perf_counter() >= end)), "seconds": seconds}

    async def _longest(self, done: Callable[[], bool]) -> float:
        longest = 0.0
        while not done():
            begin = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            with self._store.lock:  # as whoever reads on the loop does
                pass
            longest = max(longest, time.perf_counter() - begin - TICK_SECONDS)
        return longest


if __name__ == "__main__":
    serve_commands(Commands(sys.argv[1], Path(sys.argv[2])))

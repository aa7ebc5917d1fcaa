"""Lines 6, 7 and 15: the memory that the agent takes, and how long it takes to start."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from benchmarks.agents import Agent
from benchmarks.lab import MACHINES, Lab
from benchmarks.processes import run
from benchmarks.rounds import Pairs, in_turn, milliseconds
from benchmarks.rows import Goal, Line, Measured
from benchmarks.watchers import Watchers
from benchmarks.wire import Channel, connect, post, xml_call

CLASSES = ("VM", "VBD", "VIF", "VDI")
CLIENTS, QUICK_CLIENTS = 500, 200
CONNECTS, QUICK_CONNECTS = 10_000, 500
IN_PROCESS = "test:///default"
HTTP_ONLY = ("http://127.0.0.1:0",)
IMPORTS = "import asyncio, sqlite3, ssl, aiohttp, cryptography, isal, libvirt, lxml.etree, orjson, psutil, uvloop"
BARE_START = f"""
import sys
{IMPORTS}
connection = libvirt.open(sys.argv[1])
connection.listAllDomains()
connection.getAllDomainStats()
"""


# --- 6


def memory(lab: Lab) -> Measured:
    """Line 6."""
    full = lab.agent_alone
    with lab.fresh_agent(lab.empty_uri()) as empty:
        _read_all(empty)
        nothing = empty.process.rss_bytes()
    full.stop()
    full.start()
    full.await_machines(MACHINES)
    full.process.settle()
    loaded = full.process.rss_bytes()
    _read_all(full)
    read = full.process.rss_bytes()
    size = sum(len(full.channel.fetch(_json_records(full, name))) for name in CLASSES)
    note = (
        f"restarted, and {', '.join(CLASSES)} read once over XML-RPC, which the agent keeps (whole answers for half a "
        f"minute); without that {(loaded - nothing) / size:.2f}. JSON of the records: {size / 1e6:.1f} MB"
    )
    return Measured(
        values=[(read - nothing) / size],
        ours=f"{read / 2**20:.0f} MiB",
        base=f"{nothing / 2**20:.0f} MiB empty",
        note=note,
    )


def _read_all(agent: Agent) -> None:
    for name in CLASSES:
        agent.channel.fetch(xml_call(f"{name}.get_all_records", agent.session))


def _json_records(agent: Agent, name: str) -> bytes:
    body = f'{{"jsonrpc":"2.0","id":1,"method":"{name}.get_all_records","params":["{agent.session}"]}}'
    return post(body.encode(), "/jsonrpc", "application/json")


def memory_per_client(secure: bool, lab: Lab) -> Measured:
    """Line 6a."""
    clients = QUICK_CLIENTS if lab.quick else CLIENTS
    values: list[float] = []
    for _ in range(1 if lab.quick else 3):
        with lab.fresh_agent(IN_PROCESS) as agent:
            context = agent.tls if secure else None
            with Channel(agent.address(context), context):
                before = agent.process.rss_bytes()
            with Watchers(agent, clients, context):
                values.append((agent.process.rss_bytes() - before) / clients / 1024)
    return Measured(values=values, ours=f"{statistics.median(values):.1f} KiB", note=f"{clients} clients in event.from")


def memory_after_connects(lab: Lab) -> Measured:
    """Line 6b."""
    count = QUICK_CONNECTS if lab.quick else CONNECTS
    with lab.fresh_agent(IN_PROCESS) as agent:
        for _ in range(10):
            connect(agent.https, agent.tls).close()
        before = agent.process.rss_bytes()
        for _ in range(count):
            connect(agent.https, agent.tls).close()
        agent.process.settle()
        after = agent.process.rss_bytes()
    return Measured(
        values=[after / before],
        ours=f"{after / 2**20:.1f} MiB",
        base=f"{before / 2**20:.1f} MiB",
        note=f"{count} connects",
    )


# --- 7


@contextmanager
def _stopped(agent: Agent) -> Iterator[None]:
    """The agent stopped meanwhile."""
    agent.stop()
    try:
        yield
    finally:
        agent.stop()
        agent.start()
        agent.process.settle()


def _start(lab: Lab, agent: Agent) -> float:
    """From exec until all records are here. It ends the agent again."""
    begin = time.perf_counter()
    agent.start(HTTP_ONLY)
    agent.channel.fetch(lab.all_records)
    seconds = time.perf_counter() - begin
    agent.stop()
    return seconds


@dataclass(frozen=True)
class Starts:
    """Seconds, round by round."""

    ours: Sequence[float]
    script: Sequence[float]
    virsh: Sequence[float]


def _starts(lab: Lab) -> Starts:
    agent = lab.agent_alone
    lab.all_records  # noqa: B018 - while the agent runs
    script, virsh = [sys.executable, "-c", BARE_START, lab.uri], ["virsh", "-c", lab.uri, "list", "--all"]
    listed: list[float] = []

    def others() -> float:
        listed.append(run(virsh)[0])
        return run(script)[0]

    with _stopped(agent):
        pairs = in_turn(lab.slow_rounds, partial(_start, lab, agent), others)
    return Starts(pairs.ours, pairs.base, listed[1:])


def start(lab: Lab) -> Measured:
    """Line 7."""
    starts = lab.once("starts", partial(_starts, lab))
    return _shown(Pairs(starts.ours, starts.script))


def start_against_virsh(lab: Lab) -> Measured:
    """Line 7a."""
    starts = lab.once("starts", partial(_starts, lab))
    return _shown(Pairs(starts.ours, starts.virsh))


def imports(lab: Lab) -> Measured:
    """Line 15."""
    ours = [sys.executable, "-c", "import agent.daemon"]
    base = [sys.executable, "-c", "import asyncio, ssl, libvirt"]
    pairs = in_turn(lab.rounds, lambda: run(ours)[1], lambda: run(base)[1])
    return _shown(pairs, "CPU of the whole process")


def _shown(pairs: Pairs, note: str = "") -> Measured:
    ours, base = pairs.median
    return Measured(values=pairs.ratios, ours=milliseconds(ours), base=milliseconds(base), note=note)


LINES = (
    Line("6", "RSS of 1,000 VMs and their parts / their records as JSON", Goal(4, 2.5), memory),
    Line("6a", "RSS of a client in event.from, KiB", Goal(18, 12, unit="KiB"), partial(memory_per_client, False)),
    Line("6a", "the same over TLS, KiB", Goal(52, 40, unit="KiB"), partial(memory_per_client, True)),
    Line("6b", "RSS after 10,000 TLS connects / before", Goal(1.3, 1.1), memory_after_connects),
    Line("7", "exec to get_all_records of 1,000 VMs / script that lists", Goal(2.5, 1.6), start),
    Line("7a", "the same / virsh list --all", Goal(3, 2), start_against_virsh),
    Line("15", "import of the agent, CPU / asyncio, ssl, libvirt", Goal(1.6, 1.3), imports),
)

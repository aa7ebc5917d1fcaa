"""Lines 3, 5 and 14: from a change in libvirt to the clients that wait for it, the quiet and the storm."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial

from benchmarks.lab import MACHINES, Lab
from benchmarks.rounds import milliseconds
from benchmarks.rows import Failed, Goal, Line, Measured
from benchmarks.watchers import Watchers

CLIENTS = 100
CHANGES, QUICK_CHANGES = 12, 6
"""A round; of each, the median counts."""
XAPI_BATCH_SECONDS = 0.05
"""How long xapi collects before it answers event.from: 50 ms, by its xapi_globs.ml."""
IDLE_SECONDS, QUICK_IDLE_SECONDS = 60.0, 10.0
STORM_MACHINES, STORM_PASSES = 800, 5
STORM_SECONDS = 60.0


@dataclass(frozen=True)
class Heard:
    """When changes were heard of, in seconds since the call that made them began; one list a round."""

    raw: list[list[float]]
    first: list[list[float]]
    last: list[list[float]]

    def ratios(self) -> list[float]:
        """The median of the last client's divided by that of the bare callback, round by round."""
        return [statistics.median(last) / statistics.median(raw) for last, raw in zip(self.last, self.raw, strict=True)]

    def last_medians(self) -> list[float]:
        """The median of the last client's, round by round."""
        return [statistics.median(last) for last in self.last]


def _listen(lab: Lab, clients: int) -> Heard:
    agent, listener, changer = lab.agent_alone, lab.listener, lab.changer
    heard = Heard([], [], [])
    listener.ask("heard", count=0, seconds=0.0)
    with Watchers(agent, clients) as watchers:
        for number in range(lab.rounds + 1):
            raw: list[float] = []
            first: list[float] = []
            last: list[float] = []
            for change in range(QUICK_CHANGES if lab.quick else CHANGES):
                changer.send("resume" if change % 2 else "suspend", number=number)
                try:
                    come = watchers.round()
                finally:
                    begin, _ = changer.answer()
                said = listener.ask("heard", count=1, seconds=5.0)
                if not said:
                    raise Failed("the bare listener heard nothing of a change")
                raw.append((said[0] - begin) / 1e9)
                first.append((come[0] - begin) / 1e9)
                last.append((come[-1] - begin) / 1e9)
                watchers.wait()
            if number:  # the first round warms up
                heard.raw.append(raw)
                heard.first.append(first)
                heard.last.append(last)
    return heard


def _heard(lab: Lab, clients: int) -> Heard:
    return lab.once(f"heard by {clients}", partial(_listen, lab, clients))


def _p50(rounds: list[list[float]]) -> float:
    return statistics.median(value for values in rounds for value in values)


def one_client(lab: Lab) -> Measured:
    """Line 3."""
    heard = _heard(lab, 1)
    return Measured(values=heard.ratios(), ours=milliseconds(_p50(heard.last)), base=milliseconds(_p50(heard.raw)))


def many_clients(lab: Lab) -> Measured:
    """Line 3a."""
    heard = _heard(lab, CLIENTS)
    raw = _p50(heard.raw)
    worst = sorted(value for values in heard.last for value in values)
    p99 = worst[min(len(worst) - 1, round(0.99 * len(worst)))]
    note = (
        f"first client p50 {milliseconds(_p50(heard.first))}; last client p99 {milliseconds(p99)}, which is "
        f"{p99 / raw:.1f} times the bare callback's p50 (goal: at most 20)"
    )
    return Measured(values=heard.ratios(), ours=milliseconds(_p50(heard.last)), base=milliseconds(raw), note=note)


def against_xapi(lab: Lab) -> Measured:
    """Line 3b."""
    medians = _heard(lab, CLIENTS).last_medians()
    return Measured(
        values=[XAPI_BATCH_SECONDS / median for median in medians],
        ours=milliseconds(statistics.median(medians)),
        base=milliseconds(XAPI_BATCH_SECONDS),
        note="xapi itself is not run: its own waiting time, as its source has it, is the other side",
    )


# --- 5


@dataclass(frozen=True)
class Idle:
    """Parts of a core that were used while nothing happened."""

    ours: float
    base: float
    seconds: float


def _idle(lab: Lab) -> Idle:
    agent = lab.agent_alone
    seconds = QUICK_IDLE_SECONDS if lab.quick else IDLE_SECONDS
    with lab.child("domains", lab.uri) as poller, Watchers(agent, CLIENTS):
        poller.ask("poll")
        lab.say(f"{seconds:.0f} seconds of silence")
        before = agent.process.cpu_seconds(), poller.cpu_seconds()
        begin = time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - begin
        return Idle(
            (agent.process.cpu_seconds() - before[0]) / passed, (poller.cpu_seconds() - before[1]) / passed, passed
        )


def idle_against_poll(lab: Lab) -> Measured:
    """Line 5, against a script that polls."""
    idle = lab.once("idle", partial(_idle, lab))
    note = f"over {idle.seconds:.0f} s at the same time; the script asks for all statistics every 5 s"
    return Measured(
        values=[idle.ours / idle.base], ours=f"{idle.ours:.3%}", base=f"{idle.base:.3%} of a core", note=note
    )


def idle_share(lab: Lab) -> Measured:
    """Line 5, absolute."""
    idle = lab.once("idle", partial(_idle, lab))
    note = "the agent looks at everything every 30 s, so ten seconds have one such look in them or none"
    return Measured(
        values=[100 * idle.ours], ours=f"{idle.ours:.3%} of a core", note=note if idle.seconds < IDLE_SECONDS else ""
    )


# --- 14


@dataclass(frozen=True)
class Storm:
    """What a storm cost, in CPU seconds an event, and how long after its end the last client was right."""

    ours: list[float]
    base: list[float]
    behind_seconds: list[float]
    clients: list[float]
    """The part of the time that the one process of all clients was busy."""


def _one_storm(lab: Lab, watchers: Watchers, wanted: dict[str, str], storm: Storm) -> None:
    agent, listener, changer = lab.agent_alone, lab.listener, lab.changer
    count = STORM_MACHINES * STORM_PASSES
    listener.ask("heard", count=0, seconds=0.0)
    before = agent.process.cpu_seconds(), listener.cpu_seconds()
    clients, began = time.process_time(), time.monotonic()
    changer.send("storm", domains=STORM_MACHINES, passes=STORM_PASSES)
    try:
        right = watchers.follow(wanted, STORM_SECONDS)
    finally:
        _, end = changer.answer()
    storm.clients.append((time.process_time() - clients) / (time.monotonic() - began))
    heard = len(listener.ask("heard", count=count, seconds=10.0))
    if heard != count:
        raise Failed(f"the bare listener heard {heard} of {count} changes")
    agent.process.settle()
    storm.ours.append((agent.process.cpu_seconds() - before[0]) / count)
    storm.base.append((listener.cpu_seconds() - before[1]) / count)
    storm.behind_seconds.append((max(right.values()) - end) / 1e9)


def _storm(lab: Lab) -> Storm:
    agent = lab.agent_alone
    refs = lab.references()
    storm = Storm([], [], [], [])
    for _ in range(1 if lab.quick else 3):
        with Watchers(agent, CLIENTS) as watchers:
            wanted = {refs[number]: "Paused" for number in range(STORM_MACHINES)}
            _one_storm(lab, watchers, wanted, storm)
        for number in range(STORM_MACHINES):
            lab.changer.ask("resume", number=number)
        agent.process.settle()
    return storm


def storm_cpu(lab: Lab) -> Measured:
    """Line 14, CPU."""
    storm = lab.once("storm", partial(_storm, lab))
    return Measured(
        values=[ours / base for ours, base in zip(storm.ours, storm.base, strict=True)],
        ours=milliseconds(statistics.median(storm.ours)),
        base=milliseconds(statistics.median(storm.base)),
        note=f"{CLIENTS} clients, each with the whole record of what changed; every one ended with the right state",
    )


def storm_behind(lab: Lab) -> Measured:
    """Line 14, how late the last client is."""
    storm = lab.once("storm", partial(_storm, lab))
    behind = [1e3 * seconds for seconds in storm.behind_seconds]
    note = (
        f"from the last of {STORM_MACHINES * STORM_PASSES} changes until the last client knows the last state; the one "
        f"process of all clients was busy for {statistics.median(storm.clients):.0%} of the time"
    )
    return Measured(values=behind, ours=milliseconds(statistics.median(storm.behind_seconds)), note=note)


assert STORM_MACHINES < MACHINES

LINES = (
    Line("3", "libvirt change -> event.from, 1 client, p50 / bare callback", Goal(4, 2.5), one_client),
    Line("3a", "the same, last of 100 clients / bare callback", Goal(10, 6), many_clients),
    Line("3b", "xapi's 50 ms of waiting / last of 100 clients", Goal(15, 30, at_least=True), against_xapi),
    Line("14", "4,000 changes, 100 clients, CPU an event / bare listener", Goal(6, 4), storm_cpu),
    Line("14", "the same, last client right after the end, ms", Goal(250, 100, unit="ms"), storm_behind),
)
IDLE_LINES = (
    Line("5", "idle with 1,000 VMs and 100 clients / script that polls", Goal(2, 1.3), idle_against_poll),
    Line("5", "the same, part of a core, %", Goal(0.5, 0.2, unit="%"), idle_share),
)

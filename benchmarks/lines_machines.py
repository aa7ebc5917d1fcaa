"""Lines 4 and 13: live numbers of 1,000 domains, and machines stopped and started."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from functools import partial

from benchmarks import domains
from benchmarks.lab import MACHINES, Lab
from benchmarks.processes import run
from benchmarks.rounds import Pairs, in_turn, milliseconds
from benchmarks.rows import Goal, Line, Measured

CYCLES = 10
"""A round."""


# --- 4


@dataclass(frozen=True)
class Metered:
    """Seconds of measuring all domains, by us and bare, and the loop's longest stalls."""

    bulk: Pairs
    each: Pairs
    busy: list[float]
    idle: list[float]


def _meter(lab: Lab) -> Metered:
    lab.uri  # noqa: B018 - NotHere if there is no libvirtd
    inside, changer = lab.inside, lab.changer

    each: list[float] = []

    def others() -> float:
        each.append(float(changer.ask("each_stats")))
        return float(changer.ask("bulk_stats"))

    bulk = in_turn(lab.slow_rounds, lambda: float(inside.ask("measure")), others)
    stalls = [inside.ask("stall") for _ in range(lab.slow_rounds)]
    return Metered(
        bulk, Pairs(bulk.ours, each[1:]), [stall["busy"] for stall in stalls], [stall["idle"] for stall in stalls]
    )


def _metered(lab: Lab) -> Metered:
    return lab.once("meters", partial(_meter, lab))


def against_bulk(lab: Lab) -> Measured:
    """Line 4."""
    pairs = _metered(lab).bulk
    ours, base = pairs.median
    note = (
        "not alike: of the test hypervisor the bulk call tells the state alone, and of Xen's libvirt has nothing at "
        "all, so the agent asks each domain; 4b is the fair line"
    )
    return Measured(values=pairs.ratios, ours=milliseconds(ours), base=milliseconds(base), note=note)


def stall(lab: Lab) -> Measured:
    """Line 4a."""
    metered = _metered(lab)
    busy, idle = statistics.median(metered.busy), statistics.median(metered.idle)
    note = "the longest wait for the loop's turn and the store's lock, beyond one millisecond of sleep"
    return Measured(
        values=[1e3 * seconds for seconds in metered.busy],
        ours=milliseconds(busy),
        base=f"{milliseconds(idle)} of an empty loop",
        note=note,
    )


def against_each(lab: Lab) -> Measured:
    """Line 4b."""
    pairs = _metered(lab).each
    ours, base = pairs.median
    return Measured(
        values=pairs.ratios,
        ours=milliseconds(ours),
        base=milliseconds(base),
        note="the same calls for every domain, disk and card, by one thread; ours looks for new devices, too, "
        "and counts until the numbers are in the fields",
    )


# --- 13


def _cycles(lab: Lab) -> Pairs:
    agent, changer = lab.agent_alone, lab.changer
    refs = lab.references()
    numbers = itertools.cycle(range(MACHINES))

    def ours() -> float:
        return statistics.median(lab.timed(partial(cycle, refs[next(numbers)])) for _ in range(CYCLES))

    def cycle(ref: str) -> None:
        agent.call("VM.hard_shutdown", ref)
        agent.call("VM.start", ref, False, False)

    def bare() -> float:
        return statistics.median(float(changer.ask("cycle", number=next(numbers))) for _ in range(CYCLES))

    return in_turn(lab.rounds, ours, bare)


def restart(lab: Lab) -> Measured:
    """Line 13, against bare calls."""
    pairs = lab.once("cycles", partial(_cycles, lab))
    ours, base = pairs.median
    return Measured(values=pairs.ratios, ours=milliseconds(ours), base=milliseconds(base))


def restart_virsh(lab: Lab) -> Measured:
    """Line 13, against virsh."""
    pairs = lab.once("cycles", partial(_cycles, lab))
    values: list[float] = []
    for number, ours in enumerate(pairs.ours):
        name = domains.name_of(number)
        values.append(run(["virsh", "-c", lab.uri, f"destroy {name}; start {name}"])[0] / ours)
    ours = statistics.median(pairs.ours)
    base = statistics.median(value * ours for value, ours in zip(values, pairs.ours, strict=True))
    return Measured(
        values=values, ours=milliseconds(ours), base=milliseconds(base), note="one process of virsh for both commands"
    )


INSIDE_LINES = (
    Line("4", "live numbers of 1,000 domains / one getAllDomainStats", Goal(1.5, 1.2), against_bulk),
    Line("4a", "longest stall of the loop meanwhile, ms", Goal(5, 2, unit="ms"), stall),
    Line("4b", "live numbers of 1,000 domains / bare calls for each", Goal(1.1, 0.7), against_each),
)
LINES = (
    Line("13", "hard_shutdown and start / bare destroy and create", Goal(4, 2.5), restart),
    Line("13", "virsh destroy and start, a process / ours", Goal(5, 8, at_least=True), restart_virsh),
)

"""Lines 1 and 12: all records of 1,000 machines, over HTTP and without it."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks import domains
from benchmarks.lab import MACHINES, Lab
from benchmarks.processes import Process, run
from benchmarks.rounds import Pairs, in_turn, milliseconds
from benchmarks.rows import Goal, Line, Measured, NotHere
from benchmarks.wire import Channel

CALLS = 5
"""Answers a round, of which each is a few milliseconds."""
CHANGED = MACHINES // 100
VIRSH_RUNS = 10


def _last_byte(channel: Channel, request: bytes, calls: int = CALLS) -> Callable[[], float]:
    def measure() -> float:
        return statistics.median(channel.last_byte_seconds(request) for _ in range(calls))

    return measure


def _cpu(process: Process, channel: Channel, request: bytes, calls: int) -> Callable[[], float]:
    """CPU seconds of the server for one answer."""

    def measure() -> float:
        before = process.cpu_seconds()
        for _ in range(calls):
            channel.last_byte_seconds(request)
        return (process.cpu_seconds() - before) / calls

    return measure


def _shown(pairs: Pairs) -> tuple[str, str]:
    ours, base = pairs.median
    return milliseconds(ours), milliseconds(base)


def last_byte(lab: Lab) -> Measured:
    """Line 1."""
    _, raw = lab.raw
    with Channel(lab.agent.http) as ours, Channel(raw) as base:
        pairs = in_turn(lab.rounds, _last_byte(ours, lab.all_records), _last_byte(base, lab.all_records))
    shown = _shown(pairs)
    return Measured(values=pairs.ratios, ours=shown[0], base=shown[1], note=f"{len(lab.answer) / 1e6:.1f} MB of XML")


def server_cpu(lab: Lab) -> Measured:
    """Line 1a."""
    stdlib, address = lab.stdlib
    with Channel(lab.agent.http) as ours, Channel(address) as base:
        pairs = in_turn(
            lab.rounds,
            _cpu(lab.agent.process, ours, lab.all_records, 4 * CALLS),
            _cpu(stdlib, base, lab.stdlib_all_records, 2),
        )
    shown = _shown(pairs)
    return Measured(values=pairs.inverse, ours=shown[0], base=shown[1])


def some_changed(lab: Lab) -> Measured:
    """Line 1b."""
    agent = lab.agent
    refs = agent.machines()[-CHANGED:]
    turn = 0
    with Channel(agent.http) as channel:

        def changed() -> float:
            nonlocal turn
            turn += 1
            for ref in refs:
                agent.call("VM.set_name_description", ref, f"changed for the {turn}. time")
            agent.process.settle()
            seconds = channel.last_byte_seconds(lab.all_records)
            agent.process.settle()
            return seconds

        pairs = in_turn(lab.rounds, changed, _last_byte(channel, lab.all_records))
    shown = _shown(pairs)
    return Measured(values=pairs.ratios, ours=shown[0], base=shown[1], note=f"{CHANGED} of {MACHINES} changed")


def cold(lab: Lab) -> Measured:
    """Line 1c."""
    said = lab.inside.ask("encode_cold", rounds=lab.rounds)
    pairs = Pairs(said["ours"], said["base"])
    shown = _shown(pairs)
    return Measured(values=pairs.ratios, ours=shown[0], base=shown[1], note="CPU, in process")


def json_warm(lab: Lab) -> Measured:
    """Line 1d."""
    said = lab.inside.ask("encode_json", rounds=lab.rounds)
    pairs = Pairs(said["ours"], said["base"])
    shown = _shown(pairs)
    note = (
        f"CPU, in process: the kept records joined anew; what nobody changed is not even joined, and costs "
        f"{milliseconds(statistics.median(said['shared']))}"
    )
    return Measured(values=pairs.ratios, ours=shown[0], base=shown[1], note=note)


def compressed(lab: Lab) -> Measured:
    """Line 1e. Nobody on loopback gets gzip, so it is put together of its two parts."""
    said = lab.inside.ask("gzip", rounds=lab.rounds)
    _, raw = lab.raw
    _, small = lab.server("raw", bytes(said["size"]))
    with Channel(raw) as plain, Channel(small) as packed:
        sent = in_turn(lab.rounds, _last_byte(packed, lab.all_records), _last_byte(plain, lab.all_records))
    pairs = Pairs([gzip + send for gzip, send in zip(said["seconds"], sent.ours, strict=True)], sent.base)
    shown = _shown(pairs)
    note = (
        f"{milliseconds(statistics.median(said['seconds']))} of compressing to {said['size'] / 1e6:.2f} MB in process, "
        "and sending them through a plain socket: on loopback the agent does not compress"
    )
    return Measured(values=pairs.ratios, ours=shown[0], base=shown[1], note=note)


def all_state(lab: Lab) -> Measured:
    """Line 12, against libvirt-python."""
    agent = lab.agent_alone
    with Channel(agent.http) as channel:
        pairs = in_turn(
            lab.rounds, _last_byte(channel, lab.all_records, 2 * CALLS), lambda: float(lab.changer.ask("describe"))
        )
    shown = _shown(pairs)
    return Measured(
        values=pairs.inverse, ours=shown[0], base=shown[1], note="a whole HTTP exchange against local calls"
    )


def all_state_virsh(lab: Lab) -> Measured:
    """Line 12, against virsh."""
    agent = lab.agent_alone
    number = 0

    def virsh() -> float:
        nonlocal number
        seconds = 0.0
        for _ in range(VIRSH_RUNS):
            number = (number + 1) % MACHINES
            seconds += run(["virsh", "-c", lab.uri, "dominfo", domains.name_of(number)])[0]
        return seconds / VIRSH_RUNS * MACHINES

    with Channel(agent.http) as channel:
        pairs = in_turn(lab.rounds, _last_byte(channel, lab.all_records), virsh)
    shown = _shown(pairs)
    note = f"measured on {VIRSH_RUNS} domains a round and multiplied"
    return Measured(values=pairs.inverse, ours=shown[0], base=shown[1], note=note)


def all_state_dbus(lab: Lab) -> Measured:
    """Line 12, against libvirt-dbus."""
    raise NotHere("libvirt-dbus is not among what this project installs")


LINES = (
    Line("1", "get_all_records of 1,000 VMs, warm, last byte / raw socket", Goal(1.5, 1.2), last_byte),
    Line("1a", "stdlib SimpleXMLRPCServer / the same, server CPU", Goal(25, 40, at_least=True), server_cpu),
    Line("1b", "the same after 1 % of VMs changed / warm", Goal(1.5, 1.3), some_changed),
)
INSIDE_LINES = (
    Line("1c", "the same, all changed, encoding / xmlrpc.client.dumps", Goal(0.5, 0.4), cold),
    Line("1d", "the same as JSON, encoding / memcpy of the XML", Goal(1.5, 1.0), json_warm),
    Line("1e", "the same, gzip / raw socket without", Goal(2.5, 1.2), compressed),
)
STATE_LINES = (
    Line("12", "libvirt-python list+info+XMLDesc / get_all_records, warm", Goal(40, 60, at_least=True), all_state),
    Line("12", "virsh dominfo, a process each / the same", Goal(2000, 3500, at_least=True), all_state_virsh),
    Line("12", "libvirt-dbus / the same", Goal(60, 90, at_least=True), all_state_dbus),
)

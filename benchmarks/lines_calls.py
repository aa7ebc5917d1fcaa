"""Lines 2, 8 and 9: small calls, logging in, and writing a field."""

from __future__ import annotations

import itertools
import os
import ssl
import statistics
import time
from collections.abc import Callable
from functools import partial

from benchmarks.agents import PASSWORD, USER
from benchmarks.lab import Lab
from benchmarks.processes import Process
from benchmarks.rounds import Pairs, in_turn, milliseconds
from benchmarks.rows import Goal, Line, Measured, NotHere
from benchmarks.wire import Address, Channel, Crowd, xml_call

CALLS, QUICK_CALLS = 2000, 1000
LOGINS = 20
WRONG = 20
LISTENED_SECONDS = 0.5
"""How long the small calls go on beside wrong passwords, which take two cores for about as long."""


def _cpu(process: Process, crowd: Crowd, request: bytes, calls: int) -> Callable[[], float]:
    """CPU seconds of the server for one call."""

    def measure() -> float:
        before = process.cpu_seconds()
        crowd.hammer(request, calls)
        return (process.cpu_seconds() - before) / calls

    return measure


def _measured(pairs: Pairs, *, inverse: bool = False, note: str = "") -> Measured:
    ours, base = pairs.median
    values = pairs.inverse if inverse else pairs.ratios
    return Measured(values=values, ours=milliseconds(ours), base=milliseconds(base), note=note)


def _beside(
    lab: Lab, clients: int, other: tuple[Process, Address], other_request: bytes, context: ssl.SSLContext | None = None
) -> Pairs:
    agent = lab.agent
    calls = QUICK_CALLS if lab.quick else CALLS
    with Crowd(agent.address(context), clients, context) as ours, Crowd(other[1], clients) as base:
        return in_turn(
            lab.rounds,
            _cpu(agent.process, ours, lab.name_call, calls),
            _cpu(other[0], base, other_request, calls),
        )


def against_echo(clients: int, lab: Lab) -> Measured:
    """Line 2."""
    return _measured(_beside(lab, clients, lab.echo, lab.name_call))


def against_stdlib(clients: int, lab: Lab) -> Measured:
    """Line 2a."""
    return _measured(_beside(lab, clients, lab.stdlib, lab.stdlib_name_call), inverse=True)


def over_tls(clients: int, lab: Lab) -> Measured:
    """Line 2b."""
    agent = lab.agent
    return _measured(_beside(lab, clients, (agent.process, agent.http), lab.name_call, agent.tls))


# --- 8


def remembered_login(lab: Lab) -> Measured:
    """Line 8, a login that was verified before."""
    agent = lab.agent
    login = xml_call("session.login_with_password", USER, PASSWORD)

    def logins() -> float:
        before = agent.process.cpu_seconds()
        sessions = [agent.channel.call("session.login_with_password", USER, PASSWORD) for _ in range(LOGINS)]
        used = agent.process.cpu_seconds() - before
        for session in sessions:
            agent.channel.call("session.logout", session)
        return used / LOGINS

    def names() -> float:
        before = agent.process.cpu_seconds()
        for _ in range(10 * LOGINS):
            agent.channel.fetch(lab.name_call)
        return (agent.process.cpu_seconds() - before) / LOGINS / 10

    agent.channel.fetch(login)
    return _measured(in_turn(lab.rounds, logins, names), note="one client; a login is durable, a name is read")


def first_login(lab: Lab) -> Measured:
    """Line 8, a login that nobody remembers. The agent keeps its own users, so the hash stands for PAM."""
    agent = lab.agent
    moments = itertools.count(1)

    def login() -> float:
        moment = next(moments)
        os.utime(agent.state / "users.json", (moment, moment))  # whoever touches it has all forgotten
        before = agent.process.cpu_seconds()
        session = agent.channel.call("session.login_with_password", USER, PASSWORD)
        used = agent.process.cpu_seconds() - before
        agent.channel.call("session.logout", session)
        return used

    pairs = in_turn(lab.rounds, login, lambda: float(lab.inside.ask("hash")))
    return _measured(pairs, note="users are the agent's own: one scrypt stands where PAM would")


def beside_wrong_passwords(lab: Lab) -> Measured:
    """Line 8a."""
    agent = lab.agent
    wrong = xml_call("session.login_with_password", USER, "wrong horse")

    def latency() -> float:
        seconds: list[float] = []
        end = time.monotonic() + LISTENED_SECONDS
        with Channel(agent.http) as channel:
            while time.monotonic() < end:
                seconds.append(channel.last_byte_seconds(lab.name_call))
        return statistics.median(seconds)

    def disturbed() -> float:
        with Crowd(agent.http, WRONG) as crowd:
            for member in crowd.members:
                crowd.send(member, wrong)
            seconds = latency()
            agent.process.settle()
            return seconds

    note = f"p50 in the {LISTENED_SECONDS} s after {WRONG} were sent at once, while two are being verified at a time"
    return _measured(in_turn(lab.rounds, disturbed, latency), note=note)


# --- 9


def write(lab: Lab) -> Measured:
    """Line 9."""
    said = lab.inside.ask("write", rounds=lab.rounds)
    note = "CPU from the dispatch to the disk, without HTTP and without libvirt's definition, which follows beside"
    return _measured(Pairs(said["ours"], said["base"]), note=note)


def write_group(lab: Lab) -> Measured:
    """Line 9a."""
    said = lab.inside.ask("write_group", rounds=lab.rounds)
    return _measured(Pairs(said["ours"], said["base"]), note="time until the last of 100 is durable")


def postgresql(lab: Lab) -> Measured:
    """Line 9b."""
    raise NotHere("PostgreSQL is not among what this project installs, and its store is SQLite")


LINES = (
    Line("2", "get_name_label, 10 clients, CPU / bare aiohttp", Goal(1.6, 1.3), partial(against_echo, 10)),
    Line("2", "get_name_label, 100 clients, CPU / bare aiohttp", Goal(1.6, 1.3), partial(against_echo, 100)),
    Line("2a", "SimpleXMLRPCServer HTTP/1.1 / the same, 10", Goal(2.5, 3, at_least=True), partial(against_stdlib, 10)),
    Line(
        "2a", "SimpleXMLRPCServer HTTP/1.1 / the same, 100", Goal(2.5, 3, at_least=True), partial(against_stdlib, 100)
    ),
    Line("2b", "the same over kept TLS, 10 / without TLS", Goal(2.5, 2), partial(over_tls, 10)),
    Line("2b", "the same over kept TLS, 100 / without TLS", Goal(2.5, 2), partial(over_tls, 100)),
)
LOGIN_LINES = (
    Line("8", "login, remembered, CPU / get_name_label", Goal(2, 1.5), remembered_login),
    Line("8a", "get_name_label p50 beside 20 wrong passwords / without", Goal(1.3, 1.1), beside_wrong_passwords),
)
INSIDE_LINES = (
    Line("8", "login, the first, CPU / one scrypt", Goal(1.1, 1.03), first_login),
    Line("9", "VM.set_name_label, CPU / raw sqlite3 UPDATE of that row", Goal(3, 2), write),
    Line("9a", "100 durable writes at once / one fdatasync of an append", Goal(25, 6), write_group),
    Line("9b", "a write on PostgreSQL / ours", Goal(5, 10, at_least=True), postgresql),
)

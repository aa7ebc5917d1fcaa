"""Every sample is taken as the target of the fuzzing wants it, and so is what can be made of the samples at random.

This is the small and quick part of ``make fuzz``: it needs no instrumentation, and runs wherever the tests do.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import XenError
from agent.rpc import jsonrpc
from agent.rpc import xmlrpc as wire
from tests.fuzz.target import SAMPLES, Target, Wrong, samples, words


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


@pytest.mark.threat("T2", "T4")
@pytest.mark.parametrize("number", range(len(samples())), ids=[path.name for path in sorted(SAMPLES.iterdir())])
def test_a_sample_does_no_harm(target: Target, number: int) -> None:
    target.try_out(samples()[number])


def test_the_samples_reach_the_messages(target: Target) -> None:
    """A sample whose call nobody answers would teach a fuzzer nothing."""
    answered = 0
    for path in sorted(SAMPLES.glob("*.json")):
        try:
            asked = jsonrpc.decode(path.read_bytes())
        except jsonrpc.Malformed:
            continue
        answered += not isinstance(target._answer(asked.method, asked.params), XenError)
    for path in sorted(SAMPLES.glob("*.xml")):
        try:
            name, params = wire.decode(path.read_bytes())
        except wire.Malformed:
            continue
        answered += not isinstance(target._answer(name, params), XenError)
    assert answered >= 18


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample with some of it cut out, doubled, or replaced by words of the formats."""
    data = draw(st.sampled_from(samples()))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(1, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        piece = draw(
            st.one_of(
                st.sampled_from(words()).map(str.encode),
                st.binary(max_size=4),
                st.just(data[begin:end] * 2),
            )
        )
        data = data[:begin] + piece + data[end:]
    return data


@pytest.mark.threat("T2", "T4")
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=mutated())
def test_what_is_made_of_the_samples_does_no_harm(target: Target, data: bytes) -> None:
    target.try_out(data)


def test_the_target_notices_an_answer_that_nobody_can_read(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "failure", lambda description: b"<a>\0</a>")
    with pytest.raises(Wrong):
        target.try_out(b"x<methodCall><methodName>no.such</methodName></methodCall>")


def test_the_target_notices_a_bug(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.try_out(samples()[0])
    assert target._door is not None

    def broken(*given: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(target._door.dispatch, "_decode", broken)
    with pytest.raises(Wrong, match="unexpectedly"):
        target.try_out(b'j{"jsonrpc":"2.0","id":1,"method":"pool.get_all","params":["@session"]}')

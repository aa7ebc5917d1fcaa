"""Buckets of tokens: who guesses too often waits, others do not, and memory is bounded."""

from __future__ import annotations

import pytest

from agent.rpc import throttle as module
from agent.rpc.throttle import Throttle

pytestmark = pytest.mark.threat("T18")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    """Three wrong passwords are free, then one in ten seconds."""
    return Throttle(3, 10.0, clock)


def guesses(throttle: Throttle, peer: str, user: str, count: int) -> list[bool]:
    return [throttle.take(peer, user) for _ in range(count)]


def test_an_address_that_guesses_has_to_wait_whatever_the_user(throttle: Throttle, clock: Clock) -> None:
    assert [throttle.take("192.0.2.1", user) for user in "abcd"] == [True, True, True, False]
    assert throttle.take("192.0.2.2", "a")
    clock.now += 10
    assert guesses(throttle, "192.0.2.1", "e", 2) == [True, False]


def test_a_user_who_is_guessed_at_from_everywhere_is_protected(throttle: Throttle) -> None:
    assert [throttle.take(f"192.0.2.{n}", "ada") for n in range(4)] == [True, True, True, False]
    assert throttle.take("192.0.2.9", "eve")


def test_who_logged_in_from_where_is_not_kept_out_by_guesses_elsewhere(throttle: Throttle) -> None:
    assert throttle.take("192.0.2.1", "ada")
    throttle.good("192.0.2.1", "ada")
    assert [throttle.take(f"198.51.100.{n}", "ada") for n in range(4)] == [True, True, True, False]
    assert guesses(throttle, "192.0.2.1", "ada", 4) == [True, True, True, False]


def test_good_logins_cost_nothing(throttle: Throttle) -> None:
    for _ in range(20):
        assert throttle.take("192.0.2.1", "ada")
        throttle.good("192.0.2.1", "ada")


def test_tokens_are_taken_before_the_password_is_looked_at(throttle: Throttle) -> None:
    """So that many guesses at the same time are no more than many in turn."""
    assert guesses(throttle, "192.0.2.1", "ada", 5).count(True) == 3


def test_a_network_that_one_customer_has_is_one_guesser(throttle: Throttle) -> None:
    assert [throttle.take(f"2001:db8::{n}", f"{n}") for n in range(4)] == [True, True, True, False]
    assert throttle.take("2001:db8:0:1::1", "x")
    assert [throttle.take(f"::ffff:192.0.2.{n}", f"v{n}") for n in range(4)] == [True] * 4


def test_a_bucket_never_has_more_than_it_holds(throttle: Throttle, clock: Clock) -> None:
    guesses(throttle, "192.0.2.1", "ada", 3)
    clock.now += 10_000
    assert guesses(throttle, "192.0.2.1", "ada", 4) == [True, True, True, False]


def test_size_0_is_no_limit_and_the_size_may_change(throttle: Throttle) -> None:
    throttle.size = 0
    assert all(guesses(throttle, "192.0.2.1", "ada", 100))
    throttle.good("192.0.2.1", "ada")
    throttle.size = 1
    assert guesses(throttle, "192.0.2.1", "ada", 2) == [True, False]


def test_memory_is_bounded(throttle: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKETS_MAX", 10)
    for n in range(300):
        throttle.take(f"10.0.{n % 256}.{n // 256}", "x" * 5000 + str(n))
        throttle.good(f"10.1.{n % 256}.{n // 256}", f"user {n}")
    assert len(throttle._addresses) <= 10
    assert len(throttle._users) <= 10
    assert len(throttle._welcome) <= 10

"""Measuring two things in turn. What they are, the lines say."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pairs:
    """Two things measured in turn, one value a round each; both in the same unit."""

    ours: Sequence[float]
    base: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours divided by the other, round by round."""
        return [ours / base for ours, base in zip(self.ours, self.base, strict=True)]

    @property
    def inverse(self) -> list[float]:
        """The other divided by ours, round by round: how many times better we are."""
        return [base / ours for ours, base in zip(self.ours, self.base, strict=True)]

    @property
    def median(self) -> tuple[float, float]:
        """Of ours and of the other."""
        return statistics.median(self.ours), statistics.median(self.base)


def in_turn(rounds: int, ours: Callable[[], float], base: Callable[[], float]) -> Pairs:
    """Measure both `rounds` times, now one first and now the other, after one round that does not count.

    What the machine does besides meets both alike, and neither always runs in the other's wake.
    """
    ours(), base()
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            second = base()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, base()))
    return Pairs([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def milliseconds(seconds: float) -> str:
    """A duration as it is shown: in ms, or in us below one."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"

"""How often somebody may guess: buckets of tokens by address and by user. What a login is, ``dispatch`` knows.

A login takes a token of its address and one of its user, and brings them back when it was good. An empty bucket fills
slowly; until then the password is not looked at, and the answer is that of a wrong one. Memory is bounded: of many
buckets, those not touched for longest are forgotten.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic

BUCKETS_MAX = 10_000
IPV6_NETWORK = 64
"""The bits of an address that a customer is given whole, and may guess from any part of."""
NAME_MAX = 64


class Buckets:
    """Buckets by key, each of some tokens that come back one by one."""

    def __init__(self, refill_seconds: float, clock: Callable[[], float]) -> None:
        self._refill_seconds = refill_seconds
        self._clock = clock
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def left(self, key: Hashable, size: int) -> float:
        """How many tokens there are now."""
        tokens, since = self._left.get(key, (float(size), 0.0))
        return min(float(size), tokens + (self._clock() - since) / self._refill_seconds)

    def add(self, key: Hashable, tokens: float, size: int) -> None:
        """Put tokens in, or take some out. A bucket that is full again is forgotten."""
        now = min(float(size), self.left(key, size) + tokens)
        self._left.pop(key, None)
        if now < size:
            self._left[key] = (now, self._clock())
        while len(self._left) > BUCKETS_MAX:
            self._left.popitem(last=False)


class Throttle:
    """Tells who has guessed too often."""

    def __init__(self, size: int, refill_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        """`size`: how many wrong passwords in a row are free, 0 for any number; then one in so many seconds."""
        self.size = size
        self._addresses = Buckets(refill_seconds, clock)
        self._users = Buckets(refill_seconds, clock)
        self._welcome: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Who logged in from where: guesses of others elsewhere must not keep them out."""

    def take(self, peer: str, user: str) -> bool:
        """Take a token for a login; False if there is none."""
        if self.size == 0:
            return True
        address, user = _network(peer), user[:NAME_MAX]
        by_user = (user, address) not in self._welcome
        if self._addresses.left(address, self.size) < 1 or (by_user and self._users.left(user, self.size) < 1):
            return False
        self._addresses.add(address, -1, self.size)
        if by_user:
            self._users.add(user, -1, self.size)
        return True

    def good(self, peer: str, user: str) -> None:
        """The login was good: bring its tokens back."""
        if self.size == 0:
            return
        address, user = _network(peer), user[:NAME_MAX]
        self._addresses.add(address, 1, self.size)
        if (user, address) not in self._welcome:
            self._users.add(user, 1, self.size)
        self._welcome[user, address] = None
        self._welcome.move_to_end((user, address))
        while len(self._welcome) > BUCKETS_MAX:
            self._welcome.popitem(last=False)


def _network(peer: str) -> str:
    """What one guesser can change of an address at no cost is left out of it."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:  # the user of a Unix socket
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False))
    return str(address)

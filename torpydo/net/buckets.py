"""How often a host may ask: token buckets on a clock, and which addresses count as one host. For node and pool."""

from __future__ import annotations

import math
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

import attrs

__all__ = ["MAX_BUCKETS", "Buckets", "host_key"]

MAX_BUCKETS: Final = 10_000
"""Buckets above which the full ones are looked for before a new one is made."""


def host_key(ip: bytes) -> bytes:
    """What counts as one host: an IPv4 address, or an IPv6 /64, which one machine can fill."""
    if len(ip) == 4:
        return ip
    mapped = IPv6Address(ip).ipv4_mapped
    return ip[:8] if mapped is None else mapped.packed


@attrs.define(eq=False)
class _Bucket:
    tokens: float
    filled_at: float


@attrs.define(eq=False)
class Buckets:
    """One token bucket for each key.

    :param clock: seconds that never go back
    :param rate: tokens a second that flow into each bucket
    :param burst: tokens that a bucket holds; a new one is full
    """

    clock: Callable[[], float]
    rate: float
    burst: float
    _buckets: dict[bytes, _Bucket] = attrs.field(factory=dict, init=False)
    _prune_at: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: bytes) -> bool:
        """Take a token from the bucket of *key*; ``False`` if there is none. One without an end has always some."""
        if self.burst == math.inf:
            return True
        now = self.clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= max(self._prune_at, MAX_BUCKETS):
                self.prune()
                # Most may be in use: a look for each new one would take longer than what it saves.
                self._prune_at = 2 * len(self._buckets)
            bucket = self._buckets[key] = _Bucket(self.burst, now)
        bucket.tokens = self._level(bucket, now)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _level(self, bucket: _Bucket, now: float) -> float:
        # An application's own reactor may go by the time of day, which can be set back.
        return min(self.burst, bucket.tokens + max(0.0, now - bucket.filled_at) * self.rate)

    def prune(self) -> None:
        """Forget the buckets that are full again: a new one would be the same."""
        now = self.clock()
        for key in [key for key, one in self._buckets.items() if self._level(one, now) >= self.burst]:
            del self._buckets[key]

"""How often an address may ask: token buckets on a clock, and which addresses count as one."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import attrs
from twisted.internet.address import IPv4Address as TCP4Address
from twisted.internet.address import IPv6Address as TCP6Address
from twisted.internet.interfaces import IAddress

from torpydo.directory import is_loopback

__all__ = ["Buckets", "host_key", "peer_key"]

MAX_BUCKETS = 10_000
"""Buckets above which the full ones are looked for before a new one is made."""


def host_key(ip: bytes) -> bytes:
    """What counts as one host: an IPv4 address, or an IPv6 /64, which one machine can fill."""
    if len(ip) == 4:
        return ip
    mapped = IPv6Address(ip).ipv4_mapped
    return ip[:8] if mapped is None else mapped.packed


def peer_key(address: IAddress | None) -> bytes | None:
    """The host of a connection; ``None`` for this machine itself.

    A reverse proxy in front of the pool and the nodes of a test network come from this machine: limits by host
    would hit them all at once, so only the limit on all hosts together holds for them.
    """
    if not isinstance(address, TCP4Address | TCP6Address):
        return None
    try:
        ip = ip_address(address.host.partition("%")[0]).packed
    except ValueError:
        return None
    mapped = IPv6Address(ip).ipv4_mapped if len(ip) == 16 else None
    if is_loopback(ip if mapped is None else mapped.packed):
        return None
    return host_key(ip)


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

    def take(self, key: bytes) -> bool:
        """Take a token from the bucket of *key*; ``False`` if there is none."""
        now = self.clock()
        if len(self._buckets) >= MAX_BUCKETS:
            self.prune()
        bucket = self._buckets.setdefault(key, _Bucket(self.burst, now))
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.filled_at) * self.rate)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def prune(self) -> None:
        """Forget the buckets that are full: they say nothing."""
        full = self.clock() - self.burst / self.rate
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.filled_at > full}

    def __len__(self) -> int:
        return len(self._buckets)

"""Which IP addresses are not public (SECURITY E1), and which blocks count as one operator (P1).

Addresses are packed bytes here: 4 or 16 of them. Bytes of one length compare as the numbers they stand
for, so a range is two ``bytes`` and no number is ever made. Called by policy, poolurl, netdir and path.
"""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import ip_network
from typing import Final

__all__ = ["embeds_ipv4", "is_local", "is_loopback", "is_private", "private_range", "subnet"]

_Range = tuple[bytes, bytes]

# tor's two lists of private blocks differ; this is their union, and what embeds an IPv4 address.
# ::/8 covers ::, ::1, v4-mapped addresses and NAT64 (64:ff9b::/96).
_PRIVATE: Final = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 "
    "224.0.0.0/4 240.0.0.0/4 ::/8 2001::/32 2002::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8"
)
# Judging such an address as IPv6 would let a reject rule for its IPv4 form be walked around.
_EMBEDDING: Final = "::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 2001::/32 2002::/16"
# Where a pool of one's own machine or site can live: unicast only.
_LOCAL: Final = (
    "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 ::1 fc00::/7 fe80::/10"
)
_LOOPBACK: Final = "127.0.0.0/8 ::1"


class _Table:
    """Disjoint ranges of both families, for one look-up by bisection."""

    def __init__(self, text: str) -> None:
        self._ranges: dict[int, list[_Range]] = {4: [], 16: []}
        for word in text.split():
            network = ip_network(word)
            first = network.network_address.packed
            self._ranges[len(first)].append((first, network.broadcast_address.packed))
        for ranges in self._ranges.values():
            ranges.sort()

    def find(self, ip: bytes) -> _Range | None:
        """The range that holds *ip*."""
        ranges = self._ranges[len(ip)]
        place = bisect_right(ranges, ip, key=lambda pair: pair[0])
        if place and ip <= ranges[place - 1][1]:
            return ranges[place - 1]
        return None


_PRIVATE_TABLE: Final = _Table(_PRIVATE)
_EMBEDDING_TABLE: Final = _Table(_EMBEDDING)
_LOCAL_TABLE: Final = _Table(_LOCAL)
_LOOPBACK_TABLE: Final = _Table(_LOOPBACK)


def private_range(ip: bytes) -> tuple[bytes, bytes] | None:
    """The first and last address of the private or reserved block that holds *ip*."""
    return _PRIVATE_TABLE.find(ip)


def is_private(ip: bytes) -> bool:
    """Whether *ip* is private, reserved, multicast, or embeds an IPv4 address."""
    return _PRIVATE_TABLE.find(ip) is not None


def embeds_ipv4(ip: bytes) -> bool:
    """Whether *ip* is an IPv6 address that stands for an IPv4 one."""
    return _EMBEDDING_TABLE.find(ip) is not None


def is_local(ip: bytes) -> bool:
    """Whether *ip* is a unicast address of this machine or of a private network."""
    return _LOCAL_TABLE.find(ip) is not None


def is_loopback(ip: bytes) -> bool:
    """Whether *ip* is an address of this machine."""
    return _LOOPBACK_TABLE.find(ip) is not None


def subnet(ip: bytes) -> bytes:
    """The block that may stand in a path only once: IPv4 /16, IPv6 /32. Their lengths keep them apart."""
    return ip[:2] if len(ip) == 4 else ip[:4]

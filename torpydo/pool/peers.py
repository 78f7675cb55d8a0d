"""Whose connection it is, for the limits by host."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from twisted.internet.address import IPv4Address as TCP4Address
from twisted.internet.address import IPv6Address as TCP6Address
from twisted.internet.interfaces import IAddress

from torpydo.directory import is_loopback
from torpydo.net import host_key

__all__ = ["peer_key"]


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

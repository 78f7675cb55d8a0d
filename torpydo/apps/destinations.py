"""Which destinations a proxy hands to the network, and which never leave this machine.

No name is resolved here. A host is either a :class:`Destination` in its canonical spelling or :class:`Forbidden`;
both proxies ask :func:`judge` and nobody else decides.
"""

from __future__ import annotations

import re
import socket
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import attrs

from torpydo.onion import is_onion

__all__ = ["Destination", "Forbidden", "Verdict", "Why", "judge"]

# Names that mean something outside the DNS: asking an exit for one would tell it what is looked for.
_NEVER = ("onion", "exit", "noconnect", "i2p", "alt", "local")
# Names that mean this machine or this local network (RFC 6761, RFC 8375 and ICANN's "internal").
_LOCAL = ("localhost", "localdomain", "internal", "home.arpa")

# The blocks that exits refuse as well (SECURITY E1). ::/8 covers loopback, v4-mapped and NAT64 addresses; 6to4 and
# Teredo are listed because they carry an IPv4 address inside.
_PRIVATE = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/8",
        "2001::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# What the C library reads as an IPv4 address although it does not look like one: "127.1", "0x7f000001", "2130706433".
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
_LONGEST_NAME = 253  # RFC 1035: 255 bytes with the length of the first label and the root


class Why(Enum):
    """Why a destination is refused before anything is sent; the value is the sentence that a person reads."""

    SPECIAL = "names of this kind do not exist in the DNS and are never sent to an exit"
    PRIVATE = "private and local destinations are only reachable in a test network"
    MALFORMED = "this is neither a host name nor an IP address"
    PORT = "a destination port is a number from 1 to 65535"


@attrs.frozen
class Destination:
    """Where a stream may go.

    :ivar host: an IP address, or a name in lower case without a final dot
    :ivar port: the port; 0 where only the name matters
    :ivar literal: whether it came as an IP address
    :ivar private: whether it is only good in a test network
    """

    host: str
    port: int
    literal: bool
    private: bool


@attrs.frozen
class Forbidden:
    """The destination is refused here.

    :ivar why: the reason
    """

    why: Why


Verdict = Destination | Forbidden


def judge(host: str, port: int, *, allow_private: bool, resolve_only: bool = False) -> Verdict:
    """Decide about a destination as an application wrote it.

    :param host: a name or an IP address, in any spelling
    :param allow_private: whether this is a test network
    :param resolve_only: there is no port because only the name is asked for
    """
    if not resolve_only and not 1 <= port <= 65535:
        return Forbidden(Why.PORT)
    name = host.lower().removesuffix(".")
    try:
        literal = _literal(name)
    except ValueError:
        return Forbidden(Why.MALFORMED)
    if literal is not None:
        private = any(literal.version == block.version and literal in block for block in _PRIVATE)
        if private and not allow_private:
            return Forbidden(Why.PRIVATE)
        return Destination(str(literal), port, literal=True, private=private)
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return Forbidden(Why.MALFORMED)
    # An onion service has a stream and no address: the client finds it, and no exit hears of it.
    if _ends_in(name, _NEVER) or (resolve_only and is_onion(name)):
        return Forbidden(Why.SPECIAL)
    private = _ends_in(name, _LOCAL)
    if private and not allow_private:
        return Forbidden(Why.PRIVATE)
    return Destination(name, port, literal=False, private=private)


def _literal(name: str) -> IPv4Address | IPv6Address | None:
    """The address that *name* spells, if it spells one.

    :raises ValueError: if it tries to and fails
    """
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
        if ":" not in name:
            raise ValueError("brackets are for IPv6")
    if ":" in name:
        if "%" in name:
            raise ValueError("a zone means nothing at an exit")
        return IPv6Address(name)
    if not _NUMERIC.fullmatch(name):
        return None
    try:
        packed = socket.inet_aton(name)
    except OSError as error:
        raise ValueError("not an IPv4 address") from error
    address = ip_address(packed)
    assert isinstance(address, IPv4Address)
    return address


def _ends_in(name: str, suffixes: tuple[str, ...]) -> bool:
    return any(name == suffix or name.endswith("." + suffix) for suffix in suffixes)

"""Destinations that never leave the client: names of other networks, and this network's own private ones.

An exit would refuse most of them too, but by then the name has been told to it (SECURITY S2). Called by endpoints.
"""

from __future__ import annotations

import idna

from torpydo.client.paths import ip_of
from torpydo.directory import is_private
from torpydo.errors import ExitPolicyRefused, ResolveFailed

FOREIGN = frozenset({"onion", "exit", "noconnect", "torpydo", "i2p", "local"})
"""Last labels of names that no exit can resolve and that would tell what the user is about to do."""
MAX_HOST = 255
_STRANGE = frozenset(" []@")


def check_destination(host: str, port: int | None, *, private_allowed: bool) -> str:
    """Check that *host* may be told to an exit.

    :return: the host as it is sent: without a trailing dot or brackets, in ASCII (IDNA 2008 with UTS 46)
    :raises ResolveFailed: for a name that no exit can resolve
    :raises ExitPolicyRefused: for a private destination outside a test network
    """
    bare = host.removesuffix(".")
    host = bare[1:-1] if bare.startswith("[") and bare.endswith("]") else host
    if not host.isascii():
        # Before anything is judged: what looks like "onion" in wide letters is "onion" afterwards.
        host = _as_ascii(host)
    name = host.removesuffix(".")
    # More brackets would make an address of a name: an exit takes a pair of them away, too.
    if not name or len(host) > MAX_HOST or not host.isascii() or not host.isprintable() or _STRANGE & {*host}:
        raise ResolveFailed("a destination is a host name or an IP address of at most 255 printable ASCII characters")
    if port is not None and not 1 <= port <= 65535:
        raise ExitPolicyRefused(f"a port is 1 to 65535, not {port}")
    last = name.lower().rpartition(".")[2]
    if last in FOREIGN:
        raise ResolveFailed(f"a name that ends in .{last} is never told to an exit")
    if not private_allowed and _is_private(name.lower(), last):
        raise ExitPolicyRefused("a private destination is reached only in a test network")
    return name


def _as_ascii(host: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ResolveFailed("a name with other letters than ASCII's that is no international host name") from None


def _is_private(name: str, last: str) -> bool:
    if last == "localhost":
        return True
    ip = ip_of(name)
    return ip is not None and is_private(ip)

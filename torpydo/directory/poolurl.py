"""Pool URLs: where a pool is and which key it must show (docs/protocol-directory, section Pool URL).

The key travels with the URL, so what the transport says about the pool's identity does not matter.
Called by every option and file that names a pool.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, Self

import attrs

from torpydo.crypto import PoolId
from torpydo.directory.ranges import is_local, is_loopback
from torpydo.errors import BadKey, PoolURLError

__all__ = ["PoolURL"]

_DEFAULT_PORT: Final = 80
_MAX_LENGTH: Final = 512  # bytes of text; a host name has at most 253
_URL: Final = re.compile(
    r"http://(?:\[(?P<ip6>[0-9a-f:.]+)\]|(?P<host>[a-z0-9_.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?/?(?:\#(?P<key>.*))?",
    re.ASCII | re.IGNORECASE,
)
_NUMERIC_END: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?", re.ASCII)
_REMEDY: Final = "copy the whole URL from the pool's STATE/pool.url"


def _parse_host(name: str) -> str:
    """A host name in lower case, or an IP address in its one spelling."""
    # "2130706433" and "0x7f.1" are names here but addresses to a resolver: whoever looks at the URL must
    # see where it goes, so what looks like a number must be a plain address.
    if _NUMERIC_END.fullmatch(name):
        return str(ip_address(name))
    if any(not 1 <= len(label) <= 63 for label in name.removesuffix(".").split(".")):
        raise ValueError("an empty or too long label")
    return name.lower()


@attrs.frozen
class PoolURL:
    """A pool's URL, ``http://HOST:PORT/#KEY``.

    :ivar host: a host name in lower case or an IP literal, without brackets
    :ivar port: 1..65535
    :ivar pool_id: the key that the pool's listings are checked against; None: pinned at first use, loopback only
    """

    host: str
    port: int
    pool_id: PoolId | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pool URL.

        :raises PoolURLError: if it is not one, or if it has no key and is not a loopback address
        """
        match = _URL.fullmatch(text.strip()) if len(text) <= _MAX_LENGTH else None
        if match is None:
            raise PoolURLError(f"{text[:_MAX_LENGTH]!r} is not a pool URL of the form http://HOST:PORT/#KEY; {_REMEDY}")
        try:
            host = str(ip_address(match["ip6"])) if match["ip6"] else _parse_host(match["host"])
        except ValueError:
            raise PoolURLError(f"the host of the pool URL {text!r} is no name and no IP address; {_REMEDY}") from None
        port = int(match["port"] or _DEFAULT_PORT)
        if not 1 <= port <= 65535:
            raise PoolURLError(f"the port of the pool URL {text!r} is not within 1..65535; {_REMEDY}")
        try:
            pool_id = PoolId.parse(match["key"]) if match["key"] else None
        except BadKey:
            raise PoolURLError(f"the key after # in the pool URL {text!r} is not a pool's key; {_REMEDY}") from None
        url = cls(host, port, pool_id)
        if pool_id is None and not url.is_loopback:
            raise PoolURLError(f"the pool URL {text!r} has no key, which only a loopback address may omit; {_REMEDY}")
        return url

    @property
    def _ip(self) -> bytes | None:
        try:
            return ip_address(self.host).packed
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether the pool is on this machine, as far as the URL itself tells."""
        ip = self._ip
        return self.host == "localhost" if ip is None else is_loopback(ip)

    @property
    def is_private_or_loopback(self) -> bool:
        """Whether the URL names this machine or an address of a private network; a host name does not."""
        ip = self._ip
        return self.is_loopback if ip is None else is_local(ip)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        key = "" if self.pool_id is None else f"#{self.pool_id}"
        return f"http://{host}:{self.port}/{key}"

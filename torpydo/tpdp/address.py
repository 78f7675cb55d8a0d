"""An IP address and a port. Names never get this far: an address is always a literal."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

import attrs


def _packed(value: bytes) -> bytes:
    if len(value) not in (4, 16):
        raise ValueError(f"an IP address has 4 or 16 bytes, not {len(value)}")
    return value


@attrs.frozen(repr=False, order=True)
class Address:
    """Where to connect to.

    :ivar ip: 4 or 16 bytes
    :ivar port: 0..65535
    """

    ip: bytes = attrs.field(converter=_packed)
    port: int = attrs.field(validator=[attrs.validators.ge(0), attrs.validators.le(65535)])

    @classmethod
    def parse(cls, host: str, port: int) -> Self:
        """Make an address from an IP literal.

        :raises ValueError: if *host* is not one
        """
        return cls(ip_address(host).packed, port)

    @classmethod
    def parse_text(cls, text: str) -> Self:
        """Read what ``str`` writes: ``1.2.3.4:80`` or ``[::1]:80``.

        :raises ValueError: if it is neither
        """
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit():
            raise ValueError(f"{text!r} is not an IP address and a port")
        if host.startswith("[") and host.endswith("]"):
            return cls(IPv6Address(host[1:-1]).packed, int(port))
        return cls(IPv4Address(host).packed, int(port))

    @property
    def host(self) -> str:
        """The IP address as text, IPv6 without brackets."""
        return str(ip_address(self.ip))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if len(self.ip) == 4 else f"[{self.host}]:{self.port}"

    def __repr__(self) -> str:
        return f"<Address {self}>"

"""The messages of SOCKS 4, 4a and 5, and nothing about when they may come.

A parser takes a :class:`~torpydo.wire.Reader`, and returns the message, raises NeedMore, or raises Malformed.
RFC 1928 and 1929 for version 5, tor's command F0 among them; the two old papers for 4 and 4a.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from torpydo.apps.isolation import Credentials
from torpydo.wire import Malformed, Reader, Writer

__all__ = [
    "MESSAGE_LIMIT",
    "AddressKind",
    "Command",
    "Method",
    "Reply",
    "Request",
    "UnknownAddressKind",
    "login_answer",
    "method_answer",
    "read_greeting",
    "read_login",
    "read_request4",
    "read_request5",
    "reply4",
    "reply5",
]

# Bytes in one message. tor has the same bound; the longest message that anyone sends has 262, and a login 513 at most.
MESSAGE_LIMIT = 512


class Command(IntEnum):
    """What a request asks for; only the first and RESOLVE are offered."""

    CONNECT = 0x01
    BIND = 0x02
    UDP_ASSOCIATE = 0x03
    RESOLVE = 0xF0
    RESOLVE_PTR = 0xF1


class Method(IntEnum):
    """How a SOCKS 5 client may log in."""

    NONE = 0x00
    PASSWORD = 0x02
    NOT_ACCEPTABLE = 0xFF


class AddressKind(IntEnum):
    """How SOCKS 5 writes an address."""

    IPV4 = 0x01
    NAME = 0x03
    IPV6 = 0x04


class Reply(IntEnum):
    """The reply codes of SOCKS 5; version 4 knows only the first and the rest."""

    SUCCEEDED = 0x00
    FAILED = 0x01
    NOT_ALLOWED = 0x02
    NETWORK_UNREACHABLE = 0x03
    HOST_UNREACHABLE = 0x04
    REFUSED = 0x05
    TIMED_OUT = 0x06
    NOT_SUPPORTED = 0x07
    ADDRESS_NOT_SUPPORTED = 0x08


class UnknownAddressKind(Malformed):
    """The address has a kind that RFC 1928 does not know, so the request's length is unknown too."""


@attrs.frozen
class Request:
    """What an application asks for.

    :ivar version: 4 or 5
    :ivar command: the command's number, which may be none of :class:`Command`
    :ivar host: a name or an IP address, as it came
    :ivar port: the port
    :ivar credentials: SOCKS 4's user id; None in version 5, where they come before
    """

    version: int
    command: int
    host: str
    port: int
    credentials: Credentials | None


def read_greeting(reader: Reader) -> bytes:
    """The methods that a SOCKS 5 client offers."""
    _expect(reader.u8(), 5)
    return reader.take(reader.u8())


def method_answer(method: Method) -> bytes:
    """What says which method was chosen."""
    return Writer().u8(5).u8(method).getvalue()


def read_login(reader: Reader) -> Credentials:
    """The user and password of RFC 1929; either may be empty."""
    _expect(reader.u8(), 1)
    user = reader.take(reader.u8())
    return Credentials(user, reader.take(reader.u8()))


def login_answer(accepted: bool) -> bytes:
    """What says whether the login is accepted."""
    return Writer().u8(1).u8(0 if accepted else 1).getvalue()


def read_request5(reader: Reader) -> Request:
    """A SOCKS 5 request.

    :raises UnknownAddressKind: as soon as the kind is seen
    """
    _expect(reader.u8(), 5)
    command = reader.u8()
    reader.u8()  # reserved
    kind = reader.u8()
    if kind == AddressKind.IPV4:
        host = str(IPv4Address(reader.take(4)))
    elif kind == AddressKind.IPV6:
        host = str(IPv6Address(reader.take(16)))
    elif kind == AddressKind.NAME:
        host = _text(reader.take(reader.u8()))
    else:
        raise UnknownAddressKind(f"address kind {kind}")
    return Request(5, command, host, reader.u16(), None)


def reply5(reply: Reply, address: str = "0.0.0.0") -> bytes:
    """A SOCKS 5 reply.

    :param address: the answer to RESOLVE. A CONNECT gets zeros: the exit's own address is nobody's business.
    """
    packed = ip_address(address).packed
    kind = AddressKind.IPV4 if len(packed) == 4 else AddressKind.IPV6
    return Writer().u8(5).u8(reply).u8(0).u8(kind).put(packed).u16(0).getvalue()


def read_request4(reader: Reader) -> Request:
    """A SOCKS 4 request, or 4a where the address is 0.0.0.x."""
    _expect(reader.u8(), 4)
    command = reader.u8()
    port = reader.u16()
    address = reader.take(4)
    user = reader.until_zero()
    if address[:3] == bytes(3) and address[3]:
        host = _text(reader.until_zero())
    else:
        host = str(IPv4Address(address))
    return Request(4, command, host, port, Credentials(user, b""))


def reply4(reply: Reply, address: str = "0.0.0.0") -> bytes:
    """A SOCKS 4 reply: granted or not, it has no word for why."""
    granted = 0x5A if reply == Reply.SUCCEEDED else 0x5B
    return Writer().u8(0).u8(granted).u16(0).put(IPv4Address(address).packed).getvalue()


def _expect(version: int, wanted: int) -> None:
    if version != wanted:
        raise Malformed(f"version {version} where {wanted} must be")


def _text(name: bytes) -> str:
    """A name as text. What is not ASCII becomes a character that no host name has, so that the judge refuses it."""
    return name.decode("ascii", "replace")

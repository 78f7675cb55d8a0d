"""The program's side of SOCKS 5 and of HTTP CONNECT, as an object that takes bytes and gives bytes.

Only these outcomes exist: the tunnel is open, the proxy has said why it is not (:class:`Refused`), or what came is no
answer of a proxy (:class:`BadAnswer`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Protocol

import attrs

__all__ = ["BadAnswer", "Dial", "Door", "HTTPDial", "Refused", "SOCKSDial"]

ANSWER_LIMIT = 16 * 1024
LAST_REPLY = 8
"""Of RFC 1928."""


class Refused(Exception):
    """The proxy says that it cannot be done: a typed failure."""


class BadAnswer(Exception):
    """What came is not what a proxy answers."""


class Dial(Protocol):
    """One attempt."""

    @property
    def hasty(self) -> bool:
        """Whether the first bytes of the stream are sent before the answer."""

    def begin(self) -> bytes:
        """What to send first."""

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take what came.

        :returns: what to send now; and once the tunnel is open, the bytes that came through it already
        :raises Refused: if the proxy says no
        :raises BadAnswer: if it says nothing that it may say
        """


@attrs.frozen
class Door:
    """Where a transfer goes in, and what it says there.

    :param port: the proxy's
    """

    port: int
    dial: Dial


@attrs.define
class SOCKSDial:
    """SOCKS 5 with a user and a password.

    :param hasty: sends everything at once, as some programs do, and not one message after the other
    """

    host: str
    port: int
    user: str
    hasty: bool = False
    _received: bytes = b""
    _steps: Iterator[tuple[int, bytes]] = attrs.field(init=False)
    _wanted: int = 0

    def begin(self) -> bytes:
        user, host = self.user.encode(), self.host.encode()
        login = b"\x01" + bytes([len(user)]) + user + b"\x01x"
        request = b"\x05\x01\x00\x03" + bytes([len(host)]) + host + self.port.to_bytes(2)
        later = (b"", b"") if self.hasty else (login, request)
        self._steps = iter(((2, later[0]), (2, later[1])))
        first = b"\x05\x01\x02"
        return first + login + request if self.hasty else first

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        self._received += data
        to_send = b""
        while self._wanted < 2 and len(self._received) >= 2:
            answer, self._received = self._received[:2], self._received[2:]
            if answer != ((b"\x05\x02", b"\x01\x00")[self._wanted]):
                raise BadAnswer(f"{answer.hex()} in step {self._wanted + 1} of SOCKS")
            to_send += next(self._steps)[1]
            self._wanted += 1
        if self._wanted < 2 or len(self._received) < 5:
            return to_send, None
        reply = self._received
        if reply[0] != 5 or reply[1] > LAST_REPLY or reply[2]:
            raise BadAnswer(f"{reply[:4].hex()} is not a SOCKS reply")
        if reply[1]:
            raise Refused(f"SOCKS {reply[1]}")
        length = {1: 4, 4: 16, 3: 1 + reply[4]}.get(reply[3])
        if length is None:
            raise BadAnswer(f"{reply[:4].hex()} has an unknown kind of address")
        end = 4 + length + 2
        return to_send, reply[end:] if len(reply) >= end else None


@attrs.define
class HTTPDial:
    """HTTP CONNECT with a user."""

    host: str
    port: int
    user: str
    hasty: bool = False
    _received: bytes = b""

    def begin(self) -> bytes:
        login = base64.b64encode(f"{self.user}:x".encode()).decode()
        where = f"{self.host}:{self.port}"
        return f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\nProxy-Authorization: Basic {login}\r\n\r\n".encode()

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            if len(head) > ANSWER_LIMIT:
                raise BadAnswer("an HTTP head without an end")
            return b"", None
        first, *fields = head.decode("latin-1").split("\r\n")
        words = first.split()
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise BadAnswer(f"{first!r} is not an HTTP answer")
        if words[1] == "200":
            return b"", rest
        for field in fields:
            name, _, value = field.partition(":")
            if name.lower() == "x-torpydo-error":
                raise Refused(f"HTTP {words[1]} {value.strip()}")
        raise BadAnswer(f"{first!r} says no and not why")

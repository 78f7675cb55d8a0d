"""Bytes for a stream that is not open yet: they go out with the question for it, so that no round trip is lost.

Whoever opens a stream fills it, whoever has a circuit takes what is there and what comes later. If the stream is
asked for again on another circuit, all of it goes again; when that is allowed is the attempts' matter. Called by
circuits and by applications.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torpydo.errors import LocalProtocolError
from torpydo.tpdp import STREAM_CREDIT

__all__ = ["FirstData"]


class FirstData:
    """What is to be sent first on one stream.

    :param data: what is known already
    :raises LocalProtocolError: for more than 64 KiB
    """

    most: Final = STREAM_CREDIT
    """Bytes that may be sent before a stream is open: the credit that every stream begins with."""

    def __init__(self, data: bytes = b"") -> None:
        self._parts: list[bytes] = []
        self._send: Callable[[bytes], None] | None = None
        self._finished = False
        self.size = 0
        """Bytes so far."""
        if data:
            self.add(data)

    @property
    def room(self) -> int:
        """Bytes that may still be added."""
        return self.most - self.size

    def add(self, data: bytes) -> None:
        """Append *data*; it goes out at once if the stream has been asked for.

        :raises LocalProtocolError: beyond 64 KiB, and after the stream was opened
        """
        if self._finished:
            raise LocalProtocolError("the stream is open already: write to its transport")
        if len(data) > self.room:
            raise LocalProtocolError(f"at most {self.most} bytes can be sent before a stream is open")
        self.size += len(data)
        self._parts.append(data)
        if self._send is not None:
            self._send(data)

    def check_free(self) -> None:
        """See that it belongs to no other stream.

        :raises LocalProtocolError: if it does
        """
        if self._send is not None or self._finished:
            raise LocalProtocolError("first data is for one stream: make another for the next")

    def attach(self, send: Callable[[bytes], None]) -> None:
        """The stream has been asked for: *send* takes its bytes from now on, beginning with those that are there."""
        self._send = send
        if self._parts:
            send(b"".join(self._parts))

    def detach(self) -> None:
        """The stream was answered, or never will be on that circuit."""
        self._send = None

    def finish(self) -> None:
        """The stream is open."""
        self._finished = True

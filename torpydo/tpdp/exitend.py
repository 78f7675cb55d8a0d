"""The ends that streams are asked of: the last hop's, and a service's.

Source: docs/protocol, sections Cells, Messages; docs/protocol-onion, section Conversations. Called by
transit and origin.
"""

from __future__ import annotations

from collections.abc import Callable

from torpydo.errors import LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import BODY_SIZES, BULK, CELL, MAX_STREAMS, EndReason
from torpydo.tpdp.conversations import LATER, OPENINGS, check_size
from torpydo.tpdp.ends import CircuitEnd, SealCell
from torpydo.tpdp.events import ResolveRequested, Said, StreamRequested
from torpydo.tpdp.messages import (
    PING_SIZE,
    Type,
    decode_begin,
    decode_resolve,
    encode_connected,
    encode_message,
    encode_resolved,
)
from torpydo.tpdp.streams import Half, Phase, Stream
from torpydo.wire import Malformed


class ExitEnd(CircuitEnd):
    """The last hop's end."""

    __slots__ = ("_last", "_opening", "_size", "extend")

    def __init__(self, seal: SealCell, overhead: int, rng: Callable[[int], bytes]) -> None:
        super().__init__(seal, overhead, rng)
        self._size = CELL
        self._last = 0
        self._opening: Type | None = None
        self.extend: tuple[int, bytes] | None = None
        """Command and data of the EXTEND that came; there is never a second one."""

    @property
    def begun(self) -> bool:
        """Whether there ever was a stream or a conversation: the circuit does not grow any more."""
        return self._last > 0 or self._opening is not None

    # -- Verbs

    def connected(self, stream: int, address: Address, ttl: int) -> None:
        """The stream's outside connection is open to *address*; *ttl* is of the name, in seconds."""
        known = self._streams.get(stream)
        if known is None or known.sent is Half.ENDED:
            return
        if known.phase is not Phase.REQUESTED:
            raise LocalProtocolError("a stream is connected once")
        known.phase = Phase.OPEN
        self._control.append(encode_message(Type.CONNECTED, stream, encode_connected(address, ttl)))

    def resolved(self, stream: int, answers: list[tuple[bytes, int]]) -> None:
        """The addresses of the name that was asked for: pairs of IP and time to live, at least one."""
        known = self._streams.get(stream)
        if known is None or known.sent is Half.ENDED:
            return
        known.phase = Phase.RESOLVED
        self._control.append(encode_message(Type.RESOLVED, stream, encode_resolved(answers)))
        self._send_end(known, EndReason.DONE)

    def say(self, kind: Type, data: bytes) -> None:
        """Say something in the conversation that the other side began."""
        self._control.append(encode_message(kind, 0, data))

    def extended(self, data: bytes) -> None:
        """Tell the client what came of its EXTEND."""
        self._control.append(encode_message(Type.EXTENDED, 0, data))

    # -- Cells

    def _next_cell(self) -> tuple[int, bool]:
        return self._size, self.window.may_send(BODY_SIZES[self._size])

    def _receive_wanted_size(self, command: int) -> None:
        if command not in (CELL, BULK):
            raise Malformed("a size of cells that there is not")
        self._size = command

    def _receive_other(self, command: int, kind: Type, number: int, data: bytes, now: float) -> None:
        if kind is Type.BEGIN:
            host, port = decode_begin(data)
            if self._opened(number, Phase.REQUESTED):
                self._events.append(StreamRequested(number, host, port))
        elif kind is Type.RESOLVE:
            host = decode_resolve(data)
            if self._opened(number, Phase.RESOLVING):
                self._events.append(ResolveRequested(number, host))
        elif kind is Type.PING:
            if len(data) != PING_SIZE:
                raise Malformed("PING of a size that it does not have")
            self._control.append(encode_message(Type.PONG, 0, data))
        elif kind is Type.EXTEND and self.extend is None:
            self.extend = (command, data)
        elif kind in OPENINGS and not self.begun:
            check_size(kind, data)
            self._opening = kind
            self._events.append(Said(kind, data))
        elif self._opening is not None and kind in LATER.get(self._opening, ()):
            check_size(kind, data)
            self._events.append(Said(kind, data))
        else:
            super()._receive_other(command, kind, number, data, now)

    def _opened(self, number: int, phase: Phase) -> bool:
        if self._opening is not None:
            raise RemoteProtocolError("a stream on a circuit with a conversation")
        if number <= self._last:
            raise RemoteProtocolError("a stream number that is not new")
        if len(self._streams) >= 2 * MAX_STREAMS:
            raise RemoteProtocolError("more streams than the client ends")
        self._last = number
        stream = self._streams[number] = Stream(number, phase)
        if len(self._streams) > MAX_STREAMS:
            self._send_end(stream, EndReason.RESOURCE_LIMIT)
            return False
        return True


class ServiceEnd(ExitEnd):
    """A service's end of a joined circuit: it takes streams, and there is no hop behind it."""

    __slots__ = ()

    def _receive_other(self, command: int, kind: Type, number: int, data: bytes, now: float) -> None:
        if kind is Type.EXTEND or kind in OPENINGS:
            raise RemoteProtocolError(f"{kind.name} on a joined circuit")
        super()._receive_other(command, kind, number, data, now)

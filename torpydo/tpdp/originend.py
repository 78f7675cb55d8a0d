"""The client's end of a circuit.

Source: docs/protocol, sections Cells, Messages; docs/protocol-onion, section Conversations. Called by origin.
"""

from __future__ import annotations

from collections.abc import Callable

from torpydo.errors import LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.constants import BODY_SIZE, BULK, BULK_SIZE, BULK_THRESHOLD, CELL, EARLY, MESSAGE_HEADER, EndReason
from torpydo.tpdp.conversations import LATER, NEXT, OPENINGS, check_size
from torpydo.tpdp.ends import CircuitEnd, SealCell
from torpydo.tpdp.events import Cell, EndEvent, PongReceived, Said, StreamConnected, StreamResolved
from torpydo.tpdp.messages import (
    PING_SIZE,
    Type,
    decode_connected,
    decode_payload,
    decode_resolved,
    encode_begin,
    encode_message,
    encode_resolve,
    encode_wanted_size,
)
from torpydo.tpdp.streams import Phase, Stream
from torpydo.tpdp.windows import SizeChooser

_LAST_WORDS = frozenset({Type.EXTENDED, Type.RENDEZVOUS2})
"""After these a hop originates nothing more."""
_BEFORE_JOINS = frozenset({Type.ESTABLISH_RENDEZVOUS, Type.RENDEZVOUS1})


class OriginEnd(CircuitEnd):
    """The client's end."""

    __slots__ = (
        "_early",
        "_expected",
        "_next_stream",
        "_opening",
        "_pings",
        "_sizes",
        "_spends_early",
        "built",
        "extended",
    )

    is_origin = True

    def __init__(self, seal: SealCell, overhead: int, rng: Callable[[int], bytes], early: int) -> None:
        super().__init__(seal, overhead, rng)
        self._early = early
        self._next_stream = 1
        self._sizes = SizeChooser()
        self._pings: dict[bytes, float] = {}
        self._opening: Type | None = None
        self._spends_early = False
        self._expected: frozenset[Type] = frozenset()
        self.extended: Callable[[bytes], EndEvent] | None = None
        """Takes the data of the EXTENDED that is awaited."""
        self.built = False
        """Whether the last hop has answered: no hop before it may learn of a stream."""

    # -- Verbs

    def begin(self, host: str, port: int) -> int:
        """Ask the exit for a stream; data may be sent on it at once. Gives the stream's number.

        :param host: a name, which only the exit resolves, or an IP literal
        :raises ValueError: if *host* or *port* cannot be asked for
        """
        return self._open(Phase.REQUESTED, Type.BEGIN, encode_begin(host, port))

    def resolve(self, host: str) -> int:
        """Ask the exit for the addresses of *host*. Gives the stream's number.

        :raises ValueError: if *host* cannot be asked for
        """
        return self._open(Phase.RESOLVING, Type.RESOLVE, encode_resolve(host))

    def ping(self, now: float) -> None:
        """Ask the last hop for a sign of life; :class:`PongReceived` answers."""
        self._check_built()
        token = self._rng(PING_SIZE)
        self._pings[token] = now
        self._control.append(encode_message(Type.PING, 0, token))

    def say(self, kind: Type, data: bytes) -> None:
        """Begin a conversation with the last hop, or go on; :class:`Said` is what it says. There is one, and no stream.

        :param kind: one of ``conversations.OPENINGS``, and then of ``conversations.LATER``
        """
        self._check_built()
        check_size(kind, data)
        if self._opening is None or kind not in LATER.get(self._opening, ()):
            if self._opening is not None or self._next_stream > 1 or kind not in OPENINGS:
                raise LocalProtocolError("a circuit has one conversation and no streams, or streams")
            self._opening = kind
            self._expected = OPENINGS[kind]
            self._spends_early = kind in _BEFORE_JOINS
        self._control.append(encode_message(kind, 0, data))

    def extend(self, data: bytes) -> None:
        """Ask the last hop to extend the circuit."""
        self._control.append(encode_message(Type.EXTEND, 0, data))

    def _open(self, phase: Phase, kind: Type, data: bytes) -> int:
        self._check_built()
        if self._opening is not None:
            raise LocalProtocolError("a circuit has one conversation and no streams, or streams")
        number = self._next_stream
        self._next_stream += 1
        self._streams[number] = Stream(number, phase)
        self._control.append(encode_message(kind, number, data))
        return number

    def _send_end(self, stream: Stream, reason: EndReason) -> None:
        # Whatever the reason is here: it would tell the exit what the client is, or does (SECURITY Z2).
        super()._send_end(stream, EndReason.DONE if reason is EndReason.DONE else EndReason.MISC)

    def _check_built(self) -> None:
        if not self.built:
            raise LocalProtocolError("the circuit is not built")

    # -- Cells

    def receive_payload(self, command: int, payload: bytes, tag: bytes, now: float) -> None:
        """As every end; besides, what a hop says last must be the last message of its cell."""
        if self.extended is not None or self._opening is not None:
            for kind, _, _ in decode_payload(payload)[:-1]:
                if kind in _LAST_WORDS:
                    raise RemoteProtocolError(f"a message after {kind.name}")
        super().receive_payload(command, payload, tag, now)

    def cells_to_send(self, now: float) -> list[Cell]:
        """As every end; before a circuit is joined its EARLY cells go out, for none passes a join."""
        cells: list[Cell] = []
        while self._spends_early and self._early > 1:
            room = bytes(BODY_SIZE - self._overhead - MESSAGE_HEADER)
            body, _ = self._seal(EARLY, encode_message(Type.DROP, 0) + room)
            self._early -= 1
            cells.append((EARLY, body))
        return cells + super().cells_to_send(now)

    def _next_cell(self) -> tuple[int, bool]:
        if self._early:
            return EARLY, self.window.may_send(BODY_SIZE)
        if self._waiting(BULK_THRESHOLD):
            # Near the end of the window it waits for room rather than go on in small cells.
            return (BULK, True) if self.window.may_send(BULK_SIZE) else (CELL, False)
        return CELL, self.window.may_send(BODY_SIZE)

    def _sent_cell(self, command: int) -> None:
        if command == EARLY:
            self._early -= 1

    def _received_cell(self, command: int, messages: list[tuple[Type, int, bytes]], capacity: int) -> None:
        if all([kind is Type.DROP for kind, _, _ in messages]):
            raise RemoteProtocolError("a backward cell that says nothing")
        used = sum([MESSAGE_HEADER + len(data) for _, _, data in messages])
        wanted = self._sizes.received(command, used, capacity)
        if wanted is not None:
            self._control.append(encode_message(Type.WINDOW, 0, encode_wanted_size(wanted)))

    def _receive_other(self, command: int, kind: Type, number: int, data: bytes, now: float) -> None:
        if kind is Type.CONNECTED:
            stream = self._known(number)
            stream.admit(True, kind)
            address, ttl = decode_connected(data)
            stream.phase = Phase.OPEN
            self._tell(stream, StreamConnected(number, address, ttl))
        elif kind is Type.RESOLVED:
            stream = self._known(number)
            stream.admit(True, kind)
            answers = decode_resolved(data)
            stream.phase = Phase.RESOLVED
            self._tell(stream, StreamResolved(number, answers))
        elif kind is Type.PONG:
            sent_at = self._pings.pop(data, None)
            if sent_at is None:
                raise RemoteProtocolError("PONG without a PING")
            self._events.append(PongReceived(now - sent_at))
        elif kind in self._expected:
            check_size(kind, data)
            self._expected = NEXT[kind]
            self._events.append(Said(kind, data))
        elif kind is Type.EXTENDED and self.extended is not None:
            take, self.extended = self.extended, None
            self._events.append(take(data))
        else:
            super()._receive_other(command, kind, number, data, now)

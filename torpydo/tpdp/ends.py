"""The two ends of a circuit that speak messages: :class:`OriginEnd` at the client, :class:`ExitEnd` at the last hop.

An end turns verbs into cells and cells into events; layers are its owner's matter (origin, transit). Streams share
a cell in turn, control goes before data, and DATA goes only while window and credit allow. Whatever is not
expected is a :class:`~torpydo.errors.RemoteProtocolError`: nothing is silently ignored, for that would be a covert
channel (docs/protocol, sections Messages, Streams, Flow control).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from torpydo.errors import LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.constants import (
    ACK_RANDOM,
    BODY_SIZES,
    BUFFER_HIGH,
    END_TIME,
    MESSAGE_HEADER,
    EndReason,
)
from torpydo.tpdp.events import (
    Cell,
    EndEvent,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamWritable,
)
from torpydo.tpdp.messages import (
    WINDOW_ACK,
    WINDOW_SIZE,
    Type,
    decode_credit,
    decode_end,
    decode_payload,
    encode_ack,
    encode_credit,
    encode_end,
    encode_message,
)
from torpydo.tpdp.streams import Half, Phase, Stream
from torpydo.tpdp.windows import ReceiveWindow, SendWindow
from torpydo.wire import Malformed

SealCell = Callable[[int, bytes], tuple[bytes, bytes]]
"""``seal(command, payload)`` gives the body and the MAC that the other end checks."""

_DROP_SIZE = MESSAGE_HEADER + ACK_RANDOM
_NOBODY: deque[Stream] = deque()
"""Stands for a ring without streams; an empty one of its own would be a third of what an idle circuit costs."""
_DATA = bytes((Type.DATA,))


class CircuitEnd:
    """What both ends do alike."""

    __slots__ = (
        "_acks",
        "_batches",
        "_control",
        "_dated",
        "_ended",
        "_events",
        "_overhead",
        "_paid",
        "_ready",
        "_rng",
        "_seal",
        "_streams",
        "rtt",
        "window",
    )

    is_origin = False

    def __init__(self, seal: SealCell, overhead: int, rng: Callable[[int], bytes]) -> None:
        self._seal = seal
        self._overhead = overhead
        self._rng = rng
        self._control: list[bytes] = []
        self._streams: dict[int, Stream] = {}
        # Streams whose END has gone and was not answered: when, in this order; those of this turn have no date yet.
        self._ended: dict[int, float] = {}
        self._dated = True
        self._ready = _NOBODY
        self._events: list[EndEvent] = []
        self._batches: dict[int, list[bytes]] = {}
        self._paid: dict[int, Stream] = {}
        self.window = SendWindow()
        self._acks = ReceiveWindow()
        self.rtt: float | None = None
        """Round trip of the last acknowledgement in seconds."""

    # -- Facts

    @property
    def streams(self) -> int:
        """Streams that are not gone."""
        return len(self._streams)

    def buffered(self, stream: int) -> int:
        """Bytes of a stream that wait to be put into cells."""
        known = self._streams.get(stream)
        return known.buffered if known else 0

    def is_full(self, stream: int) -> bool:
        """Whether the producer of a stream is to pause; :class:`StreamWritable` will come when it may go on."""
        known = self._streams.get(stream)
        return known is not None and known.full

    @property
    def buffered_total(self) -> int:
        """Bytes of all streams that wait to be put into cells."""
        return sum([stream.buffered for stream in self._streams.values()])

    # -- Verbs on a stream. On a stream that is over they do nothing: its owner hears of that in the same turn.

    def send_data(self, stream: int, data: bytes, high: int = BUFFER_HIGH) -> None:
        """Queue bytes of the application, any number of them.

        :param high: bytes above which its producer is to pause; :class:`StreamWritable` tells when it may go on
        :raises LocalProtocolError: after ``close_write`` or ``finish``
        """
        known = self._streams.get(stream)
        if known is None or known.sent is Half.ENDED or not data:
            return
        if known.closing is not None or known.sent is not Half.OPEN:
            raise LocalProtocolError("data after the end of a stream")
        known.put(data, high)
        self._make_ready(known)

    def close_write(self, stream: int) -> None:
        """Send CLOSE_WRITE after what is queued."""
        known = self._streams.get(stream)
        if known is not None and known.sent is Half.OPEN and known.closing is None:
            known.closing = Half.CLOSED
            self._make_ready(known)

    def finish(self, stream: int, reason: EndReason) -> None:
        """Send END: with DONE after what is queued, with any other reason at once, dropping what is queued."""
        known = self._streams.get(stream)
        if known is None or known.sent is Half.ENDED:
            return
        if reason is EndReason.DONE and known.buffered:
            known.closing = reason
        else:
            self._send_end(known, reason)

    def consumed(self, stream: int, count: int) -> None:
        """The application took *count* bytes: pays for new credit, which goes out with the next cells."""
        known = self._streams.get(stream)
        if known is not None:
            known.consumed(count)
            self._paid[stream] = known

    def _grant(self, now: float) -> None:
        paid, self._paid = self._paid, {}
        for number, stream in paid.items():
            if stream.sent is not Half.ENDED and stream.received is Half.OPEN:
                credit = stream.grant(now)
                if credit:
                    self._control.append(encode_message(Type.WINDOW, number, encode_credit(credit)))

    def _make_ready(self, stream: Stream) -> None:
        if not stream.queued:
            stream.queued = True
            if self._ready is _NOBODY:
                self._ready = deque()
            self._ready.append(stream)

    def _send_end(self, stream: Stream, reason: EndReason) -> None:
        stream.drop()
        stream.closing = None
        stream.sent = Half.ENDED
        self._control.append(encode_message(Type.END, stream.number, encode_end(reason)))
        self._ended[stream.number] = inf
        self._dated = False
        self._forget_if_gone(stream)

    def _forget_if_gone(self, stream: Stream) -> None:
        if stream.sent is Half.ENDED and stream.received is Half.ENDED:
            del self._streams[stream.number], self._ended[stream.number]

    # -- Sending

    def cells_to_send(self, now: float) -> list[Cell]:
        """All cells that may go out now. Look at :meth:`take_events` afterwards: streams may have become writable."""
        cells: list[Cell] = []
        if self._paid:
            self._grant(now)
        while self._control or self._ready:
            command, may_carry_data = self._next_cell()
            body_size = BODY_SIZES[command]
            parts: list[bytes] = []
            room = self._take_control(parts, body_size - self._overhead)
            has_data = False
            if self._ready and not may_carry_data:
                self.window.controller.limited()
            elif self._ready and not self._control:
                reserve = _DROP_SIZE if self.window.closes(body_size) else 0
                left = self._fill(parts, room - reserve)
                has_data = left < room - reserve
                room = left + reserve
                if has_data and reserve:
                    parts.append(encode_message(Type.DROP, 0, self._rng(ACK_RANDOM)))
                    room -= reserve
                # A close that became due goes along with the last bytes.
                room = self._take_control(parts, room)
            if not parts:
                break
            if room:
                parts.append(bytes(room))
            body, tag = self._seal(command, b"".join(parts))
            if has_data:
                self.window.sent(body_size, tag, now)
            self._sent_cell(command)
            cells.append((command, body))
        if not self._dated:
            self._date(now)
        return cells

    def _date(self, now: float) -> None:
        """The ENDs of this turn are in cells."""
        for number in reversed(self._ended):
            if self._ended[number] < inf:
                break
            self._ended[number] = now
        self._dated = True

    def _next_cell(self) -> tuple[int, bool]:
        """The command of the next cell, and whether it may carry DATA."""
        raise LocalProtocolError("an end is either the origin's or the exit's")

    def _sent_cell(self, command: int) -> None:
        """A cell went out."""

    def _take_control(self, parts: list[bytes], room: int) -> int:
        """Append control messages while they fit; gives the room that is left."""
        count = 0
        for message in self._control:
            if len(message) > room:
                break
            count += 1
            room -= len(message)
        parts += self._control[:count]
        del self._control[:count]
        return room

    def _waiting(self, enough: int) -> bool:
        """Whether at least *enough* bytes of data could go out now."""
        total = 0
        for stream in self._ready:
            total += min(stream.buffered, stream.credit)
            if total >= enough:
                return True
        return False

    def _fill(self, parts: list[bytes], room: int) -> int:
        """Append messages of streams, one of each in turn; gives the room that is left."""
        for _ in range(len(self._ready)):
            if room <= MESSAGE_HEADER:
                break
            stream = self._ready.popleft()
            size = min(room - MESSAGE_HEADER, stream.credit, stream.buffered)
            if size > 0:
                data = stream.take(size)
                parts.append(_DATA + stream.number.to_bytes(4, "big") + len(data).to_bytes(2, "big"))
                parts.append(data)
                room -= MESSAGE_HEADER + len(data)
                if stream.drained():
                    self._events.append(StreamWritable(stream.number))
            if not stream.buffered and stream.closing is not None:
                self._send_closing(stream)
            if stream.buffered and stream.credit > 0:
                self._ready.append(stream)
            else:
                stream.queued = False
        return room

    def _send_closing(self, stream: Stream) -> None:
        closing, stream.closing = stream.closing, None
        if isinstance(closing, EndReason):
            self._send_end(stream, closing)
        else:
            stream.sent = Half.CLOSED
            self._control.append(encode_message(Type.CLOSE_WRITE, stream.number))

    # -- Receiving

    def take_events(self) -> list[EndEvent]:
        """What happened since the last call, in order."""
        events = self._events
        if events:
            self._events = []
            self._batches = {}
        return events

    def receive_payload(self, command: int, payload: bytes, tag: bytes, now: float) -> None:
        """Take the messages of one cell; *tag* is the MAC that was checked for it.

        :raises RemoteProtocolError: at anything that is not expected
        """
        messages = decode_payload(payload)
        has_data = False
        for kind, number, data in messages:
            if kind is Type.DATA:
                has_data = True
                self._receive_data(number, data)
            else:
                self._receive_message(command, kind, number, data, now)
        if has_data and self._acks.received(BODY_SIZES[command]):
            self._control.append(encode_message(Type.WINDOW, 0, encode_ack(tag)))
        self._received_cell(command, messages, len(payload))
        # The first one is the oldest.
        if self._ended and now - next(iter(self._ended.values())) > max(END_TIME, self.rtt or 0.0):
            raise RemoteProtocolError("the end of a stream was not answered in time")

    def _received_cell(self, command: int, messages: list[tuple[Type, int, bytes]], capacity: int) -> None:
        """What a side checks of a cell as a whole."""

    def _receive_data(self, number: int, data: bytes) -> None:
        stream = self._known(number)
        stream.admit(self.is_origin, Type.DATA)
        if not data:
            raise Malformed("DATA without a byte")
        stream.arrived(len(data))
        if stream.sent is Half.ENDED or isinstance(stream.closing, EndReason):
            # Our side has no use for it any more; its credit bounds what still comes.
            return
        batch = self._batches.get(number)
        if batch is None:
            batch = self._batches[number] = []
            self._events.append(StreamData(number, batch))
        batch.append(data)

    def _known(self, number: int) -> Stream:
        stream = self._streams.get(number)
        if stream is None:
            raise RemoteProtocolError("a message for a stream that does not exist")
        return stream

    def _tell(self, stream: Stream, event: EndEvent) -> None:
        """Append an event of a stream, unless our side has ended it."""
        self._batches.pop(stream.number, None)
        if stream.sent is not Half.ENDED and not isinstance(stream.closing, EndReason):
            self._events.append(event)

    def _receive_message(self, command: int, kind: Type, number: int, data: bytes, now: float) -> None:
        if kind is Type.WINDOW and number == 0:
            self._receive_window(data, now)
        elif kind is Type.DROP:
            return
        elif kind is Type.WINDOW:
            stream = self._known(number)
            stream.admit(self.is_origin, kind)
            stream.credit += decode_credit(data)
            if stream.buffered:
                self._make_ready(stream)
        elif kind is Type.CLOSE_WRITE:
            stream = self._known(number)
            stream.admit(self.is_origin, kind)
            if data:
                raise Malformed("CLOSE_WRITE with data")
            stream.received = Half.CLOSED
            self._tell(stream, StreamEOF(number))
        elif kind is Type.END:
            self._receive_end(number, data)
        else:
            self._receive_other(command, kind, number, data, now)

    def _receive_end(self, number: int, data: bytes) -> None:
        stream = self._known(number)
        stream.admit(self.is_origin, Type.END)
        reason = decode_end(data)
        self._batches.pop(number, None)
        if stream.phase is not Phase.RESOLVED:
            # Told even if our side has ended it: the owner learns that nothing is left of the stream.
            self._events.append(StreamEnded(number, reason))
        stream.received = Half.ENDED
        if stream.sent is Half.ENDED:
            self._forget_if_gone(stream)
        else:
            self._send_end(stream, EndReason.DONE)

    def _receive_window(self, data: bytes, now: float) -> None:
        if len(data) == 17 and data[0] == WINDOW_ACK:
            self.rtt = self.window.acknowledged(data[1:], now)
        elif len(data) == 2 and data[0] == WINDOW_SIZE:
            self._receive_wanted_size(data[1])
        else:
            raise Malformed("WINDOW of the circuit that is none")

    def _receive_wanted_size(self, command: int) -> None:
        raise RemoteProtocolError("only the client chooses the size of cells")

    def _receive_other(self, command: int, kind: Type, number: int, data: bytes, now: float) -> None:
        raise RemoteProtocolError(f"{kind.name} that is not expected here")

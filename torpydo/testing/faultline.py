"""One direction of a connection with its faults, without input or output: bytes and a time in, what is to be done out.

A byte meets the faults in this order: it is edited (flipped, left out, repeated), then its record is (held back,
repeated), then it may be behind the end that a fault makes, then it waits for its time, then it is cut. Called by
faultproxy; tests of faults drive it directly.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final

import attrs

from torpydo.testing.faults import (
    BlackHole,
    Delay,
    Drop,
    DropRecord,
    Duplicate,
    Fault,
    FaultError,
    Flip,
    FlipInRecord,
    Freeze,
    HalfClose,
    Insert,
    Rate,
    RepeatRecord,
    Reset,
    Split,
    SwapRecords,
    Truncate,
)
from torpydo.testing.records import RecordReader

TICK: Final = 0.01
"""Seconds of a rate that are one piece."""
RECORD_FAULTS: Final = (FlipInRecord, DropRecord, RepeatRecord, SwapRecords)
ENDS: Final = (Truncate, HalfClose, Reset, BlackHole, Freeze)


class Signal(Enum):
    """What is to be done beside writing bytes."""

    EOF = auto()
    """Tell the receiver that nothing more comes."""
    CLOSE = auto()
    """Close both connections."""
    RESET = auto()
    """Reset both connections."""


SIGNALS: Final = {Truncate: Signal.CLOSE, HalfClose: Signal.EOF, Reset: Signal.RESET}


class State(Enum):
    """What becomes of bytes that come."""

    PASSING = auto()
    SWALLOWING = auto()
    """A black hole."""
    FROZEN = auto()
    OVER = auto()
    """Nothing can be delivered any more."""


@attrs.define(eq=False)
class _Copy:
    """What comes again later."""

    fault: Duplicate | RepeatRecord
    left: int
    """Bytes, or records, until it does."""
    data: bytearray = attrs.Factory(bytearray)


@attrs.define(eq=False)
class Line:
    """One direction.

    :ivar received: bytes that have come
    :ivar delivered: bytes that have gone out, whatever they were
    :ivar records: finds the ends of records from now on; for the faults that need them
    :ivar done: how often each kind of fault was done
    """

    faults: tuple[Fault, ...] = attrs.field(default=(), init=False)
    received: int = attrs.field(default=0, init=False)
    delivered: int = attrs.field(default=0, init=False)
    records: RecordReader | None = attrs.field(default=None, init=False)
    done: Counter[type[Fault]] = attrs.field(factory=Counter, init=False)
    _state: State = attrs.field(default=State.PASSING, init=False)
    _queue: deque[tuple[float, bytes | Signal]] = attrs.field(factory=deque, init=False, repr=False)
    _bytes: int = attrs.field(default=0, init=False)
    # Pace
    _delay: float = attrs.field(default=0.0, init=False, repr=False)
    _rate: float = attrs.field(default=0.0, init=False, repr=False)
    _split: Split | None = attrs.field(default=None, init=False, repr=False)
    _size: int = attrs.field(default=0, init=False, repr=False)
    _free_at: float = attrs.field(default=0.0, init=False, repr=False)
    _not_before: float = attrs.field(default=0.0, init=False, repr=False)
    # What is held back
    _swapped: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _copies: list[_Copy] = attrs.field(factory=list, init=False, repr=False)
    _frozen: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _record_start: int = attrs.field(default=0, init=False, repr=False)
    _end: Signal | None = attrs.field(default=None, init=False, repr=False)
    """The sender's own, as long as it is not passed on."""

    # -- What is set

    def set(self, faults: Sequence[Fault], now: float) -> None:
        """Do these faults from now on. What waits goes out by them; what another fault held back goes at once.

        :raises FaultError: if they need records, and nobody has said where those end
        """
        if self.records is None and any(isinstance(fault, RECORD_FAULTS) for fault in faults):
            raise FaultError("faults of records need the link's keys: call know() on the connection first")
        self.faults = tuple(faults)
        self._delay = self._rate = self._not_before = 0.0
        self._split, self._size = None, 0
        for fault in faults:
            if isinstance(fault, Delay):
                self._delay = fault.seconds
            elif isinstance(fault, Rate):
                self._rate = fault.bytes_per_second
            elif isinstance(fault, Split):
                self._split = fault
        self._release(now)
        if self._state is State.OVER:
            return
        self._state = State.PASSING
        self._check_ends(now)
        frozen, self._frozen = bytes(self._frozen), bytearray()
        if frozen:
            self.received -= len(frozen)
            self.receive(frozen, now)
        if self._end is not None and self._state is State.PASSING:
            end, self._end = self._end, None
            self._finish(end, now)

    def _release(self, now: float) -> None:
        """Nothing more is held back for a fault that is over."""
        swapped, self._swapped = bytes(self._swapped), bytearray()
        self._copies.clear()
        if swapped:
            self._put(swapped, now)

    # -- What comes

    @property
    def held(self) -> int:
        """Bytes that came and have not gone."""
        return self._bytes + len(self._swapped) + len(self._frozen)

    @property
    def keeps(self) -> bool:
        """Whether a fault keeps the receiver's connection, whatever becomes of the sender's."""
        return self._state in (State.SWALLOWING, State.FROZEN) or bool(self._queue)

    @property
    def frozen(self) -> bool:
        """Whether nothing more is to be read."""
        return self._state is State.FROZEN

    @property
    def stops(self) -> bool:
        """Whether the connection ends before anything else goes out: nobody need be there to take it."""
        return bool(self._queue) and self._queue[0][1] in (Signal.CLOSE, Signal.RESET)

    def receive(self, data: bytes, now: float) -> None:
        """Take what was read."""
        if self.records is None:
            for part in self._parts(data):
                self._receive_part(part, None, now)
            return
        for piece in self.records.cut(data):
            for part in self._parts(piece.data):
                self._receive_part(part, piece.record, now)
            if piece.ends:
                self._record_ended(piece.record, now)

    def receive_end(self, now: float, *, reset: bool = False) -> None:
        """The sender sends nothing more, or its connection was reset."""
        end = Signal.RESET if reset else Signal.EOF
        if self._state is State.PASSING:
            self._release(now)
            self._finish(end, now)
        elif self._state is not State.OVER and self._end is not Signal.RESET:
            self._end = end

    def abandon(self) -> None:
        """There is nobody left to deliver to."""
        self._finish(None, 0.0)
        self._queue.clear()
        self._swapped.clear()
        self._copies.clear()
        self._bytes = 0

    def _parts(self, piece: bytes) -> Iterator[bytes]:
        """Cut where something begins or ends."""
        edges: set[int] = set()
        for fault in self.faults:
            if isinstance(fault, Flip):
                edges |= {fault.offset, fault.offset + 1}
            elif isinstance(fault, Drop | Duplicate):
                edges |= {fault.offset, fault.offset + fault.size}
            elif isinstance(fault, Insert):
                edges.add(fault.offset)
            elif isinstance(fault, ENDS):
                edges.add(fault.after)
            elif isinstance(fault, FlipInRecord):
                edges |= {self._record_start + fault.offset, self._record_start + fault.offset + 1}
        start, end = self.received, self.received + len(piece)
        cuts = [start, *sorted(edge for edge in edges if start < edge < end), end]
        for left, right in zip(cuts, cuts[1:], strict=False):
            yield piece[left - start : right - start]

    def _receive_part(self, part: bytes, record: int | None, now: float) -> None:
        start = self.received
        self.received += len(part)
        if self._state is State.FROZEN:
            self._frozen += part
        elif self._state is State.PASSING:
            edited = self._edit(part, start, record)
            if any(isinstance(fault, SwapRecords) and fault.number == record for fault in self.faults):
                self._swapped += edited
            else:
                self._put(edited, now)
            self._check_ends(now)

    def _edit(self, part: bytes, start: int, record: int | None) -> bytes:
        """What becomes of bytes that lie between two edges."""
        before = b""
        for fault in self.faults:
            match fault:
                case Flip(offset=offset, bit=bit) if offset == start:
                    part = bytes((part[0] ^ 1 << bit,))
                    self.done[Flip] += 1
                case FlipInRecord(number=number, offset=offset, bit=bit) if (
                    number == record and self._record_start + offset == start
                ):
                    part = bytes((part[0] ^ 1 << bit,))
                    self.done[FlipInRecord] += 1
                case Insert(offset=offset, data=data) if offset == start:
                    before += data
                    self.done[Insert] += 1
                case Drop(offset=offset, size=size) if offset <= start < offset + size:
                    part = self._drop(fault, start == offset)
                case DropRecord(number=number) if number == record:
                    part = self._drop(fault, start == self._record_start)
                case Duplicate(offset=offset, size=size) if offset <= start < offset + size:
                    part = self._duplicate(fault, part, start)
                case RepeatRecord(number=number) if number == record:
                    self._copy_of(fault, fault.after + 1).data += part
                case _:
                    pass
        return before + part

    def _drop(self, fault: Drop | DropRecord, first: bool) -> bytes:
        if first:
            self.done[type(fault)] += 1
        return b""

    def _duplicate(self, fault: Duplicate, part: bytes, start: int) -> bytes:
        copy = self._copy_of(fault, fault.size)
        copy.data += part
        if start + len(part) < fault.offset + fault.size:
            return part
        self._copies.remove(copy)
        self.done[Duplicate] += 1
        return part + bytes(copy.data)

    def _copy_of(self, fault: Duplicate | RepeatRecord, left: int) -> _Copy:
        for copy in self._copies:
            if copy.fault is fault:
                return copy
        copy = _Copy(fault, left)
        self._copies.append(copy)
        return copy

    def _record_ended(self, record: int, now: float) -> None:
        self._record_start = self.received
        if self._swapped and not any(isinstance(one, SwapRecords) and one.number == record for one in self.faults):
            self.done[SwapRecords] += 1
            swapped, self._swapped = bytes(self._swapped), bytearray()
            self._put(swapped, now)
        for copy in list(self._copies):
            if isinstance(copy.fault, RepeatRecord):
                copy.left -= 1
                if not copy.left:
                    self._copies.remove(copy)
                    self.done[RepeatRecord] += 1
                    self._put(bytes(copy.data), now)

    # -- Ends that a fault makes

    def _check_ends(self, now: float) -> None:
        for fault in self.faults:
            if self._state is State.PASSING and isinstance(fault, ENDS) and fault.after <= self.received:
                self.done[type(fault)] += 1
                if isinstance(fault, BlackHole):
                    self._state = State.SWALLOWING
                elif isinstance(fault, Freeze):
                    self._state = State.FROZEN
                else:
                    self._finish(SIGNALS[type(fault)], now)

    def _finish(self, signal: Signal | None, now: float) -> None:
        self._state = State.OVER
        self._end = None
        self._frozen.clear()
        if signal is not None:
            self._queue.append((now, signal))

    def _put(self, data: bytes, now: float) -> None:
        if data and self._state is not State.OVER:
            self._bytes += len(data)
            self._queue.append((now, data))

    # -- What goes out

    def next_due(self) -> float | None:
        """When :meth:`take` has something; ``None`` if nothing waits."""
        if not self._queue:
            return None
        came, item = self._queue[0]
        leaves = max(came, self._free_at)
        if isinstance(item, bytes):
            leaves += self._transmission(self._next_size(item))
        return max(leaves + self._delay, self._not_before)

    def take(self, now: float) -> bytes | Signal | None:
        """What is to be done now, one thing at a time; ``None``: nothing yet."""
        due = self.next_due()
        if due is None or due > now:
            return None
        came, item = self._queue.popleft()
        if self._delay:
            self.done[Delay] += 1
        if isinstance(item, Signal):
            return item
        size, self._size = self._next_size(item), 0
        if size < len(item):
            self._queue.appendleft((came, item[size:]))
        if self._split is not None:
            if size < len(item):
                self.done[Split] += 1
            self._not_before = now + self._split.pause
        if self._rate:
            self.done[Rate] += 1
            self._free_at = max(came, self._free_at) + self._transmission(size)
        self._bytes -= size
        self.delivered += size
        return item[:size]

    def _transmission(self, size: int) -> float:
        return size / self._rate if self._rate else 0.0

    def _next_size(self, item: bytes) -> int:
        """Of the next piece of what waits first; asked for once."""
        if not self._size:
            size = len(item)
            if self._rate:
                size = min(size, max(1, int(self._rate * TICK)))
            if self._split is not None:
                sizes = self._split.sizes
                size = max(1, min(size, sizes if isinstance(sizes, int) else sizes(size)))
            self._size = size
        return self._size

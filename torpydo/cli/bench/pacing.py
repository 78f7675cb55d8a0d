"""When the bytes of a delay line come out at its far end. No input or output: ``delayline`` moves them.

A :class:`Bottleneck` is what one node's line carries in one direction; a :class:`Lane` is one direction of one
connection through it. Memory is bounded by back-pressure: a lane asks for nothing more while the bottleneck or whoever
reads at the far end is behind.
"""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["Bottleneck", "Lane"]

QUEUE_TIME = 0.02
"""Seconds of traffic that wait before a bottleneck: the queue of a good router, not of a bad one."""
OVERDUE = 1 << 20
"""Bytes of one connection that have arrived and that nobody has read yet, as a receive window would hold them."""
MOST = 64 << 20
"""Bytes of one connection under way, whatever the rate."""


@attrs.define(eq=False)
class Bottleneck:
    """The capacity that all connections of a line share in one direction.

    :param rate: bytes a second; ``None`` is no limit
    """

    rate: float | None = None
    free_at: float = 0.0
    """When the last byte that entered has passed."""

    def pass_by(self, size: int, now: float) -> float:
        """Let *size* bytes in; gives the moment at which the last of them has passed."""
        if self.rate is None:
            return now
        self.free_at = max(self.free_at, now) + size / self.rate
        return self.free_at

    def open_at(self, now: float) -> float:
        """The moment from which more may enter; not later than *now* if that is at once."""
        return now if self.rate is None else self.free_at - QUEUE_TIME


@attrs.define(eq=False)
class Lane:
    """One direction of one connection.

    :param delay: seconds
    """

    bottleneck: Bottleneck
    delay: float
    held: int = 0
    """Bytes inside."""
    _chunks: deque[tuple[float, bytes]] = attrs.field(factory=deque)
    _out: int = 0
    """How much of the first chunk has come out."""
    _ended_at: float | None = None

    @property
    def has_end(self) -> bool:
        """Whether nothing more enters."""
        return self._ended_at is not None

    def room_at(self, now: float) -> float | None:
        """The moment from which more may be put in; ``None`` while that depends on what comes out."""
        if self.has_end or self.held >= MOST or self.overdue(now) >= OVERDUE:
            return None
        return self.bottleneck.open_at(now)

    def overdue(self, now: float) -> int:
        """Bytes that are at the far end and have not been taken; counts no further than it matters."""
        count = -self._out
        for due, chunk in self._chunks:
            if due > now or count >= OVERDUE:
                break
            count += len(chunk)
        return max(count, 0)

    def put(self, data: bytes, now: float) -> None:
        """Bytes enter."""
        self.held += len(data)
        self._chunks.append((self.bottleneck.pass_by(len(data), now) + self.delay, data))

    def end(self, now: float) -> None:
        """Nothing more enters; the end takes as long as a byte."""
        self._ended_at = max(now, self.bottleneck.free_at) + self.delay

    def take(self, now: float) -> memoryview | None:
        """What is due first at the far end; :meth:`taken` says how much of it went."""
        if self._chunks and self._chunks[0][0] <= now:
            return memoryview(self._chunks[0][1])[self._out :]
        return None

    def taken(self, size: int) -> None:
        """*size* bytes of what :meth:`take` gave are out."""
        self.held -= size
        self._out += size
        if self._out == len(self._chunks[0][1]):
            self._chunks.popleft()
            self._out = 0

    def ended(self, now: float) -> bool:
        """Whether the end has come out, after everything else."""
        return self._ended_at is not None and self._ended_at <= now and not self._chunks

    def next_due(self) -> float | None:
        """When something comes out next."""
        return self._chunks[0][0] if self._chunks else self._ended_at

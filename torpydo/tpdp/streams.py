"""One end of a stream: its two halves, its credit and what waits in it (docs/protocol, section Streams).

A stream knows nothing of cells; :mod:`torpydo.tpdp.ends` fills them from it. Moves that are not in
:data:`RECEIVED` are violations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import MutableSequence
from enum import Enum, auto

from torpydo.errors import RemoteProtocolError
from torpydo.tpdp.constants import (
    BUFFER_HIGH,
    BUFFER_LOW,
    CREDIT_SECONDS,
    STREAM_CREDIT,
    STREAM_CREDIT_MAX,
    EndReason,
)
from torpydo.tpdp.messages import Type


class Phase(Enum):
    """What has been agreed about a stream."""

    REQUESTED = auto()
    """BEGIN went, CONNECTED has not come."""
    RESOLVING = auto()
    """RESOLVE went, RESOLVED has not come."""
    RESOLVED = auto()
    OPEN = auto()


class Half(Enum):
    """One direction of a stream."""

    OPEN = auto()
    CLOSED = auto()
    """CLOSE_WRITE has gone."""
    ENDED = auto()
    """END has gone."""


_OPEN = frozenset({Half.OPEN})
_NOT_ENDED = frozenset({Half.OPEN, Half.CLOSED})

RECEIVED: dict[tuple[bool, Phase, Type], frozenset[Half]] = {
    # (at the origin, phase, message): the states of the receiving half in which it may come
    (True, Phase.REQUESTED, Type.CONNECTED): _OPEN,
    (True, Phase.REQUESTED, Type.WINDOW): _NOT_ENDED,
    (True, Phase.REQUESTED, Type.END): _NOT_ENDED,
    (True, Phase.RESOLVING, Type.RESOLVED): _OPEN,
    (True, Phase.RESOLVING, Type.END): _NOT_ENDED,
    (True, Phase.RESOLVED, Type.END): _NOT_ENDED,
    (True, Phase.OPEN, Type.DATA): _OPEN,
    (True, Phase.OPEN, Type.CLOSE_WRITE): _OPEN,
    (True, Phase.OPEN, Type.WINDOW): _NOT_ENDED,
    (True, Phase.OPEN, Type.END): _NOT_ENDED,
    (False, Phase.REQUESTED, Type.DATA): _OPEN,
    (False, Phase.REQUESTED, Type.CLOSE_WRITE): _OPEN,
    (False, Phase.REQUESTED, Type.END): _NOT_ENDED,
    (False, Phase.RESOLVING, Type.END): _NOT_ENDED,
    (False, Phase.RESOLVED, Type.END): _NOT_ENDED,
    (False, Phase.OPEN, Type.DATA): _OPEN,
    (False, Phase.OPEN, Type.CLOSE_WRITE): _OPEN,
    (False, Phase.OPEN, Type.WINDOW): _NOT_ENDED,
    (False, Phase.OPEN, Type.END): _NOT_ENDED,
}


SMALL = 4096
"""Bytes up to which pieces that wait become one: each has a price of its own, which no account of bytes shows."""


def put_piece(pieces: MutableSequence[bytes], data: bytes) -> None:
    """Append bytes to what waits."""
    if pieces and len(pieces[-1]) + len(data) <= SMALL:
        pieces[-1] += data
    else:
        pieces.append(data)


class Stream:
    """One end of one stream."""

    __slots__ = (
        "_chunks",
        "_grant",
        "_granted_at",
        "_low",
        "_target",
        "_unconsumed",
        "buffered",
        "closing",
        "credit",
        "full",
        "number",
        "phase",
        "queued",
        "receive_credit",
        "received",
        "sent",
    )

    def __init__(self, number: int, phase: Phase) -> None:
        self.number = number
        self.phase = phase
        self.sent = Half.OPEN
        self.received = Half.OPEN
        self.closing: EndReason | Half | None = None
        """What goes out when nothing waits any more: CLOSE_WRITE (``Half.CLOSED``) or END with a reason."""
        self.credit = STREAM_CREDIT
        """Bytes that the peer still takes."""
        self.receive_credit = STREAM_CREDIT
        """Bytes that the peer may still send."""
        self.buffered = 0
        """Bytes that wait to be put into cells."""
        self.queued = False
        """Whether it is in its end's ring of streams that have something to send."""
        self._chunks: deque[bytes] = deque()
        self.full = False
        """Whether its producer is to pause; it will be told when it may go on."""
        self._low = BUFFER_LOW
        self._unconsumed = 0
        self._grant = 0
        self._granted_at: float | None = None
        self._target = STREAM_CREDIT

    # -- Sending

    def put(self, data: bytes, high: int = BUFFER_HIGH) -> None:
        """Append bytes to send.

        :param high: bytes above which its producer is to pause; below half of that it may go on
        """
        # Cut once here: taking cells off the front of one large piece would copy its rest for each of them.
        for start in range(0, len(data), BUFFER_HIGH):
            put_piece(self._chunks, data[start : start + BUFFER_HIGH])
        self.buffered += len(data)
        if self.buffered > high:
            self.full = True
            self._low = high // 2

    def take(self, limit: int) -> bytes:
        """Take up to *limit* bytes off the front; the caller has seen that the credit allows them."""
        chunk = self._chunks[0]
        if len(chunk) > limit:
            taken = chunk[:limit]
            self._chunks[0] = chunk[limit:]
        elif len(chunk) == limit or len(self._chunks) == 1:
            taken = chunk
            self._chunks.popleft()
        else:
            parts: list[bytes] = []
            room = limit
            while self._chunks and room:
                chunk = self._chunks[0]
                if len(chunk) > room:
                    parts.append(chunk[:room])
                    self._chunks[0] = chunk[room:]
                    room = 0
                else:
                    parts.append(chunk)
                    self._chunks.popleft()
                    room -= len(chunk)
            taken = b"".join(parts)
        self.buffered -= len(taken)
        self.credit -= len(taken)
        return taken

    def drop(self) -> None:
        """Forget what waits."""
        self._chunks.clear()
        self.buffered = 0

    def drained(self) -> bool:
        """Whether it has fallen below the low mark; true once after each time it was above the high one."""
        if self.full and self.buffered < self._low:
            self.full = False
            return True
        return False

    # -- Receiving

    def admit(self, origin: bool, kind: Type) -> None:
        """Check that *kind* may come now.

        :raises RemoteProtocolError: if it may not
        """
        allowed = RECEIVED.get((origin, self.phase, kind))
        if allowed is None or self.received not in allowed:
            raise RemoteProtocolError(f"{kind.name} on a stream that is {self.phase.name}, {self.received.name}")

    def arrived(self, count: int) -> None:
        """DATA came.

        :raises RemoteProtocolError: if it is more than the credit
        """
        if count > self.receive_credit:
            raise RemoteProtocolError("DATA beyond the stream's credit")
        self.receive_credit -= count
        self._unconsumed += count

    def consumed(self, count: int) -> None:
        """The consumer took *count* bytes: nothing is granted but for those."""
        self._unconsumed -= count
        self._grant += count

    def grant(self, now: float) -> int:
        """The credit to grant now, 0 for none.

        While the consumer keeps up the grants grow, so that the credit comes to cover the distance, whatever it is:
        up to what this consumer takes in ``CREDIT_SECONDS``.
        """
        amount = self._grant
        if amount < self._target // 2:
            return 0
        self._grant = 0
        since, self._granted_at = self._granted_at, now
        if self._unconsumed <= amount and self._target < STREAM_CREDIT_MAX:
            seconds = 0.0 if since is None else now - since
            covers = int(amount * CREDIT_SECONDS / seconds) if seconds > 0 else STREAM_CREDIT_MAX
            grown = max(self._target, min(covers, 2 * self._target, STREAM_CREDIT_MAX))
            amount += grown - self._target
            self._target = grown
        self.receive_credit += amount
        return amount

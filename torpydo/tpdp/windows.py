"""Flow control of a circuit: what may be in flight, and the proof that it has arrived.

Source: docs/protocol, section Flow control. How large the window is decides :mod:`torpydo.tpdp.controller`. Called by
ends.
"""

from __future__ import annotations

from torpydo.crypto import same
from torpydo.errors import RemoteProtocolError
from torpydo.tpdp.constants import ACK_INTERVAL, BODY_SIZES, BULK, CELL, WINDOW_MAX, WINDOW_START
from torpydo.tpdp.controller import ALLOWED_DELAY, Controller

FULL_SLACK = 64
"""Bytes of fill with which a cell still counts as full: what is left may be too little for another message."""


class SendWindow:
    """What this end has sent and not yet seen acknowledged. All sizes are bodies of cells with DATA, in bytes."""

    __slots__ = ("_expected", "_since", "controller", "in_flight")

    def __init__(self, size: int = WINDOW_START, delay: float = ALLOWED_DELAY) -> None:
        self.controller = Controller(size, delay)
        self.in_flight = 0
        self._since = 0
        # At most 512, so taking the first costs nothing; an empty deque would cost every idle circuit 760 bytes.
        self._expected: list[tuple[bytes, int, float]] = []

    @property
    def size(self) -> int:
        """Bytes that may be in flight."""
        return self.controller.size

    def may_send(self, body: int) -> bool:
        """Whether a cell with DATA fits."""
        return self.in_flight + body <= self.controller.size

    def closes(self, body: int) -> bool:
        """Whether a cell with DATA, sent now, closes an acknowledgement interval."""
        return self._since + body >= ACK_INTERVAL

    def sent(self, body: int, tag: bytes, now: float) -> None:
        """A cell with DATA was sent; *tag* is the MAC that its receiver checks."""
        self.in_flight += body
        self._since += body
        if self._since >= ACK_INTERVAL:
            self._expected.append((tag, self._since, now))
            self._since = 0

    def acknowledged(self, tag: bytes, now: float) -> float:
        """An acknowledgement came; gives the round trip in seconds.

        :raises RemoteProtocolError: if it is not the one that is due: whoever sent it has not seen the cell
        """
        if not self._expected:
            raise RemoteProtocolError("an acknowledgement of nothing")
        expected, amount, sent_at = self._expected.pop(0)
        if not same(expected, tag):
            raise RemoteProtocolError("an acknowledgement of a cell that was not received")
        self.in_flight -= amount
        self.controller.acknowledged(amount, sent_at, now)
        return now - sent_at


class ReceiveWindow:
    """What this end has received since it acknowledged last."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = 0

    def received(self, body: int) -> bool:
        """A cell with DATA came; tells whether it closes the interval and must be acknowledged."""
        self._since += body
        if self._since < ACK_INTERVAL:
            return False
        self._since = 0
        return True


class SizeChooser:
    """The builder's choice of the size of backward cells, and the check that the exit keeps to it.

    An exit that chose by itself could mark the circuit for a guard that works with it.
    """

    __slots__ = ("_current", "_full", "_late", "_seen", "_used", "_wanted")

    def __init__(self) -> None:
        self._current = CELL
        self._wanted: int | None = None
        self._late = 0
        self._start()

    def _start(self) -> None:
        self._seen = 0
        self._used = 0
        self._full = True

    def received(self, command: int, used: int, capacity: int) -> int | None:
        """A backward cell came with *used* of *capacity* bytes of messages; gives the size to ask for now, if any.

        :raises RemoteProtocolError: at a change that was not asked for, or that is more than a window late
        """
        body = BODY_SIZES[command]
        if command == self._wanted:
            self._current = command
            self._wanted = None
            self._start()
        elif command != self._current:
            raise RemoteProtocolError("the exit changed the size of cells by itself")
        elif self._wanted is not None:
            self._late += body
            if self._late > WINDOW_MAX:
                raise RemoteProtocolError("the exit does not change the size of cells")
            return None
        self._seen += body
        self._used += used
        self._full = self._full and used >= capacity - FULL_SLACK
        if self._seen < ACK_INTERVAL:
            return None
        wanted = None
        if command == CELL and self._full:
            wanted = BULK
        elif command == BULK and 4 * self._used < self._seen:
            wanted = CELL
        self._start()
        self._wanted = wanted
        self._late = 0
        return wanted

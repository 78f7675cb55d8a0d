"""One connection through a proxy, from the first byte to how it ended: what all have in common, and downloads.

The other kinds are in sending.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.soak.dialing import BadAnswer, Door, Refused
from tests.soak.outcomes import Ending, Outcome
from tests.soak.pacing import Pacer
from tests.soak.truth import Check
from torpydo.net import was_reset

__all__ = ["LONGEST_PAUSE", "Download", "Refusal", "Transfer"]

# Seconds that one pause lasts at the most, so that a paced transfer still moves.
LONGEST_PAUSE = 1.0


@implementer(IHalfCloseableProtocol)
class Transfer(Protocol):
    """What all transfers have in common: the dial, the pace, the end.

    :param door: the way into the tunnel
    :param pacer: how fast all together may be
    :ivar port: of the proxy to connect to
    :ivar done: fires with the :class:`Outcome` when the connection is gone
    :ivar last_move: when the last byte came or went
    """

    kind = ""

    def __init__(self, door: Door, pacer: Pacer, clock: Any) -> None:
        self.done: Deferred[Outcome] = Deferred()
        self.last_move = clock.seconds()
        self.port = door.port
        self._dial = door.dial
        self._pacer = pacer
        self._clock = clock
        self._began = clock.seconds()
        self._opened_at: float | None = None
        self._outcome: tuple[Ending, str] | None = None
        self._lost = False
        self._resuming: Any = None

    # -- What a kind of transfer adds

    @property
    def size(self) -> int:
        """Bytes that were checked."""
        return 0

    def first_bytes(self) -> bytes:
        """What is sent as soon as the tunnel is open, or before that by a hasty program."""
        raise NotImplementedError

    def begin(self) -> None:
        """The tunnel is open."""

    def receive(self, data: bytes) -> None:
        """Something came through it."""
        raise NotImplementedError

    def ended(self) -> None:
        """The other side has ended in good order."""
        self.finish(Ending.CORRUPT, "a clean end where none was due")

    def torn(self, why: str) -> None:
        """The connection is gone."""
        self.finish(Ending.ERROR, why)

    def refused(self, why: str) -> None:
        """The proxy said no."""
        self.finish(Ending.ERROR, why)

    def pause_for(self, data: bytes) -> float:
        """Seconds to read nothing after *data*."""
        return self._pacer.take(len(data))

    # -- The end

    def finish(self, ending: Ending, why: str = "", *, abort: bool = False) -> None:
        """This is how it ended; later ends do not count."""
        if self._outcome is not None:
            return
        self._outcome = (ending, why)
        if self._lost:
            self._tell()
        elif self.transport is not None:
            self.transport.unregisterProducer()
            if abort or ending is not Ending.OK:
                self.transport.abortConnection()
            else:
                self.transport.loseConnection()

    def _tell(self) -> None:
        assert self._outcome is not None
        opening = None if self._opened_at is None else self._opened_at - self._began
        self.done.callback(Outcome(self._outcome[0], self.kind, self._outcome[1], self.size, opening))

    @property
    def is_open(self) -> bool:
        """Whether the tunnel is open."""
        return self._opened_at is not None

    @property
    def is_over(self) -> bool:
        """Whether its end is known."""
        return self._outcome is not None

    # -- Twisted's side

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.write(self._dial.begin() + (self.first_bytes() if self._dial.hasty else b""))

    def dataReceived(self, data: bytes) -> None:
        self.last_move = self._clock.seconds()
        if self._outcome is not None:
            return
        if self._opened_at is None:
            self._dialing(data)
        else:
            self._received(data)

    def _dialing(self, data: bytes) -> None:
        try:
            to_send, rest = self._dial.receive(data)
        except Refused as error:
            self.refused(str(error))
            return
        except BadAnswer as error:
            self.finish(Ending.WRONG, str(error))
            return
        if to_send:
            self.transport.write(to_send)
        if rest is None:
            return
        self._opened_at = self._clock.seconds()
        if not self._dial.hasty:
            self.transport.write(self.first_bytes())
        self.begin()
        if rest and self._outcome is None:
            self._received(rest)

    def _received(self, data: bytes) -> None:
        pause = self.pause_for(data)
        self.receive(data)
        if pause > 0 and self._outcome is None and self._resuming is None:
            self.transport.pauseProducing()
            self._resuming = self._clock.callLater(min(pause, LONGEST_PAUSE), self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self.last_move = self._clock.seconds()
        if not self._lost:
            self.transport.resumeProducing()

    def readConnectionLost(self) -> None:
        if was_reset(self.transport):
            self.transport.abortConnection()
        elif self._outcome is None:
            if self._opened_at is None:
                self.finish(Ending.WRONG, "closed in good order instead of an answer")
            else:
                self.ended()

    def writeConnectionLost(self) -> None:
        """Our own end has gone out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        if self._outcome is None:
            place = "while the tunnel was opened" if self._opened_at is None else "in mid-stream"
            self.torn(f"torn {place}")
        else:
            self._tell()


class Download(Transfer):
    """So many bytes, and the end.

    :param slow: bytes a second that are read at the most; 0 is as fast as they come
    :param abort_at: after so many bytes it is reset from this side
    :param half_close: its own side ends as soon as it has asked
    :param cut: the destination resets the connection, and that must be seen
    """

    kind = "download"

    def __init__(
        self, door: Door, pacer: Pacer, clock: Any, *, seed: int, size: int, slow: int = 0,
        abort_at: int | None = None, half_close: bool = False, cut: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(door, pacer, clock)
        self._check = Check(seed, size)
        self._line = f"{'CUT' if cut else 'GET'} {seed} {size}\n".encode()
        self._slow, self._abort_at, self._half_close, self._cut = slow, abort_at, half_close, cut
        kinds = {"slow reader": slow, "reset": abort_at is not None, "half-closed": half_close, "cut": cut}
        self.kind = next((kind for kind, true in kinds.items() if true), "download")

    @property
    def size(self) -> int:
        return self._check.offset

    def first_bytes(self) -> bytes:
        return self._line

    def begin(self) -> None:
        if self._half_close:
            self.transport.loseWriteConnection()
        if self._abort_at == 0:
            self.finish(Ending.OK, abort=True)

    def pause_for(self, data: bytes) -> float:
        return max(super().pause_for(data), len(data) / self._slow if self._slow else 0.0)

    def receive(self, data: bytes) -> None:
        if not self._check.add(data):
            self.finish(Ending.CORRUPT, f"wrong byte at {self._check.wrong_at}")
        elif self._abort_at is not None and self._check.offset >= self._abort_at:
            self.finish(Ending.OK, abort=True)

    def ended(self) -> None:
        if self._check.complete and not self._cut:
            self.finish(Ending.OK)
        elif self._cut:
            self.finish(Ending.CORRUPT, "a reset that looked like an end")
        else:
            self.finish(Ending.CORRUPT, f"short: an end in good order after {self._check.offset} bytes")

    def torn(self, why: str) -> None:
        self.finish(Ending.OK if self._cut and self.is_open else Ending.ERROR, why)


class Refusal(Transfer):
    """A destination that cannot be reached: the proxy must say so, and why.

    :param answers: what it may say
    """

    kind = "refusal"

    def __init__(self, door: Door, pacer: Pacer, clock: Any, *, answers: frozenset[str]) -> None:
        super().__init__(door, pacer, clock)
        self._answers = answers

    def first_bytes(self) -> bytes:
        return b""

    def begin(self) -> None:
        self.finish(Ending.CORRUPT, "a destination that is not there was reached")

    def receive(self, data: bytes) -> None:
        self.finish(Ending.CORRUPT, "bytes of a destination that is not there")

    def refused(self, why: str) -> None:
        self.finish(Ending.OK if why in self._answers else Ending.ERROR, why)

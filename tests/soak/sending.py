"""Transfers that send: uploads, echoes of much and of little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.soak.dialing import Door
from tests.soak.outcomes import Ending
from tests.soak.pacing import Pacer
from tests.soak.transfers import LONGEST_PAUSE, Transfer
from tests.soak.truth import Check, Truth

__all__ = ["Echo", "PingPong", "Upload"]

CHUNK = 64 * 1024


@implementer(IPushProducer)
class _Sending(Transfer):
    """Sends bytes of the truth at the pace of all, as long as they are taken."""

    def __init__(self, door: Door, pacer: Pacer, clock: Any, *, seed: int, size: int) -> None:
        super().__init__(door, pacer, clock)
        self._truth = Truth(seed)
        self._seed = seed
        self._total = size
        self._sent = 0
        self._full = False
        self._waiting: Any = None

    def begin(self) -> None:
        self.transport.registerProducer(self, True)
        self._send()

    def _send(self) -> None:
        self._waiting = None
        while not self._full and not self.is_over and self._sent < self._total:
            data = self._truth.read(self._sent, min(CHUNK, self._total - self._sent))
            self._sent += len(data)
            self.last_move = self._clock.seconds()
            self.transport.write(data)
            pause = self._pacer.take(len(data))
            if pause > 0 and self._sent < self._total:
                self._waiting = self._clock.callLater(min(pause, LONGEST_PAUSE), self._send)
                return
        if self._sent == self._total and not self.is_over:
            self.transport.unregisterProducer()
            self.all_sent()

    def all_sent(self) -> None:
        """Everything was given to the transport."""

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        if self._waiting is None:
            self._send()

    def stopProducing(self) -> None:
        self._full = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        super().connectionLost(reason)


class Upload(_Sending):
    """So many bytes, which the destination checks and acknowledges."""

    kind = "upload"

    def __init__(self, door: Door, pacer: Pacer, clock: Any, *, seed: int, size: int) -> None:
        super().__init__(door, pacer, clock, seed=seed, size=size)
        self._answer = b""

    @property
    def size(self) -> int:
        return self._sent if self._answer else 0

    def first_bytes(self) -> bytes:
        return f"PUT {self._seed} {self._total}\n".encode()

    def receive(self, data: bytes) -> None:
        self._answer += data
        if not (b"OK %d\n" % self._total).startswith(self._answer):
            self.finish(Ending.CORRUPT, f"the destination said {self._answer[:40]!r}")

    def ended(self) -> None:
        if self._answer == b"OK %d\n" % self._total:
            self.finish(Ending.OK)
        else:
            self.finish(Ending.CORRUPT, f"an end in good order instead of OK, after {self._answer[:40]!r}")


class Echo(_Sending):
    """So many bytes in both directions at once; then this side ends, and so must the other."""

    kind = "echo"

    def __init__(self, door: Door, pacer: Pacer, clock: Any, *, seed: int, size: int) -> None:
        super().__init__(door, pacer, clock, seed=seed, size=size)
        self._check = Check(seed, size)

    @property
    def size(self) -> int:
        return self._check.offset

    def first_bytes(self) -> bytes:
        return b"ECHO\n"

    def all_sent(self) -> None:
        self.transport.loseWriteConnection()

    def receive(self, data: bytes) -> None:
        if not self._check.add(data):
            self.finish(Ending.CORRUPT, f"wrong byte at {self._check.wrong_at}")

    def ended(self) -> None:
        if self._check.complete:
            self.finish(Ending.OK)
        else:
            self.finish(Ending.CORRUPT, f"short: an end in good order after {self._check.offset} bytes")


class PingPong(Transfer):
    """Small messages, each sent when the last has come back.

    :param trips: how many
    :param tell: told how long each took, in seconds
    """

    kind = "ping-pong"

    def __init__(
        self, door: Door, pacer: Pacer, clock: Any, *, seed: int, trips: int, message: int,
        tell: Callable[[float], object] = lambda seconds: None,
    ) -> None:  # fmt: skip
        super().__init__(door, pacer, clock)
        self._check = Check(seed, trips * message)
        self._truth = Truth(seed)
        self._message = message
        self._tell_trip = tell
        self._sent = 0
        self._sent_at = 0.0

    @property
    def size(self) -> int:
        return self._check.offset

    def first_bytes(self) -> bytes:
        return b"ECHO\n"

    def begin(self) -> None:
        self._sent_at = self._clock.seconds()
        self.transport.write(self._truth.read(self._sent, self._message))
        self._sent += self._message

    def receive(self, data: bytes) -> None:
        if not self._check.add(data):
            self.finish(Ending.CORRUPT, f"wrong byte at {self._check.wrong_at}")
        elif self._check.offset == self._sent:
            self._tell_trip(self._clock.seconds() - self._sent_at)
            if self._check.complete:
                self.finish(Ending.OK)
            else:
                self.begin()

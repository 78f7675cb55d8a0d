"""The congestion window: how much a circuit may have in flight, from the round trips that acknowledgements measure.

Source: docs/protocol, section Flow control. The window aims at what the path holds when its queues are empty, and a
little more, so that no node ever waits for the sender::

    target = rate · (shortest round trip · (1 + ALLOWED_SHARE) + ALLOWED_DELAY) + ALLOWED_BYTES

The constant part makes circuits that share a queue share it evenly, the others cover the moments in which a process of
the path has no processor, or a kernel sends in bursts. At first the window doubles with each round trip until a queue
shows. Called by windows; knows no cells.
"""

from __future__ import annotations

from typing import Final

from torpydo.tpdp.constants import WINDOW_MAX, WINDOW_MIN, WINDOW_START

ALLOWED_BYTES: Final = 128 * 1024
"""Bytes that one circuit may keep waiting on its path, whatever its rate: four acknowledgement intervals."""
ALLOWED_DELAY: Final = 0.002
"""Seconds for which its bytes may wait besides: what the processes of a path on one machine wait for each other ..."""
ALLOWED_SHARE: Final = 1 / 8
"""... and this part of the shortest round trip."""
ROUND: Final = 0.02
"""Seconds of a round at the least: rates of shorter ones are those of single writes."""
PROBE_INTERVAL: Final = 10.0
"""Seconds after which the shortest round trip is measured again."""
QUEUE_SHOWS: Final = 0.008
"""Seconds that bytes wait at least when the start ends, for less may be chance; on long paths it is ALLOWED_SHARE."""


class Controller:
    """One circuit, one direction. Times are in seconds, sizes in bytes.

    :ivar size: the window
    """

    __slots__ = (
        "_acknowledged",
        "_limited",
        "_probe_at",
        "_probe_from",
        "_resume",
        "_round_from",
        "_rtt",
        "_shortest",
        "_starting",
        "size",
    )

    def __init__(self, size: int = WINDOW_START) -> None:
        self.size = size
        self._starting = True
        self._shortest = 0.0
        # This round: since when, how much came back, how fast at best, and whether the window held the sender up.
        self._round_from: float | None = None
        self._acknowledged = 0
        self._rtt = 0.0
        self._limited = False
        # While the path is drained to measure it: since when, and what the window is afterwards.
        self._probe_at = 0.0
        self._probe_from: float | None = None
        self._resume = 0

    @property
    def shortest(self) -> float:
        """The shortest round trip, 0 before there is one."""
        return self._shortest

    def limited(self) -> None:
        """The window kept the sender from sending: only then does it say anything about the path."""
        self._limited = True

    def acknowledged(self, amount: int, sent_at: float, now: float) -> None:
        """*amount* bytes have arrived, the last of which were sent at *sent_at*."""
        rtt = now - sent_at
        if self._round_from is None:
            self._begin_round(now)
            self._shortest = rtt
            self._probe_at = now + PROBE_INTERVAL
        self._shortest = min(self._shortest, rtt)
        self._rtt = min(self._rtt, rtt) if self._acknowledged else rtt
        self._acknowledged += amount
        if self._probe_from is not None:
            if sent_at >= self._probe_from:
                self._end_probe(rtt, now)
            return
        if self._starting and self._limited:
            self.size = min(self.size + amount, WINDOW_MAX)
        began = self._round_from
        assert began is not None
        # A round is over with the first bytes that were sent in it.
        if sent_at >= began and now - began >= ROUND:
            self._end_round(now - began, now)

    def _begin_round(self, now: float) -> None:
        self._round_from = now
        self._acknowledged = 0
        self._limited = False

    def _end_round(self, seconds: float, now: float) -> None:
        rate = self._acknowledged / seconds
        waits = self._rtt - self._shortest
        if self._limited:
            target = rate * (self._shortest * (1 + ALLOWED_SHARE) + ALLOWED_DELAY) + ALLOWED_BYTES
            if self._starting:
                self._starting = waits < max(QUEUE_SHOWS, self._shortest * ALLOWED_SHARE)
                if not self._starting:
                    self._set(target)
            else:
                self._set((self.size + target) / 2)
            if now >= self._probe_at and not self._starting:
                self._begin_probe(rate * waits, now)
        self._begin_round(now)

    def _set(self, size: float) -> None:
        self.size = max(WINDOW_MIN, min(int(size), WINDOW_MAX))

    # A path may become longer (a connection of it goes another way), and a circuit that keeps a queue would never
    # see its shortest round trip again. So now and then the queue is let run empty.

    def _begin_probe(self, waiting: float, now: float) -> None:
        self._resume = self.size
        self._set(self.size - 1.25 * waiting)
        # Until then the queue is on its way out.
        self._probe_from = now + self._rtt

    def _end_probe(self, rtt: float, now: float) -> None:
        self._shortest = rtt
        self.size = self._resume
        self._probe_from = None
        self._probe_at = now + PROBE_INTERVAL
        self._begin_round(now)

"""The congestion window: how much a circuit may have in flight, from the round trips that acknowledgements measure.

Source: docs/protocol, section Flow control. The window aims at what the path holds when its queues are empty, and a
little more, so that no node ever waits for the sender::

    target = rate · (shortest round trip · (1 + ALLOWED_SHARE) + delay) + ALLOWED_BYTES

The constant part makes circuits that share a queue share it evenly, the others cover the moments in which a process of
the path has no processor, or a kernel sends in bursts. At first the window doubles with each round trip until a queue
shows. Called by windows; knows no cells.
"""

from __future__ import annotations

from typing import Final

from torpydo.tpdp.constants import WINDOW_MAX, WINDOW_MIN, WINDOW_START

ALLOWED_BYTES: Final = 128 * 1024
"""Bytes that one circuit may keep waiting on its path, whatever its rate: four acknowledgement intervals."""
ALLOWED_DELAY: Final = 0.004
"""Seconds for which its bytes may wait besides: what the processes of a path on one machine wait for each other ..."""
ALLOWED_SHARE: Final = 1 / 8
"""... and this part of the shortest round trip."""
JOINED_DELAY: Final = 0.016
"""Instead of ALLOWED_DELAY, on a joined circuit, whose bytes go through twice as many processes: where less waits, each
of them is woken for a few cells, and that costs it more than the cells do."""
ROUND: Final = 0.02
"""Seconds of a round at the least: rates of shorter ones are those of single writes."""
PROBE_INTERVAL: Final = 10.0
"""Seconds without a round trip as short as the shortest, after which that is measured again."""
PROBE_TIME: Final = 0.2
"""Seconds that this takes at the least, so that the circuits that share a queue find it empty together."""
QUEUE_SHOWS: Final = 0.008
"""Seconds that bytes wait at least when the start ends, for less may be chance; on long paths it is ALLOWED_SHARE."""


class Controller:
    """One circuit, one direction. Times are in seconds, sizes in bytes.

    :param delay: seconds for which bytes may wait whatever the path
    :ivar size: the window
    """

    __slots__ = (
        "_acknowledged",
        "_heard_at",
        "_limited",
        "_probe_at",
        "_probe_from",
        "_probed",
        "_resume",
        "_round_from",
        "_rtt",
        "_shortest",
        "_starting",
        "_was_limited",
        "delay",
        "size",
    )

    def __init__(self, size: int = WINDOW_START, delay: float = ALLOWED_DELAY) -> None:
        self.size = size
        self.delay = delay
        self._starting = True
        self._shortest = 0.0
        self._heard_at = 0.0
        # This round: since when, how much came back, how fast at best, and whether the window held the sender up.
        self._round_from: float | None = None
        self._acknowledged = 0
        self._rtt = 0.0
        self._limited = False
        self._was_limited = False
        # While the path is drained to measure it: since when, and what the window is afterwards.
        self._probe_at = 0.0
        self._probe_from: float | None = None
        self._probed = 0.0
        self._resume = 0

    def limited(self) -> None:
        """The window kept the sender from sending: only then does it say anything about the path."""
        self._limited = True

    def acknowledged(self, amount: int, sent_at: float, now: float) -> None:
        """*amount* bytes have arrived, the last of which were sent at *sent_at*."""
        if now < max(sent_at, self._heard_at):
            self._clock_set_back(now)
            return
        rtt = now - sent_at
        if self._round_from is None:
            self._shortest = rtt
            self._probe_at = now + PROBE_INTERVAL
        if self._round_from is None or sent_at - self._heard_at > ROUND:
            # Before these bytes nothing was under way: how long that was says nothing about the path.
            self._begin_round(now)
        else:
            self._acknowledged += amount
        self._heard_at = now
        if rtt <= self._shortest:
            # Whoever drains the path shows it to all that share it: from then on they do so at the same time.
            self._shortest = rtt
            self._probe_at = now + PROBE_INTERVAL
        self._rtt = min(self._rtt, rtt) if self._acknowledged > amount else rtt
        if self._probe_from is not None:
            if sent_at >= self._probe_from:
                self._probed = min(self._probed, rtt) if self._probed else rtt
                if now >= self._probe_from + max(PROBE_TIME, rtt):
                    self._end_probe(self._probed, now)
            return
        # Acknowledgements come in bursts, and only between two of them the sender can be held up again. Once a queue
        # is plain there is nothing to grow for, though the round that ends the start may last a while.
        if self._starting and (self._limited or self._was_limited) and self._waits(rtt) < 2:
            self.size = min(self.size + amount, WINDOW_MAX)
        began = self._round_from
        assert began is not None
        # A round is over with the first bytes that were sent in it.
        if sent_at >= began and now - began >= ROUND:
            self._end_round(now - began, now)

    def _clock_set_back(self, now: float) -> None:
        # What was sent before tells nothing, and no round and no probe across that moment would end.
        self._heard_at = now
        if self._round_from is not None:
            if self._probe_from is not None:
                self.size = self._resume
                self._probe_from = None
            self._probe_at = now + PROBE_INTERVAL
            self._begin_round(now)

    def _waits(self, rtt: float) -> float:
        """How long bytes with this round trip have waited; 1 is what ends the start."""
        return (rtt - self._shortest) / max(QUEUE_SHOWS, self._shortest * ALLOWED_SHARE)

    def _begin_round(self, now: float) -> None:
        self._round_from = now
        self._acknowledged = 0
        self._was_limited, self._limited = self._limited, False

    def _end_round(self, seconds: float, now: float) -> None:
        rate = self._acknowledged / seconds
        waits = self._rtt - self._shortest
        if self._limited:
            target = rate * (self._shortest * (1 + ALLOWED_SHARE) + self.delay) + ALLOWED_BYTES
            if self._starting:
                self._starting = self._waits(self._rtt) < 1
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
        self._set(min(self.size - 1.25 * waiting, self.size / 2))
        self._probed = 0.0
        # Until then the queue is on its way out.
        self._probe_from = now + self._rtt

    def _end_probe(self, rtt: float, now: float) -> None:
        self._shortest = rtt
        self.size = self._resume
        self._probe_from = None
        self._probe_at = now + PROBE_INTERVAL
        self._begin_round(now)

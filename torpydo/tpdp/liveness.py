"""When an open link sends PADDING, and when its peer is taken for dead (docs/protocol, section Padding).

There are two reasons to send one. Every ``KEEPALIVE`` seconds one shows the peer that this side lives. And a link of a
client that has circuits is never idle for long: routers on the way keep a record of each flow and close it when the
flow was idle for ten to fifteen seconds; a link that always speaks before is one long record, whatever its circuits do
and however many there are (SECURITY L9; tor's padding-spec, section 2). Called by link; knows no frames.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from torpydo.tpdp.constants import KEEPALIVE, PADDING_LEAST, PADDING_MOST, SILENCE

_DRAW = 4
"""Random bytes of one draw."""


class Liveness:
    """The times of one open link, in seconds.

    While there is traffic the link notes when, which is all that it costs: how long it was idle is seen only when the
    deadline has passed. So the deadline never becomes an earlier one, and the owner of a link needs one timer.

    :param rng: gives random bytes
    :param padded: whether it is a link of a client, which is not to be idle for long
    """

    __slots__ = ("_dead_at", "_heard_at", "_idle_from", "_keepalive_at", "_look_at", "_padding", "_rng", "_sent_at")

    def __init__(self, rng: Callable[[int], bytes], now: float, *, padded: bool) -> None:
        self._rng = rng
        self._heard_at = self._sent_at = now
        self._keepalive_at = now + KEEPALIVE
        self._dead_at = inf
        # The pause that ends at the look began here; one that began later is drawn only then.
        self._idle_from = now
        self._look_at = now + self._pause() if padded else inf
        self._padding = False

    @property
    def deadline(self) -> float:
        """When :meth:`is_dead` and :meth:`wants_padding` are to be asked."""
        return min(self._keepalive_at, self._look_at, self._dead_at)

    def heard(self, now: float) -> None:
        """Bytes of the peer came."""
        self._heard_at = now

    def sent(self, now: float) -> None:
        """Bytes went out."""
        self._sent_at = now
        if self._padding:
            # That was the PADDING, and the pause after it is drawn.
            self._padding = False
            self._idle_from = now

    def is_dead(self, now: float) -> bool:
        """Whether the peer has been silent for too long: it has left three PADDINGs unanswered."""
        # The same sum as that of the deadline: a difference may be less than SILENCE at that very moment.
        return now >= self._heard_at + SILENCE

    def wants_padding(self, now: float, *, in_use: bool) -> bool:
        """The deadline has passed: tells whether a PADDING is to be sent.

        :param in_use: whether there are circuits on the link, and no frame waits to be sent anyway
        """
        if now >= self._dead_at:
            self._dead_at = inf
        wanted = now >= self._keepalive_at
        if wanted:
            self._keepalive_at = now + KEEPALIVE
            # The last look before a silent peer is dead is followed by one at that moment, not by a later one.
            dead_at = self._heard_at + SILENCE
            self._dead_at = dead_at if now < dead_at < self._keepalive_at else inf
        if now < self._look_at:
            return wanted
        active_at = max(self._heard_at, self._sent_at)
        if active_at > self._idle_from:
            self._idle_from = active_at
            self._look_at = active_at + self._pause()
            if now < self._look_at:
                return wanted
        self._look_at = now + self._pause()
        self._padding = in_use
        return wanted or in_use

    def _pause(self) -> float:
        """The larger of two uniform draws: the other side draws, too, and what is over first counts."""
        largest = max(int.from_bytes(self._rng(_DRAW), "big") for _ in range(2))
        return PADDING_LEAST + (PADDING_MOST - PADDING_LEAST) * largest / (1 << 8 * _DRAW)

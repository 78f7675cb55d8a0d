"""Makes this peer's own records: the signature, and then the work in slices, so that everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torpydo.errors import BadSignature
from torpydo.onion import SigningKey
from torpydo.peers import AHEAD, Claim, Presence, Search

__all__ = ["Announcements"]

TRIES: Final = 2000
"""In one slice: about two milliseconds."""


class Announcements:
    """The records of one peer, one after the other.

    :param key: of its name
    :param claim: what all of them say, with any timestamp
    :param difficulty: bits of work
    :param rng: bytes of randomness
    :param wall_clock: seconds since 1970
    :param made: given each record
    """

    def __init__(
        self,
        reactor: Any,
        key: SigningKey,
        claim: Claim,
        difficulty: int,
        *,
        rng: Callable[[int], bytes],
        wall_clock: Callable[[], float],
        made: Callable[[Presence], None],
    ) -> None:
        self._reactor = reactor
        self._key = key
        self._claim = claim
        self._difficulty = difficulty
        self._rng = rng
        self._wall_clock = wall_clock
        self._made = made
        self._search: Search | None = None
        self._slice: IDelayedCall | None = None
        self._waiting: list[Deferred[Presence]] = []

    def take_up(self, record: Presence | None) -> None:
        """Go on with the record of an earlier life, if it says what this one would, and still holds."""
        if record is None or record.claim.timestamp <= self._claim.timestamp:
            return
        try:
            record.check()
        except BadSignature:
            return
        # What is made next must be later, also if this one is of no use.
        self._claim = attrs.evolve(self._claim, timestamp=record.claim.timestamp)
        age = self._wall_clock() - record.claim.timestamp
        if record.claim == self._claim and -AHEAD <= age < record.claim.life and record.has_work(self._difficulty):
            self._made(record)

    def make(self) -> Deferred[Presence]:
        """Make a record; those who ask meanwhile get the same one.

        :return: cancellable
        """
        result: Deferred[Presence] = Deferred(self._waiting.remove)
        self._waiting.append(result)
        if self._search is None:
            self._claim = attrs.evolve(self._claim, timestamp=self._later_time())
            self._search = Search(Presence.make(self._claim, self._key), self._difficulty, self._rng(8))
            self._slice = self._reactor.callLater(0, self._go_on)
        return result

    def _later_time(self) -> int:
        # Of two records with one time neither counts more, and clocks are set back. But what was of a wrong future
        # nobody has taken, and nobody would take what comes after it either.
        now, last = int(self._wall_clock()), self._claim.timestamp
        return max(now, last + 1) if last <= now + AHEAD else now

    def stop(self) -> None:
        """Give up what is being made."""
        if self._slice is not None and self._slice.active():
            self._slice.cancel()
        self._search = None
        for one in list(self._waiting):
            one.cancel()

    def _go_on(self) -> None:
        assert self._search is not None
        record = self._search.go_on(TRIES)
        if record is None:
            self._slice = self._reactor.callLater(0, self._go_on)
            return
        self._search = None
        self._made(record)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(record)

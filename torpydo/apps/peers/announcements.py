"""Makes this peer's own records: the work in slices, so that everything else goes on, then the signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torpydo.onion import SigningKey
from torpydo.peers import Claim, Presence, Search

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

    def make(self) -> Deferred[Presence]:
        """Make a record; those who ask meanwhile get the same one.

        :return: cancellable
        """
        result: Deferred[Presence] = Deferred(self._waiting.remove)
        self._waiting.append(result)
        if self._search is None:
            # Of two records with one time neither counts more, and clocks are set back.
            timestamp = max(int(self._wall_clock()), self._claim.timestamp + 1)
            self._claim = attrs.evolve(self._claim, timestamp=timestamp)
            self._search = Search(self._claim, self._difficulty, self._rng(8))
            self._slice = self._reactor.callLater(0, self._go_on)
        return result

    def stop(self) -> None:
        """Give up what is being made."""
        if self._slice is not None and self._slice.active():
            self._slice.cancel()
        self._search = None
        for one in list(self._waiting):
            one.cancel()

    def _go_on(self) -> None:
        assert self._search is not None
        nonce = self._search.go_on(TRIES)
        if nonce is None:
            self._slice = self._reactor.callLater(0, self._go_on)
            return
        self._search = None
        record = Presence.make(self._claim, nonce, self._key)
        self._made(record)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(record)

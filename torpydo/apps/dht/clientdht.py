"""A client's way to the DHT: it takes no part, and asks through circuits only (SECURITY K7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from torpydo.apps.dht.walks import Walks
from torpydo.client import Client, Questions
from torpydo.dht import Item, Participant

__all__ = ["ClientDHT"]


class ClientDHT:
    """Puts and gets items (``onionservice.DescriptorStore``).

    It knows from the listings who is closest to a target, so that a walk begins where it ends. Each has circuits of its
    own: who keeps two items does not learn that one client has asked for both.

    :param client: builds the circuits
    :param rng: bytes of randomness
    :param wall_clock: seconds since 1970
    """

    def __init__(
        self, reactor: Any, client: Client, *, rng: Callable[[int], bytes], wall_clock: Callable[[], float]
    ) -> None:
        self._client = client
        # It answers nobody, so where it stands means nothing.
        participant = Participant(rng(32), client.participants.contact, reactor.seconds, wall_clock)
        self._walks = Walks(participant, Questions(reactor, client.circuit_to), isolated=True)

    def put(self, item: Item) -> Deferred[int]:
        """Have *item* kept by those that are closest to its target; fires with how many keep it."""
        stored: Deferred[int] = Deferred()
        start = self._client.participants.closest(item.target)
        self._walks.participant.store(item, stored.callback, start=start)
        self._walks.go_on()
        return stored

    def get(self, target: bytes, *, newest: bool = False) -> Deferred[Item | None]:
        """Look for an item; fires with the first that holds, or with none.

        What is older than what was seen before for the target is none: somebody would have it count again.

        :param newest: wait until all who should keep it were heard, for the one with the highest sequence
        """
        found: Deferred[Item | None] = Deferred(lambda _: None)
        participant = self._walks.participant
        least = participant.high_water(target)

        def done(item: Item | None) -> None:
            if not found.called:
                found.callback(item if item is not None and item.sequence >= least else None)

        def first(item: Item) -> None:
            if not newest and item.sequence >= least:
                done(item)

        participant.find(target, done, start=self._client.participants.closest(target), first=first)
        self._walks.go_on()
        return found

    def close(self) -> None:
        """Give up what is under way."""
        self._walks.close()

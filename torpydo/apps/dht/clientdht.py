"""A client's way to the DHT: it takes no part, and asks through circuits only (SECURITY K7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from torpydo.apps.dht.walks import Walks
from torpydo.client import Client, Questions
from torpydo.dht import WIDTH, Item, Lookup, Participant
from torpydo.errors import CircuitError

__all__ = ["ClientDHT"]

SLOW = 4.0
"""Seconds without an answer, the building of a circuit included, after which another node is asked as well."""


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
        self._closed = False
        # It answers nobody, so where it stands means nothing.
        participant = Participant(rng(32), client.participants.contact, reactor.seconds, wall_clock)
        self._walks = Walks(
            reactor, participant, Questions(reactor, client.circuit_to), isolated=True, slow=SLOW
        )

    def put(self, item: Item) -> Deferred[int]:
        """Have *item* kept by those that are closest to its target.

        :return: fires with how many keep it; fails with :class:`CircuitError` if the client is closed
        """
        if self._closed:
            return fail(_closed())
        stored: Deferred[int] = Deferred()
        start = self._client.participants.closest(item.target)
        self._walks.participant.store(item, stored.callback, start=start, most=WIDTH)
        self._walks.go_on()
        return stored

    def get(self, target: bytes, *, newest: bool = False) -> Deferred[Item | None]:
        """Look for an item; fires with the first that holds, or with none.

        What is older than what was seen before for the target is none: somebody would have it count again.

        :param newest: wait until all who should keep it were heard, for the one with the highest sequence
        :return: fails with :class:`CircuitError` if nobody answers, or the client is closed
        """
        if self._closed:
            return fail(_closed())
        found: Deferred[Item | None] = Deferred(lambda _: None)

        def first(item: Item) -> None:
            if not found.called:
                found.callback(item)

        def done(item: Item | None) -> None:
            if found.called:
                return
            if self._closed:
                found.errback(_closed())
            elif item is None and not answered():
                found.errback(CircuitError("none of the nodes that would know has answered; try again"))
            else:
                found.callback(item)

        def answered() -> bool:
            # It may be over before it has begun.
            return lookup is not None and bool(lookup.closest(1))

        lookup: Lookup | None = None
        # Those of the listings are the closest that there are: who is named besides is not worth a circuit.
        start = self._client.participants.closest(target)
        lookup = self._walks.participant.find(
            target, done, start=start, first=None if newest else first, most=WIDTH
        )
        self._walks.go_on()
        return found

    def close(self) -> None:
        """Give up what is under way; whoever waits is told."""
        self._closed = True
        self._walks.close()


def _closed() -> CircuitError:
    return CircuitError("the client is closed; make another one")

"""A node's part in the DHT: it answers others, and keeps its table and what it holds for them in order.

Given to the node's service when that is made (``node.LocalPart``); asks other nodes on circuits of one hop.
::

    listings ──> participants ──> join: look for its own place ──> table
    stream to @dht ──> answer          every minute: upkeep ──> items said again, rows looked through
"""

from __future__ import annotations

import math
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from torpydo.apps.dht.walks import Walks
from torpydo.client import DirectCircuits, Questions, World
from torpydo.dht import Participant, place_of
from torpydo.wire import Malformed

__all__ = ["NodeDHT", "NodeDHTStatus"]

SOON: Final = 2.0
"""Seconds from a listing with nodes that were not there before to a look at them: several listings come together."""
LATER: Final = 60.0
"""The least number of seconds between two such looks."""
HOURLY: Final = 3600.0
"""Seconds after which a node looks at who is closest to it although nobody has come."""
SLOW: Final = 1.5
"""Seconds without an answer after which another node is asked as well."""
UPKEEP: Final = 60.0
"""Seconds between two looks at what is to be said again."""
CUT_OFF: Final = 8
"""Questions without an answer in a row after which a node takes itself for cut off: with the first answer all that it
holds is said again."""


@attrs.frozen
class NodeDHTStatus:
    """A node's part at one moment.

    :ivar dht_nodes: nodes that take part, as the listings say
    :ivar dht_contacts: nodes in its table
    :ivar dht_links: to nodes that it asks
    :ivar dht_items: that it keeps
    :ivar dht_bytes: of them
    :ivar dht_questions: that it has answered since it was started
    """

    dht_nodes: int
    dht_contacts: int
    dht_links: int
    dht_items: int
    dht_bytes: int
    dht_questions: int


class NodeDHT:
    """One node's part.

    :param reactor: connects and keeps time
    :param world: time, randomness and connections
    """

    log = Logger()

    def __init__(self, reactor: Any, world: World) -> None:
        self._reactor = reactor
        self._world = world
        self._circuits: DirectCircuits | None = None
        self._walks: Walks | None = None
        self._look: IDelayedCall | None = None
        self._upkeep: IDelayedCall | None = None
        self._looked_at: float | None = None
        self._cut_off = False
        self._moved = False
        self._answered = 0

    # -- node.LocalPart

    def start(self, node_id: bytes, stamp: bytes) -> None:
        """Begin, as the node with that id and that stamp."""
        circuits = self._circuits = DirectCircuits(self._reactor, self._world, own=node_id)
        participant = Participant(
            place_of(node_id, stamp), circuits.participants.contact, self._reactor.seconds, self._world.wall_clock
        )
        self._walks = Walks(
            self._reactor, participant, Questions(self._reactor, circuits.build), isolated=False, slow=SLOW
        )
        self._looked_at, self._cut_off, self._moved, self._answered = None, False, False, 0
        self._upkeep = self._reactor.callLater(UPKEEP, self._keep_up)

    def restamped(self, stamp: bytes) -> None:
        """The node has another stamp, and stands elsewhere: begin anew there, with those that it knows."""
        if self._walks is not None and self._circuits is not None:
            self._walks.participant.contacts.stand(place_of(self._circuits.participants.own, stamp))
            self._looked_at, self._moved = None, True
            self._look_soon()

    def network_changed(self, netdir: Any) -> None:
        """The listings say something new: look at who has come."""
        if self._circuits is not None and self._circuits.network_changed(netdir):
            self._look_soon()

    def _look_soon(self) -> None:
        if self._look is None:
            now = self._reactor.seconds()
            pause = SOON if self._looked_at is None else max(SOON, self._looked_at + LATER - now)
            self._look = self._reactor.callLater(pause, self._look_around)

    def answer(self, question: bytes, source: bytes) -> bytes:
        """The answer to a question.

        :raises Malformed: if it is none
        """
        if self._walks is None:
            raise Malformed("a question to a node that does not run")
        self._answered += 1
        return self._walks.participant.answer(question, source)

    def stop(self) -> None:
        """End everything."""
        walks, self._walks = self._walks, None
        circuits, self._circuits = self._circuits, None
        for call in (self._look, self._upkeep):
            if call is not None and call.active():
                call.cancel()
        self._look = self._upkeep = None
        if walks is not None:
            walks.close()
        if circuits is not None:
            circuits.close()

    # -- What a person asks

    def status(self) -> NodeDHTStatus | None:
        """The part at this moment; ``None`` while the node does not run."""
        if self._walks is None or self._circuits is None:
            return None
        participant = self._walks.participant
        return NodeDHTStatus(
            dht_nodes=len(self._circuits.participants),
            dht_contacts=len(participant.contacts),
            dht_links=len(self._circuits),
            dht_items=len(participant.storage),
            dht_bytes=participant.storage.size,
            dht_questions=self._answered,
        )

    # -- By itself

    def _look_around(self) -> None:
        self._look = None
        assert self._walks is not None and self._circuits is not None
        participant = self._walks.participant
        start = self._circuits.participants.closest(participant.contacts.place)
        if not start:
            return
        first, self._looked_at = self._looked_at is None, self._reactor.seconds()
        if first:
            participant.join(start, self._world.rng, lambda: None)
        else:
            participant.nodes(participant.contacts.place, lambda found: None, start)
        self._walks.go_on()

    def _keep_up(self) -> None:
        self._upkeep = self._reactor.callLater(UPKEEP, self._keep_up)
        assert self._walks is not None and self._circuits is not None
        if self._walks.silent >= CUT_OFF:
            self._cut_off = True
        rejoined = (self._cut_off or self._moved) and not self._walks.silent
        if rejoined:
            if self._cut_off:
                self.log.info("other nodes answer again; what is kept here is said to them")
            self._cut_off = self._moved = False
        self._walks.participant.upkeep(self._world.rng, rejoined=rejoined)
        self._walks.go_on()
        since = math.inf if self._looked_at is None else self._reactor.seconds() - self._looked_at
        if self._look is None and (rejoined or since >= HOURLY):
            self._look_around()
        # Otherwise nobody would be asked for an hour, and a node that is cut off would not know. Not one of the table:
        # the halves of a network that was apart have lost each other from theirs.
        for contact in self._circuits.participants.closest(self._world.rng(32), 1):
            self._walks.probe(contact)

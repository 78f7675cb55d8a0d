"""New circuits: who may have one, and its handshake (SECURITY D1, D3). Called by router."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torpydo.crypto import DHSecretKey, NodeId
from torpydo.errors import CryptoError, RemoteProtocolError
from torpydo.net import Buckets, LinkProtocol
from torpydo.node.bounds import Bounds
from torpydo.node.handshakes import Handshake, Handshakes
from torpydo.node.limits import LINK_AGE_GRACE
from torpydo.node.neighbours import Neighbour, Neighbours
from torpydo.node.refusal import NodeRefusal
from torpydo.tpdp import TransitCircuit

__all__ = ["Creates"]


class Creates:
    """The CREATEs of a node.

    :param node_id: of this node
    :param onion_keys: gives the keys that they are tried with, the current one first
    :param accepted: takes each new circuit, before the peer hears of it
    :ivar made: circuits that were made so far
    """

    def __init__(
        self,
        reactor: Any,
        node_id: NodeId,
        neighbours: Neighbours,
        bounds: Bounds,
        *,
        rng: Callable[[int], bytes],
        onion_keys: Callable[[], Sequence[DHSecretKey]],
        accepted: Callable[[TransitCircuit, Neighbour, int], None],
    ) -> None:
        self.made = 0
        self._reactor = reactor
        self._node_id = node_id
        self._neighbours = neighbours
        self._bounds = bounds
        self._rng = rng
        self._onion_keys = onion_keys
        self._accepted = accepted
        self._handshakes = Handshakes(reactor, bounds, self._accept, self._refuse_waiting)
        limits = bounds.limits
        self._rates = Buckets(reactor.seconds, limits.creates_per_second, limits.creates_burst)
        self._draining = False
        self._closed = False

    def receive(self, link: LinkProtocol, circ_id: int, message: bytes) -> None:
        """A CREATE came; :meth:`run` follows when all of one read have."""
        neighbour = self._neighbours.get(link)
        if neighbour is None:
            # It ends.
            return
        refusal = self._refusal(neighbour)
        if refusal is not None:
            self._refuse(link, circ_id, refusal)
            return
        asker = neighbour.peer if self._neighbours.is_node(neighbour) else neighbour.host
        self._handshakes.add(asker or link, link, circ_id, message)

    def run(self) -> None:
        """Do the handshakes that there is time for now."""
        self._handshakes.run()

    def drain(self) -> None:
        """Refuse every circuit that is asked for from now on: whoever asks builds it elsewhere."""
        self._draining = True

    def stop(self) -> None:
        """Make no more circuits."""
        self._closed = True
        self._handshakes.stop()

    def _refusal(self, neighbour: Neighbour) -> NodeRefusal | None:
        if self._draining:
            return NodeRefusal.CREATES_STOPPING
        limits = self._bounds.limits
        age = self._reactor.seconds() - neighbour.link.core.opened_at
        if self._closed or neighbour.closing or age > limits.link_age + LINK_AGE_GRACE:
            return NodeRefusal.CREATES_ON_OLD_LINK
        if self._neighbours.is_node(neighbour):
            return NodeRefusal.CIRCUITS_PER_LINK if len(neighbour.circuits) >= limits.circuits_per_link else None
        host = neighbour.host
        if host is None:
            return None
        if not math.isinf(limits.creates_burst) and not self._rates.take(host):
            return NodeRefusal.CREATES_TOO_FAST
        if not math.isinf(limits.circuits_per_host):
            # A link that this node opened to one that is not listed is not among those of its host.
            clients = {neighbour, *self._neighbours.clients_at(host)}
            if sum([len(one.circuits) for one in clients]) >= limits.circuits_per_host:
                return NodeRefusal.CIRCUITS_PER_HOST
        return None

    def _accept(self, handshake: Handshake) -> bool:
        """Do it; tells whether there is a circuit now."""
        link, circ_id = handshake.link, handshake.circ_id
        neighbour = self._neighbours.get(link)
        # It may have been destroyed while it waited.
        if neighbour is None or not link.core.is_open(circ_id):
            return False
        try:
            transit, created = TransitCircuit.accept(
                handshake.message, node_id=self._node_id, onion_keys=self._onion_keys(), rng=self._rng
            )
        except (CryptoError, RemoteProtocolError):
            self._refuse(link, circ_id, NodeRefusal.CREATES_MALFORMED)
            return False
        self.made += 1
        self._accepted(transit, neighbour, circ_id)
        link.send_created(circ_id, created)
        return True

    def _refuse(self, link: LinkProtocol, circ_id: int, refusal: NodeRefusal) -> None:
        self._bounds.refuse(refusal)
        link.send_destroy(circ_id)

    def _refuse_waiting(self, handshake: Handshake, refusal: NodeRefusal) -> None:
        self._refuse(handshake.link, handshake.circ_id, refusal)

"""EXTEND: whether, over which link, and what becomes of it (SECURITY L6, L7; DESIGN 4.4, 4.6).

The router hands circuits in and gets them back extended, or with a reason for the client. Called by router.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import NodeId
from torpydo.directory import NetDir, is_private
from torpydo.errors import LinkError, NodeOverloaded, RemoteProtocolError
from torpydo.node.bounds import Bounds
from torpydo.node.circuit import RoutedCircuit, Way
from torpydo.node.neighbours import Neighbour, Neighbours
from torpydo.node.refusal import BY_STATUS
from torpydo.tpdp import Address, ExtendRequested, ExtendStatus

__all__ = ["Extending"]


@attrs.define(eq=False)
class Extending:
    """Finds the next hop for circuits.

    :param node_id: of this node
    :param neighbours: the links
    :param attach: enters a circuit's next hop into the router's table, ``detach`` takes it out
    :param flush: sends the cells that a verb made
    :ivar netdir: the network, as soon as it is known
    :ivar own: where this node is reached
    """

    _reactor: Any
    _node_id: NodeId
    _neighbours: Neighbours
    _bounds: Bounds
    _attach: Callable[[RoutedCircuit], None]
    _detach: Callable[[RoutedCircuit], None]
    _flush: Callable[[RoutedCircuit], None]
    netdir: NetDir | None = None
    own: frozenset[Address] = frozenset()
    log = Logger()

    # -- Whether

    def extend(self, circuit: RoutedCircuit, request: ExtendRequested) -> None:
        """Begin to extend *circuit*."""
        listed = None if self.netdir is None else self.netdir.get(request.node_id)
        address = request.address if listed is None else listed.address
        if self._is_refused(circuit, request.node_id, address, is_listed=listed is not None):
            self._fail(circuit, ExtendStatus.REFUSED)
            return
        circuit.way = Way.LINKING
        begun = self._reactor.seconds()
        linking = self._neighbours.reach(request.node_id, address, shared=listed is not None, asker=circuit.previous)
        over = linking.addCallbacks(
            self._linked, self._unlinked, callbackArgs=(circuit, request.message), errbackArgs=(circuit, begun)
        )
        over.addErrback(lambda failure: self.log.failure("a circuit could not be extended", failure))
        # A link that is open already was found at once.
        circuit.linking = over if circuit.way is Way.LINKING else None

    def _is_refused(self, circuit: RoutedCircuit, node_id: NodeId, address: Address, *, is_listed: bool) -> bool:
        # A circuit that comes back at once would let its builder count this node twice, or loop for ever.
        if node_id in (self._node_id, circuit.previous.peer) or address in self.own or not address.port:
            return True
        test_network = self.netdir is not None and self.netdir.test_network
        return is_private(address.ip) and not is_listed and not test_network

    # -- Over which link

    def _linked(self, neighbour: Neighbour, circuit: RoutedCircuit, message: bytes) -> None:
        circuit.linking = None
        try:
            circuit.next_id = neighbour.link.core.new_circuit_id()
        except LinkError:
            self._fail(circuit, ExtendStatus.RESOURCE_LIMIT)
            return
        circuit.next = neighbour
        circuit.way = Way.ASKED
        self._attach(circuit)
        circuit.timer = self._reactor.callLater(self._bounds.limits.extend_answer, self._timed_out, circuit)
        neighbour.link.send_create(circuit.next_id, message)

    def _unlinked(self, failure: Failure, circuit: RoutedCircuit, begun: float) -> None:
        circuit.linking = None
        if failure.check(CancelledError):
            return
        failure.trap(LinkError, NodeOverloaded)
        if failure.check(NodeOverloaded):
            status = ExtendStatus.RESOURCE_LIMIT
        elif self._reactor.seconds() - begun >= self._bounds.limits.link_connect:
            # A node with another identity is silent, too: it does not say that it is not the one.
            status = ExtendStatus.TIMEOUT
        else:
            status = ExtendStatus.UNREACHABLE
        self._fail(circuit, status)

    # -- What became of it

    def created(self, circuit: RoutedCircuit, message: bytes) -> None:
        """The next hop accepted.

        :raises RemoteProtocolError: if nobody had asked
        """
        if circuit.way is not Way.ASKED:
            raise RemoteProtocolError("a second CREATED")
        circuit.stop_extending()
        circuit.way = Way.OPEN
        circuit.transit.extended(message)
        self._flush(circuit)

    def refused(self, circuit: RoutedCircuit, status: ExtendStatus) -> None:
        """The next hop, or the link to it, was lost before it accepted; the circuit stays as it was."""
        circuit.stop_extending()
        self._detach(circuit)
        self._fail(circuit, status)

    def _timed_out(self, circuit: RoutedCircuit) -> None:
        circuit.timer = None
        self.refused(circuit, ExtendStatus.TIMEOUT)

    def _fail(self, circuit: RoutedCircuit, status: ExtendStatus) -> None:
        if circuit.way is Way.GONE:
            return
        self._bounds.refuse(BY_STATUS[status])
        circuit.way = Way.NONE
        circuit.transit.extend_failed(status)
        self._flush(circuit)

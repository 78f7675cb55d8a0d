"""What a node does for onion services: introduction points, and rendezvous (docs/protocol-onion, Conversations).

It keeps two tables and joins circuits; what it passes on it cannot read. A service's circuit stands in the first table
under the key of the introduction point (introductions), a client's waits in the second under its cookie. Called by
router.
::

    ESTABLISH_INTRO, INTRO_PUZZLE, INTRODUCE1 ──> introductions
    ESTABLISH_RENDEZVOUS ──> table ──(RENDEZVOUS1 with its cookie)──> RENDEZVOUS2 to the client, both joined
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall

from torpydo.crypto import KEY_SIZE
from torpydo.errors import RemoteProtocolError
from torpydo.node.bounds import Bounds
from torpydo.node.circuit import RoutedCircuit, Way
from torpydo.node.introductions import Introductions
from torpydo.node.refusal import NodeRefusal
from torpydo.tpdp import COOKIE_SIZE, EndEvent, MessageType, Said

__all__ = ["OnionServices"]


@attrs.define(eq=False)
class OnionServices:
    """Both tables of a process.

    :param flush: sends what was said on a circuit
    :param end: destroys a circuit for a reason
    """

    _reactor: Any
    _bounds: Bounds
    _flush: Callable[[RoutedCircuit], None]
    _end: Callable[[RoutedCircuit, NodeRefusal], None]
    _cookies: dict[bytes, tuple[RoutedCircuit, float]] = attrs.field(factory=dict)
    _timer: IDelayedCall | None = None
    _introductions: Introductions = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._introductions = Introductions(self._reactor, self._bounds, self._say, self._flush, self._end)

    @property
    def introduction_points(self) -> int:
        """How many services are introduced here."""
        return len(self._introductions)

    @property
    def waiting(self) -> int:
        """How many clients wait for a service."""
        return len(self._cookies)

    def said(self, circuit: RoutedCircuit, events: Sequence[EndEvent]) -> None:
        """The builder of *circuit* begins a conversation, or goes on.

        :raises TorpydoError: at anything that is not right; the circuit must be destroyed then
        """
        for event in events:
            assert isinstance(event, Said)
            # Its first word may have ended it.
            if circuit.way is not Way.GONE:
                _HANDLERS[event.kind](self, circuit, event.data)

    def gone(self, circuit: RoutedCircuit) -> None:
        """*circuit* is destroyed."""
        place, circuit.place = circuit.place, b""
        if len(place) == KEY_SIZE:
            self._introductions.gone(circuit, place)
        elif len(place) == COOKIE_SIZE:
            self._cookies.pop(place, None)

    def stop(self) -> None:
        """The node stops."""
        self._introductions.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self, circuit: RoutedCircuit, kind: MessageType, data: bytes = b"") -> None:
        assert circuit.transit.end is not None
        circuit.transit.end.say(kind, data)

    # -- Rendezvous

    def _establish_rendezvous(self, circuit: RoutedCircuit, cookie: bytes) -> None:
        if cookie in self._cookies:
            raise RemoteProtocolError("a rendezvous cookie that is taken")
        if len(self._cookies) >= self._bounds.limits.rendezvous:
            self._end(circuit, NodeRefusal.RENDEZVOUS)
            return
        limit = self._bounds.limits.rendezvous_wait
        self._cookies[cookie] = circuit, self._reactor.seconds() + limit
        circuit.place = cookie
        self._say(circuit, MessageType.RENDEZVOUS_ESTABLISHED)
        if self._timer is None:
            self._timer = self._reactor.callLater(limit, self._look)

    def _look(self) -> None:
        """End those whose service did not come. All have the same time, so the first is the oldest."""
        self._timer = None
        now = self._reactor.seconds()
        while self._cookies:
            circuit, until = next(iter(self._cookies.values()))
            if until > now:
                self._timer = self._reactor.callLater(until - now, self._look)
                return
            self._end(circuit, NodeRefusal.RENDEZVOUS_LATE)

    def _join(self, circuit: RoutedCircuit, data: bytes) -> None:
        client, _ = self._cookies.pop(data[:COOKIE_SIZE], (None, 0.0))
        if client is None:
            self._end(circuit, NodeRefusal.RENDEZVOUS_UNKNOWN)
            return
        client.place = b""
        self._say(client, MessageType.RENDEZVOUS2, data[COOKIE_SIZE:])
        for one, other in ((circuit, client), (client, circuit)):
            one.transit.join()
            one.partner = other
            self._flush(one)
            if circuit.way is Way.GONE:
                return


_HANDLERS: Final[dict[MessageType, Callable[[OnionServices, RoutedCircuit, bytes], None]]] = {
    MessageType.ESTABLISH_INTRO: lambda onions, circuit, data: onions._introductions.establish(circuit, data),
    MessageType.INTRO_PUZZLE: lambda onions, circuit, data: onions._introductions.set_puzzle(circuit, data),
    MessageType.INTRODUCE1: lambda onions, circuit, data: onions._introductions.introduce(circuit, data),
    MessageType.ESTABLISH_RENDEZVOUS: OnionServices._establish_rendezvous,
    MessageType.RENDEZVOUS1: OnionServices._join,
}
"""What takes each thing that a builder says in a conversation."""

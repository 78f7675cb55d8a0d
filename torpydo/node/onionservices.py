"""What a node does for onion services: introduction points, and rendezvous (docs/protocol-onion, Conversations).

It keeps two tables and joins circuits; what it passes on it cannot read. A service's circuit stands in the first table
under the key of the introduction point, a client's waits in the second under its cookie. Called by router.
::

    ESTABLISH_INTRO ──> table ──(INTRODUCE1 of anybody)──> INTRODUCE2 to the service, INTRODUCE_ACK to the other
    ESTABLISH_RENDEZVOUS ──> table ──(RENDEZVOUS1 with its cookie)──> RENDEZVOUS2 to the client, both joined
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall

from torpydo.crypto import KEY_SIZE
from torpydo.errors import RemoteProtocolError
from torpydo.net import Buckets
from torpydo.node.bounds import Bounds
from torpydo.node.circuit import RoutedCircuit, Way
from torpydo.node.refusal import NodeRefusal
from torpydo.tpdp import COOKIE_SIZE, IntroduceStatus, MessageType, Said

__all__ = ["OnionServices"]


@attrs.define(eq=False)
class OnionServices:
    """The two tables of a process.

    :param flush: sends what was said on a circuit
    :param end: destroys a circuit for a reason
    """

    _reactor: Any
    _bounds: Bounds
    _flush: Callable[[RoutedCircuit], None]
    _end: Callable[[RoutedCircuit, NodeRefusal], None]
    _intros: dict[bytes, RoutedCircuit] = attrs.field(factory=dict)
    _cookies: dict[bytes, tuple[RoutedCircuit, float]] = attrs.field(factory=dict)
    _introductions: Buckets = attrs.field(init=False)
    _timer: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        limits = self._bounds.limits
        self._introductions = Buckets(
            self._reactor.seconds, limits.introductions_per_second, limits.introductions_burst
        )

    @property
    def introduction_points(self) -> int:
        """How many services are introduced here."""
        return len(self._intros)

    @property
    def waiting(self) -> int:
        """How many clients wait for a service."""
        return len(self._cookies)

    def said(self, circuit: RoutedCircuit, event: Said) -> None:
        """The builder of *circuit* begins a conversation.

        :raises TorpydoError: at anything that is not right; the circuit must be destroyed then
        """
        _HANDLERS[event.kind](self, circuit, event.data)

    def gone(self, circuit: RoutedCircuit) -> None:
        """*circuit* is destroyed."""
        place, circuit.place = circuit.place, b""
        if len(place) == KEY_SIZE and self._intros.get(place) is circuit:
            del self._intros[place]
        elif len(place) == COOKIE_SIZE:
            self._cookies.pop(place, None)

    def stop(self) -> None:
        """The node stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self, circuit: RoutedCircuit, kind: MessageType, data: bytes = b"") -> None:
        assert circuit.transit.end is not None
        circuit.transit.end.say(kind, data)

    # -- Introductions

    def _establish_intro(self, circuit: RoutedCircuit, data: bytes) -> None:
        key = circuit.transit.intro_key(data).raw
        before = self._intros.get(key)
        if before is None and len(self._intros) >= self._bounds.limits.introduction_points:
            self._end(circuit, NodeRefusal.INTRODUCTION_POINTS)
            return
        self._intros[key] = circuit
        circuit.place = key
        self._say(circuit, MessageType.INTRO_ESTABLISHED)
        if before is not None:
            # The same service on another circuit: it has given up the first, whose end did not come through yet.
            self._end(before, NodeRefusal.INTRODUCTION_REPLACED)

    def _introduce(self, circuit: RoutedCircuit, data: bytes) -> None:
        status = self._introduced(data[:KEY_SIZE], data[KEY_SIZE:])
        self._say(circuit, MessageType.INTRODUCE_ACK, bytes((status,)))

    def _introduced(self, key: bytes, message: bytes) -> IntroduceStatus:
        service = self._intros.get(key)
        if service is None:
            return IntroduceStatus.UNKNOWN
        if not self._introductions.take(key) or service.queued > self._bounds.limits.introductions_queue:
            self._bounds.refuse(NodeRefusal.INTRODUCTIONS_TOO_FAST)
            return IntroduceStatus.TOO_MANY
        self._say(service, MessageType.INTRODUCE2, message)
        self._flush(service)
        return IntroduceStatus.OK

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
    MessageType.ESTABLISH_INTRO: OnionServices._establish_intro,
    MessageType.INTRODUCE1: OnionServices._introduce,
    MessageType.ESTABLISH_RENDEZVOUS: OnionServices._establish_rendezvous,
    MessageType.RENDEZVOUS1: OnionServices._join,
}
"""What takes each opening of a conversation."""

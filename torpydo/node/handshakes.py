"""Circuit handshakes that wait for their turn: a storm of CREATEs may cost time, but never all of it (SECURITY D3, H7).

They are answered in order, in slices of a few milliseconds; between two slices cells flow. What would have to wait
too long is refused at once. Called by router, which also gives the answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall

from torpydo.net import LinkProtocol
from torpydo.node import limits

__all__ = ["Handshake", "Handshakes"]


@attrs.frozen
class Handshake:
    """A CREATE that waits.

    :ivar message: its 512 bytes
    :ivar arrived_at: on the reactor's clock
    """

    link: LinkProtocol
    circ_id: int
    message: bytes
    arrived_at: float


@attrs.define(eq=False)
class Handshakes:
    """The queue.

    :param reactor: keeps time
    :param answer: does one handshake
    :param refuse: answers one with DESTROY
    """

    _reactor: Any
    _answer: Callable[[Handshake], None]
    _refuse: Callable[[Handshake], None]
    _waiting: deque[Handshake] = attrs.field(factory=deque)
    _cost: float = limits.HANDSHAKE_COST
    _next: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, link: LinkProtocol, circ_id: int, message: bytes) -> None:
        """Queue a CREATE; :meth:`run` is to be called when all of one read are queued."""
        handshake = Handshake(link, circ_id, message, self._reactor.seconds())
        waiting = len(self._waiting)
        if waiting >= limits.HANDSHAKES_WAITING or waiting * self._cost > limits.HANDSHAKE_DELAY:
            self._refuse(handshake)
        else:
            self._waiting.append(handshake)

    def run(self) -> None:
        """Do what there is time for, unless the next slice is due anyway."""
        if self._waiting and self._next is None:
            self._slice()

    def stop(self) -> None:
        """Forget all that wait."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _slice(self) -> None:
        self._next = None
        begin = now = self._reactor.seconds()
        done = 0
        while self._waiting and now - begin < limits.HANDSHAKE_SLICE:
            handshake = self._waiting.popleft()
            if now - handshake.arrived_at > limits.HANDSHAKE_AGE:
                self._refuse(handshake)
            else:
                self._answer(handshake)
                done += 1
            now = self._reactor.seconds()
        if done:
            self._cost += ((now - begin) / done - self._cost) / 8
        if self._waiting:
            self._next = self._reactor.callLater(0, self._slice)

"""Circuit handshakes that wait for their turn: a storm of CREATEs may cost time, but never all of it (SECURITY D3, H7).

Who asks has a queue, each other node and each host of clients one, and they are served in turn: a storm delays its
author. They are answered in slices of a few milliseconds; between two slices cells flow, for longer than handshakes
were made. What would have to wait too long is refused at once. Called by creates, which also gives the answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall

from torpydo.net import LinkProtocol
from torpydo.node.bounds import Bounds
from torpydo.node.limits import (
    HANDSHAKE_COST,
    HANDSHAKE_LEAST,
    HANDSHAKE_MOST,
    HANDSHAKE_SHARE,
    HANDSHAKE_SLICE,
    IDLE_TURN,
)
from torpydo.node.refusal import NodeRefusal

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
    """The queues.

    :param reactor: keeps time
    :param answer: does one handshake; tells whether there is a circuit now
    :param refuse: answers one with DESTROY, for that reason
    """

    _reactor: Any
    _bounds: Bounds
    _answer: Callable[[Handshake], bool]
    _refuse: Callable[[Handshake, NodeRefusal], None]
    _waiting: dict[Hashable, deque[Handshake]] = attrs.field(factory=dict)
    """By who asks, in the order of their turns; nobody without a CREATE is here."""
    _count: int = 0
    _cost: float = HANDSHAKE_COST
    _next: IDelayedCall | None = None
    _ended_at: float | None = None
    """When the last slice was over, if there is to be another one."""

    def __len__(self) -> int:
        return self._count

    def add(self, asker: Hashable, link: LinkProtocol, circ_id: int, message: bytes) -> None:
        """Queue a CREATE; :meth:`run` is to be called when all of one read are queued."""
        handshake = Handshake(link, circ_id, message, self._reactor.seconds())
        limits = self._bounds.limits
        own = len(self._waiting.get(asker, ()))
        others = len(self._waiting) - bool(own)
        # How many are served before it, at the most: all, or those of its own and as many rounds of the others.
        before = min(self._count, own + (own + 1) * others)
        if before * self._cost > limits.create_delay:
            self._refuse(handshake, NodeRefusal.CREATES_WAITING)
            return
        if self._count >= limits.creates_waiting and not self._make_room(own):
            self._refuse(handshake, NodeRefusal.CREATES_WAITING)
            return
        self._waiting.setdefault(asker, deque()).append(handshake)
        self._count += 1

    def _make_room(self, own: int) -> bool:
        """Refuse the newest of the longest queue, unless that is the one that wants to grow."""
        # Who has no less than the others have on average is not worth a look at all of them.
        if own * len(self._waiting) >= self._count:
            return False
        asker = max(self._waiting, key=lambda one: len(self._waiting[one]))
        handshake = self._waiting[asker].pop()
        self._count -= 1
        if not self._waiting[asker]:
            del self._waiting[asker]
        self._refuse(handshake, NodeRefusal.CREATES_WAITING)
        return True

    def run(self) -> None:
        """Do what there is time for, unless the next slice is due anyway."""
        if self._waiting and self._next is None:
            self._slice()

    def stop(self) -> None:
        """Forget all that wait."""
        self._waiting.clear()
        self._count = 0
        if self._next is not None:
            self._next.cancel()
            self._next = self._ended_at = None

    def _take(self) -> Handshake:
        """The first of whoever's turn it is, who is the last one then."""
        asker, queue = next(iter(self._waiting.items()))
        del self._waiting[asker]
        handshake = queue.popleft()
        if queue:
            self._waiting[asker] = queue
        self._count -= 1
        return handshake

    def _slice(self) -> None:
        self._next = None
        begin = now = self._reactor.seconds()
        since, length = begin, HANDSHAKE_SLICE
        if self._ended_at is not None:
            since = self._ended_at
            length = HANDSHAKE_LEAST if begin - since < IDLE_TURN else min(length, HANDSHAKE_SHARE * (begin - since))
        done = 0
        while self._waiting:
            handshake, before, made = self._take(), now, False
            if now - handshake.arrived_at > self._bounds.limits.create_age:
                self._refuse(handshake, NodeRefusal.CREATES_LATE)
            else:
                made = self._answer(handshake)
            now = self._reactor.seconds()
            if made:
                done += 1
            else:
                # What was destroyed meanwhile, or is malformed, says nothing about the cost, and anybody can send it.
                since += now - before
            # Looked at here, so that there is one at the least.
            if now - begin >= length:
                break
        if done:
            # With what went on between: so long does each of them wait.
            self._cost += (min((now - since) / done, HANDSHAKE_MOST) - self._cost) / 8
        self._ended_at = None
        if self._waiting:
            self._ended_at = now
            self._next = self._reactor.callLater(0, self._slice)

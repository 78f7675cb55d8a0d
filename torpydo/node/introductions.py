"""Introduction points: services that are known here by a key, and the clients that want to be introduced to them.

A client's introduction is passed on at once as long as its service has not had too many. Beyond that it waits for a
moment among the others, and those go first who have proven more effort: who floods without any keeps nobody off. What a
message says it cannot read; all that it can check is the proof (docs/protocol-onion, Puzzles). Called by onionservices.
::

    ESTABLISH_INTRO, INTRO_PUZZLE ──> table
    INTRODUCE1 ──(proof)──> queue ─┬─(in its turn)──> INTRODUCE2 to the service, INTRODUCE_ACK 0
                                   ├─(no room, too late)──> INTRODUCE_ACK 2, told to the service with the next one
                                   └─(the service has gone)──> INTRODUCE_ACK 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall

from torpydo.node.bounds import Bounds
from torpydo.node.circuit import RoutedCircuit
from torpydo.node.refusal import NodeRefusal
from torpydo.onion import IntroductionQueue, proves
from torpydo.tpdp import Introduce1, Introduce2, IntroduceStatus, MessageType

__all__ = ["Introductions"]

SEEDS: Final = 2
"""The last seeds of a service that count: clients have descriptors of before the change."""
STUCK: Final = 0.25
"""Seconds until a service is looked at again that does not take what waits for it."""
NAME: Final = 8
"""Bytes of a client message that tell it from others: it begins with a key that is new each time."""
MOST: Final = (1 << 32) - 1
"""What fits into an INTRODUCE2 as what was refused."""


@attrs.define(eq=False)
class _Point:
    """A service that is introduced here.

    :ivar queue: of clients' circuits
    :ivar counted: for each seed, the last one last, the messages whose proof has counted: each does once
    :ivar refused: 1 + the highest effort that was dropped since the last INTRODUCE2
    """

    circuit: RoutedCircuit
    queue: IntroductionQueue[RoutedCircuit]
    counted: dict[bytes, set[bytes]] = attrs.field(factory=dict)
    refused: int = 0
    timer: IDelayedCall | None = None

    def rest(self) -> None:
        """Nothing waits any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@attrs.define(eq=False)
class Introductions:
    """The services of a process.

    :param say: says something to the other end of a circuit
    :param flush: sends what was said on it
    :param end: destroys it for a reason
    """

    _reactor: Any
    _bounds: Bounds
    _say: Callable[[RoutedCircuit, MessageType, bytes], None]
    _flush: Callable[[RoutedCircuit], None]
    _end: Callable[[RoutedCircuit, NodeRefusal], None]
    _points: dict[bytes, _Point] = attrs.field(factory=dict)
    _counted: int = 0

    def __len__(self) -> int:
        return len(self._points)

    # -- Services

    def establish(self, circuit: RoutedCircuit, data: bytes) -> None:
        """ESTABLISH_INTRO.

        :raises TorpydoError: if it was not made for *circuit*
        """
        key = circuit.transit.intro_key(data).raw
        limits = self._bounds.limits
        point = self._points.get(key)
        if point is None and len(self._points) >= limits.introduction_points:
            self._end(circuit, NodeRefusal.INTRODUCTION_POINTS)
            return
        before = None if point is None else point.circuit
        if point is None:
            self._points[key] = _Point(circuit, self._queue())
        else:
            point.circuit = circuit
        circuit.place = key
        self._say(circuit, MessageType.INTRO_ESTABLISHED, b"")
        if before is not None:
            # The same service on another circuit: it has given up the first, whose end did not come through yet.
            self._end(before, NodeRefusal.INTRODUCTION_REPLACED)

    def _queue(self) -> IntroductionQueue[RoutedCircuit]:
        limits = self._bounds.limits
        return IntroductionQueue(
            limits.introductions_waiting,
            limits.introductions_wait,
            limits.introductions_per_second,
            limits.introductions_burst,
        )

    def set_puzzle(self, circuit: RoutedCircuit, seed: bytes) -> None:
        """INTRO_PUZZLE: another seed counts from now on, and the one before."""
        counted = self._points[circuit.place].counted
        if seed not in counted:
            counted[seed] = set()
            while len(counted) > SEEDS:
                self._counted -= len(counted.pop(next(iter(counted))))

    # -- Clients

    def introduce(self, circuit: RoutedCircuit, data: bytes) -> None:
        """INTRODUCE1."""
        asked = Introduce1.decode(data)
        point = self._points.get(asked.key)
        if point is None:
            self._answer(circuit, IntroduceStatus.UNKNOWN)
            return
        circuit.place, circuit.introduction = asked.key, asked
        self._bounds.waiting.note(circuit)
        dropped = point.queue.put(circuit, self._worth(point, asked), self._reactor.seconds())
        if dropped is not None:
            self._refuse(point, *dropped)
        self._serve(point)

    def _worth(self, point: _Point, asked: Introduce1) -> int:
        """The effort that it proves; nothing if its message has counted before, or waits."""
        name = asked.message[:NAME]
        if not asked.proof.effort or any(name in counted for counted in point.counted.values()):
            return 0
        for seed in reversed(point.counted):
            if proves(seed, asked.message, asked.proof):
                point.counted[seed].add(name)
                self._counted += 1
                self._forget()
                return asked.proof.effort
        return 0

    def _forget(self) -> None:
        """When too many are remembered, the service with the most loses its own: they may count once more."""
        if self._counted > self._bounds.limits.introductions_remembered:
            most = max(self._points.values(), key=lambda point: sum(map(len, point.counted.values())))
            self._uncount(most.counted.values())

    def _uncount(self, sets: Iterable[set[bytes]]) -> None:
        for counted in sets:
            self._counted -= len(counted)
            counted.clear()

    def _serve(self, point: _Point) -> None:
        """Refuse what is too late and pass on what may go; the rest has its turn later."""
        now = self._reactor.seconds()
        for late in point.queue.drop_late(now):
            self._refuse(point, *late)
        while point.circuit.queued <= self._bounds.limits.introductions_queue:
            taken = point.queue.take(now)
            if taken is None:
                break
            self._pass_on(point, taken[0])
        if not point.queue:
            point.rest()
        elif point.timer is None:
            pause = min(point.queue.pause(now) or STUCK, point.queue.patience)
            point.timer = self._reactor.callLater(pause, self._later, point)

    def _later(self, point: _Point) -> None:
        point.timer = None
        self._serve(point)

    def _pass_on(self, point: _Point, client: RoutedCircuit) -> None:
        asked, refused = client.introduction, point.refused
        assert asked is not None
        point.refused = 0
        told = Introduce2(asked.proof, refused, asked.message)
        self._say(point.circuit, MessageType.INTRODUCE2, told.encode())
        self._flush(point.circuit)
        self._answer(client, IntroduceStatus.OK)

    def _refuse(self, point: _Point, client: RoutedCircuit, effort: int) -> None:
        self._bounds.refuse(NodeRefusal.INTRODUCTIONS_TOO_FAST)
        point.refused = max(point.refused, min(effort + 1, MOST))
        self._uncount_one(point, client, effort)
        self._answer(client, IntroduceStatus.TOO_MANY)

    def _uncount_one(self, point: _Point, client: RoutedCircuit, effort: int) -> None:
        """Nothing was passed on: if its message comes once more, it counts. One that did not count changes nothing."""
        if not effort:
            return
        assert client.introduction is not None
        name = client.introduction.message[:NAME]
        for counted in point.counted.values():
            if name in counted:
                counted.remove(name)
                self._counted -= 1

    def _answer(self, client: RoutedCircuit, status: IntroduceStatus) -> None:
        client.place, client.introduction = b"", None
        self._say(client, MessageType.INTRODUCE_ACK, bytes((status,)))
        self._flush(client)

    # -- Ends

    def gone(self, circuit: RoutedCircuit, key: bytes) -> None:
        """*circuit* is destroyed, which stood here under *key*: that of a service, or of a client that waits for it."""
        point = self._points.get(key)
        if point is None:
            return
        if point.circuit is circuit:
            del self._points[key]
            self._uncount(point.counted.values())
            point.rest()
            for client in point.queue.clear():
                self._answer(client, IntroduceStatus.UNKNOWN)
            return
        effort = point.queue.remove(circuit)
        if effort is not None:
            self._uncount_one(point, circuit, effort)
            if not point.queue:
                point.rest()

    def stop(self) -> None:
        """The node stops."""
        for point in self._points.values():
            point.rest()

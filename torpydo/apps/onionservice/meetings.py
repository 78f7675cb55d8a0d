"""The service's way to its clients: from an introduction to a joined circuit.

Introductions wait in a queue by effort; so many at a time are answered, each on a circuit to the node where its client
waits. A client chooses that node and may choose one that never answers, so one that takes long gives way to one of more
effort. Joined circuits that nobody uses are closed, sooner if there are many. Called by service.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client import Circuit, Conversation, IncomingStream
from torpydo.errors import TorpydoError
from torpydo.onion import DHSecretKey, HandshakeKeys, Introduced, IntroductionQueue, NodeId, Secret

__all__ = ["Meetings"]

AT_ONCE: Final = 64
"""Clients that the service is on its way to at one time."""
SLOW: Final = 2.0
"""Seconds after which one of them gives way to a client of more effort."""
LONGEST: Final = 10.0
"""Seconds after which it is given up: the client has, too."""
ATTEMPTS: Final = 2
"""Circuits that are built for one introduction (SECURITY O6)."""
STREAMS: Final = 1000
"""Streams of all clients; each may be a connection to a local program. When there are as many, a client may have its
share of them and no more."""
CIRCUITS: Final = 2000
"""Joined circuits; when there are more, the one that was not used for longest goes."""
IDLE: Final = 900.0
"""Seconds without a stream after which a joined circuit is closed; clients close theirs sooner."""
SWEEP: Final = 60.0
"""Seconds between two looks for such circuits."""


class Meetings:
    """Clients that are met.

    :param build: makes a circuit to the node where a client waits
    :param incoming: given each stream of a client
    :param queue: of introductions
    :param at_once: clients that it goes to at one time
    :param circuits: joined circuits that there may be
    :param streams: that there may be on all of them
    :param idle: seconds without a stream after which one is closed
    :ivar circuits: those there are, the one that was joined first at the front
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        build: Callable[[NodeId], Deferred[Conversation]],
        incoming: Callable[[IncomingStream], None],
        queue: IntroductionQueue[Introduced],
        *,
        rng: Callable[[int], bytes],
        at_once: int = AT_ONCE,
        circuits: int = CIRCUITS,
        streams: int = STREAMS,
        idle: float = IDLE,
    ) -> None:
        self.circuits: dict[Circuit, None] = {}
        self._reactor = reactor
        self._build = build
        self._incoming = incoming
        self._queue = queue
        self._rng = rng
        self._at_once = at_once
        self._most_circuits = circuits
        self._most_streams = streams
        self._idle = idle
        # With the effort of each, and when it was begun.
        self._under_way: dict[Deferred[None], tuple[int, float]] = {}
        self._serving = False
        self._pause: IDelayedCall | None = None
        self._sweeper: IDelayedCall | None = None
        self._stopped = False

    def introduced(self, introduced: Introduced, effort: int) -> None:
        """Go to that client, in its turn."""
        self._queue.put(introduced, effort, self._reactor.seconds())
        self._serve()

    def stop(self) -> None:
        """End everything that is open."""
        self._stopped = True
        for call in (self._pause, self._sweeper):
            if call is not None and call.active():
                call.cancel()
        for deferred in list(self._under_way):
            deferred.cancel()
        for circuit in list(self.circuits):
            circuit.close("the service was stopped")

    def _serve(self) -> None:
        # What ends at once would call this again, once more for each.
        if self._serving or (self._pause is not None and self._pause.active()):
            return
        self._serving = True
        while not self._stopped and self._has_room():
            now = self._reactor.seconds()
            taken = self._queue.take(now)
            if taken is None:
                if self._queue:
                    self._pause = self._reactor.callLater(self._queue.pause(now), self._serve)
                break
            introduced, effort = taken
            meeting = Deferred.fromCoroutine(self._meet(introduced))
            self._under_way[meeting] = effort, now
            meeting.addTimeout(LONGEST, self._reactor).addBoth(self._met, meeting)
        self._serving = False

    def _has_room(self) -> bool:
        if len(self._under_way) < self._at_once:
            return True
        long_ago = self._reactor.seconds() - SLOW
        slow = [(effort, began, one) for one, (effort, began) in self._under_way.items() if began <= long_ago]
        least, _, meeting = min(slow, key=itemgetter(0, 1), default=(0, 0.0, None))
        if meeting is None or self._queue.highest <= least:
            return False
        meeting.cancel()
        return True

    def _met(self, result: object, meeting: Deferred[None]) -> None:
        del self._under_way[meeting]
        if isinstance(result, Failure):
            if result.check(TorpydoError, CancelledError, TimeoutError):
                self.log.debug("a client could not be met: {why}", why=result.getErrorMessage())
            else:
                self.log.failure("a client could not be met", result)
        self._serve()

    async def _meet(self, introduced: Introduced) -> None:
        meeting = introduced.meeting
        # Before any circuit: a client whose key is refused costs none.
        keys, reply = introduced.answer(DHSecretKey(Secret(self._rng(32))))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                conversation = await self._build(meeting.node_id)
            except TorpydoError:
                if attempt == ATTEMPTS:
                    raise
                continue
            try:
                self._join(conversation, meeting.cookie, reply, keys)
            except TorpydoError:
                conversation.close()
                raise
            return

    # -- Joined circuits

    def _join(self, conversation: Conversation, cookie: bytes, reply: bytes, keys: HandshakeKeys) -> None:
        # The client speaks first, and not before it has the reply: no stream comes before this returns.
        circuit = conversation.join_as_service(cookie, reply, keys, lambda stream: self._take(circuit, stream))
        self._keep(circuit)

    def _take(self, circuit: Circuit, stream: IncomingStream) -> None:
        streams = sum([one.streams for one in self.circuits])
        # Whoever has few gets one more: all together that is twice the number at the most.
        if streams > self._most_streams and circuit.streams * len(self.circuits) > self._most_streams:
            stream.refuse(busy=True)
        else:
            self._incoming(stream)

    def _keep(self, circuit: Circuit) -> None:
        self.circuits[circuit] = None
        circuit.when_closed().addCallback(lambda _: self.circuits.pop(circuit, None))
        if len(self.circuits) > self._most_circuits:
            # Not the one that has just come, or those who keep a stream open on each would let nobody in.
            others = (one for one in self.circuits if one is not circuit)
            least = min(others, key=lambda one: (bool(one.streams), one.last_used), default=circuit)
            least.close("there are too many circuits")
        if self._sweeper is None and self.circuits:
            self._sweeper = self._reactor.callLater(min(SWEEP, self._idle), self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        long_ago = self._reactor.seconds() - self._idle
        for circuit in list(self.circuits):
            if not circuit.streams and circuit.last_used <= long_ago:
                circuit.close("nobody used the circuit")
        if self.circuits:
            self._sweeper = self._reactor.callLater(min(SWEEP, self._idle), self._sweep)

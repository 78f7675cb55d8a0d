"""Questions of the DHT to nodes: a circuit and a stream to each, kept while somebody asks (docs/protocol-dht).

Which circuit that is decides whoever makes this: a client's has all its hops, a node's has one. Called by apps/dht.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from torpydo.client.circuits import Circuit
from torpydo.crypto import NodeId
from torpydo.dht import DHT_HOST, DHT_PORT, frame, take_frame
from torpydo.errors import BadKey, CircuitBuildError, CircuitLost, RemoteProtocolError, StreamReset, TorpydoError
from torpydo.wire import Malformed

__all__ = ["Questions"]

ANSWER: Final = 10.0
"""Seconds for an answer, the building of the circuit included."""
IDLE: Final = 5.0
"""Seconds for which a circuit without questions is kept."""
CIRCUITS: Final = 3
"""Circuits for a question, in the time that it has, where a node on the way and not the one that is asked was lost. Not
two: nobody says which node was lost, so the second may be built through the same one, and only that names it."""

BuildFunction = Callable[[NodeId], Deferred[Circuit]]
"""Builds a circuit that ends at a node."""


class _Answers(Protocol):
    """The stream: takes the answers off it, in turn."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._read = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """Answers, or parts of them."""
        self._read += data
        try:
            while (answer := take_frame(self._read)) is not None:
                self._line.answered(answer)
        except Malformed as error:
            self._line.end(RemoteProtocolError(f"an answer that is none: {error}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """There are no more."""
        error = reason.value
        if isinstance(error, ConnectionDone) or not isinstance(error, TorpydoError):
            error = StreamReset("the node has ended the stream; it takes no part, or was asked too much")
        self._line.end(error)


class _Line:
    """What goes to one node."""

    def __init__(self, questions: Questions, key: Hashable, reactor: Any, node_id: NodeId, circuits: int = 1) -> None:
        self._questions = questions
        self._key = key
        self._reactor = reactor
        self._circuits = circuits
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[Deferred[bytes], bytes]] = deque()
        self._stream: Protocol | None = None
        self._circuit: Circuit | None = None
        self._timer: IDelayedCall | None = None
        self._over = False
        self._node_id = node_id
        self._opening: Deferred[None] | None = None

    def open(self) -> None:
        """Build the circuit; to be called when whoever asks is known, for it may fail at once."""
        opening = Deferred.fromCoroutine(self._open())
        # Kept only while it lasts: it may be over already.
        self._opening = None if opening.called else opening
        opening.addErrback(self._failed)

    def ask(self, question: bytes) -> Deferred[bytes]:
        """Send a question; fires with its answer."""
        answer: Deferred[bytes] = Deferred()
        self.wait(answer, frame(question), ANSWER)
        return answer

    def wait(self, answer: Deferred[bytes], data: bytes, seconds: float) -> None:
        """Send a question for whoever waits for *answer*; *seconds* are its time, if no other one waits here."""
        self._waiting.append((answer, data))
        if len(self._waiting) == 1:
            self._set_timer(seconds)
        if self._stream is None:
            self._unsent.append(data)
        else:
            assert self._stream.transport is not None
            self._stream.transport.write(data)

    async def _open(self) -> None:
        self._circuit = circuit = await self._questions.build(self._node_id)
        circuit.when_closed().addCallback(lambda _: self.end(CircuitLost("the circuit to the node was lost")))
        # The first questions go out with the one for the stream, which saves a round trip.
        first, self._unsent = b"".join(self._unsent), []
        factory = Factory.forProtocol(lambda: _Answers(self))
        factory.noisy = False
        stream = await circuit.open_stream(factory, DHT_HOST, DHT_PORT, first_data=first)
        assert isinstance(stream, Protocol) and stream.transport is not None
        self._stream = stream
        for data in self._unsent:
            stream.transport.write(data)
        self._unsent = []

    def _failed(self, failure: Failure) -> None:
        failure.trap(TorpydoError, CancelledError)
        error = failure.value
        self.end(error if isinstance(error, TorpydoError) else CircuitLost("the question was given up"))

    def answered(self, answer: bytes) -> None:
        """The oldest question has its answer."""
        if not self._waiting:
            self.end(RemoteProtocolError("an answer that nobody asked for"))
            return
        waiting, _ = self._waiting.popleft()
        # Before anybody hears of it, who may ask the next.
        self._set_timer(ANSWER if self._waiting else IDLE)
        waiting.callback(answer)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(seconds)
        elif not self._over:
            self._timer = self._reactor.callLater(seconds, self._late)

    def _late(self) -> None:
        self.end(CircuitLost("the node did not answer a question in time"))

    def end(self, error: TorpydoError) -> None:
        """It is over, for whatever reason; whoever still waits has another circuit, or is told *error*."""
        if self._over:
            return
        self._over = True
        self._questions.forget(self._key, self)
        left = 0.0
        if self._timer is not None and self._timer.active():
            left = self._timer.getTime() - self._reactor.seconds()
            self._timer.cancel()
        again = left > 0 and self._circuits < CIRCUITS and not self._questions.closed and self._lost_on_the_way(error)
        if self._opening is not None:
            self._opening.cancel()
        if self._circuit is not None:
            self._circuit.close()
        waiting, self._waiting = self._waiting, deque()
        if again and waiting:
            line = self._questions.line(self._key, self._node_id, self._circuits + 1)
            for answer, data in waiting:
                line.wait(answer, data, left)
            line.open()
            return
        for answer, _ in waiting:
            answer.errback(error)

    def _lost_on_the_way(self, error: TorpydoError) -> bool:
        """Whether a node before the one that is asked may be to blame. A question does no harm if it comes twice."""
        if isinstance(error, CircuitBuildError):
            return error.hop < error.hops
        # Of a circuit that was built nobody can tell; where there is no node in between, it was the one that is asked.
        return self._circuit is not None and not self._circuit.is_open and len(self._circuit.path) > 1


class Questions:
    """Asks nodes.

    :param reactor: keeps time
    :param build: builds the circuits
    :ivar closed: whether no more are to be asked
    """

    def __init__(self, reactor: Any, build: BuildFunction) -> None:
        self._reactor = reactor
        self.build = build
        self._lines: dict[Hashable, _Line] = {}
        self.closed = False

    def __len__(self) -> int:
        """Circuits that are open or being built."""
        return len(self._lines)

    def ask(self, raw_id: bytes, question: bytes, isolation: Hashable = None) -> Deferred[bytes]:
        """Ask the node with that id; questions of different isolation keys go on different circuits.

        :return: the answer; fails with a :class:`TorpydoError`
        """
        if self.closed:
            return fail(CircuitLost("the client is closed"))
        key = (raw_id, isolation)
        line = self._lines.get(key)
        if line is None:
            try:
                node_id = NodeId(raw_id)
            except BadKey as error:
                return fail(error)
            line = self.line(key, node_id)
            answer = line.ask(question)
            line.open()
            return answer
        return line.ask(question)

    def line(self, key: Hashable, node_id: NodeId, circuits: int = 1) -> _Line:
        """A new line, for questions with that key.

        :param circuits: how many there have been for them, with this one
        """
        line = self._lines[key] = _Line(self, key, self._reactor, node_id, circuits)
        return line

    def forget(self, key: Hashable, line: _Line) -> None:
        """*line* is over."""
        if self._lines.get(key) is line:
            del self._lines[key]

    def close(self) -> None:
        """End all of them."""
        self.closed = True
        for line in list(self._lines.values()):
            line.end(CircuitLost("the client is closed"))

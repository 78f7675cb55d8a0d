"""A circuit of one's own to one node that is spoken with in messages: what onion services are made of.

Each method is one step of docs/protocol-onion, Conversations; in which order they make sense, and what the messages
mean, is their caller's matter (``apps/onionservice``). Made by ``Client.conversation``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from torpydo.client.circuits import Circuit
from torpydo.client.servedstreams import AcceptFunction
from torpydo.crypto import NodeId, SigningKey
from torpydo.errors import CircuitLost, TorpydoError
from torpydo.tpdp import HandshakeKeys, Introduce1, Introduce2, IntroduceStatus, MessageType, Proof, Said

__all__ = ["Conversation"]

ASKED: Final = (10, 15)
"""Least and most seconds between two questions to an introduction point whether it is there. Nothing else may be said
to it for hours, and a node that is cut off breaks no connection: those on the way notice after a minute and a half."""
ANSWER: Final = 10.0
"""Seconds that its answer may take: clients wait no longer."""
_MILLI: Final = 1000
NOTHING: Final = Proof()
"""No effort was made."""


class Conversation:
    """A circuit that ends at a node which knows what its messages mean.

    Every Deferred fails with :class:`CircuitLost` when the circuit is gone.

    :param clock: keeps time
    :param randbelow: a uniform integer below its argument
    :ivar node_id: of that node
    """

    def __init__(self, circuit: Circuit, clock: Any, randbelow: Callable[[int], int]) -> None:
        self._circuit = circuit
        self._clock = clock
        self._randbelow = randbelow
        self._timer: IDelayedCall | None = None
        self._waiting: dict[MessageType, Deferred[bytes]] = {}
        self._heard: dict[MessageType, bytes] = {}
        self._introduced: Callable[[Introduce2], None] | None = None
        self._lost = False
        circuit.hear = self._hear
        circuit.when_closed().addCallback(self._closed)

    @property
    def node_id(self) -> NodeId:
        """The node at the other end."""
        return self._circuit.path[-1].node_id

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._circuit.is_open

    # -- Introduction points

    def establish_intro(self, key: SigningKey, introduced: Callable[[Introduce2], None]) -> Deferred[None]:
        """Let the node be an introduction point; once it is, the circuit is closed if it does not answer any more.

        :param key: by which it knows the service; clients find its public half in the descriptor
        :param introduced: called with each INTRODUCE2
        :return: fires when it is one
        """
        self._introduced = introduced
        try:
            self._circuit.establish_intro(key)
        except TorpydoError as error:
            return fail(error)
        return self._heard_of(MessageType.INTRO_ESTABLISHED).addCallback(lambda _: self._ask_later())

    def set_puzzle(self, seed: bytes) -> None:
        """Let the introduction point take proofs of effort that were made with *seed*, 32 bytes, or the one before.

        :raises TorpydoError: if it is none
        """
        self._circuit.say(MessageType.INTRO_PUZZLE, seed)

    def introduce(self, key: bytes, message: bytes, proof: Proof = NOTHING) -> Deferred[IntroduceStatus]:
        """Let the node hand *message* to the service that it knows by *key*; it may keep it for a moment.

        :param key: 32 bytes
        :param message: 512 bytes
        :param proof: of effort; who has made more goes first
        :return: fires with what it did
        """
        asked = Introduce1(key, proof, message)
        return self._ask(MessageType.INTRODUCE1, asked.encode(), MessageType.INTRODUCE_ACK).addCallback(_status)

    # -- Rendezvous

    def establish_rendezvous(self, cookie: bytes) -> Deferred[None]:
        """Let the node wait for a service that comes with *cookie*, 20 bytes; fires when it does."""
        asked = self._ask(MessageType.ESTABLISH_RENDEZVOUS, cookie, MessageType.RENDEZVOUS_ESTABLISHED)
        return asked.addCallback(lambda _: None)

    def when_met(self) -> Deferred[bytes]:
        """Fires with the 512 bytes that the service brought."""
        return self._heard_of(MessageType.RENDEZVOUS2)

    def join_as_client(self, keys: HandshakeKeys) -> Circuit:
        """The circuit to the service, on which streams can be opened."""
        return self._circuit.join_as_client(keys)

    def join_as_service(self, cookie: bytes, reply: bytes, keys: HandshakeKeys, incoming: AcceptFunction) -> Circuit:
        """Meet the client that waits there with *cookie*; the circuit has the streams that it opens.

        :param reply: 512 bytes for the client
        :param incoming: given each stream
        """
        self._circuit.say(MessageType.RENDEZVOUS1, cookie + reply)
        return self._circuit.join_as_service(keys, incoming)

    # -- Both

    def ping(self) -> Deferred[float]:
        """Measure the round trip to the node, in seconds."""
        return self._circuit.ping()

    def when_closed(self) -> Deferred[None]:
        """Fires when the circuit is gone, for whatever reason."""
        return self._circuit.when_closed()

    def close(self) -> None:
        """Destroy the circuit."""
        self._circuit.close()

    def _ask_later(self) -> None:
        if not self._lost:
            least, most = ASKED
            pause = least + self._randbelow((most - least) * _MILLI + 1) / _MILLI
            self._timer = self._clock.callLater(pause, self._ask_whether_it_is_there)

    def _ask_whether_it_is_there(self) -> None:
        self._timer = None
        asked = self.ping().addTimeout(ANSWER, self._clock)
        asked.addCallbacks(lambda _: self._ask_later(), self._silent)

    def _silent(self, failure: Failure) -> None:
        failure.trap(TorpydoError, TimeoutError, CancelledError)
        self._circuit.close("the introduction point did not answer")

    def _ask(self, kind: MessageType, data: bytes, answer: MessageType) -> Deferred[bytes]:
        try:
            self._circuit.say(kind, data)
        except TorpydoError as error:
            return fail(error)
        return self._heard_of(answer)

    def _heard_of(self, kind: MessageType) -> Deferred[bytes]:
        if kind in self._heard:
            return succeed(self._heard.pop(kind))
        if self._lost:
            return fail(_gone())
        deferred: Deferred[bytes] = Deferred(lambda _: self._give_up(kind))
        self._waiting[kind] = deferred
        return deferred

    def _give_up(self, kind: MessageType) -> None:
        self._waiting.pop(kind, None)

    def _hear(self, said: Said) -> None:
        if said.kind is MessageType.INTRODUCE2:
            if self._introduced is not None:
                self._introduced(Introduce2.decode(said.data))
            return
        waiter = self._waiting.pop(said.kind, None)
        if waiter is None:
            self._heard[said.kind] = said.data
        else:
            waiter.callback(said.data)

    def _closed(self, ignored: object) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._introduced = None
        while self._waiting:
            self._waiting.popitem()[1].errback(_gone())


_STATUS: Final = {status.value: status for status in IntroduceStatus}


def _status(data: bytes) -> IntroduceStatus:
    """What an INTRODUCE_ACK says; a status that is not known is as good as TOO_MANY: another node may do better."""
    return _STATUS.get(data[0], IntroduceStatus.TOO_MANY)


def _gone() -> CircuitLost:
    return CircuitLost("the circuit was lost in the middle of a conversation; try again")

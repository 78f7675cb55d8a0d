"""A circuit of one's own to one node that is spoken with in messages: what onion services are made of.

Each method is one step of docs/protocol-onion, Conversations; in which order they make sense, and what the messages
mean, is their caller's matter (``apps/onionservice``). Made by ``Client.conversation``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed

from torpydo.client.circuits import Circuit
from torpydo.client.servedstreams import AcceptFunction
from torpydo.crypto import NodeId, SigningKey
from torpydo.errors import CircuitLost, TorpydoError
from torpydo.tpdp import HandshakeKeys, IntroduceStatus, MessageType, Said

__all__ = ["Conversation"]


class Conversation:
    """A circuit that ends at a node which knows what its messages mean.

    Every Deferred fails with :class:`CircuitLost` when the circuit is gone.

    :ivar node_id: of that node
    """

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self._waiting: dict[MessageType, Deferred[bytes]] = {}
        self._heard: dict[MessageType, bytes] = {}
        self._introduced: Callable[[bytes], None] | None = None
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

    def establish_intro(self, key: SigningKey, introduced: Callable[[bytes], None]) -> Deferred[None]:
        """Let the node be an introduction point.

        :param key: by which it knows the service; clients find its public half in the descriptor
        :param introduced: called with the 512 bytes of each INTRODUCE2
        :return: fires when it is one
        """
        self._introduced = introduced
        try:
            self._circuit.establish_intro(key)
        except TorpydoError as error:
            return fail(error)
        return self._heard_of(MessageType.INTRO_ESTABLISHED).addCallback(lambda _: None)

    def introduce(self, key: bytes, message: bytes) -> Deferred[IntroduceStatus]:
        """Let the node hand *message* to the service that it knows by *key*.

        :param key: 32 bytes
        :param message: 512 bytes
        :return: fires with what it did
        """
        return self._ask(MessageType.INTRODUCE1, key + message, MessageType.INTRODUCE_ACK).addCallback(_status)

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
                self._introduced(said.data)
            return
        waiter = self._waiting.pop(said.kind, None)
        if waiter is None:
            self._heard[said.kind] = said.data
        else:
            waiter.callback(said.data)

    def _closed(self, ignored: object) -> None:
        self._lost = True
        self._introduced = None
        while self._waiting:
            self._waiting.popitem()[1].errback(_gone())


_STATUS: Final = {status.value: status for status in IntroduceStatus}


def _status(data: bytes) -> IntroduceStatus:
    """What an INTRODUCE_ACK says; a status that is not known is as good as TOO_MANY: another node may do better."""
    return _STATUS.get(data[0], IntroduceStatus.TOO_MANY)


def _gone() -> CircuitLost:
    return CircuitLost("the circuit was lost in the middle of a conversation; try again")

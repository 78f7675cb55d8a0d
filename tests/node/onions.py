"""Nodes that introduce and join, with services and clients that say to them what a test wants."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Traveller, World
from torpydo.crypto import SigningKey
from torpydo.onion import Proof, solve
from torpydo.tpdp import Introduce1, Introduce2, IntroduceStatus, MessageType, Said

KEY = SigningKey(b"i" * 32)
HELLO = bytes(range(256)) * 2
SEED = b"s" * 32
NOTHING = Proof()


def solved(effort: int, message: bytes = HELLO, seed: bytes = SEED) -> Proof:
    """A proof that holds."""
    nonce = solve(seed, message, effort, bytes(16), 1 << 24)
    assert nonce is not None
    return Proof(effort, nonce)


class Onions(SynchronousTestCase):
    """Four nodes; the last is where things meet."""

    def setUp(self) -> None:
        self.world = World()
        self.relays = [self.world.relay() for _ in range(4)]
        self.world.publish()
        self.point = self.relays[-1]

    def circuit(self, first: int = 0, host: str = "198.51.100.1") -> Traveller:
        """One that ends at the point."""
        other = self.relays[(first + 1) % 3]
        return self.world.traveller(self.relays[first], other, self.point, host=host).build()

    def said(self, traveller: Traveller) -> list[tuple[MessageType, bytes]]:
        """What the point has told it."""
        return [(event.kind, event.data) for event in traveller.of_kind(Said)]

    def say(self, traveller: Traveller, kind: MessageType, data: bytes) -> Traveller:
        """Begin a conversation, or go on."""
        traveller.circuit.end.say(kind, data)
        traveller.send()
        return traveller

    def introduced(self, key: SigningKey = KEY, seed: bytes | None = None) -> Traveller:
        """A service's circuit to its introduction point."""
        service = self.circuit(1)
        service.circuit.establish_intro(key)
        service.send()
        return service if seed is None else self.say(service, MessageType.INTRO_PUZZLE, seed)

    def introduce(self, message: bytes = HELLO, proof: Proof = NOTHING, key: SigningKey = KEY) -> Traveller:
        """A client that wants to be introduced. Its circuit is as short as can be: there may be many."""
        client = self.world.traveller(self.point).build()
        return self.say(client, MessageType.INTRODUCE1, Introduce1(key.public, proof, message).encode())

    def answer(self, client: Traveller) -> IntroduceStatus | None:
        """What a client was told; ``None`` if it waits."""
        said = self.said(client)
        if not said:
            return None
        ((kind, data),) = said
        self.assertIs(kind, MessageType.INTRODUCE_ACK)
        return IntroduceStatus(data[0])

    def heard(self, service: Traveller) -> list[Introduce2]:
        """What a service was told."""
        return [Introduce2.decode(data) for kind, data in self.said(service) if kind is MessageType.INTRODUCE2]

    def circuits(self) -> list[int]:
        """Circuits at each node."""
        return [relay.router.status().circuits for relay in self.relays]

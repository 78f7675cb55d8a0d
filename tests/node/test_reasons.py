"""Whatever destroys a circuit, those beside the node learn that it is gone and no more (SECURITY Z2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id
from tests.node.network import Relay, Traveller, World
from torpydo.crypto import DHSecretKey
from torpydo.tpdp import Hop, link

CELL, DESTROY, EARLY = 3, 5, 9
EXTEND, DATA, WINDOW = 1, 5, 8


def message(kind: int, stream: int = 0, data: bytes = b"") -> bytes:
    """A message as cells carry it."""
    return bytes((kind,)) + stream.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


class ReasonTests(SynchronousTestCase):
    """A circuit of two hops."""

    def setUp(self) -> None:
        self.destroyed: list[bytes] = []
        """The body of each DESTROY that arrived anywhere."""
        split = link.split_frames

        def watched(frames: bytes) -> Iterator[tuple[int, int, bytes]]:
            for circ_id, command, body in split(frames):
                if command == DESTROY:
                    self.destroyed.append(body)
                yield circ_id, command, body

        self.patch(link, "split_frames", watched)
        self.world = World()
        self.guard, self.exit = self.world.relay(), self.world.relay("accept *:*")
        self.world.publish()

    def built(self) -> Traveller:
        """A circuit that is ready, with a stream that the exit has connected."""
        traveller = self.world.traveller(self.guard, self.exit).build()
        self.assertEqual((traveller.circuit.hops, traveller.destroyed), (2, False))
        return traveller

    def say(self, traveller: Traveller, text: bytes, command: int = CELL) -> None:
        """A cell for the last hop that no end would make."""
        body, _ = traveller.circuit.end._seal(command, text.ljust(1024 - 144, b"\0"))
        self.put(traveller, command, body)

    def put(self, traveller: Traveller, command: int, body: bytes) -> None:
        """A cell as it is."""
        assert traveller.link is not None
        traveller.link.send_cells(traveller.circ_id, [(command, body)])
        self.world.flush()

    def create(self, hop: Hop, change: Callable[[bytes], bytes] = lambda text: text) -> Traveller:
        """A circuit whose CREATE is not as it should be."""
        guard = self.guard.hop
        reactor = self.world.traveller(self.guard).reactor
        traveller = Traveller(reactor, [hop], rng=self.world.random.randbytes)
        traveller.circuit.create_message = change(traveller.circuit.create_message)
        traveller.path = [guard]
        return traveller.build()

    def test_thirteen_causes(self) -> None:
        """Refused, attacked, out of order, overloaded, cut off: the guard says the same thing to the client, once, and
        goes on with its link.
        """
        guard = self.guard.hop
        wrong_key = DHSecretKey(b"\x55" * 32).public

        def altered(place: int) -> Traveller:
            traveller = self.built()
            body, _ = traveller.circuit.end._seal(CELL, bytes(880))
            self.put(traveller, CELL, body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])
            return traveller

        def said(text: bytes, command: int = CELL) -> Traveller:
            traveller = self.built()
            self.say(traveller, text, command)
            return traveller

        def too_many_early() -> Traveller:
            traveller = self.built()
            for _ in range(8):
                if not traveller.destroyed:
                    self.say(traveller, b"", EARLY)
            return traveller

        def before_created() -> Traveller:
            traveller = self.world.traveller(self.guard, self.exit)
            traveller.build()
            assert traveller.link is not None
            traveller.circ_id = traveller.link.core.new_circuit_id()
            traveller.circuit = Traveller(traveller.reactor, traveller.path, rng=traveller.rng).circuit
            traveller.link.core.send_create(traveller.circ_id, traveller.circuit.create_message)
            self.put(traveller, CELL, bytes(1024))
            return traveller

        def next_hop_dies() -> Traveller:
            relay = self.world.relay()
            self.world.publish()
            traveller = self.world.traveller(self.guard, relay).build()
            relay.reactor.kill()
            self.world.reactor.advance(1)
            return traveller

        def next_hop_destroys() -> Traveller:
            traveller = self.built()
            for one in list(self.exit.router._circuits.values()):
                self.exit.router._drop(one)
            self.world.flush()
            return traveller

        causes: dict[str, Callable[[], Traveller]] = {
            "another identity": lambda: self.create(Hop(node_id("nobody"), guard.onion_key, guard.address)),
            "another onion key": lambda: self.create(Hop(guard.node_id, wrong_key, guard.address)),
            "low order": lambda: self.create(guard, lambda text: bytes(32) + text[32:]),
            "altered at the guard": lambda: altered(7),
            "altered mark": lambda: altered(1023),
            "cells before CREATED": before_created,
            "too many EARLY": too_many_early,
            "EXTEND outside EARLY": lambda: said(message(EXTEND, 0, bytes(570))),
            "junk": lambda: said(b"\0\0\1"),
            "unknown message": lambda: said(message(77)),
            "unknown stream": lambda: said(message(DATA, 9, b"x")),
            "wrong acknowledgement": lambda: said(message(WINDOW, 0, b"\1" + bytes(16))),
            "the next hop dies": next_hop_dies,
            "the next hop destroys": next_hop_destroys,
        }
        self.assertGreaterEqual(len(causes), 13)
        seen = {}
        for name, cause in causes.items():
            self.destroyed.clear()
            traveller = cause()
            self.assertTrue(traveller.destroyed, name)
            self.assertFalse(traveller.lost, name)
            seen[name] = set(self.destroyed)
        self.assertEqual(seen, {name: {bytes(1024)} for name in causes})

    def test_the_last_hop_learns_no_reason_either(self) -> None:
        """The client leaves, its link is lost, or the guard finds an attack: the exit sees the same."""

        def leaves(traveller: Traveller) -> None:
            traveller.destroy()

        def is_lost(traveller: Traveller) -> None:
            assert traveller.link is not None
            traveller.link.close()
            self.world.reactor.advance(1)

        def is_attacked(traveller: Traveller) -> None:
            self.put(traveller, CELL, bytes(1024))

        for end in (leaves, is_lost, is_attacked):
            traveller = self.built()
            self.destroyed.clear()
            end(traveller)
            self.world.reactor.advance(1)
            self.assertEqual(set(self.destroyed), {bytes(1024)})
            self.assertEqual([self.circuits(one) for one in (self.guard, self.exit)], [0, 0])

    def circuits(self, relay: Relay) -> int:
        """Circuits at a node."""
        return relay.router.status().circuits

"""What an observer of a client's link sees of its pauses (SECURITY L9, section 1): real links, on a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Traveller, World
from torpydo.tpdp import link

PADDING, CELL, DROP = 0, 3, 13
LEAST, MOST = 1.5, 9.5
"""Seconds: docs/protocol, section Padding."""
KEEPALIVE = 30.0
ROUNDING = 1e-6


class PaddingTests(SynchronousTestCase):
    """A client with a circuit."""

    def setUp(self) -> None:
        self.world = World()
        self.seen: list[tuple[float, int]] = []
        """When a frame arrived at either end of any link, and its command."""
        split = link.split_frames

        def watched(frames: bytes) -> Iterator[tuple[int, int, bytes]]:
            for frame in split(frames):
                self.seen.append((self.world.reactor.seconds(), frame[1]))
                yield frame

        self.patch(link, "split_frames", watched)

    def built(self, hops: int) -> Traveller:
        """A circuit through so many nodes."""
        relays = [self.world.relay() for _ in range(hops)]
        self.world.publish()
        traveller = self.world.traveller(*relays).build()
        self.assertEqual(traveller.circuit.hops, hops)
        self.seen.clear()
        return traveller

    def test_idle(self) -> None:
        """In ten minutes there is no pause longer than 9.5 s, and none but those that a keepalive ends is shorter than
        1.5 s.
        """
        self.built(1)
        begun = self.world.reactor.seconds()
        self.world.reactor.advance(600)
        self.assertEqual({command for _, command in self.seen}, {PADDING})
        times = [begun] + [when for when, _ in self.seen]
        pauses = [after - before for before, after in pairwise(times)]
        self.assertLessEqual(max(pauses), MOST + ROUNDING)
        short = [pause for pause in pauses if pause < LEAST - ROUNDING]
        self.assertLessEqual(len(short), 2 * 600 / KEEPALIVE)
        self.assertGreater(len(pauses), 600 / MOST)

    def test_busy(self) -> None:
        """Who sends something every 1.4 s, or gets it, is not padded: only what is due every thirty seconds goes."""
        traveller = self.built(1)
        relay = self.world.relays[0]
        [circuit] = relay.router._circuits.values()
        for upward in (True, False):
            self.seen.clear()
            for _ in range(100):
                self.world.reactor.advance(1.4)
                if upward:
                    traveller.circuit.end._control.append(bytes((DROP,)) + bytes(6))
                    traveller.send()
                else:
                    body = circuit.transit._backward.seal_backward(CELL, bytes(1008))
                    traveller.circuit.receive_cells = lambda cells, now: []
                    relay.router._send(circuit, circuit.previous, circuit.previous_id, [(CELL, body)])
                    self.world.flush()
            commands = [command for _, command in self.seen]
            self.assertGreaterEqual(len(commands) - commands.count(PADDING), 100)
            self.assertLessEqual(commands.count(PADDING), 2 * (140 / KEEPALIVE + 1))

    def test_not_between_nodes(self) -> None:
        """A second hop adds a link that speaks every thirty seconds only."""
        counts = []
        for hops in (1, 2):
            self.world = World()
            self.built(hops)
            self.world.reactor.advance(600)
            counts.append(len(self.seen))
        # Chance makes a difference of a few frames.
        self.assertLess(abs(counts[1] - counts[0] - 2 * 600 / KEEPALIVE), 25, counts)

    def test_ends_with_the_last_circuit(self) -> None:
        """A link without circuits is only kept alive."""
        traveller = self.built(1)
        traveller.destroy()
        self.world.reactor.advance(1)
        self.seen.clear()
        self.world.reactor.advance(600)
        self.assertLessEqual(len(self.seen), 2 * 600 / KEEPALIVE)

"""Cases 12, 13 and 14: cells that come again, in another order, not at all, or with another command.

Each deed of the guard, the middle node and the exit at once is in tests/network/test_evil; here is what comes after
thousands of cells, what an evil client does with EARLY, and what the oracle says afterwards.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.base import stream
from tests.network.oracle import Oracle
from tests.network.test_evil import DATA, EvilTestCase
from tests.tpdp.chain import Chain
from tests.tpdp.test_layers import KEYS, Layer, fill, origin, payload
from torpydo.errors import CryptoError, DecryptionFailed, RemoteProtocolError
from torpydo.testing.evil import Deed, as_early, drop, flip, insert, relabel, reorder, replay
from torpydo.tpdp import Cell, TransitCircuit

CELL, EARLY = 3, 9
MANY = 10_000
MAX_EARLY = 7


def later(after: int) -> Deed:
    """Send a cell again when so many more have gone."""
    kept: list[Cell] = []
    gone = 0

    def deed(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
        nonlocal gone
        if not kept:
            kept.append(cells[0])
        gone += len(cells)
        if gone > after and len(kept) == 1:
            kept.append(cells[0])
            return [*cells, kept[0]]
        return cells

    return deed


class ReplayTests(SynchronousTestCase):
    """Case 12, at each hop."""

    def test_forward(self) -> None:
        """After ten thousand cells, over forty ratchets: no hop takes a cell of its past."""
        client, hops = origin(KEYS[:3]), [Layer(key) for key in KEYS[:3]]
        first: list[bytes] = []
        for number in range(MANY):
            body, _ = client.seal_forward(CELL, payload(), fill(3))
            for hop in hops:
                if not number:
                    first.append(body)
                body = hop.open_forward(CELL, body)
        for hop, body in zip(hops, first, strict=True):
            self.assertEqual(hop.counter, MANY)
            self.assertRaises(DecryptionFailed, hop.open_forward, CELL, body)

    def test_backward(self) -> None:
        """Nor does the client, whichever node has kept the cell."""
        client, hops = origin(KEYS[:3]), [Layer(key) for key in KEYS[:3]]
        first: list[bytes] = []
        for number in range(MANY):
            body = hops[2].seal_backward(CELL, bytes(1008))
            for hop in (hops[1], hops[0]):
                if not number:
                    first.append(body)
                body = hop.pass_backward(CELL, body)
            if not number:
                first.append(body)
            client.open_backward(CELL, body)
        for place, body in enumerate(first):
            for hop in (hops[1], hops[0])[place:]:
                body = hop.pass_backward(CELL, body)
            self.assertRaises(DecryptionFailed, client.open_backward, CELL, body)

    def test_create(self) -> None:
        """A CREATE that was recorded makes a circuit, with keys that whoever replays it does not have (row H5)."""
        chain = Chain(1, build=False)
        replies = [chain.accept(0, chain.origin.create_message)[1] for _ in range(100)]
        self.assertEqual(len({reply[:32] for reply in replies}), 100)
        other = Chain(1, seed=1, build=False)
        self.assertRaises(CryptoError, other.origin.created, replies[0])


class EarlyTests(SynchronousTestCase):
    """Case 14, an evil client: more EARLY cells than there may be hops."""

    def test_the_eighth(self) -> None:
        """Seven pass at every hop, whatever they carry; the eighth destroys the circuit at the first."""
        for hops in (1, 2, 8):
            chain = Chain(hops, early=MAX_EARLY + 1)
            sent = 0
            with self.assertRaises(RemoteProtocolError):
                for _ in range(MAX_EARLY + 2):
                    chain.origin.end.ping(0.0)
                    sent += 1
                    chain.pump()
            self.assertLessEqual(sent + hops - 1, MAX_EARLY + 1)

    def test_nine_hops(self) -> None:
        """Case 19: for a ninth hop an EXTEND would have to be the eighth EARLY cell, which no node passes on."""
        chain = Chain(8, early=MAX_EARLY)
        self.assertEqual([transit._early for transit in chain.transits], [MAX_EARLY - place for place in range(8)])
        chain.say_forward(command=EARLY)
        self.assertRaises(RemoteProtocolError, chain.move_forward, 0)


class NetworkTests(EvilTestCase):
    """All of them through a whole network, and what is left afterwards."""

    def setUp(self) -> None:
        super().setUp()
        self.oracle = Oracle(self, self.network)

    def test_replayed_later(self) -> None:
        """Case 12: after some more cells, forward by the guard and the middle node, backward by each."""
        for place in (0, 1):
            self.upload(place, later(10))
        for place in (0, 1, 2):
            self.download(place, later(10))
        self.be_good()
        self.oracle.check()

    def test_oracle_after_each_deed(self) -> None:
        """Cases 9, 13 and 14: after each deed at each place, in each direction, nothing is left and all goes on."""
        rng = Random(8).randbytes
        deeds: list[Deed] = [flip(500), replay, drop, reorder(), insert(rng), relabel, as_early]
        for number, deed in enumerate(deeds):
            if deed not in (relabel, as_early):
                self.upload(number % 2, deed)
                self.download(number % 3, reorder() if number == 3 else deed)
            self.be_good()
        self.oracle.check()

    def test_all_as_early(self) -> None:
        """Case 14: a node that calls every cell EARLY, forward; the next one does not take it."""
        for place in (0, 1):
            self.upload(place, as_early)
        self.be_good()
        self.oracle.check()

    def test_evil_client(self) -> None:
        """Case 14: a client that calls more cells EARLY than it may loses its circuit at the first hop."""
        circuit = self.circuit()
        client, server = self.pair_on(circuit)
        circuit.end._early = 100
        stream(client).write(DATA)
        self.network.advance(2)
        self.assert_destroyed(circuit, client, server, "EARLY")
        self.assertLess(len(server.data), (MAX_EARLY + 1) * 1024)
        self.oracle.check()

    def be_good(self) -> None:
        """Everybody does what is right from now on."""
        for evil in self.evil:
            evil.be_good()



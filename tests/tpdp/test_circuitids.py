"""Ids of circuits: each is used once, and nobody touches a circuit of somebody else (SECURITY L8)."""

from __future__ import annotations

import random
from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import LinkError
from torpydo.tpdp.circuitids import CircuitIds
from torpydo.tpdp.constants import INITIATOR_BIT, MAX_CLOSING, MAX_UNKNOWN_PER_MINUTE
from torpydo.wire import Malformed


class CircuitIdsTests(SynchronousTestCase):
    """Both ends."""

    def both(self) -> list[tuple[CircuitIds, int]]:
        """An end of either kind, and the bit of the ids that its peer picks."""
        return [(CircuitIds(True), 0), (CircuitIds(False), INITIATOR_BIT)]

    def test_numbers(self) -> None:
        """The bit is the protocol's, the limits are ours."""
        self.assertEqual((INITIATOR_BIT, MAX_UNKNOWN_PER_MINUTE, MAX_CLOSING), (1 << 31, 100, 20_000))

    def test_taken(self) -> None:
        """They rise from 1, have the bit if the initiator took them, and are never zero; no two are the same."""
        for ids, peers in self.both():
            ours = peers ^ INITIATOR_BIT
            self.assertEqual([ids.take() for _ in range(3)], [ours | 1, ours | 2, ours | 3])
            self.assertEqual(ids.open, {ours | 1, ours | 2, ours | 3})
            self.assertTrue(all(ids.is_ours(one) for one in ids.open))
            self.assertFalse(ids.is_ours(peers | 1))

    def test_used_up(self) -> None:
        """The last one is taken, after it there is none."""
        for ids, peers in self.both():
            ids._next = INITIATOR_BIT - 1
            self.assertEqual(ids.take(), (peers ^ INITIATOR_BIT) | INITIATOR_BIT - 1)
            self.assertRaises(LinkError, ids.take)

    def test_none_comes_back(self) -> None:
        """An id that was closed, or whose link was, is not taken again."""
        for ids, _ in self.both():
            first = ids.take()
            ids.close(first)
            ids.let_go(first)
            second, third = ids.take(), ids.take()
            ids.close(second)
            self.assertEqual((ids.open, ids._closing), ({third}, {second}))
            ids.clear()
            self.assertEqual((ids.open, ids._closing), (set(), set()))
            self.assertEqual(len({first, second, third, ids.take()}), 4)

    def test_let_go_at_once(self) -> None:
        """The peer has never heard of it: it is neither open nor closing."""
        for ids, _ in self.both():
            ids.let_go(ids.take())
            self.assertEqual((ids.open, ids._closing), (set(), set()))

    def test_wrong_side(self) -> None:
        """The peer may not pick one of ours; that the first one of ours is zero is the link's matter."""
        for ids, peers in self.both():
            for number in (1, 77, INITIATOR_BIT - 1):
                self.assertRaises(Malformed, ids.admit, (peers ^ INITIATOR_BIT) | number, 0.0)
                self.assertFalse(ids.open)
                self.assertEqual(CircuitIds(not peers).admit(peers | number, 0.0), True)

    def test_only_rising_ones(self) -> None:
        """One that does not rise opens nothing, whatever became of the circuit that had it, and is counted."""
        for ids, peers in self.both():
            self.assertTrue(ids.admit(peers | 5, 0.0))
            for count, number in enumerate((5, 4, 1), 1):
                self.assertFalse(ids.admit(peers | number, 0.0))
                self.assertEqual((ids.open, ids._unknown), ({peers | 5}, count))
            ids.close(peers | 5)
            self.assertFalse(ids.admit(peers | 5, 0.0))
            ids.let_go(peers | 5)
            self.assertFalse(ids.admit(peers | 5, 0.0))
            self.assertEqual((ids.open, ids._unknown), (set(), 5))
            self.assertTrue(ids.admit(peers | 6, 0.0))

    def test_random_ids(self) -> None:
        """Of ten thousand ids in any order those are admitted that are larger than all before, each once."""
        rng = random.Random(4)
        for ids, peers in self.both():
            largest = 0
            admitted = []
            for step in range(10_000):
                number = rng.randrange(1, 1 << 31) if step % 2 else largest + rng.randrange(-3, 4)
                number = max(number >> 10 if step % 3 else number, 1) if number < INITIATOR_BIT else 1
                taken = ids.admit(peers | number, 60.0 * step)
                self.assertEqual(taken, number > largest)
                if taken:
                    largest = number
                    admitted.append(number)
            self.assertEqual(len(set(admitted)), len(ids.open))

    def test_a_hundred_a_minute(self) -> None:
        """Of strays and of CREATEs that do not rise, together; the minute begins with the first."""
        for ids, peers in self.both():
            ids.admit(peers | 9, 100.0)
            for number in range(MAX_UNKNOWN_PER_MINUTE):
                if number % 2:
                    ids.strayed(peers | 77, 100.0)
                else:
                    self.assertFalse(ids.admit(peers | 9, 100.0))
            self.assertRaises(Malformed, ids.strayed, peers | 77, 159.9)
            ids.strayed(peers | 77, 160.0)
            self.assertEqual(ids._unknown, 1)
            ids._unknown = MAX_UNKNOWN_PER_MINUTE
            self.assertRaises(Malformed, ids.admit, peers | 9, 219.9)

    def test_what_crosses_a_destroy_is_not_counted(self) -> None:
        """Until the peer has answered."""
        for ids, _ in self.both():
            one = ids.take()
            ids.close(one)
            for _ in range(2 * MAX_UNKNOWN_PER_MINUTE):
                ids.strayed(one, 0.0)
            ids.let_go(one)
            ids.strayed(one, 0.0)
            self.assertEqual(ids._unknown, 1)

    def test_a_peer_that_lets_nothing_go(self) -> None:
        """It may have no circuit more; one that it lets go makes room."""
        for ids, peers in self.both():
            for number in range(1, MAX_CLOSING + 1):
                ids.admit(peers | number, 0.0)
                ids.close(peers | number)
            self.assertRaises(Malformed, ids.admit, peers | MAX_CLOSING + 1, 0.0)
            ids.let_go(peers | 1)
            self.assertTrue(ids.admit(peers | MAX_CLOSING + 1, 0.0))


class CraftedTests(SynchronousTestCase):
    """Ids that were chosen so that a table of them is slow (TROVE-2021-005)."""

    def seconds(self, ids: list[int]) -> float:
        """Of the processor, to open and close circuits with these ids, at best."""
        best = float("inf")
        for _ in range(5):
            side = CircuitIds(is_initiator=True)
            began = process_time()
            for circ_id in ids:
                side.admit(circ_id, 0.0)
            for circ_id in ids:
                side.let_go(circ_id)
            best = min(best, process_time() - began)
        return best

    def test_equal_low_bits(self) -> None:
        """As many as there may be: an id has 31 bits, so few of them meet more than a few times in a table of Python.

        If each met all others it would take thousands of times as long.
        """
        number = 16_000
        plain = self.seconds(list(range(1, number + 1)))
        for shift in (15, 16, 17):
            crafted = [one << shift for one in range(1, number + 1)]
            self.assertLess(self.seconds(crafted), 50 * plain, shift)

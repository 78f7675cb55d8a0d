"""Tests of torpydo.node.workers.balancer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.workers.balancer import Balancer


class BalancerTests(SynchronousTestCase):
    """Who gets the next connection."""

    def make(self, workers: int) -> Balancer:
        """A balancer of workers without connections."""
        balancer = Balancer()
        for number in range(1, workers + 1):
            balancer.add(number)
        return balancer

    def test_in_turn(self) -> None:
        """Workers with the same number of connections take turns."""
        balancer = self.make(3)
        self.assertEqual([balancer.take() for _ in range(6)], [1, 2, 3, 1, 2, 3])

    def test_short_connections_in_turn(self) -> None:
        """That holds for connections that are closed again at once, too: nobody gets all of them."""
        balancer = self.make(2)
        chosen = []
        for count in range(1, 5):
            taken = balancer.take()
            assert taken is not None
            chosen.append(taken)
            balancer.reported(taken, taken=(count + 1) // 2, still_open=0)
        self.assertEqual(chosen, [1, 2, 1, 2])

    def test_fewest(self) -> None:
        """Whoever lost connections gets new ones until all have the same number."""
        balancer = self.make(2)
        for _ in range(8):
            balancer.take()
        balancer.reported(1, taken=4, still_open=4)
        balancer.reported(2, taken=4, still_open=1)
        self.assertEqual([balancer.take() for _ in range(3)], [2, 2, 2])
        self.assertEqual(balancer.take(), 1)

    def test_under_way(self) -> None:
        """A connection counts before its worker has heard of it, and only once when it has."""
        balancer = self.make(2)
        for _ in range(4):
            balancer.take()
        balancer.reported(1, taken=1, still_open=1)
        self.assertEqual([balancer.take() for _ in range(4)], [1, 2, 1, 2])

    def test_given_up(self) -> None:
        """One that never leaves does not count, and no report is needed for that."""
        balancer = self.make(2)
        for _ in range(4):
            balancer.take()
        balancer.given_up(2)
        balancer.given_up(2)
        self.assertEqual([balancer.take() for _ in range(4)], [2, 2, 1, 2])

    def test_leaving(self) -> None:
        """Whoever was removed gets nothing, whatever is said of it later, until it is added again."""
        balancer = self.make(2)
        balancer.remove(1)
        balancer.remove(1)
        balancer.reported(1, taken=0, still_open=0)
        balancer.given_up(1)
        self.assertEqual([balancer.take() for _ in range(2)], [2, 2])
        balancer.add(1)
        self.assertEqual(balancer.take(), 1)

    def test_starting(self) -> None:
        """Whoever is ready first at the start of the node does not get all connections."""
        balancer = self.make(2)
        balancer.reported(1, taken=0, still_open=0)
        self.assertEqual([balancer.take() for _ in range(4)], [1, 2, 1, 2])

    def test_started_again(self) -> None:
        """A worker that has ended before gets nothing until it has reported."""
        balancer = self.make(2)
        balancer.remove(2)
        balancer.add(2, again=True)
        self.assertEqual([balancer.take() for _ in range(3)], [1, 1, 1])
        balancer.reported(2, taken=0, still_open=0)
        self.assertEqual([balancer.take() for _ in range(3)], [2, 2, 2])

    def test_all_started_again(self) -> None:
        """If all have ended before the connections are theirs all the same."""
        balancer = self.make(0)
        for number in (1, 2):
            balancer.add(number, again=True)
        self.assertEqual([balancer.take() for _ in range(3)], [1, 2, 1])

    def test_back_again(self) -> None:
        """A worker that was started again has no connections, and catches up."""
        balancer = self.make(2)
        for _ in range(4):
            balancer.take()
        balancer.remove(1)
        self.assertEqual(balancer.take(), 2)
        balancer.add(1)
        balancer.reported(1, taken=0, still_open=0)
        self.assertEqual([balancer.take() for _ in range(3)], [1, 1, 1])

    def test_nobody(self) -> None:
        """Without workers there is nobody to choose."""
        self.assertIsNone(self.make(0).take())

    @given(st.integers(2, 64), st.integers(0, 500))
    def test_even(self, workers: int, connections: int) -> None:
        """Connections that stay differ by one at the most, however many there are."""
        balancer = self.make(workers)
        chosen = [balancer.take() for _ in range(connections)]
        loads = [chosen.count(number) for number in range(1, workers + 1)]
        self.assertEqual(sum(loads), connections)
        self.assertLessEqual(max(loads) - min(loads), 1)

    @given(st.data())
    def test_never_worse(self, data: st.DataObject) -> None:
        """Whatever closes and in whatever order it is reported, the one with the fewest is chosen."""
        workers = data.draw(st.integers(2, 5))
        balancer = self.make(workers)
        handed = dict.fromkeys(range(1, workers + 1), 0)
        known = dict.fromkeys(handed, (0, 0))

        def take() -> None:
            expected = {number: known[number][1] + handed[number] - known[number][0] for number in handed}
            chosen = balancer.take()
            assert chosen is not None
            self.assertEqual(expected[chosen], min(expected.values()))
            handed[chosen] += 1

        for _ in range(data.draw(st.integers(1, 40))):
            if data.draw(st.booleans()):
                number = data.draw(st.sampled_from(sorted(handed)))
                taken = data.draw(st.integers(known[number][0], handed[number]))
                # Of those that were open and those that have come since, some are closed.
                still_open = data.draw(st.integers(0, known[number][1] + taken - known[number][0]))
                known[number] = taken, still_open
                balancer.reported(number, taken=taken, still_open=still_open)
            take()
        # More than anyone can have: whoever had the most gets one, too, so that each count is seen.
        for _ in range(workers * sum(handed.values())):
            take()

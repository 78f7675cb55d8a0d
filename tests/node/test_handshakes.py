"""Tests of torpydo.node.handshakes."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node import limits
from torpydo.node.handshakes import Handshake, Handshakes

MESSAGE = bytes(512)


class HandshakesTests(SynchronousTestCase):
    """The queue of CREATEs; answering one takes :attr:`cost` seconds."""

    cost = 0.001

    def setUp(self) -> None:
        self.clock = Clock()
        self.answered: list[int] = []
        self.refused: list[int] = []
        self.link: Any = object()
        self.queue = Handshakes(self.clock, self.answer, lambda handshake: self.refused.append(handshake.circ_id))

    def answer(self, handshake: Handshake) -> None:
        """Work for a while. The clock's own calls wait meanwhile, as on a real reactor."""
        self.answered.append(handshake.circ_id)
        self.clock.rightNow += self.cost

    def add(self, *circ_ids: int) -> None:
        """CREATEs arrive in one read."""
        for circ_id in circ_ids:
            self.queue.add(self.link, circ_id, MESSAGE)
        self.queue.run()

    def test_at_once(self) -> None:
        """With nothing to do, a CREATE does not wait for the next turn."""
        self.add(1)
        self.assertEqual(self.answered, [1])

    def test_in_order_and_in_slices(self) -> None:
        """After a few milliseconds cells have their turn; the rest follows, first come first served."""
        self.add(*range(12))
        self.assertEqual(self.answered, list(range(5)))
        self.clock.advance(0)
        self.assertEqual(self.answered, list(range(12)))
        self.assertEqual((len(self.queue), self.clock.getDelayedCalls()), (0, []))

    def test_no_second_slice_in_a_turn(self) -> None:
        """What comes while others wait goes to the end."""
        self.add(*range(6))
        self.add(6)
        self.assertEqual(self.answered, list(range(5)))
        self.clock.advance(0)
        self.assertEqual(self.answered, list(range(7)))

    def test_too_long_a_queue(self) -> None:
        """What would have to wait too long is refused at once, by what a handshake was measured to cost."""
        self.cost = 0.1
        for _ in range(40):
            self.add(0)
            self.clock.advance(1)
        self.answered.clear()
        self.add(*range(1, 101))
        self.assertEqual(self.answered, [1])
        waiting = len(self.queue)
        self.assertLess(abs(waiting - limits.HANDSHAKE_DELAY / self.cost), 2)
        self.assertEqual(len(self.refused), 100 - 1 - waiting)

    def test_a_bound_on_the_number(self) -> None:
        """However fast they are."""
        self.queue._cost = 0.0
        for circ_id in range(limits.HANDSHAKES_WAITING + 10):
            self.queue.add(self.link, circ_id, MESSAGE)
        self.assertEqual(len(self.refused), 10)

    def test_too_old(self) -> None:
        """A CREATE whose client has given up is not worth an answer."""
        self.queue.add(self.link, 1, MESSAGE)
        self.clock.rightNow += limits.HANDSHAKE_AGE + 1
        self.add(2)
        self.assertEqual((self.answered, self.refused), ([2], [1]))

    def test_stop(self) -> None:
        """Nobody waits any more, and no call is left."""
        self.add(*range(10))
        self.queue.stop()
        self.assertEqual((len(self.queue), self.clock.getDelayedCalls()), (0, []))

"""Tests of torpydo.node.handshakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.bounds import Bounds
from torpydo.node.handshakes import Handshake, Handshakes
from torpydo.node.limits import DEFAULT_LIMITS
from torpydo.node.refusal import NodeRefusal

MESSAGE = bytes(512)


class HandshakesTests(SynchronousTestCase):
    """The queue of CREATEs; answering one takes :attr:`cost` seconds."""

    cost = 0.001

    def setUp(self) -> None:
        self.clock = Clock()
        self.answered: list[int] = []
        self.refused: list[int] = []
        self.causes: set[NodeRefusal] = set()
        self.made = True
        self.link: Any = object()
        self.queue = Handshakes(self.clock, Bounds.open(self.clock), self.answer, self.refuse)

    def answer(self, handshake: Handshake) -> bool:
        """Work for a while. The clock's own calls wait meanwhile, as on a real reactor."""
        self.answered.append(handshake.circ_id)
        self.clock.rightNow += self.cost
        return self.made

    def refuse(self, handshake: Handshake, refusal: NodeRefusal) -> None:
        """Write it down."""
        self.refused.append(handshake.circ_id)
        self.causes.add(refusal)

    def add(self, *circ_ids: int, asker: str = "one") -> None:
        """CREATEs arrive in one read."""
        for circ_id in circ_ids:
            self.queue.add(asker, self.link, circ_id, MESSAGE)
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

    def next_slice(self, busy: float) -> int:
        """How many are answered in the next turn, when cells take so many seconds of it."""
        before = len(self.answered)
        [call] = self.clock.getDelayedCalls()
        turn = call.func
        call.cancel()
        self.clock.rightNow += busy
        turn()
        return len(self.answered) - before

    def test_cells_have_most_of_the_time(self) -> None:
        """In a storm a slice is a third of what cells took since the last, at most 5 ms, and at least one handshake."""
        self.cost = 0.0001
        self.add(*range(500))
        self.assertEqual(len(self.answered), 50)
        self.assertEqual([self.next_slice(busy) for busy in (0.0059, 0.1, 0.0002)], [20, 50, 1])

    def test_without_cells(self) -> None:
        """A node that has nothing else to do makes a slice for each turn of its reactor."""
        self.cost = 0.00011
        self.add(*range(500))
        self.assertEqual([self.next_slice(busy) for busy in (0.00005, 0.0)], [19, 19])

    def test_the_time_of_cells_counts_for_the_wait(self) -> None:
        """Whoever would wait too long because of them is refused at once, too."""
        self.cost = 0.0013
        self.add(*range(2000))
        for _ in range(40):
            self.next_slice(0.1)
        before = len(self.queue)
        self.add(*range(2000, 4000), asker="other")
        # Every other turn is his, and four have theirs in 105 ms.
        room = DEFAULT_LIMITS.create_delay / (2 * 0.1052 / 4)
        self.assertLess(abs(len(self.queue) - before - room), 2)

    def test_the_time_when_nobody_waits_does_not(self) -> None:
        """An hour after a storm the node is as quick as ever."""
        self.add(*range(12))
        self.clock.advance(0)
        self.clock.advance(3600)
        self.add(12)
        self.add(*range(13, 1000))
        self.assertEqual(self.refused, [])

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
        self.assertLess(abs(waiting - DEFAULT_LIMITS.create_delay / self.cost), 2)
        self.assertEqual(len(self.refused), 100 - 1 - waiting)

    def test_what_makes_no_circuit_says_nothing_about_the_cost(self) -> None:
        """CREATEs that are destroyed while they wait, or are malformed, make others neither cheaper nor dearer."""
        for cost in (0.0, 0.5):
            self.cost, self.made = cost, False
            before = self.queue._cost
            for _ in range(100):
                self.add(1)
                self.clock.advance(1)
            self.assertEqual(self.queue._cost, before)
        # Nor when one of the same slice makes one.
        self.queue.add("one", self.link, 1, MESSAGE)
        self.queue.add("one", self.link, 2, MESSAGE)
        self.queue._answer = self.second_only
        self.queue.run()
        self.assertLess(self.queue._cost, 0.0006)

    def second_only(self, handshake: Handshake) -> bool:
        """The first one is malformed, and takes 4 ms to find out."""
        self.clock.rightNow += 0.004 if handshake.circ_id == 1 else 0.0005
        return handshake.circ_id == 2

    def test_a_stop_of_the_process(self) -> None:
        """Three seconds in which it was stopped are not what a handshake costs."""
        self.add(*range(6))
        self.assertEqual(self.next_slice(3.0), 1)
        self.assertLess(self.queue._cost, 0.02)
        self.add(*range(10, 80))
        self.assertEqual(self.refused, [])

    def test_a_bound_on_the_number(self) -> None:
        """However fast they are."""
        self.queue._cost = 0.0
        for circ_id in range(DEFAULT_LIMITS.creates_waiting + 10):
            self.queue.add("one", self.link, circ_id, MESSAGE)
        self.assertEqual(len(self.refused), 10)

    def test_too_old(self) -> None:
        """A CREATE whose client has given up is not worth an answer."""
        self.queue.add("one", self.link, 1, MESSAGE)
        self.clock.rightNow += DEFAULT_LIMITS.create_age + 1
        self.add(2)
        self.assertEqual((self.answered, self.refused), ([2], [1]))

    def test_causes(self) -> None:
        """What would wait too long and what has waited too long are told apart."""
        self.queue._cost = 0.0
        for circ_id in range(DEFAULT_LIMITS.creates_waiting + 1):
            self.queue.add("one", self.link, circ_id, MESSAGE)
        self.assertEqual(self.causes, {NodeRefusal.CREATES_WAITING})
        self.clock.rightNow += DEFAULT_LIMITS.create_age + 1
        self.queue.run()
        self.assertEqual(self.causes, {NodeRefusal.CREATES_WAITING, NodeRefusal.CREATES_LATE})

    def test_a_storm_delays_its_author(self) -> None:
        """Whoever else asks is served in his turn, not after all of it."""
        self.add(*range(100), asker="flood")
        self.add(1000, 1001, asker="honest")
        self.answered.clear()
        self.clock.advance(0)
        self.assertEqual(self.answered[:4], [5, 1000, 6, 1001])

    def test_turns(self) -> None:
        """Each has one in turn, in the order of its own; who has nothing left loses no turn of others."""
        self.cost = 0.0
        for asker, circ_ids in (("a", (1, 2, 3)), ("b", (4,)), ("c", (5, 6))):
            for circ_id in circ_ids:
                self.queue.add(asker, self.link, circ_id, MESSAGE)
        self.queue.run()
        self.assertEqual(self.answered, [1, 4, 5, 2, 6, 3])
        self.assertEqual((len(self.queue), self.queue._waiting), (0, {}))

    def test_a_full_queue_has_room_for_others(self) -> None:
        """The newest of whoever has the most makes it; he himself gets none."""
        self.queue._cost = 0.0
        most = DEFAULT_LIMITS.creates_waiting
        for circ_id in range(most):
            self.queue.add("flood", self.link, circ_id, MESSAGE)
        self.queue.add("honest", self.link, 10_000, MESSAGE)
        self.queue.add("flood", self.link, 10_001, MESSAGE)
        self.assertEqual((len(self.queue), self.refused), (most, [most - 1, 10_001]))
        self.cost = 0.0
        self.queue.run()
        self.assertEqual(self.answered[:3], [0, 10_000, 1])

    def test_a_long_queue_has_room_for_others(self) -> None:
        """Who would have to wait too long is he who has asked for too much, not who comes after him."""
        self.queue._cost = 0.01
        for circ_id in range(500):
            self.queue.add("flood", self.link, circ_id, MESSAGE)
        self.assertEqual(len(self.queue), 176)
        self.refused.clear()
        for circ_id in range(80):
            self.queue.add("honest", self.link, circ_id, MESSAGE)
        self.assertEqual((self.refused, len(self.queue)), ([], 256))
        # The last of these waits for 80 others of its own, and for as many of the flood.
        for circ_id in range(80, 100):
            self.queue.add("honest", self.link, circ_id, MESSAGE)
        self.assertEqual(self.refused, list(range(88, 100)))

    def test_many_askers(self) -> None:
        """If all of them together are too much, those who ask last are refused, whoever they are."""
        self.queue._cost = 0.01
        for number in range(300):
            self.queue.add(f"host {number}", self.link, number, MESSAGE)
        self.assertEqual((len(self.queue), self.refused), (176, list(range(176, 300))))

    def test_stop(self) -> None:
        """Nobody waits any more, and no call is left."""
        self.add(*range(10))
        self.queue.stop()
        self.assertEqual((len(self.queue), self.clock.getDelayedCalls()), (0, []))


class Processor:
    """A reactor in which work takes time, and other work comes between two calls.

    :ivar now: seconds
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.next: Callable[[], None] | None = None

    def seconds(self) -> float:
        """See ``IReactorTime``."""
        return self.now

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        """See ``IReactorTime``; there is one call at a time."""
        self.next = call


class StormTests(SynchronousTestCase):
    """Section 3 case 16, with a processor that does half of it."""

    cost = 0.0004

    def test_a_storm(self) -> None:
        """5000 CREATEs a second for 30 s beside ten of somebody else: each of these is answered, and soon (D3)."""
        processor = Processor()
        refused = {"flood": 0, "honest": 0}
        waited: list[float] = []

        def answer(handshake: Handshake) -> bool:
            processor.now += self.cost
            if handshake.circ_id:
                waited.append(processor.now - handshake.arrived_at)
            return True

        def refuse(handshake: Handshake, refusal: NodeRefusal) -> None:
            refused["honest" if handshake.circ_id else "flood"] += 1

        link: Any = object()
        queue = Handshakes(processor, Bounds.open(processor), answer, refuse)
        rates = {"flood": 5000, "honest": 10}
        asked = dict.fromkeys(rates, 0)
        longest = 0
        while processor.now < 30.0:
            for asker, rate in rates.items():
                while asked[asker] < rate * processor.now:
                    asked[asker] += 1
                    queue.add(asker, link, int(asker == "honest"), MESSAGE)
            longest = max(longest, len(queue))
            if processor.next is None:
                queue.run()
            else:
                call, processor.next = processor.next, None
                call()
            # Cells have their turn for as long.
            processor.now += 0.005
        self.assertEqual(refused["honest"], 0)
        self.assertGreaterEqual(len(waited), 299)
        self.assertLess(max(waited), 0.05)
        self.assertLessEqual(longest, DEFAULT_LIMITS.creates_waiting)
        self.assertGreater(refused["flood"], 75_000)

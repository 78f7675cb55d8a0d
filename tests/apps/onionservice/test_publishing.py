"""When descriptors are stored, and what is done if they are not."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.onionservice.base import MemoryStore
from tests.onion.build import SERVICE
from torpydo.apps.onionservice.publishing import Publisher
from torpydo.dht import Item
from torpydo.errors import CircuitError


class PublisherTests(SynchronousTestCase):
    """One service's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.told: list[bool] = []
        self.sequence = 0
        self.salts: tuple[bytes, ...] = (b"",)
        self.publisher = Publisher(self.clock, self.store, self.items, self.told.append)
        self.addCleanup(self.publisher.stop)

    def items(self) -> Sequence[Item]:
        self.sequence += 1
        return [Item.make(SERVICE, SERVICE.public, salt, self.sequence, 10, b"v") for salt in self.salts]

    def pass_time(self, seconds: int) -> None:
        """Second by second."""
        self.clock.pump([1.0] * seconds)

    def test_changes(self) -> None:
        """A second after the first of several, and once an hour."""
        self.publisher.soon()
        self.clock.advance(0.5)
        self.publisher.soon()
        self.clock.advance(0.5)
        self.pass_time(4000)
        self.assertEqual(self.store.puts, [1, 3601])
        self.assertEqual(self.told, [True, True])

    def test_nobody_kept_it(self) -> None:
        """Again after half a minute, then after more, up to five minutes; then once an hour as before."""
        self.store.holders = 0
        self.publisher.soon()
        self.pass_time(1000)
        self.assertEqual(self.store.puts, [1, 31, 91, 211, 451, 751])
        self.assertEqual(set(self.told), {False})
        self.store.holders = 8
        self.pass_time(400)
        self.assertEqual(self.store.puts[6:], [1051])
        self.assertTrue(self.told[-1])
        self.store.holders = 0
        self.publisher.soon()
        self.pass_time(60)
        self.assertEqual(self.store.puts[7:], [1401, 1431])

    def test_an_error(self) -> None:
        """The same."""
        self.store.slow = []
        self.publisher.soon()
        self.pass_time(1)
        self.store.slow.pop().errback(CircuitError("no circuit"))
        self.assertEqual(self.told, [False])
        self.pass_time(30)
        self.assertEqual(self.store.puts, [1, 31])

    def test_an_error_of_ours(self) -> None:
        """It is logged, and does not end the publishing."""
        self.store.slow = []
        self.publisher.soon()
        self.pass_time(1)
        self.store.slow.pop().errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.pass_time(30)
        self.assertEqual(len(self.store.puts), 2)

    def test_no_answer(self) -> None:
        """After a minute it counts as not stored."""
        self.store.slow = []
        self.publisher.soon()
        self.pass_time(61)
        self.assertEqual(self.told, [False])
        self.pass_time(30)
        self.assertEqual(self.store.puts, [1, 91])

    def test_one_of_two(self) -> None:
        """The first counts for those who want to know; both are stored again if one was not."""
        self.salts = (b"today", b"tomorrow")
        self.store.slow = []
        self.publisher.soon()
        self.pass_time(1)
        today, tomorrow = self.store.slow
        tomorrow.callback(0)
        today.callback(5)
        self.assertEqual(self.told, [True])
        self.pass_time(30)
        self.assertEqual(len(self.store.puts), 4)

    def test_a_change_meanwhile(self) -> None:
        """It is stored when the storing before it has ended: two at once could end in the wrong order."""
        self.store.slow = []
        self.publisher.soon()
        self.pass_time(1)
        self.publisher.soon()
        self.pass_time(5)
        self.assertEqual(len(self.store.puts), 1)
        self.store.slow.pop().callback(8)
        self.pass_time(1)
        self.assertEqual(len(self.store.puts), 2)

    def test_stop(self) -> None:
        """Nothing goes on: no timer, no storing; nobody is told."""
        ended: list[str] = []
        slow: list[Deferred[int]] = []
        self.store.slow = slow
        self.publisher.soon()
        self.pass_time(1)
        slow[0].addBoth(lambda result: ended.append("ended"))
        self.publisher.stop()
        self.assertEqual((ended, self.told, self.clock.getDelayedCalls()), (["ended"], [], []))
        self.publisher.soon()
        self.assertEqual(self.clock.getDelayedCalls(), [])

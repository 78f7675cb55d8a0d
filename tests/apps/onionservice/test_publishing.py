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
        self.outdone: list[Item] = []
        self.pause = 900
        self.publisher = Publisher(
            self.clock, self.store, self.items, self.told.append,
            outdone=self.outdone.append, randbelow=lambda count: min(self.pause, count - 1),
        )  # fmt: skip
        self.addCleanup(self.publisher.stop)

    def items(self) -> Sequence[Item]:
        self.sequence += 1
        return [Item.make(SERVICE, SERVICE.public, salt, self.sequence, 10, b"v") for salt in self.salts]

    def pass_time(self, seconds: int) -> None:
        """Second by second."""
        self.clock.pump([1.0] * seconds)

    def test_changes(self) -> None:
        """A second after the first of several, and once an hour or so, never at equal times."""
        self.publisher.soon()
        self.clock.advance(0.5)
        self.publisher.soon()
        self.clock.advance(0.5)
        self.pass_time(3599)
        self.pause = 0
        self.pass_time(1)
        self.pause = 10**6
        self.pass_time(8000)
        self.assertEqual(self.store.puts, [1, 3601, 3601 + 2700, 3601 + 2700 + 4500])
        self.assertEqual(self.told, [True] * 4)

    def test_nothing_to_say(self) -> None:
        """It is looked for again an hour later; nobody is told anything of it."""
        self.salts = ()
        self.publisher.soon()
        self.pass_time(1000)
        self.assertEqual((self.store.puts, self.told), ([], []))
        self.salts = (b"",)
        self.pass_time(3000)
        self.assertEqual((self.store.puts, self.told), ([3601], [True]))

    def test_a_spread(self) -> None:
        """A change is stored later, at random."""
        self.publisher._spread = 30
        for self.pause, seconds in ((0, 1), (12, 13), (99, 31)):
            self.store.puts.clear()
            changed = self.clock.seconds()
            self.publisher.soon()
            self.pass_time(31)
            self.assertEqual(self.store.puts, [changed + seconds])

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

    def newer(self) -> Item:
        """One of the same owner that counts more."""
        (item,) = self.items()
        return Item.make(SERVICE, SERVICE.public, item.salt, 100, 10, b"newer")

    def test_a_newer_one(self) -> None:
        """After the first, and after one that nobody kept, it is looked for, and told of; not after others."""
        newer = self.newer()
        self.publisher.soon()
        self.pass_time(1)
        self.assertEqual((self.store.gets, self.outdone), (1, []))
        self.publisher.soon()
        self.pass_time(1)
        self.assertEqual(self.store.gets, 1)
        self.store.items[newer.target] = newer
        self.store.holders = 0
        self.publisher.soon()
        self.pass_time(1)
        self.assertEqual((self.store.gets, self.outdone), (2, [newer]))
        # That of another day is the first again.
        self.store.holders = 8
        self.salts = (b"another day",)
        self.publisher.soon()
        self.pass_time(1)
        self.assertEqual((self.store.gets, self.outdone), (3, [newer]))

    def test_looking_in_vain(self) -> None:
        """Neither silence nor an error ends anything, and one is under way at the most."""
        self.store.silent = True
        self.store.holders = 0
        self.publisher.soon()
        self.pass_time(50)
        self.assertEqual((len(self.store.puts), self.store.gets), (2, 1))
        self.pass_time(50)
        self.assertEqual((len(self.store.puts), self.store.gets), (3, 2))
        self.publisher.stop()
        self.assertEqual((self.outdone, self.clock.getDelayedCalls()), ([], []))

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

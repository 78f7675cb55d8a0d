"""Whom to dial next."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.build import World, name, owner, record
from torpydo.errors import OnionNameError
from torpydo.peers import Address, Visits


class AddressTests(SynchronousTestCase):
    """Names as people write them."""

    def test_read(self) -> None:
        """With and without a port."""
        self.assertEqual(Address.parse(str(name()), 80), Address(name(), 80))
        self.assertEqual(Address.parse(f"{name()}:1"), Address(name(), 1))
        self.assertEqual(Address.parse(str(Address(name(), 99))), Address(name(), 99))

    def test_wrong(self) -> None:
        """Other names and other ports."""
        for text in ("", "example.org", "x.torpydo", f"{name()}:", f"{name()}:0", f"{name()}:65536", f"{name()}:+1",
                     f"{name()}:\u0661", f"{name()}:1:2"):  # fmt: skip
            self.assertRaises(OnionNameError, Address.parse, text)


class VisitTests(SynchronousTestCase):
    """One table."""

    def setUp(self) -> None:
        self.world = World()
        self.table = self.world.table()
        self.visits = Visits(self.table, clock=lambda: self.world.now, randbelow=self.world.random.randrange)

    def known(self, *numbers: int) -> None:
        for number in numbers:
            self.table.offer(record(number, port=number), owner(800).public)

    def often(self, times: int = 200) -> dict[int, int]:
        """How often each is chosen, by its port."""
        found: dict[int, int] = {}
        for _ in range(times):
            (one,) = self.visits.choose(1)
            found[one.port] = found.get(one.port, 0) + 1
        return found

    def test_nobody(self) -> None:
        """Who knows nobody dials nobody."""
        self.assertEqual(self.visits.choose(3), [])

    def test_no_more_than_there_are(self) -> None:
        """Each once."""
        self.known(1, 2, 3)
        found = self.visits.choose(5)
        self.assertEqual({address.port for address in found}, {1, 2, 3})
        self.assertEqual(len(found), 3)

    def test_all_kinds(self) -> None:
        """Half are new; those who are known, were lost, or are of the beginning, have their turn."""
        self.known(1, 2, 3)
        self.table.talked(owner(2).public)
        for _ in range(2):
            self.table.failed(owner(3).public)
        self.visits.hint([Address(name(4), 4)])
        found = self.often(800)
        self.assertEqual(set(found), {1, 2, 3, 4})
        self.assertTrue(300 < found[1] < 500 and 100 < found[2] < 300 and min(found[3], found[4]) > 50, found)

    def test_hints(self) -> None:
        """Those of the beginning; not this peer itself, and not more than are remembered."""
        self.visits.hint([Address(name(900), 1), Address(name(5), 5)])
        self.assertEqual(self.often(5), {5: 5})
        self.visits.hint(Address(name(number), number) for number in range(1000, 1200))
        self.assertNotIn(5, {address.port for address in self.visits.choose(500)})

    def test_hints_of_others(self) -> None:
        """However many a document names, they displace each other, and none that the application has given."""
        self.visits.hint([Address(name(5), 5)])
        self.visits.hint((Address(name(number), number) for number in range(1000, 1300)), by_others=True)
        self.visits.hint([Address(name(5), 6)], by_others=True)
        found = {address.port for address in self.visits.choose(500)}
        self.assertEqual(found, {5, *range(1101, 1300)})
        self.visits.hint([Address(name(1150), 1)])
        self.visits.hint((Address(name(number), number) for number in range(2000, 2300)), by_others=True)
        found = {address.port for address in self.visits.choose(500)}
        self.assertEqual(found, {5, 1, *range(2102, 2300)})

    def test_a_rest(self) -> None:
        """Who was visited is left alone, twice as long each time up to ten minutes; and who is being dialled."""
        self.known(1)
        self.assertEqual(self.visits.choose(1, [name(1)]), [])
        for rest in (30, 60, 120, 240, 480, 600, 600):
            self.visits.succeeded(name(1))
            self.world.now += rest - 1
            self.assertEqual(self.visits.choose(1), [])
            self.world.now += 1
            self.assertEqual(len(self.visits.choose(1)), 1)

    def test_strangers(self) -> None:
        """Somebody who was not met, is online, and may be dialled."""
        self.assertFalse(self.visits.has_strangers)
        self.known(1)
        self.assertTrue(self.visits.has_strangers)
        self.visits.failed(name(1))
        self.assertFalse(self.visits.has_strangers)
        self.known(2)
        self.assertTrue(self.visits.has_strangers)
        self.table.talked(owner(2).public)
        self.assertFalse(self.visits.has_strangers)

    def test_news(self) -> None:
        """Who has something to tell disturbs those who rest, not those who did not answer."""
        self.known(1, 2)
        self.visits.succeeded(name(1))
        self.visits.failed(name(2))
        self.assertEqual([address.port for address in self.visits.choose(2, news=True)], [1])

    def test_pauses_grow(self) -> None:
        """Twice as long each time, up to two hours and a quarter more; a success ends that."""
        self.known(1, 2)
        pauses = []
        for _ in range(12):
            # Somebody else is there: it is that one who is not.
            self.visits.succeeded(name(2))
            self.visits.failed(name(1))
            begun = self.world.now
            while all(address.port != 1 for address in self.visits.choose(2)):
                self.world.now += 5
                self.visits.succeeded(name(2))
            pauses.append(self.world.now - begun)
        self.assertTrue(45 <= pauses[0] <= 80 and 90 <= pauses[1] <= 155, pauses)
        self.assertTrue(5400 <= pauses[-1] <= 9005, pauses)
        self.visits.succeeded(name(1))
        self.world.now += 30
        self.visits.failed(name(1))
        self.world.now += 75
        self.assertIn(1, {address.port for address in self.visits.choose(2)})

    def fail_for(self, seconds: float, *numbers: int) -> None:
        """All visits to these, one every five seconds if they may be dialled."""
        end = self.world.now + seconds
        while self.world.now < end:
            for address in self.visits.choose(len(numbers)):
                self.visits.failed(address.name)
            self.world.now += 5

    def test_alone(self) -> None:
        """After twenty minutes without any success nobody is left alone for longer than a quarter of an hour."""
        self.known(1, 2)
        self.visits.failed(name(1))
        self.world.now += 1199
        self.assertFalse(self.visits.is_alone)
        self.fail_for(4 * 3600, 1, 2)
        self.assertTrue(self.visits.is_alone)
        for _ in range(2):
            for number in (1, 2):
                self.visits.failed(name(number))
        self.world.now += 899
        self.assertEqual(self.visits.choose(2), [])
        self.world.now += 1
        self.assertEqual(len(self.visits.choose(2)), 2)

    def test_not_alone_any_more(self) -> None:
        """One success, and all the others may be dialled at once; a failure after that has its pause again."""
        self.known(1, 2, 3)
        self.fail_for(4 * 3600, 1, 2, 3)
        for number in (1, 2, 3):
            self.visits.failed(name(number))
        self.visits.succeeded(name(1))
        self.assertFalse(self.visits.is_alone)
        self.assertEqual({address.port for address in self.visits.choose(3)}, {2, 3})
        self.visits.failed(name(2))
        self.assertEqual({address.port for address in self.visits.choose(3)}, {3})

    def test_those_who_are_not_listened_to(self) -> None:
        """Nobody dials them."""
        self.known(1)
        self.assertTrue(self.visits.has_strangers)
        for _ in range(9):
            self.table.offer(b"", owner(1).public)
        self.assertEqual(self.visits.choose(1), [])
        self.assertFalse(self.visits.has_strangers)

    def test_forget(self) -> None:
        """Of those who are gone nothing is remembered."""
        self.visits.succeeded(name(1))
        self.known(2)
        self.visits.succeeded(name(2))
        self.visits.forget()
        self.assertEqual(list(self.visits._pauses), [owner(2).public])

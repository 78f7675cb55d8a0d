"""What is kept: nothing forged or older, and no flood drives out what is kept already."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import DAY, NOW, item
from tests.directory.test_scale import calls
from torpydo.dht import MAX_LIFE, REPUBLISH, Item, Storage, Verdict


class Base(SynchronousTestCase):
    """A storage, and time that passes between two items."""

    def setUp(self) -> None:
        self.storage = Storage()
        self.now = 0.0

    def put(self, one: Item, source: bytes = b"a", now: float | None = None) -> Verdict:
        """Bring one; each a second after the one before, unless it is said when."""
        if now is None:
            self.now += 1
        else:
            self.now = now
        return self.storage.put(one, source, self.now, NOW + self.now)

    def has(self, one: Item) -> bool:
        """Whether it is kept."""
        return self.storage.get(one.target, self.now, NOW + self.now) == one


class StorageTests(Base):
    """Verdicts."""

    def test_the_newest_counts(self) -> None:
        """Whichever comes first, whoever brings it."""
        old, new, other = item(sequence=1), item(sequence=2), item(sequence=2, value=b"other")
        self.assertIs(self.put(old), Verdict.STORED)
        self.assertIs(self.put(new, b"b"), Verdict.STORED)
        self.assertIs(self.put(old), Verdict.OLDER)
        self.assertIs(self.put(new), Verdict.KNOWN)
        self.assertIs(self.put(other), Verdict.CONFLICT)
        self.assertEqual(list(self.storage), [new])
        self.assertTrue(self.has(new))

    def test_ten_thousand_forged_or_stale(self) -> None:
        """None is stored (SECURITY K4): neither in the place of what is kept, nor where nothing is kept yet."""
        good = item(sequence=2500)
        self.put(good)
        for number in range(2500):
            raw = number.to_bytes(8, "big")
            forged = (
                attrs.evolve(good, sequence=2501 + number, signature=raw * 8),
                attrs.evolve(good, salt=raw),
                attrs.evolve(item(2, 2501 + number, salt=raw[:4]), key=good.key),
            )
            for one in forged:
                self.assertIs(self.put(one, now=number / 20), Verdict.FORGED)
            self.assertIs(self.put(item(sequence=number, value=raw), now=number / 20), Verdict.OLDER)
        self.assertEqual(list(self.storage), [good])

    def test_expiry(self) -> None:
        """What is over is not kept, what is said again lives on, and nobody keeps anything for years."""
        self.assertIs(self.put(item(expires=NOW), now=0.0), Verdict.EXPIRED)
        self.assertIs(self.put(item(expires=NOW + MAX_LIFE + 3601), now=0.0), Verdict.EXPIRED)
        one = item(expires=NOW + DAY)
        self.put(one, now=0.0)
        self.put(one, now=7000.0)
        self.assertEqual(self.storage.get(one.target, 7201.0, NOW + 7201), one)
        self.assertIsNone(self.storage.get(one.target, 14_200.0, NOW + 14_200))
        self.assertEqual((len(self.storage), self.storage.size), (0, 0))
        self.put(one, now=14_200.0)
        self.storage.expire(20_000.0, NOW + DAY)
        self.assertEqual(len(self.storage), 0)

    def test_when_to_say_it_again(self) -> None:
        """An hour after anybody has; and whatever others do, now and then: who says it to its holders, and to nobody
        else, would keep it from those that come after them.
        """
        one = item()
        self.put(one, now=0.0)
        self.assertEqual(self.storage.due(REPUBLISH - 1), [])
        self.assertEqual(self.storage.due(REPUBLISH), [one.target])
        self.storage.told(one.target, REPUBLISH)
        self.assertEqual(self.storage.due(2 * REPUBLISH - 1), [])
        for hours in range(2, 5):
            self.put(one, now=hours * REPUBLISH)
            self.assertEqual(self.storage.due(self.now), [])
        self.put(one, now=5 * REPUBLISH)
        self.assertEqual(self.storage.due(self.now), [one.target])
        self.storage.told(item(2).target, self.now)


class RoomTests(Base):
    """Who has room where there is little."""

    def test_one_source_while_there_is_room(self) -> None:
        """In a small network many items of many owners come through one node: nobody counts them."""
        self.assertEqual({self.put(item(number)) for number in range(1, 301)}, {Verdict.STORED})
        self.assertEqual(len(self.storage), 300)

    def test_a_flood_of_one_source(self) -> None:
        """What others have brought before and what they bring after is all there (SECURITY K6)."""
        self.storage = Storage(total=200_000)
        honest = [item(number) for number in range(1, 61)]
        for number, one in enumerate(honest[:30]):
            self.put(one, b"h%d" % (number % 5))
        flood = [item(1000 + number, value=bytes(1000)) for number in range(300)]
        verdicts = [self.put(one, b"flood") for one in flood]
        self.assertEqual((verdicts[0], verdicts[-1]), (Verdict.STORED, Verdict.FULL))
        for number, one in enumerate(honest[30:]):
            self.assertIs(self.put(one, b"h%d" % (number % 5)), Verdict.STORED)
        self.assertEqual([one for one in honest if not self.has(one)], [])
        self.assertLessEqual(self.storage.size, 200_000)

    def test_a_hundred_thousand_of_one_source(self) -> None:
        """They cost next to nothing once it has its share: not a signature is looked at (SECURITY K6)."""
        self.storage = Storage(total=100_000)
        honest = [item(number) for number in range(1, 21)]
        for number, one in enumerate(honest):
            self.put(one, b"h%d" % number, now=0.0)
        number = 1000
        while self.put(item(number, value=bytes(1000)), b"flood") is Verdict.STORED:
            number += 1
        forged = item(number, value=bytes(1000))
        self.storage._checked.clear()
        # They are all at one time: a signature that was looked at would count.
        verdicts = {
            self.put(attrs.evolve(forged, salt=salt.to_bytes(4, "big")), b"flood", now=self.now)
            for salt in range(100_000)
        }
        self.assertEqual((verdicts, self.storage._checked.total()), ({Verdict.FULL}, 0))
        self.assertEqual([one for one in honest if not self.has(one)], [])

    def test_a_flood_that_is_near(self) -> None:
        """With a salt of his choice somebody makes targets as near as he likes: that drives out nothing."""
        near: set[bytes] = set()
        self.storage = Storage(lambda target: target in near, total=100_000)
        honest = [item(number) for number in range(1, 21)]
        flood = [item(1, salt=b"%d" % number, value=bytes(1000)) for number in range(200)]
        near |= {one.target for one in flood}
        for number, one in enumerate(honest):
            self.put(one, b"h%d" % (number % 5))
        for number, one in enumerate(flood):
            self.put(one, b"%d" % (number % 7))
        self.assertEqual([one for one in honest if not self.has(one)], [])

    def test_what_belongs_elsewhere(self) -> None:
        """It is kept while there is plenty of room, and not from half on."""
        near = item(100)
        self.storage = Storage(lambda target: target == near.target, total=20_000)
        verdicts = [self.put(item(number)) for number in range(1, 21)]
        self.assertEqual((verdicts.count(Verdict.STORED), self.storage.size), (9, 9 * item().size))
        self.assertIs(self.put(near), Verdict.STORED)

    def test_a_newer_one_where_there_is_no_room(self) -> None:
        """It takes the older one's place, whoever brings it: a newer one wins everywhere (SECURITY K4)."""
        self.storage = Storage(total=20_000)
        number = 0
        while self.put(item(number + 1), b"a") is Verdict.STORED:
            number += 1
        self.assertIs(self.put(item(number, 2), b"a"), Verdict.STORED)
        self.assertTrue(self.has(item(number, 2)))
        self.assertEqual(len(self.storage), number)
        # It still counts for whoever brought it first: nobody can make another's items his own to lose them.
        self.put(item(number, 3), b"b")
        self.assertIs(self.put(item(9999), b"b"), Verdict.STORED)

    def test_what_grows(self) -> None:
        """A newer version that is larger makes room for itself; the limit holds."""
        self.storage = Storage(total=20_000)
        number = 0
        while self.put(item(number + 1, value=b"")) is Verdict.STORED:
            number += 1
        self.put(item(1, 2, value=bytes(4000)), b"b")
        self.assertTrue(self.has(item(1, 2, value=bytes(4000))))
        self.assertLessEqual(self.storage.size, 20_000)

    def test_what_has_expired_makes_room(self) -> None:
        """Before anybody is refused; but not everything is looked at for each of a flood."""
        self.storage = Storage(total=20_000)
        number = 0
        while self.put(item(number + 1, expires=NOW + 500), b"a") is Verdict.STORED:
            number += 1
        self.assertIs(self.put(item(2000), b"a", now=600.0), Verdict.STORED)
        self.assertEqual(len(self.storage), 1)

    def test_a_flood_of_signatures(self) -> None:
        """A source has so many checked in a second, and all together: what is beyond costs nothing (SECURITY D)."""
        forged = [attrs.evolve(item(), sequence=number, signature=bytes(64)) for number in range(2000)]
        verdicts = [self.put(one, b"flood", now=10.0) for one in forged[:200]]
        self.assertEqual((verdicts.count(Verdict.FORGED), verdicts.count(Verdict.FULL)), (128, 72))
        self.assertLess(calls(lambda: self.put(forged[0], b"flood", now=10.0), "torpydo."), 20)
        self.assertIs(self.put(item(), b"other", now=10.5), Verdict.STORED)
        verdicts = [self.put(one, b"%d" % (number // 100), now=11.0) for number, one in enumerate(forged)]
        self.assertEqual(verdicts.count(Verdict.FORGED), 1024)
        self.assertIs(self.put(item(2), b"flood", now=12.0), Verdict.STORED)

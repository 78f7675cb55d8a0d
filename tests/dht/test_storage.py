"""What is kept: nothing forged or older, and no flood drives out what belongs here."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import DAY, NOW, item
from tests.directory.test_scale import calls
from torpydo.dht import MAX_LIFE, Storage, Verdict, distance, place_of

PLACE = place_of(bytes(32))


class StorageTests(SynchronousTestCase):
    """Verdicts."""

    def setUp(self) -> None:
        self.storage = Storage(PLACE)

    def put(self, one: object, source: bytes = b"a", now: float = 0.0) -> Verdict:
        return self.storage.put(one, source, now, NOW + now)  # type: ignore[arg-type]

    def test_the_newest_counts(self) -> None:
        """Whichever comes first, whoever brings it."""
        old, new, other = item(sequence=1), item(sequence=2), item(sequence=2, value=b"other")
        self.assertIs(self.put(old), Verdict.STORED)
        self.assertIs(self.put(new, b"b"), Verdict.STORED)
        self.assertIs(self.put(old), Verdict.OLDER)
        self.assertIs(self.put(new), Verdict.KNOWN)
        self.assertIs(self.put(other), Verdict.CONFLICT)
        self.assertEqual(list(self.storage), [new])
        self.assertEqual(self.storage.get(new.target, 0.0, NOW), new)

    def test_ten_thousand_forged_or_stale(self) -> None:
        """None is stored (SECURITY K4)."""
        good = item(sequence=10)
        self.put(good)
        for number in range(5000):
            forged = attrs.evolve(good, sequence=11 + number, signature=number.to_bytes(64, "big"))
            self.assertIs(self.put(forged), Verdict.FORGED)
            self.assertIs(self.put(attrs.evolve(good, sequence=number % 10)), Verdict.OLDER)
        self.assertEqual(list(self.storage), [good])

    def test_expiry(self) -> None:
        """What is over is not kept, what is said again lives on, and nobody keeps anything for years."""
        self.assertIs(self.put(item(expires=NOW)), Verdict.EXPIRED)
        self.assertIs(self.put(item(expires=NOW + MAX_LIFE + 3601)), Verdict.EXPIRED)
        one = item(expires=NOW + DAY)
        self.put(one)
        self.put(one, now=7000.0)
        self.assertEqual(self.storage.get(one.target, 7201.0, NOW + 7201), one)
        self.assertIsNone(self.storage.get(one.target, 14_200.0, NOW + 14_200))
        self.assertEqual((len(self.storage), self.storage.size), (0, 0))
        self.put(one, now=14_200.0)
        self.storage.expire(20_000.0, NOW + DAY)
        self.assertEqual(len(self.storage), 0)

    def test_a_flood_of_one_source(self) -> None:
        """It has 64 items, and what others have brought is all there (SECURITY K6)."""
        honest = [item(number) for number in range(1, 31)]
        for number, one in enumerate(honest):
            self.put(one, b"h%d" % number)
        flood = [item(1000 + number) for number in range(500)]
        for one in flood:
            self.put(one, b"flood")
        self.assertEqual(len(self.storage), 30 + 64)
        self.assertTrue(all(self.storage.get(one.target, 0.0, NOW) == one for one in honest))
        # Of its own it has the closest ones.
        kept = [one for one in flood if self.storage.get(one.target, 0.0, NOW)]
        nearest = sorted(flood, key=lambda one: distance(one.target, PLACE))[:64]
        self.assertEqual(set(map(id, kept)), set(map(id, nearest)))

    def test_a_flood_costs_little(self) -> None:
        """A source that has its share is refused without a look at what others have, or at a signature."""
        storage = Storage(PLACE, per_source=4)
        for number in range(1, 301):
            storage.put(item(number), b"h%d" % number, 0.0, NOW)
        flood = sorted([item(1000 + number) for number in range(40)], key=lambda one: distance(one.target, PLACE))
        for one in flood[:4]:
            storage.put(one, b"flood", 0.0, NOW)
        forged = attrs.evolve(flood[-1], signature=bytes(64))
        self.assertLess(calls(lambda: storage.put(forged, b"flood", 0.0, NOW), "torpydo."), 40)
        self.assertIs(storage.put(forged, b"flood", 0.0, NOW), Verdict.FULL)

    def test_many_sources(self) -> None:
        """In all there is a limit as well; the farthest go first, those that belong here stay."""
        storage = Storage(PLACE, total=100_000)
        everything = [item(number, value=bytes(1000)) for number in range(1, 301)]
        for number, one in enumerate(everything):
            storage.put(one, b"%d" % number, 0.0, NOW)
        self.assertLessEqual(storage.size, 100_000)
        nearest = sorted(everything, key=lambda one: distance(one.target, PLACE))
        self.assertTrue(all(storage.get(one.target, 0.0, NOW) for one in nearest[:70]))
        self.assertIs(storage.put(everything[-1], b"x", 0.0, NOW), storage.put(everything[-1], b"x", 0.0, NOW))

    def test_one_too_far(self) -> None:
        """A source that has its share is told so if what it brings is farther off than all of it."""
        storage = Storage(PLACE, per_source=2)
        far, *near = sorted([item(number) for number in range(1, 4)], key=lambda one: -distance(one.target, PLACE))
        for one in near:
            storage.put(one, b"a", 0.0, NOW)
        self.assertIs(storage.put(far, b"a", 0.0, NOW), Verdict.FULL)
        self.assertIs(storage.put(far, b"b", 0.0, NOW), Verdict.STORED)

    def test_a_newer_one_of_a_full_source(self) -> None:
        """It takes the place of the older one."""
        storage = Storage(PLACE, per_source=1)
        storage.put(item(sequence=1), b"a", 0.0, NOW)
        self.assertIs(storage.put(item(sequence=2), b"a", 0.0, NOW), Verdict.STORED)
        self.assertEqual(len(storage), 1)

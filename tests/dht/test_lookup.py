"""One lookup: it ends whatever it is told, and waits for nobody for long."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import contacts
from torpydo.dht import ALPHA, HOLDERS, WIDTH, Contact, Lookup, distance
from torpydo.dht.lookup import MOST

TARGET = bytes(32)


def by_distance(some: list[Contact]) -> list[Contact]:
    """The closest to the target first."""
    return sorted(some, key=lambda one: distance(one.place, TARGET))


class LookupTests(SynchronousTestCase):
    """Whom it asks, and when it is over."""

    def test_names_without_an_end(self) -> None:
        """Liars name ever closer nodes that do not answer: after so many questions it is over all the same."""
        everyone = by_distance(contacts(3000))
        lookup = Lookup(TARGET, everyone[-WIDTH:])
        unknown = everyone[:-WIDTH]
        while not lookup.is_over:
            for contact in lookup.questions():
                if contact in everyone[-WIDTH:]:
                    named = [unknown.pop() for _ in range(WIDTH) if unknown]
                    lookup.answered(contact, named)
                else:
                    # A thousand sybils that are listed, and of which each could name twenty more.
                    lookup.answered(contact, [unknown.pop() for _ in range(WIDTH) if unknown])
                    lookup.failed(contact)
        self.assertLessEqual(lookup.asked, MOST)
        self.assertEqual(lookup.questions(), [])

    def test_those_that_are_slow(self) -> None:
        """Others are asked meanwhile; but it is not over before they have answered or failed."""
        start = by_distance(contacts(10))
        lookup = Lookup(TARGET, start, paths=1)
        first = lookup.questions()
        self.assertEqual((first, lookup.questions()), (start[:ALPHA], []))
        for contact in first:
            lookup.slow(contact)
        second = lookup.questions()
        self.assertEqual(second, start[ALPHA : 2 * ALPHA])
        while second:
            for contact in second:
                lookup.answered(contact, [])
            second = lookup.questions()
        self.assertFalse(lookup.is_over)
        lookup.answered(first[0], [])
        lookup.failed(first[1])
        self.assertFalse(lookup.is_over)
        lookup.failed(first[2])
        self.assertTrue(lookup.is_over)
        self.assertEqual(lookup.closest(), [start[0], *start[3:]])
        # Too late to be slow.
        lookup.slow(first[0])
        self.assertTrue(lookup.is_over)

    def test_one_that_fails(self) -> None:
        """The next one of its path is asked in its place; it is nowhere near any more."""
        start = by_distance(contacts(WIDTH + 1))
        lookup = Lookup(TARGET, start, paths=1, width=2)
        self.assertEqual(lookup.questions(), start[:2])
        lookup.failed(start[0])
        self.assertEqual(lookup.questions(), [start[2]])
        lookup.answered(start[1], [])
        lookup.answered(start[2], [])
        self.assertTrue(lookup.is_over)
        self.assertEqual(lookup.closest(HOLDERS), start[1:3])

    def test_steps(self) -> None:
        """From one that it began with it is one, and one more for each name on the way."""
        far, middle, near = reversed(by_distance(contacts(3)))
        lookup = Lookup(TARGET, [far])
        self.assertEqual(lookup.hops, 0)
        for contact, named in ((far, [middle]), (middle, [near]), (near, [far])):
            self.assertEqual(lookup.questions(), [contact])
            lookup.answered(contact, named)
        self.assertEqual((lookup.hops, lookup.asked, lookup.is_over), (3, 3, True))

    def test_a_node_is_on_one_path(self) -> None:
        """Whoever names it next has said nothing new, and it is asked once."""
        start = by_distance(contacts(6))
        lookup = Lookup(TARGET, start[4:])
        self.assertEqual(set(lookup.questions()), set(start[4:]))
        lookup.answered(start[4], start[:2])
        lookup.answered(start[5], [*start[:3], *start[:3]])
        self.assertEqual(sorted(lookup.questions(), key=start.index), start[:3])

"""Tests of torpydo.testing.dhtlookups: the figures of ``torpydo bench --dht`` come from lookups that were made."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from torpydo.dht import distance
from torpydo.testing.dhtlookups import Case, main, measure
from torpydo.testing.dhtworld import TIMEOUT, DHTWorld


class MeasureTests(SynchronousTestCase):
    """A few nodes."""

    def test_every_case(self) -> None:
        """What was stored is found, whatever a fifth of them does; and it takes its trips there and back."""
        for case in Case:
            # In some everybody looks after his table, which is work.
            found = measure(30 if case in (Case.CHURN, Case.CUT_OFF) else 100, case, 0.2, 20, 1)
            self.assertEqual(len(found), 20)
            self.assertGreaterEqual(sum(search.item is not None for search in found), 19, case)
            for search in found:
                self.assertGreaterEqual(search.hops, 1)
                self.assertGreaterEqual(search.questions, 8)
                self.assertGreaterEqual(search.seconds, 0.1)

    def test_a_thousand(self) -> None:
        """With a fifth of liars at least 99 of 100 lookups succeed (SECURITY K2)."""
        found = measure(1000, Case.LIARS, 0.2, 200, 7)
        self.assertGreaterEqual(sum(search.item is not None for search in found), 198)

    def test_what_is_not_found(self) -> None:
        """If nearly all are liars it shows: the figures are not made up."""
        found = measure(100, Case.SYBILS, 0.95, 20, 1)
        self.assertLess(sum(search.item is not None for search in found), 15)

    def test_who_is_late(self) -> None:
        """It takes longer, but not for each of them: others are asked meanwhile."""
        honest, late = (
            sorted(search.seconds for search in measure(100, Case.LATE, share, 20, 1))[10] for share in (0.0, 0.2)
        )
        self.assertGreater(late, honest)
        self.assertLess(late, honest + 2 * TIMEOUT)

    def test_the_same_again(self) -> None:
        """The seed decides, and nothing else."""
        first, second, other = (measure(30, Case.LATE, 0.2, 6, seed) for seed in (1, 1, 2))
        self.assertEqual(first, second)
        self.assertNotEqual(first, other)

    def test_the_command(self) -> None:
        """It prints what was measured."""
        output = StringIO()
        with redirect_stdout(output):
            self.assertEqual(main(["--nodes=30", "--percent=20", "--lookups=4", "--seed=5"]), 0)
        found = measure(30, Case.LIARS, 0.2, 4, 5)
        self.assertEqual(
            json.loads(output.getvalue()),
            {
                "found": [search.item is not None for search in found],
                "hops": [search.hops for search in found],
                "questions": [search.questions for search in found],
                "seconds": [search.seconds for search in found],
            },
        )


class WorldTests(SynchronousTestCase):
    """Tables as they are after a long time."""

    def test_acquainted(self) -> None:
        """Everybody has whoever there is in the rows that are not full, and twenty in those that are."""
        world = DHTWorld(150, seed=2)
        world.acquaint()
        for member in world.members[:20]:
            rows: dict[int, int] = {}
            for other in world.members:
                if other is not member:
                    row = 256 - (member.contact.number ^ other.contact.number).bit_length()
                    rows[row] = rows.get(row, 0) + 1
            self.assertEqual(len(member.core.contacts), sum(min(20, many) for many in rows.values()))

    def test_newcomers_come_to_be_known(self) -> None:
        """By those near them who were there before, when they look at the listing."""
        world = DHTWorld(60, seed=2)
        world.acquaint()
        old = list(world.members[:50])
        made = world.replace(world.members[50:])
        world.upkeep(old)
        for new in made:
            near = sorted(old, key=lambda one: distance(one.contact.place, new.contact.place))[:8]
            self.assertGreaterEqual(sum(new.contact in member.core.contacts for member in near), 7)

"""Tests of tests.soak.bed: what becomes of the outcomes of honest programs."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.soak.bed import Bed, FaultBroke, Scale
from tests.soak.outcomes import Ending, Outcome
from tests.soak.traffic import Ports, Transfers


class Prepared(Transfers):
    """Transfers that end as the test says."""

    endings: list[Ending]

    async def run(self, transfer: Any) -> Outcome:
        """The next ending."""
        return Outcome(self.endings.pop(0), "download", "why", 0, 0.1)


class HonestTests(SynchronousTestCase):
    """A program that tries until it succeeds."""

    def honest(self, *endings: Ending) -> Any:
        """Let it try, a second for all of its pauses."""
        self.clock = Clock()
        self.transfers = Prepared(self.clock, 1.0)
        self.transfers.endings = list(endings)
        network: Any = SimpleNamespace(
            reactor=self.clock, patience=1.0, doors=[Ports(1, 2)], port=lambda name: 3
        )  # fmt: skip
        bed = Bed(network, self.transfers, Random(1), Scale(1.0, False, 1.0))
        done = Deferred.fromCoroutine(bed.honest(limit=0.5))
        self.clock.pump([0.2] * 5)
        return done

    def test_errors_do_not_count(self) -> None:
        """A failure that is said is a part of the fault."""
        self.assertAlmostEqual(self.successResultOf(self.honest(Ending.ERROR, Ending.ERROR, Ending.OK)), 0.4)
        self.assertEqual(dict(self.transfers.tally.endings), {Ending.OK: 1})

    def test_what_is_wrong_counts(self) -> None:
        """Silence, and wrong bytes, are wrong in a fault, too."""
        self.successResultOf(self.honest(Ending.WRONG, Ending.CORRUPT, Ending.OK))
        self.assertEqual(
            dict(self.transfers.tally.endings), {Ending.WRONG: 1, Ending.CORRUPT: 1, Ending.OK: 1}
        )

    def test_too_late(self) -> None:
        """It has so long, and the last reason is said."""
        failure = self.failureResultOf(self.honest(*[Ending.ERROR] * 6), FaultBroke)
        self.assertIn("the last one: why) took 0.6 s", str(failure.value))

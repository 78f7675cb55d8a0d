"""The table of steps: everything that a read of the exit passes is in it, and the sum is the sum."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.steps import ROUNDS, Path, main, measure


class StepsTests(SynchronousTestCase):
    """What is measured."""

    def test_every_process_has_its_steps(self) -> None:
        """The client, each node, and each direction; the last line adds up those of one read."""
        steps = measure(2, 20)
        names = [step.what for step in steps]
        for who in ("client", "guard", "middle", "exit"):
            self.assertTrue([name for name in names if name.startswith(f"{who}: open the record")], who)
        self.assertTrue(all(len(step.samples) == ROUNDS and min(step.samples) > 0 for step in steps))
        parts = [step for step in steps if ": " in step.what]
        self.assertEqual(names[-1], "together")
        for number in range(ROUNDS):
            whole = sum(step.samples[number] for step in parts)
            self.assertAlmostEqual(steps[-1].samples[number], whole, delta=whole / 1e6)

    def test_the_bytes_arrive(self) -> None:
        """What is measured is a circuit that works: the client acknowledges, and the window never closes."""
        path = Path()
        for _ in range(40):
            path.read(os.urandom(60_000))
        self.assertEqual(path.exit.buffered(path.stream), 0)
        self.assertIsNotNone(path.exit.rtt)

    def test_the_command(self) -> None:
        """It ends with status 0."""
        self.assertEqual(main(["--short"]), 0)

"""Tests of torpydo.cli.bench.memory: what the kernel's text says."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.memory import family, read_memory

ROLLUP = """\
55d0a2c00000-7ffd0 ---p 00000000 00:00 0                  [rollup]
Rss:              2000 kB
Pss:              1500 kB
Private_Clean:      40 kB
Private_Dirty:    1000 kB
Swap:               {swap} kB
SwapPss:             1 kB
"""


class ReadMemoryTests(SynchronousTestCase):
    """One process."""

    def test_resident_and_own(self) -> None:
        """In megabytes of a million bytes."""
        memory = read_memory(ROLLUP.format(swap=0))
        self.assertAlmostEqual(memory.resident, 2.048)
        self.assertAlmostEqual(memory.own, 1.024)

    def test_what_is_in_swap_counts(self) -> None:
        """A process that was quiet for long has not become smaller."""
        memory = read_memory(ROLLUP.format(swap=1000))
        self.assertAlmostEqual(memory.resident, 3.072)
        self.assertAlmostEqual(memory.own, 2.048)


class FamilyTests(SynchronousTestCase):
    """Which processes count."""

    def test_what_it_has_started(self) -> None:
        """Children and their children, and nobody else, whatever the order."""
        self.assertEqual(family({9: 8, 8: 7, 7: 1, 6: 1, 5: 6}, 7), {7, 8, 9})

    def test_a_process_alone(self) -> None:
        """It is its own family, even if nobody knows its parent."""
        self.assertEqual(family({}, 7), {7})

"""Tests of tests.soak.judge, tests.soak.samples and tests.soak.table: a planted breach is found, and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.faults import ALL, choose
from tests.soak.judge import FaultResult, Restarts, Run, complaints, leftovers
from tests.soak.outcomes import Ending, Outcome, Tally
from tests.soak.plan import Plan, seconds_in
from tests.soak.samples import MEBIBYTE, Reading, Series, least_squares
from tests.soak.table import lines

MINUTE, HOUR = 60.0, 3600.0


def tally(ok: int = 1000, **others: int) -> Tally:
    """So many of each ending."""
    result = Tally()
    for ending, count in {Ending.OK: ok, **{Ending(name): count for name, count in others.items()}}.items():
        for _ in range(count):
            result.add(Outcome(ending, "download", "why", 1000, 0.1))
    return result


def series(
    seconds: float, memory: Callable[[float], float], files: Callable[[float], int] = lambda time: 20
) -> Series:
    """A process with so many MiB and files, looked at every ten seconds, and in rest every five minutes."""
    random, result = Random(1), Series("node1", -300.0)
    for step in range(int(seconds / 10)):
        time = 10.0 * step
        noise = random.gauss(0.0, 1.0)
        reading = Reading(int((memory(time) + noise) * MEBIBYTE), files(time), time / 10)
        result.add(time, reading, steady=True, resting=step % 30 == 0)
    return result


def run(**parts: Any) -> Run:
    """A run in which all was well, apart from these parts."""
    whole: dict[str, Any] = {
        "seconds": HOUR, "tally": tally(), "faults": [FaultResult("1", "killed")], "restarts": Restarts(60, 60),
        "series": [series(HOUR, lambda time: 60.0)],
    }  # fmt: skip
    return Run(**whole | parts)


class RunTestCase(SynchronousTestCase):
    """Looks at the breaches of a run."""

    def assert_breaches(self, judged: Run, *words: str) -> None:
        """These breaches and no others, and the table ends with them."""
        found = judged.breaches()
        self.assertEqual(len(found), len(words), found)
        for breach, word in zip(found, words, strict=True):
            self.assertIn(word, breach)
        last = list(lines(judged))[-1]
        self.assertEqual(last, f"failed: {len(words)} breaches" if words else "passed")


class RunTests(RunTestCase):
    """What a run must be like."""

    def test_all_well(self) -> None:
        """A correct error now and then is no breach."""
        self.assert_breaches(run(tally=tally(1000, error=30)))

    def test_one_wrong_byte(self) -> None:
        """One in a million is too many."""
        self.assert_breaches(run(tally=tally(100_000, corrupt=1)), "1 transfers brought wrong bytes")

    def test_wrong_ends(self) -> None:
        """Half a percent may hang, or get an answer that is none."""
        self.assert_breaches(run(tally=tally(1000, wrong=5)))
        self.assert_breaches(run(tally=tally(1000, wrong=6)), "only 99.40%")

    def test_nothing_but_correct_errors(self) -> None:
        """A network in which nothing works fails the run, as does one that was not used."""
        self.assert_breaches(run(tally=tally(700, error=300)), "only 70.0%")
        self.assert_breaches(run(tally=tally(700, error=300), seconds=30.0))
        self.assert_breaches(run(tally=tally(0, error=300), seconds=30.0), "only 0.0%")
        self.assert_breaches(run(tally=Tally()), "not one transfer")

    def test_a_fault(self) -> None:
        """Each breach of it counts; one that was not run does not."""
        faults = [FaultResult("2", "frozen", breaches=("late", "lost")), FaultResult("9", "none", skipped="no time")]
        self.assert_breaches(run(faults=faults), "fault 2 (frozen): late", "fault 2 (frozen): lost")

    def test_what_was_said_and_what_broke(self) -> None:
        """A process that ended, a line of a log, a restart that was left out."""
        judged = run(broken=["node2 ended by itself", "node1: Traceback"], restarts=Restarts(2, 3))
        self.assert_breaches(judged, "node2 ended", "node1: Traceback", "only 2 of 3 restarts")


class MemoryTests(RunTestCase):
    """Memory and open files over time."""

    def growing(self, seconds: float, per_hour: float) -> Run:
        """A run with a process that grows by so many MiB an hour."""
        return run(series=[series(seconds, lambda time: 60.0 + per_hour * time / HOUR)])

    def test_a_slope(self) -> None:
        """One MiB an hour is allowed, three are not."""
        for per_hour in (-3.0, 0.0, 0.8):
            self.assert_breaches(self.growing(HOUR, per_hour))
        self.assert_breaches(self.growing(HOUR, 3.0), "the memory of node1 grows by 3.")

    def test_a_day(self) -> None:
        """In a long run two MiB an hour are seen."""
        self.assert_breaches(self.growing(24 * HOUR, 2.0), "the memory of node1 grows by 2.0")

    def test_a_short_run(self) -> None:
        """A slope says nothing then; only gross growth does."""
        self.assert_breaches(self.growing(10 * MINUTE, 100.0))
        self.assert_breaches(self.growing(10 * MINUTE, 600.0), "the memory of node1 grew by")

    def files(self, files: Callable[[float], int]) -> Run:
        """A run with a process that has so many open files."""
        return run(series=[series(HOUR, lambda time: 60.0, files)])

    def test_files_that_come_and_go(self) -> None:
        """A few may come, and stay."""
        self.assert_breaches(self.files(lambda time: 20 + int(time) % 7))
        self.assert_breaches(self.files(lambda time: 20 if time < HOUR / 2 else 23))

    def test_files_that_are_lost(self) -> None:
        """More than that, and more with time: one in ten minutes."""
        self.assert_breaches(self.files(lambda time: 20 + int(time / 600)), "the open files of node1 in rest grew")

    def test_links_are_not_lost_files(self) -> None:
        """A node has more of them when its neighbours are back."""
        one = Series("node1", -300.0)
        for time in range(0, 3600, 60):
            links = time // 300
            one.add(float(time), Reading(MEBIBYTE, 20 + links, 0.0), steady=True, resting=True, links=links)
        self.assert_breaches(run(series=[one]))

    def test_each_start_of_a_process(self) -> None:
        """One that grew and was started again does not hide it."""
        old, new = series(HOUR, lambda time: 60.0 + time / 600), series(HOUR, lambda time: 60.0)
        self.assert_breaches(run(series=[old, new]), "the memory of node1 grows by 6.")

    def test_files_at_work_do_not_count(self) -> None:
        """Only those in rest."""
        self.assert_breaches(self.files(lambda time: 20 if time % 300 == 0 else 20 + int(time)))


class SampleTests(SynchronousTestCase):
    """The arithmetic."""

    def test_a_straight_line(self) -> None:
        """Its slope is exact, and without error."""
        slope = least_squares([0.0, 900.0, 1800.0, 3600.0], [5.0, 5.5, 6.0, 7.0])
        assert slope is not None
        self.assertAlmostEqual(slope.per_hour, 2.0)
        self.assertAlmostEqual(slope.error, 0.0)

    def test_too_little(self) -> None:
        """Two points, or one moment, have no slope."""
        for times in ([0.0, 1.0], [4.0, 4.0, 4.0]):
            self.assertIsNone(least_squares(times, [1.0] * len(times)))

    def test_what_is_not_steady_does_not_count(self) -> None:
        """A process that grows while it warms up has no slope of that."""
        one = Series("node1", 0.0)
        for time in range(0, 7200, 10):
            memory = min(time, 3600) / 60
            one.add(float(time), Reading(int(memory * MEBIBYTE), 9, time / 4), steady=time >= 3600, resting=False)
        slope = one.memory_slope()
        assert slope is not None
        self.assertAlmostEqual(slope.per_hour, 0.0)
        self.assertAlmostEqual(one.share, 0.25, 2)
        self.assertEqual(one.highest, 60 * MEBIBYTE)

    def test_the_start_does_not_count(self) -> None:
        """A process that was started in the steady part first becomes as large as it is."""
        one = Series("node1", 100.0)
        for time in range(100, 640, 10):
            one.add(float(time), Reading(min(time, 400) * MEBIBYTE, 9, 0.0), steady=True, resting=False)
        self.assertEqual(one.covered, 230.0)
        drift = one.memory_drift()
        assert drift is not None
        self.assertEqual(drift.growth, 0.0)


class OracleTests(SynchronousTestCase):
    """What a process may have kept, and what it may say."""

    def left(self, resident: int, files: int) -> Sequence[str]:
        """What is left over of a fault, for a process that had 50 MiB and 100 files."""
        before = Reading(50 * MEBIBYTE, 100, 0.0)
        return leftovers("node1", before, Reading(resident * MEBIBYTE, files, 9.0), links=4)

    def test_back(self) -> None:
        """20 MiB, 5 % of the files and some links are nothing."""
        self.assertEqual(self.left(70, 109), [])

    def test_not_back(self) -> None:
        """More than that is."""
        self.assertIn("21 MiB more", self.left(71, 100)[0])
        self.assertIn("110 open files, 100 before", self.left(50, 110)[0])

    def test_lines(self) -> None:
        """What no process may say is found among what it may."""
        good = ["[a#info] ready", "[a#error] the pool refuses connections", "[a#warn] 3 circuits were destroyed", ""]
        bad = [
            "Traceback (most recent call last):", "Unhandled error in Deferred:", "[torpydo.x#critical] torn",
            "WRONG: an upload was wrong at byte 7", "builtins.MemoryError: ",
        ]  # fmt: skip
        self.assertEqual(complaints("n", good + bad), [f"n: {line.strip()}" for line in bad])


class PlanTests(SynchronousTestCase):
    """What follows from the time of a run."""

    def test_times(self) -> None:
        """Seconds, minutes, hours."""
        self.assertEqual([seconds_in(text) for text in ("20s", "90", "10m", "24h")], [20, 90, 600, 86400])
        for text in ("", "0s", "1d", "-1s", "1.5h", "٣s"):
            self.assertRaises(ValueError, seconds_in, text)

    def test_a_restart_a_minute(self) -> None:
        """In an hour; and three at least in the shortest run."""
        self.assertEqual(Plan(HOUR).restart_every, 60.0)
        for seconds in (15.0, 20.0, 60.0, 170.0):
            self.assertGreaterEqual(seconds // Plan(seconds).restart_every, 3)

    def test_time_for_slopes(self) -> None:
        """An hour leaves enough for them after the faults, and all faults have their full size."""
        plan = Plan(HOUR)
        self.assertGreaterEqual(plan.seconds - plan.fault_time - plan.settle, 20 * MINUTE)
        self.assertEqual((plan.scale.part, plan.scale.long), (1.0, True))
        self.assertLessEqual(plan.warm_up + sum(fault.seconds(plan.scale) for fault in ALL), plan.fault_time)

    def test_faults(self) -> None:
        """By name and by number."""
        self.assertEqual(choose("all"), ALL)
        self.assertEqual(choose("none"), ())
        self.assertEqual([fault.number for fault in choose("39,1")], ["39", "1", "39"])
        self.assertRaises((ValueError, argparse.ArgumentTypeError), choose, "77")

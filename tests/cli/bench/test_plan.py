"""Tests of torpydo.cli.bench.plan and of the options that it reads."""

from __future__ import annotations

import argparse
import sys

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.command import arguments
from torpydo.cli.bench.goals import GOALS, KEYS
from torpydo.cli.bench.loads import CLOSED, LOADS, STEADY
from torpydo.cli.bench.onionlines import ONION_KEYS, ONION_LOADS
from torpydo.cli.bench.plan import GROUPS, Plan, keys_measured, plan_of
from torpydo.cli.bench.scalelines import CIRCUITS, SCALE_KEYS
from torpydo.cli.bench.systems import Conditions


def plan(*options: str) -> Plan:
    """What these options ask for."""
    parser = argparse.ArgumentParser()
    arguments(parser)
    return plan_of(parser.parse_args(options))


class KeyTests(SynchronousTestCase):
    """Which lines are measured."""

    def test_every_goal_is_measured(self) -> None:
        """Under the conditions of a goal its line is among those that are measured."""
        for conditions in (Conditions(), Conditions(0.025), Conditions(0.025, 100)):
            wanted = {goal.key for goal in GOALS if goal.conditions == str(conditions)}
            self.assertTrue(wanted)
            self.assertEqual(wanted - set(keys_measured(conditions)), set())

    def test_every_key_can_be_measured(self) -> None:
        """No line of the table is without a way to get its figure."""
        given = {key for keys in GROUPS.values() for key in keys} | {"build", "builds_per_second"}
        self.assertEqual(set(KEYS) - given, set())

    def test_groups_are_of_loads(self) -> None:
        """Each load of a group exists."""
        self.assertEqual({load for loads in GROUPS for load in loads} | set(ONION_LOADS), set(LOADS))


class GroupTests(SynchronousTestCase):
    """Which loads are run for them."""

    def test_the_queue_needs_both_round_trips(self) -> None:
        """The difference is taken in the same run."""
        self.assertEqual(plan("--only", "queue").load_groups, [("rtt", "rtt_loaded")])

    def test_the_round_trip_alone(self) -> None:
        """Nothing is loaded for the idle round trip."""
        self.assertEqual(plan("--only", "rtt").load_groups, [("rtt",)])

    def test_no_load_is_run_twice(self) -> None:
        """A load is in one group of a plan."""
        loads = [load for group in plan().load_groups for load in group]
        self.assertEqual(sorted(loads), sorted({load for group in GROUPS for load in group}))

    def test_circuits_need_no_load(self) -> None:
        """Building is measured without traffic."""
        self.assertEqual(plan("--only", "build").load_groups, [])


class ScalePlanTests(SynchronousTestCase):
    """Whether sizes are measured, and which."""

    def keys(self, *options: str) -> set[str]:
        """The lines about size."""
        scale = plan(*options).scale
        return set() if scale is None else set(scale.keys)

    def test_not_unless_asked_for(self) -> None:
        """They take minutes, and need no comparison."""
        self.assertEqual(self.keys(), set())
        self.assertEqual(self.keys("--only", "rtt"), set())

    def test_all_after_the_lines(self) -> None:
        """``--scale`` leaves out nothing else, at any distance."""
        for options in (["--scale"], ["--scale", "--delay=25"], ["--scale", "--only", "rtt"]):
            self.assertEqual(self.keys(*options), set(SCALE_KEYS))
            self.assertIn("rtt", plan(*options).keys)

    def test_some_of_them_alone(self) -> None:
        """Named by their keys, with or without ``--scale``; no network is measured then."""
        for options in (["--only", "scale_path"], ["--scale", "--only", "scale_path"]):
            self.assertEqual((self.keys(*options), plan(*options).keys), ({"scale_path"}, ()))

    def test_a_short_run_has_small_ones(self) -> None:
        """It shows that everything works; other lines alone are alone even then."""
        short = plan("--short").scale
        assert short is not None
        self.assertLess(short.circuits, CIRCUITS)
        self.assertEqual(self.keys("--short"), set(SCALE_KEYS))
        self.assertEqual(self.keys("--short", "--only", "rtt"), set())
        self.assertEqual(self.keys("--short", "--delay=25"), set())


class OnionPlanTests(SynchronousTestCase):
    """Whether an onion service is measured, and which of its lines."""

    def keys(self, *options: str) -> set[str]:
        """The lines about it."""
        onion = plan(*options).onion
        return set() if onion is None else set(onion.keys)

    def test_not_unless_asked_for(self) -> None:
        """It has a network of its own, which takes its time; so it has in a short run."""
        for options in ([], ["--short"], ["--only", "rtt"]):
            self.assertEqual(self.keys(*options), set())

    def test_all_after_the_lines(self) -> None:
        """``--onion`` leaves out nothing else."""
        self.assertEqual(self.keys("--onion"), set(ONION_KEYS))
        self.assertIn("rtt", plan("--onion").keys)

    def test_some_of_them_alone(self) -> None:
        """Named by their keys, with or without ``--onion``; nothing else is measured then."""
        for options in (["--only", "onion_rtt"], ["--onion", "--only", "onion_rtt"]):
            asked = plan(*options)
            self.assertEqual(self.keys(*options), {"onion_rtt"})
            self.assertEqual((asked.keys, asked.scale, asked.attack), ((), None, None))

    def test_how_often(self) -> None:
        """As often as the other lines; a short run has one of each."""
        for options, runs in ((["--runs=7"], 7), (["--runs=7", "--short"], 1)):
            onion = plan("--onion", *options).onion
            self.assertEqual(onion and onion.runs, runs)


class OptionTests(SynchronousTestCase):
    """The options."""

    def test_conditions(self) -> None:
        """Milliseconds and megabits; without them there is no line at all."""
        self.assertEqual(str(plan("--delay=25", "--rate=100").conditions), "25 ms, 100 Mbit/s")
        self.assertEqual((str(plan("--delay=25").conditions), str(plan().conditions)), ("25 ms", "loopback"))

    def test_far_transfers_go_on_longer(self) -> None:
        """They must show what they do after three seconds."""
        self.assertGreater(plan("--delay=25").seconds, 5.0)

    def test_what_comes_after_three_seconds_is_measured(self) -> None:
        """Asked for by name it gets a transfer that goes on for longer, near and in a short run too."""
        for key in ("download_3s", "upload_3s"):
            for options in ([], ["--short"], ["--short", "--delay=25"], ["--delay=25"]):
                asked = plan("--only", key, *options)
                self.assertGreater(asked.seconds, STEADY + 1)
                self.assertEqual(asked.size, sys.maxsize)
        self.assertLessEqual(plan("--only", "download").seconds, STEADY)

    def test_streams_are_opened_slowly(self) -> None:
        """With the pause between two of them a run of them still takes few seconds."""
        for options in ([], ["--short"], ["--delay=25"]):
            asked = plan("--only", "open_stream", *options)
            self.assertIn(f"--opens={asked.opens}", asked.load_options)
            self.assertLess(asked.opens * CLOSED, 5.0)
        # The longest that an acknowledgement is held back is 40 ms.
        self.assertGreater(CLOSED, 0.04)

    def test_short_is_short(self) -> None:
        """One run, a few megabytes, whatever else is asked for."""
        short = plan("--short", "--runs=9")
        self.assertEqual((short.runs, short.size), (1, 2_000_000))

    def test_values_out_of_range(self) -> None:
        """They are refused before anything starts."""
        parser = argparse.ArgumentParser(exit_on_error=False)
        arguments(parser)
        for option in ("--delay=-1", "--delay=x", "--rate=0", "--runs=0", "--runs=1.5"):
            self.assertRaises(argparse.ArgumentError, parser.parse_args, [option])

"""Tests of torpydo.cli.bench.command: what needs no process."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.command import Bench, _check, _check_complete, _facts, _write, arguments
from torpydo.cli.bench.figures import Figure, figures_from_json
from torpydo.cli.bench.floors import Direct
from torpydo.cli.bench.goals import ALL_LINES
from torpydo.cli.bench.measuring import Measuring
from torpydo.cli.bench.plan import LONG_KEYS, Plan, plan_of
from torpydo.cli.bench.systems import Place
from torpydo.cli.bench.tasks import Tasks
from torpydo.cli.processes import ChildProcess
from torpydo.errors import ConfigurationError, TorpydoError


def options(*given: str) -> argparse.Namespace:
    """As the command reads them."""
    parser = argparse.ArgumentParser()
    arguments(parser)
    return parser.parse_args(given)


def figure(key: str, system: str = "torpydo") -> Figure:
    """One sample."""
    return Figure(key, system, "loopback", ALL_LINES[key].unit, (1.0,))


class CheckTests(SynchronousTestCase):
    """What is found out before anything is measured."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)

    def check(self, *given: str) -> None:
        """Check these options."""
        _check(options(*given), plan_of(options(*given)), self.stack)

    def test_names_that_no_file_can_have(self) -> None:
        """They are refused as a wrong option is, and nothing is left in their place."""
        fifo = os.path.join(self.directory, "fifo")
        os.mkfifo(fifo)
        for given in ("--json=", "--picture=", f"--json={self.directory}", f"--json={fifo}", "--json=/dev/null"):
            error = self.assertRaises(ConfigurationError, self.check, given)
            self.assertNotIn("-o", str(error).split())
        self.stack.close()
        self.assertEqual(os.listdir(self.directory), ["fifo"])

    def test_a_directory_in_place_of_a_picture(self) -> None:
        """Whatever its name is."""
        path = os.path.join(self.directory, "bench.svg")
        os.mkdir(path)
        self.assertRaises(ConfigurationError, self.check, f"--picture={path}")

    def test_nothing_is_left_of_a_benchmark_that_failed(self) -> None:
        """The file is there when it is whole, and what was there before is kept."""
        path = os.path.join(self.directory, "figures.json")
        self.check(f"--json={path}")
        self.assertEqual(len(os.listdir(self.directory)), 1)
        self.stack.close()
        self.assertEqual(os.listdir(self.directory), [])

    def test_sizes_need_no_tor(self) -> None:
        """It is asked for only if something is measured on it."""
        # No program is found anywhere.
        self.patch(os, "access", lambda path, mode: False)
        self.check("--against-tor", "--only", "scale_path")
        self.assertRaises(ConfigurationError, self.check, "--against-tor", "--only", "scale_path", "rtt")


class CompleteTests(SynchronousTestCase):
    """Whether everything that was asked for was measured."""

    def check(self, given: list[str], figures: list[Figure]) -> None:
        """Look at what these options gave."""
        _check_complete(options(*given), plan_of(options(*given)), figures)

    def test_everything_is_there(self) -> None:
        """That is no error."""
        self.check(["--only", "rtt", "scale_path"], [figure("rtt"), figure("scale_path")])

    def test_a_line_without_a_figure(self) -> None:
        """It is named; the status says that something went wrong."""
        for figures in ([], [figure("download")], [figure("download"), figure("rtt", "direct")]):
            error = self.assertRaises(TorpydoError, self.check, ["--only", "download", "rtt"], figures)
            self.assertIn("rtt", str(error))
            self.assertNotEqual(error.exit_status, 0)

    def test_a_size_without_a_figure(self) -> None:
        """As the other lines."""
        self.assertRaises(TorpydoError, self.check, ["--only", "scale_path"], [])

    def test_a_short_run_is_over_before_the_third_second(self) -> None:
        """What it cannot measure is missed only if it was asked for by name."""
        given = ["--short", "--delay=25"]
        figures = [figure(key) for key in plan_of(options(*given)).keys if key not in LONG_KEYS]
        self.check(given, figures)
        self.assertRaises(TorpydoError, self.check, given, figures[1:])
        self.assertRaises(TorpydoError, self.check, [*given, "--only", LONG_KEYS[0]], figures)


class WriteTests(SynchronousTestCase):
    """What is written at the end."""

    def written(self, *given: str) -> dict[str, Any]:
        """The facts in the file."""
        path = self.mktemp()
        read = options(*given, f"--json={path}")
        plan = plan_of(read)
        measuring = Measuring(plan, Tasks(None, FilePath(".")), 1, str, [figure("scale_path")])
        with ExitStack() as stack:
            files = _check(read, plan, stack)
            self.successResultOf(Deferred.fromCoroutine(_write(files, read, plan, measuring)))
        facts, figures = figures_from_json(FilePath(path).getContent().decode())
        self.assertEqual(figures, measuring.figures)
        return facts

    def test_the_conditions(self) -> None:
        """They stand there if anything was measured under them."""
        self.assertEqual(self.written("--delay=25")["conditions"], "25 ms")
        self.assertNotIn("conditions", self.written("--delay=25", "--only", "scale_path"))

    def test_the_facts(self) -> None:
        """What a reader needs to compare."""
        self.assertLessEqual({"torpydo", "python", "processors"}, _facts(plan_of(options())).keys())


class Reactor(MemoryReactorClock):
    """Starts processes, and connects to ports, that exist only here."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[ChildProcess] = []

    def spawnProcess(self, child: ChildProcess, *arguments: object, **more: object) -> None:
        self.started.append(child)


class EndlessSystem:
    """Asks for one line, and waits for ever."""

    name = "endless"
    socks_port = 1

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ended: list[str] = []

    async def start(self) -> None:
        self.place.lines.before(20_001)
        try:
            await Deferred()
        finally:
            self.ended.append("start")

    async def stop(self) -> None:
        self.ended.append("stop")

    async def build_times(self, count: int) -> list[float]:
        return []

    async def builds_per_second(self, count: int) -> float:
        return 0.0

    def check(self) -> None:
        """It never fails by itself."""


class LinesTests(SynchronousTestCase):
    """Delay lines are watched while something is started and measured."""

    def setUp(self) -> None:
        directory = FilePath(self.mktemp())
        directory.makedirs()
        self.reactor = Reactor()
        plan: Plan = plan_of(options("--delay=25", "--only", "rtt"))
        self.bench = Bench(self.reactor, directory, plan)

    def assert_line_is_missed(self, result: Deferred[None]) -> None:
        """Soon after the line has ended."""
        self.assertNoResult(result)
        self.reactor.started[-1].processEnded(Failure(ProcessTerminated(exitCode=1)))
        self.reactor.advance(1.0)
        error = self.failureResultOf(result, TorpydoError).value
        self.assertIn("the delay line 1 ended by itself", str(error))

    def test_before_a_system(self) -> None:
        """Its start is given up, and it is stopped."""
        made: list[EndlessSystem] = []

        def make(place: Place) -> EndlessSystem:
            made.append(EndlessSystem(place))
            return made[-1]

        self.assert_line_is_missed(Deferred.fromCoroutine(self.bench.systems([make], at_once=False)))
        self.assertEqual(made[0].ended, ["start", "stop"])

    def test_before_a_floor(self) -> None:
        """Nobody waits until it listens."""
        self.assert_line_is_missed(Deferred.fromCoroutine(self.bench.floor(Direct)))

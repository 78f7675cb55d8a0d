"""Tests of torpydo.cli.bench.floors, distance and delayline: lines that are watched, and what is asked of a socket."""

from __future__ import annotations

import select
import socket
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_processes import ProcessReactor
from torpydo.cli.bench.delayline import Way
from torpydo.cli.bench.distance import Distance
from torpydo.cli.bench.floors import Direct, Floor, Pipeline
from torpydo.cli.bench.pacing import Bottleneck, Lane
from torpydo.cli.bench.systems import Conditions, Place
from torpydo.cli.processes import ChildProcesses
from torpydo.errors import TorpydoError

SERVER = 20_001


class DyingReactor(ProcessReactor):
    """Every delay line ends as soon as it is started, with the reason on its last line."""

    def __init__(self, directory: FilePath[str]) -> None:
        super().__init__()
        self.directory = directory

    def spawnProcess(self, child: Any, executable: str, args: list[str], **options: Any) -> None:
        super().spawnProcess(child, executable, args, **options)
        started, command = self.started[-1]
        if "torpydo.cli.bench.delayline" in command:
            self.directory.child(f"{started.name}.log").setContent(b"OSError: the port is in use\n")
            started.processEnded(Failure(ProcessTerminated(exitCode=1)))


class LineTests(SynchronousTestCase):
    """Delay lines before the floors."""

    def setUp(self) -> None:
        self.directory = FilePath(self.mktemp())
        self.directory.makedirs()
        self.reactor = DyingReactor(self.directory)

    def place(self, conditions: Conditions) -> Place:
        """Where a floor is started. Somebody else on this machine may have the first port that is drawn."""
        randbelow = Random(7).randrange
        lines = Distance(ChildProcesses(self.reactor, self.directory), randbelow, conditions)
        return Place(self.reactor, self.directory, randbelow, float, conditions, lines, lines.check)

    def test_a_line_that_ends_is_named(self) -> None:
        """Whoever looks after it sees why, and nothing before."""
        place = self.place(Conditions(0.025))
        place.check()
        self.assertNotEqual(place.lines.before(SERVER), SERVER)
        error = self.assertRaises(TorpydoError, place.check)
        self.assertIn("the delay line 1 ended by itself", str(error))
        self.assertIn("the port is in use", str(error))

    def test_nobody_waits_for_a_line_that_is_gone(self) -> None:
        """The direct connection fails at once, with the line's last words."""
        floor: Floor = Direct(self.place(Conditions(0.025)), SERVER)
        error = self.failureResultOf(Deferred.fromCoroutine(floor.start()), TorpydoError).value
        self.assertIn("the delay line 1 ended by itself", str(error))

    def test_without_lines_the_direct_connection_is_direct(self) -> None:
        """Loads connect to the server itself, and nothing is started."""
        floor = Direct(self.place(Conditions()), SERVER)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(floor.start())), SERVER)
        self.successResultOf(Deferred.fromCoroutine(floor.stop()))
        self.assertEqual(self.reactor.started, [])

    def test_floors_have_names(self) -> None:
        """Those of the table."""
        self.assertEqual([kind.name for kind in (Direct, Pipeline)], ["direct", "pipeline"])


class WayTests(SynchronousTestCase):
    """One direction of one connection through a line."""

    def test_what_is_asked_says_whether_it_is_read(self) -> None:
        """There is no second place that could say something else."""
        with socket.socket() as source, socket.socket() as sink:
            way = Way(source, sink, Lane(Bottleneck(), 0.0))
            self.assertTrue(way.reading)
            way.events = select.EPOLLOUT
            self.assertFalse(way.reading)
            way.events = select.EPOLLIN | select.EPOLLOUT
            self.assertTrue(way.reading)


class ConditionsTests(SynchronousTestCase):
    """How far, and how much."""

    def test_the_rate_in_bytes(self) -> None:
        """A megabit is a million bits, and no rate is no limit."""
        self.assertEqual(Conditions(0.0, 100).byte_rate, 12_500_000)
        self.assertIsNone(Conditions(0.025).byte_rate)

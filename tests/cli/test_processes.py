"""Tests of torpydo.cli.processes."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.processes import STOP_TIME, ChildProcess, ChildProcesses, wait_until
from torpydo.errors import TorpydoError


class WaitUntilTests(SynchronousTestCase):
    """Waiting for something that happens elsewhere."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.done = False

    def wait(self, *, dead: bool = False) -> Deferred[None]:
        """Wait ten seconds at most."""

        def alive() -> None:
            if dead:
                raise TorpydoError("the pool ended by itself")

        coroutine = wait_until(self.clock, lambda: self.done, timeout=10.0, what="nothing happened", alive=alive)
        return Deferred.fromCoroutine(coroutine)

    def test_it_ends_when_it_is_true(self) -> None:
        """One look more finds it."""
        waiting = self.wait()
        self.assertNoResult(waiting)
        self.done = True
        self.clock.advance(0.1)
        self.successResultOf(waiting)

    def test_it_gives_up_with_the_reason(self) -> None:
        """The error says what did not happen, and for how long."""
        waiting = self.wait()
        self.clock.pump([0.1] * 102)
        error = self.failureResultOf(waiting, TorpydoError).value
        self.assertEqual(str(error), "nothing happened after 10 seconds")

    def test_it_does_not_wait_for_the_dead(self) -> None:
        """A process that ended is told at once."""
        self.failureResultOf(self.wait(dead=True), TorpydoError)


class Signals:
    """A process transport that records signals and obeys only those it is told to."""

    def __init__(self, child: ChildProcess, obeys: set[str]) -> None:
        self.child = child
        self.obeys = obeys
        self.sent: list[str] = []

    def signalProcess(self, name: str) -> None:
        self.sent.append(name)
        if name in self.obeys:
            self.child.processEnded(Failure(ProcessTerminated(signal=15)))


class ProcessReactor(Clock):
    """Starts processes that exist only here."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[ChildProcess, list[str]]] = []
        self.read: list[bytes] = []
        """What each could read from its standard input."""

    def spawnProcess(
        self, child: ChildProcess, executable: str, args: list[str], *, env: object, childFDs: dict[int, int]
    ) -> None:
        self.started.append((child, args))
        self.read.append(os.read(childFDs[0], 100))


class ChildProcessesTests(SynchronousTestCase):
    """The processes of one demo."""

    def setUp(self) -> None:
        self.reactor = ProcessReactor()
        directory = FilePath(self.mktemp())
        directory.makedirs()
        self.directory = directory
        self.processes = ChildProcesses(self.reactor, directory)

    def start(self, name: str, obeys: set[str]) -> tuple[ChildProcess, Signals]:
        """Start a process that ends at these signals."""
        child = self.processes.start(name, "-m", "something")
        signals = Signals(child, obeys)
        child.transport = signals
        return child, signals

    def test_a_polite_process_is_only_asked(self) -> None:
        """SIGTERM is enough for what obeys it."""
        _, signals = self.start("pool", {"TERM"})
        self.successResultOf(Deferred.fromCoroutine(self.processes.end()))
        self.assertEqual(signals.sent, ["TERM"])

    def test_a_stubborn_process_is_killed(self) -> None:
        """SIGKILL comes when the time is over, and only for what is left."""
        _, polite = self.start("pool", {"TERM"})
        _, stubborn = self.start("node", {"KILL"})
        ended = Deferred.fromCoroutine(self.processes.end())
        self.reactor.advance(STOP_TIME - 0.1)
        self.assertNoResult(ended)
        self.reactor.advance(0.1)
        self.successResultOf(ended)
        self.assertEqual((polite.sent, stubborn.sent), (["TERM"], ["TERM", "KILL"]))

    def test_impatience_kills_at_once(self) -> None:
        """A second Ctrl-C does not leave processes behind."""
        _, stubborn = self.start("node", {"KILL"})
        ended = Deferred.fromCoroutine(self.processes.end())
        ended.cancel()
        self.failureResultOf(ended)
        self.assertEqual(stubborn.sent, ["TERM", "KILL"])

    def test_what_ended_already_is_left_alone(self) -> None:
        """Its process id may belong to somebody else by now."""
        child, signals = self.start("pool", set())
        child.processEnded(Failure(ProcessDone(0)))
        self.successResultOf(Deferred.fromCoroutine(self.processes.end()))
        self.assertEqual(signals.sent, [])

    def test_a_process_that_ends_unasked_is_named_with_its_last_words(self) -> None:
        """The user sees why, without looking for a log."""
        child, _ = self.start("node2", set())
        self.processes.check()
        self.directory.child("node2.log").setContent(b"starting\nport 6002 is in use\n\n")
        child.processEnded(Failure(ProcessTerminated(exitCode=3)))
        error = self.assertRaises(TorpydoError, self.processes.check)
        self.assertIn("the node2 ended by itself", str(error))
        self.assertIn("port 6002 is in use", str(error))

    def test_standard_input(self) -> None:
        """What is given, and otherwise nothing: no process takes what is typed on the terminal."""
        self.processes.start("pool", "-m", "something")
        self.processes.start_program("keys", "tor-gencert", stdin=b"passphrase\n")
        self.assertEqual(self.reactor.read, [b"", b"passphrase\n"])

    def test_waiting_for_the_first_that_ends(self) -> None:
        """Whichever it is."""
        self.start("pool", set())
        child, _ = self.start("node", set())
        gone = self.processes.when_one_ends()
        self.assertNoResult(gone)
        child.processEnded(Failure(ProcessDone(0)))
        self.successResultOf(gone)

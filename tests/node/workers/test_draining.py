"""Tests of how the workers of a node let go of their circuits: supervisor, worker, and the node that asks for it."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.directory.build import NOW
from tests.node.test_service import NodeTestCase
from tests.node.workers.doubles import FakeProcess
from tests.node.workers.test_supervisor import SupervisorTestCase
from tests.node.workers.test_worker import WorkerTestCase
from torpydo.errors import ConfigurationError
from torpydo.net import LoopLag
from torpydo.node.drain import IDLE
from torpydo.node.workers.messages import Drain, Drained, Status, Stop
from torpydo.node.workers.supervisor import KILL_AFTER
from torpydo.node.workers.worker import Worker

LONG = 60.0


class SupervisorTests(SupervisorTestCase):
    """What the supervisor does."""

    def test_all_have_let_go(self) -> None:
        """Each is told once, with the time; it is over when all have said so."""
        first, second = self.start()
        drained = self.supervisor.drain(LONG)
        self.assertEqual([process.heard(Drain) for process in (first, second)], [[Drain(LONG)]] * 2)
        first.says(Drained())
        self.assertNoResult(drained)
        second.says(Drained())
        self.successResultOf(drained)

    def test_one_that_does_not_answer(self) -> None:
        """It is not waited for longer than the circuits may take; nothing is left to be done."""
        first, _ = self.start()
        drained = self.supervisor.drain(20.0)
        first.says(Drained())
        self.reactor.advance(19.0)
        self.assertNoResult(drained)
        self.reactor.advance(1.0)
        self.successResultOf(drained)

    def test_one_that_ends(self) -> None:
        """It has no circuits any more, is not started again, and no connection is given to the others."""
        first, second = self.start()
        drained = self.supervisor.drain(LONG)
        first.end("exit status 1")
        self.assertFalse(self.is_open(self.hand()))
        second.says(Drained())
        self.successResultOf(drained)
        self.reactor.advance(LONG)
        self.assertEqual(len(self.launch.started), 2)
        self.assertEqual([process.descriptors for process in (first, second)], [[], []])

    def test_without_workers(self) -> None:
        """There is nothing to wait for, not even for one that was to be started again."""
        for process in self.start():
            process.end("exit status 1")
        self.successResultOf(self.supervisor.drain(LONG))
        self.reactor.advance(LONG)
        self.assertEqual(len(self.launch.started), 2)

    def test_lag(self) -> None:
        """Of all workers the worst counts; without reports there is none."""
        self.assertEqual(self.supervisor.status().worker_lag, 0.0)
        first, second = self.start()
        first.says(Status(*[0] * 13, {}, 0.25))
        second.says(Status(*[0] * 13, {}, 1.75))
        self.assertEqual(self.supervisor.status().worker_lag, 1.75)

    def test_the_stop_after_it(self) -> None:
        """It takes less time, so that both together take five seconds with the drain that is the default (Z3)."""
        first, second = self.start()
        drained = self.supervisor.drain(2.0)
        self.reactor.advance(2.0)
        self.successResultOf(drained)
        stopped = self.supervisor.stop()
        self.assertEqual(first.said[-1], Stop())
        second.end("exit status 0")
        self.reactor.advance(2.0 + KILL_AFTER - 0.01)
        self.assertNoResult(stopped)
        self.reactor.advance(0.01)
        self.assertEqual(first.killed, 1)
        self.successResultOf(stopped)
        self.assertLess(2.0 + 2.0 + KILL_AFTER, 5.0)


class WorkerTests(WorkerTestCase):
    """What a worker does."""

    def test_it_says_when_nothing_is_left(self) -> None:
        """An idle circuit ends after a second, and reports go on until the stop."""
        self.start()
        self.network()
        traveller = self.world.traveller(self.place).build()
        self.says(Drain(LONG))
        self.assertNotIn(Drained(), self.heard)
        self.world.reactor.advance(IDLE + 1.0)
        self.assertIn(Drained(), self.heard)
        self.assertTrue(traveller.destroyed)
        self.world.reactor.advance(3.0)
        self.assertIsInstance(self.heard[-1], Status)
        self.assertEqual(self.status().circuits, 0)

    def test_before_it_was_set_up(self) -> None:
        """There are no circuits."""
        self.says(Drain(LONG))
        self.assertEqual(self.heard, [Drained()])

    def test_a_drain_that_fails(self) -> None:
        """The node does not wait for it; what went wrong is in the log."""
        self.start()
        carrying = self.worker._carrying
        assert carrying is not None

        def broken(seconds: float) -> Deferred[None]:
            failed: Deferred[None] = Deferred()
            failed.errback(ZeroDivisionError("a bug"))
            return failed

        self.patch(carrying.carrier.router, "drain", broken)
        self.says(Drain(LONG))
        self.assertIn(Drained(), self.heard)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LagTests(WorkerTestCase):
    """How late the event loop of a worker is (SECURITY section 3, case 30)."""

    def test_it_is_reported(self) -> None:
        """With each report, and measured from the set-up to the stop."""
        lost = [0.0]
        before = len(self.reactor.getDelayedCalls())
        self.worker = Worker(
            self.reactor, send=self.hear, stop=self.stop, rng=self.world.random.randbytes,
            wall_clock=lambda: float(NOW), lag=LoopLag(self.reactor, lambda: self.world.reactor.seconds() + lost[0]),
        )  # fmt: skip
        self.start()
        self.world.reactor.advance(3.0)
        self.assertLess(self.status().lag, 0.01)
        lost[0] = 1.5
        self.world.reactor.advance(2.0)
        self.assertAlmostEqual(self.status().lag, 1.5, places=2)
        self.world.reactor.success(self.worker.stop())
        self.assertEqual(len(self.reactor.getDelayedCalls()), before)


class ServiceTests(NodeTestCase):
    """What stopping a node does."""

    def test_without_a_drain(self) -> None:
        """Nothing is waited for: that is what a program that embeds a node gets."""
        service = self.start(workers=2)
        service.stopService()
        self.assertEqual([process.heard(Drain) for process in self.launch.started], [[], []])

    def test_with_a_drain(self) -> None:
        """The port is closed and heartbeats end at once, the stop follows when circuits are gone, the state is free."""
        service = self.start(workers=2, drain=LONG)
        for process in self.launch.started:
            process.reports()
        beats = len(self.pools.beats)
        stopped = service.stopService()
        self.reactor.advance(20.0)
        self.assertFalse(self.listens())
        self.assertEqual(len(self.pools.beats), beats)
        self.assertNoResult(stopped)
        self.assertEqual([self.kinds(process) for process in self.launch.started], [[Drain]] * 2)
        for process in self.launch.started:
            process.says(Drained())
        self.assertEqual([self.kinds(process) for process in self.launch.started], [[Drain, Stop]] * 2)
        for process in self.launch.started:
            process.end("exit status 0")
        self.successResultOf(stopped)
        self.start()

    def kinds(self, process: FakeProcess) -> list[type]:
        """Which of the two a worker has heard."""
        return [type(message) for message in process.said if isinstance(message, Drain | Stop)]

    def test_how_long(self) -> None:
        """At most an hour."""
        self.assertEqual(self.make(drain=3600.0).status().circuits, 0)
        for seconds in (-1.0, 3601.0, float("nan")):
            self.assertRaises(ConfigurationError, self.make, drain=seconds)

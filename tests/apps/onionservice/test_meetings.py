"""The service's way to its clients, without a network: how many circuits, for whom, how often."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.build import NAME, node, rng, secret
from torpydo.apps.onionservice.meetings import Meetings
from torpydo.client import Conversation, IncomingStream
from torpydo.errors import CircuitBuildError, PathError, TorpydoError
from torpydo.onion import Introduced, Introduction, IntroductionQueue, Meeting, NodeId

KEY = secret(77)


def introduced(number: int) -> Introduced:
    """A client that waits at node *number*."""
    hello = Introduction.start(NAME, KEY.public, secret(number), Meeting(node(number), bytes(20)))
    return Introduced.open(NAME, KEY, hello.message)


class MeetingsTests(SynchronousTestCase):
    """Circuits are asked for, and come or do not."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.error: TorpydoError | None = None
        self.asked: list[NodeId] = []
        self.building: list[Deferred[Conversation]] = []
        self.ended: list[type[BaseException] | None] = []
        self.incoming: list[IncomingStream] = []
        queue: IntroductionQueue[Introduced] = IntroductionQueue(2500, 10.0, 100.0, 10.0)
        self.meetings = Meetings(self.clock, self.build, self.incoming.append, queue, rng=rng().randbytes, at_once=4)
        self.addCleanup(self.meetings.stop)

    def build(self, node_id: NodeId) -> Deferred[Conversation]:
        self.asked.append(node_id)
        if self.error is not None:
            return fail(self.error)
        building: Deferred[Conversation] = Deferred()
        self.building.append(building)
        return building

    def test_two_attempts(self) -> None:
        """No more circuits are built for an introduction, wherever it leads (SECURITY O6)."""
        for number, error in enumerate((CircuitBuildError(4, 4, "n", "lost"), PathError("not listed"))):
            self.error = error
            self.meetings.introduced(introduced(number + 1), 0)
        self.assertEqual(self.asked, [node(1)] * 2 + [node(2)] * 2)

    def test_a_second_attempt(self) -> None:
        """It is made when the first has failed."""
        self.meetings.introduced(introduced(1), 0)
        self.assertEqual(len(self.asked), 1)
        self.building[0].errback(PathError("lost"))
        self.assertEqual(self.asked, [node(1)] * 2)
        self.building[1].errback(PathError("lost"))
        self.clock.advance(10)
        self.assertEqual(len(self.asked), 2)

    def test_so_many_at_a_time(self) -> None:
        """The others wait, the highest effort first."""
        for number in range(1, 7):
            self.meetings.introduced(introduced(number), number)
        self.assertEqual(self.asked, [node(number) for number in (1, 2, 3, 4)])
        self.error = PathError("lost")
        self.building[0].errback(PathError("lost"))
        self.assertEqual(self.asked[4:], [node(1), node(6), node(6), node(5), node(5)])

    def test_nodes_that_do_not_answer(self) -> None:
        """Whoever names such keeps nobody off who makes more effort, nor others for longer than a client waits."""
        for number, effort in enumerate((4, 2, 1, 3, 5), 1):
            self.meetings.introduced(introduced(number), effort)
        self.clock.advance(1.9)
        self.meetings.introduced(introduced(6), 9)
        self.assertEqual(len(self.asked), 4)
        self.clock.advance(0.1)
        self.meetings.introduced(introduced(7), 1)
        # Of the four the two of least effort had to go, and not for the one that made no more.
        self.assertEqual(self.asked[4:], [node(6), node(5)])
        self.meetings.introduced(introduced(8), 3)
        self.assertEqual(self.asked[6:], [])
        self.assertEqual([one.called for one in self.building], [False, True, True, False, False, False])
        self.clock.advance(8.0)
        self.assertEqual([one.called for one in self.building[:6]], [True] * 4 + [False] * 2)
        self.assertEqual(self.asked[6:], [node(8), node(7)])

    def test_so_many_a_second(self) -> None:
        """However soon they end."""
        self.error = PathError("not listed")
        for _ in range(50):
            self.meetings.introduced(introduced(1), 0)
        self.assertEqual(len(self.asked), 2 * 10)
        self.clock.pump([0.01] * 20)
        self.assertEqual(len(self.asked), 2 * 30)
        self.clock.pump([0.01] * 50)
        self.assertEqual(len(self.asked), 2 * 50)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """What is under way is given up, what waits is not begun."""
        for number in range(1, 7):
            self.meetings.introduced(introduced(number), 0)
        for building in self.building:
            building.addErrback(lambda failure: failure.trap(CancelledError) and failure)
        self.meetings.stop()
        self.assertEqual((len(self.asked), self.clock.getDelayedCalls()), (4, []))

    def test_an_error_of_ours(self) -> None:
        """It is logged, and the next client is met all the same."""
        self.meetings.introduced(introduced(1), 0)
        self.building[0].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.meetings.introduced(introduced(2), 0)
        self.assertEqual(self.asked, [node(1), node(2)])

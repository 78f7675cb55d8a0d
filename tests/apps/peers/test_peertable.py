"""PeerTable: what an application sees of it."""

from __future__ import annotations

import json
from collections.abc import Hashable
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.network.base import NetworkTestCase
from torpydo.apps.peers import PORT, Change, PeerTable, Role, State, Verdict, Verified
from torpydo.client import Client
from torpydo.errors import (
    BootstrapError,
    CircuitBuildError,
    ConfigurationError,
    LocalProtocolError,
    OnionNameError,
    ServiceUnreachable,
)
from torpydo.onion import OnionName, Secret, SigningKey
from torpydo.peers import MAX_DOCUMENT, Document, Hello, Presence, Want, frame
from torpydo.testing.peersworld import PeersMember, PeersWorld


class Few(SynchronousTestCase):
    """A world of a few."""

    size = 3

    def setUp(self) -> None:
        self.world = PeersWorld(self.size)
        self.addCleanup(self.finish)
        self.one, self.two, self.three = self.world.members

    def finish(self) -> None:
        self.world.stop()
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def states(self, member: PeersMember) -> dict[str, State]:
        return {peer.name: peer.state for peer in member.table.known()}


class KnowingTests(Few):
    """known, online, watch."""

    def test_nobody(self) -> None:
        """At first nobody is known, and without start nothing happens."""
        self.world.advance(1000)
        self.assertEqual((self.one.table.known(), self.world.dialled), ([], 0))

    def test_all(self) -> None:
        """Soon all, with what they say of themselves, and those that were dialled directly."""
        self.world.start()
        self.world.advance(120)
        self.assertEqual(self.world.acquainted(), 1.0)
        (peer,) = [peer for peer in self.two.table.online() if peer.name == self.one.name]
        self.assertEqual((peer.roles, peer.verified), (Role.PARTICIPANT, Verified.DIRECTLY))
        self.assertEqual(self.one.knows(), {self.two.name, self.three.name})
        self.assertEqual(self.one.table.verdicts[Verdict.STORED], 2)

    def test_watching(self) -> None:
        """Whoever watches is told who comes and who goes, until he has heard enough."""
        heard: list[Change] = []
        stop = self.one.table.watch(heard.append)
        self.world.start()
        self.world.advance(120)
        come = [change.peer.name for change in heard if change.before is State.GONE]
        self.assertEqual(set(come), {self.two.name, self.three.name})
        heard.clear()
        self.world.kill(self.two)
        self.world.advance(3 * 3600)
        self.assertEqual([(one.peer.name, one.peer.state) for one in heard], [(self.two.name, State.OFFLINE)])
        stop()
        self.world.revive(self.two)
        self.world.advance(3 * 3600)
        self.assertEqual((len(heard), self.states(self.one)[self.two.name]), (1, State.ONLINE))

    def test_a_watcher_that_fails(self) -> None:
        """It is logged, and the others hear all the same."""

        def wrong(change: Change) -> None:
            raise ZeroDivisionError

        heard: list[Change] = []
        self.one.table.watch(wrong)
        self.one.table.watch(heard.append)
        self.world.start()
        self.world.advance(120)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(heard))
        self.assertTrue(heard)

    def test_a_watcher_that_takes_its_time(self) -> None:
        """A coroutine is run, and what it fails with is logged; rounds go on."""
        seen: list[Change] = []

        async def slow(change: Change) -> None:
            seen.append(change)
            raise ZeroDivisionError

        self.one.table.watch(slow)
        self.one.table.watch(lambda change: Deferred())
        self.world.start()
        self.world.advance(120)
        self.assertEqual(self.world.acquainted(), 1.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(seen))
        self.assertTrue(seen)

    def test_a_watcher_that_stops_everything(self) -> None:
        """Nobody is dialled after that."""
        self.world.start()
        self.world.advance(120)
        for member in self.world.members:
            self.world.kill(member)
        self.world.advance(5 * 3600)
        # Both expire in the first round, which would then dial them.
        dialled = self.world.dialled
        heard: list[Change] = []
        self.one.table.watch(heard.append)
        self.one.table.watch(lambda change: self.one.table.stop())
        self.world.revive(self.one)
        self.world.advance(100)
        self.assertEqual((len(heard), self.world.dialled), (2, dialled))

    def test_one_who_looks_on(self) -> None:
        """Without a key it knows others, and nobody knows it."""
        looker = PeerTable(
            self.one, self.world.reactor, "world", names=[self.two.name], difficulty=4,
            rng=self.world.random.randbytes, randbelow=self.world.random.randrange, wall_clock=self.world.wall_clock,
        )  # fmt: skip
        self.world.start()
        looker.start()
        self.addCleanup(looker.stop)
        self.world.advance(1300)
        self.assertEqual(len(looker.online()), 3)
        self.assertEqual(self.world.acquainted(), 1.0)
        self.assertEqual({len(member.table.known()) for member in self.world.members}, {2})
        self.failureResultOf(looker.announce(), LocalProtocolError)

    def test_other_topics(self) -> None:
        """Peers of another application do not mix with these."""
        self.one.table, other = PeerTable(
            self.one, self.world.reactor, "other", key=self.one.key, difficulty=4,
            rng=self.world.random.randbytes, randbelow=self.world.random.randrange, wall_clock=self.world.wall_clock,
        ), self.one.table  # fmt: skip
        other.stop()
        self.world.start()
        self.world.advance(600)
        self.assertEqual(self.one.table.known(), [])
        self.assertEqual([self.states(member) for member in (self.two, self.three)], [{}, {}])


class AnnouncingTests(Few):
    """announce."""

    def test_a_record(self) -> None:
        """Signed, with work, of this moment; of two a second the later one is later all the same."""
        first = self.announced()
        second = self.announced()
        for record in (first, second):
            self.assertEqual(str(record.check()), self.one.name)
            self.assertTrue(record.has_work(4))
        self.assertGreater(second.claim.timestamp, first.claim.timestamp)
        self.assertEqual(self.one.table.own_record, second)

    def own(self, member: PeersMember) -> Presence:
        found = member.table.own_record
        assert found is not None
        return found

    def announced(self) -> Presence:
        made = self.one.table.announce()
        self.world.advance(0.1)
        return self.successResultOf(made)

    def test_others_hear_of_it(self) -> None:
        """A new record is taken to some peers at once."""
        self.world.start()
        self.world.advance(1000)
        made = self.one.table.announce()
        self.world.advance(30)
        expires = self.successResultOf(made).claim.expires
        heard = [
            peer.expires for member in (self.two, self.three) for peer in member.table.known()
            if peer.name == self.one.name
        ]  # fmt: skip
        self.assertEqual(heard, [expires, expires])

    def test_together(self) -> None:
        """Who asks while one is being made gets that one; who does not wait any more stops nobody."""
        first, second, third = [self.one.table.announce() for _ in range(3)]
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.world.advance(0.1)
        self.assertIs(self.successResultOf(first), self.successResultOf(second))

    def test_one_who_has_heard_stops_another(self) -> None:
        """Who waits after those two hears all the same."""
        first, second, third = [self.one.table.announce() for _ in range(3)]
        first.addCallback(lambda record: second.cancel())
        self.world.advance(0.1)
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)

    def test_a_clock_that_was_wrong(self) -> None:
        """After its time was years ahead, what it says is of the right time again, and others take it."""
        self.world.start()
        self.world.advance(120)
        self.one.skew = 1e8
        self.world.advance(1200)
        self.assertGreater(self.own(self.one).claim.timestamp, self.world.wall_clock() + 9e7)
        self.one.skew = 0.0
        self.world.advance(1200)
        own = self.own(self.one)
        self.assertLess(own.claim.timestamp, self.world.wall_clock())
        (seen,) = [peer for peer in self.two.table.known() if peer.name == self.one.name]
        self.assertEqual(seen.expires, own.claim.expires)

    def test_a_clock_that_is_set_back_a_little(self) -> None:
        """The next record is later all the same."""
        first = self.announced()
        self.one.skew = -500
        self.assertEqual(self.announced().claim.timestamp, first.claim.timestamp + 1)

    def test_after_a_sleep(self) -> None:
        """Timers stand still while a computer sleeps: its record is made anew soon after, not in an hour."""
        self.world.start()
        self.world.advance(1000)
        self.one.skew = 10 * 3600
        self.world.advance(420)
        self.assertGreater(self.own(self.one).claim.timestamp, self.world.wall_clock() + 9 * 3600)

    def test_while_others_are_dialled(self) -> None:
        """The news waits until one of these is done, and not for the next round."""
        self.world.start()
        self.world.advance(1000)
        for member in (self.two, self.three):
            factory = Factory.forProtocol(Silent)
            factory.noisy = False
            member.serves = factory
        self.one.table.announce()
        # Both are being dialled, and say nothing for half a minute.
        self.world.advance(5)
        made = self.one.table.announce()
        for member in (self.two, self.three):
            member.serves = None
        fourth = self.world.add()
        fourth.table.start()
        self.one.table.meet(fourth.name)
        self.world.advance(40)
        (seen,) = [peer for peer in fourth.table.known() if peer.name == self.one.name]
        self.assertEqual(seen.expires, self.successResultOf(made).claim.expires)

    def test_much_work(self) -> None:
        """It is done in slices, between which everything else goes on; stopping ends it."""
        table = PeerTable(
            self.one, self.world.reactor, "world", key=self.one.key, difficulty=14,
            rng=lambda size: bytes(size), randbelow=self.world.random.randrange, wall_clock=self.world.wall_clock,
        )  # fmt: skip
        made = table.announce()
        slices = 0
        while not made.called:
            slices += 1
            self.world.reactor.clock.turn()
        self.assertGreater(slices, 1)
        self.assertTrue(self.successResultOf(made).has_work(14))
        waiting = table.announce()
        table.stop()
        self.failureResultOf(waiting, CancelledError)


class OptionTests(Few):
    """What the constructor takes."""

    def test_wrong_ones(self) -> None:
        """Each is refused with a reason."""
        for options in (
            {"topic": ""}, {"topic": "x" * 33}, {"note": bytes(129)}, {"port": 0}, {"life": 6 * 3600 + 1},
            {"life": 0}, {"difficulty": 41}, {"difficulty": -1}, {"interval": 0.0}, {"roles": Role(0)},
            {"urls": ["ftp://example.org/"]}, {"urls": ["http://ex ample.org/"]}, {"urls": ["http://\u00e4.org/"]},
        ):  # fmt: skip
            wrong: dict[str, Any] = {"topic": "world", **options}
            self.assertRaises(ConfigurationError, PeerTable, self.one, self.world.reactor, **wrong)
        self.assertRaises(
            OnionNameError, PeerTable, self.one, self.world.reactor, "world", names=["example.org"]
        )
        self.assertRaises(OnionNameError, self.one.table.meet, "x.torpydo")
        self.failureResultOf(self.one.table.bootstrap("x"), ConfigurationError)


class StoppingTests(Few):
    """start and stop."""

    def test_in_the_middle(self) -> None:
        """Whenever it is stopped, nothing is left of it."""
        for steps in range(25):
            self.world.start()
            self.world.advance(0.05 * steps)
            self.world.stop()
            self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def test_twice(self) -> None:
        """To start or stop again changes nothing."""
        self.world.start()
        self.world.start()
        self.world.advance(60)
        record = self.one.table.own_record
        self.one.table.start()
        self.world.advance(10)
        self.assertIs(self.one.table.own_record, record)
        self.world.stop()
        self.world.stop()
        self.assertEqual(self.world.acquainted(), 1.0)

    def test_streams_of_others(self) -> None:
        """They are ended at once."""
        self.one.table.start()
        self.world.advance(1)
        end = Recorder(b"")
        factory = Factory.forProtocol(lambda: end)
        factory.noisy = False
        self.world.connect(self.two, factory, self.one.name, 8733)
        self.world.advance(2)
        self.one.table.stop()
        self.world.advance(1)
        self.assertTrue(end.lost)

    def test_who_is_stopped_answers_nobody(self) -> None:
        """Streams are refused."""
        self.assertIsNone(self.one.table.factory.buildProtocol(None))


class FailingClient:
    """Opens no stream."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked: list[tuple[str, int, Hashable]] = []

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, isolation: Hashable = None
    ) -> Deferred[IProtocol]:
        self.asked.append((host, port, isolation))
        return fail(self.error)

    def web_agent(self, *, isolation: Hashable = None) -> IAgent:
        raise self.error


class SlowClient:
    """Opens no stream, and says nothing of it."""

    def __init__(self) -> None:
        self.waiting: set[Deferred[IProtocol]] = set()
        self.cancelled = 0

    def _cancel(self, waiting: Deferred[IProtocol]) -> None:
        self.waiting.discard(waiting)
        self.cancelled += 1

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, isolation: Hashable = None
    ) -> Deferred[IProtocol]:
        opening: Deferred[IProtocol] = Deferred(self._cancel)
        self.waiting.add(opening)
        return opening

    def web_agent(self, *, isolation: Hashable = None) -> IAgent:
        raise NotImplementedError


class Silent(Protocol):
    """Says nothing."""


class VisitingTests(Few):
    """Streams to others, and from others."""

    def table(self, client: Any, **options: Any) -> PeerTable:
        made = PeerTable(
            client, self.world.reactor, "world", names=[f"{self.two.name}:99"], difficulty=4,
            rng=self.world.random.randbytes, randbelow=self.world.random.randrange, wall_clock=self.world.wall_clock,
            **options,
        )  # fmt: skip
        made.start()
        self.addCleanup(made.stop)
        return made

    def test_where(self) -> None:
        """By name and port, and never on a circuit that the application's own streams use."""
        clients = [FailingClient(ServiceUnreachable()) for _ in range(2)]
        for client in clients:
            self.table(client)
        self.world.advance(10)
        (one,), (other,) = [client.asked for client in clients]
        self.assertEqual(one[:2], (self.two.name, 99))
        self.assertNotEqual(one[2], other[2])
        self.assertIsNotNone(one[2])

    def test_two_at_a_time(self) -> None:
        """However many are known and however long it takes; each has a minute, and stopping ends all."""
        client = SlowClient()
        table = self.table(client)
        table.meet(*[member.name for member in self.world.members])
        for _ in range(59):
            self.world.advance(1)
            self.assertLessEqual(len(client.waiting), 2)
        self.assertEqual((len(client.waiting), client.cancelled), (2, 0))
        self.world.advance(2)
        self.assertEqual(client.cancelled, 2)
        self.world.advance(20)
        self.assertEqual(len(client.waiting), 1)
        table.stop()
        self.assertEqual((len(client.waiting), client.cancelled), (0, 3))

    def test_pauses(self) -> None:
        """Who cannot be reached is tried again, more and more seldom."""
        client = FailingClient(ServiceUnreachable())
        self.table(client)
        self.world.advance(24 * 3600)
        self.assertTrue(60 < len(client.asked) < 100, len(client.asked))

    def test_this_sides_trouble(self) -> None:
        """When no circuit can be built nobody is taken for offline."""
        self.world.start()
        self.world.advance(120)
        known = self.states(self.one)

        self.one.trouble = CircuitBuildError(1, 3, "node", "broken")
        self.world.advance(3600)
        self.assertEqual(self.states(self.one), known)

    def test_an_unexpected_error(self) -> None:
        """It is logged, and the rounds go on."""
        client = FailingClient(ZeroDivisionError())
        self.table(client)
        self.world.advance(100)
        # Not in each of the seven rounds: it is a failure like others.
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_one_who_says_nothing(self) -> None:
        """The exchange ends after half a minute, and twice is offline."""
        self.world.start()
        self.world.advance(120)
        factory = Factory.forProtocol(Silent)
        factory.noisy = False
        self.two.serves = factory
        self.world.advance(3600)
        self.assertIs(self.states(self.one)[self.two.name], State.OFFLINE)

    def test_few_at_a_time(self) -> None:
        """32 are answered; those who say nothing make room, the oldest first, and do not shut the door."""
        self.one.table.start()
        self.world.advance(1)
        ends = [Recorder(b"") for _ in range(40)]
        for end in ends:
            self.visit(end)
        self.world.advance(2)
        self.assertEqual([end.lost for end in ends], [True] * 8 + [False] * 32)
        self.assertEqual(len(self.one.table.factory), 32)
        self.two.table.start()
        self.two.table.meet(self.one.name)
        self.world.advance(5)
        self.assertEqual(self.two.knows(), {self.one.name})
        self.world.advance(30)
        self.assertEqual(len(self.one.table.factory), 0)

    def test_room_is_made_before_it_is_there(self) -> None:
        """A stream whose place is taken before it was connected is closed as soon as it is."""
        self.one.table.start()
        self.world.advance(1)
        first, *_ = [self.one.table.factory.buildProtocol(None) for _ in range(33)]
        transport = StringTransport()
        assert first is not None
        first.makeConnection(transport)
        self.assertEqual((transport.disconnecting, transport.value()), (True, b""))
        for one in list(self.one.table.factory._open):
            one.connectionLost()

    def visit(self, end: Protocol) -> None:
        """Open a stream to the first."""
        factory = Factory.forProtocol(lambda: end)
        factory.noisy = False
        self.world.connect(self.two, factory, self.one.name, PORT)

    def test_before_its_first_record(self) -> None:
        """One that still works for its record refuses streams: who dials it would blame it for coming without one."""
        one = PeerTable(
            self.one, self.world.reactor, "world", key=self.one.key, difficulty=40, rng=self.world.random.randbytes,
            randbelow=self.world.random.randrange, wall_clock=self.world.wall_clock,
        )  # fmt: skip
        one.start()
        self.world.reactor.clock.turn()
        self.assertIsNone(one.factory.buildProtocol(None))
        one.stop()

    def test_cut_off(self) -> None:
        """Two days without the network, and soon after all are known again: nobody was forgotten for that."""
        self.world.start()
        self.world.advance(1000)
        self.one.side = 1
        self.world.advance(2 * 24 * 3600)
        self.assertEqual({*self.states(self.one).values()}, {State.OFFLINE})
        self.one.side = 0
        self.world.advance(2400)
        self.assertEqual(self.one.knows(), {self.two.name, self.three.name})

    def test_nonsense(self) -> None:
        """Whoever comes and talks nonsense is cut off, and is no trouble."""
        self.one.table.start()
        self.world.advance(1)
        ends: list[Recorder] = []
        for data in (b"\xff\xff", b"\0\1\xff", frame(Want(1, bytes(8))), frame(Hello(b"x")), b""):
            end = Recorder(data)
            ends.append(end)
            factory = Factory.forProtocol(lambda end=end: end)
            factory.noisy = False
            self.world.connect(self.two, factory, self.one.name, 8733)
        self.world.advance(10)
        self.assertEqual([end.lost for end in ends], [True] * 4 + [False])
        self.world.advance(30)
        self.assertTrue(ends[4].lost)


class Recorder(Protocol):
    """Says something and sees what becomes of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.lost = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.data)

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


class Page(Resource):
    """A web page of some bytes."""

    isLeaf = True

    def __init__(self, data: bytes, code: int = 200) -> None:
        super().__init__()
        self.data = data
        self.code = code
        self.headers: list[bytes] = []
        self.peer = ""

    def render_GET(self, request: Request) -> bytes:
        self.peer = request.getClientAddress().host
        self.headers = [name for name, _ in request.requestHeaders.getAllRawHeaders()]
        request.setResponseCode(self.code)
        return self.data


class Endless(Resource):
    """Begins to answer, and does not end.

    :ivar gone: requests whose connection was closed
    """

    isLeaf = True

    def __init__(self, data: bytes, code: int = 200, length: int | None = None) -> None:
        super().__init__()
        self.data = data
        self.code = code
        self.length = length
        self.gone: list[Request] = []

    def render_GET(self, request: Request) -> int:
        request.setResponseCode(self.code)
        if self.length is not None:
            request.setHeader(b"content-length", str(self.length).encode())
        request.notifyFinish().addErrback(lambda _: self.gone.append(request))
        request.write(self.data)
        return NOT_DONE_YET


class BootstrapTests(Few):
    """Documents that name the first peers."""

    def serve(self, page: Resource, port: int = 80) -> str:
        site = Site(page, reactor=self.world.reactor)
        listening = self.world.reactor.listenTCP(port, site)
        self.addCleanup(listening.stopListening)
        return f"http://127.0.0.1:{port}/peers.json"

    def fetched(self, data: bytes, code: int = 200) -> Deferred[int]:
        found = self.one.table.bootstrap(self.serve(Page(data, code)))
        self.world.advance(5)
        return found

    def test_names_and_records(self) -> None:
        """Names are dialled, records are looked at; both are how it begins."""
        for member in (self.two, self.three):
            member.table.start()
        self.world.advance(1)
        assert self.three.table.own_record is not None
        document = json.dumps({"format": 1, "names": [self.two.name]}).encode()
        self.assertEqual(self.successResultOf(self.fetched(document)), 1)
        self.assertEqual(self.one.table.known(), [])
        self.one.table.start()
        self.world.advance(30)
        self.assertIn(self.two.name, self.states(self.one))

    def test_its_own_document(self) -> None:
        """What a peer knows another one can begin with."""
        self.world.start()
        self.world.advance(200)
        document = self.two.table.document()
        self.assertEqual(len(Document.decode(document).records), 3)
        fresh = PeersWorld(1, seed=9)
        page = Site(Page(document), reactor=fresh.reactor)
        listening = fresh.reactor.listenTCP(80, page)
        fresh.advance(200)
        found = fresh.members[0].table.bootstrap("http://127.0.0.1/")
        fresh.advance(5)
        self.assertEqual(self.successResultOf(found), 3)
        # The one in the new world has the key of number 1 as well: it does not take that for another peer.
        self.assertEqual(len(fresh.members[0].table.known()), 2)
        listening.stopListening()

    def test_wrong_answers(self) -> None:
        """Each has its reason, and none is trouble."""
        for number, (data, code, words) in enumerate((
            (b"no", 200, "is not like"), (b'{"format": 1}', 404, "answers 404"), (b"", 301, "answers 301"),
            (b" " * (MAX_DOCUMENT + 1), 200, "more than"),
        )):  # fmt: skip
            found = self.one.table.bootstrap(self.serve(Page(data, code), 81 + number))
            self.world.advance(5)
            self.assertIn(words, str(self.failureResultOf(found, BootstrapError).value))
        found = self.one.table.bootstrap("http://127.0.0.1:9/")
        self.world.advance(5)
        self.assertIn("cannot be fetched", str(self.failureResultOf(found, BootstrapError).value))

    def test_without_an_end(self) -> None:
        """A server that sends on and on is cut off at the limit, and one that sends nothing after a minute."""

        page = Endless(b" " * 100_000)
        found = self.one.table.bootstrap(self.serve(page))
        self.world.advance(5)
        self.assertIn("more than", str(self.failureResultOf(found, BootstrapError).value))
        self.assertEqual(len(page.gone), 1)

        class Mute(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> int:
                return 1

        found = self.one.table.bootstrap(self.serve(Mute(), 81))
        self.world.advance(59)
        self.assertNoResult(found)
        self.world.advance(2)
        self.assertIn("in time", str(self.failureResultOf(found, BootstrapError).value))

    def test_not_whole(self) -> None:
        """One that is announced to be too long is not waited for, and one that ends early is none."""

        class Announced(Resource):
            isLeaf = True

            def __init__(self, size: int) -> None:
                super().__init__()
                self.size = size

            def render_GET(self, request: Request) -> int:
                request.setHeader(b"content-length", str(self.size).encode())
                request.write(b'{"format": 1}')
                self.request = request
                return 1

        found = self.one.table.bootstrap(self.serve(Announced(MAX_DOCUMENT + 1)))
        self.world.advance(5)
        self.assertIn("more than", str(self.failureResultOf(found, BootstrapError).value))
        page = Announced(100)
        found = self.one.table.bootstrap(self.serve(page, 81))
        self.world.advance(5)
        page.request.transport.loseConnection()
        self.world.advance(5)
        self.assertIn("its end", str(self.failureResultOf(found, BootstrapError).value))

    def test_in_the_middle_of_a_body(self) -> None:
        """Whether it takes too long or is given up: it ends, and so does the connection."""
        page = Endless(b'{"format"')
        for number, seconds in enumerate((61, 5)):
            found = self.one.table.bootstrap(self.serve(page, 81 + number))
            self.world.advance(seconds)
            if number:
                self.assertNoResult(found)
                self.one.table.stop()
            self.failureResultOf(found, CancelledError if number else BootstrapError)
            self.world.advance(1)
            self.assertEqual(len(page.gone), number + 1)

    def test_bodies_that_nobody_wants(self) -> None:
        """Their connections are closed: left alone each would wait for somebody to read it, for ever."""
        for number, page in enumerate((Endless(b"no", 404), Endless(b"x", length=MAX_DOCUMENT + 1))):
            found = self.one.table.bootstrap(self.serve(page, 81 + number))
            self.world.advance(5)
            self.failureResultOf(found, BootstrapError)
            self.assertEqual(len(page.gone), 1)

    def test_tried_again(self) -> None:
        """What is given to begin with is asked for until it comes."""
        table = PeerTable(
            self.one, self.world.reactor, "world", urls=["http://127.0.0.1/x"], difficulty=4,
            rng=self.world.random.randbytes, randbelow=self.world.random.randrange, wall_clock=self.world.wall_clock,
        )  # fmt: skip
        self.two.table.start()
        table.start()
        self.addCleanup(table.stop)
        self.world.advance(100)
        self.assertEqual(table.known(), [])
        self.serve(Page(json.dumps({"format": 1, "names": [self.two.name]}).encode()))
        self.world.advance(200)
        self.assertEqual(len(table.known()), 1)


class NetworkTests(NetworkTestCase):
    """Over onion services of a whole network."""

    def setUp(self) -> None:
        super().setUp()
        self.start(nodes=6, dht=True)
        self.network.advance(10)
        self.random = Random(5)

    def peer(self, seed: bytes, client: Client, **options: Any) -> PeerTable:
        """A table, and the service that it is reached at."""
        key = SigningKey(Secret(seed))
        table = PeerTable(
            client, self.network.reactor, "chat", key=key, difficulty=4, rng=self.random.randbytes,
            randbelow=self.random.randrange, wall_clock=self.network.clients[0].wall_clock, **options,
        )  # fmt: skip
        self.network.success(client.onion_endpoint(PORT, private_key=key).listen(table.factory))
        table.start()
        self.addCleanup(table.stop)
        return table

    def test_two_peers(self) -> None:
        """One has the name of the other; both come to know each other, directly."""
        one = self.peer(b"1" * 32, self.network.client)
        name = str(OnionName.of(SigningKey(Secret(b"1" * 32))))
        other = self.network.success(self.network.add_client())
        two = self.peer(b"2" * 32, other, names=[name], note=b"number two")
        self.network.advance(120)
        self.assertEqual([peer.name for peer in two.online()], [name])
        (found,) = two.online()
        # What the table says is what a client connects to.
        self.network.success(other.endpoint(found.name, found.port).connect(Factory.forProtocol(Protocol)))
        self.assertEqual([(peer.note, peer.verified) for peer in one.online()], [(b"number two", Verified.DIRECTLY)])

    def test_a_document_through_circuits(self) -> None:
        """The web server sees an exit, and headers that are everybody's."""
        page = Page(Document().encode())
        host, port = self.network.serve(Site(page, reactor=self.network.reactor))
        table = self.peer(b"1" * 32, self.network.client)
        found = table.bootstrap(f"http://{host}:{port}/")
        self.network.advance(10)
        self.assertEqual(self.successResultOf(found), 0)
        self.assertEqual({name.lower() for name in page.headers}, {b"host", b"user-agent"})
        self.assertIn(page.peer, self.addresses())

    def addresses(self) -> set[str]:
        """Of the nodes."""
        return {node.ip for node in self.network.nodes}

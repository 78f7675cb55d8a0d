"""The client's side: descriptors, attempts, who waits for what, and what is closed again."""

from __future__ import annotations

import gc
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory

from tests.apps.onionservice.base import Services
from tests.network.base import Echo, router_of
from tests.onion.build import document
from tests.testing.recorders import Recorder
from torpydo.apps.onionservice import OnionService, ServiceLimits, joined
from torpydo.apps.onionservice import connector as connecting
from torpydo.apps.onionservice.connector import FRESH, LOOKUPS
from torpydo.client import Conversation, IncomingStream
from torpydo.dht import Item
from torpydo.errors import ConnectTimeout, NodeOverloaded, ServiceNotFound, ServiceUnreachable
from torpydo.onion import (
    LEAST_EFFORT,
    OnionName,
    Proof,
    Secret,
    ServiceDescriptor,
    SigningKey,
    blind,
    proves,
    seal_descriptor,
)

KEY = SigningKey(Secret(b"k" * 32))


class WaitingTests(Services):
    """One circuit for all who want it."""

    latency = 0.02

    def test_many_at_once(self) -> None:
        """All wait for the same."""
        service = self.service()
        opening = [self.open(service.name) for _ in range(20)]
        self.network.advance(5)
        for one in opening:
            self.successResultOf(one)
        self.assertEqual(service.circuits, 1)

    def test_the_first_gives_up(self) -> None:
        """The others get what they wait for."""
        service = self.service()
        first, *others = [self.open(service.name) for _ in range(3)]
        self.network.advance(0.3)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.network.advance(5)
        for one in others:
            self.successResultOf(one)
        self.assertEqual(service.circuits, 1)

    def test_all_give_up(self) -> None:
        """Whenever it is, nothing is left behind, and whoever comes later gets a circuit."""
        service = self.service()
        before = self.circuits()
        connector = self.connects(self.network.client, idle=5.0)
        for step in range(1, 20):
            opening = [self.open(service.name, step, connector) for _ in range(2)]
            self.network.advance(0.1 * step)
            if opening[0].called:
                self.assertGreater(step, 5)
                break
            joined = bool(connector._joined._open)
            for one in opening:
                one.cancel()
                self.failureResultOf(one, CancelledError)
            # A circuit that is there already waits for the next stream, for a while.
            self.network.advance(15 if joined else 2)
            self.assertEqual(self.circuits(), before, step)
        else:
            self.fail("it takes too long to connect")
        self.echoes(service.name)
        gc.collect()

    def test_a_new_identity_meanwhile(self) -> None:
        """Who waited gets the circuit, who comes later gets another one, be it finished by then or not."""
        service = self.service()
        for number, pause in enumerate((0.0, 5.0)):
            first = self.open(service.name, number)
            self.network.advance(0.3)
            self.connector.new_identity()
            self.network.advance(pause)
            second = self.open(service.name, number)
            self.network.advance(5)
            self.successResultOf(first)
            self.successResultOf(second)
            self.assertEqual(service.circuits, 2 * number + 2)


class CrowdedTests(Services):
    """More streams than a circuit takes."""

    def test_another_circuit(self) -> None:
        """The next streams come on another one, and the first goes on until its own have ended."""
        self.patch(joined, "STREAMS", 3)
        service = self.service()
        connector = self.connects(self.network.client, idle=5.0)
        said = [self.echoes(service.name, connector=connector) for _ in range(7)]
        self.assertEqual(service.circuits, 3)
        self.assertEqual([one.lost for one in said], [[]] * 7)
        for one in said[:6]:
            one.tcp.loseConnection()
        self.network.advance(7)
        self.assertEqual((service.circuits, said[6].lost), (1, []))


class ManyNamesTests(Services):
    """Names that somebody makes up, on a page full of them: each costs the lookup of three periods."""

    def test_some_at_a_time(self) -> None:
        """The others wait, and go on when those have ended or were given up."""
        self.store.silent = True
        names = [OnionName.of(SigningKey(Secret(bytes([number]) * 32))) for number in range(40)]
        opening = [self.open(name) for name in names]
        self.assertEqual(self.store.gets, LOOKUPS)
        for one in opening[: LOOKUPS // 2]:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.assertEqual(self.store.gets, LOOKUPS + LOOKUPS // 2)
        # One of those who wait gives up.
        opening[-1].cancel()
        self.failureResultOf(opening[-1], CancelledError)
        self.store.silent = False
        self.network.advance(61)
        for one in opening[LOOKUPS // 2 : -1]:
            self.failureResultOf(one, ServiceNotFound, ServiceUnreachable)
        service = self.service()
        self.echoes(service.name)


class ClosingTests(Services):
    """Circuits that nobody uses."""

    def test_idle(self) -> None:
        """They are closed after a while, others are not."""
        service = self.service()
        connector = self.connects(self.network.client, idle=5.0)
        said = self.echoes(service.name, connector=connector)
        self.network.advance(20)
        self.assertEqual(service.circuits, 1)
        said.tcp.loseConnection()
        self.network.advance(4)
        self.assertEqual(service.circuits, 1)
        self.network.advance(7)
        self.assertEqual(service.circuits, 0)
        self.echoes(service.name, connector=connector)

    def test_a_client_that_does_not_close(self) -> None:
        """Then the service does it, when no stream was there for a while."""
        service = self.service(limits=ServiceLimits(idle=20.0))
        said = self.echoes(service.name, connector=self.connects(self.network.client, idle=1e6))
        self.network.advance(50)
        said.tcp.loseConnection()
        self.network.advance(18)
        self.assertEqual(service.circuits, 1)
        self.network.advance(25)
        self.assertEqual(service.circuits, 0)

    def test_too_many_circuits(self) -> None:
        """The one that was not used for longest makes room; one with streams stays."""
        service = self.service(limits=ServiceLimits(circuits=2))
        kept = self.echoes(service.name, isolation=0)
        for isolation in (1, 2):
            said = self.echoes(service.name, isolation=isolation)
            said.tcp.loseConnection()
            self.network.advance(1)
        self.assertEqual((service.circuits, kept.lost), (2, []))

    def test_too_many_circuits_with_streams(self) -> None:
        """Whoever comes is let in: the one on which nothing was opened for longest makes room, used or not."""
        service = self.service(limits=ServiceLimits(circuits=2))
        said = []
        for isolation in range(3):
            said.append(self.echoes(service.name, isolation=isolation))
            self.network.advance(1)
        self.assertEqual([len(one.lost) for one in said], [1, 0, 0])
        self.assertEqual(service.circuits, 2)

    def test_too_many_streams(self) -> None:
        """Whoever has taken all of them gets no more, and others get their share."""
        service = self.service(limits=ServiceLimits(streams=10))
        greedy = [self.echoes(service.name) for _ in range(10)]
        self.failureResultOf(self.refused_stream(service, None), NodeOverloaded)
        others = [self.echoes(service.name, isolation=1) for _ in range(5)]
        self.failureResultOf(self.refused_stream(service, 1), NodeOverloaded)
        self.failureResultOf(self.refused_stream(service, None), NodeOverloaded)
        self.assertEqual([one.lost for one in greedy + others], [[]] * 15)
        for one in greedy:
            one.tcp.loseConnection()
        self.network.advance(1)
        self.echoes(service.name)

    def refused_stream(self, service: OnionService, isolation: Any) -> Deferred[Any]:
        """One that was asked for and answered."""
        opening = self.open(service.name, isolation)
        self.network.advance(1)
        return opening

    def test_streams_too_fast(self) -> None:
        """Whoever opens and closes them has as many as a node allows, and then a hundred a second (SECURITY D2)."""
        service = self.service(limits=ServiceLimits(streams=10**6))
        self.echoes(service.name)
        self.network.advance(10)
        self.incoming.clear()
        for _ in range(400):
            self.open(service.name).addErrback(lambda failure: failure.trap(NodeOverloaded))
        self.network.flush()
        self.assertIn(len(self.incoming), range(300, 305))
        self.network.advance(1)
        for _ in range(200):
            self.open(service.name).addErrback(lambda failure: failure.trap(NodeOverloaded))
        self.network.flush()
        self.assertIn(len(self.incoming), range(400, 410))

    def test_a_new_identity(self) -> None:
        """What is not used is closed at once, what is used when it is not any more; nothing new comes to it."""
        service = self.service()
        used, unused = self.echoes(service.name), self.echoes(service.name, isolation="other")
        unused.tcp.loseConnection()
        self.network.advance(1)
        self.connector.new_identity()
        self.network.advance(1)
        self.assertEqual((service.circuits, used.lost), (1, []))
        self.echoes(service.name)
        self.assertEqual(service.circuits, 2)
        used.tcp.loseConnection()
        self.network.advance(61)
        self.assertEqual(service.circuits, 1)


class AttemptTests(Services):
    """Introductions that come to nothing."""

    latency = 0.02

    def store_one(self, nodes: int = 3, effort: int = 0) -> OnionName:
        """A descriptor that names nodes which nobody lists."""
        name = OnionName.of(KEY)
        key = blind(KEY, int(self.wall()) // 86400)
        value = seal_descriptor(document(nodes, effort), name, key.public, 1, rng=self.random.randbytes)
        self.store.put(Item.make(key, key.public.raw, b"", 1, int(self.wall()) + 3600, value))
        return name

    def test_nodes_that_are_not_listed(self) -> None:
        """The circuit that was begun meanwhile is closed, and nothing is left that nobody looks at."""
        before = self.circuits()
        opening = self.open(self.store_one())
        self.network.advance(30)
        self.failureResultOf(opening, ServiceUnreachable)
        self.assertEqual(self.circuits(), before)
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_service_that_does_not_come(self) -> None:
        """Each time the client makes twice the effort. Everything is closed again."""
        service = self.service(limits=ServiceLimits(meetings=0))
        before = self.circuits()
        opening = self.open(service.name)
        self.network.advance(60)
        self.failureResultOf(opening, ServiceUnreachable)
        waiting = [service._queue.waiting(effort * LEAST_EFFORT) for effort in (0, 1, 2, 4, 5)]
        self.assertEqual(waiting, [4, 3, 2, 1, 0])
        self.assertEqual(self.circuits(), before)

    def test_an_older_descriptor(self) -> None:
        """After one failure it is looked for again: of three old points one is asked."""
        service = self.service()
        self.echoes(service.name)
        service.stop()
        self.network.advance(1)
        self.service()
        gets = self.store.gets
        self.echoes(service.name)
        self.assertEqual(self.store.gets - gets, 1)
        self.assertEqual(self.connector._known[service.name].descriptor.points, self.points(service.name))

    def test_a_service_that_is_elsewhere_soon(self) -> None:
        """Whoever comes in between waits for it: it had lost all of its points at once."""
        service = self.service()
        self.echoes(service.name)
        service.stop()
        self.network.advance(1)
        opening = self.open(service.name, 1)
        self.network.advance(2)
        self.assertNoResult(opening)
        self.make().start()
        self.network.advance(9)
        self.successResultOf(opening)

    def test_a_service_that_stays_away(self) -> None:
        """There are four further looks; none when it has taken long already."""
        service = self.service()
        self.echoes(service.name)
        service.stop()
        self.network.advance(1)
        for patience, looks in ((connecting.PATIENCE, 4), (0.0, 0)):
            self.patch(connecting, "PATIENCE", patience)
            # The first is for a descriptor that nobody remembers any more, or for a newer one.
            gets = self.store.gets + 1
            opening = self.open(service.name, looks)
            self.network.advance(15)
            self.failureResultOf(opening, ServiceUnreachable)
            self.assertEqual(self.store.gets - gets, looks)

    def test_some_know_an_older_one(self) -> None:
        """The second look waits for the newest."""
        service = self.service()
        self.echoes(service.name)
        self.store.older = dict(self.store.items)
        service.stop()
        self.network.advance(1)
        self.service()
        self.echoes(service.name)

    def test_a_store_that_does_not_answer(self) -> None:
        """The client is told after a minute."""
        service = self.service()
        self.store.silent = True
        opening = self.open(service.name)
        self.network.advance(59)
        self.assertNoResult(opening)
        self.network.advance(2)
        self.failureResultOf(opening, ServiceUnreachable)

    def test_what_is_remembered(self) -> None:
        """A descriptor for half an hour, the last ones that were found, and none of a service that has gone."""
        service = self.service()
        self.echoes(service.name)
        gets = self.store.gets
        self.echoes(service.name, isolation=1)
        self.assertEqual(self.store.gets, gets)
        known = self.connector._known
        known[service.name] = attrs.evolve(known[service.name], at=self.network.reactor.seconds() - FRESH)
        self.echoes(service.name, isolation=2)
        self.assertEqual(self.store.gets, gets + 1)
        self.patch(connecting, "DESCRIPTORS", 2)
        other, third = (self.service(bytes([number]) * 32) for number in (1, 2))
        for one in (other, third):
            self.echoes(one.name)
        self.assertEqual([*known], [other.name, third.name])
        other.stop()
        self.network.advance(1)
        opening = self.open(other.name, 3)
        self.network.advance(60)
        self.failureResultOf(opening, ServiceUnreachable)
        self.assertEqual([*known], [third.name])

    def test_where_the_client_waits(self) -> None:
        """Never at the introduction point: it would know both what is asked for and where the answer goes."""
        service = self.service()
        (point, *_) = self.connector._shuffled(self.network.success(self.found(service.name)))
        somewhere: Conversation = self.network.success(self.network.client.conversation())
        # A node where it would wait otherwise.
        point = attrs.evolve(point, node_id=somewhere.node_id)
        somewhere.close()
        for _ in range(20):
            opened: list[Conversation] = []
            prepared = self.network.success(
                Deferred.fromCoroutine(self.connector._prepare(service.name, 0, point, opened))
            )
            self.assertNotEqual(prepared.waiting.node_id, point.node_id)
            prepared.waiting.close()

    def found(self, name: OnionName) -> Deferred[ServiceDescriptor]:
        """Its descriptor, as clients find it."""
        return Deferred.fromCoroutine(self.connector._descriptor(name))

    def test_the_store_knows_nothing_any_more(self) -> None:
        """Then what was known before has to do, as long as a point of it lives."""
        service = self.service()
        self.echoes(service.name)
        self.store.items.clear()
        self.network.kill(self.node(self.connector._known[service.name].descriptor.points[0].node_id))
        for isolation in range(4):
            self.echoes(service.name, isolation=isolation)


class EffortTests(Services):
    """Puzzles."""

    def suggest(self, service: OnionService, effort: int) -> None:
        """It had a crowd just now."""
        service._demand.effort = effort
        service._demand._changed = self.network.reactor.seconds()
        service._publisher.soon()
        self.network.advance(2)

    def test_what_the_descriptor_asks_for(self) -> None:
        """Is done."""
        service = self.service(limits=ServiceLimits(meetings=0))
        self.suggest(service, 50_000)
        opening = self.open(service.name)
        self.network.advance(5)
        self.assertEqual([service._queue.waiting(50_000), service._queue.waiting(50_001)], [1, 0])
        opening.addErrback(lambda failure: failure.trap(CancelledError))
        opening.cancel()

    def test_one_too_many(self) -> None:
        """Whom a point has refused makes an effort at the next one, and twice as much at the third."""
        service = self.service(limits=ServiceLimits(meetings=0))
        for point in self.points(service.name)[:3]:
            queue = router_of(self.node(point.node_id))._onions._introductions._points[point.key.raw].queue
            queue.most = 0
            queue.pause(self.network.reactor.seconds())
            queue._credit = 0.0
            queue.per_second = 1e-9
        opening = self.open(service.name)
        self.network.advance(5)
        self.failureResultOf(opening, ServiceUnreachable)
        refused = [
            router_of(self.node(point.node_id))._onions._introductions._points[point.key.raw].refused
            for point in self.points(service.name)
        ]
        # The fourth attempt was at the point of the first.
        self.assertEqual(sorted(refused), [1 + LEAST_EFFORT, 1 + 2 * LEAST_EFFORT, 1 + 4 * LEAST_EFFORT])

    def test_what_a_newer_descriptor_asks_for(self) -> None:
        """Is done as soon as it is known, and not only when nobody has come without it."""
        first = self.service()
        self.echoes(first.name)
        first.stop()
        self.network.advance(1)
        second = self.service(limits=ServiceLimits(meetings=0))
        self.suggest(second, 50_000)
        opening = self.open(second.name, 1)
        self.network.advance(5)
        self.assertEqual([second._queue.waiting(0), second._queue.waiting(50_000)], [1, 1])
        opening.addErrback(lambda failure: failure.trap(CancelledError))
        opening.cancel()

    def test_in_slices(self) -> None:
        """Between them other things happen; whoever gives up ends it."""
        solved: list[Proof] = []
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            if not solved:
                self.network.reactor.callLater(0, turn)

        for number in range(10):
            message = bytes([number]) * 512
            solving = Deferred.fromCoroutine(self.connector._solve(bytes(32), message, 20_000))
            solving.addCallback(solved.append)
            turn()
            self.network.flush()
            self.assertTrue(proves(bytes(32), message, solved.pop()))
        # Two hundred thousand hashes on average.
        self.assertTrue(20 < turns < 150, turns)
        given_up = Deferred.fromCoroutine(self.connector._solve(bytes(32), bytes(512), 1 << 60))
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.network.flush()

    def test_too_much(self) -> None:
        """Nobody is kept busy for hours: less is done, and is worth that."""
        service = self.service(limits=ServiceLimits(meetings=0))
        self.suggest(service, 2**32 - 1)
        opening = self.open(service.name, connector=self.connects(self.network.client, most_effort=1000))
        self.network.advance(5)
        self.assertEqual([service._queue.waiting(1000), service._queue.waiting(1001)], [1, 0])
        opening.addErrback(lambda failure: failure.trap(CancelledError))
        opening.cancel()


class MuteTests(Services):
    """A service that does not answer its streams, or only those of later circuits."""

    mute = 0

    def accept(self, stream: IncomingStream) -> None:
        self.incoming.append(stream)
        stream.ended = lambda: self.ended.append(stream)
        if len(self.incoming) > self.mute:
            stream.accept(Echo())

    def setUp(self) -> None:
        super().setUp()
        self.ended: list[IncomingStream] = []

    def test_another_circuit(self) -> None:
        """It is asked for on another one."""
        self.mute = 1
        service = self.service()
        self.echoes(service.name)
        self.assertEqual((len(self.incoming), self.ended), (2, self.incoming[:1]))
        self.assertEqual(service.circuits, 1)

    def test_never(self) -> None:
        """It ends with an error, and nothing is left."""
        self.mute = 9
        service = self.service()
        opening = self.open(service.name)
        self.network.advance(30)
        self.failureResultOf(opening, ConnectTimeout)
        self.assertEqual((len(self.incoming), len(self.ended), service.circuits), (2, 2, 0))

    def test_first_bytes(self) -> None:
        """They may have arrived, so they are not sent again."""
        self.mute = 1
        service = self.service()
        opening: Deferred[Any] = self.connector.open_stream(
            Factory.forProtocol(Recorder), str(service.name), 80, None, b"once"
        )
        self.network.advance(30)
        self.failureResultOf(opening, ConnectTimeout)
        self.assertEqual(len(self.incoming), 1)

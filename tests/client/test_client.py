"""Tests of torpydo.client.client and torpydo.client.routing."""

from __future__ import annotations

import json
import shutil
import tempfile
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import Holder
from tests.client.network import HERE, NOW, URL, Network
from tests.directory.build import descriptor, node_id
from torpydo.client.buildtimes import ENOUGH, SHORTEST
from torpydo.client.client import Client
from torpydo.client.congestion import SWEEP as CONGESTION_SWEEP
from torpydo.client.limits import DEFAULT_LIMITS
from torpydo.client.routing import FIRST_TRIES
from torpydo.client.status import DONE, LOST
from torpydo.errors import (
    CircuitBuildError,
    CircuitError,
    ConfigurationError,
    ExitPolicyRefused,
    ListingError,
    LocalProtocolError,
    NoExit,
    PathError,
    PoolUnreachable,
    PoolURLError,
    ResolveFailed,
    StateError,
    TooFewNodes,
)
from torpydo.tpdp import LinkReady


class ClientTestCase(SynchronousTestCase):
    """A client in a network of doubles."""

    def setUp(self) -> None:
        self.network = Network()
        self.network.list_nodes(1, 2, 3, 4, 5)
        self.progress: list[tuple[int, str, str]] = []

    def create(self, *pools: str, state_dir: str | None = None, **options: Any) -> Deferred[Client]:
        options.setdefault("progress", lambda *step: self.progress.append(step))
        made = Client.create(self.network.reactor, pools or (URL,), state_dir, world=self.network.world, **options)
        made.addCallback(self.keep)
        return made

    def start(self, *pools: str, **options: Any) -> Client:
        """A client that gets ready by itself."""
        return self.keep(
            Client.start(self.network.reactor, pools or (URL,), None, world=self.network.world, **options)
        )

    def keep(self, client: Client) -> Client:
        self.addCleanup(client.close)
        return client

    def ready(self, **options: Any) -> Client:
        """A client with circuits."""
        made = self.create(**options)
        self.network.builder.finish()
        return self.successResultOf(made)

    def connect(self, client: Client, host: str = "example.org", port: int = 80, **options: Any) -> Deferred[Any]:
        return client.endpoint(host, port, **options).connect(Factory.forProtocol(Protocol))

    def state_dir(self) -> str:
        path = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def assertAllFreed(self) -> None:
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])
        self.assertEqual(self.network.builder.open, [])
        self.assertTrue(all(link.closed for link in self.network.links))


class CreateTests(ClientTestCase):
    """From nothing to ready, or to a reason."""

    def test_ready_when_the_first_circuit_is_built(self) -> None:
        """Not before."""
        made = self.create()
        self.assertNoResult(made)
        self.network.builder.open[0].done()
        self.assertIsInstance(self.successResultOf(made), Client)

    def test_progress_rises_to_the_end(self) -> None:
        """Percent, a tag and a sentence."""
        self.ready()
        percents = [percent for percent, _, _ in self.progress]
        self.assertEqual(percents, sorted(percents))
        self.assertEqual([tag for _, tag, _ in self.progress], ["starting", "listing", "nodes", "circuit", "done"])
        self.assertIn("5 nodes", self.progress[2][2])
        self.assertEqual(percents[-1], 100)

    def test_pools_down_and_nothing_on_disk(self) -> None:
        """It fails at once, with the pool's address, and frees everything."""
        self.network.pools.answers.clear()
        made = self.create()
        self.assertIn("127.0.0.1:8080", str(self.failureResultOf(made, PoolUnreachable).value))
        self.assertAllFreed()

    def test_pools_down_but_a_listing_on_disk(self) -> None:
        """It starts from the disk, and says so."""
        path = self.state_dir()
        self.successResultOf(self.ready(state_dir=path).close())
        self.network.pools.answers.clear()
        self.progress.clear()
        client = self.ready(state_dir=path)
        self.assertTrue(client.status().ready)
        self.assertIsNotNone(client.status().pools[0].error)

    def test_build_times_survive_a_restart(self) -> None:
        """A client that has learned how long circuits take still knows it the next time, and gives slow ones up."""
        path = self.state_dir()
        client = self.ready(state_dir=path)
        for _ in range(ENOUGH):
            client.new_identity()
            self.network.advance(1.0)
            self.network.builder.finish()
        self.successResultOf(client.close())
        again = self.create(state_dir=path)
        begun = len(self.network.builder.open)
        self.network.advance(SHORTEST)
        self.assertEqual(len(self.network.builder.open), 2 * begun)
        self.network.builder.open[-1].done()
        self.successResultOf(again)

    def test_cached_nodes_are_gone_but_the_pools_know_new_ones(self) -> None:
        """A path that the disk does not give is not final before the pools have answered."""
        path = self.state_dir()
        self.network.list_nodes(1, 2, 3)
        self.successResultOf(self.ready(state_dir=path).close())
        late: Deferred[Any] = Deferred()
        self.network.pools.answers[HERE] = late
        made = self.create(state_dir=path, hops=4)
        self.assertNoResult(made)
        late.errback(PoolUnreachable("gone"))
        self.failureResultOf(made, TooFewNodes)

    def test_too_few_nodes(self) -> None:
        """The numbers are named."""
        self.network.list_nodes(1, 2)
        error = self.failureResultOf(self.create(), TooFewNodes).value
        self.assertEqual((error.needed, error.known), (3, 2))
        self.assertAllFreed()

    def test_no_exits(self) -> None:
        """A network without exits carries no streams to elsewhere, and is ready: onion services need none."""
        self.network.list_nodes(1, 2, 3, 4, 5, policy="")
        made = self.create()
        self.assertNoResult(made)
        (circuit,) = self.network.builder.finish()
        client = self.successResultOf(made)
        self.assertTrue(client.status().ready)
        self.assertFalse(circuit.is_open)
        error = self.failureResultOf(self.connect(client), NoExit).value
        self.assertEqual(error.port, 80)
        # Nobody asks the pools again and again.
        asked = len(self.network.pools.asked)
        self.network.advance(60)
        self.assertLess(len(self.network.pools.asked) - asked, 4)

    def test_no_exits_and_builds_that_fail(self) -> None:
        """They are tried again along other paths, and then the reason is told."""
        self.network.list_nodes(1, 2, 3, 4, 5, policy="")
        made = self.create()
        for _ in range(FIRST_TRIES):
            self.assertNoResult(made)
            (one,) = self.network.builder.open
            one.fail(2, "connection refused")
        self.assertEqual(self.failureResultOf(made, CircuitBuildError).value.hop, 2)
        self.assertAllFreed()

    def test_no_exits_and_too_few_nodes(self) -> None:
        """The numbers are named."""
        self.network.list_nodes(1, 2, policy="")
        error = self.failureResultOf(self.create(), TooFewNodes).value
        self.assertEqual((error.needed, error.known), (3, 2))

    def test_exits_that_come_later(self) -> None:
        """Are used as soon as they are listed."""
        self.network.list_nodes(1, 2, 3, 4, 5, policy="")
        client = self.ready()
        self.network.list_nodes(1, 2, 3, 4, 5, sequence=NOW * 1000 + 1)
        self.network.advance(60)
        self.network.builder.finish()
        connecting = self.connect(client)
        self.assertNoResult(connecting)
        connecting.cancel()
        self.failureResultOf(connecting, ConnectingCancelledError)

    def test_closed_while_it_looks(self) -> None:
        """Nothing is left behind."""
        self.network.list_nodes(1, 2, 3, 4, 5, policy="")
        client = self.start()
        ready = client.when_ready()
        self.successResultOf(client.close())
        self.failureResultOf(ready, PoolUnreachable)
        self.assertAllFreed()

    def test_a_wrong_clock_is_named(self) -> None:
        """A day off: the message says by how much."""
        self.network.wall.now = NOW - 86400
        self.network.pools.clock = NOW
        error = self.failureResultOf(self.create(), ListingError).value
        self.assertIn("24 h 0 min behind", str(error))
        # The network's, as the clock is: 1 would ask for a report.
        self.assertEqual(error.exit_status, 3)

    def test_no_traffic_with_a_wrong_clock(self) -> None:
        """An hour off by the pool's clock is too much, though the listing is in order: no link is opened (N8)."""
        self.network.list_nodes(1, 2, 3, 4, 5, fresh_until=NOW + 1800)
        self.network.wall.now = NOW + 7200
        self.network.pools.clock = NOW
        client = self.start()
        error = self.failureResultOf(client.when_ready(), ListingError).value
        self.assertIn("2 h 0 min ahead of the pool's: set the clock", str(error))
        status = client.status()
        self.assertEqual((status.ready, status.skew), (False, 7200))
        self.assertIn("2 h 0 min ahead", str(status.reason))
        self.assertIn("2 h 0 min ahead", str(status.pools[0].error))
        self.network.advance(60)
        self.assertEqual((self.network.linked, self.network.builder.started), ([], []))

    def test_builds_that_fail_are_tried_again_then_told(self) -> None:
        """With the hop and the reason."""
        made = self.create()
        failed = 0
        while failed < FIRST_TRIES:
            self.assertNoResult(made)
            for one in list(self.network.builder.open):
                one.fail(2, "connection refused")
                failed += 1
            self.network.advance(5)
        error = self.failureResultOf(made, CircuitBuildError).value
        self.assertEqual(error.hop, 2)
        self.assertAllFreed()

    def test_dead_guards(self) -> None:
        """The link's error is the reason, as hop 1."""
        self.network.dead = True
        made = self.create()
        for _ in range(20):
            if made.called:
                break
            self.network.advance(5)
        error = self.failureResultOf(made, PathError, CircuitBuildError).value
        self.assertAllFreed()
        self.assertTrue(str(error))

    def test_bad_options(self) -> None:
        """Before anything is asked."""
        self.failureResultOf(self.create("http://example.org/"), PoolURLError)
        self.failureResultOf(self.create("nonsense"), PoolURLError)
        self.failureResultOf(self.create(hops=9), ConfigurationError)
        self.failureResultOf(self.create(hops=0), ConfigurationError)
        self.failureResultOf(self.create(pool_threshold=2), ConfigurationError)
        self.assertEqual(self.network.pools.asked, [])

    def test_a_state_directory_that_is_no_directory(self) -> None:
        """A typed error with the path."""
        self.assertIn("/dev/null", str(self.failureResultOf(self.create(state_dir="/dev/null"), StateError).value))

    def test_the_state_directory_is_free_after_a_failure(self) -> None:
        """The next try can have it."""
        path = self.state_dir()
        self.failureResultOf(self.create(state_dir=path, pool_threshold=2), ConfigurationError)
        self.network.list_nodes(1)
        self.failureResultOf(self.create(state_dir=path), TooFewNodes)
        self.network.list_nodes(1, 2, 3, 4, sequence=NOW * 1000 + 1)
        self.ready(state_dir=path)

    def test_cancel(self) -> None:
        """Everything that was under way is freed."""
        made = self.create()
        made.cancel()
        self.failureResultOf(made, CancelledError)
        self.assertAllFreed()

    def test_build_time_outs(self) -> None:
        """Ten seconds a hop, sixty in all."""
        client = self.ready()
        self.assertEqual(self.network.build_options["build_timeout"], 30.0)
        self.network.list_nodes(*range(1, 12), sequence=NOW * 1000 + 1)
        self.network.advance(4000)
        client.build_circuit(hops=8).addErrback(lambda failure: None)
        self.assertEqual(self.network.build_options["build_timeout"], 60.0)


class StartTests(ClientTestCase):
    """A client that keeps trying."""

    def start(self, **options: Any) -> Client:
        client = Client.start(self.network.reactor, (URL,), None, world=self.network.world, **options)
        return self.keep(client)

    def test_gets_ready_when_the_pools_come_up(self) -> None:
        """And says meanwhile why it is not."""
        self.network.pools.answers.clear()
        client = self.start()
        self.failureResultOf(client.when_ready(), PoolUnreachable)
        self.assertIn("cannot be asked", str(client.status().reason))
        self.network.list_nodes(1, 2, 3)
        self.network.advance(5)
        waiting = client.when_ready()
        self.assertNoResult(waiting)
        self.network.builder.finish()
        self.assertIs(self.successResultOf(waiting), client)

    def test_a_stream_waits_for_it(self) -> None:
        """It is opened as soon as there is a circuit."""
        self.network.pools.answers.clear()
        client = self.start()
        result = client.endpoint("example.org", 80).connect(Factory.forProtocol(Protocol))
        self.network.list_nodes(1, 2, 3, 4)
        self.network.advance(5)
        self.assertNoResult(result)
        circuits = self.network.builder.finish()
        next(circuit for circuit in circuits if circuit.waiting).connect()
        self.successResultOf(result)

    def test_a_stream_does_not_wait_for_ever(self) -> None:
        """A minute."""
        self.network.pools.answers.clear()
        client = self.start()
        result = client.endpoint("example.org", 80).connect(Factory.forProtocol(Protocol))
        self.assertEqual(client.status().refused, {"memory": 0, "stream_wait": 0})
        self.network.advance(DEFAULT_LIMITS.stream_wait)
        self.failureResultOf(result, CircuitError)
        self.assertEqual(client.status().refused, {"memory": 0, "stream_wait": 1})

    def test_too_few_nodes_at_first(self) -> None:
        """The listings are asked again soon, not in an hour."""
        self.network.list_nodes(1, 2)
        client = self.start()
        self.assertIn("3 needed, 2 known", str(client.status().reason))
        self.network.list_nodes(1, 2, 3, sequence=NOW * 1000 + 1)
        for _ in range(4):
            self.network.advance(15)
        self.network.builder.finish()
        self.assertTrue(client.status().ready)
        self.assertIsNone(client.status().reason)


class StreamTests(ClientTestCase):
    """What applications do."""

    def ready(self, **options: Any) -> Client:
        self.built: list[Any] = []
        builder = self.network.builder
        made = self.create(**options)
        self.built += builder.finish()
        return self.successResultOf(made)

    def test_endpoint(self) -> None:
        """A stream to a host that only the exit resolves."""
        client = self.ready()
        result = self.connect(client)
        circuit = next(one for one in self.built if one.waiting)
        self.assertEqual(circuit.opened, [("example.org", 80)])
        protocol, _ = circuit.connect()
        self.successResultOf(result)

    def test_isolation(self) -> None:
        """Other keys, other circuits."""
        client = self.ready()
        for key in ("a", "a", "b"):
            self.connect(client, isolation=key).addErrback(lambda failure: None)
        self.assertEqual(sorted(len(one.waiting) for one in self.built if one.waiting), [1, 2])

    def test_other_hops(self) -> None:
        """An endpoint may want longer circuits than the client's."""
        client = self.ready()
        result = self.connect(client, hops=4)
        circuit = next(one for one in self.network.builder.finish() if one.waiting)
        self.assertEqual(len(circuit.path), 4)
        circuit.connect()
        self.successResultOf(result)

    def test_private_destinations_are_refused_before_anything_leaves(self) -> None:
        """As an error of both families."""
        client = self.ready()
        self.assertFalse(client.allows_private_destinations)
        error = self.failureResultOf(self.connect(client, "127.0.0.1"), ExitPolicyRefused).value
        self.assertIsInstance(error, ConnectError)
        self.assertTrue(all(not one.opened for one in self.built))

    def test_private_destinations_in_a_test_network(self) -> None:
        """They are the point of it."""
        self.network.list_nodes(1, 2, 3, 4, policy="accept 127.0.0.0/8:*", parameters={"test-network": True})
        client = self.ready()
        self.assertTrue(client.allows_private_destinations)
        self.connect(client, "127.0.0.1").addErrback(lambda failure: None)
        self.assertTrue(any(one.waiting for one in self.built))

    def test_resolve(self) -> None:
        """The exit answers; a name of another network is not asked for."""
        client = self.ready()
        result = client.resolve("example.org")
        next(one for one in self.built if one.waiting).answer([("1.2.3.4", 60)])
        self.assertEqual(self.successResultOf(result), [("1.2.3.4", 60)])
        error = self.failureResultOf(client.resolve("abc.onion"), ResolveFailed).value
        self.assertIsInstance(error, ConnectError)

    def test_new_identity(self) -> None:
        """The next stream does not meet the last one's circuit."""
        client = self.ready()
        self.connect(client).addErrback(lambda failure: None)
        client.new_identity()
        self.built += self.network.builder.finish()
        self.connect(client).addErrback(lambda failure: None)
        self.assertEqual(sorted(len(one.waiting) for one in self.built if one.waiting), [1, 1])

    def test_new_identity_drops_web_connections(self) -> None:
        """A kept-alive connection would carry the old circuit into the new identity."""
        client = self.ready()
        waiting = client.web_agent().request(b"GET", b"http://example.org/")
        protocol, transport = next(one for one in self.built if one.waiting).connect()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.successResultOf(waiting)
        self.assertFalse(transport.disconnecting)
        client.new_identity()
        self.assertTrue(transport.disconnecting)

    def test_own_circuit_by_hops(self) -> None:
        """It is the caller's alone, and goes when the client goes."""
        client = self.ready()
        result = client.build_circuit(hops=2)
        circuit: Any = self.network.builder.open[-1].done()
        self.assertIs(self.successResultOf(result), circuit)
        self.assertEqual(len(circuit.path), 2)
        client.close()
        self.assertTrue(circuit.closed)

    def test_own_circuit_by_path(self) -> None:
        """Any nodes in any order, as far as the rules allow."""
        client = self.ready()
        client.build_circuit(path=[node_id(4), node_id(2)]).addErrback(lambda failure: None)
        self.assertEqual([node.nickname for node in self.network.builder.open[-1].path], ["node4", "node2"])
        self.failureResultOf(client.build_circuit(path=[node_id(4), node_id(4)]), PathError)
        self.failureResultOf(client.build_circuit(path=[node_id(99)]), PathError)

    def test_the_builder_checks_every_path(self) -> None:
        """Whoever chose it, and although choosing checked it (SECURITY P2): no link is opened for one node twice."""
        client = self.ready()
        assert client._routing is not None
        linked = len(self.network.linked)
        for names in ((1, 2, 1), (1, 1), (2, 3, 4, 5, 2)):
            built = client._routing.build([descriptor(name) for name in names], lambda: None)
            self.failureResultOf(built, PathError)
        self.assertEqual(len(self.network.linked), linked)

    def test_own_circuit_for_a_port(self) -> None:
        """Its last node is an exit for it."""
        self.network.list_nodes(1, 2, 3, 4, policy="accept *:443")
        client = self.ready()
        client.build_circuit(port=443).addErrback(lambda failure: None)
        self.assertEqual(len(self.network.builder.open), 1)
        self.failureResultOf(client.build_circuit(port=22), NoExit)

    def test_own_circuit_goes_round_a_node_that_failed(self) -> None:
        """The second try is not the first one again."""
        client = self.ready()
        for _ in range(10):
            result = client.build_circuit()
            building = self.network.builder.open[-1]
            bad = building.path[1].node_id
            building.fail(2)
            self.failureResultOf(result, CircuitBuildError)
            client.build_circuit().addErrback(lambda failure: None)
            second = self.network.builder.open[-1]
            self.assertNotIn(bad, [node.node_id for node in second.path])
            self.network.advance(61)
            second.fail(3)
            self.network.advance(61)

    def test_no_exit_for_a_port(self) -> None:
        """Named, and of both families."""
        self.network.list_nodes(1, 2, 3, 4, policy="accept *:443")
        client = self.ready()
        error = self.failureResultOf(self.connect(client, port=22), NoExit).value
        self.assertEqual(error.port, 22)
        self.assertIsInstance(error, ConnectError)

    def test_close_frees_everything(self) -> None:
        """Streams end, links close, no timer is left; twice does no harm."""
        client = self.ready()
        waiting = self.connect(client)
        self.successResultOf(client.close())
        self.failureResultOf(waiting, ConnectError)
        self.assertAllFreed()
        self.successResultOf(client.close())
        self.failureResultOf(self.connect(client), CircuitError)
        self.failureResultOf(client.build_circuit(), CircuitError)


class StatusTests(ClientTestCase):
    """What a client tells about itself."""

    def test_a_ready_client(self) -> None:
        """All fields, as JSON too."""
        client = self.ready()
        status = client.status()
        self.assertTrue(status.ready)
        self.assertEqual((status.percent, status.nodes, status.reason), (100, 5, None))
        self.assertEqual([len(one.path) for one in status.circuits], [3, 3])
        self.assertEqual(status.guard, status.circuits[0].path[0])
        self.assertEqual(status.pools[0].listing_age, 0)
        self.assertEqual(json.loads(json.dumps(status.to_json()))["listing_digest"], status.listing_digest)
        self.assertEqual(status.to_json(), attrs.asdict(status))

    def test_the_pools(self) -> None:
        """What each says, beside what it is compared by (SECURITY N9)."""
        (pool,) = self.ready().status().pools
        self.assertEqual((pool.nodes, pool.missing, pool.error), (5, 0, None))
        self.assertEqual(len(str(pool.digest)), 64)
        self.network.pools.answers.clear()
        (pool,) = self.start().status().pools
        self.assertEqual((pool.nodes, pool.missing, pool.digest, pool.listing_age), (None, None, None, None))

    def test_a_guard_that_loses_circuits(self) -> None:
        """One that lets 80 % fail is named within 200 builds, with what to do about it (SECURITY G3)."""
        client = self.ready()
        guard = self.network.builder.started[0].path[0].node_id
        for number in range(200):
            made = client.build_circuit()
            building = self.network.builder.open[-1]
            if number % 5:
                building.fail(2)
                self.failureResultOf(made, CircuitBuildError)
            else:
                building.done()
                self.successResultOf(made).close()
        (warning,) = [text for text in client.status().warnings if "guard" in text]
        self.assertIn(guard.short, warning)
        self.assertIn("move the file guards away", warning)

    def test_what_is_remarked_on_the_pools(self) -> None:
        """Stands there too: one pool is one trust (SECURITY N1)."""
        self.assertTrue([text for text in self.ready().status().warnings if "there is one pool" in text])

    def test_a_client_that_was_ready(self) -> None:
        """It says why no circuit can be built any more: the nodes are gone, or the listing is too old."""
        self.network.list_nodes(1, 2, 3, 4, 5, fresh_until=NOW + 10)
        client = self.ready()
        self.network.advance(1)
        self.network.list_nodes(1, 2, sequence=(NOW + 1) * 1000, valid_after=NOW + 1)
        self.network.advance(30)
        status = client.status()
        self.assertEqual((status.ready, status.percent), (False, 100))
        self.assertIn("3 needed, 2 known", str(status.reason))
        self.network.pools.answers.clear()
        self.network.advance(2 * 86400)
        status = client.status()
        self.assertFalse(status.ready)
        self.assertIn("cannot be asked", str(status.reason))

    def test_a_client_whose_builds_fail(self) -> None:
        """It was ready, then every build fails: it says so and why, until one is built again."""
        client = self.ready()
        self.network.dead = True
        for link in self.network.links:
            link.close()
        self.network.lose_circuits()
        for _ in range(10):
            self.network.advance(1)
        status = client.status()
        self.assertEqual((status.ready, status.percent, status.summary), (False, 100, LOST))
        self.assertIn("hop 1 of 3", str(status.reason))
        self.network.dead = False
        self.network.advance(120)
        self.network.builder.finish()
        status = client.status()
        self.assertEqual((status.ready, status.reason, status.summary), (True, None, DONE.summary))

    def test_circuits_that_hold_too_much(self) -> None:
        """They are counted."""
        client = self.ready(limits=attrs.evolve(DEFAULT_LIMITS, memory=100))
        congestion = client._run.links.congestion
        congestion.note(Holder(congestion, 101))
        self.network.advance(CONGESTION_SWEEP)
        self.assertEqual(client.status().refused, {"memory": 1, "stream_wait": 0})

    def test_a_skew_is_known_from_the_guard(self) -> None:
        """Its clock, and the time since it was read."""
        client = self.ready()
        assert client._routing is not None
        link: Any = self.network.links[0]
        client._routing.links.link_events(link, [LinkReady("secretbox", NOW - 7200)])
        self.network.advance(10)
        self.assertEqual(client.status().skew, 7200)

    def test_a_skew_at_the_start_is_warned_of(self) -> None:
        """More than an hour."""
        made = self.create()
        owner: Any = self.network.links[0].owner
        owner.link_events(self.network.links[0], [LinkReady("secretbox", NOW - 7200)])
        with capturedLogs() as lines:
            self.network.builder.finish()
        self.successResultOf(made)
        self.assertTrue(any("clock" in line["log_format"] for line in lines))


class OtherFaceTests(SynchronousTestCase):
    """``Client()`` without arguments."""

    def test_it_has_only_the_steps(self) -> None:
        """The rest says which call makes the whole client."""
        client = Client(Network().reactor)
        for call in (client.status, client.new_identity, client.web_agent, lambda: client.endpoint("h", 1)):
            self.assertIn("Client.create", str(self.assertRaises(LocalProtocolError, call)))
        self.successResultOf(client.close())

"""Tests of torpydo.node.service and torpydo.node.parts."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, key, listing, network, url
from tests.node.pools import Pools
from tests.node.workers.doubles import FakeLaunch
from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.directory import REPUBLISH_AFTER, TEST_NETWORK, Descriptor, ExitPolicy, PoolURL, sign_listing
from torpydo.errors import ConfigurationError, ListenError, LocalProtocolError, StateError
from torpydo.net import FileBudget, StateDirectory, Turn, connect_link, link_endpoint, probe_link
from torpydo.node import Advertised, NodeConfig, NodeLimits, NodeService, NodeStatus
from torpydo.node.carrier import OwnCarrier
from torpydo.node.onionkeys import ROTATE_AFTER
from torpydo.node.parts import LOOK_AGAIN, RESOLVE_RETRY
from torpydo.node.resolver import NAME_LIFE
from torpydo.node.workers.messages import AcceptedKeys, NetworkChanged, OwnAddresses, PoolListing, Setup, Stop
from torpydo.testing import SimulatedReactor
from torpydo.tpdp import Address

HERE = "20.1.1.1"
PORT = 6000


class NodeTestCase(SynchronousTestCase):
    """A node on a simulated host, with a pool that a test controls."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = f"{directory.name}/state"
        self.world = SimulatedReactor()
        self.reactor = self.world.host(HERE)
        self.pools = Pools()
        self.random = random.Random(1)
        self.launch = FakeLaunch()
        self.passed = 0.0

    def wall_clock(self) -> float:
        """The time of day goes along with the reactor's."""
        self.pools.now = NOW + self.reactor.seconds() + self.passed
        return self.pools.now

    def make(self, *, interface: str = HERE, **overrides: Any) -> NodeService:
        """A node that is not started."""
        values: dict[str, Any] = {
            "endpoint": TCP4ServerEndpoint(self.reactor, PORT, interface=interface),
            "listen": f"tcp:{PORT}:interface={interface}",
            "pools": (url(),),
            "state_dir": self.path,
        }
        return NodeService(
            self.reactor,
            NodeConfig(**values | overrides),
            wall_clock=self.wall_clock,
            rng=self.random.randbytes,
            fetch=self.pools.fetch,
            launch=self.launch,
        )

    def start(self, **overrides: Any) -> NodeService:
        """A node that runs."""
        service = self.make(**overrides)
        service.startService()
        self.addCleanup(self.stop, service)
        self.reactor.flush()
        return service

    def stop(self, service: NodeService) -> None:
        """Stop a node that may be stopped already."""
        if service.running:
            self.reactor.success(service.stopService())

    def listens(self) -> bool:
        """Whether somebody has the node's port."""
        try:
            port = self.reactor.listenTCP(PORT, Factory(), interface=HERE)
        except CannotListenError:
            return True
        self.reactor.success(maybeDeferred(port.stopListening))
        return False

    def later(self, seconds: float) -> None:
        """Let the time of day pass, and the node look what that changes."""
        self.passed += seconds
        self.reactor.advance(LOOK_AGAIN)

    def published(self) -> Descriptor:
        """The descriptor of the last heartbeat."""
        self.wall_clock()
        return self.pools.last().descriptor


class StartTests(NodeTestCase):
    """What a node does when it starts."""

    def test_listens(self) -> None:
        """Others can open links to it, under the identity of its descriptor."""
        service = self.start()
        address = self.successResultOf(service.when_listening())
        self.assertEqual(address, Address.parse(HERE, PORT))
        probe = probe_link(self.world, address, self.published().node_id, rng=self.random.randbytes)
        self.assertIsNone(self.world.success(probe))

    def test_says_where_it_is(self) -> None:
        """Without --advertise it publishes where it listens."""
        self.start()
        self.assertEqual(self.published().address, Address.parse(HERE, PORT))

    def test_port_of_the_systems_choice(self) -> None:
        """Port 0 is published as what it became."""
        service = self.start(endpoint=TCP4ServerEndpoint(self.reactor, 0, interface=HERE))
        address = self.successResultOf(service.when_listening())
        self.assertNotEqual(address.port, 0)
        self.assertEqual(self.published().address, address)

    def test_options_are_published(self) -> None:
        """The descriptor has what the operator chose."""
        other = key("other").node_id
        self.start(nickname="nick", bandwidth=5, family=frozenset([other]))
        made = self.published()
        self.assertEqual((made.nickname, made.bandwidth, made.family), ("nick", 5, {other}))
        self.assertFalse(made.exit_policy.is_open)

    def test_identity_survives(self) -> None:
        """After a restart it is the same node with the same onion key, and a later descriptor."""
        self.stop(self.start())
        first = self.published()
        self.reactor.advance(1)
        self.start()
        second = self.published()
        self.assertEqual((second.node_id, second.onion_keys), (first.node_id, first.onion_keys))
        self.assertGreater(second.sequence, first.sequence)

    def test_files_are_private(self) -> None:
        """Whatever the umask, nobody else can read what is kept."""
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.start()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o700)
        modes = {name: os.stat(f"{self.path}/{name}").st_mode & 0o777 for name in os.listdir(self.path)}
        self.assertEqual(set(modes.values()), {0o600})
        self.assertLessEqual({"node.key", "onion.keys"}, set(modes))

    def test_given_identity(self) -> None:
        """A simulation may choose the identity; then no key file is made."""
        self.start(identity=key("chosen"))
        self.assertEqual(self.published().node_id, key("chosen").node_id)
        self.assertNotIn("node.key", os.listdir(self.path))

    def test_in_memory(self) -> None:
        """Without a state directory it is another node each time."""
        self.stop(self.start(state_dir=None))
        first = self.published().node_id
        self.start(state_dir=None)
        self.assertNotEqual(self.published().node_id, first)

    def test_everywhere_needs_advertise(self) -> None:
        """A listener on all addresses does not say where others reach it."""
        service = self.make(interface="")
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("--advertise", str(error))
        self.assert_free()

    def test_everywhere_with_advertise(self) -> None:
        """With --advertise it may listen on all."""
        self.start(interface="", advertise=Advertised.parse("203.0.113.9:443"))
        self.assertEqual(self.published().address, Address.parse("203.0.113.9", 443))

    def test_busy_port(self) -> None:
        """A busy port is an error that says so, and nothing stays open."""
        self.start(state_dir=None)
        error = self.assertRaises(ListenError, self.make().startService)
        self.assertIn(f"tcp:{PORT}", str(error))
        self.assertEqual(error.exit_status, 3)
        StateDirectory.open(self.path).close()

    def test_privileged_start(self) -> None:
        """The port is opened while the process may, the keys are read afterwards; in between nobody gets in."""
        service = self.make()
        service.privilegedStartService()
        self.assertFalse(os.path.exists(self.path))
        self.assertTrue(self.listens())
        service.startService()
        self.addCleanup(self.stop, service)
        self.reactor.flush()
        self.successResultOf(service.when_listening())

    def test_directory_in_use(self) -> None:
        """A second process on the same directory is refused, and its port is closed again."""
        held = StateDirectory.open(self.path)
        self.addCleanup(held.close)
        self.assertRaises(StateError, self.make().startService)
        self.assert_free(state=False)

    def test_torn_key(self) -> None:
        """A torn key is never replaced."""
        self.stop(self.start())
        with open(f"{self.path}/node.key", "r+b") as file:
            file.truncate(20)
        error = self.assertRaises(StateError, self.make().startService)
        self.assertIn("node.key", str(error))
        self.assertEqual(os.path.getsize(f"{self.path}/node.key"), 20)
        self.assert_free()

    def test_not_started(self) -> None:
        """Who waits for a node that nobody started is told."""
        service = self.make()
        self.failureResultOf(service.when_listening(), LocalProtocolError)
        self.assertEqual(service.status(), NodeStatus(0, 0, 0, 0))

    def assert_free(self, *, state: bool = True) -> None:
        """Port and directory can be used by somebody else."""
        self.reactor.flush()
        self.assertFalse(self.listens())
        if state:
            StateDirectory.open(self.path).close()


class WaitingTests(NodeTestCase):
    """Who waits for the port."""

    def test_one_that_waits_cancels_another(self) -> None:
        """In the moment in which both would be told."""
        service = self.make()
        service.privilegedStartService()
        first, second = service.when_listening(), service.when_listening()
        first.addCallback(lambda address: second.cancel())
        service.startService()
        self.addCleanup(self.stop, service)
        self.reactor.flush()
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)


class AdvertiseTests(NodeTestCase):
    """A name that is advertised."""

    def tell(self, **names: list[str]) -> None:
        """Change what names resolve to."""
        self.reactor.names.table = {name.replace("_", "."): answers for name, answers in names.items()}

    def start_named(self) -> NodeService:
        """A node that advertises a name."""
        service = self.start(interface="", advertise=Advertised.parse("node.example.org:443"))
        self.reactor.advance(0)
        return service

    def test_resolved_before_it_is_signed(self) -> None:
        """The descriptor has the address, IPv4 first."""
        self.tell(node_example_org=["2001:db8::5", "203.0.113.9"])
        self.start_named()
        self.assertEqual(self.published().address, Address.parse("203.0.113.9", 443))

    def test_does_not_resolve(self) -> None:
        """No pool is told anything; it is said once, and tried again."""
        with capturedLogs() as logged:
            self.start_named()
            self.reactor.advance(5 * RESOLVE_RETRY)
        self.assertEqual(self.pools.beats, [])
        lines = [formatEvent(event) or "" for event in logged]
        self.assertEqual(sum("does not resolve" in line for line in lines), 1)
        self.tell(node_example_org=["203.0.113.9"])
        self.reactor.advance(RESOLVE_RETRY)
        self.assertEqual(self.published().address, Address.parse("203.0.113.9", 443))

    def test_follows_the_name(self) -> None:
        """When the name moves, the node signs a new descriptor and tells the pools at once."""
        self.tell(node_example_org=["203.0.113.9"])
        self.pools.delay = 300.0
        self.start_named()
        self.tell(node_example_org=["203.0.113.10"])
        before = len(self.pools.beats)
        self.reactor.advance(LOOK_AGAIN + NAME_LIFE)
        self.assertEqual(self.published().address, Address.parse("203.0.113.10", 443))
        self.assertGreater(len(self.pools.beats), before)

    def test_one_of_several(self) -> None:
        """A name with two addresses does not flutter between them."""
        self.tell(node_example_org=["203.0.113.9", "203.0.113.10"])
        self.start_named()
        first = self.published()
        self.tell(node_example_org=["203.0.113.10", "203.0.113.9"])
        self.reactor.advance(LOOK_AGAIN + NAME_LIFE)
        self.assertEqual(self.published(), first)


class UpkeepTests(NodeTestCase):
    """What happens as time goes by."""

    def test_onion_key_rotates(self) -> None:
        """After a week the pools get a descriptor with the new key first, after a day more with it alone."""
        self.pools.delay = 300.0
        self.start()
        (first,) = self.published().onion_keys
        self.later(ROTATE_AFTER)
        current, previous = self.published().onion_keys
        self.assertEqual(previous, first)
        self.later(24 * 3600)
        self.assertEqual(self.published().onion_keys, (current,))

    def test_old_descriptor_is_renewed(self) -> None:
        """It never gets so old that others drop it."""
        self.pools.delay = 300.0
        self.start()
        self.later(REPUBLISH_AFTER)
        self.assertLess(self.wall_clock() - self.published().published, LOOK_AGAIN)

    def test_network(self) -> None:
        """What the listings say reaches exits and router."""
        self.pools.listing = sign_listing(
            listing(documents=[document(1)], parameters={TEST_NETWORK: True}), key("pool")
        )
        service = self.start()
        assert service._parts is not None
        carrier = service._parts.carrier
        assert isinstance(carrier, OwnCarrier)
        exits = carrier.exits
        self.assertTrue(exits.test_network)
        self.assertFalse(exits.allows(bytes([20, 1, 1, 1]), PORT))

    def test_pool_without_key(self) -> None:
        """A loopback pool without a key gets heartbeats as soon as its listing has shown the key."""
        self.start(pools=(PoolURL("127.0.0.1", 8080, None),))
        self.reactor.advance(1)
        self.assertEqual(self.published().address, Address.parse(HERE, PORT))

    def test_pools_down(self) -> None:
        """With every pool down the node runs, and is listed when they are back."""
        self.pools.down.add(8080)
        self.start()
        self.reactor.advance(600)
        self.pools.down.clear()
        self.reactor.advance(120)
        self.assertEqual(self.published().address, Address.parse(HERE, PORT))


class StopTests(NodeTestCase):
    """A clean stop."""

    def test_everything_ends(self) -> None:
        """No timer, no port, no lock stays; the pools hear nothing more."""
        service = self.start()
        self.reactor.success(service.stopService(), within=5)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertFalse(self.listens())
        StateDirectory.open(self.path).close()
        beats = len(self.pools.beats)
        self.reactor.advance(1000)
        self.assertEqual(len(self.pools.beats), beats)

    def test_links_end(self) -> None:
        """Links are closed, within five seconds even if their other end does not read."""
        service = self.start()
        client = self.world.host("198.51.100.1")
        owner = Owner(Turn(self.reactor))
        address = self.successResultOf(service.when_listening())
        endpoint = link_endpoint(client, address)
        node_id = self.published().node_id
        link = self.world.success(connect(client, endpoint, node_id, owner, self.random.randbytes))
        self.assertEqual(service.status().links, 1)
        self.reactor.success(service.stopService(), within=5)
        self.world.flush()
        self.assertEqual(owner.closed, [link])
        self.assertEqual(service.status().links, 0)

    def test_stop_while_resolving(self) -> None:
        """A stop does not wait for a name."""
        self.reactor.names.silent = {"node.example.org."}
        service = self.start(interface="", advertise=Advertised.parse("node.example.org:443"))
        self.reactor.success(service.stopService(), within=5)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_start_again(self) -> None:
        """A service that was stopped can be started again."""
        service = self.start()
        self.stop(service)
        service.startService()
        self.reactor.flush()
        self.assertEqual(self.successResultOf(service.when_listening()), Address.parse(HERE, PORT))


class Owner:
    """Owns the links of a client that only watches."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.closed: list[Any] = []

    def link_events(self, link: Any, events: list[Any]) -> None:
        """Nothing is expected."""

    def link_closed(self, link: Any, error: Exception) -> None:
        """See ``net.LinkOwner``."""
        self.closed.append(link)


def connect(
    reactor: SimulatedReactor, endpoint: Any, node_id: Any, owner: Owner, rng: Callable[[int], bytes]
) -> Deferred[Any]:
    """Open a link."""
    return connect_link(reactor, endpoint, node_id, owner, rng=rng)


class GateTests(NodeTestCase):
    """Who may connect (SECURITY D1)."""

    def test_nodes_are_known(self) -> None:
        """As soon as a listing names them, by where they are."""
        documents = [document(number) for number in (1, 2)]
        service = self.start(state_dir=None)
        assert service._parts is not None
        carrier = service._parts.carrier
        self.assertEqual(carrier.gate.known, frozenset())
        netdir = network(documents)
        carrier.network_changed(netdir)
        self.assertEqual(carrier.gate.known, {one.body.ip for one in netdir.documents().values()})


class DescriptorTests(NodeTestCase):
    """A node that may have few file descriptors (SECURITY D4, D5, section 3 case 28)."""

    def setUp(self) -> None:
        super().setUp()
        self.used = 10
        self.service = self.make(state_dir=None, limits=NodeLimits(connects_burst=10_000))
        self.service._files = FileBudget(self.reactor.seconds, 128, lambda: self.used)
        self.service.startService()
        self.addCleanup(self.stop, self.service)
        self.reactor.flush()

    def connect(self) -> Deferred[Any]:
        """Somebody connects."""
        endpoint = link_endpoint(self.world, Address.parse(HERE, PORT))
        return endpoint.connect(Factory.forProtocol(Protocol))

    def test_exhausted(self) -> None:
        """Who comes is refused, ten times a second; two seconds after some are free there is room again."""
        self.used = 128
        self.world.advance(1.0)
        for _ in range(20):
            for _ in range(25):
                self.connect()
            self.world.advance(0.05)
        self.assertEqual(self.service.status().refused["files"], 500)
        self.connect()
        self.world.flush()
        # That one waits in the system until the pause is over.
        self.assertEqual(self.service.status().refused["files"], 500)
        self.assertEqual((self.service.status().files, self.service.status().files_most), (128, 128))
        self.used = 10
        self.world.advance(2.0)
        before = self.service.status().pending
        self.connect()
        self.world.flush()
        self.assertEqual(self.service.status().pending, before + 1)
        self.assertEqual(self.flushLoggedErrors(), [])


class WorkersTests(NodeTestCase):
    """A node whose circuits are carried by other processes."""

    def start(self, **overrides: Any) -> NodeService:
        """A node with two workers."""
        service = super().start(**{"workers": 2} | overrides)
        self.processes = list(self.launch.started)
        return service

    def stop(self, service: NodeService) -> None:
        """The workers end with it."""
        for process in self.launch.alive.values():
            self.reactor.callLater(0.1, process.end, "exit status 0")
        super().stop(service)

    def later(self, seconds: float) -> None:
        """Time passes, and the workers still speak."""
        self.passed += seconds
        for _ in range(int(LOOK_AGAIN)):
            self.reactor.advance(1.0)
            for process in self.processes:
                process.reports()

    def heard(self, kind: type) -> list[Any]:
        """What the first worker was told, which is what they were all told."""
        first, second = self.processes
        self.assertEqual(first.said, second.said)
        return first.heard(kind)

    def test_one_is_this_process(self) -> None:
        """By default no process is started."""
        super().start()
        self.assertEqual(self.launch.started, [])

    def test_one_identity(self) -> None:
        """The node is listed once, as what its workers are."""
        self.start()
        (setup,) = self.heard(Setup)
        self.assertEqual(SigningKey(setup.identity).node_id, self.published().node_id)
        self.assertEqual(len(self.pools.beats), 1)

    def test_onion_keys(self) -> None:
        """Workers have the keys that the descriptor has, also after they have changed."""
        self.pools.delay = 300.0
        self.start()
        self.later(ROTATE_AFTER)
        first, second = self.heard(AcceptedKeys)
        published = [one.raw for one in self.published().onion_keys]
        self.assertEqual([DHSecretKey(one).public.raw for one in second.keys], published)
        self.assertEqual(second.keys[1:], first.keys)
        self.later(24 * 3600)
        self.assertEqual(self.heard(AcceptedKeys)[-1].keys, second.keys[:1])

    def test_listings(self) -> None:
        """What the pools list they all learn, and where the node is."""
        made = listing(documents=[document(1)], parameters={TEST_NETWORK: True})
        self.pools.listing = sign_listing(made, key("pool"))
        self.start()
        self.assertEqual([one.listing for one in self.heard(PoolListing)], [made])
        self.assertEqual(len(self.heard(NetworkChanged)), 1)
        self.assertEqual(self.heard(OwnAddresses), [OwnAddresses(((Address.parse(HERE, 1).ip, PORT),))])

    def test_another_address(self) -> None:
        """When the name that is advertised moves, they learn that the address before it is not the node's any more."""
        names = self.reactor.names
        names.table = {"node.example.org": ["203.0.113.9"]}
        self.start(advertise=Advertised.parse("node.example.org:443"))
        self.reactor.advance(0)
        names.table = {"node.example.org": ["203.0.113.10"]}
        for _ in range(int((LOOK_AGAIN + NAME_LIFE) / LOOK_AGAIN) + 1):
            self.later(LOOK_AGAIN)
        here = Address.parse(HERE, PORT)
        told = [[Address(*one) for one in message.addresses] for message in self.heard(OwnAddresses)]
        found = [Address.parse(f"203.0.113.{number}", 443) for number in (9, 10)]
        self.assertEqual(told, [[here], [here, found[0]], [here, found[1]]])

    def test_status(self) -> None:
        """The status is the sum of what the workers report."""
        service = self.start()
        for process in self.processes:
            process.reports(links=1, circuits=20, streams=300, queued=4000)
        self.assertEqual(attrs.astuple(service.status())[:4], (2, 40, 600, 8000))

    def test_stop(self) -> None:
        """The state is free when the workers are gone, and not before."""
        service = self.start()
        stopped = service.stopService()
        self.assertEqual(len(self.heard(Stop)), 1)
        self.assertRaises(StateError, StateDirectory.open, self.path)
        for process in self.processes:
            process.end("exit status 0")
        self.reactor.success(stopped)
        StateDirectory.open(self.path).close()

    def test_again(self) -> None:
        """A node that was stopped can be started again, with new workers."""
        service = self.start()
        self.stop(service)
        service.startService()
        self.reactor.flush()
        self.assertEqual(len(self.launch.started), 4)


class ReportTests(NodeTestCase):
    """What the operator is told of the node."""

    def test_a_node_that_runs(self) -> None:
        """Who and where it is, how old its keys are, and what its pool makes of it."""
        self.pools.listing = sign_listing(listing(documents=[document(1), document(2)]), key("pool"))
        service = self.start(nickname="nick", exit_policy=ExitPolicy.parse("accept *:443"))
        self.later(3600)
        report = service.report()
        assert report is not None
        self.assertEqual((report.node_id, report.nickname), (str(self.published().node_id), "nick"))
        self.assertEqual((report.address, report.exit_policy), (f"{HERE}:{PORT}", "accept *:443"))
        self.assertAlmostEqual(report.onion_key_age, 3600 + LOOK_AGAIN, delta=1)
        self.assertAlmostEqual(report.descriptor_age or 0.0, 3600 + LOOK_AGAIN, delta=1)
        self.assertEqual((report.listed_by, report.nodes, report.test_network), (1, 2, False))
        (pool,) = report.pools
        self.assertEqual((pool.pool, pool.lists_this_node, pool.error), (f"{url().host}:{url().port}", True, None))
        self.assertIsNotNone(pool.listing_age)
        self.assertIsNotNone(report.listing_digest)

    def test_a_node_without_an_address_and_pools(self) -> None:
        """What is not known is told as that."""
        self.pools.down.add(url().port)
        service = self.start(advertise=Advertised("nowhere.example", 1))
        report = service.report()
        assert report is not None
        self.assertEqual((report.address, report.descriptor_age, report.listing_digest), (None, None, None))
        self.assertEqual((report.listed_by, report.nodes), (0, 0))
        self.assertEqual([(pool.lists_this_node, pool.listing_age) for pool in report.pools], [(None, None)])

    def test_a_pool_that_is_named_twice(self) -> None:
        """It is one pool."""
        report = self.start(pools=(url(), url())).report()
        assert report is not None
        self.assertEqual(len(report.pools), 1)

    def test_a_node_that_does_not_run(self) -> None:
        """It has nothing to tell."""
        self.assertIsNone(self.make().report())

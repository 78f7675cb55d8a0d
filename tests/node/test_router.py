"""Tests of torpydo.node.router: whole circuits through nodes on a simulated internet."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import key
from tests.node.network import Relay, Traveller, World
from torpydo.crypto import SigningKey
from torpydo.errors import LinkError
from torpydo.net import connect_link
from torpydo.node.limits import DEFAULT_LIMITS
from torpydo.testing import Conditions
from torpydo.tpdp import EndReason, HopAdded, PongReceived, StreamConnected, StreamEnded

EVERYTHING = "accept *:*"
MOST = 3_000_000


class Chain(SynchronousTestCase):
    """Three listed nodes, the last of them an exit, and a destination."""

    def setUp(self) -> None:
        self.world = World()
        self.guard = self.world.relay()
        self.middle = self.world.relay()
        self.exit = self.world.relay(EVERYTHING)
        self.world.publish()
        self.server = self.world.server()

    @property
    def relays(self) -> list[Relay]:
        return self.world.relays

    def build(self) -> Traveller:
        """A circuit through all three."""
        traveller = self.world.traveller(self.guard, self.middle, self.exit).build()
        self.assertEqual(traveller.of_kind(HopAdded), [HopAdded(1), HopAdded(2), HopAdded(3)])
        return traveller

    def counts(self) -> list[tuple[int, int]]:
        """Circuits and streams at each node."""
        return [(one.router.status().circuits, one.router.status().streams) for one in self.relays]

    def assert_all_gone(self) -> None:
        """No node keeps anything of a circuit."""
        self.assertEqual(self.counts(), [(0, 0)] * len(self.relays))
        self.assertEqual([one.router.status().queued for one in self.relays], [0] * len(self.relays))


class CellsTests(Chain):
    """Cells in both directions."""

    def test_download(self) -> None:
        """What a destination sends arrives whole and in order, beyond every window."""
        traveller = self.build()
        stream = traveller.begin()
        data = self.world.random.randbytes(MOST)
        self.server.connections[0].transport.write(data)
        self.world.flush()
        self.assertEqual(traveller.received(stream), data)

    def test_upload(self) -> None:
        """So does what a client sends, the first bytes together with BEGIN."""
        traveller = self.build()
        data = self.world.random.randbytes(MOST)
        traveller.begin(data=data)
        self.assertEqual(self.server.connections[0].data, data)

    def test_streams_and_circuits_side_by_side(self) -> None:
        """Bytes do not mix."""
        travellers = [self.build() for _ in range(3)]
        streams = [(traveller, traveller.begin()) for traveller in travellers for _ in range(3)]
        texts = [self.world.random.randbytes(100_000) for _ in streams]
        for connection, text in zip(self.server.connections, texts, strict=True):
            connection.transport.write(text)
        self.world.flush()
        self.assertEqual([traveller.received(stream) for traveller, stream in streams], texts)

    def test_ping(self) -> None:
        """The last hop answers."""
        traveller = self.build()
        traveller.circuit.end.ping(traveller.reactor.seconds())
        traveller.send()
        self.assertEqual(len(traveller.of_kind(PongReceived)), 1)

    def test_status(self) -> None:
        """A node counts what is open."""
        self.build().begin()
        self.assertEqual(self.counts(), [(1, 0), (1, 0), (1, 1)])
        self.assertEqual([one.router.status().links for one in self.relays], [1 + 1, 1 + 1, 1])

    def test_circuits_share_the_links_between_nodes(self) -> None:
        """A second circuit needs no second link from the guard on."""
        self.build()
        self.build()
        self.assertEqual([one.router.status().links for one in self.relays], [2 + 1, 2, 1])

    def test_a_link_serves_both_sides(self) -> None:
        """A listed node that opened a link is reached over it; nobody opens another."""
        self.build()
        back = self.world.traveller(self.exit, self.middle, self.guard, host="198.51.100.2").build()
        self.assertEqual(len(back.of_kind(HopAdded)), 3)
        self.assertEqual([one.router.status().links for one in self.relays], [2, 2, 2])


class DestroyTests(Chain):
    """The end of a circuit reaches everybody, whoever begins it."""

    def setUp(self) -> None:
        super().setUp()
        self.traveller = self.build()
        self.traveller.begin()

    def assert_torn(self) -> None:
        """The destination sees anything but a clean end."""
        ended = self.server.connections[0].ended
        assert ended is not None
        self.assertFalse(ended.check(ConnectionDone))

    def test_by_the_client(self) -> None:
        """DESTROY goes from hop to hop, and the destination is reset."""
        self.traveller.destroy()
        self.assert_all_gone()
        self.assert_torn()

    def test_by_the_end_of_the_clients_link(self) -> None:
        """Its circuits go with it."""
        assert self.traveller.link is not None
        self.traveller.link.close()
        self.world.flush()
        self.assert_all_gone()
        self.assert_torn()

    def test_by_the_death_of_a_node(self) -> None:
        """Both sides hear of it: the client by DESTROY, the destination by a reset."""
        self.middle.reactor.kill()
        self.world.flush()
        self.assertTrue(self.traveller.destroyed)
        self.assert_torn()
        self.assertEqual([self.guard.router.status().circuits, self.exit.router.status().circuits], [0, 0])

    def test_by_a_stopped_node(self) -> None:
        """A node that stops says DESTROY, and is gone at once."""
        self.world.reactor.success(self.middle.router.close(), within=1.0)
        self.assertTrue(self.traveller.destroyed)
        self.assert_all_gone()
        self.assert_torn()

    def test_only_its_own(self) -> None:
        """Another circuit on the same links goes on."""
        other = self.build()
        self.traveller.destroy()
        stream = other.begin()
        self.assertEqual(len(other.of_kind(StreamConnected)), 1)
        self.server.connections[1].transport.write(b"alive")
        self.world.flush()
        self.assertEqual(other.received(stream), b"alive")

    def test_altered_cell(self) -> None:
        """A bit that the guard flips costs the circuit, and nothing reaches the destination."""
        assert self.traveller.link is not None
        self.traveller.circuit.end.send_data(1, b"never seen")
        [(command, body)] = self.traveller.circuit.cells_to_send(0.0)
        self.traveller.link.send_cells(self.traveller.circ_id, [(command, bytes([body[0] ^ 1]) + body[1:])])
        self.world.flush()
        self.assertTrue(self.traveller.destroyed)
        self.assert_all_gone()
        self.assertEqual(self.server.connections[0].data, b"")

    def test_nothing_after_destroy(self) -> None:
        """Cells that were on their way are dropped, and the link lives."""
        assert self.traveller.link is not None
        self.traveller.circuit.end.send_data(1, b"late")
        cells = self.traveller.circuit.cells_to_send(0.0)
        self.traveller.link.send_destroy(self.traveller.circ_id)
        self.traveller.link.send_cells(self.traveller.circ_id, cells)
        self.world.flush()
        self.assertFalse(self.traveller.lost)
        self.assertEqual(self.server.connections[0].data, b"")


class CreateTests(Chain):
    """Who gets a circuit."""

    def test_wrong_onion_key(self) -> None:
        """A CREATE for a key that the node has not is answered with DESTROY, and nothing is kept."""
        traveller = self.world.traveller(self.guard)
        hop = self.middle.hop
        traveller.path = [type(hop)(self.guard.hop.node_id, hop.onion_key, self.guard.hop.address)]
        traveller.__attrs_post_init__()
        traveller.build()
        self.assertTrue(traveller.destroyed)
        self.assert_all_gone()

    def test_previous_onion_key(self) -> None:
        """The key before the current one still works."""
        old, now = self.guard.onion_key, self.middle.onion_key
        self.guard.router._onion_keys = lambda: (now, old)
        self.assertEqual(self.world.traveller(self.guard).build().of_kind(HopAdded), [HopAdded(1)])

    def test_a_storm_from_one_host(self) -> None:
        """A client host gets its burst and then its rate; another host is not concerned."""
        first = self.world.traveller(self.guard).build()
        refused = [self.world.traveller(self.guard).build(first.link) for _ in range(DEFAULT_LIMITS.creates_burst + 5)]
        # The link reports to the first; what the node keeps counts.
        self.assertEqual(self.guard.router.status().circuits, DEFAULT_LIMITS.creates_burst)
        self.assertEqual(len(refused), DEFAULT_LIMITS.creates_burst + 5)
        other = self.world.traveller(self.guard, host="198.51.100.2").build()
        self.assertEqual(other.of_kind(HopAdded), [HopAdded(1)])

    def test_no_storm_limit_for_nodes(self) -> None:
        """Node limits, not client limits, count over a link that a node opened."""
        self.storm(identity=self.middle.key)
        self.assertEqual(self.guard.router.status().circuits, 151)

    def test_an_identity_alone_makes_no_node(self) -> None:
        """Anybody can make one; only what is listed is a node."""
        self.storm(identity=key("nobody"))
        self.assertEqual(self.guard.router.status().circuits, DEFAULT_LIMITS.creates_burst)

    def test_before_the_first_listing(self) -> None:
        """Every identity counts: the node cannot know better."""
        self.guard = self.world.relay()
        self.storm(identity=key("nobody"))
        self.assertEqual(self.guard.router.status().circuits, 151)

    def storm(self, identity: SigningKey) -> None:
        """Many circuits over one link."""
        first = self.world.traveller(self.guard, identity=identity).build()
        for _ in range(150):
            self.world.traveller(self.guard).build(first.link)

    def test_idle_links_of_one_host(self) -> None:
        """They are bounded although nobody asks for a circuit on them; another host is not concerned."""
        self.guard.restrict(links_per_host=5)
        for number in range(5):
            self.link(identity=key("nobody") if number % 2 else None)
        self.assertRaises(LinkError, self.link)
        self.assertEqual(self.guard.router.status().links, 5)
        self.assertEqual(self.guard.refused(), {"links_per_host": 1})
        self.link(host="198.51.100.2")

    def test_idle_links_at_the_address_of_a_node(self) -> None:
        """A host where a node is may have more, but not for clients."""
        self.guard.restrict(links_per_host=5)
        self.guard.gate.known = {bytes([198, 51, 100, 1])}
        nodes = [self.link(identity=self.middle.key) for _ in range(8)]
        clients = [self.link() for _ in range(8)]
        self.assertFalse(any([one.lost for one in nodes]))
        self.assertEqual([one.lost for one in clients], [False] * 5 + [True] * 3)
        self.assertEqual(self.guard.refused(), {"links_per_host": 3})

    def test_idle_links_in_a_test_network(self) -> None:
        """There all clients come from one address."""
        self.world.publish(test_network=True)
        self.assertFalse(any([self.link().lost for _ in range(101)]))

    def link(self, *, host: str = "198.51.100.1", identity: SigningKey | None = None) -> Traveller:
        """A client that links and then does nothing."""
        traveller = self.world.traveller(self.guard, host=host, identity=identity)
        hop = self.guard.hop
        endpoint = TCP4ClientEndpoint(traveller.reactor, hop.address.host, hop.address.port)
        random = self.world.random.randbytes
        linking = connect_link(traveller.reactor, endpoint, hop.node_id, traveller, identity=identity, rng=random)
        traveller.reactor.success(linking)
        self.world.flush()
        return traveller

    def test_no_storm_limit_in_a_test_network(self) -> None:
        """There all clients come from one address."""
        self.world.publish(test_network=True)
        first = self.world.traveller(self.guard).build()
        for _ in range(150):
            self.world.traveller(self.guard).build(first.link)
        self.assertEqual(self.guard.router.status().circuits, 151)


class SingleHopTests(SynchronousTestCase):
    """A client's circuit of one hop is no proxy (DESIGN 4.4)."""

    def reason(
        self, *, allow: bool = False, test_network: bool = False, is_node: bool = False, identity: object = None
    ) -> EndReason | None:
        """Why the exit refuses, if it does."""
        world = World()
        exit_node = world.relay(EVERYTHING, allow_single_hop=allow)
        node = world.relay()
        world.publish(test_network=test_network)
        world.server()
        prove = node.key if is_node else None if identity is None else key(identity)
        traveller = world.traveller(exit_node, identity=prove).build()
        traveller.begin()
        ended = traveller.of_kind(StreamEnded)
        return ended[0].reason if ended else None

    def test_refused(self) -> None:
        """The client is told that it is the policy."""
        self.assertEqual(self.reason(), EndReason.EXIT_POLICY)

    def test_with_an_identity_that_is_not_listed(self) -> None:
        """Nor is one of a client that calls itself a node."""
        self.assertEqual(self.reason(identity="nobody"), EndReason.EXIT_POLICY)

    def test_over_the_link_of_a_node(self) -> None:
        """A circuit that a node extended may exit."""
        self.assertIsNone(self.reason(is_node=True))

    def test_in_a_test_network(self) -> None:
        """The rule makes no sense there."""
        self.assertIsNone(self.reason(test_network=True))

    def test_if_the_operator_wants_it(self) -> None:
        """--allow-single-hop."""
        self.assertIsNone(self.reason(allow=True))


class AgeTests(Chain):
    """Links that are old, and links that nobody needs."""

    def links(self) -> list[int]:
        """Open links at each node."""
        return [one.router.status().links for one in self.relays]

    def test_idle_links_are_closed(self) -> None:
        """An hour after their last circuit, not before."""
        traveller = self.build()
        traveller.destroy()
        self.world.reactor.advance(DEFAULT_LIMITS.link_idle - 5)
        self.assertEqual(self.links(), [2, 2, 1])
        self.world.reactor.advance(10)
        self.assertEqual(self.links(), [0, 0, 0])

    def test_used_links_are_not(self) -> None:
        """However long it takes."""
        self.build()
        self.world.reactor.advance(2 * DEFAULT_LIMITS.link_idle)
        self.assertEqual(self.links(), [2, 2, 1])


class MemoryTests(Chain):
    """What waits is bounded."""

    def fill(self) -> Traveller:
        """Let destinations send while the client does not read its link: a window full of cells is under way."""
        traveller = self.build()
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target="198.51.100.1")
        assert traveller.link is not None and traveller.link.transport is not None
        for _ in range(20):
            traveller.begin()
        traveller.link.transport.pauseProducing()
        for connection in self.server.connections:
            connection.transport.write(bytes(MOST // 20))
        self.world.flush()
        return traveller

    def test_a_circuit_beyond_its_bound_is_destroyed(self) -> None:
        """A client that reads nothing costs itself its circuit."""
        self.guard.restrict(circuit_queue=150_000)
        self.fill()
        self.assertEqual(self.counts(), [(0, 0)] * 3)
        self.assertEqual(self.guard.refused(), {"circuit_queue": 1})

    def test_a_window_is_not_too_much(self) -> None:
        """Honest ends never have more on the way than is allowed, and go on as soon as somebody reads."""
        traveller = self.fill()
        waiting = self.guard.router.status().queued
        self.assertGreater(waiting, 150_000)
        self.assertLess(waiting, 2 * 1024 * 1024)
        assert traveller.link is not None and traveller.link.transport is not None
        traveller.link.transport.resumeProducing()
        self.world.flush()
        self.assertEqual(sum(len(traveller.received(stream)) for stream in range(1, 21)), MOST)
        self.assertEqual(self.guard.router.status().queued, 0)

    def test_above_the_cap_the_oldest_die(self) -> None:
        """The node destroys the circuit that has been waiting longest, and says how many it were."""
        self.guard.restrict(memory=100_000)
        self.fill()
        self.world.reactor.advance(2)
        self.assertEqual(self.counts(), [(0, 0)] * 3)

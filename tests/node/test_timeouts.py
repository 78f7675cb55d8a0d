"""Every time-out of a node, a second before and a second after (SECURITY, table T)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import PORT, Relay, Traveller, World
from torpydo.net import connect_link, link_endpoint
from torpydo.node.limits import LINK_AGE_GRACE
from torpydo.testing import Conditions
from torpydo.tpdp import Address, EndReason, ExtendRefused, ExtendStatus, StreamEnded

SITE = "203.0.113.1"
CLIENT = "198.51.100.1"
Alive = Callable[[], bool]


class Silent(ServerFactory):
    """Takes connections and says nothing."""

    protocol = Protocol
    noisy = False


class TimeoutTests(SynchronousTestCase):
    """A node and all that it waits for."""

    def setUp(self) -> None:
        self.world = World()
        self.node = self.world.relay("accept *:*", allow_single_hop=True)
        self.peer = self.world.relay()
        self.world.publish()

    def check(self, seconds: float, alive: Alive) -> None:
        """It is there a second before its time, and gone a second after, with all that waited for it."""
        self.assertTrue(alive(), "at once")
        self.world.reactor.advance(seconds - 1.0)
        self.assertTrue(alive(), "a second before")
        self.world.reactor.advance(2.0)
        self.assertFalse(alive(), "a second after")
        self.assertEqual(self.node.router.status().queued, 0)

    def traveller(self, *path: Relay) -> Traveller:
        """A circuit of a client."""
        return self.world.traveller(*path, host=CLIENT).build()

    def test_link_handshake(self) -> None:
        """Whoever connects and says nothing."""
        endpoint = link_endpoint(self.world.reactor, self.node.address)
        self.world.reactor.success(endpoint.connect(Factory.forProtocol(Protocol)))
        self.world.flush()
        self.check(10.0, lambda: bool(self.node.gate.pending))

    def extending(self, status: ExtendStatus, *, listens: bool) -> Alive:
        """A circuit that is to go on to a host that does not answer; alive as long as nobody has said so."""
        host = self.peer.address.host
        if listens:
            self.world.reactor.internet.ways.isolate(host)
        else:
            self.peer.reactor.kill()
            self.world.reactor.host(host).listenTCP(PORT, Silent(), interface=host)
        traveller = self.traveller(self.node, self.peer)

        def waits() -> bool:
            refused = [one.status for one in traveller.of_kind(ExtendRefused)]
            self.assertIn(refused, ([], [status]))
            return not refused

        return waits

    def test_connect_to_a_node(self) -> None:
        """A host that answers nothing at all."""
        waits = self.extending(ExtendStatus.TIMEOUT, listens=True)
        self.check(self.node.bounds.limits.link_connect, waits)

    def test_handshake_with_a_node(self) -> None:
        """A host that takes the connection only."""
        waits = self.extending(ExtendStatus.TIMEOUT, listens=False)
        self.check(self.node.bounds.limits.link_connect, waits)
        self.assertEqual(len(self.world.reactor.internet.connections_of(self.peer.address.host)), 0)

    def test_answer_of_the_next_node(self) -> None:
        """It has a link, and does not answer the CREATE."""
        self.traveller(self.node, self.peer)
        self.world.reactor.internet.ways.isolate(self.peer.address.host)
        traveller = self.traveller(self.node, self.peer)
        self.check(self.node.bounds.limits.extend_answer, lambda: not traveller.of_kind(ExtendRefused))

    def test_idle_link(self) -> None:
        """Without circuits."""
        traveller = self.traveller(self.node)
        traveller.destroy()
        self.check(self.node.bounds.limits.link_idle, lambda: self.node.router.status().links == 1)

    def test_old_link(self) -> None:
        """It takes no new circuits; its grace is for those that were under way."""
        self.node.restrict(link_age=200.0)
        first = self.traveller(self.node)

        def takes() -> bool:
            assert first.link is not None
            other = self.world.traveller(self.node, host=CLIENT)
            first.link._owner = other
            return not other.build(first.link).destroyed

        self.check(200.0 + LINK_AGE_GRACE, takes)

    def test_silent_destination(self) -> None:
        """It does not answer."""
        self.world.reactor.internet.ways.isolate(SITE)
        traveller = self.traveller(self.node)
        traveller.begin(SITE)
        self.check(self.node.bounds.limits.stream_connect, lambda: self.node.router.status().streams == 1)
        self.assertEqual(traveller.of_kind(StreamEnded), [StreamEnded(1, EndReason.TIMEOUT)])

    def test_silent_name_servers(self) -> None:
        """Three tries."""
        self.node.reactor.names.silent.add("slow.example.")
        traveller = self.traveller(self.node)
        traveller.begin("slow.example")
        limits = self.node.bounds.limits
        self.check(limits.lookup_try * limits.lookup_tries, lambda: self.node.router.status().streams == 1)
        self.assertEqual(len(self.node.reactor.names.lookups), limits.lookup_tries)

    def test_last_bytes(self) -> None:
        """A destination that does not take them."""
        server = self.world.server(SITE)
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        traveller = self.traveller(self.node)
        traveller.begin(SITE)
        server.connections[0].transport.pauseProducing()
        traveller.circuit.end.send_data(1, bytes(60_000))
        traveller.circuit.end.finish(1, EndReason.DONE)
        traveller.send()
        limits = self.node.bounds.limits
        seconds = limits.linger + self.node.router.status().queued / limits.linger_rate
        self.check(seconds, lambda: self.node.router.status().streams == 1)

    def test_refused_address(self) -> None:
        """One that has connected too fast."""
        limits = self.node.bounds.limits

        def is_refused() -> bool:
            return not self.node.gate.admits(Address.parse(CLIENT, 1))

        for _ in range(limits.connects_burst + 1):
            is_refused()
        self.check(limits.connects_refused, is_refused)

    def test_peer_that_vanished(self) -> None:
        """A client whose host does not answer any more; it has a minute and a half from its last byte on."""
        traveller = self.world.traveller(self.node, host=CLIENT)
        endpoint = TCP4ClientEndpoint(traveller.reactor, self.node.address.host, PORT)
        random = self.world.random.randbytes
        node_id = self.node.key.node_id
        traveller.reactor.success(connect_link(traveller.reactor, endpoint, node_id, traveller, rng=random))
        self.world.flush()
        self.world.reactor.internet.ways.isolate(CLIENT)
        self.check(90.0, lambda: self.node.router.status().links == 1)

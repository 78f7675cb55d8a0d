"""Tests of torpydo.node.onionservices: joined circuits through nodes on a simulated internet."""

from __future__ import annotations

from tests.node.network import Traveller
from tests.node.onions import Onions
from tests.tpdp.meeting import COOKIE, handshake
from torpydo.testing import Conditions
from torpydo.tpdp import Address, EndReason, MessageType, StreamConnected, StreamEnded, StreamRequested


class RendezvousTests(Onions):
    """ESTABLISH_RENDEZVOUS, RENDEZVOUS1, and what is passed from circuit to circuit."""

    def join(self) -> tuple[Traveller, Traveller]:
        """A client and a service whose circuits are joined."""
        mine, theirs, reply = handshake()
        client = self.say(self.circuit(0), MessageType.ESTABLISH_RENDEZVOUS, COOKIE)
        self.assertEqual(self.said(client), [(MessageType.RENDEZVOUS_ESTABLISHED, b"")])
        service = self.say(self.circuit(1, "198.51.100.2"), MessageType.RENDEZVOUS1, COOKIE + reply)
        self.assertEqual(self.said(client)[1:], [(MessageType.RENDEZVOUS2, reply)])
        client.circuit = client.circuit.join_as_client(mine)
        service.circuit = service.circuit.join_as_service(theirs)
        return client, service

    def accept(self, client: Traveller, service: Traveller) -> int:
        """A stream between them."""
        stream = client.begin("name")
        self.assertEqual(service.of_kind(StreamRequested)[-1], StreamRequested(stream, "name", 80))
        service.circuit.end.connected(stream, Address(bytes(4), 80), 0)
        service.send()
        self.assertEqual(client.of_kind(StreamConnected)[-1].stream, stream)
        return stream

    def test_bytes_both_ways(self) -> None:
        """Megabytes arrive whole, and a clean end as one."""
        client, service = self.join()
        stream = self.accept(client, service)
        there, back = self.world.random.randbytes(2_000_000), self.world.random.randbytes(2_000_000)
        client.circuit.end.send_data(stream, there)
        service.circuit.end.send_data(stream, back)
        for traveller in (client, service):
            traveller.circuit.end.close_write(stream)
            traveller.queue()
        self.world.flush()
        self.assertEqual((service.received(stream), client.received(stream)) == (there, back), True)
        client.circuit.end.finish(stream, EndReason.DONE)
        client.send()
        for traveller in (client, service):
            self.assertEqual(traveller.of_kind(StreamEnded), [StreamEnded(stream, EndReason.DONE)])
        self.assertEqual(self.point.refused(), {})

    def test_both_end_together(self) -> None:
        """Whichever side is destroyed, wherever: the other is, too, and no node keeps anything."""
        for number in range(2):
            pair = self.join()
            pair[number].destroy()
            self.assertTrue(pair[1 - number].destroyed)
            self.assertEqual(self.circuits(), [0] * 4)
            self.assertEqual([relay.router.status().queued for relay in self.relays], [0] * 4)

    def test_a_link_that_is_lost(self) -> None:
        """So it is when a client vanishes."""
        client, service = self.join()
        self.accept(client, service)
        assert client.link is not None
        client.link.transport.abortConnection()
        self.world.flush()
        self.assertTrue(service.destroyed)
        self.assertEqual(self.circuits(), [0] * 4)

    def test_a_service_without_a_client(self) -> None:
        """A cookie that nobody waits with: its circuit is destroyed. One that was used is such."""
        _, _, reply = handshake()
        self.assertTrue(self.say(self.circuit(1), MessageType.RENDEZVOUS1, COOKIE + reply).destroyed)
        self.join()
        self.assertTrue(self.say(self.circuit(1), MessageType.RENDEZVOUS1, COOKIE + reply).destroyed)
        self.assertEqual(self.point.refused(), {"rendezvous_unknown": 2})

    def test_a_client_that_left(self) -> None:
        """Its cookie is forgotten."""
        self.say(self.circuit(), MessageType.ESTABLISH_RENDEZVOUS, COOKIE).destroy()
        self.assertEqual(self.point.router._onions.waiting, 0)
        self.join()

    def test_a_cookie_that_is_taken(self) -> None:
        """The second one with it is destroyed, the first goes on waiting."""
        first = self.say(self.circuit(), MessageType.ESTABLISH_RENDEZVOUS, COOKIE)
        second = self.say(self.circuit(), MessageType.ESTABLISH_RENDEZVOUS, COOKIE)
        self.assertEqual((first.destroyed, second.destroyed), (False, True))

    def test_a_service_that_does_not_come(self) -> None:
        """After a minute the client's circuit is destroyed; one that came later has its own minute."""
        first = self.say(self.circuit(), MessageType.ESTABLISH_RENDEZVOUS, COOKIE)
        self.world.reactor.advance(30.0)
        second = self.say(self.circuit(), MessageType.ESTABLISH_RENDEZVOUS, COOKIE[::-1])
        self.world.reactor.advance(31.0)
        self.assertEqual((first.destroyed, second.destroyed), (True, False))
        self.world.reactor.advance(30.0)
        self.assertTrue(second.destroyed)
        self.assertEqual(self.point.refused(), {"rendezvous_late": 2})

    def test_too_many_clients(self) -> None:
        """One too many is destroyed at once."""
        self.point.restrict(rendezvous=1)
        self.say(self.circuit(), MessageType.ESTABLISH_RENDEZVOUS, COOKIE)
        second = self.say(self.circuit(), MessageType.ESTABLISH_RENDEZVOUS, COOKIE[::-1])
        self.assertTrue(second.destroyed)
        self.assertEqual(self.point.refused(), {"rendezvous": 1})

    def test_a_cell_that_must_not_pass(self) -> None:
        """An EARLY cell on a joined circuit costs both."""
        client, service = self.join()
        body, _ = client.circuit.end._seal(9, bytes(880))
        assert client.link is not None
        client.link.send_cells(client.circ_id, [(9, body)])
        self.world.flush()
        self.assertEqual((client.destroyed, service.destroyed), (True, True))

    def test_what_waits_is_bounded(self) -> None:
        """A client that reads nothing costs itself its circuit, and the service that end of it (SECURITY F5)."""
        self.relays[0].restrict(circuit_queue=150_000)
        client, service = self.join()
        stream = self.accept(client, service)
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target="198.51.100.1")
        assert client.link is not None and client.link.transport is not None
        client.link.transport.pauseProducing()
        service.circuit.end._streams[stream].credit = 1 << 30
        service.circuit.end.send_data(stream, bytes(3_000_000))
        service.send()
        self.assertTrue(service.destroyed)
        self.assertEqual(self.circuits(), [0] * 4)
        self.assertEqual(self.relays[0].refused(), {"circuit_queue": 1})

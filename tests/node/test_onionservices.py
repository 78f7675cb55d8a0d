"""Tests of torpydo.node.onionservices: introductions and joined circuits through nodes on a simulated internet."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Traveller, World
from tests.tpdp.meeting import COOKIE, handshake
from torpydo.crypto import SigningKey
from torpydo.net import Buckets
from torpydo.testing import Conditions
from torpydo.tpdp import (
    Address,
    EndReason,
    IntroduceStatus,
    MessageType,
    Said,
    StreamConnected,
    StreamEnded,
    StreamRequested,
)

KEY = SigningKey(b"i" * 32)
HELLO = bytes(range(256)) * 2


class Onions(SynchronousTestCase):
    """Four nodes; the last is where things meet."""

    def setUp(self) -> None:
        self.world = World()
        self.relays = [self.world.relay() for _ in range(4)]
        self.world.publish()
        self.point = self.relays[-1]

    def circuit(self, first: int = 0, host: str = "198.51.100.1") -> Traveller:
        """One that ends at the point."""
        other = self.relays[(first + 1) % 3]
        return self.world.traveller(self.relays[first], other, self.point, host=host).build()

    def said(self, traveller: Traveller) -> list[tuple[MessageType, bytes]]:
        """What the point has told it."""
        return [(event.kind, event.data) for event in traveller.of_kind(Said)]

    def say(self, traveller: Traveller, kind: MessageType, data: bytes) -> Traveller:
        """Begin a conversation."""
        traveller.circuit.end.say(kind, data)
        traveller.send()
        return traveller

    def introduced(self, key: SigningKey = KEY) -> Traveller:
        """A service's circuit to its introduction point."""
        service = self.circuit(1)
        service.circuit.establish_intro(key)
        service.send()
        return service

    def circuits(self) -> list[int]:
        """Circuits at each node."""
        return [relay.router.status().circuits for relay in self.relays]


class IntroductionTests(Onions):
    """ESTABLISH_INTRO and INTRODUCE1."""

    def test_an_introduction(self) -> None:
        """It comes to the service as it was sent, and the client is told."""
        service = self.introduced()
        self.assertEqual(self.said(service), [(MessageType.INTRO_ESTABLISHED, b"")])
        client = self.say(self.circuit(), MessageType.INTRODUCE1, KEY.public + HELLO)
        self.assertEqual(self.said(client), [(MessageType.INTRODUCE_ACK, bytes((IntroduceStatus.OK,)))])
        self.assertEqual(self.said(service)[1:], [(MessageType.INTRODUCE2, HELLO)])

    def test_nobody_there(self) -> None:
        """A key that no service has proven, and one whose circuit is gone."""
        unknown = [(MessageType.INTRODUCE_ACK, bytes((IntroduceStatus.UNKNOWN,)))]
        self.assertEqual(
            self.said(self.say(self.circuit(), MessageType.INTRODUCE1, KEY.public + HELLO)), unknown
        )
        self.introduced().destroy()
        self.assertEqual(
            self.said(self.say(self.circuit(), MessageType.INTRODUCE1, KEY.public + HELLO)), unknown
        )

    def test_a_proof_of_another_circuit(self) -> None:
        """What a service has proven on one circuit proves nothing on another: that one is destroyed (SECURITY O8)."""
        first, second = self.circuit(1), self.circuit(2)
        first.circuit.establish_intro(KEY)
        control = first.circuit.end._control[-1]
        self.say(second, MessageType.ESTABLISH_INTRO, control[7:])
        self.assertTrue(second.destroyed)
        self.assertEqual(self.point.refused(), {"circuits_broken": 1})

    def test_a_service_moves(self) -> None:
        """The same key on another circuit: the new one counts, the old one is destroyed."""
        old, new = self.introduced(), self.introduced()
        self.assertTrue(old.destroyed)
        self.say(self.circuit(), MessageType.INTRODUCE1, KEY.public + HELLO)
        self.assertEqual(self.said(new)[1:], [(MessageType.INTRODUCE2, HELLO)])
        self.assertEqual(self.point.refused(), {"introduction_replaced": 1})

    def test_a_flood(self) -> None:
        """One service gets no more than the limit, another one is not touched by that (SECURITY O5)."""
        self.point.router._onions._introductions = Buckets(self.world.reactor.seconds, 1.0, 5)
        service, other = self.introduced(), self.introduced(SigningKey(b"o" * 32))
        status = []
        for _ in range(8):
            client = self.say(self.circuit(), MessageType.INTRODUCE1, KEY.public + HELLO)
            status.append(self.said(client)[0][1][0])
            client.destroy()
        self.assertEqual(status, [IntroduceStatus.OK] * 5 + [IntroduceStatus.TOO_MANY] * 3)
        self.assertEqual(len(self.said(service)), 6)
        self.assertEqual(self.point.refused(), {"introductions_too_fast": 3})
        self.say(self.circuit(), MessageType.INTRODUCE1, SigningKey(b"o" * 32).public + HELLO)
        self.assertEqual(len(self.said(other)), 2)

    def test_too_many_services(self) -> None:
        """One too many is destroyed, the others stay."""
        self.point.restrict(introduction_points=2)
        services = [self.introduced(SigningKey(bytes([number]) * 32)) for number in range(3)]
        self.assertEqual([service.destroyed for service in services], [False, False, True])
        self.assertEqual(self.point.refused(), {"introduction_points": 1})


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

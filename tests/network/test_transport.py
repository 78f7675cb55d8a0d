"""A stream's transport behaves as Twisted programs expect of any transport."""

from __future__ import annotations

from datetime import datetime
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import ssl
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.client import readBody
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface.verify import verifyObject

from tests.network.base import Echo, NetworkTestCase, stream
from tests.testing.recorders import HalfRecorder, PullRecorder, PushRecorder, Recorder

DATA = Random(4).randbytes(400_000)


def certificate(host: str) -> ssl.PrivateCertificate:
    """A certificate that *host* has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2120, 1, 1))
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    return ssl.PrivateCertificate.loadPEM(secret + signed.public_bytes(pem))


def reasons(recorder: Recorder) -> list[str]:
    """How a connection ended."""
    return [reason.__name__ for reason in recorder.lost]


class CloseTests(NetworkTestCase):
    """The ways to end."""

    def test_lose_connection_with_data_pending(self) -> None:
        """Everything that was written before is delivered, whatever window and credit say; nothing after."""
        network = self.start(latency=0.01)
        client, server = self.pair()
        stream(client).write(DATA)
        stream(client).loseConnection()
        stream(client).write(b"too late")
        self.assertEqual(client.lost, [])
        network.advance(20)
        self.assertEqual(bytes(server.data), DATA)
        self.assertEqual((reasons(client), reasons(server)), (["ConnectionDone"], ["ConnectionDone"]))

    def test_lose_connection_of_the_destination_with_data_pending(self) -> None:
        """The same from the other side."""
        network = self.start(latency=0.01)
        client, server = self.pair()
        server.tcp.write(DATA)
        server.tcp.loseConnection()
        network.advance(20)
        self.assertEqual(bytes(client.data), DATA)
        self.assertEqual((reasons(client), reasons(server)), (["ConnectionDone"], ["ConnectionDone"]))

    def test_abort(self) -> None:
        """An aborted stream ends at once for its client, though not inside the call, and is a reset outside."""
        network = self.start(latency=0.01)
        client, server = self.pair()
        stream(client).write(DATA)
        stream(client).abortConnection()
        self.assertEqual(client.lost, [])
        network.flush()
        self.assertEqual(reasons(client), ["ConnectionAborted"])
        network.advance(5)
        self.assertEqual(reasons(server), ["ConnectionLost"])

    def test_closed_by_both_at_once(self) -> None:
        """Both ends close in the same moment: each hears of one clean end."""
        network = self.start(latency=0.01)
        client, server = self.pair()
        stream(client).loseConnection()
        server.tcp.loseConnection()
        network.advance(5)
        self.assertEqual((reasons(client), reasons(server)), (["ConnectionDone"], ["ConnectionDone"]))

    def test_close_from_within_data_received(self) -> None:
        """A protocol may close while it is being given data."""

        class Once(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.tcp.loseConnection()

        network = self.start()
        client, server = self.pair(Once, Recorder)
        server.tcp.write(DATA)
        network.advance(5)
        self.assertTrue(DATA.startswith(bytes(client.data)))
        self.assertEqual(len(client.lost), 1)

    def test_loses_each_end_once(self) -> None:
        """Whatever else is called after the end changes nothing."""
        network = self.start()
        client, _ = self.pair(HalfRecorder)
        transport = stream(client)
        transport.loseConnection()
        network.advance(1)
        transport.loseConnection()
        transport.abortConnection()
        transport.loseWriteConnection()
        transport.write(b"x")
        transport.resumeProducing()
        network.advance(1)
        self.assertEqual(reasons(client), ["ConnectionDone"])

    def test_client_close_ends_streams(self) -> None:
        """Closing the client tears its streams at both ends."""
        network = self.start()
        client, server = self.pair()
        network.success(network.client.close())
        network.advance(5)
        self.assertEqual((reasons(client), reasons(server)), (["ConnectionLost"], ["ConnectionLost"]))


class ProducerTests(NetworkTestCase):
    """Flow control as Twisted has it."""

    def test_push_producer_is_paused_and_resumed(self) -> None:
        """A destination that does not read pauses the client's producer in the end, and lets it go on."""
        network = self.start()
        client, server = self.pair()
        producer = PushRecorder()
        stream(client).registerProducer(producer, True)
        server.tcp.pauseProducing()
        while not producer.calls:
            stream(client).write(DATA[:10_000])
            network.advance(0.1)
            self.assertLess(sum(node.status().queued for node in network.nodes), 1_000_000)
        self.assertEqual(producer.calls, ["pause"])
        server.tcp.resumeProducing()
        network.advance(1)
        self.assertEqual(producer.calls, ["pause", "resume"])
        stream(client).unregisterProducer()

    def test_pull_producer(self) -> None:
        """A pull producer is asked again and again until it has nothing left."""
        network = self.start()
        client, server = self.pair()
        producer = PullRecorder(stream(client), 300)
        stream(client).registerProducer(producer, False)
        network.advance(5)
        self.assertEqual((producer.asked, len(server.data)), (300, 300_000))

    def test_close_waits_for_a_paused_producer(self) -> None:
        """A producer that is paused when the stream is closed may still finish, as on TCP."""
        network = self.start()
        client, server = self.pair()
        stream(client).registerProducer(PullRecorder(stream(client), 300), False)
        stream(client).loseConnection()
        network.advance(5)
        self.assertEqual((len(server.data), reasons(server)), (300_000, ["ConnectionDone"]))

    def test_producer_is_stopped(self) -> None:
        """A producer is told when the stream is torn."""
        network = self.start()
        client, server = self.pair()
        producer = PushRecorder()
        stream(client).registerProducer(producer, True)
        server.tcp.abortConnection()
        network.advance(1)
        self.assertEqual((producer.calls, reasons(client)), (["stop"], ["ConnectionLost"]))

    def test_second_producer_is_refused(self) -> None:
        """As on every transport."""
        self.start()
        client, _ = self.pair()
        stream(client).registerProducer(PushRecorder(), True)
        self.assertRaises(RuntimeError, stream(client).registerProducer, PushRecorder(), True)
        stream(client).unregisterProducer()

    def test_paused_client(self) -> None:
        """A client that pauses gets nothing, and holds up the destination; then it gets everything."""
        network = self.start()
        client, server = self.pair()
        producer = PushRecorder()
        server.tcp.registerProducer(producer, True)
        stream(client).pauseProducing()
        server.tcp.write(DATA * 5)
        network.advance(10)
        self.assertEqual((len(client.data), producer.calls), (0, ["pause"]))
        server.tcp.unregisterProducer()
        stream(client).resumeProducing()
        network.advance(30)
        self.assertEqual(bytes(client.data), DATA * 5)

    def test_end_waits_for_a_paused_client(self) -> None:
        """What comes before a clean end is delivered before it, however late the client goes on."""
        network = self.start()
        client, server = self.pair()
        stream(client).pauseProducing()
        server.tcp.write(b"last words")
        server.tcp.loseConnection()
        network.advance(10)
        self.assertEqual((bytes(client.data), client.lost), (b"", []))
        stream(client).resumeProducing()
        network.flush()
        self.assertEqual((bytes(client.data), reasons(client)), (b"last words", ["ConnectionDone"]))


class AddressTests(NetworkTestCase):
    """What a transport says of itself."""

    def test_interfaces(self) -> None:
        """It provides what TCP transports provide."""
        self.start()
        client, _ = self.pair()
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, client.transport)

    def test_peer(self) -> None:
        """The peer is the address that the exit has connected to; the own address tells nothing."""
        self.start()
        client, _ = self.pair()
        self.assertEqual(client.tcp.getPeer(), IPv4Address("TCP", "10.0.3.1", 80))
        self.assertEqual(client.tcp.getHost(), IPv4Address("TCP", "0.0.0.0", 0))


class CancelTests(NetworkTestCase):
    """Whoever does not want to wait any more."""

    def cancel(self, after: float) -> None:
        """Cancel a connection attempt after some time: nothing is left of it."""
        network = self.start(latency=0.05)
        host, port = self.echo()
        network.internet.ways.cut(None, network.destinations[host].ip)
        connecting = connectProtocol(network.client.endpoint(host, port), Recorder())
        network.advance(after)
        connecting.cancel()
        with self.assertRaises(ConnectingCancelledError):
            network.success(connecting)
        network.advance(5)
        self.assertEqual([node.status().streams for node in network.nodes], [0] * 5)
        self.assertEqual(sum(one.streams for one in network.client.status().circuits), 0)

    def test_at_once(self) -> None:
        """Before anything was sent."""
        self.cancel(0)

    def test_under_way(self) -> None:
        """While the request is on its way to the exit."""
        self.cancel(0.1)

    def test_while_the_exit_connects(self) -> None:
        """While the exit waits for the destination."""
        self.cancel(2)

    def test_create(self) -> None:
        """A client that is cancelled while it starts leaves nothing behind."""
        network = self.start(client=False, latency=0.1)
        creating = network.add_client()
        network.advance(0.35)
        creating.cancel()
        self.failureResultOf(creating)
        network.advance(5)
        self.assertEqual(list(network.delayed_calls(network.clients[0])), [])
        self.assertEqual(network.internet.connections_of(network.clients[0].ip), [])


class Hello(Resource):
    """A page."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"hello " + request.uri


class OnTopTests(NetworkTestCase):
    """TLS and HTTP over streams."""

    def test_tls(self) -> None:
        """``wrapClientTLS`` works: small and large writes arrive both ways, and the end is clean."""
        network = self.start(latency=0.01)
        own = certificate("secure.example")
        wrapped = TLSMemoryBIOFactory(own.options(), False, Factory.forProtocol(Echo))
        where = network.serve(wrapped, 443, "secure.example")
        trust = ssl.optionsForClientTLS("secure.example", trustRoot=ssl.Certificate(own.original))
        endpoint = wrapClientTLS(trust, network.client.endpoint(*where))
        client = network.success(connectProtocol(endpoint, Recorder()))
        client.tcp.write(b"small")
        network.advance(1)
        self.assertEqual(bytes(client.data), b"small")
        client.tcp.write(DATA)
        network.advance(20)
        self.assertEqual(bytes(client.data), b"small" + DATA)
        client.tcp.loseConnection()
        network.advance(1)
        self.assertEqual(reasons(client), ["ConnectionDone"])

    def test_tls_with_a_wrong_name(self) -> None:
        """The name is checked end to end: an exit cannot stand in for the destination."""
        network = self.start()
        own = certificate("other.example")
        wrapped = TLSMemoryBIOFactory(own.options(), False, Factory.forProtocol(Echo))
        where = network.serve(wrapped, 443, "secure.example")
        trust = ssl.optionsForClientTLS("secure.example", trustRoot=ssl.Certificate(own.original))
        client = network.success(connectProtocol(wrapClientTLS(trust, network.client.endpoint(*where)), Recorder()))
        network.advance(5)
        self.assertEqual(bytes(client.data), b"")
        self.assertEqual(len(client.lost), 1)

    def test_web_agent(self) -> None:
        """Pages by the client's agent, twice on one connection."""
        network = self.start()
        host, port = network.serve(Site(Hello(), reactor=network.reactor), 80, "web.example")
        agent = network.client.web_agent()
        for path in (b"/one", b"/two"):
            response = network.success(agent.request(b"GET", b"http://web.example" + path))
            self.assertEqual(network.success(readBody(response)), b"hello " + path)

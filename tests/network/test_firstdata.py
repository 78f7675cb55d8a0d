"""Bytes that go with the question for a stream: what they save, and that they never arrive twice."""

from __future__ import annotations

from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import Recorder, Servers
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.socks import SocksFactory
from torpydo.client import Circuit, FirstData
from torpydo.errors import CircuitLost, LocalProtocolError, StreamReset

LATENCY = 0.05
CIRCUIT = 2 * 3 * LATENCY
"""Seconds of a round trip through the three nodes."""
OUTSIDE = 2 * LATENCY
"""Seconds of one between exit and destination: to connect, or to ask and be answered."""
QUESTION = b"GET / HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SOCKS = b"\x05\x01\x00" + b"\x05\x01\x00\x03"


class Answerer(Recorder):
    """Answers the first bytes that come."""

    def dataReceived(self, data: bytes) -> None:
        if not self.data:
            self.tcp.write(ANSWER)
        super().dataReceived(data)


class RoundTripTests(NetworkTestCase):
    """Virtual seconds from the wish for a stream to the first byte of the answer."""

    def begin(self) -> tuple[str, int]:
        """A network with a circuit in use, and a destination whose name the exit has looked up before."""
        network = self.start(nodes=3, latency=LATENCY)
        self.servers = Servers(Answerer)
        where = network.serve(self.servers)
        stream(self.connect(where)).loseConnection()
        network.advance(5)
        self.servers.built.clear()
        return where

    def until_answer(self, recorder: Recorder | StringTransport, expected: bytes) -> float:
        """Seconds until *expected* has come."""
        start = self.network.reactor.seconds()
        while expected not in (recorder.data if isinstance(recorder, Recorder) else recorder.value()):
            self.network.advance(0.001)
            self.assertLess(self.network.reactor.seconds(), start + 5)
        return self.network.reactor.seconds() - start

    def proxy(self, factory: SocksFactory | HTTPProxyFactory) -> tuple[Protocol, StringTransport]:
        """An application's connection to a proxy, beside the network."""
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def test_without(self) -> None:
        """Two round trips through the circuit: one for the stream, one for the answer."""
        where = self.begin()
        recorder = Recorder()
        opening = connectProtocol(self.network.client.endpoint(*where), recorder)
        opening.addCallback(lambda protocol: protocol.transport.write(QUESTION))
        self.assertAlmostEqual(self.until_answer(recorder, ANSWER), 2 * CIRCUIT + 2 * OUTSIDE, 2)

    def test_with(self) -> None:
        """One round trip for both."""
        where = self.begin()
        recorder = Recorder()
        connectProtocol(self.network.client.endpoint(*where, first_data=QUESTION), recorder)
        self.assertAlmostEqual(self.until_answer(recorder, ANSWER), CIRCUIT + 2 * OUTSIDE, 2)
        self.assertEqual([bytes(server.data) for server in self.servers.built], [QUESTION])

    def test_that_comes_a_little_later(self) -> None:
        """What an application says while the stream is being opened follows at once."""
        where = self.begin()
        recorder, first = Recorder(), FirstData(QUESTION[:5])
        connectProtocol(self.network.client.endpoint(*where, first_data=first), recorder)
        self.network.advance(LATENCY)
        first.add(QUESTION[5:])
        self.assertAlmostEqual(self.until_answer(recorder, ANSWER), CIRCUIT + 2 * OUTSIDE - LATENCY, 2)
        self.assertEqual([bytes(server.data) for server in self.servers.built], [QUESTION])

    def test_http_request(self) -> None:
        """A GET through the HTTP proxy."""
        host, port = self.begin()
        protocol, transport = self.proxy(HTTPProxyFactory(self.network.client, self.network.clients[0].reactor))
        protocol.dataReceived(f"GET http://{host}:{port}/ HTTP/1.0\r\n\r\n".encode())
        self.assertAlmostEqual(self.until_answer(transport, b"\r\n\r\nhi"), CIRCUIT + 2 * OUTSIDE, 2)

    def test_socks_with_early_data(self) -> None:
        """An application that does not wait for the reply of the SOCKS proxy."""
        host, port = self.begin()
        protocol, transport = self.proxy(SocksFactory(self.network.client, self.network.clients[0].reactor))
        protocol.dataReceived(SOCKS + bytes((len(host),)) + host.encode() + port.to_bytes(2, "big") + QUESTION)
        self.assertAlmostEqual(self.until_answer(transport, ANSWER), CIRCUIT + 2 * OUTSIDE, 2)
        self.assertEqual(transport.value()[2:4], b"\x05\x00")

    def test_as_much_as_there_may_be(self) -> None:
        """64 KiB are in the exit's hands when it has connected."""
        where = self.begin()
        data = bytes(range(256)) * 256
        connectProtocol(self.network.client.endpoint(*where, first_data=data), Recorder())
        self.network.advance(CIRCUIT + 2 * OUTSIDE)
        self.assertEqual([bytes(server.data) for server in self.servers.built], [data])


class OnceTests(NetworkTestCase):
    """What happens to them when the circuit is lost."""

    def own(self) -> tuple[Circuit, tuple[str, int], Servers]:
        """A circuit, and a destination."""
        network = self.start(nodes=3, latency=LATENCY)
        servers = Servers()
        where = network.serve(servers)
        return network.success(network.client.build_circuit(3)), where, servers

    def test_nothing_had_gone(self) -> None:
        """A circuit that is lost before it has sent anything is just a lost circuit: another may be tried."""
        circuit, where, _ = self.own()
        opening = connectProtocol(circuit.endpoint(*where, first_data=QUESTION), Recorder())
        circuit.close()
        self.failureResultOf(opening, CircuitLost)

    def test_something_had_gone(self) -> None:
        """After that it is a stream that was torn."""
        circuit, where, _ = self.own()
        opening = connectProtocol(circuit.endpoint(*where, first_data=QUESTION), Recorder())
        self.network.flush()
        circuit.close()
        self.failureResultOf(opening, StreamReset)

    def test_without_them_nothing_can_have_arrived(self) -> None:
        """A stream that was only asked for may be asked for again."""
        circuit, where, _ = self.own()
        opening = connectProtocol(circuit.endpoint(*where), Recorder())
        self.network.flush()
        circuit.close()
        self.failureResultOf(opening, CircuitLost)

    def test_is_for_one_stream(self) -> None:
        """An endpoint that connects twice with one object is told so; the first stream is not touched."""
        circuit, where, servers = self.own()
        first = FirstData(b"x")
        endpoint = circuit.endpoint(*where, first_data=first)
        self.network.success(connectProtocol(endpoint, Recorder()))
        self.failureResultOf(connectProtocol(endpoint, Recorder()), LocalProtocolError)
        self.assertRaises(LocalProtocolError, first.add, b"y")
        self.network.advance(5)
        self.assertEqual([bytes(server.data) for server in servers.built], [b"x"])

    def test_arrives_once_at_the_most(self) -> None:
        """Whenever a node of a request's circuit is lost, the destination sees it once or not at all."""
        network = self.start(nodes=6, latency=LATENCY)
        servers = Servers()
        where = network.serve(servers)
        torn = 0
        for place in range(3):
            for step in range(0, 14, 2):
                servers.built.clear()
                endpoint = network.client.endpoint(*where, first_data=QUESTION, isolation=(place, step))
                opening = connectProtocol(endpoint, Recorder())
                [used] = [circuit for circuit in network.client.status().circuits if circuit.streams]
                node = next(node for node in network.nodes if node.name == used.path[place])
                network.advance(step * LATENCY / 2)
                network.kill(node)
                network.advance(60)
                seen = sum(QUESTION in bytes(server.data) for server in servers.built)
                self.assertLessEqual(seen, 1, (place, step))
                failures: list[Failure] = []
                opening.addErrback(failures.append)
                torn += bool(failures and failures[0].check(StreamReset))
                for circuit in [circuit for circuit in network.client.status().circuits if circuit.streams]:
                    self.assertEqual(failures, [], circuit)
                network.client.new_identity()
                network.restart(node)
                network.settle()
        self.assertGreater(torn, 10)

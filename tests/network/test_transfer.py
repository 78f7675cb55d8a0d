"""Bytes through three hops: all of them, in order, both ways, whole or half closed."""

from __future__ import annotations

from hashlib import sha256
from random import Random

from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import connectProtocol

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import HalfRecorder, Recorder, Servers
from torpydo.testing import random_split

MEGABYTES = Random(2).randbytes(2 * 1024 * 1024)


class Answer(HalfRecorder):
    """Hashes what comes, and answers with the hash when that has ended."""

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self.tcp.write(sha256(self.data).digest())
        self.tcp.loseConnection()


class Giver(Recorder):
    """Sends two megabytes and closes."""

    def connectionMade(self) -> None:
        self.tcp.write(MEGABYTES)
        self.tcp.loseConnection()


class Echoing(Recorder):
    """Sends back what comes, until the other side closes."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.tcp.write(data)


class TransferTests(NetworkTestCase):
    """Much data."""

    def test_download_that_is_cut_anywhere(self) -> None:
        """Two megabytes arrive as they were sent, wherever the bytes of every connection are split."""
        network = self.start(latency=0.01)
        network.internet.split = random_split(1)
        client = self.connect(network.serve(Servers(Giver)))
        network.advance(60)
        self.assertEqual(len(client.data), len(MEGABYTES))
        self.assertEqual(sha256(client.data).digest(), sha256(MEGABYTES).digest())
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionDone"])

    def test_upload_that_is_cut_anywhere(self) -> None:
        """The same the other way."""
        network = self.start(latency=0.01)
        network.internet.split = random_split(2)
        client, server = self.pair()
        stream(client).write(MEGABYTES)
        stream(client).loseConnection()
        network.advance(60)
        self.assertEqual(sha256(server.data).digest(), sha256(MEGABYTES).digest())
        self.assertEqual([reason.__name__ for reason in server.lost], ["ConnectionDone"])
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionDone"])

    def test_both_ways_at_once(self) -> None:
        """An echo of a megabyte: neither direction holds up the other."""
        network = self.start(latency=0.01)
        client = self.connect(network.serve(Servers(Echoing)))
        stream(client).write(MEGABYTES[: 1024 * 1024])
        network.advance(60)
        self.assertEqual(sha256(client.data).digest(), sha256(MEGABYTES[: 1024 * 1024]).digest())

    def test_twenty_streams(self) -> None:
        """Twenty streams at once each get their own bytes back."""
        network = self.start(latency=0.01)
        where = network.serve(Servers(Echoing))
        recorders = [Recorder() for _ in range(20)]
        endpoint = network.client.endpoint(*where)
        network.success(gatherResults([connectProtocol(endpoint, one) for one in recorders]))
        for number, one in enumerate(recorders):
            stream(one).write(MEGABYTES[number * 20_000 : (number + 1) * 20_000])
        network.advance(30)
        for number, one in enumerate(recorders):
            self.assertEqual(bytes(one.data), MEGABYTES[number * 20_000 : (number + 1) * 20_000])
            self.assertEqual(one.lost, [])
            stream(one).loseConnection()
        network.advance(1)
        self.assertEqual({reason.__name__ for one in recorders for reason in one.lost}, {"ConnectionDone"})

    def test_eight_hops(self) -> None:
        """The longest circuit carries bytes too."""
        network = self.start(nodes=8, hops=8)
        client = self.connect(network.serve(Servers(Echoing)))
        stream(client).write(MEGABYTES[:100_000])
        network.advance(5)
        self.assertEqual(bytes(client.data), MEGABYTES[:100_000])

    def test_one_hop(self) -> None:
        """And the shortest, which a test network allows."""
        network = self.start(nodes=1, hops=1)
        client = self.connect(network.serve(Servers(Echoing)))
        stream(client).write(MEGABYTES[:100_000])
        network.advance(5)
        self.assertEqual(bytes(client.data), MEGABYTES[:100_000])

    def test_destination_that_does_not_read(self) -> None:
        """What a destination does not take waits at the client, not in the nodes."""
        network = self.start()
        client, server = self.pair()
        server.tcp.pauseProducing()
        stream(client).write(MEGABYTES)
        network.advance(10)
        self.assertEqual(len(server.data), 0)
        self.assertLess(max(node.status().queued for node in network.nodes), 600_000)
        server.tcp.resumeProducing()
        network.advance(30)
        self.assertEqual(sha256(server.data).digest(), sha256(MEGABYTES).digest())


class HalfCloseTests(NetworkTestCase):
    """EOF in one direction."""

    def test_client_sends_eof_then_reads_the_answer(self) -> None:
        """A destination that answers when its input has ended gets that end, and its answer arrives."""
        network = self.start(latency=0.01)
        client = self.connect(network.serve(Servers(Answer)), HalfRecorder)
        stream(client).write(MEGABYTES[:300_000])
        stream(client).loseWriteConnection()
        network.advance(20)
        self.assertEqual(bytes(client.data), sha256(MEGABYTES[:300_000]).digest())
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionDone"])

    def test_destination_sends_eof_then_reads(self) -> None:
        """The client learns of the destination's EOF and may go on sending."""
        network = self.start(latency=0.01)
        client, server = self.pair(HalfRecorder)
        assert isinstance(client, HalfRecorder) and isinstance(server, HalfRecorder)
        server.tcp.write(b"that was all")
        server.tcp.loseWriteConnection()
        network.advance(1)
        self.assertEqual((bytes(client.data), client.ends, client.lost), (b"that was all", ["read"], []))
        stream(client).write(MEGABYTES[:300_000])
        stream(client).loseWriteConnection()
        network.advance(20)
        self.assertEqual((bytes(server.data), server.ends), (MEGABYTES[:300_000], ["write", "read"]))
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionDone"])

    def test_protocol_without_half_close(self) -> None:
        """A protocol that does not know half-close is closed at the destination's EOF, cleanly."""
        network = self.start()
        client, server = self.pair(Recorder, HalfRecorder)
        assert isinstance(server, HalfRecorder)
        server.tcp.write(b"bye")
        server.tcp.loseWriteConnection()
        network.advance(1)
        self.assertEqual(bytes(client.data), b"bye")
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionDone"])
        self.assertEqual(server.ends, ["write", "read"])

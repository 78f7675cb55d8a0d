"""What passes between the processes of a node with workers: a channel over a socket pair, and sockets out of it."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.workers.channel import Channel
from torpydo.node.workers.handover import HandoverFactory
from torpydo.node.workers.processes import launch_worker


class Recorder:
    """The owner of one end."""

    def __init__(self) -> None:
        self.data = b""
        self.descriptors: list[int] = []
        self.lost = 0

    def received(self, data: bytes, descriptors: Any) -> None:
        self.data += data
        self.descriptors += descriptors

    def gone(self) -> None:
        self.lost += 1


class ChannelTests(SynchronousTestCase):
    """Bytes in order, and descriptors with them."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sender, self.recorder = Recorder(), Recorder()
        self.left = Channel(self.reactor, left, self.sender.received, self.sender.gone)
        self.right = Channel(self.reactor, right, self.recorder.received, self.recorder.gone)
        for channel in (self.left, self.right):
            channel.start()
            self.addCleanup(channel.close)

    def turn(self) -> None:
        """Each end does what it has asked for."""
        for descriptor in list(self.reactor.writers):
            descriptor.doWrite()
        for descriptor in list(self.reactor.readers):
            descriptor.doRead()

    def pipe(self) -> tuple[int, int]:
        """Two ends of something to send."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        return reading, writing

    def assert_closed(self, descriptor: int) -> None:
        """There is no such file any more."""
        self.assertRaises(OSError, os.fstat, descriptor)

    def test_bytes(self) -> None:
        """What is sent arrives in one piece or in many."""
        data = os.urandom(3_000_000)
        self.left.send(data[:10])
        self.left.send(data[10:])
        self.assertEqual(self.left.queued, len(data))
        while len(self.recorder.data) < len(data):
            self.turn()
        self.assertEqual(self.recorder.data, data)
        self.assertEqual((self.left.queued, self.reactor.writers), (0, set()))

    def test_descriptors(self) -> None:
        """Each arrives with the bytes it was sent with, works there, and is closed here."""
        pipes = [self.pipe() for _ in range(3)]
        big = os.urandom(1_000_000)
        self.left.send(big)
        for number, (_, writing) in enumerate(pipes):
            self.left.send(bytes([number]) * 7, writing)
        while len(self.recorder.data) < len(big) + 21:
            self.turn()
        self.assertEqual(len(self.recorder.descriptors), 3)
        for number, descriptor in enumerate(self.recorder.descriptors):
            os.write(descriptor, bytes([number]))
            os.close(descriptor)
            # The only other end is closed: what was written is all there is.
            self.assertEqual(os.read(pipes[number][0], 10), bytes([number]))
            self.assertEqual(os.read(pipes[number][0], 10), b"")

    def test_descriptor_with_many_bytes(self) -> None:
        """A descriptor whose bytes do not leave in one piece is sent once."""
        reading, writing = self.pipe()
        data = os.urandom(1_000_000)
        self.left.send(data, writing)
        while len(self.recorder.data) < len(data):
            self.turn()
        (descriptor,) = self.recorder.descriptors
        os.close(descriptor)
        self.assertEqual((self.recorder.data == data, os.read(reading, 1)), (True, b""))

    def test_not_inherited(self) -> None:
        """What arrived is not passed on to programs by accident."""
        self.left.send(b"x", self.pipe()[1])
        self.turn()
        (descriptor,) = self.recorder.descriptors
        self.addCleanup(os.close, descriptor)
        self.assertFalse(os.get_inheritable(descriptor))

    def test_other_end_gone(self) -> None:
        """The end of the other process is noticed, once; what waits is closed."""
        _, writing = self.pipe()
        self.right.close()
        self.turn()
        self.assertEqual((self.sender.lost, self.recorder.lost), (1, 0))
        self.left.send(b"x", writing)
        self.assert_closed(writing)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))

    def test_gone_while_writing(self) -> None:
        """So it is by a write."""
        _, writing = self.pipe()
        self.left.send(b"x", writing)
        self.right.close()
        self.left.doWrite()
        self.assertEqual(self.sender.lost, 1)
        self.assert_closed(writing)

    def test_close(self) -> None:
        """What was not sent is closed with the channel, and nobody is told of an end that he wanted."""
        _, writing = self.pipe()
        self.left.send(b"x", writing)
        self.left.close()
        self.left.close()
        self.assert_closed(writing)
        self.assertEqual((self.sender.lost, self.left.queued), (0, 0))
        self.turn()
        self.assertEqual(self.recorder.lost, 1)


class HandoverTests(SynchronousTestCase):
    """A connection without its transport."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.hands: list[tuple[int, int]] = []
        self.factory = HandoverFactory(lambda descriptor, family: self.hands.append((descriptor, family)))

    def test_the_connection_stays(self) -> None:
        """The transport ends, and nobody at the other end of the connection notices."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        theirs.setblocking(False)
        protocol = self.factory.buildProtocol(None)
        transport = Connection(ours, protocol, self.reactor)
        transport.connected = 1
        transport.startReading()
        protocol.makeConnection(transport)
        self.reactor.advance(1.0)
        ((descriptor, family),) = self.hands
        self.assertEqual((family, self.reactor.readers), (socket.AF_UNIX, set()))
        with socket.socket(fileno=os.dup(descriptor)) as handed:
            # With what an abort sets, its last bytes would be lost when the worker closes it.
            self.assertEqual(handed.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8), bytes(8))
        os.write(descriptor, b"still there")
        self.assertEqual(theirs.recv(100), b"still there")
        self.assertRaises(BlockingIOError, theirs.recv, 100)
        os.close(descriptor)
        self.assertEqual(theirs.recv(100), b"")

    def test_more_than_a_socket(self) -> None:
        """TLS for example cannot be handed over: such connections are closed, and that is said once."""
        with capturedLogs() as logs:
            for _ in range(2):
                protocol: Protocol = self.factory.buildProtocol(None)
                transport = StringTransport()
                protocol.makeConnection(transport)
                self.assertTrue(transport.disconnected)
        self.assertEqual((len(logs), self.hands), (1, []))


class Spawning(MemoryReactorClock):
    """A reactor that starts no process."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[str, list[str], dict[str, str], dict[int, Any]]] = []
        self.broken = False

    def spawnProcess(self, protocol: Any, executable: str, args: Any, env: Any, childFDs: Any) -> None:
        """Remember it."""
        if self.broken:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.spawned.append((executable, args, env, childFDs))


class Silent:
    """Expects nothing of a process."""

    def received(self, data: bytes) -> None:
        """Nothing comes."""

    def ended(self, reason: str) -> None:
        """It never began."""


class LaunchTests(SynchronousTestCase):
    """How a worker is started."""

    def test_arguments(self) -> None:
        """Its number is all that its command line says, and its name is to be seen in it."""
        reactor = Spawning()
        process = launch_worker(reactor, 7, Silent())
        self.addCleanup(process.abandon)
        ((executable, args, env, descriptors),) = reactor.spawned
        self.assertEqual(args, [executable, "-P", "-m", "torpydo.node.workers", "7"])
        self.assertEqual({name for name in env if env[name] != os.environ.get(name)}, {"PYTHONPATH"})
        self.assertEqual(sorted(descriptors), [0, 1, 2, 3])

    def test_no_process(self) -> None:
        """If the system gives none, nothing stays open."""
        reactor = Spawning()
        reactor.broken = True
        before = len(os.listdir("/proc/self/fd"))
        self.assertRaises(BlockingIOError, launch_worker, reactor, 1, Silent())
        self.assertEqual((len(os.listdir("/proc/self/fd")), reactor.readers), (before, set()))

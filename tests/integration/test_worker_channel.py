"""What passes between the processes of a node with workers: a channel over a socket pair, and sockets out of it."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import wait_for
from torpydo.node.bounds import Bounds
from torpydo.node.carrier import open_gate
from torpydo.node.workers.channel import LOST, Channel
from torpydo.node.workers.handover import HandoverFactory
from torpydo.node.workers.messages import Leaving, LogLine, MessageReader, Stop, ToSupervisor, encode
from torpydo.node.workers.processes import CHANNEL, DEAF_TIME, WorkerProcess, launch_worker


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """This process can open so many files more."""
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(count + 1)]
    for descriptor in free:
        os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Recorder:
    """The owner of one end."""

    def __init__(self) -> None:
        self.data = b""
        self.descriptors: list[int] = []
        self.lost = 0
        self.given_up = 0

    def received(self, data: bytes, descriptors: Any) -> None:
        self.data += data
        self.descriptors += descriptors

    def gone(self) -> None:
        self.lost += 1

    def gave_up(self) -> None:
        self.given_up += 1


class ChannelTests(SynchronousTestCase):
    """Bytes in order, and descriptors with them."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sender, self.recorder = Recorder(), Recorder()
        self.left = Channel(self.reactor, left, self.sender.received, self.sender.gone, self.sender.gave_up)
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

    def test_no_room(self) -> None:
        """A process with as many open files as it may have still knows that there was a descriptor."""
        _, writing = self.pipe()
        self.left.send(b"x", writing)
        self.left.doWrite()
        with room_for(0):
            self.right.doRead()
        self.assertEqual((self.recorder.data, self.recorder.descriptors), (b"x", [LOST]))

    def refuse(self, number: int) -> None:
        """The system takes no descriptor."""

        def send_fds(*ignored: Any) -> int:
            raise OSError(number, os.strerror(number))

        self.patch(socket, "send_fds", send_fds)

    def test_too_many_under_way(self) -> None:
        """One that the system does not take is given up with its bytes, and its sender hears of it; the rest goes."""
        _, writing = self.pipe()
        self.refuse(errno.ETOOMANYREFS)
        self.left.send(b"before ")
        self.left.send(b"lost", writing)
        self.left.send(b"after")
        self.turn()
        self.assertEqual((self.recorder.data, self.recorder.descriptors), (b"before after", []))
        self.assertEqual((self.sender.given_up, self.sender.lost, self.left.queued), (1, 0, 0))
        self.assert_closed(writing)

    def test_write_that_fails(self) -> None:
        """Any other error is the end of the channel."""
        _, writing = self.pipe()
        self.refuse(errno.ENOBUFS)
        self.left.send(b"lost", writing)
        self.left.doWrite()
        self.assertEqual((self.sender.given_up, self.sender.lost), (0, 1))
        self.assert_closed(writing)

    def test_flush(self) -> None:
        """What waits can be written without a turn of the reactor; too much of it waits on, and the end is no error."""
        self.left.send(b"last words")
        self.left.flush()
        self.right.doRead()
        self.assertEqual(self.recorder.data, b"last words")
        self.left.send(os.urandom(3_000_000))
        self.left.flush()
        self.assertGreater(self.left.queued, 0)
        self.left.close()
        self.left.flush()
        self.assertEqual(self.sender.lost, 0)

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


class Removing(MemoryReactorClock):
    """A reactor that knows under which number each reader left it: the system needs the one it came with."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: list[int] = []

    def removeReader(self, reader: Any) -> None:
        """See ``IReactorFDSet``."""
        if reader in self.readers:
            self.removed.append(reader.fileno())
        super().removeReader(reader)


class HandoverTests(SynchronousTestCase):
    """A connection without its transport."""

    def setUp(self) -> None:
        self.reactor = Removing()
        self.hands: list[tuple[int, int]] = []
        gate = open_gate(Bounds.open(self.reactor), self.reactor)
        self.factory = HandoverFactory(lambda descriptor, family: self.hands.append((descriptor, family)), gate)

    def test_the_connection_stays(self) -> None:
        """The transport ends, and nobody at the other end of the connection notices."""
        ours, theirs = socket.socketpair()
        number = ours.fileno()
        self.addCleanup(theirs.close)
        theirs.setblocking(False)
        protocol = self.factory.buildProtocol(None)
        transport = Connection(ours, protocol, self.reactor)
        transport.connected = 1
        transport.startReading()
        protocol.makeConnection(transport)
        self.reactor.advance(1.0)
        ((descriptor, family),) = self.hands
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.reactor.removed, [number])
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
        self.process = protocol
        self.spawned.append((executable, args, env, childFDs))


class Silent:
    """Expects nothing of a process.

    :ivar heard: what happened to it all the same
    """

    def __init__(self) -> None:
        self.heard: list[str] = []

    def received(self, data: bytes) -> None:
        """Nothing comes."""

    def given_up(self) -> None:
        """A connection does not reach it."""
        self.heard.append("given up")

    def deaf(self) -> None:
        """Nothing reaches it any more."""
        self.heard.append("deaf")

    def ended(self, reason: str) -> None:
        """It is over."""
        self.heard.append(reason)


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
        before = open_files()
        self.assertRaises(BlockingIOError, launch_worker, reactor, 1, Silent())
        self.assertEqual((open_files(), reactor.readers), (before, set()))

    def test_no_files(self) -> None:
        """So it is if this process can open only some of the files that it takes, or none."""
        gc.disable()
        self.addCleanup(gc.enable)
        before = open_files()
        for count in range(3):
            with room_for(count):
                self.assertRaises(OSError, launch_worker, Spawning(), 1, Silent())
            self.assertEqual(open_files(), before)
        with room_for(3):
            launch_worker(Spawning(), 1, Silent()).abandon()
        self.assertEqual(open_files(), before)


class Signals:
    """The transport of a process: knows how it was killed."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def signalProcess(self, name: str) -> None:
        """It gets a signal."""
        self.sent.append(name)


class EndTests(SynchronousTestCase):
    """How a worker's process ends, from the side that started it."""

    def setUp(self) -> None:
        self.reactor = Spawning()
        self.owner = Silent()
        self.signals = Signals()
        self.process: WorkerProcess = launch_worker(self.reactor, 1, self.owner)
        self.addCleanup(self.process.abandon)
        self.process.makeConnection(self.signals)

    def lose_channel(self) -> None:
        """The other end is closed, as it is since no process was started."""
        for reader in list(self.reactor.readers):
            reader.doRead()

    def test_deaf(self) -> None:
        """One without a channel gets nothing any more, and is killed if it does not end."""
        self.lose_channel()
        self.assertEqual(self.owner.heard, ["deaf"])
        self.reactor.advance(DEAF_TIME - 0.1)
        self.assertEqual(self.signals.sent, [])
        self.reactor.advance(0.1)
        self.assertEqual(self.signals.sent, ["KILL"])

    def test_ends_in_time(self) -> None:
        """One that ends is not killed."""
        self.lose_channel()
        self.process.processEnded(Failure(ProcessTerminated(3)))
        self.assertEqual(self.owner.heard, ["deaf", "exit status 3"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_last_words(self) -> None:
        """What it printed is part of the reason, its end if it was much."""
        self.process.childDataReceived(2, b"a" * 10_000)
        self.process.childDataReceived(2, b"MemoryError \xff\n")
        self.process.processEnded(Failure(ProcessTerminated(signal=signal.SIGABRT)))
        (reason,) = self.owner.heard
        self.assertTrue(reason.startswith("ended by SIGABRT, and its last words were: aaa"), reason)
        self.assertTrue(reason.endswith("aMemoryError \ufffd"), reason)
        self.assertLess(len(reason), 5000)

    def test_given_up(self) -> None:
        """Its owner hears of a connection that could not be sent."""

        def send_fds(*ignored: Any) -> int:
            raise OSError(errno.ETOOMANYREFS, "Too many references")

        self.patch(socket, "send_fds", send_fds)
        self.process.send(b"x", os.open(os.devnull, os.O_RDONLY))
        for writer in list(self.reactor.writers):
            writer.doWrite()
        self.assertEqual(self.owner.heard, ["given up"])


class MainProgramTests(SynchronousTestCase):
    """A worker as it really is, without its supervisor."""

    def setUp(self) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(self.ours.close)
        self.ours.settimeout(20.0)
        arguments = [sys.executable, "-m", "torpydo.node.workers", "1"]
        with theirs:
            # The channel must be where a worker looks for it.
            program = f"import os; os.dup2({theirs.fileno()}, {CHANNEL}); os.execv({sys.executable!r}, {arguments})"
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(self.end)

    def end(self) -> None:
        """Whatever happened, it does not stay."""
        self.process.kill()
        self.process.communicate()

    def all_read(self) -> bool:
        """Whether it has read what it was sent."""
        return not any(fcntl.ioctl(self.ours, termios.TIOCOUTQ, bytes(4)))

    def said(self) -> list[ToSupervisor]:
        """All that it says until its end, which is a good one."""
        data = b""
        while part := self.ours.recv(65536):
            data += part
        out, _ = self.process.communicate(timeout=20.0)
        self.assertEqual((self.process.returncode, out), (0, b""))
        return MessageReader[ToSupervisor](ToSupervisor).receive(data)

    def test_last_line(self) -> None:
        """What it logs just before it ends arrives."""
        self.ours.sendall(bytes([0, 0, 0, 1, 0xC1]))
        line, leaving = self.said()
        assert isinstance(line, LogLine)
        self.assertIn("cannot be read", line.text)
        self.assertEqual(leaving, Leaving())

    def test_told_twice(self) -> None:
        """It is told to stop by its supervisor and by a signal, at the same time: it ends without a complaint."""
        # One byte is no message yet, but shows that it listens.
        self.ours.sendall(encode(Stop())[:1])
        wait_for(self.all_read, "the worker reads")
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        self.ours.sendall(encode(Stop())[1:])
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.said(), [Leaving()])

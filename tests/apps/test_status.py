"""Tests of torpydo.apps.status."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.status import (
    ANSWER_LIMIT,
    ANSWER_TIME,
    REQUEST_LIMIT,
    StatusFactory,
    read_status,
    remove_left_socket,
    status_endpoint,
)
from torpydo.errors import StateError


@attrs.frozen
class Circuit:
    """One row of a status."""

    path: tuple[str, ...] = ("a", "b")


@attrs.frozen
class Status:
    """What a client might say."""

    nodes: int = 5
    circuits: tuple[Circuit, ...] = (Circuit(),)


@attrs.frozen
class Row:
    """What a process might say."""

    uptime: float = 3.5


class ClientDouble:
    """Has a status."""

    def status(self) -> Status:
        """The same every time."""
        return Status()


class StatusProtocolTests(SynchronousTestCase):
    """The side of the client."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.protocol = StatusFactory(ClientDouble(), self.clock).buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def answers(self) -> list[Any]:
        """What was answered so far."""
        return [json.loads(line) for line in self.transport.value().split(b"\n")[:-1]]

    def test_the_status_is_one_line_of_json(self) -> None:
        """Values inside values come along."""
        self.protocol.dataReceived(b"status\n")
        self.assertEqual(self.answers(), [{"nodes": 5, "circuits": [{"path": ["a", "b"]}]}])

    def test_several_that_have_something_to_say(self) -> None:
        """It is one answer, in their order; who has nothing to say for now is left out."""

        class Process:
            def status(self) -> Row:
                return Row()

        class Nobody:
            def status(self) -> None:
                return None

        self.protocol = StatusFactory(ClientDouble(), self.clock, Nobody(), Process()).buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(b"status\n")
        self.assertEqual([list(answer) for answer in self.answers()], [["nodes", "circuits", "uptime"]])

    def test_a_request_may_come_in_pieces(self) -> None:
        """A line ends where its newline is, not where a read ends."""
        for byte in b"status\r\nsta":
            self.protocol.dataReceived(bytes([byte]))
        self.assertEqual(len(self.answers()), 1)
        self.protocol.dataReceived(b"tus\n")
        self.assertEqual(len(self.answers()), 2)

    def test_another_request_is_told_so(self) -> None:
        """The connection stays usable."""
        self.protocol.dataReceived(b"new-identity\nstatus\n")
        self.assertEqual([sorted(answer) for answer in self.answers()], [["error"], ["circuits", "nodes"]])

    def test_a_long_line_ends_the_connection(self) -> None:
        """Nobody makes the client keep what it did not ask for."""
        self.protocol.dataReceived(b"x" * (REQUEST_LIMIT + 1))
        self.assertTrue(self.transport.disconnecting)

    def test_silence_ends_the_connection(self) -> None:
        """Each request begins the time again."""
        self.clock.advance(ANSWER_TIME - 1)
        self.protocol.dataReceived(b"status\n")
        self.clock.advance(ANSWER_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)

    def test_nothing_is_left_after_the_end(self) -> None:
        """No timer outlives its connection."""
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_socket_of_a_directory_at_home(self) -> None:
        """It is where the directory itself is."""
        status_endpoint(self.clock, "~/state").listen(StatusFactory(ClientDouble(), self.clock))
        self.assertEqual(self.clock.unixServers[0][0], os.path.expanduser("~/state/status.sock"))
        asked: Deferred[object] = Deferred.fromCoroutine(read_status(self.clock, "~/state"))
        path, factory = self.clock.unixClients[0][:2]
        self.assertEqual(path, os.path.expanduser("~/state/status.sock"))
        factory.clientConnectionFailed(None, Failure(Refused()))
        self.failureResultOf(asked, StateError)

    def test_the_socket_is_private(self) -> None:
        """Only the client's own user may ask; no lock beside it names a process that is another one later."""
        status_endpoint(self.clock, "/state").listen(StatusFactory(ClientDouble(), self.clock))
        [(path, _, _, mode, want_pid)] = self.clock.unixServers
        self.assertEqual((path, mode, want_pid), ("/state/status.sock", 0o600, False))


class LeftTests(SynchronousTestCase):
    """What a killed process leaves."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path, self.lock = self.directory / "status.sock", self.directory / "status.sock.lock"

    def test_it_is_removed(self) -> None:
        """A lock of before too, whatever process it names; nothing at all is left of it."""
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))
        self.lock.symlink_to("1")
        remove_left_socket(str(self.directory))
        self.assertEqual(os.listdir(self.directory), [])
        remove_left_socket(str(self.directory))

    def test_anything_else_stays(self) -> None:
        """Files are somebody's."""
        self.path.write_text("dear")
        self.lock.write_text("diary")
        remove_left_socket(str(self.directory))
        self.assertEqual(self.path.read_text() + self.lock.read_text(), "deardiary")


class ReadTests(SynchronousTestCase):
    """The side of the command."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.reading: Deferred[dict[str, Any]] = Deferred.fromCoroutine(read_status(self.clock, "/state"))
        self.path, factory = self.clock.unixClients[0][:2]
        self.protocol: Any = factory.buildProtocol(None)
        self.factory = factory
        self.transport = StringTransport()

    def answer(self, data: bytes) -> None:
        """Connect, answer, and close."""
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(data)
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def test_the_answer_is_the_status(self) -> None:
        """It asks at the socket in the state directory."""
        self.answer(b'{"nodes": 5}\n')
        self.assertEqual(self.successResultOf(self.reading), {"nodes": 5})
        self.assertEqual((self.path, self.transport.value()), ("/state/status.sock", b"status\n"))

    def test_nobody_there_is_said_with_the_path(self) -> None:
        """The user learns what to look at."""
        self.factory.clientConnectionFailed(None, Failure(Refused()))
        error = self.failureResultOf(self.reading, StateError).value
        self.assertIn("/state/status.sock", str(error))

    def test_a_path_that_no_socket_has(self) -> None:
        """It is said as that, and nothing is tried."""
        tried = len(self.clock.unixClients)
        asked: Deferred[object] = Deferred.fromCoroutine(read_status(self.clock, f"/{'x' * 120}"))
        self.assertIn("107 bytes", str(self.failureResultOf(asked, StateError).value))
        self.assertEqual(len(self.clock.unixClients), tried)

    def test_what_is_no_status_is_refused(self) -> None:
        """Half a line, another protocol, JSON of another shape, or deeper than anybody reads."""
        for data in (b"", b'{"nodes": 5}', b"220 mail\n", b"[1]\n", b"\xff\n", b"[" * 5000 + b"\n"):
            self.setUp()
            self.answer(data)
            self.failureResultOf(self.reading, StateError)

    def test_an_endless_answer_is_cut_off(self) -> None:
        """It is not kept in memory."""
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(b"x" * (ANSWER_LIMIT + 1))
        self.assertTrue(self.transport.disconnecting)
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(self.reading, StateError)

    def test_silence_is_an_error(self) -> None:
        """A client that hangs does not make the command hang."""
        self.protocol.makeConnection(self.transport)
        self.clock.advance(ANSWER_TIME)
        self.failureResultOf(self.reading, StateError)

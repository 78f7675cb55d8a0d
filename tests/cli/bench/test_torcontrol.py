"""Tests of torpydo.cli.bench.torcontrol."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.torcontrol import MOST_BYTES, Circuits, ControlConnection, ControlParser, Reply
from torpydo.errors import CircuitBuildError, RemoteProtocolError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
LINES = st.tuples(TEXT, st.none() | st.lists(TEXT, max_size=4))


def encode(status: int, lines: list[tuple[str, list[str] | None]]) -> bytes:
    """A reply as tor writes it; the data of a line, if it has any, follows it. The last line has none."""
    out = []
    for number, (text, data) in enumerate(lines):
        last = number == len(lines) - 1
        out.append(f"{status}{' ' if last else '-' if data is None else '+'}{text}")
        if data is not None and not last:
            out += [f".{line}" if line.startswith(".") else line for line in data] + ["."]
    return "".join(f"{line}\r\n" for line in out).encode()


def decoded(status: int, lines: list[tuple[str, list[str] | None]]) -> Reply:
    """What the parser is to make of it."""
    return Reply(
        status,
        tuple(
            "\n".join([text, *(data or [])]) if number < len(lines) - 1 else text
            for number, (text, data) in enumerate(lines)
        ),
    )


class ControlParserTests(SynchronousTestCase):
    """Replies out of bytes."""

    @given(st.lists(st.tuples(st.integers(100, 999), st.lists(LINES, min_size=1, max_size=4)), max_size=4), st.data())
    def test_replies_come_out_however_the_bytes_are_cut(
        self, replies: list[tuple[int, list[tuple[str, list[str] | None]]]], data: st.DataObject
    ) -> None:
        """Whatever tor says is read, in pieces of any size."""
        sent = b"".join(encode(*reply) for reply in replies)
        parser, found, place = ControlParser(), [], 0
        while place < len(sent):
            size = data.draw(st.integers(1, len(sent) - place))
            found += parser.receive_data(sent[place : place + size])
            place += size
        self.assertEqual(found, [decoded(*reply) for reply in replies])

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_refused(self, data: bytes) -> None:
        """Nothing but a protocol error comes of what another program sends."""
        try:
            ControlParser().receive_data(data)
        except RemoteProtocolError:
            return

    def test_a_status_that_changes_within_a_reply_is_refused(self) -> None:
        """All lines of a reply have one status."""
        self.assertRaises(RemoteProtocolError, ControlParser().receive_data, b"250-one\r\n251 two\r\n")

    def test_a_reply_without_end_is_refused(self) -> None:
        """Memory is bounded."""
        self.assertRaises(RemoteProtocolError, ControlParser().receive_data, b"x" * (MOST_BYTES + 1))

    def test_many_replies_at_once_are_no_long_reply(self) -> None:
        """The bound is for each reply alone."""
        line = b"650 CIRC 1 BUILT " + b"x" * 1000 + b"\r\n"
        self.assertEqual(len(ControlParser().receive_data(line * 2000)), 2000)


class ConnectionCase(SynchronousTestCase):
    """With a connection to a tor that the test plays."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.connection = ControlConnection()
        self.connection.makeConnection(self.transport)

    def said(self) -> list[str]:
        """The commands that were sent since the last call."""
        lines = self.transport.value().decode().split("\r\n")
        self.transport.clear()
        return lines[:-1]

    def reply(self, *lines: str) -> None:
        """Let tor say *lines*."""
        self.connection.dataReceived("".join(f"{line}\r\n" for line in lines).encode())


class ControlConnectionTests(ConnectionCase):
    """Commands and replies."""

    def test_replies_go_to_the_commands_in_order(self) -> None:
        """Several may be under way."""
        one, two = self.connection.command("ONE"), self.connection.command("TWO")
        self.assertEqual(self.said(), ["ONE", "TWO"])
        self.reply("250 first", "551 second")
        self.assertEqual(self.successResultOf(one), Reply(250, ("first",)))
        self.assertEqual(self.successResultOf(two), Reply(551, ("second",)))

    def test_events_are_no_replies(self) -> None:
        """They may come between a command and its reply."""
        events: list[Reply] = []
        self.connection.on_event = events.append
        answer = self.connection.command("ONE")
        self.reply("650 CIRC 1 BUILT")
        self.assertNoResult(answer)
        self.assertEqual(events, [Reply(650, ("CIRC 1 BUILT",))])

    def test_a_refusal_is_said_without_the_arguments(self) -> None:
        """A command may carry a secret."""
        asked = Deferred.fromCoroutine(self.connection.ask("AUTHENTICATE secret"))
        self.reply("515 Bad authentication")
        error = self.failureResultOf(asked, RemoteProtocolError).value
        self.assertEqual(str(error), "tor refused 'AUTHENTICATE': 515 Bad authentication")

    def test_a_lost_connection_fails_what_waits_and_what_comes(self) -> None:
        """Nobody waits for ever."""
        waiting = self.connection.command("ONE")
        self.connection.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(waiting, RemoteProtocolError)
        self.failureResultOf(self.connection.command("TWO"), RemoteProtocolError)

    def test_another_program_ends_the_connection(self) -> None:
        """What is no reply is not waited for."""
        waiting = self.connection.command("ONE")
        self.reply("HTTP/1.1 400 Bad Request")
        self.failureResultOf(waiting, RemoteProtocolError)
        self.assertTrue(self.transport.disconnecting)


class CircuitsTests(ConnectionCase):
    """Building circuits by command."""

    def setUp(self) -> None:
        super().setUp()
        self.circuits = Circuits(self.connection, ["AA", "BB", "CC"])

    def test_a_circuit_is_built_when_tor_says_so(self) -> None:
        """Not when the command is answered, and not by the events of others."""
        building = Deferred.fromCoroutine(self.circuits.build())
        self.assertEqual(self.said(), ["EXTENDCIRCUIT 0 AA,BB,CC"])
        self.reply("250 EXTENDED 7", "650 CIRC 6 BUILT", "650 CIRC 7 EXTENDED $AA", "650 STREAM 7 NEW")
        self.assertNoResult(building)
        self.reply("650 CIRC 7 BUILT $AA,$BB,$CC")
        self.assertEqual(self.successResultOf(building), "7")

    def test_a_circuit_that_fails_says_why(self) -> None:
        """With the reasons that tor gives."""
        building = Deferred.fromCoroutine(self.circuits.build())
        self.reply("250 EXTENDED 7", "650 CIRC 7 FAILED $AA REASON=DESTROYED REMOTE_REASON=OR_CONN_CLOSED")
        error = self.failureResultOf(building, CircuitBuildError).value
        self.assertIn("REASON=DESTROYED REMOTE_REASON=OR_CONN_CLOSED", str(error))

    def test_an_event_in_the_same_read_as_the_reply_counts(self) -> None:
        """The circuit is known by the time its event is looked at."""
        building = Deferred.fromCoroutine(self.circuits.build())
        self.reply("250 EXTENDED 7", "650 CIRC 7 BUILT")
        self.assertEqual(self.successResultOf(building), "7")

    def test_many_are_asked_for_at_once(self) -> None:
        """All commands leave before the first reply."""
        building = Deferred.fromCoroutine(self.circuits.build_many(2))
        self.assertEqual(len(self.said()), 2)
        self.reply("250 EXTENDED 7", "250 EXTENDED 8", "650 CIRC 8 BUILT", "650 CIRC 7 BUILT")
        self.assertEqual(sorted(self.successResultOf(building)), ["7", "8"])

    def test_one_failure_closes_the_others(self) -> None:
        """A figure of fewer circuits would be another figure."""
        building = Deferred.fromCoroutine(self.circuits.build_many(2))
        self.said()
        self.reply("250 EXTENDED 7", "551 No such router", "650 CIRC 7 BUILT")
        self.assertEqual(self.said(), ["CLOSECIRCUIT 7"])
        self.reply("250 OK")
        self.failureResultOf(building, CircuitBuildError)

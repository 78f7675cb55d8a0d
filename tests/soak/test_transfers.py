"""Tests of tests.soak.transfers, tests.soak.sending and tests.soak.outcomes: what each end is taken for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.soak.dialing import Door, SOCKSDial
from tests.soak.outcomes import Ending, Outcome, Tally
from tests.soak.pacing import Pacer
from tests.soak.sending import Echo, PingPong, Upload
from tests.soak.transfers import Download, Refusal, Transfer
from tests.soak.truth import Truth

GREETED = b"\x05\x02\x01\x00"
OPEN = GREETED + b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
SEED, SIZE = 9, 100_000


@attrs.define(eq=False)
class Wire:
    """A transport that notes what is done to it, and closes when it is told to."""

    protocol: Transfer
    written: bytes = b""
    ended: bool = False
    closed: bool = False
    reading: bool = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseWriteConnection(self) -> None:
        self.ended = True

    def loseConnection(self) -> None:
        self._close(ConnectionDone())

    def abortConnection(self) -> None:
        self._close(ConnectionLost())

    def _close(self, error: Exception) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connectionLost(Failure(error))


class TransferTestCase(SynchronousTestCase):
    """Has the clock, and makes connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pacer = Pacer(1e9, self.clock.seconds)
        self.trips: list[float] = []

    def make(self, kind: Callable[..., Transfer], **options: Any) -> Transfer:
        """A transfer whose tunnel is open."""
        transfer = kind(Door(1, SOCKSDial("h", 1, "u")), self.pacer, self.clock, **options)
        transfer.makeConnection(Wire(transfer))
        transfer.dataReceived(OPEN)
        return transfer

    def ending(self, transfer: Transfer, end: Callable[[Transfer], None]) -> Ending:
        """How it ends when the connection does this."""
        end(transfer)
        outcome: Outcome = self.successResultOf(transfer.done)
        return outcome.ending


def in_order(transfer: Transfer) -> None:
    """The other side ends."""
    transfer.readConnectionLost()


def torn(transfer: Transfer) -> None:
    """The connection is reset."""
    transfer.connectionLost(Failure(ConnectionLost()))


class DownloadTests(TransferTestCase):
    """Downloads."""

    def download(self, received: int, **options: Any) -> Transfer:
        """One that has so many bytes."""
        transfer = self.make(Download, seed=SEED, size=SIZE, **options)
        transfer.dataReceived(Truth(SEED).read(0, received))
        return transfer

    def test_everything_and_an_end(self) -> None:
        """It asked, everything came, and then the end."""
        transfer = self.download(SIZE)
        self.assertTrue(transfer.transport.written.endswith(b"GET 9 100000\n"))
        self.assertIs(self.ending(transfer, in_order), Ending.OK)

    def test_an_end_too_soon(self) -> None:
        """In good order it would be taken for the whole: never. Torn it is an error, in whatever place."""
        for received in (0, 1, SIZE - 1):
            self.assertIs(self.ending(self.download(received), in_order), Ending.CORRUPT)
            self.assertIs(self.ending(self.download(received), torn), Ending.ERROR)

    def test_a_wrong_byte(self) -> None:
        """It ends the transfer at once."""
        transfer = self.download(10)
        transfer.dataReceived(Truth(SEED).read(11, 100))
        self.assertIs(self.successResultOf(transfer.done).ending, Ending.CORRUPT)

    def test_a_byte_too_many(self) -> None:
        """It is wrong."""
        transfer = self.download(SIZE)
        transfer.dataReceived(b"x")
        self.assertIs(self.successResultOf(transfer.done).ending, Ending.CORRUPT)

    def test_a_reset_of_the_destination(self) -> None:
        """It must be seen as one."""
        self.assertIs(self.ending(self.download(50, cut=True), torn), Ending.OK)
        self.assertIs(self.ending(self.download(50, cut=True), in_order), Ending.CORRUPT)
        self.assertIs(self.ending(self.download(SIZE, cut=True), in_order), Ending.CORRUPT)

    def test_reset_from_this_side(self) -> None:
        """It has ended as it was to."""
        transfer = self.download(500, abort_at=400)
        self.assertIs(self.successResultOf(transfer.done).ending, Ending.OK)
        self.assertTrue(transfer.transport.closed)

    def test_a_slow_reader_does_not_read(self) -> None:
        """But goes on later, a second at the most."""
        transfer = self.download(50_000, slow=50_000)
        self.assertFalse(transfer.transport.reading)
        self.clock.advance(1.0)
        self.assertTrue(transfer.transport.reading)
        self.assertEqual(transfer.last_move, 1.0)


class OtherTests(TransferTestCase):
    """Everything else."""

    def test_an_upload(self) -> None:
        """It is over when the destination says how much was right."""
        transfer = self.make(Upload, seed=SEED, size=SIZE)
        self.assertTrue(transfer.transport.written.endswith(b"PUT 9 100000\n" + Truth(SEED).read(0, SIZE)))
        transfer.dataReceived(b"OK 100000\n")
        self.assertIs(self.ending(transfer, in_order), Ending.OK)

    def test_an_upload_without_an_answer(self) -> None:
        """An end in good order would be taken for success."""
        for answer, end, ending in (
            (b"", in_order, Ending.CORRUPT),
            (b"OK 1000", in_order, Ending.CORRUPT),
            (b"", torn, Ending.ERROR),
        ):
            transfer = self.make(Upload, seed=SEED, size=SIZE)
            transfer.dataReceived(answer)
            self.assertIs(self.ending(transfer, end), ending)

    def test_an_upload_that_was_wrong(self) -> None:
        """The destination says so."""
        transfer = self.make(Upload, seed=SEED, size=SIZE)
        transfer.dataReceived(b"WRONG 77\n")
        self.assertIs(self.successResultOf(transfer.done).ending, Ending.CORRUPT)

    def test_an_echo(self) -> None:
        """This side ends when all is sent; the other when all has come back."""
        for received, ending in ((SIZE, Ending.OK), (SIZE - 1, Ending.CORRUPT)):
            transfer = self.make(Echo, seed=SEED, size=SIZE)
            self.assertTrue(transfer.transport.ended)
            transfer.dataReceived(Truth(SEED).read(0, received))
            self.assertIs(self.ending(transfer, in_order), ending)

    def test_ping_pong(self) -> None:
        """Each message waits for the one before, and its time is told."""
        transfer = self.make(PingPong, seed=SEED, trips=2, message=10, tell=self.trips.append)
        for trip in (0, 1):
            self.assertTrue(transfer.transport.written.endswith(Truth(SEED).read(10 * trip, 10)))
            self.clock.advance(0.5)
            transfer.dataReceived(Truth(SEED).read(10 * trip, 10))
        self.assertEqual((self.trips, self.successResultOf(transfer.done).ending), ([0.5, 0.5], Ending.OK))

    def refusal(self, answer: bytes) -> Ending:
        """What becomes of an attempt that must not succeed."""
        answers = frozenset({"SOCKS 5"})
        transfer = Refusal(Door(1, SOCKSDial("h", 1, "u")), self.pacer, self.clock, answers=answers)
        transfer.makeConnection(Wire(transfer))
        transfer.dataReceived(answer)
        outcome: Outcome = self.successResultOf(transfer.done)
        return outcome.ending

    def test_a_refusal(self) -> None:
        """The right word is right, another one is an error, and success is wrong."""
        replies = (b"\x05\x05\x00\x01", b"\x05\x01\x00\x01", b"\x05\x00\x00\x01")
        endings = [self.refusal(GREETED + reply + bytes(6)) for reply in replies]
        self.assertEqual(endings, [Ending.OK, Ending.ERROR, Ending.CORRUPT])

    def test_no_answer_of_a_proxy(self) -> None:
        """A torn connection is an error, an end in good order is not an answer, and neither is nonsense."""
        for answer, end, ending in (
            (b"", torn, Ending.ERROR),
            (GREETED, in_order, Ending.WRONG),
            (b"HTTP/1.1 400 Bad\r\n", lambda transfer: None, Ending.WRONG),
        ):
            transfer = Download(Door(1, SOCKSDial("h", 1, "u")), self.pacer, self.clock, seed=1, size=1)
            transfer.makeConnection(Wire(transfer))
            transfer.dataReceived(answer)
            self.assertIs(self.ending(transfer, end), ending)


class PaceTests(TransferTestCase):
    """How fast all of them are together."""

    def test_the_bucket(self) -> None:
        """A quarter of a second may come at once; what is more adds up, and an hour of silence does not."""
        pacer = Pacer(100.0, self.clock.seconds)
        self.clock.advance(3600.0)
        self.assertEqual([pacer.take(25), pacer.take(100), pacer.take(100)], [0.0, 1.0, 2.0])
        self.clock.advance(1.5)
        self.assertEqual(pacer.take(50), 1.0)

    def test_reading(self) -> None:
        """What is beyond the rate waits."""
        self.pacer = Pacer(100_000, self.clock.seconds)
        transfer = self.make(Download, seed=SEED, size=SIZE)
        transfer.dataReceived(Truth(SEED).read(0, 75_000))
        self.assertFalse(transfer.transport.reading)
        self.clock.advance(0.49)
        self.assertFalse(transfer.transport.reading)
        self.clock.advance(0.02)
        self.assertTrue(transfer.transport.reading)

    def test_writing(self) -> None:
        """A piece at a time."""
        self.pacer = Pacer(100_000, self.clock.seconds)
        transfer = self.make(Upload, seed=SEED, size=SIZE)
        self.assertLess(len(transfer.transport.written), SIZE)
        self.clock.pump([0.1] * 10)
        self.assertTrue(transfer.transport.written.endswith(Truth(SEED).read(0, SIZE)))


class TallyTests(SynchronousTestCase):
    """The sum of all outcomes."""

    def test_counts(self) -> None:
        """By ending, kind and cause, with examples of what was wrong."""
        tally = Tally()
        for ending, why in ((Ending.OK, ""), (Ending.ERROR, "torn"), (Ending.ERROR, "torn"), (Ending.CORRUPT, "short")):
            tally.add(Outcome(ending, "download", why, 10, 0.5))
        self.assertEqual((tally.count, tally.size, tally.errors["torn"]), (4, 40, 2))
        self.assertEqual(tally.wrong, ["corrupt: download: short"])

"""Tests for torpydo.testing.faultline: what each fault does to the bytes of one direction."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.pairs import Pair
from torpydo.testing import (
    BlackHole,
    Delay,
    Drop,
    DropRecord,
    Duplicate,
    FaultError,
    Flip,
    FlipInRecord,
    Freeze,
    HalfClose,
    Insert,
    Rate,
    RepeatRecord,
    Reset,
    Split,
    SwapRecords,
    Truncate,
    split_after,
)
from torpydo.testing.faultline import Line, Signal
from torpydo.testing.faults import Edit, Fault
from torpydo.testing.records import record_readers

DATA = bytes(range(200))
OFFSETS = st.integers(0, 220)
SIZES = st.integers(1, 30)
EDITS = st.one_of(
    st.builds(Flip, OFFSETS, st.integers(0, 7)),
    st.builds(Insert, OFFSETS, st.binary(min_size=1, max_size=5)),
    st.builds(Drop, OFFSETS, SIZES),
    st.builds(Duplicate, OFFSETS, SIZES),
)


def drain(line: Line, now: float = 0.0) -> tuple[bytes, list[Signal]]:
    """All bytes and signals that are due."""
    data, signals = bytearray(), []
    while (action := line.take(now)) is not None:
        if isinstance(action, bytes):
            data += action
        else:
            signals.append(action)
    return bytes(data), signals


def through(*faults: Fault, data: bytes = DATA, cuts: list[int] | None = None, now: float = 0.0) -> Line:
    """A line with faults that has received *data*, cut anywhere."""
    line = Line()
    line.set(faults, now)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or [])})
    for start, end in pairwise(edges):
        line.receive(data[start:end], now)
    return line


def edited(data: bytes, fault: Edit) -> bytes:
    """The same as a fault is to do, in one line."""
    match fault:
        case Flip(offset=at, bit=bit):
            return data[:at] + bytes(byte ^ 1 << bit for byte in data[at : at + 1]) + data[at + 1 :]
        case Insert(offset=at, data=more):
            return data[:at] + more + data[at:] if at < len(data) else data
        case Drop(offset=at, size=size):
            return data[:at] + data[at + size :]
        case Duplicate(offset=at, size=size):
            end = at + size
            return data[:end] + data[at:end] + data[end:] if end <= len(data) else data


class EditTests(SynchronousTestCase):
    """Bytes that are changed."""

    @given(EDITS, st.lists(st.integers(0, 200), max_size=5))
    def test_any_edit_however_the_bytes_come(self, fault: Edit, cuts: list[int]) -> None:
        """The result is what the fault says, and it was counted if it was done."""
        line = through(fault, cuts=cuts)
        expected = edited(DATA, fault)
        self.assertEqual(drain(line), (expected, []))
        self.assertEqual(line.done[type(fault)], int(expected != DATA))
        self.assertEqual((line.received, line.delivered, line.held), (len(DATA), len(expected), 0))

    def test_several(self) -> None:
        """Offsets are those of the sender, whatever other faults have done before them."""
        line = through(Insert(0, b"before"), Drop(1, 3), Flip(5), Duplicate(10, 2), Flip(199, 7))
        changed = b"before\x00\x04\x04\x06\x07\x08\x09\x0a\x0b\x0a\x0b" + DATA[12:199] + b"\x47"
        self.assertEqual(drain(line)[0], changed)

    def test_from_the_middle_on(self) -> None:
        """Faults that are set later count from the beginning all the same; what is behind them never happens."""
        line = through(data=DATA[:100])
        line.set([Flip(99), Flip(100)], 0.0)
        line.receive(DATA[100:], 0.0)
        self.assertEqual(drain(line)[0], DATA[:100] + b"\x65" + DATA[101:])
        self.assertEqual(line.done, {Flip: 1})

    def test_nothing(self) -> None:
        """Without faults everything goes on as it is, and nothing is counted."""
        line = through()
        line.receive_end(0.0)
        self.assertEqual(drain(line), (DATA, [Signal.EOF]))
        self.assertEqual(line.done, {})

    def test_values_that_mean_nothing(self) -> None:
        """They are refused at once."""
        for make in (
            lambda: Flip(-1),
            lambda: Flip(0, 8),
            lambda: Drop(0, 0),
            lambda: Delay(0),
            lambda: Rate(-1),
            lambda: Truncate(-1),
        ):
            self.assertRaises(ValueError, make)


class PaceTests(SynchronousTestCase):
    """Bytes that take their time."""

    def test_delay(self) -> None:
        """Bytes and ends come out later, each by the same time."""
        line = through(Delay(0.5), now=10.0)
        line.receive_end(10.2)
        self.assertEqual((line.next_due(), drain(line, 10.4)), (10.5, (b"", [])))
        self.assertEqual(drain(line, 10.6), (DATA, []))
        self.assertEqual(drain(line, 10.7), (b"", [Signal.EOF]))
        self.assertEqual(line.done, {Delay: 2})

    def test_rate(self) -> None:
        """So many bytes a second come out, evenly, and the end after the last."""
        line = through(Rate(20), now=10.0)
        line.receive_end(10.0)
        got = []
        for tenth in range(102):
            got.append(len(drain(line, 10.0 + tenth / 10)[0]))
        self.assertEqual((sum(got), max(got)), (200, 2))
        self.assertApproximates(sum(got[:51]), 100, 1)
        self.assertIsNone(line.next_due())

    def test_rate_and_delay(self) -> None:
        """The line is as slow, and as long as well."""
        line = through(Rate(100), Delay(3.0))
        self.assertEqual(drain(line, 3.0)[0], b"")
        size = 0
        for hundredth in range(300, 402):
            size += len(drain(line, hundredth / 100)[0])
        self.assertApproximates(size, 100, 1)

    def test_idle_line(self) -> None:
        """Time in which nothing was sent is not saved up."""
        line = through(Rate(100), data=b"")
        line.receive(DATA, 50.0)
        self.assertEqual(drain(line, 50.0)[0], b"")
        self.assertAlmostEqual(line.next_due() or 0, 50.01)

    def pieces(self, line: Line) -> list[int]:
        """The sizes of what goes out."""
        sizes = []
        while isinstance(action := line.take(0.0), bytes):
            sizes.append(len(action))
        return sizes

    def test_split(self) -> None:
        """Of one size, byte by byte, or as a function says."""
        self.assertEqual(self.pieces(through(Split(70))), [70, 70, 60])
        self.assertEqual(self.pieces(through(Split(1))), [1] * 200)
        self.assertEqual(self.pieces(through(Split(split_after([1, 9, 40])))), [1, 9, 40, 150])
        line = through(Split(70))
        self.pieces(line)
        self.assertEqual(line.done, {Split: 2})

    def test_split_with_pauses(self) -> None:
        """The next piece waits."""
        line = through(Split(150, pause=1.0))
        self.assertEqual([len(drain(line, now)[0]) for now in (0.0, 0.9, 1.0)], [150, 0, 50])

    @given(st.integers(0, 2**32))
    def test_nothing_is_lost(self, seed: int) -> None:
        """Whatever time, rate and pieces do, the bytes are the same."""
        random = Random(seed)
        line = through(Delay(0.1), Rate(50), Split(lambda there: random.randint(1, there)))
        line.receive_end(0.0)
        out, now = b"", 0.0
        while (due := line.next_due()) is not None:
            self.assertGreaterEqual(due, now)
            now = due
            out += drain(line, now)[0]
        self.assertEqual(out, DATA)
        self.assertAlmostEqual(now, 4.1)


class EndTests(SynchronousTestCase):
    """Connections that end, or should."""

    def test_ends(self) -> None:
        """What came before is delivered whole, then the end comes, and nothing after it."""
        for fault, signal in (
            (Truncate(50), Signal.CLOSE),
            (HalfClose(50), Signal.EOF),
            (Reset(50), Signal.RESET),
        ):
            line = through(fault, cuts=[20, 120])
            line.receive_end(0.0)
            self.assertEqual(drain(line), (DATA[:50], [signal]))
            self.assertEqual(line.done, {type(fault): 1})

    def test_at_once(self) -> None:
        """After 0 bytes is before the first, and when the fault is set later it is then."""
        line = Line()
        line.set([Reset()], 0.0)
        self.assertTrue(line.stops)
        self.assertEqual(drain(line), (b"", [Signal.RESET]))
        line = through()
        line.set([HalfClose()], 0.0)
        self.assertEqual(drain(line), (DATA, [Signal.EOF]))

    def test_exactly_behind_the_last_byte(self) -> None:
        """The end does not wait for another byte."""
        self.assertEqual(drain(through(Truncate(200))), (DATA, [Signal.CLOSE]))
        self.assertEqual(drain(through(Truncate(201))), (DATA, []))

    def test_the_senders_ends(self) -> None:
        """They are passed on behind what waits."""
        for reset, signal in ((False, Signal.EOF), (True, Signal.RESET)):
            line = through(Delay(1))
            line.receive_end(0.0, reset=reset)
            self.assertEqual(drain(line, 1.0), (DATA, [signal]))

    def test_black_hole(self) -> None:
        """Everything is taken and nothing delivered, not even the end: the connection stays."""
        line = through(BlackHole(50))
        line.receive_end(0.0)
        self.assertEqual(drain(line), (DATA[:50], []))
        self.assertEqual((line.keeps, line.held, line.frozen), (True, 0, False))

    def test_black_hole_that_is_over(self) -> None:
        """What was swallowed is gone; what comes now passes, or the end that nobody was told of."""
        line = through(BlackHole(50))
        line.set([], 0.0)
        line.receive(b"again", 0.0)
        self.assertEqual(drain(line), (DATA[:50] + b"again", []))
        line = through(BlackHole(50))
        line.receive_end(0.0, reset=True)
        line.set([], 0.0)
        self.assertEqual(drain(line), (DATA[:50], [Signal.RESET]))

    def test_freeze(self) -> None:
        """What was read already waits; when the fault is over everything goes, through the faults that hold then."""
        line = through(Freeze(50))
        self.assertEqual(drain(line), (DATA[:50], []))
        self.assertEqual((line.frozen, line.held), (True, 150))
        line.receive_end(0.0)
        line.set([Flip(60)], 0.0)
        self.assertEqual(drain(line), (edited(DATA, Flip(60))[50:], [Signal.EOF]))
        self.assertEqual((line.frozen, line.received), (False, 200))

    def test_what_is_over_stays_over(self) -> None:
        """Healing does not bring a connection back."""
        line = through(HalfClose(50))
        line.set([], 0.0)
        line.receive(DATA, 0.0)
        self.assertEqual(drain(line), (DATA[:50], [Signal.EOF]))

    def test_abandoned(self) -> None:
        """Nothing is due for nobody."""
        line = through(Delay(5))
        line.abandon()
        line.receive(DATA, 1.0)
        self.assertEqual((line.next_due(), line.held, line.keeps), (None, 0, False))


class RecordTests(SynchronousTestCase):
    """Faults of whole records, which need the keys of one end."""

    def setUp(self) -> None:
        """A link, and five records of its initiator as they are on the wire."""
        self.pair = Pair()
        self.line = Line()
        self.line.records, _ = record_readers(self.pair.initiator)
        self.first = self.line.records.number
        self.records = []
        for size in (1, 3, 2, 1, 5):
            for _ in range(size):
                self.pair.initiator.send_padding()
            self.records.append(self.pair.initiator.data_to_send())

    def out(self, fault: Fault, piece: int = 777) -> list[int]:
        """Which records come out, in which order, if they come in pieces."""
        self.line.set([fault], 0.0)
        data = b"".join(self.records)
        for start in range(0, len(data), piece):
            self.line.receive(data[start : start + piece], 0.0)
        out, numbers = drain(self.line)[0], []
        while out:
            number = next(number for number, record in enumerate(self.records) if out.startswith(record))
            numbers.append(number)
            out = out[len(self.records[number]) :]
        return numbers

    def test_dropped(self) -> None:
        """One is missing."""
        self.assertEqual(self.out(DropRecord(self.first + 1)), [0, 2, 3, 4])

    def test_swapped(self) -> None:
        """One comes after the next."""
        self.assertEqual(self.out(SwapRecords(self.first + 1)), [0, 2, 1, 3, 4])

    def test_repeated(self) -> None:
        """One comes again at once."""
        self.assertEqual(self.out(RepeatRecord(self.first + 1)), [0, 1, 1, 2, 3, 4])

    def test_repeated_later(self) -> None:
        """One comes again after two more."""
        self.assertEqual(self.out(RepeatRecord(self.first + 1, after=2)), [0, 1, 2, 3, 1, 4])
        self.assertEqual(self.line.done, {RepeatRecord: 1})

    def test_byte_by_byte(self) -> None:
        """However they come."""
        self.assertEqual(self.out(SwapRecords(self.first), piece=1), [1, 0, 2, 3, 4])

    def test_in_one_piece(self) -> None:
        """All at once."""
        self.assertEqual(self.out(SwapRecords(self.first + 3), piece=10**6), [0, 1, 2, 4, 3])

    def test_swapped_at_the_end(self) -> None:
        """If the next one never comes, what was held back goes before the end."""
        self.assertEqual(self.out(SwapRecords(self.first + 4)), [0, 1, 2, 3])
        self.line.receive_end(0.0)
        self.assertEqual(drain(self.line), (self.records[4], [Signal.EOF]))
        self.assertEqual(self.line.done, {})

    def test_flipped(self) -> None:
        """One bit of one of them."""
        self.line.set([FlipInRecord(self.first + 1, 19, 3)], 0.0)
        self.line.receive(b"".join(self.records), 0.0)
        changed = edited(self.records[1], Flip(19, 3))
        self.assertEqual(drain(self.line)[0], b"".join([self.records[0], changed, *self.records[2:]]))

    def test_both_directions(self) -> None:
        """Either end will do, and knows both directions."""
        for link in (self.pair.responder, self.pair.initiator):
            pair = Pair()
            link = pair.responder if link is self.pair.responder else pair.initiator
            there, back = record_readers(link)
            pair.initiator.send_padding()
            pair.responder.send_padding()
            for reader, sender in ((there, pair.initiator), (back, pair.responder)):
                data = sender.data_to_send()
                before = reader.number
                self.assertEqual([(piece.record, piece.ends) for piece in reader.cut(data)], [
                    (before, False), (before, True)
                ])
                self.assertEqual(reader.number, before + 1)

    def test_over_the_ratchet(self) -> None:
        """Keys change every 65536 records; a reader follows."""
        pair = Pair()
        for sealer in (pair.initiator._sealer,):
            assert sealer is not None
            sealer.counter = (1 << 17) - 4
        reader, _ = record_readers(pair.initiator)
        for _ in range(4):
            pair.initiator.send_padding()
            self.assertTrue(reader.cut(pair.initiator.data_to_send())[-1].ends)
        self.assertEqual(reader.counter, (1 << 17) + 4)

    def test_without_keys(self) -> None:
        """What needs records and does not have them is refused, and so is a link without keys."""
        self.assertRaises(FaultError, Line().set, [DropRecord(0)], 0.0)
        self.assertRaises(FaultError, record_readers, Pair(ready=False).initiator)

    def test_wrong_moment(self) -> None:
        """A link that had records under way is an error, not a wrong cut."""
        self.line.set([DropRecord(0)], 0.0)
        self.assertRaises(FaultError, self.line.receive, self.records[1], 0.0)

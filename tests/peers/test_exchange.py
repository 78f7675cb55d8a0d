"""What two peers say to each other: whole, byte by byte, and wrong."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peers.build import NOW, World, owner, presence, record, text
from torpydo.peers import (
    MAX_FRAME,
    MAX_RECORD,
    STRANGERS,
    Exchange,
    Hello,
    Records,
    Table,
    Verified,
    Want,
    decode_message,
    frame,
    take_frame,
)
from torpydo.peers.exchange import Message
from torpydo.wire import Malformed

MESSAGES = st.one_of(
    st.builds(Hello, st.binary(max_size=MAX_RECORD), st.integers(1, 255)),
    st.builds(
        Want, st.integers(1, 50), st.binary(min_size=8, max_size=8),
        st.binary(max_size=20).map(lambda data: data * 8),
    ),
    st.builds(Records, st.lists(st.binary(max_size=MAX_RECORD), max_size=50).map(tuple)),
)  # fmt: skip


class CodecTests(SynchronousTestCase):
    """Messages."""

    @given(MESSAGES)
    def test_round_trip(self, message: Message) -> None:
        """What is written is read, and fits into a frame."""
        self.assertEqual(decode_message(message.encode()), message)
        self.assertLessEqual(len(message.encode()), MAX_FRAME)

    def test_golden(self) -> None:
        """docs/protocol-peers, Exchange."""
        self.assertEqual(frame(Hello(b"rec")).hex(), "0005" + "0101" + "726563")
        self.assertEqual(frame(Want(9, b"s" * 8, b"d" * 8)).hex(), "0012" + "0209" + "73" * 8 + "64" * 8)
        self.assertEqual(frame(Records((b"a", b""))).hex(), "0007" + "0302" + "000161" + "0000")

    @given(st.binary(max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        """They are read or refused."""
        try:
            found = decode_message(data)
        except Malformed:
            return
        self.assertEqual(found.encode(), data)

    def test_wrong_ones(self) -> None:
        """Unknown kinds, counts and sizes beyond the limits, leftovers, and what is cut off."""
        for data in (
            b"", b"\0", b"\4", b"\1", b"\1\0", b"\1\1" + bytes(MAX_RECORD + 1), b"\2\1" + bytes(7),
            b"\2\0" + bytes(8), b"\2\x33" + bytes(8), b"\2\1" + bytes(9), b"\3", b"\3\1", b"\3\0\0", b"\3\x33",
            b"\3\1" + (MAX_RECORD + 1).to_bytes(2, "big") + bytes(MAX_RECORD + 1), b"\3\2\0\0",
        ):  # fmt: skip
            self.assertRaises(Malformed, decode_message, data)

    def test_frames(self) -> None:
        """Whole ones are taken; an empty one and one that is too long are refused at once."""
        buffer = bytearray(frame(Hello()) + b"\0")
        self.assertEqual((take_frame(buffer), take_frame(buffer)), (b"\1\1", None))
        self.assertEqual(buffer, b"\0")
        for size in (0, MAX_FRAME + 1):
            self.assertRaises(Malformed, take_frame, bytearray(size.to_bytes(2, "big")))


class Exchanges(SynchronousTestCase):
    """Two peers: number 1 dials number 2."""

    def setUp(self) -> None:
        self.tables: list[Table] = []
        for number in (1, 2):
            world = World(own=number)
            table = world.table()
            table.own_record = presence(number)
            self.tables.append(table)
        self.one, self.two = self.tables
        self.dials = self.dialling()
        self.answers = Exchange(self.two, STRANGERS, lambda size: bytes(size))

    def dialling(self) -> Exchange:
        return Exchange(self.one, owner(2).public, lambda size: bytes(size))

    def met(self, *numbers: int) -> None:
        """Number 2 has met these."""
        for number in numbers:
            self.two.offer(record(number), owner(2).public)
            self.two.talked(owner(number).public)

    def run_exchange(self, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
        """Let both say everything."""
        ends = (self.dials, self.answers)
        while any(said := [end.take_bytes() for end in ends]):
            for end, data in zip(reversed(ends), said, strict=True):
                for part in cut(data):
                    end.receive_data(part)


class WholeTests(Exchanges):
    """As it should be."""

    def test_both_learn(self) -> None:
        """Who dialled has met the other one and has its records; who was dialled has the caller's."""
        self.met(3, 4, 5)
        self.run_exchange()
        self.assertTrue(self.dials.is_over and self.answers.is_over)
        found = {peer.name: peer.verified for peer in self.one}
        self.assertEqual(
            found, {text(2): Verified.DIRECTLY, **{text(number): Verified.BY_SIGNATURE for number in (3, 4, 5)}}
        )
        self.assertEqual({peer.name for peer in self.two}, {text(number) for number in (1, 3, 4, 5)})
        self.assertEqual((self.dials.told.stored, self.answers.told.stored), (4, 1))

    def test_byte_by_byte(self) -> None:
        """However it is cut."""
        self.met(3)
        self.run_exchange(lambda data: [data[place : place + 1] for place in range(len(data))])
        self.assertEqual({peer.name for peer in self.one}, {text(2), text(3)})

    def test_the_second_time(self) -> None:
        """Nothing is sent that the other one has."""
        self.met(3)
        self.run_exchange()
        self.dials, self.answers = self.dialling(), Exchange(self.two, STRANGERS, lambda size: bytes(size))
        self.dials.take_bytes()
        self.answers.receive_data(frame(Hello()) + frame(Want(50, bytes(8), self.one.digest(bytes(8)))))
        self.assertTrue(self.answers.take_bytes().endswith(frame(Records(()))))

    def test_without_a_name(self) -> None:
        """Who only looks on is answered, and nothing is known of it."""
        self.one.own = self.one.own_record = None
        self.dials = self.dialling()
        self.run_exchange()
        self.assertEqual(({peer.name for peer in self.one}, len(self.two)), ({text(2)}, 0))

    def test_who_was_offline(self) -> None:
        """It is online again when it was met."""
        self.one.offer(record(2), owner(2).public)
        for _ in range(2):
            self.one.failed(owner(2).public)
        self.run_exchange()
        self.assertEqual([peer.state.value for peer in self.one], ["online"])


class WrongTests(Exchanges):
    """As it should not be."""

    def refused(self, end: Exchange, *messages: Message) -> None:
        """The last of them ends the exchange."""
        for message in messages[:-1]:
            end.receive_data(frame(message))
        self.assertRaises(Malformed, end.receive_data, frame(messages[-1]))
        self.assertTrue(end.is_over)

    def test_another_name(self) -> None:
        """Whoever answers shows the record of the name that was dialled, or none of what it says counts."""
        for wrong in (b"", record(3), record(2, by=3), record(2, worked=False), record(2, topic=b"x")):
            self.refused(self.dialling(), Hello(wrong))
        self.assertEqual(len(self.one), 0)

    def test_out_of_turn(self) -> None:
        """Each message has one place; who was dialled asks for nothing."""
        want, hello = Want(1, bytes(8)), Hello(record(2))
        for messages in ((want,), (Records(()),), (hello, hello), (hello, want), (hello, Records(()), Records(()))):
            self.refused(self.dialling(), *messages)
        for messages in ((want,), (Records(()),), (Hello(), Hello()), (Hello(), Records(())), (Hello(), want, want)):
            self.refused(Exchange(self.two, STRANGERS, lambda size: bytes(size)), *messages)

    def test_the_one_who_was_dialled_is_blamed(self) -> None:
        """After some of them it is not listened to."""
        for _ in range(9):
            self.refused(self.dialling(), Want(1, bytes(8)))
        self.assertTrue(self.one.sources.is_ignored(owner(2).public))

    def test_a_stranger_with_a_bad_record(self) -> None:
        """It gets no answer."""
        self.answers.take_bytes()
        self.refused(self.answers, Hello(record(1, worked=False)))
        self.assertEqual(self.answers.take_bytes(), b"")

    def test_bad_records(self) -> None:
        """They are counted, and the good ones among them count."""
        self.dials.receive_data(frame(Hello(record(2))) + frame(Records((b"", record(3, by=4), record(5)))))
        self.assertEqual((self.dials.told.stored, self.dials.told.bad), (2, 2))
        self.assertEqual({peer.name for peer in self.one}, {text(2), text(5)})

    def test_a_clock_that_is_wrong(self) -> None:
        """Its record is not taken; the exchange goes on."""
        self.dials.receive_data(frame(Hello(record(2, timestamp=NOW + 5000))) + frame(Records((record(3),))))
        self.assertEqual({peer.name for peer in self.one}, {text(3)})

"""Cursors: values come back as they were put, and nothing is guessed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import RemoteProtocolError
from torpydo.wire import Malformed, NeedMore, Reader, Writer

SIZES = (1, 2, 4, 8)
GOLDEN = "0102030405060708090a0b0c0d0e0f616263"


def golden() -> Writer:
    """One value of every kind."""
    return Writer().u8(1).u16(0x0203).u32(0x04050607).u64(0x08090A0B0C0D0E0F).put(b"abc")


def read_golden(data: bytes) -> tuple[int, int, int, int, bytes]:
    """What :func:`golden` wrote."""
    reader = Reader(data)
    return reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.take(3)


class WriterTests(SynchronousTestCase):
    """Writing."""

    def test_golden(self) -> None:
        """Integers are big-endian, bytes are put as they are."""
        self.assertEqual(golden().getvalue().hex(), GOLDEN)

    def test_empty(self) -> None:
        """Nothing written is no bytes."""
        self.assertEqual(Writer().getvalue(), b"")

    def test_integer_that_does_not_fit(self) -> None:
        """A value is never cut."""
        for size in SIZES:
            self.assertRaises(OverflowError, Writer().integer, 1 << 8 * size, size)
            self.assertRaises(OverflowError, Writer().integer, -1, size)


    def test_many_at_once(self) -> None:
        """They are what they would be one by one, and none is cut."""
        values = (0, 1, 2**64 - 1)
        self.assertEqual(Writer().u64s(values).getvalue(), Writer().u64(0).u64(1).u64(2**64 - 1).getvalue())
        for wrong in (-1, 2**64):
            self.assertRaises(OverflowError, Writer().u64s, (1, wrong))


class ReaderTests(SynchronousTestCase):
    """Reading."""

    @given(st.lists(st.integers(0, 2**64 - 1)))
    def test_many_at_once(self, values: list[int]) -> None:
        """They come back; one more is not there, and nothing was taken then."""
        reader = Reader(Writer().u64s(values).getvalue())
        self.assertRaises(NeedMore, reader.u64s, len(values) + 1)
        self.assertEqual(reader.u64s(len(values)), tuple(values))
        reader.finish()

    @given(st.lists(st.sampled_from(SIZES).flatmap(lambda n: st.tuples(st.integers(0, (1 << 8 * n) - 1), st.just(n)))))
    def test_integers_round_trip(self, values: list[tuple[int, int]]) -> None:
        """Every integer comes back, and nothing is left."""
        writer = Writer()
        for value, size in values:
            writer.integer(value, size)
        reader = Reader(writer.getvalue())
        self.assertEqual([(reader.integer(size), size) for _, size in values], values)
        reader.finish()

    def test_golden(self) -> None:
        """The golden bytes are read back by the named verbs."""
        self.assertEqual(read_golden(bytes.fromhex(GOLDEN)), (1, 0x0203, 0x04050607, 0x08090A0B0C0D0E0F, b"abc"))

    def test_every_prefix_needs_more(self) -> None:
        """A value that is cut short is never given, and the least that is missing is told."""
        data = bytes.fromhex(GOLDEN)
        for size in range(len(data)):
            with self.assertRaises(NeedMore) as caught:
                read_golden(data[:size])
            self.assertTrue(1 <= caught.exception.missing <= len(data) - size)

    def test_a_failed_read_takes_nothing(self) -> None:
        """After NeedMore the cursor stands where it stood."""
        reader = Reader(b"\x01\x02\x03")
        reader.u8()
        with self.assertRaises(NeedMore) as caught:
            reader.u32()
        self.assertEqual((caught.exception.missing, reader.position, reader.remaining), (2, 1, 2))
        self.assertEqual(str(caught.exception), "2 more bytes are needed")

    def test_view_does_not_copy(self) -> None:
        """A view shows the buffer itself."""
        buffer = bytearray(b"abcd")
        view = Reader(buffer).view(2)
        buffer[0] = ord("z")
        self.assertEqual(bytes(view), b"zb")

    def test_take_copies(self) -> None:
        """Bytes that were taken do not change with the buffer."""
        buffer = bytearray(b"abcd")
        taken = Reader(buffer).take(2)
        buffer[0] = ord("z")
        self.assertEqual(taken, b"ab")

    def test_until_zero(self) -> None:
        """A value that ends in a 0 is taken without it, and what comes after is left."""
        reader = Reader(b"\x01ab\0\0cd")
        reader.u8()
        self.assertEqual((reader.until_zero(), reader.until_zero(), reader.position), (b"ab", b"", 5))
        with self.assertRaises(NeedMore) as caught:
            reader.until_zero()
        self.assertEqual((caught.exception.missing, reader.rest()), (1, b"cd"))

    def test_rest(self) -> None:
        """Everything that is left, which may be nothing."""
        reader = Reader(memoryview(b"\x01ab"))
        reader.u8()
        self.assertEqual((reader.rest(), reader.rest(), reader.remaining), (b"ab", b"", 0))

    def test_finish_refuses_trailing_bytes(self) -> None:
        """Leftovers are an error of the peer."""
        reader = Reader(b"ab")
        reader.u8()
        self.assertRaises(Malformed, reader.finish)
        self.assertTrue(issubclass(Malformed, RemoteProtocolError))

    def test_zeros(self) -> None:
        """Fill is taken whole, an empty one too."""
        reader = Reader(b"\x07\x00\x00")
        reader.u8()
        reader.zeros()
        reader.zeros()
        reader.finish()

    def test_zeros_refuse_any_other_byte(self) -> None:
        """One byte other than 0 anywhere in the fill is refused."""
        for place in range(9):
            fill = bytearray(9)
            fill[place] = 1
            self.assertRaises(Malformed, Reader(fill).zeros)

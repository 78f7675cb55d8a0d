"""Tests of torpydo.cli.bench.pipeline: what its places do to bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.pipeline import BODY_SIZES, BULK, CELL, Layers, LinkCodec, RawCodec

KEYS = [bytes((number,)) * 32 for number in (1, 2, 3)]


class RawCodecTests(SynchronousTestCase):
    """Bytes of an application, as cells."""

    @given(st.integers(0, 40_000))
    def test_round_trip(self, size: int) -> None:
        """They come out as they went in, and each cell has one of the two sizes."""
        data = (b"0123456789" * 4001)[:size]
        cells = RawCodec().decode(data)
        self.assertTrue(all(len(body) == BODY_SIZES[command] for command, body in cells))
        self.assertEqual(RawCodec().encode(cells), data)

    def test_the_size_fits_the_data(self) -> None:
        """Much data goes in large cells, the rest in a small one."""
        commands = [command for command, _ in RawCodec().decode(bytes(16_384 + 100))]
        self.assertEqual(commands, [BULK, CELL])


class LinkCodecTests(SynchronousTestCase):
    """Records of a link."""

    @given(st.lists(st.sampled_from([CELL, BULK]), max_size=9), st.booleans(), st.integers(1, 60_000))
    def test_round_trip(self, commands: list[int], aegis: bool, piece: int) -> None:
        """Cells come out as they went in, in whatever pieces the records arrive, both ways."""
        cells = [(command, bytes((number,)) * BODY_SIZES[command]) for number, command in enumerate(commands)]
        ends = LinkCodec(KEYS[0], True, aegis), LinkCodec(KEYS[0], False, aegis)
        for one, other in (ends, ends[::-1]):
            data = one.encode(cells)
            pieces = [data[start : start + piece] for start in range(0, len(data), piece)]
            self.assertEqual([cell for part in pieces for cell in other.decode(part)], cells)


class LayersTests(SynchronousTestCase):
    """The layers of a cell."""

    def test_three_hops_take_off_what_the_client_put_on(self) -> None:
        """Only after the last hop the cells are those that the client had."""
        cells = [(CELL, bytes(range(256)) * 4), (BULK, bytes(16_384))]
        passed = Layers(KEYS).pass_through(cells)
        for key in KEYS:
            self.assertNotEqual(passed, cells)
            passed = Layers([key]).pass_through(passed)
        self.assertEqual(passed, cells)

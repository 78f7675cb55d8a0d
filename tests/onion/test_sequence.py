"""Sequences of descriptors: they rise with time, whoever draws them, and do not tell it."""

from __future__ import annotations

import random
from hashlib import blake2b, sha512
from statistics import correlation, mean

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.onion import MOST_SEQUENCE, Secret, SigningKey, blind, draw_sequence, next_sequence

SPAN = 28 * 3600
"""Seconds in which a key of a day is used."""
SEEDS = st.binary(min_size=32, max_size=32)
PERIODS = st.integers(0, 2**32)
DRAWS = st.binary(min_size=8, max_size=8)
MILLISECONDS = st.integers(0, SPAN * 1000 - 1)


def place(seed: bytes, period: int, moment: int) -> tuple[int, int]:
    """Where a millisecond stands on the scale of that key and period, in other words than the code's."""
    prefix = blake2b(
        sha512(seed).digest()[32:] + period.to_bytes(8, "big"), digest_size=32, person=b"tpdp1 blindnonce"
    ).digest()
    low, width, node = 0, 1 << 62, 1
    for bit in format(moment, "027b"):
        share = blake2b(node.to_bytes(4, "big"), digest_size=8, key=prefix, person=b"tpdp1 sequence").digest()
        left = width // 4 + ((width // 2) * int.from_bytes(share, "big")) // 2**64
        low, width = (low, left) if bit == "0" else (low + left, width - left)
        node = 2 * node + int(bit)
    return low, width


class SequenceTests(SynchronousTestCase):
    """One key's of one period."""

    @given(SEEDS, PERIODS, MILLISECONDS, MILLISECONDS, DRAWS, DRAWS)
    def test_it_rises(self, seed: bytes, period: int, one: int, other: int, first: bytes, second: bytes) -> None:
        """From one millisecond to any later one, although whoever draws the second knows nothing of the first."""
        early, late = sorted((one, other))
        if early == late:
            late += 1
        low = draw_sequence(blind(SigningKey(Secret(seed)), period), early / 1000 + 1e-6, lambda size: first)
        high = draw_sequence(blind(SigningKey(Secret(seed)), period), late / 1000 + 1e-6, lambda size: second)
        self.assertTrue(0 <= low < high < MOST_SEQUENCE)

    @given(SEEDS, PERIODS, MILLISECONDS, DRAWS)
    def test_by_other_words(self, seed: bytes, period: int, moment: int, draw: bytes) -> None:
        """The place that the document describes, and a random number within it."""
        low, width = place(seed, period, moment)
        drawn = draw_sequence(blind(SigningKey(Secret(seed)), period), moment / 1000 + 1e-6, lambda size: draw)
        self.assertEqual(drawn, low + width * int.from_bytes(draw, "big") // 2**64)
        # Room for more than one in a millisecond, and never the same by chance.
        self.assertGreater(width, 200)

    @given(SEEDS, st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
    def test_any_moment(self, seed: bytes, seconds: float) -> None:
        """A clock that is out of its period's bounds ends the scale and nothing else."""
        drawn = draw_sequence(blind(SigningKey(Secret(seed)), 1), seconds, lambda size: b"\xff" * size)
        self.assertTrue(0 <= drawn < MOST_SEQUENCE)

    @given(st.integers(0, MOST_SEQUENCE), st.binary(min_size=4, max_size=4))
    def test_the_next_one(self, last: int, draw: bytes) -> None:
        """It is higher, and by how much nobody knows."""
        self.assertEqual(next_sequence(last, lambda size: draw), last + 1 + int.from_bytes(draw, "big"))


class SecrecyTests(SynchronousTestCase):
    """What a holder can conclude."""

    def setUp(self) -> None:
        self.rng = random.Random(7)
        self.key = SigningKey(Secret(b"s" * 32))

    def drawn(self, hour: float, periods: range = range(300), key: SigningKey | None = None) -> list[int]:
        """At one hour of many days."""
        return [draw_sequence(blind(key or self.key, one), hour * 3600, self.rng.randbytes) for one in periods]

    def test_it_does_not_tell_the_time(self) -> None:
        """Who takes it for the part of the period that has passed is wrong by hours."""
        scale = (1 << 27) / 1000 / MOST_SEQUENCE
        for hour in (3, 10, 14, 25):
            errors = [sequence * scale - hour * 3600 for sequence in self.drawn(hour)]
            self.assertGreater(mean(error * error for error in errors) ** 0.5, 3600, hour)

    def test_seconds_do_not_tell_either(self) -> None:
        """Who knows where the scale stands a minute before and after is wrong by more than a clock is off."""
        errors = []
        for period in range(300):
            key = blind(self.key, period)
            moment = 50_000 + self.rng.random() * 1000
            before, at, after = (draw_sequence(key, moment + part, self.rng.randbytes) for part in (-60, 0, 60))
            errors.append(120 * (at - before) / (after - before) - 60)
        self.assertGreater(mean(error * error for error in errors) ** 0.5, 5)

    def test_days_have_nothing_in_common(self) -> None:
        """Nor have two services."""
        for hour in (3, 14):
            one, next_day = self.drawn(hour), self.drawn(hour, range(1, 301))
            other = self.drawn(hour, key=SigningKey(Secret(b"t" * 32)))
            self.assertLess(abs(correlation(one, next_day)), 0.25)
            self.assertLess(abs(correlation(one, other)), 0.25)

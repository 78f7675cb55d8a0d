"""Tests of torpydo.client.buildtimes and torpydo.client.keeping."""

from __future__ import annotations

from typing import cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.net.pools import MemoryState
from torpydo.client.buildtimes import ENOUGH, KEPT, LONGEST, RECENT, RECENT_SLOW, SHORTEST, BuildTimes
from torpydo.client.keeping import SAVE_PAUSE, TIMES_FILE, KeptTimes
from torpydo.crypto import document_hash
from torpydo.errors import StateError
from torpydo.net import StateDirectory


def learned(*seconds: float, hops: int = 3, count: int = ENOUGH) -> BuildTimes:
    """Times that were learned from builds that took *seconds* in turn."""
    times = BuildTimes()
    for number in range(count):
        times.built(hops, seconds[number % len(seconds)], late=False)
    return times


class LearningTests(SynchronousTestCase):
    """The time-out."""

    def test_a_minute_at_first(self) -> None:
        """A hundred builds are needed; 99 teach nothing."""
        self.assertEqual(BuildTimes().timeout(3), LONGEST)
        self.assertEqual(learned(2.0, count=ENOUGH - 1).timeout(3), LONGEST)

    def test_four_fifths_are_in_time(self) -> None:
        """It is the time below which 80 % of the builds were."""
        times = learned(*(2 + number / 10 for number in range(ENOUGH)))
        self.assertEqual(times.timeout(3), 10.0)

    def test_has_a_floor(self) -> None:
        """A fast network is no reason to be impatient."""
        self.assertEqual(learned(0.01).timeout(3), SHORTEST)

    def test_never_more_than_a_minute(self) -> None:
        """However long builds took."""
        self.assertEqual(learned(100.0).timeout(3), LONGEST)

    def test_lengths_are_apart(self) -> None:
        """What three hops take says nothing about four."""
        times = learned(2.0, hops=3)
        self.assertEqual((times.timeout(3), times.timeout(4)), (2.0, LONGEST))

    def test_the_last_thousand_count(self) -> None:
        """What is older is forgotten."""
        times = learned(2.0)
        for _ in range(KEPT):
            times.built(3, 5.0, late=False)
        self.assertEqual(times.timeout(3), 5.0)

    def test_late_ones_count_too(self) -> None:
        """A time-out that cuts off the slowest fifth does not become shorter and shorter by that."""
        times = learned(2.0, 2.5, 3.0, 3.5, 4.0)
        before = times.timeout(3)
        for number in range(KEPT):
            seconds = 2.0 + number % 5 / 2
            times.built(3, seconds, late=seconds > times.timeout(3))
        self.assertEqual(times.timeout(3), before)


    def test_a_clock_that_was_set_back(self) -> None:
        """A build that seems to have ended before it began took no time: what is kept can be read again."""
        times = BuildTimes()
        times.built(3, -0.5, late=False)
        self.assertEqual(BuildTimes.decode(times.encode()).timeout(3), LONGEST)


class ChangeTests(SynchronousTestCase):
    """A network that is another one now."""

    def late(self, times: BuildTimes, count: int) -> None:
        for _ in range(count):
            times.failed(3)

    def test_nearly_all_too_late(self) -> None:
        """18 of the last 20: everything is forgotten, and builds have twice the time."""
        times = learned(2.0)
        self.late(times, RECENT_SLOW - 1)
        self.assertEqual(times.timeout(3), 2.0)
        self.late(times, 1)
        self.assertEqual(times.timeout(3), 4.0)

    def test_not_if_some_come_in_time(self) -> None:
        """Three in time among twenty show that it is the same network."""
        times = learned(2.0)
        for number in range(10 * RECENT):
            if number % RECENT < 3:
                times.built(3, 2.0, late=False)
            else:
                times.failed(3)
        self.assertEqual(times.timeout(3), 2.0)

    def test_doubles_up_to_a_minute(self) -> None:
        """Each time that happens again."""
        times = learned(2.0)
        seen = []
        for _ in range(6):
            self.late(times, RECENT_SLOW)
            seen.append(times.timeout(3))
        self.assertEqual(seen, [4.0, 8.0, 16.0, 32.0, 60.0, 60.0])

    def test_learns_anew(self) -> None:
        """After another hundred builds."""
        times = learned(2.0)
        self.late(times, RECENT_SLOW)
        for _ in range(ENOUGH):
            times.built(3, 3.0, late=False)
        self.assertEqual(times.timeout(3), 3.0)

    def test_late_ones_that_were_built(self) -> None:
        """A network that became slow is learned, too."""
        times = learned(2.0)
        for _ in range(2 * RECENT_SLOW + ENOUGH):
            times.built(3, 7.0, late=7.0 > times.timeout(3))
        self.assertEqual(times.timeout(3), 7.0)

    def test_of_a_length_that_was_never_built(self) -> None:
        """There is nothing to forget."""
        times = BuildTimes()
        self.late(times, RECENT)
        self.assertEqual((times.timeout(3), times.changed), (LONGEST, False))


class StorageTests(SynchronousTestCase):
    """The bytes on disk."""

    @given(
        st.dictionaries(
            st.integers(1, 8), st.lists(st.floats(0, 90), max_size=130), max_size=3
        )
    )
    def test_round_trip(self, builds: dict[int, list[float]]) -> None:
        """What was learned is known again."""
        times = BuildTimes()
        for hops, seconds in builds.items():
            for one in seconds:
                times.built(hops, one, late=False)
        again = BuildTimes.decode(times.encode())
        self.assertEqual(again.encode(), times.encode())
        self.assertEqual([again.timeout(hops) for hops in range(1, 9)], [times.timeout(hops) for hops in range(1, 9)])

    @given(st.data())
    def test_torn(self, data: st.DataObject) -> None:
        """A file that was cut or changed is refused."""
        whole = learned(2.0, 3.0).encode()
        end = data.draw(st.integers(0, len(whole) - 1))
        self.assertRaises(StateError, BuildTimes.decode, whole[:end])
        flipped = bytes((*whole[:end], whole[end] ^ 1, *whole[end + 1 :]))
        self.assertRaises(StateError, BuildTimes.decode, flipped)


    def test_a_first_time_out(self) -> None:
        """One that a circuit may not have is no time-out, whoever wrote it; found by the fuzzer."""
        for start, is_good in ((1499, False), (1500, True), (60_000, True), (60_001, False)):
            body = msgspec.msgpack.encode([1, [[3, start, []]]])
            data = document_hash(body) + body
            if is_good:
                self.assertEqual(BuildTimes.decode(data).timeout(3), start / 1000)
            else:
                self.assertRaises(StateError, BuildTimes.decode, data)


class KeptTimesTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.state = MemoryState()

    def kept(self) -> KeptTimes:
        return KeptTimes(cast(StateDirectory, self.state), self.clock)

    def test_survives_a_restart(self) -> None:
        """What was learned is there the next time."""
        kept = self.kept()
        for _ in range(ENOUGH):
            kept.known.built(3, 2.0, late=False)
        kept.save()
        self.assertEqual(self.kept().known.timeout(3), 2.0)

    def test_is_not_written_for_each_circuit(self) -> None:
        """Once a minute is enough, and nothing new is nothing to write."""
        kept = self.kept()
        kept.known.built(3, 2.0, late=False)
        kept.save_sometimes()
        self.assertEqual(self.state.files, {})
        self.clock.advance(SAVE_PAUSE)
        kept.save_sometimes()
        self.assertEqual(list(self.state.files), [TIMES_FILE])
        self.state.files.clear()
        kept.save()
        self.assertEqual(self.state.files, {})

    def test_torn_file_is_set_aside(self) -> None:
        """It is no reason not to start."""
        self.state.files[TIMES_FILE] = b"torn"
        self.assertEqual(self.kept().known.timeout(3), LONGEST)
        self.assertEqual(self.state.files[f"{TIMES_FILE}.bad"], b"torn")

    def test_torn_file_that_cannot_be_set_aside(self) -> None:
        """Nor is that: only times are lost."""
        self.state.files[TIMES_FILE] = b"torn"
        self.state.full = True
        self.assertEqual(self.kept().known.timeout(3), LONGEST)

    def test_full_disk(self) -> None:
        """The times are kept in memory, and written when there is room."""
        kept = self.kept()
        kept.known.built(3, 2.0, late=False)
        self.state.full = True
        kept.save()
        self.state.full = False
        kept.known.built(3, 2.0, late=False)
        kept.save()
        self.assertEqual(list(self.state.files), [TIMES_FILE])

    def test_without_a_directory(self) -> None:
        """Everything works and nothing is kept."""
        kept = KeptTimes(None, self.clock)
        kept.known.built(3, 2.0, late=False)
        kept.save()
        self.assertTrue(kept.known.changed)

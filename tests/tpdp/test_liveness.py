"""When a link sends PADDING: against a plain model of both sides, and whole links (SECURITY L9)."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.pairs import PEER, Pair
from torpydo.tpdp.constants import CELL, KEEPALIVE, PADDING_LEAST, PADDING_MOST, SILENCE
from torpydo.tpdp.events import LinkClosed
from torpydo.tpdp.link import Link
from torpydo.tpdp.liveness import Liveness

ROUNDING = 1e-9
"""Seconds by which sums may be off."""
DELAY = 1e-5
"""Seconds until what a link has made is written."""


def idle(padded: bool = True, seed: int = 1) -> Liveness:
    """A link that has just become ready."""
    return Liveness(random.Random(seed).randbytes, 0.0, padded=padded)


def padding_times(liveness: Liveness, until: float) -> list[float]:
    """When it wants PADDING, which is written a moment later, while nothing else happens."""
    times = []
    while liveness.deadline < until:
        now = liveness.deadline
        if liveness.wants_padding(now, in_use=True):
            times.append(now)
            liveness.sent(now + DELAY)
    return times


class PauseTests(SynchronousTestCase):
    """How long a link is idle."""

    def test_numbers(self) -> None:
        """The protocol's (section Padding)."""
        self.assertEqual((PADDING_LEAST, PADDING_MOST, KEEPALIVE, SILENCE), (1.5, 9.5, 30.0, 90.0))

    def test_between_one_and_a_half_and_nine_and_a_half(self) -> None:
        """All pauses of an idle link are, but those that the frame of every thirty seconds cuts short."""
        times = padding_times(idle(), 20_000)
        pauses = [after - before for before, after in pairwise(times)]
        self.assertGreater(len(pauses), 2000)
        self.assertLessEqual(max(pauses), PADDING_MOST + DELAY)
        whole = [after - before for before, after in pairwise(times) if after % KEEPALIVE]
        self.assertGreaterEqual(min(whole), PADDING_LEAST)
        self.assertEqual(len(pauses) - len(whole), 20_000 // KEEPALIVE)

    def test_larger_of_two_draws(self) -> None:
        """The share of pauses below x is that of the maximum of two uniform numbers, x squared."""
        shortest, longest = PADDING_LEAST, PADDING_MOST
        rng = random.Random(3).randbytes
        pauses = sorted(Liveness(rng, 0.0, padded=True).deadline for _ in range(4000))
        for tenth in range(1, 10):
            pause = pauses[4000 * tenth // 10]
            self.assertLess(abs(((pause - shortest) / (longest - shortest)) ** 2 - tenth / 10), 0.03)
        self.assertTrue(shortest <= pauses[0] < pauses[-1] < longest)

    def test_a_pause_is_drawn_once(self) -> None:
        """What begins a pause draws it; that the PADDING itself goes out a moment later is not another beginning."""
        for seed in range(50):
            drawn: list[int] = []
            source = random.Random(seed)

            def rng(size: int, drawn: list[int] = drawn, source: random.Random = source) -> bytes:
                drawn.append(size)
                return source.randbytes(size)

            times = padding_times(Liveness(rng, 0.0, padded=True), KEEPALIVE)
            self.assertGreaterEqual(len(times), 3)
            self.assertEqual(drawn, [4] * 2 * (len(times) + 1))

    def test_a_pause_that_began_later(self) -> None:
        """It is drawn when the first one is over, counts from the last byte, and is drawn once, too."""
        draws = [b"\x80", b"\x00", b"\x00", b"\x80", b"\xff", b"\xff"]
        liveness = Liveness(lambda size: draws.pop(0) + bytes(size - 1), 0.0, padded=True)
        liveness.heard(5.0)
        self.assertEqual(liveness.deadline, 5.5)
        self.assertFalse(liveness.wants_padding(5.5, in_use=True))
        self.assertEqual(liveness.deadline, 10.5)
        self.assertTrue(liveness.wants_padding(10.5, in_use=True))
        self.assertEqual(draws, [])

    def test_the_extremes(self) -> None:
        """Whatever is drawn."""
        self.assertEqual(Liveness(bytes, 7.0, padded=True).deadline, 7.0 + PADDING_LEAST)
        last = Liveness(lambda size: b"\xff" * size, 7.0, padded=True).deadline
        self.assertTrue(7.0 + PADDING_MOST - 1e-6 < last < 7.0 + PADDING_MOST)

    def test_either_draw_counts(self) -> None:
        """It is the larger one, not the first or the second."""
        draws = [b"\x00", b"\x80", b"\x80", b"\x00"]
        for _ in range(2):
            liveness = Liveness(lambda size: draws.pop(0) + bytes(size - 1), 0.0, padded=True)
            self.assertEqual(liveness.deadline, 5.5)

    def test_without_padding(self) -> None:
        """Between nodes there is a frame every thirty seconds, whether or not there is traffic."""
        liveness = idle(padded=False)
        self.assertEqual(padding_times(liveness, 200.0), [30.0, 60.0, 90.0, 120.0, 150.0, 180.0])
        liveness.heard(209.9)
        self.assertFalse(liveness.wants_padding(209.9, in_use=True))
        self.assertTrue(liveness.wants_padding(210.0, in_use=False))

    def test_not_in_use(self) -> None:
        """Without circuits only the frame that is due every thirty seconds goes."""
        liveness = idle()
        times = []
        while liveness.deadline < 100.0:
            now = liveness.deadline
            if liveness.wants_padding(now, in_use=False):
                times.append(now)
        self.assertEqual(times, [30.0, 60.0, 90.0])

    def test_dead(self) -> None:
        """After ninety seconds without a byte, whatever was sent."""
        liveness = idle()
        liveness.heard(5.0)
        liveness.sent(90.0)
        self.assertEqual([liveness.is_dead(now) for now in (94.9, 95.0)], [False, True])

    def test_looks_at_the_moment_of_death(self) -> None:
        """A peer that fell silent between two looks is not given until the next: ninety seconds are enough (case 2)."""
        for last in (0.0, 5.0, 29.0, 30.0, 47.5, 60.1):
            liveness = idle(padded=False)
            liveness.heard(last)
            while not liveness.is_dead(liveness.deadline):
                self.assertLess(liveness.deadline, 300.0)
                liveness.wants_padding(liveness.deadline, in_use=False)
            self.assertEqual(liveness.deadline, last + SILENCE)

    @given(st.floats(0.0, 1e6), st.floats(0.5, 29.5))
    @example(239.47904675000032 - 15.9621785, 15.9621785)
    def test_whatever_the_clock_shows(self, start: float, later: float) -> None:
        """At the moment that it asked for it is dead, however sums and differences are rounded."""
        liveness = Liveness(random.Random(1).randbytes, start, padded=False)
        heard_at = start + later
        liveness.heard(heard_at)
        while not liveness.is_dead(liveness.deadline):
            self.assertLess(liveness.deadline, heard_at + SILENCE)
            liveness.wants_padding(liveness.deadline, in_use=False)

    def test_the_moment_of_death(self) -> None:
        """It is looked at ninety seconds after the last byte, not with the next frame that is due."""
        for last in (0.0, 5.0, 29.9, 30.0, 31.0):
            for heard_again in (False, True):
                liveness = idle(padded=False)
                liveness.heard(last)
                while (now := liveness.deadline) < last + SILENCE:
                    self.assertFalse(liveness.is_dead(now))
                    liveness.wants_padding(now, in_use=True)
                self.assertEqual(now, last + SILENCE)
                if not heard_again:
                    self.assertTrue(liveness.is_dead(now))
                    continue
                liveness.heard(now - 1)
                self.assertFalse(liveness.is_dead(now))
                wanted = liveness.wants_padding(now, in_use=True)
                # Nothing goes for it but what is due anyway.
                self.assertEqual(wanted, now % KEEPALIVE == 0)
                self.assertGreater(liveness.deadline, now)

    @given(
        st.lists(st.tuples(st.booleans(), st.floats(0.001, 12.0)), max_size=40),
        st.integers(0, 2**32),
    )
    def test_whatever_happens(self, traffic: list[tuple[bool, float]], seed: int) -> None:
        """However bytes come and go: PADDING only after 1.5 s of nothing, or as keep-alive; never more than 9.5 s of
        nothing; and the deadline never becomes an earlier one.
        """
        liveness = idle(seed=seed)
        now = active = kept = 0.0
        for incoming, pause in traffic:
            until = now + pause
            while liveness.deadline <= until:
                now = liveness.deadline
                if liveness.wants_padding(now, in_use=True):
                    keepalive = now >= kept + KEEPALIVE
                    self.assertTrue(keepalive or now - active >= PADDING_LEAST - ROUNDING)
                    kept = now if keepalive else kept
                    active = now
                    liveness.sent(now)
                self.assertGreater(liveness.deadline, now)
            now = until
            self.assertLessEqual(now - active, PADDING_MOST + ROUNDING)
            before = liveness.deadline
            (liveness.heard if incoming else liveness.sent)(now)
            active = now
            self.assertEqual(liveness.deadline, before)


class LinkTests(SynchronousTestCase):
    """Both ends of a link, on one clock."""

    def opened(
        self, *, identity: bool = False, padding: tuple[bool, bool] = (True, True), circuit: bool = True
    ) -> Pair:
        """A link, with a circuit on it."""
        pair = Pair(identity=PEER if identity else None, padding=padding)
        if circuit:
            pair.initiator.send_create(pair.initiator.new_circuit_id(), bytes(512))
        self.settle(pair)
        return pair

    def settle(self, pair: Pair) -> None:
        """Everything that waits is written and read."""
        while any([self.write(pair, side) for side in (0, 1)]):
            continue

    def write(self, pair: Pair, side: int) -> bool:
        """What one end has to say arrives."""
        moved = pair.move(side)
        if moved:
            (pair.responder if side else pair.initiator).written(pair.now)
        return moved

    def run_until(self, pair: Pair, end: float, heard: bool = True) -> list[tuple[float, int]]:
        """Let the time pass; gives when which end spoke. Without *heard* nothing arrives at the other."""
        said = []
        links = (pair.initiator, pair.responder)
        while True:
            due, side = min((link.next_deadline() or end, number) for number, link in enumerate(links))
            if due >= end:
                pair.now = end
                return said
            pair.now = due
            self.assertEqual(links[side].deadline_passed(due), [])
            if heard:
                if self.write(pair, side):
                    said.append((due, side))
            elif links[side].data_to_send():
                links[side].written(due)
                said.append((due, side))

    def test_idle_link_of_a_client(self) -> None:
        """There is never more than 9.5 s without a record, either side speaks, and it is PADDING: nobody is told."""
        pair = self.opened()
        pair.told[0].clear()
        pair.told[1].clear()
        begun = pair.now
        said = self.run_until(pair, 3600.0)
        times = [begun] + [when for when, _ in said]
        self.assertLessEqual(max(after - before for before, after in pairwise(times)), PADDING_MOST + ROUNDING)
        whole = [after - before for before, after in pairwise(times) if (after - begun) % KEEPALIVE]
        self.assertGreaterEqual(min(whole), PADDING_LEAST)
        by_side = [sum(1 for _, side in said if side == one) for one in (0, 1)]
        self.assertGreater(min(by_side), 0.4 * len(said))
        self.assertEqual(pair.told, ([], []))

    def test_each_side_alone(self) -> None:
        """Also if the other end does not pad, or nothing of it arrives for a while."""
        for padding in ((True, False), (False, True)):
            pair = self.opened(padding=padding)
            said = self.run_until(pair, 600.0)
            mine = [when for when, side in said if padding[side]]
            self.assertLessEqual(max(after - before for before, after in pairwise(mine)), PADDING_MOST + ROUNDING)
            others = [when for when, side in said if not padding[side]]
            self.assertLessEqual(len(others), 600 / KEEPALIVE)

    def test_only_with_circuits(self) -> None:
        """Before the first and after the last there is only the frame every thirty seconds."""
        pair = self.opened(circuit=False)
        self.assertEqual(len(self.run_until(pair, 601.5)), 2 * 20)
        circ_id = pair.initiator.new_circuit_id()
        pair.initiator.send_create(circ_id, bytes(512))
        self.settle(pair)
        self.assertGreater(len(self.run_until(pair, 1201.5)), 100)
        pair.initiator.send_destroy(circ_id)
        self.settle(pair)
        self.assertLessEqual(len(self.run_until(pair, 1801.5)), 2 * 20)

    def test_not_between_nodes(self) -> None:
        """Links of nodes carry many clients' circuits."""
        pair = self.opened(identity=True)
        self.assertEqual(len(self.run_until(pair, 601.5)), 2 * 20)

    def test_not_if_it_is_switched_off(self) -> None:
        """Neither side does it by itself then."""
        pair = self.opened(padding=(False, False))
        self.assertEqual(len(self.run_until(pair, 601.5)), 2 * 20)

    def test_not_while_frames_wait(self) -> None:
        """A link that cannot write has enough to say."""
        pair = self.opened()
        link = pair.initiator
        [circ_id] = link._ids.open
        link.send_cells(circ_id, [(CELL, bytes(1024))])
        while (due := link.next_deadline()) is not None and due < KEEPALIVE:
            self.assertEqual(link.deadline_passed(due), [])
        self.assertEqual(len(link._queue), 1024)

    def test_busy_link(self) -> None:
        """While cells go one way more often than every 1.5 s neither side pads."""
        pair = self.opened()
        [circ_id] = pair.initiator._ids.open
        spoke = []
        for _ in range(400):
            spoke += self.run_until(pair, pair.now + 1.4)
            pair.initiator.send_cells(circ_id, [(CELL, bytes(1024))])
            self.settle(pair)
        self.assertLessEqual(len(spoke), 2 * 19)

    def test_a_peer_that_is_only_padded_is_dead_after_three_keepalives(self) -> None:
        """What this side sends is no sign of the other one's life."""
        pair = self.opened()
        link: Link = pair.initiator
        heard = pair.now
        events = []
        while not events:
            due = link.next_deadline()
            assert due is not None
            events = link.deadline_passed(due)
            link.data_to_send()
            link.written(due)
        self.assertIsInstance(events[0], LinkClosed)
        self.assertTrue(SILENCE <= due - heard <= SILENCE + PADDING_MOST)

"""The congestion window, on a simulated bottleneck: it starts, finds what the path holds, shares, and looks again."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import product
from random import Random

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.tpdp.constants import ACK_INTERVAL, WINDOW_MAX, WINDOW_MIN, WINDOW_START
from torpydo.tpdp.controller import (
    ALLOWED_BYTES,
    ALLOWED_DELAY,
    ALLOWED_SHARE,
    JOINED_DELAY,
    PROBE_INTERVAL,
    Controller,
)

RATE = 12_500_000.0
"""Bytes a second: 100 Mbit/s."""
TRIP = 0.15
"""Seconds of an empty path."""


@attrs.define(eq=False)
class Flow:
    """A sender of whole acknowledgement intervals, and what it has seen.

    :ivar wants: how many bytes the application has given it until then
    :ivar got: bytes that were acknowledged
    :ivar seen: time, window, round trip of each acknowledgement
    """

    wants: Callable[[float], float] = attrs.field(default=lambda now: float("inf"))
    controller: Controller = attrs.field(factory=Controller)
    in_flight: int = 0
    sent: int = 0
    got: int = 0
    latest: float = 0.0
    seen: list[tuple[float, int, float]] = attrs.field(factory=list)

    @property
    def queueing(self) -> float:
        """How long the last bytes waited, as far as the controller knows."""
        return self.seen[-1][2] - self.controller._shortest


@attrs.define(eq=False)
class Path:
    """A line with a queue before it, and a way there and back.

    :ivar rate: bytes a second
    :ivar trip: seconds there and back
    :ivar jitter: up to so many seconds more, at random; nothing overtakes
    :ivar burst: acknowledgements come together, so many seconds apart
    """

    rate: float = RATE
    trip: float = TRIP
    jitter: float = 0.0
    burst: float = 0.0
    now: float = 0.0
    _free: float = 0.0
    _random: Random = attrs.field(factory=lambda: Random(1))
    _flows: list[Flow] = attrs.field(factory=list)
    _coming: list[tuple[float, int, Flow, float]] = attrs.field(factory=list)
    _count: int = 0

    def add(self, flow: Flow) -> Flow:
        """A flow begins now."""
        self._flows.append(flow)
        self._send(flow)
        return flow

    def run(self, seconds: float) -> None:
        """Let time pass; applications are looked after every 10 ms."""
        until = self.now + seconds
        while self.now < until:
            step = min(until, self.now + 0.01)
            while self._coming and self._coming[0][0] <= step:
                self._deliver()
            self.now = step
            for flow in self._flows:
                self._send(flow)

    def set_back(self, seconds: float) -> None:
        """The clock shows another time; what is under way comes when it would have come."""
        self.now -= seconds
        self._free -= seconds
        for flow in self._flows:
            flow.latest -= seconds
        # What a flow was told of its own sending stays as it was.
        self._coming = [(due - seconds, count, flow, sent_at) for due, count, flow, sent_at in self._coming]

    def _deliver(self) -> None:
        """All that comes at one moment, and only then the sender has its turn."""
        self.now, _, flow, _ = self._coming[0]
        while self._coming and self._coming[0][0] == self.now and self._coming[0][2] is flow:
            _, _, _, sent_at = heapq.heappop(self._coming)
            flow.in_flight -= ACK_INTERVAL
            flow.got += ACK_INTERVAL
            flow.controller.acknowledged(ACK_INTERVAL, sent_at, self.now)
            flow.seen.append((self.now, flow.controller.size, self.now - sent_at))
        self._send(flow)

    def _send(self, flow: Flow) -> None:
        while flow.sent + ACK_INTERVAL <= flow.wants(self.now):
            if flow.in_flight + ACK_INTERVAL > flow.controller.size:
                flow.controller.limited()
                return
            flow.in_flight += ACK_INTERVAL
            flow.sent += ACK_INTERVAL
            self._free = max(self._free, self.now + self.trip / 2) + ACK_INTERVAL / self.rate
            due = self._free + self.trip / 2 + self._random.random() * self.jitter
            if self.burst:
                due = (due // self.burst + 1) * self.burst
            flow.latest = max(flow.latest, due)
            self._count += 1
            heapq.heappush(self._coming, (flow.latest, self._count, flow, self.now))


class StartTests(SynchronousTestCase):
    """Until a queue shows."""

    def test_doubles(self) -> None:
        """With each round trip, while the window is what holds the sender up."""
        path = Path(rate=1e9)
        flow = path.add(Flow())
        for trips in (1, 2, 3):
            path.run(TRIP + 0.001)
            self.assertGreaterEqual(flow.controller.size, 0.8 * WINDOW_START * 2**trips)
            self.assertLessEqual(flow.controller.size, WINDOW_START * 2**trips)

    def test_doubles_when_acknowledgements_come_together(self) -> None:
        """One read may bring those of a whole window; between two of them nothing can be sent."""
        path = Path(rate=1e9, burst=0.05)
        flow = path.add(Flow())
        path.run(8 * TRIP)
        self.assertGreater(flow.controller.size, WINDOW_START * 2**4)

    def test_not_held_up(self) -> None:
        """An application that gives less than the window takes leaves it as it is."""
        path = Path()
        flow = path.add(Flow(wants=lambda now: 1e6 * now))
        path.run(30.0)
        self.assertEqual(flow.controller.size, WINDOW_START)
        self.assertGreater(flow.got, 28e6)

    def test_ends_when_a_queue_shows(self) -> None:
        """Less than twice an empty path's round trip waits then: what grows on is only what is not known yet."""
        for trip in (0.03, TRIP, 0.3):
            path = Path(trip=trip)
            flow = path.add(Flow())
            path.run(5.0)
            longest = max(seen[2] for seen in flow.seen)
            self.assertLess(longest - trip, 2 * trip + 0.02, trip)
            self.assertLess(flow.controller.size, 1.5 * RATE * trip + 3 * ALLOWED_BYTES, trip)


class TargetTests(SynchronousTestCase):
    """Afterwards."""

    def used(self, path: Path, flow: Flow, seconds: float) -> float:
        """The share of the line that a flow has from now on."""
        before = flow.got
        path.run(seconds)
        return (flow.got - before) / (path.rate * seconds)

    def test_half_the_way(self) -> None:
        """A round moves the window half of what the target is away, so that one odd round does little."""
        path = Path()
        flow = path.add(Flow())
        path.run(6.0)
        before = flow.controller.size
        path.rate /= 4
        path.run(10 * TRIP)
        sizes = [size for at, size, _ in flow.seen if at > 6.0]
        steps = list(dict.fromkeys(sizes))
        self.assertEqual(steps[0], before)
        self.assertTrue(0.7 * before < steps[1] < 0.8 * before, steps)

    def test_converges(self) -> None:
        """On any line it is used within 3 s, and not more waits than what is allowed."""
        for rate, trip, delay in product((2.5e6, RATE, 40e6), (0.02, TRIP), (ALLOWED_DELAY, JOINED_DELAY)):
            path = Path(rate=rate, trip=trip)
            flow = path.add(Flow(controller=Controller(delay=delay)))
            path.run(3.0)
            self.assertGreater(self.used(path, flow, 5.0), 0.95, (rate, trip, delay))
            allowed = trip * ALLOWED_SHARE + delay + (ALLOWED_BYTES + 2 * ACK_INTERVAL) / rate
            self.assertLess(flow.queueing, 1.5 * allowed, (rate, trip, delay))
            self.assertGreater(flow.queueing, 0.5 * allowed, (rate, trip, delay))

    def test_a_joined_circuit_beside_another(self) -> None:
        """It may keep more waiting, so where a queue takes no turns it gets more, on a fast line much more.

        A node's queues take turns; see docs/protocol, Flow control.
        """
        for trip, (rate, least) in product((0.02, TRIP), ((RATE, 1 / 3), (40e6, 1 / 6))):
            path = Path(rate=rate, trip=trip)
            joined, other = path.add(Flow(controller=Controller(delay=JOINED_DELAY))), path.add(Flow())
            path.run(16.0)
            before = joined.got, other.got
            path.run(20.0)
            shares = joined.got - before[0], other.got - before[1]
            self.assertGreater(min(shares), least * sum(shares), (trip, rate, shares))
            self.assertGreater(joined.got, other.got)

    def test_jitter(self) -> None:
        """Some of it costs nothing."""
        path = Path(jitter=TRIP / 10)
        flow = path.add(Flow())
        path.run(3.0)
        self.assertGreater(self.used(path, flow, 10.0), 0.9)

    def test_a_second_flow(self) -> None:
        """It begins while the first fills the line, and gets at least two fifths; so does the first."""
        for trip in (0.02, TRIP):
            path = Path(trip=trip)
            first = path.add(Flow())
            path.run(4.0)
            second = path.add(Flow())
            path.run(16.0)
            before = first.got, second.got
            path.run(20.0)
            shares = first.got - before[0], second.got - before[1]
            self.assertGreater(min(shares), 0.4 * sum(shares), (trip, shares))
            self.assertGreater(sum(shares), 0.95 * RATE * 20.0)

    def test_many_flows_for_long(self) -> None:
        """None takes the bytes of the others for a longer path: what waits does not grow from look to look."""
        for trip in (0.02, TRIP):
            path = Path(trip=trip)
            flows = []
            for _ in range(4):
                flows.append(path.add(Flow()))
                path.run(0.7)
            path.run(150.0)
            before = [flow.got for flow in flows]
            path.run(20.0)
            shares = [flow.got - had for flow, had in zip(flows, before, strict=True)]
            waits = max(flow.seen[-1][2] for flow in flows) - trip
            allowed = 4 * ALLOWED_BYTES / RATE + trip * ALLOWED_SHARE + ALLOWED_DELAY
            self.assertLess(waits, 2 * allowed, trip)
            self.assertGreater(min(shares), 0.8 * sum(shares) / 4, shares)
            self.assertGreater(sum(shares), 0.95 * RATE * 20.0)

    def test_after_a_pause(self) -> None:
        """A sender that had nothing to send knows nothing new about the path: its window is what it was."""
        path = Path()
        flow = path.add(Flow(wants=lambda now: float("inf") if now < 5.0 or now >= 60.0 else 0.0))
        path.run(59.0)
        before = flow.controller.size
        path.run(1.0 + 1.5 * TRIP)
        self.assertGreater(flow.got, 0)
        self.assertGreater(flow.controller.size, 0.9 * before)
        self.assertLess(flow.controller.size, 1.2 * before)


class ProbeTests(SynchronousTestCase):
    """Now and then the path is measured again."""

    def moved(self, before: float, after: float, probes: float) -> Flow:
        """The path changes its length after 6 s; the flow has looked so often since then."""
        path = Path(trip=before)
        flow = path.add(Flow())
        path.run(6.0)
        path.trip = after
        path.run(probes * (PROBE_INTERVAL + 1.0))
        self.assertLess(abs(flow.controller._shortest - after), 0.2 * after)
        had = flow.got
        path.run(8.0)
        self.assertGreater((flow.got - had) / (8.0 * RATE), 0.9)
        return flow

    def test_longer(self) -> None:
        """Though the flow never leaves the path empty by itself, it learns of it and fills it again."""
        self.assertGreater(self.moved(0.05, 0.2, 2).controller.size, 0.2 * RATE)

    def test_shorter(self) -> None:
        """What would only wait now is not sent any more. The queue hides it, so that takes several looks."""
        self.assertLess(self.moved(0.2, 0.05, 5).controller.size, 0.1 * RATE)

    def test_sender_that_stops_meanwhile(self) -> None:
        """The window is what it was with the first acknowledgement after the pause."""
        path = Path()
        flow = path.add(Flow())
        sizes: list[int] = []
        while not sizes or flow.controller.size > 0.9 * max(sizes[-100:]):
            path.run(0.01)
            sizes = [seen[1] for seen in flow.seen if seen[0] > 5.0]
            self.assertLess(path.now, 2 * PROBE_INTERVAL)
        flow.wants = lambda now: 0.0
        path.run(60.0)
        flow.wants = lambda now: float("inf")
        path.run(2 * TRIP)
        self.assertGreater(flow.controller.size, 0.9 * max(sizes[-100:]))


class ClockTests(SynchronousTestCase):
    """Somebody sets the clock back by five minutes."""

    def test_goes_on(self) -> None:
        """The flow finds out about a faster line as if nothing had been."""
        path = Path(trip=0.1)
        flow = path.add(Flow())
        path.run(20.0)
        path.set_back(300.0)
        path.rate *= 2
        path.run(10.0)
        had = flow.got
        path.run(5.0)
        self.assertGreater((flow.got - had) / (5.0 * path.rate), 0.9)

    def test_in_a_probe(self) -> None:
        """The window does not stay small for as long as the step was."""
        path = Path()
        flow = path.add(Flow())
        path.run(8.0)
        before = flow.controller.size
        while flow.controller.size > 0.8 * before:
            path.run(0.01)
            self.assertLess(path.now, 3 * PROBE_INTERVAL)
        path.set_back(300.0)
        path.run(3 * TRIP)
        self.assertGreater(flow.controller.size, 0.9 * before)

    def test_before_anything_is_known(self) -> None:
        """The first round trip that is one counts."""
        controller = Controller()
        controller.acknowledged(ACK_INTERVAL, 300.0, 0.0)
        controller.acknowledged(ACK_INTERVAL, 0.0, 0.1)
        self.assertAlmostEqual(controller._shortest, 0.1)


class BoundsTests(SynchronousTestCase):
    """Whatever comes."""

    @given(
        st.lists(
            st.tuples(
                st.floats(0, 20), st.floats(0, 30), st.integers(ACK_INTERVAL, 3 * ACK_INTERVAL // 2), st.booleans()
            ),
            max_size=200,
        )
    )
    def test_any_acknowledgements(self, acknowledgements: list[tuple[float, float, int, bool]]) -> None:
        """Any that can come, in any time, together or not: the window stays between 64 KiB and 16 MiB."""
        controller = Controller()
        now = sent_at = 0.0
        for later, age, amount, limited in acknowledgements:
            if limited:
                controller.limited()
            now += later
            # Acknowledgements come in the order in which the cells were sent.
            sent_at = max(sent_at, now - age)
            controller.acknowledged(amount, sent_at, now)
            self.assertTrue(WINDOW_MIN <= controller.size <= WINDOW_MAX, controller.size)
            self.assertTrue(0 <= controller._shortest)

    def test_a_path_beyond_the_largest_window(self) -> None:
        """It is not filled, and nothing grows."""
        path = Path(rate=1e9, trip=0.3)
        flow = path.add(Flow())
        path.run(5.0)
        self.assertEqual(max(seen[1] for seen in flow.seen), WINDOW_MAX)

    def test_a_line_below_the_smallest_window(self) -> None:
        """It is still used."""
        path = Path(rate=50_000.0, trip=0.01)
        flow = path.add(Flow())
        path.run(120.0)
        self.assertGreater(flow.got, 0.9 * 50_000 * 115)
        self.assertGreaterEqual(min(seen[1] for seen in flow.seen), WINDOW_MIN)

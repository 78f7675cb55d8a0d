"""The service's queue and its demand under a flood, at full size and in virtual time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.onionservice.demand import Demand
from torpydo.onion import LEAST_EFFORT, IntroductionQueue

STEP = 0.02
FLOOD = 2500
"""Introductions a second: ten times what is served."""


class FloodTests(SynchronousTestCase):
    """Attackers make no effort; clients do what the descriptor says, which they have found at some time before."""

    def test_honest_clients_come_through(self) -> None:
        """Nine of ten at their first or second introduction, from the first second of the flood on."""
        queue: IntroductionQueue[int | None] = IntroductionQueue(2500, 10.0, 250.0, 25.0)
        demand = Demand(queue.per_second)
        known = [0]
        now, served, honest, asked = 0.0, set[int](), 0, dict[int, float]()
        while now < 40.0:
            now += STEP
            # Fifty clients a second, half of which have a descriptor of before the flood ...
            honest += 1
            queue.put(honest, known[-1] if honest % 2 else 0, now)
            asked[honest] = now
            # ... and those that were not answered within ten seconds, with more. Attackers come after each of them.
            for number in [one for one, at in asked.items() if now - at >= 10.0]:
                del asked[number]
                if number not in served:
                    queue.put(number, max(LEAST_EFFORT, 2 * known[-1]), now)
            for _ in range(round(FLOOD * STEP)):
                queue.put(None, 0, now)
            demand.look(queue.waiting, (), now)
            known.append(demand.effort)
            while (one := queue.take(now)) is not None:
                served.add(one[0])
        served.discard(None)
        early = range(1, honest - 500)
        came = sum(number in served for number in early) / len(early)
        self.assertGreaterEqual(came, 0.9)
        self.assertEqual(demand.effort, LEAST_EFFORT)

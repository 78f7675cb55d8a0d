"""Measures the lines of ``dhtlines``: lookups in simulated networks, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from torpydo.cli.bench.dhtlines import DHT_KEYS, DHT_LINES, DHT_SIZES, among
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.tasks import Tasks

__all__ = ["DHTLookups", "DHTPlan"]

LIARS = "liars"
OTHERS = ("sybils", "late", "churn", "cut off")
"""What a fifth of the nodes does besides, at the sizes that have goals."""


@attrs.frozen
class DHTPlan:
    """How much is measured."""

    keys: frozenset[str] = frozenset(DHT_KEYS)
    sizes: tuple[int, ...] = DHT_SIZES
    percents: tuple[float, ...] = (0, 20)
    """Of all nodes, how many are liars."""
    others: tuple[str, ...] = OTHERS
    other_sizes: tuple[int, ...] = (1000,)
    lookups: int = 200
    seed: int = 1

    @classmethod
    def short(cls, keys: Iterable[str] = DHT_KEYS) -> DHTPlan:
        """Enough to show that it works."""
        return cls(frozenset(keys), (20, 40, 80), other_sizes=(20,), lookups=20)

    @property
    def points(self) -> list[tuple[int, float, str]]:
        """What is simulated: how many nodes, what percentage of them does something else, and what."""
        of_liars = [(size, percent, LIARS) for size in self.sizes for percent in self.percents]
        share = max(self.percents)
        # With nobody to do it there is nothing else to show.
        others = [(size, share, case) for size in self.sizes if size in self.other_sizes for case in self.others]
        return of_liars + (others if share else [])


@attrs.define(eq=False)
class DHTLookups:
    """Measures.

    :param say: told what is measured next
    """

    tasks: Tasks
    plan: DHTPlan
    say: Callable[[str], None]
    figures: list[Figure] = attrs.field(factory=list)

    async def measure(self) -> list[Figure]:
        """Simulate everything that the plan asks for."""
        for size, percent, case in self.plan.points:
            conditions = among(size, percent, case)
            self.say(f"simulating dht: {conditions}")
            found: Mapping[str, Sequence[float]] = await self.tasks.run(
                "dht", "torpydo.testing.dhtlookups", f"--nodes={size}", f"--percent={percent}", f"--case={case}",
                f"--lookups={self.plan.lookups}", f"--seed={self.plan.seed}",
            )  # fmt: skip
            self._add("dht_found", [100 * sum(found["found"]) / len(found["found"])], conditions)
            self._add("dht_hops", found["hops"], conditions)
            self._add("dht_questions", found["questions"], conditions)
            self._add("dht_time", found["seconds"], conditions)
        return self.figures

    def _add(self, key: str, samples: Sequence[float], conditions: str) -> None:
        if key in self.plan.keys:
            self.figures.append(Figure(key, "torpydo", conditions, DHT_LINES[key].unit, tuple(samples)))

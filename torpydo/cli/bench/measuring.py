"""Runs the loads against one system after the other and turns what they print into figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import attrs

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import LINES
from torpydo.cli.bench.plan import GROUPS, Plan
from torpydo.cli.bench.systems import System
from torpydo.cli.bench.tasks import Tasks
from torpydo.errors import TorpydoError

__all__ = ["Measuring"]


@attrs.define(eq=False)
class Measuring:
    """Collects the figures of one benchmark.

    :param server_port: of the destination
    :param say: told what is measured next
    """

    plan: Plan
    tasks: Tasks
    server_port: int
    say: Callable[[str], None]
    figures: list[Figure] = attrs.field(factory=list)
    seconds: dict[str, Any] = attrs.field(factory=dict)
    """For each system and key: MB/s of each second of the last run."""

    def _add(self, system: str, samples: Mapping[str, list[float]]) -> None:
        for key in self.plan.keys:
            if samples.get(key):
                figure = Figure(key, system, str(self.plan.conditions), LINES[key].unit, tuple(samples[key]))
                self.figures.append(figure)

    async def system(self, system: System) -> None:
        """Measure every line on *system*, which has started."""
        try:
            await self.loads(system.name, self.server_port, [f"--socks={system.socks_port}"])
            await self._circuits(system)
        except TorpydoError:
            # A process that is gone is the better reason.
            system.check()
            raise

    async def loads(
        self, name: str, port: int, options: list[str], without: frozenset[str] = frozenset()
    ) -> None:
        """Run the loads through whatever leads to the destination at *port*.

        :param without: loads that make no sense there
        """
        for group in self.plan.load_groups:
            loads = [load for load in group if load not in without]
            if not loads:
                continue
            self.say(f"measuring {name}: {', '.join(loads)}")
            found = await self.tasks.run(
                f"{loads[0]} of {name}", "torpydo.cli.bench.loads", *loads, f"--server={port}", *options,
                *self.plan.load_options,
            )  # fmt: skip
            wanted = {key: values for key, values in found["samples"].items() if key in GROUPS[group]}
            self._add(name, wanted)
            self.seconds.setdefault(name, {}).update(found["seconds"])

    async def _circuits(self, system: System) -> None:
        plan = self.plan
        samples: dict[str, list[float]] = {}
        for key in ("build", "builds_per_second"):
            if key not in plan.keys:
                continue
            self.say(f"measuring {system.name}: {key}")
            for _ in range(plan.runs):
                if key == "build":
                    value = 1000 * median(await system.build_times(plan.builds))
                else:
                    value = await system.builds_per_second(plan.builds_at_once)
                samples.setdefault(key, []).append(value)
        self._add(system.name, samples)

"""What the simulations with virtual time have in common: which worlds are run, each in a process of its own, and the
conditions of their figures. The DHT's are in ``dhtlookups``, those of peers in ``peersfound``.

The size and the case stand in the place of the conditions: ``n = 1000, 20 % liars``. No figure depends on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.lines import Line
from torpydo.cli.bench.tasks import Tasks

__all__ = ["Found", "Kind", "PlanT", "SimulatedPlan", "among", "case_of", "simulate", "size_of"]

HONEST = "all honest"
LIARS = "liars"

Found = Mapping[str, Sequence[float]]
"""What a simulation prints: samples by name."""


def among(size: int, percent: float, case: str) -> str:
    """The conditions of a figure that was measured with so many members.

    :param percent: how many of them are those of *case*
    """
    return f"n = {size}, {percent:g} % {case}" if percent else f"n = {size}, {HONEST}"


def size_of(conditions: str) -> int:
    """How many members there were under conditions of :func:`among`."""
    return int(conditions.partition(",")[0].removeprefix("n = "))


def case_of(conditions: str) -> str:
    """What stands in conditions of :func:`among` besides the size."""
    return conditions.partition(", ")[2]


@attrs.frozen(kw_only=True)
class SimulatedPlan:
    """How much is simulated."""

    keys: frozenset[str]
    sizes: tuple[int, ...]
    others: tuple[str, ...]
    """What a share of the members does besides lying, ..."""
    other_sizes: tuple[int, ...]
    """... and at which sizes."""
    percents: tuple[float, ...] = (0, 20)
    """Of all members, how many are liars."""
    seed: int = 1

    @property
    def points(self) -> list[tuple[int, float, str]]:
        """What is simulated: how many members, what percentage of them does something else, and what."""
        of_liars = [(size, percent, LIARS) for size in self.sizes for percent in self.percents]
        share = max(self.percents)
        # With nobody to do it there is nothing else to show.
        others = [(size, share, case) for size in self.sizes if size in self.other_sizes for case in self.others]
        return of_liars + (others if share else [])


PlanT = TypeVar("PlanT", bound=SimulatedPlan)


@attrs.frozen
class Kind(Generic[PlanT]):
    """What is simulated.

    :ivar what: in a word
    :ivar module: the program
    :ivar lines: what it measures, by key
    :ivar options: those of the program that others do not have, for a plan and a size
    :ivar samples: the keys of the lines, with what they show of what the program has printed
    """

    what: str
    module: str
    lines: Mapping[str, Line]
    options: Callable[[PlanT, int], Sequence[str]]
    samples: Callable[[Found], Mapping[str, Sequence[float]]]


async def simulate(kind: Kind[PlanT], tasks: Tasks, plan: PlanT, say: Callable[[str], None]) -> list[Figure]:
    """Simulate everything that *plan* asks for.

    :param say: told what is simulated next
    """
    figures = []
    for size, percent, case in plan.points:
        conditions = among(size, percent, case)
        say(f"simulating {kind.what}: {conditions}")
        found: Found = await tasks.run(
            kind.what, kind.module, f"--percent={percent}", f"--case={case}", f"--seed={plan.seed}",
            *kind.options(plan, size),
        )  # fmt: skip
        for key, samples in kind.samples(found).items():
            # There may be none of a time that was never reached.
            if key in plan.keys and samples:
                figures.append(Figure(key, "torpydo", conditions, kind.lines[key].unit, tuple(samples)))
    return figures

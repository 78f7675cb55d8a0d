"""What a service asks of those who want to be introduced: the puzzle in its descriptor, and what a solution is worth.

The effort that it suggests rises while more wait that have made it than are served in a second, and falls when that is
long over. No I/O, no clock: time is an argument. Source: docs/protocol-onion, Puzzles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from torpydo.onion import LEAST_EFFORT, MOST_EFFORT, Meeting, Puzzle

__all__ = ["Demand"]

RAISE: Final = 30.0
"""Seconds from one rise to the next: clients must have found the descriptor with the first."""
LOWER: Final = 300.0
"""Seconds without a crowd after which the effort falls."""
FALL: Final = 4
"""By what it is divided then. It doubles when it rises."""
SEED_LIFE: Final = 7200.0
"""Seconds after which another seed is published. Clients use a descriptor for half an hour."""
SOLUTIONS: Final = 1 << 17
"""Solutions after which the same is done: about as many as three introduction points pass on in half an hour. All that
were counted must be remembered."""


@attrs.define(eq=False)
class _Seed:
    """A puzzle, and the cookies that it was solved for."""

    puzzle: Puzzle
    since: float
    solved: set[bytes] = attrs.field(factory=set)


class Demand:
    """The puzzle of one service.

    :param now: seconds
    :param many: introductions that are a crowd when they wait together
    """

    def __init__(self, rng: Callable[[int], bytes], now: float, many: float) -> None:
        self.effort = 0
        self._rng = rng
        self._many = many
        self._seeds = [_Seed(Puzzle(rng(32)), now)]
        self._changed = float("-inf")
        self._crowded = float("-inf")

    @property
    def puzzle(self) -> Puzzle:
        """For the descriptor."""
        return attrs.evolve(self._seeds[0].puzzle, effort=self.effort)

    def worth(self, meeting: Meeting) -> int:
        """The effort that *meeting* proves. A solution counts once, and with the last seed as well as with this one."""
        for seed in self._seeds:
            effort = seed.puzzle.effort_of(meeting.cookie, meeting.nonce, meeting.effort)
            if effort:
                if meeting.cookie in seed.solved:
                    return 0
                seed.solved.add(meeting.cookie)
                return effort
        return 0

    def look(self, waiting: Callable[[int], int], now: float) -> bool:
        """See whether the effort, or the seed, is to be another one; tells whether it is.

        :param waiting: how many introductions wait with at least that effort
        """
        return any((self._look_at_effort(waiting, now), self._look_at_seed(now)))

    def _look_at_effort(self, waiting: Callable[[int], int], now: float) -> bool:
        lower = self.effort // FALL if self.effort >= FALL * LEAST_EFFORT else 0
        effort = self.effort
        if waiting(effort) >= self._many:
            self._crowded = now
            if now - self._changed >= RAISE:
                effort = min(max(LEAST_EFFORT, 2 * effort), MOST_EFFORT)
        elif waiting(lower) >= self._many:
            # Those who have made no effort do not raise it, or honest clients would pay; yet it keeps them behind.
            self._crowded = now
        elif now - max(self._crowded, self._changed) >= LOWER:
            effort = lower
        if effort == self.effort:
            return False
        self.effort = effort
        self._changed = now
        return True

    def _look_at_seed(self, now: float) -> bool:
        seed = self._seeds[0]
        if now - seed.since < SEED_LIFE and len(seed.solved) < SOLUTIONS:
            return False
        self._seeds = [_Seed(Puzzle(self._rng(32)), now), seed]
        return True

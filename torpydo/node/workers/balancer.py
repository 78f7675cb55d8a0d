"""Which worker gets the next connection: the one with the fewest, each in its turn where they have the same.

Only accepted connections count: a worker that opens many links has not more circuits for it. Knows workers by number
only, and no input or output. Called by supervisor.
"""

from __future__ import annotations

import attrs

__all__ = ["Balancer"]


@attrs.define(eq=False)
class _Load:
    """What one worker has.

    :ivar trusted: whether nothing speaks against it: it has reported, or was never there before
    :ivar handed: connections that it was given
    :ivar taken: how many of them had arrived at its last report ...
    :ivar open: ... and how many of these were still open
    :ivar turn: when it was chosen last
    """

    turn: int
    trusted: bool
    handed: int = 0
    taken: int = 0
    open: int = 0

    @property
    def connections(self) -> int:
        """Connections that it has, and those that are on their way to it."""
        return self.open + self.handed - self.taken


@attrs.define(eq=False)
class Balancer:
    """The loads of all workers that run."""

    _loads: dict[int, _Load] = attrs.field(factory=dict)
    _turn: int = 0

    def add(self, worker: int, *, again: bool = False) -> None:
        """A process was started as *worker*.

        :param again: whether the one before it has ended, and it may end as well
        """
        self._loads[worker] = _Load(0, not again)

    def remove(self, worker: int) -> None:
        """That process is ending or gone, and gets nothing any more. Twice does no harm."""
        self._loads.pop(worker, None)

    def reported(self, worker: int, *, taken: int, still_open: int) -> None:
        """*worker* says how many connections it has ever taken, and how many of them are open."""
        load = self._loads.get(worker)
        if load is not None:
            load.trusted, load.taken, load.open = True, taken, still_open

    def given_up(self, worker: int) -> None:
        """A connection that *worker* was chosen for will never arrive there."""
        load = self._loads.get(worker)
        if load is not None:
            load.handed -= 1

    def take(self) -> int | None:
        """Choose the worker for a connection.

        One that was started again is chosen only when it has reported, or if all are like that. At the start of the
        node all are chosen at once: connections wait on the way, and whoever is ready first does not get them all.

        :return: ``None`` if no worker runs
        """
        trusted = {number: load for number, load in self._loads.items() if load.trusted}
        candidates = trusted or self._loads
        if not candidates:
            return None
        chosen = min(candidates, key=lambda number: (candidates[number].connections, candidates[number].turn, number))
        self._turn += 1
        load = candidates[chosen]
        load.turn = self._turn
        load.handed += 1
        return chosen

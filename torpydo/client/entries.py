"""What a pool of circuits keeps: a circuit and whose it is, a stream that waits. Used by circuitpool alone."""

from __future__ import annotations

from collections.abc import Hashable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torpydo.client.builds import UsableCircuit
from torpydo.client.paths import Want

__all__ = ["Entry", "Waiter"]


@attrs.define(eq=False)
class Entry:
    """A circuit that is built.

    :ivar dirty_since: when it got its first stream; ``None`` while it is clean
    :ivar isolation: whose it is; means nothing while it is clean
    :ivar retired: whether it gets no more streams
    """

    circuit: UsableCircuit
    built_at: float
    dirty_since: float | None = None
    isolation: Hashable = None
    retired: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether it waits for its first stream."""
        return self.dirty_since is None and not self.retired


@attrs.define(eq=False)
class Waiter:
    """A stream that waits for a circuit.

    :ivar failures: builds for it that failed
    """

    want: Want
    deferred: Deferred[UsableCircuit]
    timer: IDelayedCall
    failures: int = 0

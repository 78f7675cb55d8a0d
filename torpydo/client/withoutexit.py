"""Ready without an exit: a network may have none, for a node's policy is closed unless somebody opens it.

Nothing can be kept for streams then, and a client is ready as soon as any circuit can be built: onion services and the
hash table need no exit. Called by routing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client.builds import UsableCircuit
from torpydo.errors import CircuitBuildError, TorpydoError

__all__ = ["WithoutExit"]


class WithoutExit:
    """Looks whether circuits can be built that need no exit.

    :param build: builds one, along a path without the nodes that have just failed
    :param tries: how many may fail in a row
    :param works: given the first that was built, which is closed then
    :param fails: called with the reason why none can be built
    """

    log = Logger()

    def __init__(
        self,
        build: Callable[[], Deferred[UsableCircuit]],
        tries: int,
        works: Callable[[UsableCircuit], None],
        fails: Callable[[TorpydoError], None],
    ) -> None:
        self._build = build
        self._tries = tries
        self._works = works
        self._fails = fails
        self._trying: Deferred[Any] | None = None

    def look(self) -> None:
        """Try it, unless that is under way."""
        if self._trying is None:
            trying = self._trying = Deferred.fromCoroutine(self._try())
            # It may be over at once.
            trying.addBoth(self._over).addCallbacks(self._built, self._failed)

    def cancel(self) -> None:
        """Give up."""
        if self._trying is not None:
            self._trying.cancel()

    async def _try(self) -> UsableCircuit:
        for _ in range(self._tries - 1):
            try:
                return await self._build()
            except CircuitBuildError:
                continue
        return await self._build()

    def _over(self, result: Any) -> Any:
        self._trying = None
        return result

    def _built(self, circuit: UsableCircuit) -> None:
        self.log.info("no listed node is an exit: only onion services can be reached")
        self._works(circuit)
        circuit.close()

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, TorpydoError):
            self._fails(failure.value)
        elif not failure.check(CancelledError):
            self.log.failure("a circuit without an exit could not be built", failure)

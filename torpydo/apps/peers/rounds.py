"""Now and then a few peers are dialled, which is called a round. Whom, is decided in ``torpydo.peers``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.peers.needs import PeerClient
from torpydo.apps.peers.streams import ExchangeProtocol
from torpydo.apps.peers.timers import Timers
from torpydo.errors import CircuitError, PathError, StreamError, TorpydoError
from torpydo.onion import OnionName
from torpydo.peers import Address, Exchange, Table, Visits

__all__ = ["Rounds", "jittered"]

MEETING: Final = 0.2
"""The part of the time between two rounds that is left of it while somebody is known who was not met."""
FAST: Final = 15.0
FAST_ROUNDS: Final = 8
"""Seconds between so many rounds, the first times."""
AT_ONCE: Final = 2
"""Peers that are dialled in a round, and at one time."""
OPEN: Final = 60.0
"""Seconds for connecting to a peer."""
ROUND: Final = "round"


def jittered(delay: float, randbelow: Callable[[int], int]) -> float:
    """A third more or less: peers that were started together must not stay so."""
    return delay * (667 + randbelow(667)) / 1000


class Rounds:
    """The visits of one peer.

    :param client: connects to others
    :param isolation: no stream of the application has it: others must not see that a visit and such a stream are of one
    :param interval: seconds from one round to the next
    :param begins: called before each round
    :param tell: called after everything that may have changed the table
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        client: PeerClient,
        table: Table,
        visits: Visits,
        timers: Timers,
        *,
        isolation: object,
        interval: float,
        rng: Callable[[int], bytes],
        randbelow: Callable[[int], int],
        begins: Callable[[], None],
        tell: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._table = table
        self._visits = visits
        self._timers = timers
        self._isolation = isolation
        self._interval = interval
        self._rng = rng
        self._randbelow = randbelow
        self._begins = begins
        self._tell = tell
        self._visiting: dict[OnionName, Deferred[None]] = {}
        self._rounds = 0
        self._news = 0

    def start(self) -> None:
        """Begin, with quick ones."""
        self._rounds = 0
        self.soon()

    def stop(self) -> None:
        """Give up those that are open."""
        for visit in list(self._visiting.values()):
            visit.cancel()

    def soon(self) -> None:
        """A round at the next occasion; one that is due anyway is not put off."""
        self._timers.later(ROUND, 0.0, self._round)

    def spread(self) -> None:
        """There is something to tell: visit somebody at once, even those who rest."""
        self._news = AT_ONCE
        self.soon()

    def _round(self) -> None:
        self._rounds += 1
        self._begins()
        self._visits.forget()
        for address in self._visits.choose(AT_ONCE - len(self._visiting), self._visiting, news=self._news > 0):
            # Whoever watches may have stopped everything.
            if not self._timers.running:
                return
            self._news = max(0, self._news - 1)
            visit = Deferred.fromCoroutine(self._visit(address))
            if not visit.called:
                self._visiting[address.name] = visit
            visit.addBoth(self._visited, address.name)
        self._timers.later(ROUND, jittered(self._pause(), self._randbelow), self._round)

    def _pause(self) -> float:
        if self._rounds <= FAST_ROUNDS:
            return FAST
        return self._interval * (MEETING if self._visits.has_strangers else 1)

    async def _visit(self, address: Address) -> None:
        protocol = ExchangeProtocol(self._reactor, Exchange(self._table, address.name.key.raw, self._rng), self._tell)
        factory = Factory.forProtocol(lambda: protocol)
        factory.noisy = False
        try:
            opening = self._client.open_stream(factory, str(address.name), address.port, isolation=self._isolation)
            await opening.addTimeout(OPEN, self._reactor)
            if await protocol.done:
                self._visits.succeeded(address.name)
                return
        except (PathError, CircuitError):
            # That is this side's trouble, and says nothing of the peer.
            self._visits.failed(address.name)
            return
        except (StreamError, TimeoutError) as error:
            self.log.debug("a peer was not reached: {why}", why=str(error))
        except CancelledError:
            protocol.abort()
            raise
        self._visits.failed(address.name)
        self._table.failed(address.name.key.raw)

    def _visited(self, result: Failure | None, name: OnionName) -> None:
        self._visiting.pop(name, None)
        if isinstance(result, Failure) and not result.check(CancelledError):
            # Or it would be dialled again in each round.
            self._visits.failed(name)
            if result.check(TorpydoError):
                self.log.debug("a peer was not visited: {why}", why=result.getErrorMessage())
            else:
                self.log.failure("a visit to a peer failed in an unexpected way", result)
        self._tell()
        if self._news:
            self.soon()

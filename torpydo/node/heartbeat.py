"""Heartbeats: the node tells each of its pools that it is alive (DESIGN 5), each pool on its own.

A pool that is down, or refuses, is said once, and so is its recovery; the tries go on with growing pauses. Nothing
that a pool writes is ever repeated in the log; the operator who asks for the status sees it. Called by service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import PoolId, SigningKey
from torpydo.directory import HeartbeatAnswer, PoolURL, sign_heartbeat
from torpydo.errors import DirectoryError, PoolUnreachable
from torpydo.net import Fetched, fetch, read_skew
from torpydo.node.report import PoolStanding

__all__ = ["Heartbeats"]

PATH: Final = "/v1/heartbeat"
TIME_PATH: Final = "/v1/time"
ANSWER_LIMIT: Final = 4096
"""Bytes of an answer: 12, or a line of text with a refusal."""
ANSWER_TIME: Final = 30.0
"""Seconds for an answer: the pool may first open a link to this node, which takes it ten."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 120.0
"""Seconds between two tries of a pool that does not take heartbeats: doubled each time."""
KEY_RETRY: Final = 1.0
"""Seconds between two looks whether the key of a pool has become known."""
NAMED_SKEW: Final = 60.0
"""Seconds of clock difference that are worth telling; at five minutes pools refuse."""
MOST_SAID: Final = 200
"""Characters of a pool's own words that the status shows."""

FetchFunction = Callable[..., Deferred[Fetched]]
"""Called like :func:`torpydo.net.fetch`."""

# Our own words for each status: what the pool writes beside it is not ours to repeat.
_REASONS: Final = {
    400: "it cannot use the descriptor or the heartbeat",
    403: "it does not list this address: it is private, or too many nodes are on it",
    409: "it has a later descriptor or heartbeat; does another node use the same key, or did the clock go back?",
    413: "the descriptor is too large; make the exit policy or the family shorter",
    422: "it cannot open a link to the advertised address; check --advertise, --listen and the firewall in between",
    428: "it asks for more work than this node's stamp has, or the stamp does not hold; see torpydo status",
    429: "it was asked too often",
    503: "it is busy",
}


_TRY_LATER: Final = (429, 503)
"""Statuses that say nothing of the node."""


class _Refused(DirectoryError):
    """A pool does not take the heartbeat."""

    def __init__(self, status: int, said: bytes, detail: str = "") -> None:
        unknown = f"it answers with status {status}; it may not be a torpydo pool"
        super().__init__(_REASONS.get(status, unknown) + detail)
        self.status = status
        self.said = _printable(said)


@attrs.define(eq=False)
class _Pool:
    """One pool."""

    url: PoolURL
    failures: int = 0
    trouble: object = None
    """Which kind of trouble was said last; ``None``: it takes heartbeats."""
    reason: str | None = None
    said: str | None = None
    """Why it took no heartbeat the last time, and its own words if it answered."""
    heard_at: float | None = None
    """When it took a heartbeat last, on the reactor's clock."""
    known: bool = False
    skewed: bool = False
    last_ms: int = 0
    """The time in the last heartbeat that it may have taken: the next one's is later."""
    timer: IDelayedCall | None = None
    asking: Deferred[Any] | None = None
    again: bool = False

    @property
    def name(self) -> str:
        """For the log."""
        return f"{self.url.host}:{self.url.port}"


class Heartbeats:
    """The heartbeats to all pools.

    :param reactor: for requests and timers
    :param urls: the pools
    :param key: the node's identity
    :param document: the signed descriptor, ``None`` as long as there is none
    :param pool_id: the key of a pool, ``None`` as long as it is not known
    :param wall_clock: seconds since 1970
    :param randbelow: for the jitter
    :param fetch: for tests
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        urls: Sequence[PoolURL],
        key: SigningKey,
        *,
        document: Callable[[], bytes | None],
        pool_id: Callable[[PoolURL], PoolId | None],
        wall_clock: Callable[[], float],
        randbelow: Callable[[int], int],
        fetch: FetchFunction = fetch,
    ) -> None:
        self._reactor = reactor
        self._key = key
        self._document = document
        self._pool_id = pool_id
        self._wall_clock = wall_clock
        self._randbelow = randbelow
        self._fetch = fetch
        self._pools = [_Pool(url) for url in dict.fromkeys(urls)]
        self._running = False

    def start(self) -> None:
        """Begin."""
        self._running = True
        self.changed()

    def stop(self) -> None:
        """Send no more; what is being sent is cancelled."""
        self._running = False
        for pool in self._pools:
            if pool.timer is not None:
                pool.timer.cancel()
                pool.timer = None
            if pool.asking is not None:
                pool.asking.cancel()

    def changed(self) -> None:
        """Tell every pool now: the descriptor is a new one."""
        if not self._running:
            return
        for pool in self._pools:
            if pool.asking is not None:
                pool.again = True
            else:
                self._begin(pool)

    def standings(self) -> tuple[PoolStanding, ...]:
        """What each pool makes of this node, in the order of the options."""
        return tuple(self._standing(pool) for pool in self._pools)

    def _standing(self, pool: _Pool) -> PoolStanding:
        # One that cannot be asked, or has no time, may list the node for some time yet.
        lists: bool | None = None
        if pool.reason is None and pool.heard_at is not None:
            lists = True
        elif isinstance(pool.trouble, int) and pool.trouble not in _TRY_LATER:
            lists = False
        return PoolStanding(
            pool=pool.name,
            lists_this_node=lists,
            heard=None if pool.heard_at is None else self._reactor.seconds() - pool.heard_at,
            error=pool.reason,
            says=pool.said or None,
        )

    # -- One pool

    def _begin(self, pool: _Pool) -> None:
        if pool.timer is not None and pool.timer.active():
            pool.timer.cancel()
        pool.timer = None
        pool.again = False
        document, pool_id = self._document(), pool.url.pool_id or self._pool_id(pool.url)
        if document is None:
            # changed() is called as soon as there is one.
            return
        if pool_id is None:
            # Its first listing shows the key; what is wrong with the pool is said by whoever fetches that.
            pool.timer = self._reactor.callLater(KEY_RETRY, self._begin, pool)
            return
        # Assigned before the callbacks are added: it may be over already.
        asking = pool.asking = Deferred.fromCoroutine(self._beat(pool, document, pool_id))
        asking.addCallbacks(self._succeeded, self._failed, callbackArgs=(pool,), errbackArgs=(pool,))
        asking.addErrback(lambda failure: self.log.failure("a heartbeat could not be judged", failure))

    async def _beat(self, pool: _Pool, document: bytes, pool_id: PoolId) -> HeartbeatAnswer:
        before = pool.last_ms
        pool.last_ms = max(int(self._wall_clock() * 1000), before + 1)
        body = sign_heartbeat(document, pool_id, pool.last_ms, self._key)
        answer = await self._ask(pool, PATH, method=b"POST", body=body, timeout=ANSWER_TIME)
        if answer.status == 200:
            return HeartbeatAnswer.parse(answer.body)
        if answer.status == 400:
            # It was not taken, perhaps for its time: a clock that has been set right begins from there.
            pool.last_ms = before
        raise _Refused(answer.status, answer.body, await self._skew_text(pool) if answer.status == 400 else "")

    def _ask(self, pool: _Pool, path: str, **options: Any) -> Deferred[Fetched]:
        return self._fetch(self._reactor, pool.url.host, pool.url.port, path, limit=ANSWER_LIMIT, **options)

    async def _skew_text(self, pool: _Pool) -> str:
        try:
            answer = await self._ask(pool, TIME_PATH, timeout=10.0)
        except PoolUnreachable:
            return ""
        skew = read_skew(answer, self._wall_clock())
        return f"; {_describe_skew(skew)}" if skew is not None and abs(skew) > NAMED_SKEW else ""

    def _succeeded(self, answer: HeartbeatAnswer, pool: _Pool) -> None:
        if pool.trouble is not None or not pool.known:
            self.log.info("pool {pool} lists this node", pool=pool.name)
        pool.known, pool.trouble, pool.failures = True, None, 0
        pool.reason, pool.said, pool.heard_at = None, None, self._reactor.seconds()
        skew = self._wall_clock() - answer.pool_time
        skewed = abs(skew) > NAMED_SKEW
        if skewed and not pool.skewed:
            self.log.warn("pool {pool}: {skew}", pool=pool.name, skew=_describe_skew(skew))
        pool.skewed = skewed
        self._finished(pool, answer.delay)

    def _failed(self, failure: Failure, pool: _Pool) -> None:
        if not self._running:
            # It was cancelled by the stop.
            pool.asking = None
            return
        if failure.check(DirectoryError):
            error = failure.value
            trouble: object = error.status if isinstance(error, _Refused) else type(error)
            if trouble != pool.trouble:
                self.log.warn("pool {pool} does not list this node: {error}", pool=pool.name, error=str(error))
        else:
            trouble = "unexpected"
            self.log.failure("a heartbeat to {pool} failed in an unexpected way", failure, pool=pool.name)
        pool.trouble, pool.reason = trouble, failure.getErrorMessage()
        pool.said = failure.value.said if isinstance(failure.value, _Refused) else None
        pool.failures += 1
        longest = min(FIRST_RETRY * 2.0 ** min(pool.failures - 1, 16), LAST_RETRY)
        self._finished(pool, longest * (0.5 + self._randbelow(1001) / 2000))

    def _finished(self, pool: _Pool, delay: float) -> None:
        pool.asking = None
        if self._running:
            pool.timer = self._reactor.callLater(0 if pool.again else delay, self._begin, pool)


def _describe_skew(skew: float) -> str:
    direction = "ahead of" if skew > 0 else "behind"
    return f"this computer's clock is {abs(skew):.0f} s {direction} the pool's; set the clock that is wrong"


def _printable(said: bytes) -> str:
    """What a stranger has written, as one short line that no terminal obeys."""
    words = " ".join(said.decode("ascii", "replace").split())
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in words)[:MOST_SAID]

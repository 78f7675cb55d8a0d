"""The listings of all pools: cached on disk, fetched again and again, verified, merged into one NetDir.

Every pool is asked on its own, so that one that hangs, lies or is down costs nothing but itself. Nothing here
decides what a listing means (directory does) or how HTTP is spoken (fetch does). Called by client and node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import PoolId
from torpydo.directory import Listing, NetDir, PoolURL, listing_etag, majority, parse_listing, peek_pool_id
from torpydo.errors import (
    ConfigurationError,
    CryptoError,
    DirectoryError,
    ListingError,
    PoolUnreachable,
    TorpydoError,
)
from torpydo.net.fetch import Fetched, fetch
from torpydo.net.listingcache import CachedListing, ListingCache
from torpydo.net.state import StateDirectory

LISTING_PATH = "/v1/listing"
TIME_PATH = "/v1/time"

FIRST_RETRY = 1.0
LAST_RETRY = 600.0
"""Seconds between two tries of a pool that fails: doubled each time, from the first to the last."""
SHORTEST_REFRESH = 10.0
LONGEST_REFRESH = 3600.0
"""Seconds to the next fetch, whatever ``fresh_until`` a pool writes."""
NAMED_SKEW = 300.0
"""Seconds of clock difference that are worth telling: beyond it listings are refused."""

T = TypeVar("T")

FetchFunction = Callable[..., Deferred[Fetched]]
"""Called like :func:`torpydo.net.fetch.fetch`."""


@attrs.define(eq=False)
class _Pool:
    """What is known of one pool."""

    url: PoolURL
    pool_id: PoolId | None
    """Pinned: from the URL, from the disk, or at first use."""
    sequence: int = 0
    """The highest that was ever taken: nothing older is (SECURITY N3)."""
    data: bytes = b""
    listing: Listing | None = None
    error: TorpydoError | None = None
    failures: int = 0
    timer: IDelayedCall | None = None
    fetching: Deferred[None] | None = None
    waiting: list[Deferred[None]] = attrs.field(factory=list)


class ListingRefresh:
    """Keeps one merged view of the network fresh.

    :param reactor: for the fetches and the timers
    :param urls: the pools; the same pool twice counts once
    :param state: where listings survive a restart; ``None`` keeps nothing
    :param threshold: how many pools must list a node; ``None`` is the majority
    :param wall_clock: seconds since 1970
    :param randbelow: for the jitter
    :param on_change: called with each view that differs from the last, the first included
    :param fetch: for tests
    :raises ConfigurationError: if *urls* is empty or *threshold* cannot be reached
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        urls: Sequence[PoolURL],
        *,
        state: StateDirectory | None,
        threshold: int | None = None,
        wall_clock: Callable[[], float],
        randbelow: Callable[[int], int],
        on_change: Callable[[NetDir], None],
        fetch: FetchFunction = fetch,
    ) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        if not self._urls:
            raise ConfigurationError("no pool is named; give at least one pool URL")
        self._needed = majority(len(self._urls)) if threshold is None else threshold
        if not 1 <= self._needed <= len(self._urls):
            raise ConfigurationError(
                f"a threshold of {self._needed} cannot be met by {len(self._urls)} pools; use 1 to {len(self._urls)}"
            )
        self._threshold = threshold
        self._reactor = reactor
        self._cache = ListingCache(state)
        self._wall_clock = wall_clock
        self._randbelow = randbelow
        self._on_change = on_change
        self._fetch = fetch
        self._pools = [_Pool(url, url.pool_id) for url in self._urls]
        self._first: list[Deferred[NetDir]] = []
        self._running = False
        self.netdir: NetDir | None = None
        self.skew: float | None = None

    # -- What a caller asks

    def start(self) -> Deferred[NetDir]:
        """Read what is on disk, then keep all pools asked.

        :return: fires with the first view in which enough pools take part; does not fail but by ``stop``
        """
        self._running = True
        for pool in self._pools:
            self._load(pool)
        self._merge()
        for pool in self._pools:
            self._begin(pool)
        return self.when_usable()

    def when_usable(self) -> Deferred[NetDir]:
        """Fires with the view as soon as there is one."""
        if self.netdir is not None:
            return succeed(self.netdir)
        waiter: Deferred[NetDir] = Deferred(lambda cancelled: _forget(self._first, waiter))
        self._first.append(waiter)
        return waiter

    def stop(self) -> Deferred[None]:
        """Ask nobody any more; what waits is cancelled."""
        self._running = False
        for pool in self._pools:
            if pool.timer is not None:
                pool.timer.cancel()
                pool.timer = None
            if pool.fetching is not None:
                pool.fetching.cancel()
        for waiter in list(self._first):
            waiter.cancel()
        return succeed(None)

    def refresh_now(self) -> Deferred[NetDir]:
        """Ask every pool now.

        :return: fires with the view when all have answered or failed; fails with :class:`PoolUnreachable` when none
            answered, or too few for a view, and with :class:`ListingError` when what they answered was refused
        """
        if not self._running:
            return fail(PoolUnreachable("the listings are not being refreshed"))
        asked = [self._ask(pool) for pool in self._pools]
        left: set[Deferred[None]] = set(asked)

        def forget(cancelled: Deferred[NetDir]) -> None:
            for one in asked:
                one.cancel()

        def done(ignored: object, one: Deferred[None]) -> None:
            left.discard(one)
            if not left and not result.called:
                self._answer(result)

        result: Deferred[NetDir] = Deferred(forget)
        for one in asked:
            one.addCallbacks(done, lambda cancelled: None, callbackArgs=(one,))
        return result

    def last_error(self, url: PoolURL) -> TorpydoError | None:
        """Why the last try of a pool failed, ``None`` if it did not."""
        return next((pool.error for pool in self._pools if pool.url == url), None)

    def listing(self, url: PoolURL) -> Listing | None:
        """The listing of a pool that is in use."""
        return next((pool.listing for pool in self._pools if pool.url == url), None)

    # -- One pool: ask, take, try again

    def _ask(self, pool: _Pool) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(lambda cancelled: _forget(pool.waiting, waiter))
        pool.waiting.append(waiter)
        if pool.fetching is None:
            self._begin(pool)
        return waiter

    def _begin(self, pool: _Pool) -> None:
        if pool.timer is not None:
            pool.timer.cancel()
            pool.timer = None
        # Assigned before the callbacks are added: a fetch may be over already.
        fetching = pool.fetching = Deferred.fromCoroutine(self._refresh(pool))
        fetching.addCallbacks(lambda _: self._succeeded(pool), lambda failure: self._failed(pool, failure))
        fetching.addCallback(lambda _: self._finished(pool))
        fetching.addErrback(lambda failure: self.log.failure("a new view of the network was not taken", failure))

    async def _refresh(self, pool: _Pool) -> None:
        # The ETag is ours, computed from the bytes we hold: a pool cannot use it to recognise us.
        etag = listing_etag(pool.data) if pool.data else None
        answer = await self._fetch(self._reactor, pool.url.host, pool.url.port, LISTING_PATH, etag=etag)
        if answer.not_modified and pool.data:
            return
        if answer.not_modified or answer.status != 200:
            raise PoolUnreachable(f"the pool at {pool.url.host}:{pool.url.port} answered with status {answer.status}")
        now = self._wall_clock()
        try:
            self._adopt(pool, answer.body, now)
        except (DirectoryError, CryptoError) as error:
            skew = await self._find_skew(pool)
            raise ListingError(
                f"the listing of {pool.url.host}:{pool.url.port} was refused: {error}{_describe_skew(skew)}"
            ) from error
        self.skew = 0.0
        if pool.listing is not None and now > pool.listing.fresh_until:
            skew = await self._find_skew(pool)
            if skew is not None and abs(skew) > NAMED_SKEW:
                self.log.warn("the listing of {pool} is not fresh{skew}", pool=_name(pool), skew=_describe_skew(skew))

    def _adopt(self, pool: _Pool, data: bytes, now: float) -> None:
        pool_id = pool.pool_id or peek_pool_id(data)
        listing = parse_listing(data, pool_id, now, pool.sequence)
        if listing.sequence == pool.sequence and pool.data and data != pool.data:
            raise ListingError("it is another listing with the sequence of the last one")
        if pool.pool_id is None:
            self.log.warn(
                "the URL of pool {pool} has no key; the key {key} that it shows now is pinned",
                pool=_name(pool),
                key=str(pool_id),
            )
        pool.pool_id, pool.sequence, pool.data, pool.listing = pool_id, listing.sequence, data, listing
        self._cache.save(pool.url, CachedListing(pool_id, listing.sequence, data))

    async def _find_skew(self, pool: _Pool) -> float | None:
        """How far this computer's clock is ahead of the pool's. Unsigned, so only people are told."""
        try:
            answer = await self._fetch(self._reactor, pool.url.host, pool.url.port, TIME_PATH, limit=64, timeout=10.0)
            self.skew = self._wall_clock() - int(answer.body)
        except (PoolUnreachable, ValueError):
            return None
        return self.skew

    def _succeeded(self, pool: _Pool) -> None:
        if pool.error is not None:
            self.log.info("pool {pool} answers again", pool=_name(pool))
        pool.error = None
        pool.failures = 0

    def _failed(self, pool: _Pool, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, TorpydoError):
            # A document that breaks the parser must not end the refresh (SECURITY N7).
            self.log.failure("the listing of {pool} could not be read", failure, pool=_name(pool))
            error = ListingError(f"the listing of {_name(pool)} could not be read")
        elif type(error) is not type(pool.error):
            self.log.warn("pool {pool}: {error}", pool=_name(pool), error=str(error))
        pool.error = error
        pool.failures += 1

    def _finished(self, pool: _Pool) -> None:
        pool.fetching = None
        waiting, pool.waiting = pool.waiting, []
        try:
            if self._running:
                pool.timer = self._reactor.callLater(self._delay(pool), self._again, pool)
                self._merge()
        finally:
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)

    def _again(self, pool: _Pool) -> None:
        pool.timer = None
        self._begin(pool)

    def _delay(self, pool: _Pool) -> float:
        jitter = self._randbelow(1001) / 1000
        if pool.failures:
            return min(FIRST_RETRY * 2.0 ** min(pool.failures - 1, 16), LAST_RETRY) * (0.5 + jitter / 2)
        fresh = pool.listing.fresh_until - self._wall_clock() if pool.listing is not None else 0.0
        return min(max(fresh, SHORTEST_REFRESH), LONGEST_REFRESH) * (1 + jitter / 10)

    # -- All pools: merge, tell

    def _merge(self) -> None:
        listings = {pool.url: pool.listing for pool in self._pools if pool.listing is not None}
        netdir = NetDir.merge(listings, self._urls, self._threshold, self._wall_clock(), previous=self.netdir)
        if self.netdir is None:
            if netdir.pools_used < netdir.threshold:
                return
        elif netdir.digest == self.netdir.digest:
            return
        self.netdir = netdir
        # Two people who compare this line know whether their pools tell them the same (SECURITY N9).
        self.log.info("{nodes} nodes are known, digest {digest}", nodes=len(netdir.nodes), digest=netdir.digest)
        self._on_change(netdir)
        waiting, self._first = self._first, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(netdir)

    def _answer(self, result: Deferred[NetDir]) -> None:
        errors = [pool.error for pool in self._pools if pool.error is not None]
        if self.netdir is not None and len(errors) < len(self._pools):
            result.callback(self.netdir)
        elif not self._running:
            result.cancel()
        elif len(errors) == len(self._pools) == 1:
            result.errback(errors[0])
        else:
            answered = len(self._pools) - len(errors)
            reasons = "; ".join(str(error) for error in errors) or "all listings come from the same pool"
            text = f"{answered} of {len(self._pools)} pools answered, {self._needed} needed: {reasons}"
            unreachable = all(isinstance(error, PoolUnreachable) for error in errors)
            result.errback(PoolUnreachable(text) if unreachable else ListingError(text))

    # -- The disk

    def _load(self, pool: _Pool) -> None:
        cached = self._cache.load(pool.url)
        if cached is None:
            return
        pool.pool_id, pool.sequence = cached.pool_id, cached.sequence
        try:
            pool.listing = parse_listing(cached.data, cached.pool_id, self._wall_clock(), 0)
        except (DirectoryError, CryptoError) as error:
            self.log.info("the cached listing of {pool} is not used: {error}", pool=_name(pool), error=str(error))
        else:
            pool.data = cached.data


def _forget(waiting: list[Deferred[T]], waiter: Deferred[T]) -> None:
    """Take *waiter* out; it is not there any more if it is cancelled by one that was told before it."""
    if waiter in waiting:
        waiting.remove(waiter)


def _name(pool: _Pool) -> str:
    return f"{pool.url.host}:{pool.url.port}"


def _describe_skew(skew: float | None) -> str:
    """A sentence for people, empty when the clocks agree."""
    if skew is None or abs(skew) <= NAMED_SKEW:
        return ""
    minutes = round(abs(skew) / 60)
    amount = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    where = "ahead of" if skew > 0 else "behind"
    return f"; this computer's clock is {amount} {where} the pool's: set the clock"

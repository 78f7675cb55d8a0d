"""The listings of all pools: cached on disk, fetched again and again, verified, merged into one NetDir.

Every pool is asked on its own, so that one that hangs, lies or is down costs nothing but itself. Nothing here
decides what a listing means (directory does) or how HTTP is spoken (fetch does). Called by client and node.

Whatever a pool sends, the next try of that pool is set: a listing is taken only after it was merged with the others,
so one that breaks the merge is refused like any other, and the last good one stays (SECURITY N7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.directory import Listing, NetDir, PoolURL, PoolView, listing_etag, majority, parse_listing, peek_pool_id
from torpydo.errors import (
    ConfigurationError,
    CryptoError,
    DirectoryError,
    ListingError,
    PoolUnreachable,
    TorpydoError,
)
from torpydo.net.fetch import Fetched, fetch
from torpydo.net.listedpool import ListedPool, describe_skew, read_skew
from torpydo.net.listingcache import ListingCache
from torpydo.net.remarks import Remarks
from torpydo.net.state import StateDirectory

LISTING_PATH = "/v1/listing"
TIME_PATH = "/v1/time"

TIME_LIMIT = 64
"""Bytes that a pool has to say what the time is."""

T = TypeVar("T")

FetchFunction = Callable[..., Deferred[Fetched]]
"""Called like :func:`torpydo.net.fetch.fetch`."""
MergeFunction = Callable[..., NetDir]
"""Called like :meth:`torpydo.directory.NetDir.merge`."""


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
    :param merge: for tests
    :ivar netdir: the view, ``None`` before there is one
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
        merge: MergeFunction = NetDir.merge,
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
        self._merge = merge
        self._remarks = Remarks()
        self._pools = [ListedPool(url, url.pool_id) for url in self._urls]
        self._first: list[Deferred[NetDir]] = []
        self._running = False
        self._broken = False
        self.netdir: NetDir | None = None

    # -- What a caller asks

    def start(self) -> Deferred[NetDir]:
        """Read what is on disk, then keep all pools asked.

        :return: fires with the first view in which enough pools take part; does not fail but by ``stop``
        """
        self._running = True
        self._load()
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
        return next((pool.usable for pool in self._pools if pool.url == url), None)

    def digest(self, url: PoolURL) -> str | None:
        """Names what a pool says of the network; who is told the same sees the same (SECURITY N9)."""
        return next((pool.digest for pool in self._pools if pool.url == url), None)

    def view(self, url: PoolURL) -> PoolView | None:
        """What a pool lists beside the nodes that are used; ``None`` while its listing is not used."""
        listing = self.listing(url)
        if listing is None or self.netdir is None:
            return None
        return next((view for view in self.netdir.pools if view.pool_id == listing.pool_id), None)

    def trouble(self) -> TorpydoError:
        """Why there are too few listings, in one error."""
        errors = [pool.error for pool in self._pools if pool.error is not None]
        if len(errors) == len(self._pools) == 1:
            return errors[0]
        reasons = "; ".join(str(error) for error in errors) or "all listings come from the same pool"
        gave = len(self._pools) - len(errors)
        text = f"{gave} of {len(self._pools)} pools gave a listing, {self._needed} needed: {reasons}"
        unreachable = all(isinstance(error, PoolUnreachable) for error in errors)
        return PoolUnreachable(text) if unreachable else ListingError(text)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of the pools, beside their errors."""
        return self._remarks.texts

    @property
    def skew(self) -> float | None:
        """Seconds that this computer's clock is ahead, as far as enough pools say so; ``None`` if none does."""
        known = sorted((pool.skew for pool in self._pools if pool.skew is not None), key=abs)
        return known[min(self._needed, len(known)) - 1] if known else None

    # -- One pool: ask, take, try again

    def _ask(self, pool: ListedPool) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(lambda cancelled: _forget(pool.waiting, waiter))
        pool.waiting.append(waiter)
        if pool.fetching is None:
            self._begin(pool)
        return waiter

    def _begin(self, pool: ListedPool) -> None:
        if pool.timer is not None:
            pool.timer.cancel()
            pool.timer = None
        # Assigned before the callbacks are added: a fetch may be over already.
        fetching = pool.fetching = Deferred.fromCoroutine(self._refresh(pool))
        fetching.addCallbacks(self._succeeded, self._failed, callbackArgs=(pool,), errbackArgs=(pool,))
        # Nothing is known that could fail there, and nothing may keep the next try from being set.
        fetching.addErrback(lambda failure: self.log.failure("a pool could not be judged", failure))
        fetching.addCallback(self._finished, pool)
        fetching.addErrback(lambda failure: self.log.failure("a new view of the network was not taken", failure))

    async def _refresh(self, pool: ListedPool) -> NetDir:
        # The ETag is ours, computed from the bytes we hold: a pool cannot use it to recognise us.
        etag = listing_etag(pool.data) if pool.data else None
        answer = await self._fetch(self._reactor, pool.url.host, pool.url.port, LISTING_PATH, etag=etag)
        view: NetDir | None = None
        if not (answer.not_modified and pool.data):
            if answer.not_modified or answer.status != 200:
                raise PoolUnreachable(f"the pool at {pool.name} answered with status {answer.status}")
            try:
                view = self._adopt(pool, answer.body)
            except (DirectoryError, CryptoError) as error:
                await self._find_skew(pool)
                raise ListingError(
                    f"the listing of {pool.name} was refused: {error}{describe_skew(pool.skew)}"
                ) from error
        assert pool.listing is not None
        now = self._wall_clock()
        if pool.listing.is_fresh(now) and pool.listing.is_usable(now):
            pool.skew = 0.0
        else:
            # It was given just now, so our clock is off, or a mirror keeps old ones.
            await self._find_skew(pool)
            view = None
        if pool.is_off or not pool.listing.is_usable(now):
            raise ListingError(f"the listing of {pool.name} is not used{describe_skew(pool.skew)}")
        return view or self._view(self._listings())

    def _adopt(self, pool: ListedPool, data: bytes) -> NetDir:
        pool_id = pool.pool_id or peek_pool_id(data)
        listing = parse_listing(data, pool_id, self._wall_clock(), pool.sequence)
        pool.check(listing, data)
        # Before it is taken: what breaks here is this pool's fault, and it costs only this pool.
        view = self._view({**self._listings(), pool.url: listing})
        if pool.pool_id is None:
            self.log.warn(
                "the URL of pool {pool} has no key; the key {key} that it shows now is pinned",
                pool=pool.name,
                key=str(pool_id),
            )
        before = pool.digest
        self._cache.save(pool.url, pool.take(listing, data))
        if pool.digest != before:
            # Two people who compare this line know whether the pool tells them the same (SECURITY N9).
            self.log.info(
                "pool {pool} lists {nodes} nodes, digest {digest}",
                pool=pool.name,
                nodes=len(listing.entries),
                digest=pool.digest,
            )
        return view

    async def _find_skew(self, pool: ListedPool) -> None:
        """Ask the pool for the time. The answer is not signed: it can stop its own listing from being used, no more."""
        try:
            options = {"limit": TIME_LIMIT, "timeout": 10.0}
            answer = await self._fetch(self._reactor, pool.url.host, pool.url.port, TIME_PATH, **options)
        except PoolUnreachable:
            return
        skew = read_skew(answer, self._wall_clock())
        pool.skew = pool.skew if skew is None else skew

    def _succeeded(self, netdir: NetDir, pool: ListedPool) -> NetDir:
        if pool.error is not None:
            self.log.info("pool {pool} answers again", pool=pool.name)
        pool.error, pool.unexpected, pool.failures = None, False, 0
        return netdir

    def _failed(self, failure: Failure, pool: ListedPool) -> NetDir | None:
        if failure.check(CancelledError):
            return None
        error = failure.value
        if isinstance(error, TorpydoError):
            if type(error) is not type(pool.error):
                self.log.warn("pool {pool}: {error}", pool=pool.name, error=str(error))
            pool.error, pool.unexpected = error, False
        else:
            # A document that breaks the parser must not end the refresh (SECURITY N7), nor fill the log.
            if not pool.unexpected:
                self.log.failure("the listing of {pool} could not be read", failure, pool=pool.name)
            pool.error = ListingError(f"the listing of {pool.name} could not be read; the log says more")
            pool.unexpected = True
        pool.failures += 1
        # Its clock may have made it unusable, and time alone ends the use of the others.
        return self._view_again()

    def _finished(self, netdir: NetDir | None, pool: ListedPool) -> None:
        pool.fetching = None
        waiting, pool.waiting = pool.waiting, []
        try:
            if self._running:
                pause = pool.pause(self._wall_clock(), self._randbelow(1001) / 1000)
                pool.timer = self._reactor.callLater(pause, self._again, pool)
                if netdir is not None:
                    self._show(netdir)
        finally:
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)

    def _again(self, pool: ListedPool) -> None:
        pool.timer = None
        self._begin(pool)

    # -- All pools: merge, tell

    def _listings(self) -> dict[PoolURL, Listing]:
        return {pool.url: pool.usable for pool in self._pools if pool.usable is not None}

    def _view(self, listings: dict[PoolURL, Listing]) -> NetDir:
        return self._merge(listings, self._urls, self._threshold, self._wall_clock(), previous=self.netdir)

    def _view_again(self) -> NetDir | None:
        """The view of what was merged before; ``None`` if that fails all the same, which is said once."""
        try:
            view = self._view(self._listings())
        except Exception:
            # As above: whatever is in a listing, the next fetches must come.
            if not self._broken:
                self.log.failure("the view of the network cannot be made")
            self._broken = True
            return None
        self._broken = False
        return view

    def _show(self, netdir: NetDir) -> None:
        last = self.netdir
        if last is None and not netdir.is_backed:
            return
        if netdir.is_backed:
            self._remarks.update(self._pools, netdir, self._wall_clock())
        if last is not None and netdir.says_the_same(last):
            return
        self.netdir = netdir
        if last is None or netdir.digest != last.digest:
            # Two people who compare this line know whether their pools tell them the same (SECURITY N9).
            self.log.info("{nodes} nodes are known, digest {digest}", nodes=len(netdir.nodes), digest=netdir.digest)
        self._on_change(netdir)
        waiting, self._first = self._first, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(netdir)

    def _answer(self, result: Deferred[NetDir]) -> None:
        if self.netdir is not None and any(pool.error is None for pool in self._pools):
            result.callback(self.netdir)
        elif not self._running:
            result.cancel()
        else:
            result.errback(self.trouble())

    # -- The disk

    def _load(self) -> None:
        for pool in self._pools:
            cached = self._cache.load(pool.url)
            if cached is None:
                continue
            pool.pool_id, pool.sequence = cached.pool_id, cached.sequence
            try:
                pool.take(parse_listing(cached.data, cached.pool_id, self._wall_clock(), 0), cached.data)
            except (DirectoryError, CryptoError) as error:
                self.log.info("the cached listing of {pool} is not used: {error}", pool=pool.name, error=str(error))
        view = self._view_again()
        if view is not None:
            self._show(view)
            return
        # Pools wrote these, and an older version of torpydo took them: they must not keep this one from starting.
        for pool in self._pools:
            pool.drop()


def _forget(waiting: list[Deferred[T]], waiter: Deferred[T]) -> None:
    """Take *waiter* out; it is not there any more if it is cancelled by one that was told before it."""
    if waiter in waiting:
        waiting.remove(waiter)

"""Tests of torpydo.net.listings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, key, url
from tests.net.pools import MemoryState, Pools, Views, WallClock, middle, signed, unkeyed
from torpydo.directory import NetDir, PoolURL
from torpydo.errors import ConfigurationError, ListingError, PoolUnreachable
from torpydo.net.fetch import Fetched
from torpydo.net.listedpool import LAST_RETRY
from torpydo.net.listingcache import CachedListing
from torpydo.net.listings import LISTING_PATH, TIME_PATH, ListingRefresh

HERE = ("127.0.0.1", 8080)
HOUR = 3600
DAY = 86400


def at(port: int, pool: object) -> PoolURL:
    """The URL of a pool on another port."""
    return PoolURL("127.0.0.1", port, key(pool).pool_id)


class ListingsTestCase(SynchronousTestCase):
    """A refresh with everything around it under control."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wall = WallClock()
        self.pools = Pools()
        self.views = Views()
        self.state = MemoryState()

    def refresh(self, *urls: PoolURL, **options: Any) -> ListingRefresh:
        made = ListingRefresh(
            self.clock,
            urls or (url(),),
            **{
                "state": self.state,
                "wall_clock": self.wall,
                "randbelow": middle,
                "on_change": self.views,
                "fetch": self.pools.fetch,
                **options,
            },
        )
        self.addCleanup(made.stop)
        return made

    def started(self, *urls: PoolURL, **options: Any) -> tuple[ListingRefresh, Deferred[NetDir]]:
        made = self.refresh(*urls, **options)
        first = made.start()
        first.addErrback(lambda failure: failure.trap(CancelledError))
        return made, first

    def advance(self, seconds: float) -> None:
        self.wall.now += seconds
        self.clock.advance(seconds)


class FetchTests(ListingsTestCase):
    """From the pools to a view."""

    def test_first_view(self) -> None:
        """The first listing gives the first view."""
        self.pools.answers[HERE] = signed(documents=[document(1), document(2)])
        made, first = self.started()
        self.assertEqual(len(self.successResultOf(first).nodes), 2)
        self.assertIs(made.netdir, self.views.seen[0])

    def test_one_that_waits_cancels_another(self) -> None:
        """In the moment in which both would be told."""
        self.pools.answers[HERE] = signed(documents=[document(1)])
        made = self.refresh()
        first, second = made.when_usable(), made.when_usable()
        first.addCallback(lambda netdir: second.cancel())
        made.start()
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)

    def test_next_listing_is_fetched_when_the_last_is_not_fresh(self) -> None:
        """``fresh_until`` says when to come back."""
        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 100)
        self.started()
        self.advance(99)
        self.assertEqual(self.pools.times_asked(), 1)
        self.advance(20)
        self.assertEqual(self.pools.times_asked(), 2)

    def test_own_etag_is_sent_and_nothing_changes(self) -> None:
        """The second fetch names what is held, and an unchanged listing is no new view."""
        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 100)
        made, _ = self.started()
        self.advance(200)
        self.assertIsNone(self.pools.asked[0][3])
        self.assertIsNotNone(self.pools.asked[1][3])
        self.assertEqual(len(self.views.seen), 1)
        self.assertIsNone(made.last_error(url()))

    def test_a_changed_listing_is_a_new_view(self) -> None:
        """Nodes that come are told of."""
        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 10)
        self.started()
        later = {"sequence": (NOW + 9) * 1000, "valid_after": NOW + 9}
        self.pools.answers[HERE] = signed(documents=[document(1), document(2)], **later)
        self.advance(30)
        self.assertEqual([len(view.nodes) for view in self.views.seen], [1, 2])

    def test_not_modified_without_a_listing_is_an_error(self) -> None:
        """A pool that says "nothing new" to a first question gave nothing."""
        self.pools.answers[HERE] = 304
        made, _ = self.started()
        self.assertIsInstance(made.last_error(url()), PoolUnreachable)

    def test_a_bad_status_is_named(self) -> None:
        """A page of another server is not a listing."""
        self.pools.answers[HERE] = 503
        made, _ = self.started()
        self.assertIn("status 503", str(made.last_error(url())))

    def test_refresh_now_fails_with_the_reason(self) -> None:
        """One pool that is down: its own error is the answer."""
        made, _ = self.started()
        failure = self.failureResultOf(made.refresh_now(), PoolUnreachable)
        self.assertIn("127.0.0.1:8080", str(failure.value))

    def test_refresh_now_joins_a_fetch_under_way(self) -> None:
        """Nobody is asked twice at the same time."""
        waiting: Deferred[Any] = Deferred()
        self.pools.answers[HERE] = waiting
        made, _ = self.started()
        result = made.refresh_now()
        self.assertEqual(self.pools.times_asked(), 1)
        waiting.errback(PoolUnreachable("gone"))
        self.failureResultOf(result, PoolUnreachable)

    def test_refresh_now_can_be_cancelled(self) -> None:
        """Who does not want to wait leaves; the fetch goes on for the others."""
        self.pools.answers[HERE] = Deferred()
        made, _ = self.started()
        result = made.refresh_now()
        result.cancel()
        self.failureResultOf(result, CancelledError)

    def test_refresh_now_before_start_fails(self) -> None:
        """What was not started, or was stopped, says so."""
        self.failureResultOf(self.refresh().refresh_now(), PoolUnreachable)


class FailureTests(ListingsTestCase):
    """Pools that are down or lie."""

    def test_tries_again_with_growing_pauses(self) -> None:
        """A pool that is down is asked less and less, but never left alone."""
        self.started()
        times = [0.0]
        while self.clock.seconds() < 4000:
            before = self.pools.times_asked()
            self.advance(0.25)
            if self.pools.times_asked() > before:
                times.append(self.clock.seconds())
        pauses = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        self.assertEqual(pauses, sorted(pauses))
        self.assertLessEqual(pauses[0], 1.0)
        self.assertLessEqual(pauses[-1], LAST_RETRY)
        self.assertGreaterEqual(pauses[-1], LAST_RETRY / 2)

    def test_pauses_begin_anew_after_a_success(self) -> None:
        """A pool that was down yesterday is asked again soon today."""
        self.started()
        self.advance(3000)
        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 10)
        self.advance(700)
        self.pools.answers.clear()
        while self.pools.answers == {} and self.clock.seconds() < 4000:
            before = self.pools.times_asked()
            self.advance(1)
            if self.pools.times_asked() > before:
                break
        before = self.pools.times_asked()
        self.advance(1)
        self.assertEqual(self.pools.times_asked(), before + 1)

    def test_failure_and_recovery_are_said_once(self) -> None:
        """Ten failures are one line, and one line says that it is over."""
        with capturedLogs() as lines:
            self.started()
            self.advance(300)
            self.pools.answers[HERE] = signed(documents=[document(1)])
            self.advance(600)
        said = [line["log_format"] for line in lines]
        self.assertEqual(said.count("pool {pool}: {error}"), 1)
        self.assertEqual(said.count("pool {pool} answers again"), 1)

    def test_another_key_is_refused(self) -> None:
        """A listing that is not signed by the pinned key is not taken."""
        self.pools.answers[HERE] = signed("other", [document(1)])
        made, first = self.started()
        self.assertNoResult(first)
        self.assertIsInstance(made.last_error(url()), ListingError)

    def test_an_older_listing_is_refused(self) -> None:
        """Nobody can roll a client back."""
        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 10)
        made, _ = self.started()
        self.pools.answers[HERE] = signed(sequence=(NOW - 60) * 1000, valid_after=NOW - 60)
        self.advance(30)
        self.assertIsInstance(made.last_error(url()), ListingError)
        assert made.netdir is not None
        self.assertEqual(len(made.netdir.nodes), 1)

    def test_other_bytes_with_the_same_sequence_are_refused(self) -> None:
        """A sequence names one listing."""
        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 10)
        made, _ = self.started()
        self.pools.answers[HERE] = signed(documents=[document(2)], fresh_until=NOW + 10)
        self.advance(30)
        self.assertIsInstance(made.last_error(url()), ListingError)

    def test_a_slow_clock_is_named(self) -> None:
        """A listing from the future is this computer's clock: by how much is said."""
        self.pools.answers[HERE] = signed(documents=[document(1)])
        self.pools.clock = NOW
        self.wall.now = NOW - DAY
        made, _ = self.started()
        self.assertIn("24 h 0 min behind", str(made.last_error(url())))
        self.assertEqual(made.skew, -DAY)

    def test_a_fast_clock_is_named(self) -> None:
        """A listing that is long over is this computer's clock too."""
        self.pools.answers[HERE] = signed(documents=[document(1)])
        self.pools.clock = NOW
        self.wall.now = NOW + 2 * DAY
        made, _ = self.started()
        self.assertIn("48 h 0 min ahead", str(made.last_error(url())))

    def test_an_unexpected_error_does_not_end_the_refresh(self) -> None:
        """A document that breaks the parser costs one try."""
        self.pools.answers[HERE] = ZeroDivisionError("a bug")
        made, _ = self.started()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsInstance(made.last_error(url()), ListingError)
        self.pools.answers[HERE] = signed(documents=[document(1)])
        self.advance(30)
        self.assertIsNotNone(made.netdir)

    def test_an_error_in_the_observer_does_not_end_the_refresh(self) -> None:
        """Whoever is told of a view cannot stop the next one."""

        def broken(netdir: NetDir) -> None:
            raise ZeroDivisionError("a bug")

        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 10)
        self.started(on_change=broken)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.advance(30)
        self.assertEqual(self.pools.times_asked(), 2)


class SeveralPoolsTests(ListingsTestCase):
    """Majorities."""

    def test_waits_for_enough_pools(self) -> None:
        """Two of three must have answered; a node counts if two list it."""
        late: Deferred[Any] = Deferred()
        self.pools.answers = {
            ("127.0.0.1", 1): signed("a", [document(1), document(2)]),
            ("127.0.0.1", 2): late,
        }
        made, first = self.started(at(1, "a"), at(2, "b"), at(3, "c"))
        self.assertNoResult(first)
        self.pools.answers[("127.0.0.1", 2)] = signed("b", [document(2), document(3)])
        late.errback(PoolUnreachable("not now"))
        self.advance(2)
        self.assertEqual(len(self.successResultOf(first).nodes), 1)

    def test_too_few_pools_names_all_reasons(self) -> None:
        """How many answered, how many are needed, and why the others did not."""
        self.pools.answers = {("127.0.0.1", 1): signed("a", [document(1)]), ("127.0.0.1", 2): 500}
        made, _ = self.started(at(1, "a"), at(2, "b"), at(3, "c"))
        text = str(self.failureResultOf(made.refresh_now(), PoolUnreachable).value)
        for part in ("1 of 3", "2 needed", "status 500", "127.0.0.1:3"):
            self.assertIn(part, text)

    def test_threshold_is_the_callers(self) -> None:
        """With a threshold of one, one pool is enough."""
        self.pools.answers = {("127.0.0.1", 1): signed("a", [document(1)])}
        _, first = self.started(at(1, "a"), at(2, "b"), threshold=1)
        self.assertEqual(len(self.successResultOf(first).nodes), 1)

    def test_impossible_thresholds_are_refused(self) -> None:
        """No pools, or more than there are."""
        for urls, threshold in (((), None), ((url(),), 2), ((url(),), 0)):
            self.assertRaises(
                ConfigurationError,
                ListingRefresh,
                self.clock,
                urls,
                state=None,
                threshold=threshold,
                wall_clock=self.wall,
                randbelow=middle,
                on_change=self.views,
            )


class ThreePoolsTestCase(ListingsTestCase):
    """Three pools, of which two must list a node."""

    def setUp(self) -> None:
        super().setUp()
        self.urls = [at(1, "a"), at(2, "b"), at(3, "c")]

    def publish(self, pools: str, *names: int, **overrides: Any) -> None:
        """These pools list these nodes, from now on."""
        now = int(self.wall.now)
        times = {"sequence": now * 1000, "valid_after": now, "fresh_until": now + 10, "valid_until": now + 3 * HOUR}
        for pool in pools:
            answer = signed(pool, [document(name) for name in names], **{**times, **overrides})
            self.pools.answers["127.0.0.1", "abc".index(pool) + 1] = answer

    def fall_silent(self, pools: str) -> None:
        """These pools are down."""
        for pool in pools:
            del self.pools.answers["127.0.0.1", "abc".index(pool) + 1]

    def known(self, made: ListingRefresh) -> int:
        """How many nodes the view has."""
        assert made.netdir is not None
        return len(made.netdir.nodes)

    def said(self, lines: Sequence[Any]) -> list[str]:
        """What was written to the log, as people read it."""
        return [str(formatEvent(line)) for line in lines]


class PoolsDownTests(ThreePoolsTestCase):
    """SECURITY 3, case 24."""

    def test_one_is_down(self) -> None:
        """Two are enough, at the start and later."""
        self.publish("ab", 1, 2, 3)
        made, first = self.started(*self.urls)
        self.assertEqual(len(self.successResultOf(first).nodes), 3)
        self.advance(1)
        self.publish("abc", 1, 2, 3, 4)
        self.advance(30)
        self.assertEqual(self.known(made), 4)
        self.fall_silent("c")
        self.publish("ab", 1, 2, 3, 4, 5)
        self.advance(30)
        self.assertEqual(self.known(made), 5)

    def test_all_fall_silent(self) -> None:
        """Their listings are used until a day after their end, and not a quarter of an hour longer."""
        self.publish("abc", 1, 2, 3)
        made, _ = self.started(*self.urls)
        self.fall_silent("abc")
        with capturedLogs() as lines:
            self.advance(3 * HOUR - 600)
        self.assertFalse([line for line in self.said(lines) if "expired" in line])
        with capturedLogs() as lines:
            for _ in range(24 * 4):
                self.advance(900)
        self.assertEqual(self.known(made), 3)
        self.assertEqual(len([line for line in self.said(lines) if "expired" in line]), 3)
        self.assertEqual(len([remark for remark in made.remarks if "expired" in remark]), 3)
        self.advance(900)
        self.advance(600)
        self.assertEqual(self.known(made), 0)
        assert made.netdir is not None
        self.assertFalse(made.netdir.is_backed)

    def test_they_come_back(self) -> None:
        """The first two that answer are enough, within their pause of ten minutes, and nothing is remarked any more."""
        self.publish("abc", 1, 2, 3)
        made, _ = self.started(*self.urls)
        self.fall_silent("abc")
        self.advance(2 * DAY)
        self.assertEqual(self.known(made), 0)
        late = {"published": int(self.wall.now), "sequence": int(self.wall.now) * 1000}
        now = int(self.wall.now)
        times = {"sequence": now * 1000, "valid_after": now, "fresh_until": now + 900, "valid_until": now + 3 * HOUR}
        for port, pool in ((1, "a"), (2, "b")):
            self.pools.answers["127.0.0.1", port] = signed(pool, [document(1, **late)], **times)
        self.advance(LAST_RETRY)
        self.assertEqual((self.known(made), made.remarks), (1, ()))


class SupervisionTests(ThreePoolsTestCase):
    """Whatever a pool sends, and whatever breaks because of it, the next try comes (SECURITY N7)."""

    def test_every_stage(self) -> None:
        """An error anywhere costs one try, and the next comes within half a minute."""

        def raises(*arguments: Any, **options: Any) -> Any:
            raise ZeroDivisionError("a bug")

        class BrokenState(MemoryState):
            write = raises

        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 10)
        for stage in ("fetch", "merge", "on_change", "disk"):
            options: dict[str, Any] = {"state": BrokenState()} if stage == "disk" else {"state": None, stage: raises}
            calls: list[object] = []
            fetch = options.pop("fetch", self.pools.fetch)

            def counted(*arguments: Any, calls: list[object] = calls, fetch: Any = fetch, **more: Any) -> Any:
                calls.append(arguments)
                return fetch(*arguments, **more)

            made = self.refresh(fetch=counted, **options)
            made.start().addErrback(lambda failure: failure.trap(CancelledError))
            for _ in range(12):
                before = len(calls)
                self.advance(30)
                self.assertGreater(len(calls), before, stage)
            made.stop()
            self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1, stage)

    def test_one_pool_breaks_the_merge(self) -> None:
        """A document that breaks what reads it costs its own pool, which is named; its last good listing stays."""

        def merge(listings: Any, *arguments: Any, **options: Any) -> NetDir:
            for listing in listings.values():
                if any(entry.document == poison for entry in listing.entries):
                    raise ZeroDivisionError("a bug")
            return NetDir.merge(listings, *arguments, **options)

        poison = document(9)
        self.publish("abc", 1, 2)
        made, _ = self.started(*self.urls, merge=merge)
        self.advance(5)
        self.publish("c", 1, 2, 9)
        self.publish("ab", 1, 2, 3)
        with capturedLogs() as lines:
            self.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.known(made), 3)
        self.assertEqual([made.last_error(url) is None for url in self.urls], [True, True, False])
        self.assertTrue([line for line in self.said(lines) if "127.0.0.1:3" in line and "could not be read" in line])
        listing = made.listing(self.urls[2])
        assert listing is not None
        self.assertEqual(len(listing.entries), 2)
        self.advance(5)
        self.publish("c", 1, 2, 3)
        self.advance(30)
        self.assertIsNone(made.last_error(self.urls[2]))

    def test_cached_listings_that_break_the_merge(self) -> None:
        """They are not used, and the client starts all the same."""
        self.publish("abc", 1, 2)
        self.started(*self.urls)[0].stop()
        broken = [True]

        def merge(*arguments: Any, **options: Any) -> NetDir:
            if broken:
                broken.pop()
                raise ZeroDivisionError("a bug")
            return NetDir.merge(*arguments, **options)

        self.fall_silent("abc")
        made, first = self.started(*self.urls, merge=merge)
        self.assertNoResult(first)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.publish("abc", 1, 2)
        self.advance(2)
        self.assertEqual(self.known(made), 2)


class SkewTests(ThreePoolsTestCase):
    """A clock that is off (SECURITY N8; section 3, case 20)."""

    def right(self) -> int:
        """The right time, which pools tell."""
        self.pools.clock = int(self.wall.now)
        return self.pools.clock

    def test_an_hour_is_too_much(self) -> None:
        """Of a pool whose clock differs by more no listing is used, though it is in order: nothing is known then."""
        self.publish("abc", 1, 2, fresh_until=NOW + 1800)
        self.right()
        self.wall.now += 2 * HOUR
        made, first = self.started(*self.urls)
        self.assertNoResult(first)
        self.assertEqual(self.views.seen, [])
        self.assertEqual(made.skew, 2 * HOUR)
        text = str(self.failureResultOf(made.refresh_now(), ListingError).value)
        self.assertIn("0 of 3 pools gave a listing, 2 needed", text)
        self.assertIn("2 h 0 min ahead of the pool's", text)

    def test_less_is_remarked(self) -> None:
        """Its listing is used."""
        self.publish("abc", 1, 2, fresh_until=NOW + 1800)
        self.right()
        self.wall.now += HOUR - 60
        made, first = self.started(*self.urls)
        self.assertEqual(len(self.successResultOf(first).nodes), 2)
        self.assertEqual(len([remark for remark in made.remarks if "59 min ahead" in remark]), 3)

    def test_one_pool_is_wrong(self) -> None:
        """If most pools agree with this computer it is the pool whose clock is off."""
        self.publish("abc", 1, 2)
        self.publish("c", 1, 2, sequence=(NOW - 2 * HOUR) * 1000, valid_after=NOW - 2 * HOUR, fresh_until=NOW - HOUR)
        self.pools.clock = NOW - 2 * HOUR
        made, first = self.started(*self.urls)
        self.assertEqual(len(self.successResultOf(first).nodes), 2)
        self.assertIn("2 h 0 min ahead", str(made.last_error(self.urls[2])))
        self.assertIsNone(made.listing(self.urls[2]))
        self.assertEqual(made.skew, 0)

    def test_a_step_while_it_runs(self) -> None:
        """The view is empty while the clock is wrong, and whole again half a minute after it is right."""
        for step in (2 * HOUR, -2 * HOUR, 25 * HOUR, -25 * HOUR):
            self.publish("abc", 1, 2, fresh_until=int(self.wall.now) + 60)
            made, _ = self.started(*self.urls)
            self.advance(61)
            self.right()
            self.wall.now += step
            for _ in range(30):
                self.advance(10)
            self.assertEqual(self.known(made), 0, step)
            self.assertIn("clock is", str(made.trouble()))
            self.wall.now -= step
            self.publish("abc", 1, 2)
            self.advance(30)
            self.assertEqual(self.known(made), 2, step)
            made.stop()
            self.state.files.clear()

    def test_what_is_no_time(self) -> None:
        """A page of another server, a text, a number without end: no time was told, so the listing counts."""
        for status, body in ((404, b"404"), (200, b"soon"), (200, b"-1"), (200, b"9" * 60), (200, b"\xd9\xa1")):
            self.publish("abc", 1, 2, fresh_until=NOW)
            self.wall.now = NOW + 2 * HOUR

            def fetch(
                reactor: Any, host: str, port: int, path: str, *, told: Any = (status, body), **options: Any
            ) -> Deferred[Fetched]:
                if path == TIME_PATH:
                    return succeed(Fetched(*told, None, False))
                return self.pools.fetch(reactor, host, port, path, **options)

            made, _ = self.started(*self.urls, fetch=fetch, state=None)
            self.assertEqual((self.known(made), made.skew), (2, None))
            made.stop()
            self.wall.now = NOW

    def test_a_lying_clock_costs_its_own_pool_only(self) -> None:
        """One pool that tells a wrong time changes nothing for the others."""
        self.publish("c", 1, 2)
        self.publish("ab", 1, 2, fresh_until=NOW + 900)
        made, _ = self.started(*self.urls)
        self.advance(5)
        self.pools.answers["127.0.0.1", 3] = signed("c", sequence=1000, valid_after=1, fresh_until=1, valid_until=1)
        self.pools.clock = NOW + DAY
        self.advance(8)
        self.assertIn("24 h 0 min behind", str(made.last_error(self.urls[2])))
        self.assertEqual((self.known(made), made.skew), (2, 0))


class DigestTests(ThreePoolsTestCase):
    """Equivocation is visible (SECURITY N9; section 3, case 26)."""

    def test_said_once_for_each_change(self) -> None:
        """A new signature over the same nodes is no change; another node is."""
        self.publish("abc", 1, 2)
        with capturedLogs() as lines:
            made, _ = self.started(*self.urls)
            digest = made.digest(self.urls[0])
            for _ in range(10):
                self.advance(15)
                self.publish("abc", 1, 2)
            self.assertEqual(made.digest(self.urls[0]), digest)
            self.publish("abc", 1, 2, 3)
            self.advance(15)
        self.assertNotEqual(made.digest(self.urls[0]), digest)
        said = [line for line in self.said(lines) if "digest" in line]
        self.assertEqual(len([line for line in said if "127.0.0.1:1 " in line]), 2)
        self.assertEqual(len([line for line in said if "nodes are known" in line]), 2)
        self.assertTrue([line for line in said if str(digest) in line])

    def test_two_clients(self) -> None:
        """Two clients that one pool tells different things show different digests of it, and the same of the others."""
        seen = []
        for names in ((1, 2, 3), (1, 2, 4)):
            self.publish("ab", 1, 2)
            self.publish("c", *names)
            made, _ = self.started(*self.urls, state=None)
            assert made.netdir is not None
            seen.append([*(made.digest(url) for url in self.urls), made.netdir.digest])
            self.assertEqual(made.digest(self.urls[0]), made.digest(self.urls[1]))
            made.stop()
        self.assertEqual([one == two for one, two in zip(*seen, strict=True)], [True, True, False, True])

    def test_two_that_t_pools_deceive(self) -> None:
        """Two of three pools that tell clients different things are not found out by either, but the digests differ."""
        seen = []
        for names in ((1, 2, 3), (1, 2, 4)):
            self.publish("a", 1, 2)
            self.publish("bc", *names)
            made, _ = self.started(*self.urls, state=None)
            assert made.netdir is not None
            self.assertEqual(self.known(made), 3)
            seen.append(made.netdir.digest)
            made.stop()
        self.assertNotEqual(*seen)

    def test_unknown_pool(self) -> None:
        """Before anything came there is no digest, and no view of it."""
        made, _ = self.started(*self.urls)
        self.assertEqual((made.digest(self.urls[0]), made.view(self.urls[0])), (None, None))


class DiskTests(ListingsTestCase):
    """What survives a restart."""

    def test_starts_from_disk_when_the_pools_are_down(self) -> None:
        """The last listing is used at once."""
        self.pools.answers[HERE] = signed(documents=[document(1)])
        self.started()[0].stop()
        self.pools.answers.clear()
        made, first = self.started()
        self.assertEqual(len(self.successResultOf(first).nodes), 1)
        self.assertIsInstance(made.last_error(url()), PoolUnreachable)

    def test_high_water_mark_survives(self) -> None:
        """A listing from before the restart's last one is refused."""
        self.pools.answers[HERE] = signed(documents=[document(1)])
        self.started()[0].stop()
        self.pools.answers[HERE] = signed(sequence=(NOW - 60) * 1000, valid_after=NOW - 60)
        made, _ = self.started()
        self.assertIsInstance(made.last_error(url()), ListingError)

    def test_an_expired_listing_is_not_used(self) -> None:
        """A day after its end a cached listing is no view any more."""
        self.pools.answers[HERE] = signed(documents=[document(1)])
        self.started()[0].stop()
        self.pools.answers.clear()
        self.wall.now += 3 * DAY
        _, first = self.started()
        self.assertNoResult(first)

    def test_a_torn_file_is_set_aside(self) -> None:
        """It is kept for people, and the start goes on without it."""
        name = f"listing-{key('pool').pool_id}"
        self.state.files[name] = b"garbage"
        self.pools.answers[HERE] = signed(documents=[document(1)])
        _, first = self.started()
        self.successResultOf(first)
        self.assertEqual(self.state.files[f"{name}.bad"], b"garbage")

    def test_a_file_of_another_pool_is_not_used(self) -> None:
        """The key in the URL counts, whatever a file says."""
        blob = CachedListing(key("other").pool_id, 7, signed("other", [document(1)])).encode()
        self.state.files[f"listing-{key('pool').pool_id}"] = blob
        made, first = self.started()
        self.assertNoResult(first)
        self.assertIsNone(made.listing(url()))

    def test_a_full_disk_is_said_once(self) -> None:
        """The refresh goes on without a disk."""
        self.state.full = True
        self.pools.answers[HERE] = signed(documents=[document(1)], fresh_until=NOW + 10)
        with capturedLogs() as lines:
            self.started()
            later = {"sequence": (NOW + 9) * 1000, "valid_after": NOW + 9}
            self.pools.answers[HERE] = signed(documents=[document(2)], **later)
            self.advance(30)
        said = [line["log_format"] for line in lines]
        self.assertEqual(said.count("listings are not kept on disk: {error}"), 1)
        self.assertEqual(len(self.views.seen), 2)

    def test_works_without_a_state_directory(self) -> None:
        """``None`` keeps nothing."""
        self.pools.answers[HERE] = signed(documents=[document(1)])
        self.successResultOf(self.started(state=None)[1])


class PinTests(ListingsTestCase):
    """A loopback pool whose URL has no key."""

    def test_pinned_at_first_use_with_a_warning(self) -> None:
        """The first key that it shows is its key from then on."""
        self.pools.answers[HERE] = signed("first", [document(1)], fresh_until=NOW + 10)
        with capturedLogs() as lines:
            made, _ = self.started(unkeyed())
        self.assertTrue(any("no key" in line["log_format"] for line in lines))
        later = {"sequence": (NOW + 9) * 1000, "valid_after": NOW + 9}
        self.pools.answers[HERE] = signed("second", [document(2)], **later)
        self.advance(30)
        self.assertIsInstance(made.last_error(unkeyed()), ListingError)

    def test_pin_survives_a_restart(self) -> None:
        """Another pool on the same port is not believed the next day either."""
        self.pools.answers[HERE] = signed("first", [document(1)])
        self.started(unkeyed())[0].stop()
        self.wall.now += 3 * DAY
        now = int(self.wall.now)
        times = {"sequence": now * 1000, "valid_after": now, "fresh_until": now + 9, "valid_until": now + 99}
        self.pools.answers[HERE] = signed("second", [document(2)], **times)
        made, first = self.started(unkeyed())
        self.assertNoResult(first)
        self.assertIsInstance(made.last_error(unkeyed()), ListingError)


class StopTests(ListingsTestCase):
    """The end."""

    def test_nothing_is_left(self) -> None:
        """No timer, no fetch; who waits is cancelled."""
        cancelled: list[object] = []
        self.pools.answers[HERE] = Deferred(cancelled.append)
        made = self.refresh()
        first = made.start()
        asked = made.refresh_now()
        self.successResultOf(made.stop())
        self.failureResultOf(first, CancelledError)
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_between_two_fetches(self) -> None:
        """The timer of the next fetch goes too."""
        made, _ = self.started()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        made.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_listing_path(self) -> None:
        """Where listings are."""
        self.started()
        self.assertEqual(self.pools.asked[0][2], LISTING_PATH)

"""Tests of torpydo.net.listings."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, key, url
from tests.net.pools import MemoryState, Pools, Views, WallClock, middle, signed, unkeyed
from torpydo.directory import NetDir, PoolURL
from torpydo.errors import ConfigurationError, ListingError, PoolUnreachable
from torpydo.net.listingcache import CachedListing
from torpydo.net.listings import LAST_RETRY, LISTING_PATH, ListingRefresh

HERE = ("127.0.0.1", 8080)
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

"""Tests of torpydo.pool.publisher."""

from __future__ import annotations

import gzip

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, node_id
from tests.net.test_slices import TURN, later
from tests.pool.build import POOL, Times
from tests.pool.test_store import record
from torpydo.directory import LISTING_LIFE, Listing, listing_etag, parse_listing
from torpydo.errors import StateError
from torpydo.net import httpbody
from torpydo.pool import publisher
from torpydo.pool.publisher import SLICE, Published, Publisher
from torpydo.pool.store import NodeRecord, Store


class PublisherTests(SynchronousTestCase):
    """The listing, as clients check it."""

    def setUp(self) -> None:
        self.times = Times()
        self.store = Store.open(":memory:")
        self.nodes: list[NodeRecord] = []
        self.restart()

    def restart(self) -> None:
        self.publisher = Publisher(
            POOL,
            self.store,
            lambda: self.nodes,
            clock=self.times.clock.seconds,
            wall_clock=self.times.wall,
            later=self.times.clock.callLater,
            parameters={"test-network": True},
        )

    def current(self) -> Published:
        return self.successResultOf(self.publisher.current())

    def add(self, name: object) -> None:
        self.nodes.append(record(name, document=document(name)))
        self.publisher.changed()

    def listing(self, newest: int = 0) -> Listing:
        return parse_listing(self.current().raw, POOL.pool_id, self.times.wall(), newest)

    def test_content(self) -> None:
        """The listing has the nodes, when they were first seen, the parameters and three hours of validity."""
        self.add(0)
        listing = self.listing()
        self.assertEqual([(entry.document, entry.first_seen) for entry in listing.entries], [(document(0), NOW)])
        self.assertEqual(dict(listing.parameters), {"test-network": True})
        self.assertEqual((listing.sequence, listing.valid_after), (NOW * 1000, NOW))
        self.assertEqual((listing.fresh_until, listing.valid_until), (NOW + 1800, NOW + LISTING_LIFE))

    def test_nothing_is_measured(self) -> None:
        """The pool does not claim to have measured what it did not."""
        self.add(0)
        self.assertEqual(self.listing().entries[0].measured, 0)

    def test_forms(self) -> None:
        """The packed form is the same bytes, and the ETag names them."""
        self.add(0)
        published = self.current()
        assert published.packed is not None
        self.assertEqual(gzip.decompress(published.packed), published.raw)
        self.assertEqual(published.etag, listing_etag(published.raw))

    def test_long_policies(self) -> None:
        """A listing that packs so well that clients would take it for a bomb is sent as it is."""
        rules = ", ".join(f"reject 9.9.{number}.0/24:{1000 + number}-{2000 + number}" for number in range(127))
        for name in range(30):
            self.nodes.append(record(name, document=document(name, policy=f"{rules}, accept *:*")))
        self.assertIsNone(self.current().packed)
        self.assertEqual(len(self.listing().entries), 30)

    def test_the_ratio_is_below_what_clients_take(self) -> None:
        """With room for what gzip does at the beginning of a body."""
        self.assertLess(publisher.MAX_RATIO, httpbody.MAX_RATIO)

    def test_made_once(self) -> None:
        """As long as nothing changes everybody gets the same object."""
        first = self.current()
        self.times.advance(800)
        self.assertIs(self.current(), first)

    def test_change(self) -> None:
        """A change is in the next listing, which has a higher sequence."""
        first = self.listing()
        self.add(0)
        second = self.listing(first.sequence)
        self.assertEqual(len(second.entries), 1)
        self.assertGreater(second.sequence, first.sequence)

    def test_changes_of_large_listings_are_collected(self) -> None:
        """A listing of many nodes is not signed for each change."""
        for name in range(100):
            self.nodes.append(record(name, document=b"x"))
        first = self.current()
        self.add(100)
        self.assertIs(self.current(), first)
        self.times.advance(0.11)
        self.assertEqual(len(self.listing().entries), 101)

    def test_stays_fresh(self) -> None:
        """A listing that is asked for is fresh, however long nothing changes."""
        for _ in range(20):
            self.times.advance(700)
            self.assertTrue(self.listing().is_fresh(self.times.wall()))

    def test_sequence_survives(self) -> None:
        """After a restart the sequence goes on rising, although the clock was set back."""
        sequence = self.listing().sequence
        self.times.offset -= 200
        self.restart()
        self.assertGreater(self.listing(sequence).sequence, sequence)

    def test_clock_step_back(self) -> None:
        """When the clock is set back the sequence rises by one; the operator is told when clients will refuse."""
        first = self.listing()
        self.times.offset -= 100
        lines: list[str] = []
        log = type("Log", (), {"error": lambda self, text, **fields: lines.append(text)})()
        self.patch(Publisher, "log", log)
        second = self.current()
        self.assertEqual(second.sequence, first.sequence + 1)
        self.publisher.changed()
        self.current()
        self.assertEqual(len(lines), 1)

    def test_clock_step_forward(self) -> None:
        """When the clock is set forward the listing is signed anew at once."""
        self.listing()
        self.times.offset += 7200
        self.assertEqual(self.listing().sequence, (NOW + 7200) * 1000)

    def test_reserved_before_shown(self) -> None:
        """The sequence is on the disk before anybody sees it."""
        published = self.current()
        self.assertEqual(self.store.sequence(), published.sequence)

    def test_disk_full(self) -> None:
        """A full disk does not stop the listing; it is told once."""

        def full(sequence: int) -> None:
            raise StateError("the disk is full")

        lines: list[str] = []
        self.patch(self.store, "reserve_sequence", full)
        self.patch(Publisher, "log", type("Log", (), {"error": lambda self, text, **fields: lines.append(text)})())
        first = self.listing()
        self.add(0)
        self.assertGreater(self.listing().sequence, first.sequence)
        self.assertEqual(len(lines), 1)

    def test_disk_full_again(self) -> None:
        """A disk that fails again after it has worked is told again."""

        def full(sequence: int) -> None:
            raise StateError("the disk is full")

        lines: list[str] = []
        self.patch(Publisher, "log", type("Log", (), {"error": lambda self, text, **fields: lines.append(text)})())
        for count in (1, 2):
            broken = self.patch(self.store, "reserve_sequence", full)
            self.add(2 * count)
            self.listing()
            self.assertEqual(len(lines), count)
            broken.restore()
            self.times.advance(1)
            self.add(2 * count + 1)
            self.listing()
            self.times.advance(1)

    def test_unknown_node(self) -> None:
        """Only what the roster lists is listed."""
        self.add(0)
        self.assertNotIn(node_id(1).raw, self.current().raw)


class SlicesTests(PublisherTests):
    """The same where every piece of work fills a slice."""

    def restart(self) -> None:
        ticks = iter(range(1_000_000))
        self.publisher = Publisher(
            POOL,
            self.store,
            lambda: self.nodes,
            clock=lambda: self.times.clock.seconds() + next(ticks) * SLICE,
            wall_clock=self.times.wall,
            later=later(self.times.clock),
            parameters={"test-network": True},
        )

    def turn(self) -> None:
        self.times.clock.advance(TURN)
        self.times.offset -= TURN

    def current(self) -> Published:
        asked = self.publisher.current()
        while not asked.called:
            self.turn()
        return self.successResultOf(asked)

    def test_turns(self) -> None:
        """Whoever asks waits some turns, in which others are answered; all who ask meanwhile get the same listing."""
        self.add(0)
        first, second = self.publisher.current(), self.publisher.current()
        turns = 0
        while not first.called:
            self.turn()
            turns += 1
        self.assertGreater(turns, 2)
        self.assertIs(self.successResultOf(first), self.successResultOf(second))

    def test_change_in_between(self) -> None:
        """A node that comes while a listing is made is in the next one."""
        self.add(0)
        asked = self.publisher.current()
        self.turn()
        self.turn()
        self.add(1)
        while not asked.called:
            self.turn()
        self.assertNotIn(document(1), self.successResultOf(asked).raw)
        self.times.advance(1)
        self.assertIn(document(1), self.current().raw)

    def test_stop(self) -> None:
        """Stopping ends the work; who waits is told."""
        self.add(0)
        asked = self.publisher.current()
        self.publisher.stop()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.times.clock.getDelayedCalls(), [])

    def test_one_gives_up(self) -> None:
        """Who does not wait any more does not keep the others from their listing."""
        self.add(0)
        first, second = self.publisher.current(), self.publisher.current()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        while not second.called:
            self.turn()
        self.successResultOf(second)

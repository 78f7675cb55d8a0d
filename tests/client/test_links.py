"""Tests of torpydo.client.links."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import descriptor, node_id
from torpydo.client.limits import DEFAULT_LIMITS
from torpydo.client.links import NEW_CIRCUITS_LIFE, ClientLinks
from torpydo.crypto import NodeId
from torpydo.errors import LinkError, TorpydoError
from torpydo.tpdp import Address, CellsReceived, CreatedReceived, CreateReceived, DestroyReceived, LinkReady


@attrs.define(eq=False)
class LinkDouble:
    """A link: remembers that it was closed, and tells its owner when the test says so."""

    owner: ClientLinks
    closing: bool = False

    def close(self) -> None:
        """Like ``LinkProtocol.close``: the owner is told later."""
        self.closing = True

    def gone(self, error: TorpydoError | None = None) -> None:
        """The connection has ended."""
        self.owner.link_closed(self, error or LinkError("the link was lost"))


@attrs.define(eq=False)
class Connector:
    """Opens links when the test says so."""

    attempts: list[tuple[NodeId, Deferred[Any], dict[str, Any]]] = attrs.field(factory=list)
    cancelled: int = 0
    owner: ClientLinks | None = None

    def __call__(
        self, reactor: object, endpoint: IStreamClientEndpoint, node_id: NodeId, owner: ClientLinks, **options: Any
    ) -> Deferred[Any]:
        self.owner = owner
        attempt: Deferred[Any] = Deferred(self._cancel)
        self.attempts.append((node_id, attempt, options))
        return attempt

    def _cancel(self, attempt: Deferred[Any]) -> None:
        self.cancelled += 1

    def open(self) -> LinkDouble:
        """The last attempt succeeds."""
        assert self.owner is not None
        link = LinkDouble(self.owner)
        self.attempts[-1][1].callback(link)
        return link


@attrs.define(eq=False)
class Circuit:
    """Records what a link tells."""

    events: list[object] = attrs.field(factory=list)
    lost: list[TorpydoError] = attrs.field(factory=list)

    def link_events(self, events: list[Any]) -> None:
        """Like a circuit."""
        self.events.extend(events)

    def link_lost(self, error: TorpydoError) -> None:
        """Like a circuit."""
        self.lost.append(error)


class LinksTestCase(SynchronousTestCase):
    """Links that the test opens and loses."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.connect = Connector()
        self.links = ClientLinks(self.clock, bytes, connect=self.connect)
        self.node = descriptor(1)

    def opened(self) -> Any:
        """A link to node 1."""
        waiting = self.links.get(self.node)
        self.connect.open()
        return self.successResultOf(waiting)


class GetTests(LinksTestCase):
    """One link for each node."""

    def test_opened_to_the_listed_node(self) -> None:
        """With its identity and a time-out."""
        self.opened()
        found, _, options = self.connect.attempts[0]
        self.assertEqual(found, node_id(1))
        self.assertEqual(options["timeout"], DEFAULT_LIMITS.link_connect)
        self.assertNotIn("identity", options)

    def test_shared(self) -> None:
        """All circuits through a guard use one link, whenever they ask."""
        first, second = self.links.get(self.node), self.links.get(self.node)
        link = self.connect.open()
        third = self.links.get(self.node)
        self.assertEqual([self.successResultOf(one) for one in (first, second, third)], [link] * 3)
        self.assertEqual(len(self.connect.attempts), 1)

    def test_another_address_is_another_link(self) -> None:
        """A node that has moved is not reached over the old link."""
        self.opened()
        self.links.get(descriptor(1, address=Address(b"\x09\x09\x09\x09", 1)))
        self.assertEqual(len(self.connect.attempts), 2)

    def test_failure_reaches_all_and_is_forgotten(self) -> None:
        """The next one tries again."""
        first, second = self.links.get(self.node), self.links.get(self.node)
        self.connect.attempts[0][1].errback(LinkError("no"))
        self.failureResultOf(first, LinkError)
        self.failureResultOf(second, LinkError)
        self.opened()

    def test_a_foreign_error_becomes_a_link_error(self) -> None:
        """Whoever waits knows only ours."""
        first = self.links.get(self.node)
        self.connect.attempts[0][1].errback(ConnectionRefusedError())
        self.failureResultOf(first, LinkError)

    def test_cancelling_one_leaves_the_other(self) -> None:
        """The attempt goes on for who still waits."""
        first, second = self.links.get(self.node), self.links.get(self.node)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.connect.cancelled, 0)
        self.connect.open()
        self.successResultOf(second)

    def test_cancelling_the_last_ends_the_attempt(self) -> None:
        """What it held is freed."""
        first = self.links.get(self.node)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.connect.cancelled, 1)
        self.opened()

    def test_a_link_of_yesterday_takes_no_new_circuits(self) -> None:
        """A new one is opened; the old one stays for its circuits, then goes."""
        old = self.opened()
        self.links.register(old, 1, Circuit())
        self.clock.advance(NEW_CIRCUITS_LIFE)
        new = self.opened()
        self.assertIsNot(new, old)
        self.assertFalse(old.closing)
        self.links.unregister(old, 1)
        self.clock.advance(0)
        self.assertTrue(old.closing)
        self.assertIs(self.successResultOf(self.links.get(self.node)), new)


class IdleTests(LinksTestCase):
    """Links that nobody uses."""

    def test_closed_after_half_an_hour(self) -> None:
        """Counted from the last circuit."""
        link = self.opened()
        self.links.register(link, 1, Circuit())
        self.clock.advance(DEFAULT_LIMITS.link_idle + 1)
        self.assertFalse(link.closing)
        self.links.unregister(link, 1)
        self.clock.advance(DEFAULT_LIMITS.link_idle - 1)
        self.assertFalse(link.closing)
        self.clock.advance(1)
        self.assertTrue(link.closing)

    def test_a_closing_link_is_not_handed_out(self) -> None:
        """Who asks then gets a new one."""
        link = self.opened()
        self.clock.advance(DEFAULT_LIMITS.link_idle)
        self.assertTrue(link.closing)
        self.links.get(self.node)
        self.assertEqual(len(self.connect.attempts), 2)


class DispatchTests(LinksTestCase):
    """Frames find their circuits."""

    def test_events_are_sorted_by_circuit_in_order(self) -> None:
        """Each circuit gets its own, in one call."""
        link = self.opened()
        one, two = Circuit(), Circuit()
        self.links.register(link, 1, one)
        self.links.register(link, 2, two)
        created, cells, destroyed = CreatedReceived(1, b""), CellsReceived(2, []), DestroyReceived(1)
        self.links.link_events(link, [created, cells, destroyed])
        self.assertEqual(one.events, [created, destroyed])
        self.assertEqual(two.events, [cells])

    def test_an_unknown_circuit_is_ignored(self) -> None:
        """What comes after the end of a circuit is nobody's."""
        link = self.opened()
        one = Circuit()
        self.links.register(link, 1, one)
        self.links.unregister(link, 1)
        self.links.link_events(link, [CellsReceived(1, []), CellsReceived(9, [])])
        self.assertEqual(one.events, [])

    def test_a_guard_that_wants_a_circuit_is_left(self) -> None:
        """A client is no node: the link is closed, and the batch is not looked at."""
        link = self.opened()
        one = Circuit()
        self.links.register(link, 1, one)
        self.links.link_events(link, [CreateReceived(7, b""), CellsReceived(1, [])])
        self.assertTrue(link.closing)
        self.assertEqual(one.events, [])

    def test_the_guards_clock_is_kept(self) -> None:
        """To name a skew."""
        link = self.opened()
        self.clock.advance(5)
        self.links.link_events(link, [LinkReady("aegis256", 1000)])
        self.assertEqual(self.links.node_clock, (1000, 5))

    def test_a_lost_link_tells_its_circuits_once(self) -> None:
        """And is not handed out again."""
        link = self.opened()
        one = Circuit()
        self.links.register(link, 1, one)
        error = LinkError("torn")
        link.gone(error)
        link.gone(error)
        self.assertEqual(one.lost, [error])
        self.assertRaises(LinkError, self.links.register, link, 2, one)
        self.assertEqual(len(self.links), 0)
        self.links.get(self.node)
        self.assertEqual(len(self.connect.attempts), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CloseTests(LinksTestCase):
    """The end."""

    def test_fires_when_all_links_are_gone(self) -> None:
        """Attempts end, links close, nobody gets a new one."""
        link = self.opened()
        other = self.links.get(descriptor(2))
        closed = self.links.close()
        self.failureResultOf(other, LinkError)
        self.assertTrue(link.closing)
        self.assertNoResult(closed)
        link.gone()
        self.successResultOf(closed)
        self.failureResultOf(self.links.get(self.node), LinkError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_with_nothing_open(self) -> None:
        """At once."""
        self.successResultOf(self.links.close())

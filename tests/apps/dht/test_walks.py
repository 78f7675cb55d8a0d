"""Tests of torpydo.apps.dht.walks: what becomes of questions that fail at once, and of all of them at the end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import DAY, NOW, item
from tests.directory.build import node_id
from torpydo.apps.dht.walks import Walks
from torpydo.client import Questions
from torpydo.crypto import NodeId
from torpydo.dht import Contact, Participant, Put, place_of
from torpydo.errors import PathError

ITEMS = 500
SLOW = 1.5


class WalksTests(SynchronousTestCase):
    """A node that keeps much and knows five others."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.builds: list[Deferred[Any]] = []
        self.at_once = False
        others = [Contact(node_id(number).raw, place_of(node_id(number).raw)) for number in range(5)]
        listed = {one.node_id: one for one in others}
        self.participant = Participant(place_of(b"own"), listed.get, self.clock.seconds, lambda: NOW)
        for one in others:
            self.participant.contacts.answered(one)
        for number in range(ITEMS):
            self.clock.advance(0.1)
            self.participant.answer(Put(item(salt=b"%d" % number, expires=NOW + DAY)).encode(), b"source")
        self.walks = Walks(self.clock, self.participant, Questions(self.clock, self.build), isolated=False, slow=SLOW)

    def build(self, node: NodeId) -> Deferred[Any]:
        """Circuits that come when the test says so, or never."""
        self.builds.append(fail(PathError("not listed")) if self.at_once else Deferred())
        return self.builds[-1]

    def say_all(self) -> None:
        """Everything is to be said again."""
        self.participant.upkeep(bytes, rejoined=True)
        self.walks.go_on()

    def assertRests(self) -> None:
        """Nothing is under way, and nothing waits for its time."""
        self.assertEqual((len(self.participant._tasks), self.participant._under_way), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_can_be_asked(self) -> None:
        """Thousands of questions that fail at once are no reason to go deeper and deeper."""
        self.at_once = True
        self.say_all()
        self.assertGreater(self.walks.silent, ITEMS)
        self.assertRests()

    def test_close(self) -> None:
        """What is under way comes to its end, and what waits for its turn is not begun."""
        found: list[object] = []
        self.participant.find(b"t" * 32, found.append)
        self.say_all()
        self.assertGreater(len(self.participant._tasks), ITEMS // 2)
        builds = len(self.builds)
        self.walks.close()
        self.assertEqual((found, len(self.builds)), ([None], builds))
        self.assertLess(self.walks.silent, ITEMS)
        self.assertRests()

    def test_cut_off(self) -> None:
        """Who hears from nobody loses nobody from his table by looking whether somebody is there."""
        self.at_once = True
        known = list(self.participant.contacts)
        for _ in range(3):
            for contact in known:
                self.walks.probe(contact)
        self.assertEqual((set(self.participant.contacts), self.walks.silent), (set(known), 15))
        self.assertRests()

"""Tests of torpydo.pool.roster: what it keeps, and what it lets go. What it is for is tested with admission."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, descriptor, document, node_id
from tests.directory.test_scale import calls
from tests.pool.test_store import record
from torpydo.pool.roster import ListedNode, Roster
from torpydo.pool.saving import Saving
from torpydo.pool.store import Store


def listed(name: object = 0, **overrides: Any) -> ListedNode:
    """A node that is listed; every field of its descriptor can be overridden."""
    made = record(name, document=document(name, **overrides))
    return ListedNode(made, descriptor(name, **overrides), 0.0, 0.0)


class RosterTests(SynchronousTestCase):
    """Nodes that come, change and go."""

    def setUp(self) -> None:
        self.saving = Saving(Store.open(":memory:"), Clock().callLater)
        self.roster = Roster(self.saving, 10_000)

    def test_document(self) -> None:
        """The descriptor of a node is found by the bytes it came in."""
        node = listed()
        self.roster.add(node)
        self.assertIs(self.roster.descriptor_of(document()), node.descriptor)
        self.assertIsNone(self.roster.descriptor_of(document(1)))

    def test_old_documents(self) -> None:
        """A document is let go when its node has another one: nodes make a new one each day."""
        node = listed()
        self.roster.add(node)
        for number in range(1, 4):
            old, new = node.record.document, listed(sequence=NOW * 1000 + number)
            self.roster.change(node, new.record, new.descriptor)
            self.assertIsNone(self.roster.descriptor_of(old))
            self.assertIs(self.roster.descriptor_of(node.record.document), new.descriptor)

    def test_document_of_a_silent_node(self) -> None:
        """A node that is not listed any more keeps its document, and may come back with it."""
        node = listed()
        self.roster.add(node)
        self.roster.change(node, replace(node.record, listed=False), node.descriptor)
        self.assertIs(self.roster.descriptor_of(document()), node.descriptor)

    def test_forgotten_document(self) -> None:
        """The document of a node that is forgotten is let go too."""
        node = listed()
        self.roster.add(node)
        self.roster.forget(node)
        self.assertIsNone(self.roster.descriptor_of(document()))

    def test_hosts(self) -> None:
        """A node counts where it is listed, as long as it is; not where it was."""
        node = listed(0)
        self.roster.add(node)
        there, elsewhere = node.descriptor.address, descriptor(5).address
        self.assertEqual(self.roster.listed_on(there.ip, node_id(1)), 1)
        self.assertEqual(self.roster.listed_on(there.ip, node_id(0)), 0)
        moved = listed(0, address=elsewhere, sequence=NOW * 1000 + 1)
        self.roster.change(node, moved.record, moved.descriptor)
        self.assertEqual([self.roster.listed_on(place.ip, node_id(1)) for place in (there, elsewhere)], [0, 1])
        self.roster.change(node, replace(node.record, listed=False), node.descriptor)
        self.assertEqual(self.roster.listed_on(elsewhere.ip, node_id(1)), 0)

    def test_times_only(self) -> None:
        """What each heartbeat changes, the times, is saved and counts nothing anew."""
        node = listed()
        self.roster.add(node)
        held = node.record.document
        work = []
        # The first one sets the timer for saving; the last has equal bytes that are not those that are held.
        for number, raw in enumerate((held, held, bytes(bytearray(held)))):
            heard = replace(node.record, heartbeat_ms=NOW * 1000 + number, document=raw)
            work.append(calls(lambda heard=heard: self.roster.change(node, heard, node.descriptor)))
        self.assertLess(work[1], work[2])
        self.saving.stop()
        self.assertEqual(self.saving.stored(), [heard])

"""Tests of torpydo.pool.saving."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id
from tests.net.test_slices import TURN, later
from tests.pool.test_store import record
from torpydo.crypto import NodeId
from torpydo.errors import StateError
from torpydo.pool import saving
from torpydo.pool.saving import BATCH, RETRY, SAVE_AFTER, Saving
from torpydo.pool.store import NodeRecord, Store


class CountedStore(Store):
    """A store that notes how much each write had, and may be on a disk that is full."""

    def __init__(self, store: Store) -> None:
        super().__init__(store._connection, ":memory:")
        self.writes: list[int] = []
        self.full = False

    def write(self, nodes: Iterable[NodeRecord], removed: Iterable[NodeId] = ()) -> None:
        if self.full:
            raise StateError("the disk is full")
        nodes, removed = list(nodes), list(removed)
        self.writes.append(len(nodes) + len(removed))
        super().write(nodes, removed)


class SavingTests(SynchronousTestCase):
    """What is written when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = CountedStore(Store.open(":memory:"))
        self.saving = Saving(self.store, later(self.clock))

    def test_together(self) -> None:
        """What changes within a moment is one write, and of one node only the last change."""
        for name in range(10):
            self.saving.put(record(name))
        self.saving.put(record(0, heartbeat_ms=7))
        self.assertEqual(self.store.writes, [])
        self.clock.advance(SAVE_AFTER + TURN)
        self.assertEqual(self.store.writes, [10])
        self.assertIn(record(0, heartbeat_ms=7), self.saving.stored())

    def test_quiet(self) -> None:
        """Where nothing changes, nothing wakes up."""
        self.saving.put(record(0))
        self.clock.advance(SAVE_AFTER + TURN)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_batches(self) -> None:
        """Many changes are written in batches, each in a turn of its own."""
        made = record(0)
        for name in range(BATCH + 3):
            number = name.to_bytes(2, "big")
            self.saving.put(replace(made, node_id=node_id(name), document=number))
        self.clock.advance(SAVE_AFTER + TURN)
        self.assertEqual(self.store.writes, [BATCH])
        self.clock.advance(TURN)
        self.assertEqual(self.store.writes, [BATCH, 3])

    def test_remove(self) -> None:
        """A node that is removed is gone, whether it was written before or not."""
        self.saving.put(record(0))
        self.clock.advance(SAVE_AFTER + TURN)
        self.saving.put(record(1))
        self.saving.remove(node_id(0))
        self.saving.remove(node_id(1))
        self.clock.advance(SAVE_AFTER + TURN)
        self.assertEqual(self.saving.stored(), [])

    def test_stop(self) -> None:
        """At the end everything is written at once."""
        self.saving.put(record(0))
        self.saving.stop()
        self.assertEqual(self.saving.stored(), [record(0)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_disk_full(self) -> None:
        """What a full disk did not take is written when there is room again; the operator reads one line."""
        lines: list[str] = []
        self.patch(saving.Saving, "log", type("Log", (), {"error": lambda self, text, **fields: lines.append(text)})())
        self.store.full = True
        self.saving.put(record(0))
        self.clock.pump([SAVE_AFTER + TURN, RETRY + TURN, RETRY + TURN])
        self.assertEqual(len(lines), 1)
        self.store.full = False
        self.clock.advance(RETRY + TURN)
        self.assertEqual(self.saving.stored(), [record(0)])

    def test_disk_full_again(self) -> None:
        """A disk that fails again after it has worked is told again."""
        lines: list[str] = []
        self.patch(saving.Saving, "log", type("Log", (), {"error": lambda self, text, **fields: lines.append(text)})())
        for count in (1, 2):
            self.store.full = True
            self.saving.put(record(count))
            self.clock.advance(SAVE_AFTER + TURN)
            self.assertEqual(len(lines), count)
            self.store.full = False
            self.clock.advance(RETRY + TURN)
            self.assertEqual(len(self.saving.stored()), count)

    def test_disk_full_at_the_end(self) -> None:
        """A full disk does not keep a pool from stopping."""
        self.patch(saving.Saving, "log", type("Log", (), {"error": lambda self, text, **fields: None})())
        self.store.full = True
        self.saving.put(record(0))
        self.saving.stop()
        self.assertEqual(self.store.writes, [])

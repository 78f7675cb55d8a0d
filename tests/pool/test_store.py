"""Tests of torpydo.pool.store."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, node_id
from torpydo.errors import StateError
from torpydo.pool.store import NodeRecord, Store


def record(name: object = 0, **overrides: Any) -> NodeRecord:
    """A node; every field can be overridden."""
    made = NodeRecord(
        node_id=node_id(name),
        document=b"document",
        first_seen=NOW,
        heartbeat_ms=NOW * 1000,
        last_heard=NOW + 0.5,
        probed_at=NOW + 0.25,
        listed=True,
    )
    return replace(made, **overrides)


class StoreTests(SynchronousTestCase):
    """What survives."""

    def setUp(self) -> None:
        scratch = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, scratch, ignore_errors=True)
        self.path = os.path.join(scratch, "pool.db")

    def open(self) -> Store:
        store = Store.open(self.path)
        self.addCleanup(store.close)
        return store

    def test_empty(self) -> None:
        """A new database has no nodes and sequence 0."""
        store = self.open()
        self.assertEqual((store.nodes(), store.sequence()), ([], 0))

    def test_nodes_survive(self) -> None:
        """A node is read by the next process as it was written by the last."""
        store = self.open()
        store.write([record(0)])
        store.write([record(1, listed=False)])
        store.close()
        self.assertCountEqual(self.open().nodes(), [record(0), record(1, listed=False)])

    def test_survives_a_crash(self) -> None:
        """What was written is there although nobody closed the database."""
        store = self.open()
        store.write([record(0)])
        self.assertEqual(self.open().nodes(), [record(0)])

    def test_replace(self) -> None:
        """A node that is written again replaces itself."""
        store = self.open()
        store.write([record(0)])
        store.write([record(0, document=b"other")])
        self.assertEqual(store.nodes(), [record(0, document=b"other")])

    def test_all_or_nothing(self) -> None:
        """Of a write that fails nothing is kept, and the next one works."""
        store = self.open()
        self.assertRaises(StateError, store.write, [record(0), record(1, heartbeat_ms=None)])
        self.assertEqual(store.nodes(), [])
        store.write([record(2)])
        self.assertEqual(store.nodes(), [record(2)])

    def test_remove(self) -> None:
        """A removed node is gone; one that is not there can be removed."""
        store = self.open()
        store.write([record(0)])
        store.write([], [node_id(0)])
        store.write([], [node_id(0)])
        self.assertEqual(store.nodes(), [])

    def test_sequence_never_falls(self) -> None:
        """The sequence is the highest that was ever reserved, in the next process too."""
        store = self.open()
        store.reserve_sequence(5)
        store.reserve_sequence(3)
        store.close()
        self.assertEqual(self.open().sequence(), 5)

    def test_sequence_is_synced(self) -> None:
        """A sequence is written through to the disk, a node is not: there are hundreds of them in a second."""
        store = self.open()
        # A loss of power cannot be tested; what SQLite was told when it wrote can.
        full, normal = 2, 1
        store._connection.executescript(
            """
            CREATE TEMP TABLE level (synchronous INTEGER);
            CREATE TEMP TRIGGER sequence AFTER UPDATE ON main.listing
                BEGIN INSERT INTO level SELECT synchronous FROM pragma_synchronous('main'); END;
            CREATE TEMP TRIGGER node AFTER INSERT ON main.node
                BEGIN INSERT INTO level SELECT synchronous FROM pragma_synchronous('main'); END;
            """
        )
        store.reserve_sequence(5)
        store.write([record(0)])
        levels = store._connection.execute("SELECT synchronous FROM level").fetchall()
        self.assertEqual(levels, [(full,), (normal,)])

    def assertRefused(self, words: str) -> None:
        error = self.assertRaises(StateError, Store.open, self.path)
        self.assertIn(self.path, str(error))
        self.assertIn(words, str(error))

    def test_foreign_file(self) -> None:
        """A file of something else is refused and kept."""
        with open(self.path, "wb") as file:
            file.write(b"something else " * 1000)
        self.assertRefused("backup")
        self.assertEqual(os.path.getsize(self.path), 15000)

    def test_damaged(self) -> None:
        """A database whose pages were overwritten is refused."""
        store = self.open()
        for name in range(50):
            store.write([record(name, document=bytes(1000))])
        store.close()
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)
        self.assertRefused("backup")

    def test_bad_key(self) -> None:
        """A node whose id is no key is damage."""
        store = self.open()
        store.close()
        raw = sqlite3.connect(self.path)
        raw.execute("INSERT INTO node VALUES (?, x'00', 0, 0, 0, 0, 1)", (b"\xff" * 32,))
        raw.commit()
        raw.close()
        store = self.open()
        self.assertIn("damaged", str(self.assertRaises(StateError, store.nodes)))

    def test_damage_where_sqlite_quotes_the_file(self) -> None:
        """A column with another name, a text that is none: the message is ours, and quotes nothing of it."""
        store = self.open()
        store.write([record(0)])
        store.close()
        with open(self.path, "rb") as file:
            whole = file.read()
        clear_screen = b"\xae\xf2\x1b[2J\n\n"
        for old, new in ((b"last_heard", b"lost_heard"), (b"probed_at", clear_screen), (b"WITHOUT", b"W\xffTHOUT")):
            with open(self.path, "wb") as file:
                file.write(whole.replace(old, new))
            error = str(self.assertRaises(StateError, self.read_all))
            self.assertIn("the database is damaged", error)
            self.assertTrue(error.isprintable())

    def read_all(self) -> None:
        """What a start does."""
        store = self.open()
        store.nodes()

    def test_damaged_values(self) -> None:
        """Times of no time, a text for a number and a sequence that is none are damage."""
        for statement in (
            "UPDATE node SET first_seen = -1",
            "UPDATE node SET first_seen = 'long ago'",
            "UPDATE node SET heartbeat_ms = 1.5e300",
            "UPDATE node SET last_heard = -6.9e38",
            "UPDATE node SET last_heard = 9e999",
            "UPDATE node SET probed_at = 4.7e18",
            "UPDATE node SET probed_at = x'00'",
            "UPDATE node SET document = 'text'",
            "UPDATE listing SET sequence = -5",
            "UPDATE listing SET sequence = 'x'",
            "UPDATE listing SET sequence = 9000000000000000000",
            "DELETE FROM listing",
        ):
            store = self.open()
            store._connection.executescript("DELETE FROM node; REPLACE INTO listing VALUES (1, 0)")
            store.write([record(0)])
            store._connection.execute(statement)
            with self.assertRaises(StateError) as caught:
                store.nodes()
                store.sequence()
            self.assertIn("damaged", str(caught.exception))

    def test_later_version(self) -> None:
        """A database of a later version is refused."""
        raw = sqlite3.connect(self.path)
        raw.execute("PRAGMA user_version = 2")
        raw.close()
        self.assertRefused("later version")

    def test_missing_directory(self) -> None:
        """A path that cannot be opened is refused."""
        self.path = os.path.join(self.path, "x", "pool.db")
        self.assertRefused("unable to open")

    def test_closed(self) -> None:
        """A write after the end is an error of ours."""
        store = self.open()
        store.close()
        self.assertRaises(StateError, store.write, [record()])

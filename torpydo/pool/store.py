"""What a pool must not forget: its nodes, and the highest sequence that it ever gave a listing.

SQLite, one connection, on the reactor's thread. Nodes are written many to a transaction: alone each would take three
times as long. Nothing is decided here, not even when. Called by saving and publisher.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final, Self

import msgspec

from torpydo.crypto import NodeId
from torpydo.errors import BadKey, StateError

__all__ = ["NodeRecord", "Store"]

SCHEMA_VERSION: Final = 1

# heartbeat_ms is the node's clock (against replays), last_heard and probed_at are the pool's.
_SCHEMA: Final = """
CREATE TABLE node (
    node_id BLOB PRIMARY KEY NOT NULL CHECK (length(node_id) = 32),
    document BLOB NOT NULL,
    first_seen INTEGER NOT NULL,
    heartbeat_ms INTEGER NOT NULL,
    last_heard REAL NOT NULL,
    probed_at REAL NOT NULL,
    listed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE listing (only INTEGER PRIMARY KEY CHECK (only = 1), sequence INTEGER NOT NULL);
INSERT INTO listing VALUES (1, 0);
"""


# gc=False: each heartbeat makes one that lives until the next, and the cycle collector would take the pool's time to
# look at all nodes again and again.
class NodeRecord(msgspec.Struct, frozen=True, gc=False):
    """A node that was listed at least once.

    :ivar document: the descriptor that was accepted last
    :ivar first_seen: seconds when it was first listed
    :ivar heartbeat_ms: the time in its last heartbeat, by its own clock
    :ivar last_heard: seconds when that heartbeat came
    :ivar probed_at: seconds when a link to it last opened
    :ivar listed: whether it is in the listing now
    """

    node_id: NodeId
    document: bytes
    first_seen: int
    heartbeat_ms: int
    last_heard: float
    probed_at: float
    listed: bool


# A database that is damaged may have anything anywhere, a text where a number was, or a time of no time (SECURITY X3).
_Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=2**43)]


class _Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A row of the table, as it must be."""

    node_id: bytes
    document: bytes
    first_seen: _Whole
    heartbeat_ms: _Whole
    last_heard: _Seconds
    probed_at: _Seconds
    listed: _Whole

    def record(self) -> NodeRecord:
        """The same as a record.

        :raises BadKey: if the node has no key
        """
        times = self.first_seen, self.heartbeat_ms, self.last_heard, self.probed_at
        return NodeRecord(NodeId(self.node_id), self.document, *times, bool(self.listed))


class Store:
    """The database; made by :meth:`open`."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the database, and fill it if it is empty.

        :param path: of a file that exists, or ``:memory:``
        :raises StateError: if it is damaged, of a later version, or cannot be used
        """
        with _typed(path):
            # isolation_level None: transactions are where this file says, nowhere else.
            connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        store = cls(connection, path)
        try:
            with _typed(path):
                connection.execute("PRAGMA journal_mode = WAL")
                # A crash of the machine may cost the last heartbeats, never the database; reserve_sequence() syncs.
                connection.execute("PRAGMA synchronous = NORMAL")
                store._migrate()
        except BaseException:
            connection.close()
            raise
        return store

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StateError(f"{self._path}: a later version of torpydo wrote it; update torpydo, or move it away")
        if version == 0:
            script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            self._connection.executescript(script)
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def close(self) -> None:
        """Write everything to the one file. Twice does no harm."""
        self._connection.close()

    @property
    def size(self) -> int:
        """Bytes of the database: the pages in use and free, without what waits to be written into it.

        :raises StateError: if it cannot be read
        """
        with _typed(self._path):
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        return int(pages) * int(size)

    def nodes(self) -> list[NodeRecord]:
        """All nodes.

        :raises StateError: if one cannot be read
        """
        query = "SELECT node_id, document, first_seen, heartbeat_ms, last_heard, probed_at, listed FROM node"
        with _typed(self._path):
            rows = self._connection.execute(query).fetchall()
        try:
            return [msgspec.convert(row, _Row, builtin_types=(bytes,)).record() for row in rows]
        except (BadKey, msgspec.ValidationError):
            raise StateError(_damaged(self._path)) from None

    def write(self, nodes: Iterable[NodeRecord], removed: Iterable[NodeId] = ()) -> None:
        """Insert or replace nodes and forget others, all or none of it.

        :raises StateError: if it cannot be written
        """
        rows = [
            (one.node_id.raw, one.document, one.first_seen, one.heartbeat_ms, one.last_heard, one.probed_at, one.listed)
            for one in nodes
        ]
        with _typed(self._path), self._transaction() as connection:
            connection.executemany("REPLACE INTO node VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.executemany("DELETE FROM node WHERE node_id = ?", [(node_id.raw,) for node_id in removed])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def sequence(self) -> int:
        """The highest sequence that was ever reserved.

        :raises StateError: if it cannot be read
        """
        with _typed(self._path):
            row = self._connection.execute("SELECT sequence FROM listing").fetchone()
        try:
            (sequence,) = msgspec.convert(row, tuple[_Whole])
        except msgspec.ValidationError:
            raise StateError(_damaged(self._path)) from None
        return sequence

    def reserve_sequence(self, sequence: int) -> None:
        """Remember *sequence* before a listing with it is shown to anybody.

        :raises StateError: if it cannot be written
        """
        with _typed(self._path):
            # On the disk before it is used: clients refuse to go back, whatever happened to the pool.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("UPDATE listing SET sequence = ? WHERE sequence < ?", (sequence, sequence))
            self._connection.execute("PRAGMA synchronous = NORMAL")


@contextmanager
def _typed(path: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
        # SQLITE_ERROR is about what the file says: its message quotes it, and it may say anything.
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR or "decode" in str(error):
            raise StateError(_damaged(path)) from error
        raise StateError(f"{path}: {error}; check the disk and who owns the file") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # The second: so does this one, and not in UTF-8.
        raise StateError(_damaged(path)) from error


def _damaged(path: str) -> str:
    return f"{path}: the database is damaged or is not a pool's; put a backup in its place, or move it away"

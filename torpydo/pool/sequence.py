"""The highest sequence of a pool, for those who copy its identity elsewhere: clients refuse to go back behind it.

Called by ``torpydo identity``.
"""

from __future__ import annotations

import os
import sqlite3
from urllib.parse import quote

from torpydo.errors import StateError
from torpydo.pool.store import Store

__all__ = ["raise_sequence", "saved_sequence"]


def saved_sequence(path: str) -> int:
    """The highest sequence in a database that a pool may be using; 0 if there is no database.

    :raises StateError: if it cannot be read
    """
    if not os.path.exists(path):
        return 0
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1.0)
        try:
            row = connection.execute("SELECT sequence FROM listing").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StateError(f"{path}: the sequence of the listing cannot be read: {error}") from error
    return 0 if row is None else int(row[0])


def raise_sequence(path: str, sequence: int) -> None:
    """See to it that the pool which will use this database never goes behind *sequence*.

    :param path: of a file that exists; it may be empty
    :raises StateError: if it cannot be written, or is not a pool's
    """
    store = Store.open(path)
    try:
        store.reserve_sequence(sequence)
    finally:
        store.close()

"""When nodes are written to the store: together, a moment after they changed.

A heartbeat is answered before it is written, and what is written is not synced: a crash of the pool loses that moment,
a loss of power may lose more. That costs a node little: the pool believes that it was last heard some heartbeats
earlier, or has to probe it once more. Only the sequence of the listing may never be lost, and publisher writes and
syncs that one itself. Called by roster; admission makes it.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from torpydo.crypto import NodeId
from torpydo.errors import StateError
from torpydo.net import Later
from torpydo.pool.store import NodeRecord, Store

__all__ = ["Saving"]

SAVE_AFTER: Final = 0.2
"""Seconds from a change to its write: what a crash of the pool may cost. Of the machine it may cost more."""
BATCH: Final = 256
"""Nodes in a transaction: about 3 ms, between two of which requests are answered."""
RETRY: Final = 10.0
"""Seconds until a disk that failed is tried again."""


class Saving:
    """What is not written yet.

    :param store: the disk
    :param later: calls something after so many seconds
    """

    log = Logger()

    def __init__(self, store: Store, later: Later) -> None:
        self._store = store
        self._later = later
        self._changed: dict[NodeId, NodeRecord | None] = {}
        self._call: IDelayedCall | None = None
        self._disk_fails = False

    def stored(self) -> list[NodeRecord]:
        """What the last run left.

        :raises StateError: if it cannot be read
        """
        return self._store.nodes()

    def put(self, record: NodeRecord) -> None:
        """Save a node."""
        self._changed[record.node_id] = record
        self._arm(SAVE_AFTER)

    def remove(self, node_id: NodeId) -> None:
        """Forget a node."""
        self._changed[node_id] = None
        self._arm(SAVE_AFTER)

    def stop(self) -> None:
        """Save all now; nothing may change afterwards."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        while self._changed and self._save():
            pass

    def _arm(self, seconds: float) -> None:
        if self._call is None:
            self._call = self._later(seconds, self._due)

    def _due(self) -> None:
        self._call = None
        works = self._save()
        if self._changed:
            self._arm(0 if works else RETRY)

    def _save(self) -> bool:
        """Save one batch; tells whether the disk took it."""
        batch = list(islice(self._changed.items(), BATCH))
        try:
            self._store.write(
                [record for _, record in batch if record is not None],
                [node_id for node_id, record in batch if record is None],
            )
        except StateError as error:
            # The pool can do its work without; it says so once until it works again.
            if not self._disk_fails:
                self.log.error("the pool continues without saving its nodes: {error}", error=str(error))
            self._disk_fails = True
            return False
        self._disk_fails = False
        for node_id, _ in batch:
            del self._changed[node_id]
        return True

"""The node's stamp, and the work for one with more bits when its pools ask for it (SECURITY K1).

The work is done in the background, in slices that are soon over, with pauses: it may take hours, and traffic goes on
meanwhile. Every try is as likely to succeed as any other, so nothing is lost when it is broken off. Called by parts.
::

    listings ask for more bits ──> slice in a thread ──> none found ──> pause ──> slice …
                                         └──> found ──> file ──> descriptor, heartbeat, place in the DHT
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Self

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import STAMP_SIZE, NodeId, claimed_bits, document_hash, same
from torpydo.errors import CryptoError, StateError
from torpydo.net import StateDirectory
from torpydo.node.report import StampStanding

__all__ = ["FILE", "StampSearch", "Stamping"]

FILE: Final = "node.stamp"
TRIES: Final = 5
"""Tries of a slice: about a fifth of a second, for which the end of the process may have to wait."""
PAUSE: Final = 0.1
"""Seconds between two slices."""
RETRY: Final = 60.0
"""Seconds until it is tried again when there was no memory for it."""
_MAGIC: Final = b"torpydo node stamp 1\n"

StampSearch = Callable[[bytes, int, int, int], Deferred[bytes | None]]
"""Called like :func:`torpydo.crypto.find_stamp`: node id, bits, first number, how many."""


@attrs.define(eq=False)
class Stamping:
    """The stamp. Made by :meth:`open`.

    :ivar stamp: the one that the node has; empty: none
    """

    _reactor: Any
    _node_id: NodeId
    _state: StateDirectory | None
    _search: StampSearch
    _found: Callable[[], object]
    _rng: Callable[[int], bytes]
    stamp: bytes = b""
    _asked: int = 0
    _tries: int = 0
    _searching: Deferred[Any] | None = None
    _pause: IDelayedCall | None = None
    _no_memory: bool = False

    log = Logger()

    @classmethod
    def open(
        cls,
        reactor: Any,
        node_id: NodeId,
        state: StateDirectory | None,
        *,
        rng: Callable[[int], bytes],
        search: StampSearch,
        found: Callable[[], object],
    ) -> Self:
        """Read the stamp that the node has.

        :param state: where it survives; ``None`` keeps it in memory only
        :param search: does the work
        :param found: called when the node has another stamp
        :raises StateError: if the file is not private, or cannot be read; one that is torn is made anew
        """
        stamping = cls(reactor, node_id, state, search, found, rng)
        data = None if state is None else state.read(FILE)
        if data is not None:
            stamp = data[-STAMP_SIZE:]
            if same(data, stamping._encode(stamp)):
                stamping.stamp = stamp
            else:
                cls.log.warn("{file} is torn, or another node's; a new stamp is made when one is needed", file=FILE)
        return stamping

    def _encode(self, stamp: bytes) -> bytes:
        # The hash has the node id in it: whether the stamp is this node's is seen without a try.
        return _MAGIC + document_hash(_MAGIC + self._node_id.raw + stamp) + stamp

    @property
    def bits(self) -> int:
        """Bits of the stamp that the node has."""
        return claimed_bits(self.stamp)

    def standing(self) -> StampStanding:
        """How far it is."""
        working = self._searching is not None or self._pause is not None
        expected = 2**self._asked if working else 0
        return StampStanding(self.bits, self._asked, working, self._tries if working else 0, expected)

    def ask(self, bits: int) -> None:
        """So many bits are needed now. What the node has beyond that stays."""
        before, self._asked = self._asked, bits
        if self.bits >= bits or self._searching is not None or self._pause is not None:
            return
        if before < bits:
            self.log.info(
                "the pools ask for a stamp of {bits} bits: the node works for it, {tries} tries on average",
                bits=bits,
                tries=2**bits,
            )
        self._tries = 0
        self._slice()

    def stop(self) -> None:
        """Break off; a slice that is under way ends by itself."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._searching is not None:
            self._searching.cancel()

    def _slice(self) -> None:
        self._pause = None
        # Assigned before the callbacks are added: it may be over already.
        first = int.from_bytes(self._rng(8), "big")
        searching = self._searching = self._search(self._node_id.raw, self._asked, first, TRIES)
        searching.addCallbacks(self._searched, self._failed)
        searching.addErrback(lambda failure: self.log.failure("the work for a stamp ended", failure))

    def _searched(self, stamp: bytes | None) -> None:
        self._searching = None
        self._no_memory = False
        self._tries += TRIES
        if stamp is not None and claimed_bits(stamp) >= self._asked > self.bits:
            self._take(stamp)
        self._go_on(PAUSE)

    def _failed(self, failure: Failure) -> None:
        self._searching = None
        if failure.check(CancelledError):
            return
        failure.trap(CryptoError)
        if not self._no_memory:
            self.log.warn("the work for a stamp waits: {error}", error=failure.getErrorMessage())
        self._no_memory = True
        self._go_on(RETRY)

    def _go_on(self, pause: float) -> None:
        if self.bits < self._asked:
            self._pause = self._reactor.callLater(pause, self._slice)

    def _take(self, stamp: bytes) -> None:
        self.stamp = stamp
        self.log.info("the node has a stamp of {bits} bits", bits=self.bits)
        if self._state is not None:
            try:
                self._state.write(FILE, self._encode(stamp))
            except StateError as error:
                self.log.warn("the stamp is lost when the node ends: {error}", error=str(error))
        self._found()

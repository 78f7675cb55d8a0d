"""The stamps of nodes, as a pool looks at them: whether one has enough bits, and whether it holds (SECURITY K1).

The first can be read off; the second takes a thread and 64 MiB for a while. Whoever sends a heartbeat can ask for it,
so it is done after all that costs less, once for each stamp, for a few at a time; the rest is told to come later.
Nodes that are listed already need none of it, whatever a flood of newcomers brings. Called by admission.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Self

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger

from torpydo.crypto import NodeId, claimed_bits
from torpydo.directory import Descriptor
from torpydo.errors import CryptoError
from torpydo.net import StateDirectory
from torpydo.pool import refusal
from torpydo.pool.limits import PoolLimits
from torpydo.pool.refusal import PoolRefusal, Refused
from torpydo.wire import Malformed, NeedMore, Reader, Writer

__all__ = ["Asking", "StampCheck", "Stamps"]

FILE: Final = "stamp.asked"
GRACE_LEAST: Final = 3600.0
GRACE_FOR_TRY: Final = 0.5
"""Seconds for which nodes that were listed before have time to work for their stamp: an hour, and about ten times what
the tries take that are needed on average."""

StampCheck = Callable[[bytes, bytes], Deferred[bool]]
"""Tells whether the stamp of a node, given its id, holds; fails with :class:`CryptoError` if there is no memory."""


@attrs.frozen
class Asking:
    """How much a pool asks for.

    :ivar bits: of work
    :ivar since: since when it has asked for no less, seconds since 1970
    """

    bits: int = 0
    since: float = 0.0

    @classmethod
    def begin(cls, bits: int, state: StateDirectory | None, now: float) -> Self:
        """Begin to ask, or go on: the time that nodes have must not begin again with each start of the pool.

        :param state: where that survives; ``None`` for nowhere
        :raises StateError: if the file cannot be read or written
        """
        if state is None:
            return cls(bits, now)
        data = state.read(FILE)
        before = None if data is None else cls._decode(data)
        if before is not None and bits <= before.bits:
            now = min(before.since, now)
        asking = cls(bits, now)
        if asking != (before or cls(0, now)):
            state.write(FILE, Writer().u8(bits).u64(int(now)).getvalue())
        return asking

    @classmethod
    def _decode(cls, data: bytes) -> Self | None:
        reader = Reader(data)
        try:
            bits, since = reader.u8(), reader.u64()
            reader.finish()
        except (NeedMore, Malformed):
            # Nobody is lost by it: nodes have their time once more.
            return None
        return cls(bits, since)

    @property
    def until(self) -> float:
        """When those that were listed before need the stamp too, seconds since 1970."""
        return self.since + GRACE_LEAST + GRACE_FOR_TRY * 2.0**self.bits


class Stamps:
    """Looks at stamps.

    :param check: whether one holds
    :param asking: how much work is needed
    :param wall_clock: seconds since the epoch
    :param limits: how many are looked at
    """

    log = Logger()

    def __init__(
        self, check: StampCheck, asking: Asking, limits: PoolLimits, *, wall_clock: Callable[[], float]
    ) -> None:
        self._check = check
        self._asking = asking
        self._wall_clock = wall_clock
        self._most = limits.stamps_running + limits.stamps_waiting
        self._remembered = limits.strangers
        self._turns = DeferredSemaphore(limits.stamps_running)
        self._running: dict[NodeId, Deferred[bool]] = {}
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._no_memory = False

    def __len__(self) -> int:
        """How many are being looked at, or wait for their turn."""
        return len(self._running)

    def __contains__(self, node_id: NodeId) -> bool:
        """Whether one of the node is."""
        return node_id in self._running

    def suffices(self, stamp: bytes, first_seen: float | None) -> bool:
        """Whether a stamp has the bits that are asked for, if it holds.

        :param first_seen: when the node was first listed, seconds since 1970; it has time if that was before more was
            asked for
        """
        asking = self._asking
        if claimed_bits(stamp) >= asking.bits:
            return True
        return first_seen is not None and first_seen <= asking.since and self._wall_clock() < asking.until

    def refuse(self, stamp: bytes) -> Refused:
        """What a node is told whose stamp has too few bits."""
        why = (
            f"this pool lists nodes whose stamp has {self._asking.bits} bits of work, and this one's has"
            f" {claimed_bits(stamp)}; a node makes one by itself when enough of its pools ask for it, see its status"
        )
        return Refused(refusal.NO_STAMP, PoolRefusal.STAMP, why)

    async def prove(self, descriptor: Descriptor) -> None:
        """See that the stamp of a descriptor holds.

        :raises Refused: if it does not, or too many wait
        """
        stamp, node_id = descriptor.stamp, descriptor.node_id
        if not stamp:
            return
        name = node_id.raw + stamp
        if name not in self._known:
            holds = await self._look(node_id, stamp)
            self._known[name] = holds
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        if not self._known[name]:
            why = "the stamp is forged, or another node's; a node makes a new one if its node.stamp is moved away"
            raise Refused(refusal.NO_STAMP, PoolRefusal.STAMP, why)

    async def _look(self, node_id: NodeId, stamp: bytes) -> bool:
        if len(self._running) >= self._most:
            raise Refused(refusal.BUSY, PoolRefusal.STAMPS, "the pool is checking many stamps; try again later", 15.0)
        running = self._running[node_id] = self._turns.run(self._check, node_id.raw, stamp)
        try:
            holds = await running
        except CryptoError as error:
            if not self._no_memory:
                self.log.error("nodes with new stamps are not listed: {error}", error=str(error))
            self._no_memory = True
            raise Refused(refusal.BUSY, PoolRefusal.STAMPS, "the pool has no memory to check stamps", 60.0) from None
        finally:
            del self._running[node_id]
        self._no_memory = False
        return holds

    def stop(self) -> None:
        """Cancel all."""
        for running in list(self._running.values()):
            running.cancel()

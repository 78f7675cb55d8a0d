"""The pool's own links to nodes: proof that a node is where it says (SECURITY N5).

A probe is started because of a stranger's heartbeat, so nobody may aim many of them at one host or make the pool
hold many of them. Called by admission.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredSemaphore

from torpydo.crypto import NodeId
from torpydo.net import Buckets, host_key
from torpydo.pool import refusal
from torpydo.pool.limits import PoolLimits
from torpydo.pool.refusal import PoolRefusal, Refused
from torpydo.tpdp import Address

__all__ = ["Probe", "Probes"]

Probe = Callable[[Address, NodeId], Deferred[None]]
"""Opens a link to an address, proves the identity there, and closes it; fails with :class:`LinkError`."""


class Probes:
    """Runs probes, some at a time.

    :param probe: how
    :param clock: seconds that never go back
    :param limits: how many
    """

    def __init__(self, probe: Probe, limits: PoolLimits, *, clock: Callable[[], float]) -> None:
        self._probe = probe
        self._most = limits.probes_running + limits.probes_waiting
        self._hosts = Buckets(clock, limits.probes_per_host, limits.probes_per_host_burst)
        self._total = Buckets(clock, limits.probes_per_second, limits.probes_burst)
        self._turns = DeferredSemaphore(limits.probes_running)
        self._running: dict[NodeId, Deferred[None]] = {}

    def __len__(self) -> int:
        """How many probes run or wait."""
        return len(self._running)

    def __contains__(self, node_id: NodeId) -> bool:
        """Whether a probe of the node runs or waits."""
        return node_id in self._running

    def run(self, address: Address, node_id: NodeId) -> Deferred[None]:
        """Probe a node that is not being probed.

        :return: fails with :class:`LinkError` if there is no such node at *address*
        :raises Refused: if the host was probed too often or too many probes wait
        """
        busy = "the pool is checking many nodes; try again later"
        if len(self._running) >= self._most:
            raise Refused(refusal.BUSY, PoolRefusal.PROBES, busy, 30.0)
        if not self._hosts.take(host_key(address.ip)):
            often = f"the pool has checked {address.host} too often; try again later"
            raise Refused(refusal.TOO_MANY, PoolRefusal.PROBES_PER_HOST, often, 60.0)
        if not self._total.take(b""):
            raise Refused(refusal.BUSY, PoolRefusal.PROBES, busy, 5.0)
        running: Deferred[None] = self._turns.run(self._probe, address, node_id)
        self._running[node_id] = running

        def over(result: object) -> object:
            del self._running[node_id]
            return result

        return running.addBoth(over)

    def prune(self) -> None:
        """Forget what is not needed any more."""
        self._hosts.prune()

    def stop(self) -> None:
        """Cancel all probes."""
        for running in list(self._running.values()):
            running.cancel()

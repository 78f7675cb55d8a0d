"""The pool's own links to nodes: proof that a node is where it says (SECURITY N5).

A probe is started because of a stranger's heartbeat, so nobody may aim many of them at one host or make the pool
hold many of them. Called by admission.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, DeferredSemaphore

from torpydo.crypto import NodeId
from torpydo.net import Buckets, host_key
from torpydo.pool import refusal
from torpydo.pool.refusal import Refused
from torpydo.tpdp import Address

__all__ = ["Probe", "Probes"]

Probe = Callable[[Address, NodeId], Deferred[None]]
"""Opens a link to an address, proves the identity there, and closes it; fails with :class:`LinkError`."""

MAX_RUNNING: Final = 16
"""Probes at a time."""
MAX_WAITING: Final = 32
"""Probes that wait for their turn: at 10 s each the last one is over before its node stops waiting."""
TOTAL_RATE: Final = 100.0
TOTAL_BURST: Final = 200
"""Probes a second, and at once, to all hosts together: each takes about a millisecond, and heartbeats go before."""
HOST_RATE: Final = 0.1
HOST_BURST: Final = 6
"""Probes a second, and at once, that go to one host."""


class Probes:
    """Runs probes, some at a time.

    :param probe: how
    :param clock: seconds that never go back
    :param limited: whether there are only so many in a time; off in a test network, where one host has all nodes
    """

    def __init__(self, probe: Probe, *, clock: Callable[[], float], limited: bool) -> None:
        self._probe = probe
        self._limited = limited
        self._hosts = Buckets(clock, HOST_RATE, HOST_BURST)
        self._total = Buckets(clock, TOTAL_RATE, TOTAL_BURST)
        self._turns = DeferredSemaphore(MAX_RUNNING)
        self._running: dict[NodeId, Deferred[None]] = {}

    def __contains__(self, node_id: NodeId) -> bool:
        """Whether a probe of the node runs or waits."""
        return node_id in self._running

    def run(self, address: Address, node_id: NodeId) -> Deferred[None]:
        """Probe a node that is not being probed.

        :return: fails with :class:`LinkError` if there is no such node at *address*
        :raises Refused: if the host was probed too often or too many probes wait
        """
        if len(self._running) >= MAX_RUNNING + MAX_WAITING:
            raise Refused(refusal.BUSY, "the pool is checking many nodes; try again later", 30.0)
        if self._limited and not self._hosts.take(host_key(address.ip)):
            raise Refused(refusal.TOO_MANY, f"the pool has checked {address.host} too often; try again later", 60.0)
        if self._limited and not self._total.take(b""):
            raise Refused(refusal.BUSY, "the pool is checking many nodes; try again later", 5.0)
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

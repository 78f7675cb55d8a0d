"""The older calls: a pool index in three lines.

::

    pool_index = PoolIndex("127.0.0.1", 8080)
    pool_index.set_log(True)
    pool_index.start()

Without ``state_dir`` key and nodes live in memory, and the key is another one after each start.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import Any, TextIO

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.python.reflect import namedAny

from torpydo.directory import PoolURL
from torpydo.errors import TorpydoError
from torpydo.net import ConsoleObserver, is_loopback_host, probe_link
from torpydo.pool.probes import Probe
from torpydo.pool.service import PoolConfig, PoolService

__all__ = ["PoolIndex"]


class PoolIndex:
    """A pool index.

    :param host: the address to listen on
    :param port: the TCP port to listen on
    :param test_network: whether the rules are lifted that make no sense on one machine; ``None``: if *host* is a
        loopback address
    :param state_dir: where key and nodes survive
    :param reactor: by default Twisted's
    :param probe: how a link to a node is opened; for tests
    :param out: where :meth:`set_log` writes; by default the standard output
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        test_network: bool | None = None,
        state_dir: str | None = None,
        reactor: Any = None,
        probe: Probe | None = None,
        out: TextIO | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._test_network = is_loopback_host(host) if test_network is None else test_network
        self._state_dir = state_dir
        self._reactor = reactor
        self._probe = probe
        self._requested_delay = 15.0
        self._deprecation_delay = 30.0
        self._gc_cycle = 10.0
        self._observer = ConsoleObserver("pool", sys.stdout if out is None else out)
        self._service: PoolService | None = None

    def set_requested_delay(self, delay: float) -> None:
        """Set the seconds that nodes are asked to leave between heartbeats; counts from the next start."""
        self._requested_delay = delay

    def set_deprecation_delay(self, delay: float) -> None:
        """Set the seconds without heartbeat after which a node is dropped; counts from the next start."""
        self._deprecation_delay = delay

    def set_garbage_collector_cycle(self, cycle: float) -> None:
        """Set the seconds between two looks for such nodes; counts from the next start."""
        self._gc_cycle = cycle

    def set_log(self, flag: bool) -> None:
        """Say on the console what happens, or not."""
        self._observer.listen(flag)

    def start(self) -> Deferred[PoolURL]:
        """Begin to listen.

        :return: fires with the pool's URL when it can be asked; fails with :class:`ConfigurationError`,
            :class:`StateError` or :class:`ListenError`
        """
        try:
            service = self._make()
            service.startService()
        except TorpydoError as error:
            return fail(error)
        self._service = service
        return service.when_listening()

    def stop(self) -> Deferred[None]:
        """End everything; fires when the port is closed. Without a start it does nothing."""
        service, self._service = self._service, None
        return succeed(None) if service is None else service.stopService()

    def _make(self) -> PoolService:
        # By name and only now: an import would install a reactor in every program that imports this module.
        reactor = namedAny("twisted.internet.reactor") if self._reactor is None else self._reactor
        kind = TCP6ServerEndpoint if ":" in self._host else TCP4ServerEndpoint
        config = PoolConfig(
            endpoint=kind(reactor, self._port, interface=self._host),
            listen=f"{self._host} port {self._port}",
            state_dir=self._state_dir,
            requested_delay=self._requested_delay,
            deprecation_delay=self._deprecation_delay,
            gc_cycle=self._gc_cycle,
            test_network=self._test_network,
        )
        probe = partial(probe_link, reactor, rng=os.urandom) if self._probe is None else self._probe
        return PoolService(reactor, config, probe=probe, wall_clock=time.time, rng=os.urandom)

"""The older calls: a node in four lines.

::

    node = Node("127.0.0.1", 6000)
    node.set_pool_index("127.0.0.1", 8080)
    node.set_log(True)
    node.start()

Without ``state_dir`` its keys live in memory, and it is another node after each start.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.python.reflect import namedAny

from torpydo.directory import ExitPolicy, PoolURL
from torpydo.errors import TorpydoError
from torpydo.net import ConsoleObserver, is_loopback_host
from torpydo.node.config import Advertised, NodeConfig
from torpydo.node.limits import DEFAULT_LIMITS, NodeLimits
from torpydo.node.service import NodeService
from torpydo.node.status import NodeStatus

__all__ = ["Node"]

LOOPBACK_POLICY: Final = "accept 127.0.0.0/8:*"


class Node:
    """A node.

    :param host: the address to listen on and to advertise
    :param port: the TCP port
    :param exit_policy: which destinations it opens; ``None``: 127.0.0.0/8 if *host* is a loopback address, else none
    :param state_dir: where the keys survive
    :param nickname: for people
    :param limits: what it bounds
    :param reactor: by default Twisted's
    :param wall_clock: seconds since 1970
    :param rng: gives that many random bytes
    :param out: where :meth:`set_log` writes; by default the standard output
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        exit_policy: str | None = None,
        state_dir: str | None = None,
        nickname: str = "",
        limits: NodeLimits = DEFAULT_LIMITS,
        reactor: Any = None,
        wall_clock: Callable[[], float] = time.time,
        rng: Callable[[int], bytes] = os.urandom,
        out: TextIO | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._exit_policy = exit_policy
        self._state_dir = state_dir
        self._nickname = nickname
        self._limits = limits
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._rng = rng
        self._pools: list[tuple[str, int, str | None]] = []
        self._observer = ConsoleObserver("node", sys.stdout if out is None else out)
        self._service: NodeService | None = None

    def set_pool_index(self, host: str, port: int, key: str | None = None) -> None:
        """Name a pool that is to list the node; each call adds one, which counts from the next start.

        :param key: the pool's key, as in its URL; only a loopback pool is asked without
        """
        pool = (host, port, key)
        if pool not in self._pools:
            self._pools.append(pool)

    def set_log(self, flag: bool) -> None:
        """Say on the console what happens, or not."""
        self._observer.listen(flag)

    def start(self) -> Deferred[None]:
        """Listen, and tell the pools.

        :return: fires when the node listens; fails with :class:`ConfigurationError`, :class:`StateError` or
            :class:`ListenError`
        """
        try:
            service = self._make()
            service.startService()
        except TorpydoError as error:
            return fail(error)
        self._service = service
        return service.when_listening().addCallback(lambda address: None)

    def stop(self) -> Deferred[None]:
        """End everything; fires when all links are closed. Without a start it does nothing."""
        service, self._service = self._service, None
        return succeed(None) if service is None else service.stopService()

    def status(self) -> NodeStatus | None:
        """Counts of what is open; ``None`` while the node does not run."""
        return None if self._service is None else self._service.status()

    def _make(self) -> NodeService:
        # By name and only now: an import would install a reactor in every program that imports this module.
        reactor = namedAny("twisted.internet.reactor") if self._reactor is None else self._reactor
        kind = TCP6ServerEndpoint if ":" in self._host else TCP4ServerEndpoint
        policy = self._exit_policy
        if policy is None:
            policy = LOOPBACK_POLICY if is_loopback_host(self._host) else ""
        where = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        config = NodeConfig(
            endpoint=kind(reactor, self._port, interface=self._host),
            listen=f"{self._host} port {self._port}",
            pools=tuple(_pool_url(*pool) for pool in self._pools),
            state_dir=self._state_dir,
            advertise=Advertised.parse(where) if self._port else None,
            exit_policy=ExitPolicy.parse(policy),
            nickname=self._nickname,
            limits=self._limits,
        )
        return NodeService(reactor, config, wall_clock=self._wall_clock, rng=self._rng)


def _pool_url(host: str, port: int, key: str | None) -> PoolURL:
    name = f"[{host}]" if ":" in host else host
    return PoolURL.parse(f"http://{name}:{port}/" + (f"#{key}" if key else ""))

"""A node as a Twisted service: opens the state, listens, tells the pools, and closes everything again.

The parts are wired here and nowhere else. Called by the tap and by :class:`torpydo.node.Node`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import find_stamp
from torpydo.errors import ConfigurationError, ListenError, LocalProtocolError, TorpydoError
from torpydo.net import Fetched, FileBudget, LinkProtocol, StateDirectory, connect_link, fetch, in_thread
from torpydo.node.config import NodeConfig
from torpydo.node.parts import LocalPart, Parts
from torpydo.node.port import NodePort
from torpydo.node.report import NodeReport
from torpydo.node.stamping import StampSearch
from torpydo.node.status import NodeStatus
from torpydo.node.workers import Launch, launch_worker
from torpydo.tpdp import Address

__all__ = ["NodeService"]

NOT_RUNNING: Final = NodeStatus(links=0, circuits=0, streams=0, queued=0)


class NodeService(Service):
    """A node.

    :param reactor: connects and keeps time
    :param config: what the operator chose
    :param wall_clock: seconds since 1970
    :param rng: gives that many random bytes
    :param fetch: called like :func:`torpydo.net.fetch`
    :param connect: called like :func:`torpydo.net.connect_link`
    :param search: does the work for a stamp; by default a thread does
    :param launch: starts the process of a worker
    :param files: the file descriptors of this process; without it nobody counts them
    :param local: what takes part in the DHT
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: NodeConfig,
        *,
        wall_clock: Callable[[], float] = time.time,
        rng: Callable[[int], bytes] = os.urandom,
        fetch: Callable[..., Deferred[Fetched]] = fetch,
        connect: Callable[..., Deferred[LinkProtocol]] = connect_link,
        search: StampSearch | None = None,
        launch: Launch = launch_worker,
        files: FileBudget | None = None,
        local: LocalPart | None = None,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._wall_clock = wall_clock
        self._rng = rng
        self._fetch = fetch
        self._connect = connect
        self._search = in_thread(reactor, find_stamp) if search is None else search
        self._launch = launch
        self._files = files
        self._local = local
        self._door = NodePort(reactor)
        self._opening: Deferred[None] | None = None
        self._port: IListeningPort | None = None
        self._error: TorpydoError | None = None
        self._parts: Parts | None = None
        self._waiting: list[Deferred[Address]] = []

    # -- What a caller asks

    def status(self) -> NodeStatus:
        """Counts of what is open; all zero while the node does not run."""
        return NOT_RUNNING if self._parts is None else self._parts.carrier.status()

    def report(self) -> NodeReport | None:
        """Who and where the node is, and what its pools make of it; ``None`` while it does not run."""
        return None if self._parts is None else self._parts.report()

    def when_listening(self) -> Deferred[Address]:
        """Fires with the address on which the node listens (for a port of the system's choice), when it does.

        :return: fails with :class:`ListenError` or :class:`ConfigurationError`
        """
        if self._error is not None:
            return fail(self._error)
        if self._opening is None:
            return fail(LocalProtocolError("the node is not started"))
        waiter: Deferred[Address] = Deferred(lambda cancelled: self._forget(waiter))
        self._waiting.append(waiter)
        self._tell()
        return waiter

    def _forget(self, waiter: Deferred[Address]) -> None:
        # It is not there any more if it is cancelled by one that was told before it.
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    # -- Start and stop

    def privilegedStartService(self) -> None:
        """Listen, while the process may still use low ports.

        :raises ListenError: if that fails at once, as it does for TCP
        """
        Service.privilegedStartService(self)
        self._listen()

    def startService(self) -> None:
        """Open the state, and listen unless the privileged start did.

        :raises TorpydoError: if the state or the address cannot be used; nothing stays open then
        """
        if self._opening is None:
            self._listen()
        try:
            parts = self._parts = self._open()
            self._door.inside = parts.carrier.factory
            parts.carrier.gate.exhausted = self._door.pause
            Service.startService(self)
            parts.start()
            self._ready()
            if self._error is not None:
                raise self._error
        except TorpydoError:
            self.stopService()
            raise

    def stopService(self) -> Deferred[None]:
        """Destroy all circuits, close all links, and let go of the state.

        It takes five seconds at the most, or those of the drain and three more.
        """
        Service.stopService(self)
        opening, self._opening = self._opening, None
        port, self._port = self._port, None
        parts, self._parts = self._parts, None
        self._door.close()
        if opening is not None:
            opening.cancel()
        for waiter in list(self._waiting):
            waiter.cancel()
        closed: Deferred[Any] = succeed(None) if port is None else maybeDeferred(port.stopListening)
        if parts is not None:
            stopped = parts.stop()
            closed.addErrback(lambda failure: self.log.failure("the port could not be closed", failure))
            closed.addCallback(lambda ignored: stopped)
        return closed.addCallback(lambda ignored: None)

    # -- The port

    def _listen(self) -> None:
        self._error = None
        opening = maybeDeferred(self._config.endpoint.listen, self._door)
        self._opening = opening.addCallbacks(self._listening, self._deaf)
        self._opening.addErrback(lambda failure: self.log.failure("the node cannot begin", failure))
        if self._error is not None:
            self._opening = None
            raise self._error

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        self._door.listening(port)
        self._ready()

    def _deaf(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        reason = error.socketError if isinstance(error, CannotListenError) else error
        remedy = "stop what uses it, or choose another address"
        self._error = ListenError(f"cannot listen on {self._config.listen}: {reason}; {remedy}")
        self._tell()

    def _ready(self) -> None:
        """Both the port and the parts are there: tell the parts where the node is."""
        if self._port is None or self._parts is None:
            return
        here = _address(self._port.getHost())
        concrete = here is not None and any(here.ip)
        if self._config.advertise is None and not concrete:
            self._error = ConfigurationError(
                f"{self._config.listen} is not one address that others can reach; name one with --advertise=HOST:PORT"
            )
        else:
            self.log.info("the node {node} listens on {listen}", node=str(self._parts.node_id), listen=str(here))
            self._parts.listening(here)
        self._tell()

    def _tell(self) -> None:
        if self._error is None and (self._port is None or self._parts is None):
            return
        waiting, self._waiting = self._waiting, []
        here = None if self._port is None else _address(self._port.getHost())
        for waiter in waiting:
            if waiter.called:
                continue
            if self._error is not None:
                waiter.errback(self._error)
            else:
                waiter.callback(here or Address(bytes(4), 0))

    # -- The parts

    def _open(self) -> Parts:
        config = self._config
        state = None if config.state_dir is None else StateDirectory.open(config.state_dir)
        try:
            return Parts.open(
                self._reactor,
                config,
                state,
                wall_clock=self._wall_clock,
                rng=self._rng,
                fetch=self._fetch,
                connect=self._connect,
                search=self._search,
                launch=self._launch,
                files=self._files,
                local=self._local,
            )
        except TorpydoError:
            if state is not None:
                state.close()
            raise


def _address(here: IAddress) -> Address | None:
    """An address of Twisted's as one of ours; ``None`` for what has no IP address."""
    if isinstance(here, IPv4Address | IPv6Address):
        return Address.parse(here.host.partition("%")[0], here.port)
    return None

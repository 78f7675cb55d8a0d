"""A worker: the carrier of some of a node's circuits, in a process of its own. Called by the main program.

All that it knows came from its supervisor; it opens no file and listens on nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.crypto import DHSecretKey, Secret, SigningKey
from torpydo.directory import ExitPolicy, Listing, NetDir, PoolURL
from torpydo.errors import RemoteProtocolError
from torpydo.net import FileBudget, LinkProtocol, LoopLag
from torpydo.node.carrier import OwnCarrier
from torpydo.node.draw import make_randbelow
from torpydo.node.limits import NodeLimits
from torpydo.node.refusal import NodeRefusal
from torpydo.node.resolver import Resolver
from torpydo.node.workers.channel import LOST
from torpydo.node.workers.messages import (
    MAX_LOG_TEXT,
    AcceptedKeys,
    Connection,
    Drain,
    Drained,
    Leaving,
    LogLine,
    MessageReader,
    NetworkChanged,
    OwnAddresses,
    PoolListing,
    Setup,
    Status,
    Stop,
    ToWorker,
    encode,
)
from torpydo.tpdp import Address

__all__ = ["ChannelObserver", "Worker"]

REPORT: Final = 1.0
"""Seconds between two reports ..."""
REPORT_SOON: Final = 0.05
"""... and seconds until one after a connection has closed, so that many who leave and come back at once are spread
over the workers as they are now."""


class _Taken(Factory):
    """Makes the links of the connections that were handed to this worker, and remembers those that are open.

    :ivar inside: makes the links
    :ivar links: those that are open; one that never became ready may be among them until :meth:`prune`
    """

    noisy = False

    def __init__(self) -> None:
        self.inside = Factory()
        self.links: set[LinkProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        link = self.inside.buildProtocol(addr)
        if isinstance(link, LinkProtocol):
            self.links.add(link)
        return link

    def prune(self) -> None:
        """Forget those that are closed."""
        self.links = {link for link in self.links if _is_connected(link.transport)}


def _is_connected(transport: Any) -> bool:
    return transport is not None and bool(transport.connected)


@attrs.define(eq=False)
class _Carrying:
    """What there is as soon as the worker was set up."""

    carrier: OwnCarrier
    resolver: Resolver
    taken: _Taken
    pools: tuple[PoolURL, ...]


class Worker:
    """One worker.

    :param send: takes bytes for the supervisor
    :param stop: ends the process, after :meth:`stop`
    :param rng: gives that many random bytes
    :param wall_clock: seconds since 1970
    :param files: the file descriptors of this process; without it nobody counts them
    :param lag: how late the event loop of this process is; without it nobody measures that
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        send: Callable[[bytes], None],
        stop: Callable[[], None],
        rng: Callable[[int], bytes],
        wall_clock: Callable[[], float],
        files: FileBudget | None = None,
        lag: LoopLag | None = None,
    ) -> None:
        self._reactor = reactor
        self._lag = lag
        self._files = files
        self._send = send
        self._stop = stop
        self._rng = rng
        self._wall_clock = wall_clock
        self._reader: MessageReader[ToWorker] = MessageReader(ToWorker)
        self._descriptors: deque[int] = deque()
        self._carrying: _Carrying | None = None
        self._keys: tuple[DHSecretKey, ...] = ()
        self._listings: dict[PoolURL, Listing] = {}
        self._netdir: NetDir | None = None
        self._taken = 0
        self._reporter = LoopingCall(self._report)
        self._reporter.clock = reactor
        self._soon: IDelayedCall | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            Setup: self._setup,
            AcceptedKeys: self._accepted_keys,
            OwnAddresses: self._own_addresses,
            PoolListing: self._pool_listing,
            NetworkChanged: self._network_changed,
            Connection: self._connection,
            Stop: lambda message: self._stop(),
            Drain: self._drain,
        }

    def received(self, data: bytes, descriptors: Sequence[int]) -> None:
        """Take what the supervisor has sent."""
        self._descriptors.extend(descriptors)
        try:
            messages = self._reader.receive(data)
        except RemoteProtocolError as error:
            self.log.error("the supervisor of this worker: {error}", error=str(error))
            self._stop()
            return
        for message in messages:
            self._handlers[type(message)](message)

    def stop(self) -> Deferred[None]:
        """Destroy every circuit and close every link; fires when they are gone, or after a few seconds."""
        self._send(encode(Leaving()))
        if self._lag is not None:
            self._lag.stop()
        if self._reporter.running:
            self._reporter.stop()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        for descriptor in self._descriptors:
            _close(descriptor)
        self._descriptors.clear()
        carrying, self._carrying = self._carrying, None
        if carrying is None:
            return succeed(None)
        return carrying.carrier.stop().addCallback(lambda ignored: carrying.resolver.close())

    # -- What the supervisor says

    def _setup(self, setup: Setup) -> None:
        limits = NodeLimits.parse(setup.limits)
        resolver = Resolver(self._reactor, randbelow=make_randbelow(self._rng), limits=limits)
        taken = _Taken()

        def closed(link: LinkProtocol) -> None:
            if link in taken.links:
                taken.links.remove(link)
                self._report_soon()

        carrier = OwnCarrier.open(
            self._reactor,
            SigningKey(Secret(setup.identity)),
            exit_policy=ExitPolicy.parse(setup.exit_policy),
            allow_single_hop=setup.allow_single_hop,
            aegis=setup.aegis,
            onion_keys=lambda: self._keys,
            resolver=resolver,
            rng=self._rng,
            wall_clock=self._wall_clock,
            limits=limits,
            files=self._files,
            # The supervisor did, when it took them.
            counts_connects=False,
            closed=closed,
        )
        pools = tuple(PoolURL.parse(url) for url in setup.pools)
        taken.inside = carrier.factory
        self._carrying = _Carrying(carrier, resolver, taken, pools)
        carrier.start()
        if self._lag is not None:
            self._lag.start()
        self._report_forever()

    def _drain(self, message: Drain) -> None:
        if self._carrying is None:
            self._drained(None)
        else:
            self._carrying.carrier.drain(message.seconds).addBoth(self._drained)

    def _drained(self, result: object) -> None:
        if isinstance(result, Failure):
            self.log.failure("circuits are not waited for", result)
        self._send(encode(Drained()))

    def _accepted_keys(self, message: AcceptedKeys) -> None:
        self._keys = tuple(DHSecretKey(Secret(key)) for key in message.keys)

    def _own_addresses(self, message: OwnAddresses) -> None:
        if self._carrying is not None:
            self._carrying.carrier.set_own([Address(ip, port) for ip, port in message.addresses])

    def _pool_listing(self, message: PoolListing) -> None:
        self._listings[PoolURL.parse(message.url)] = message.listing

    def _network_changed(self, message: NetworkChanged) -> None:
        if self._carrying is None:
            return
        pools = self._carrying.pools
        self._netdir = NetDir.merge(self._listings, pools, None, message.now, previous=self._netdir)
        self._carrying.carrier.network_changed(self._netdir)

    def _connection(self, message: Connection) -> None:
        descriptor = self._descriptors.popleft()
        self._taken += 1
        carrying = self._carrying
        try:
            if descriptor == LOST and carrying is not None:
                carrying.carrier.exits.bounds.refuse(NodeRefusal.FILES)
            elif carrying is not None:
                self._reactor.adoptStreamConnection(descriptor, message.family, carrying.taken)
        except (OSError, UnsupportedAddressFamily):
            # It was reset before it arrived here, or this process has as many open files as it may have.
            return
        finally:
            # What was adopted is a duplicate.
            _close(descriptor)

    # -- What the supervisor hears

    def _report_forever(self) -> None:
        self._reporter.start(REPORT, now=True).addErrback(self._report_broke)

    def _report_broke(self, failure: Failure) -> None:
        # A worker that reports nothing is killed.
        self.log.failure("a report failed", failure)
        self._reactor.callLater(REPORT, self._report_forever)

    def _report_soon(self) -> None:
        if self._soon is None and self._reporter.running:
            self._soon = self._reactor.callLater(REPORT_SOON, self._report)

    def _report(self) -> None:
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        self._soon = None
        carrying = self._carrying
        if carrying is None:
            return
        carrying.taken.prune()
        status = carrying.carrier.status()
        self._send(
            encode(
                Status(
                    taken=self._taken,
                    still_open=len(carrying.taken.links),
                    links=status.links,
                    circuits=status.circuits,
                    streams=status.streams,
                    queued=status.queued,
                    pending=status.pending,
                    files=status.files,
                    files_most=status.files_most,
                    received=status.received,
                    sent=status.sent,
                    handshakes=status.handshakes,
                    circuits_made=status.circuits_made,
                    refused=status.refused,
                    lag=0.0 if self._lag is None else self._lag.worst,
                )
            )
        )


def _close(descriptor: int) -> None:
    if descriptor != LOST:
        os.close(descriptor)


@implementer(ILogObserver)
class ChannelObserver:
    """Sends what the operator should read to the supervisor.

    :param send: takes the bytes
    :param full: whether too much waits already
    """

    def __init__(self, send: Callable[[bytes], None], full: Callable[[], bool]) -> None:
        self._send = send
        self._full = full

    def __call__(self, event: LogEvent) -> None:
        level, namespace = event.get("log_level", LogLevel.info), str(event.get("log_namespace", ""))
        known = namespace.startswith("torpydo.")
        if level < (LogLevel.info if known else LogLevel.warn) or self._full():
            return
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        # A file name may have what no message can.
        text = text.encode("utf-8", "replace").decode()
        self._send(encode(LogLine(level.name, namespace[:200], text[:MAX_LOG_TEXT])))

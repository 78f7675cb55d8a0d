"""How the pool speaks HTTP: connections that are few, short and small, and a log without addresses.

Twisted's own channel waits a minute after each byte, keeps large bodies on the disk and logs the address of
whoever is too slow; a pool is asked by strangers, so here every step has a limit. Called by service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from torpydo.directory import MAX_HEARTBEAT
from torpydo.net import Refusals
from torpydo.pool.limits import PoolLimits
from torpydo.pool.peers import peer_key
from torpydo.pool.refusal import PoolRefusal

__all__ = ["PoolFactory"]

SERVER: Final = b"torpydo"
"""What the Server header says: no version, neither of torpydo nor of Twisted."""
REPORT_EVERY: Final = 600.0
"""Seconds between two lines in the log about requests."""


class PoolChannel(HTTPChannel):
    """One connection, with an end to everything."""

    transport: Any
    factory: PoolFactory

    def __init__(self, factory: PoolFactory, site: Site) -> None:
        HTTPChannel.__init__(self)
        self.factory = factory
        self.site = site
        self.requestFactory = PoolRequest
        self.maxHeaders = factory.limits.headers
        self.totalHeadersSize = factory.limits.header_bytes
        self._deadline = float("inf")
        self._late: PoolRefusal | None = None
        self._timer: IDelayedCall | None = None
        self._refused = False

    def connectionMade(self) -> None:
        HTTPChannel.connectionMade(self)
        self._expect(self.factory.limits.request_time, PoolRefusal.REQUEST_TIME)

    @property
    def is_idle(self) -> bool:
        """Whether no whole request waits for its answer."""
        return self.transport is not None and self._late is not PoolRefusal.ANSWER_TIME

    def allHeadersReceived(self) -> None:
        # Before Twisted makes a file for the body. A body in chunks has no length to check.
        if self.length is None:
            self._refuse(b"411 Length Required", b"say how long the body is")
        elif self.length > MAX_HEARTBEAT:
            self._refuse(b"413 Content Too Large", b"a heartbeat has at most %d bytes" % MAX_HEARTBEAT)
        else:
            HTTPChannel.allHeadersReceived(self)

    def _refuse(self, status: bytes, text: bytes) -> None:
        self._refused = True
        self.factory.refusals.add(PoolRefusal.REQUEST_SIZE)
        lines = (
            b"HTTP/1.1 " + status,
            b"Server: " + SERVER,
            b"Content-Type: text/plain",
            b"Content-Length: %d" % len(text),
            b"Connection: close",
        )
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + text)
        self.transport.loseConnection()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            HTTPChannel.rawDataReceived(self, data)

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's own answer to what is not HTTP, or has too many headers: there is no other place to count it.
        self.factory.refusals.add(PoolRefusal.REQUEST_MALFORMED)
        HTTPChannel._respondToBadRequestAndDisconnect(self)

    def allContentReceived(self) -> None:
        self._expect(self.factory.limits.answer_time, PoolRefusal.ANSWER_TIME)
        HTTPChannel.allContentReceived(self)

    def requestDone(self, request: Request) -> None:
        # Nobody has to ask again: the end of an idle connection is not counted.
        self._expect(self.factory.limits.request_time, None)
        if not self.factory.is_open:
            # What was sent ahead is not read any more: nobody would end what it begins.
            self.persistent = False
        HTTPChannel.requestDone(self, request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.factory.lost(self)
        HTTPChannel.connectionLost(self, reason)

    def _expect(self, seconds: float, late: PoolRefusal | None) -> None:
        self._late = late
        self._deadline = self.factory.reactor.seconds() + seconds
        if self._timer is not None and self._timer.getTime() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.factory.reactor.callLater(seconds, self._look)

    def _look(self) -> None:
        # A deadline that moves back moves no timer: two of them for each request would cost more than its answer.
        self._timer = None
        left = self._deadline - self.factory.reactor.seconds()
        if left > 0:
            self._timer = self.factory.reactor.callLater(left, self._look)
        else:
            if self._late is not None:
                self.factory.refusals.add(self._late)
            self.transport.abortConnection()


class PoolRequest(Request):
    """One request."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # No body here is a form, and looking whether it is one takes longer than a signature.
        self.requestHeaders.removeHeader(b"content-type")
        Request.requestReceived(self, command, path, version)

    def write(self, data: bytes) -> None:
        if not self.startedWriting:
            self.responseHeaders.setRawHeaders(b"server", [SERVER])
        Request.write(self, data)


class PoolFactory(ServerFactory[PoolChannel]):
    """The connections of a pool. It takes none before :meth:`open`, so a service can listen first.

    :param reactor: keeps their time
    :param limits: those that count in this kind of network
    :param refusals: told of what is refused here
    :param grant: asked for each connection whether there is a file descriptor for it
    """

    _log = Logger()
    noisy = False

    def __init__(
        self, reactor: Any, limits: PoolLimits, refusals: Refusals, grant: Callable[[], bool] = lambda: True
    ) -> None:
        self.reactor = reactor
        self._grant = grant
        self.limits = limits
        self.refusals = refusals
        self.channels: dict[PoolChannel, bytes | None] = {}
        self._hosts: Counter[bytes] = Counter()
        self._site: Site | None = None
        self._counts: dict[tuple[str, int], int] = {}
        self._report: IDelayedCall | None = None

    def buildProtocol(self, addr: IAddress | None) -> PoolChannel | None:
        host = peer_key(addr)
        if self._site is None:
            return None
        # This machine itself, where a web server may stand in front, has only the limit on all together.
        if host is not None and self._hosts[host] >= self.limits.connections_per_host:
            self.refusals.add(PoolRefusal.CONNECTIONS_PER_HOST)
            return None
        if len(self.channels) >= self.limits.connections:
            self.refusals.add(PoolRefusal.CONNECTIONS)
            if not self._make_room():
                return None
        if not self._grant():
            self.refusals.add(PoolRefusal.FILES)
            return None
        if host is not None:
            self._hosts[host] += 1
        channel = PoolChannel(self, self._site)
        self.channels[channel] = host
        return channel

    def _make_room(self) -> bool:
        """Tear the oldest connection without a request, so that those who say nothing keep nobody out (fault 8)."""
        oldest = next((channel for channel in self.channels if channel.is_idle), None)
        if oldest is None:
            return False
        # It is gone a moment later, and others may come before.
        self.lost(oldest)
        oldest.transport.abortConnection()
        return True

    def lost(self, channel: PoolChannel) -> None:
        """A connection is over."""
        host = self.channels.pop(channel, None)
        if host is None:
            return
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]

    def open(self, resource: IResource) -> None:
        """Take connections.

        :param resource: what they ask
        """
        self._site = Site(resource, reactor=self.reactor)

    @property
    def is_open(self) -> bool:
        """Whether connections and requests are taken."""
        return self._site is not None

    def shut(self) -> None:
        """Take no more connections, and no request that was sent ahead of an answer; the answer is still given."""
        self._site = None

    def close(self) -> None:
        """End all connections, and take no more."""
        self.shut()
        for channel in list(self.channels):
            channel.transport.abortConnection()
        self._write_report()

    def log(self, request: Request) -> None:
        """Count an answer; one line in ten minutes says how many there were."""
        method = request.method.decode("ascii", "replace") if request.method in (b"GET", b"HEAD", b"POST") else "other"
        key = method, int(request.code)
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._report is None:
            self._report = self.reactor.callLater(REPORT_EVERY, self._write_report)

    def _write_report(self) -> None:
        if self._report is not None and self._report.active():
            self._report.cancel()
        self._report = None
        counts, self._counts = self._counts, {}
        if counts:
            words = ", ".join(f"{count} x {method} {code}" for (method, code), count in sorted(counts.items()))
            self._log.info("answered since the last such line: {counts}", counts=words)

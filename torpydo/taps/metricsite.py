"""A web site of one page: small requests, one answer a connection, and an end to everything. Called by metrics.

Only programs on this machine get here. Whoever they are, they hold few connections, for ten seconds, and a page of a
browser that was led here under another name gets nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.directory import is_loopback

__all__ = ["MetricsFactory"]

PATH: Final = b"/metrics"
REQUEST_TIME: Final = 10.0
"""Seconds for a request and its answer."""
REQUEST_LIMIT: Final = 8192
"""Bytes of a request; there is no body."""
MAX_CONNECTIONS: Final = 8

_LINE: Final = re.compile(rb"([A-Z]{1,16}) (\S{1,2000}) HTTP/1\.[01]", re.ASCII)
_PORT: Final = re.compile(r":[0-9]{1,5}\Z", re.ASCII)


def _names_this_machine(host: str) -> bool:
    """Whether a Host header is what somebody on this machine writes, and not a name that leads here (DNS rebinding)."""
    name = _PORT.sub("", host.strip()).removeprefix("[").removesuffix("]")
    try:
        return is_loopback(ip_address(name).packed)
    except ValueError:
        return name.lower().removesuffix(".") == "localhost"


class MetricsProtocol(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, site: MetricsFactory) -> None:
        self.site = site
        self._received = b""
        self._answered = False
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.site.connections.add(self)
        self._timer = self.site.reactor.callLater(REQUEST_TIME, self._expired)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._timer = None
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._answered:
            return
        self._received += data
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if len(self._received) > REQUEST_LIMIT:
            self._send(b"431 Request Header Fields Too Large", b"the request is too long\n")
        elif end:
            self._answer(*head.split(b"\r\n"))

    def _answer(self, line: bytes, *headers: bytes) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            self._send(b"400 Bad Request", b"this is not a request that HTTP knows\n")
        elif not self._is_local(headers):
            self._send(b"403 Forbidden", b"ask for localhost, 127.0.0.1 or [::1]\n")
        elif match[2].partition(b"?")[0] != PATH:
            self._send(b"404 Not Found", b"there is only /metrics\n")
        elif match[1] not in (b"GET", b"HEAD"):
            self._send(b"405 Method Not Allowed", b"only GET and HEAD work here\n", b"Allow: GET, HEAD")
        else:
            self._send_page(with_body=match[1] == b"GET")

    def _is_local(self, headers: tuple[bytes, ...]) -> bool:
        if not isinstance(self.transport.getHost(), IPv4Address | IPv6Address):
            # No name leads a browser to a Unix socket.
            return True
        hosts = [value for name, _, value in (header.partition(b":") for header in headers) if name.lower() == b"host"]
        # Without a name: what a person types who has no browser.
        return all(_names_this_machine(host.decode("latin-1")) for host in hosts)

    def _send_page(self, *, with_body: bool) -> None:
        try:
            page = self.site.render()
        except Exception:  # the edge of the process: what cannot be told must not end the connection without a word
            self.site.log.failure("the metrics could not be written down")
            self._send(b"500 Internal Server Error", b"the metrics could not be written down; the log says why\n")
            return
        self._send(b"200 OK", page, content_type=self.site.content_type, with_body=with_body)

    def _send(
        self, status: bytes, body: bytes, *headers: bytes, content_type: str = "text/plain; charset=utf-8",
        with_body: bool = True,
    ) -> None:  # fmt: skip
        lines = (
            b"HTTP/1.1 " + status,
            b"Content-Type: " + content_type.encode("ascii"),
            b"Content-Length: %d" % len(body),
            b"Cache-Control: no-store",
            b"X-Content-Type-Options: nosniff",
            b"Connection: close",
            *headers,
        )
        self._answered = True
        self._received = b""
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + (body if with_body else b""))
        self.transport.loseConnection()


class MetricsFactory(ServerFactory[MetricsProtocol]):
    """The site.

    :param reactor: keeps time
    :param render: writes the page, as it is now
    :param content_type: of the page
    :ivar connections: those that are open
    """

    log = Logger()
    noisy = False

    def __init__(self, reactor: Any, render: Callable[[], bytes], content_type: str) -> None:
        self.reactor = reactor
        self.render = render
        self.content_type = content_type
        self.connections: set[MetricsProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> MetricsProtocol | None:
        if len(self.connections) >= MAX_CONNECTIONS:
            return None
        return MetricsProtocol(self)

    def close(self) -> None:
        """End all connections."""
        for connection in list(self.connections):
            connection.transport.abortConnection()

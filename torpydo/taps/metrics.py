"""``--metrics=ENDPOINT`` of every tap: where figures are served to Prometheus, and the service that does it.

Only to programs on this machine (SECURITY I3): there is no password, and even rounded figures are nobody else's
business. Called by the taps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib import import_module
from ipaddress import ip_address
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from torpydo import __version__
from torpydo.directory import is_loopback
from torpydo.errors import ListenError
from torpydo.taps.figures import Delayed, Figure
from torpydo.taps.metricsite import MetricsFactory
from torpydo.taps.unixsocket import Recorder

__all__ = ["METRICS_OPTION", "MetricsService", "MetricsWhere", "metrics_services", "metrics_where"]

METRICS_OPTION: Final = [
    "metrics", None, "", "Where to serve metrics: tcp:9100:interface=127.0.0.1 or unix:PATH; by default nowhere.",
]  # fmt: skip
_KINDS: Final = re.compile(r"(?:tcp6?|unix):", re.ASCII)
_OWNERS: Final = 0o660
"""A Unix socket is for its owner and group, whatever Twisted's default is."""


@attrs.frozen
class MetricsWhere:
    """Where the figures are served.

    :ivar words: as the operator wrote it, for messages
    :ivar endpoint: makes the endpoint for a reactor
    """

    words: str
    endpoint: Callable[[Any], IStreamServerEndpoint]


class _Recorder(Recorder):
    """The same for TCP, on this machine alone."""

    def listenTCP(self, port: int, factory: Any, backlog: int, interface: str) -> None:
        """Note it."""
        try:
            ip = ip_address(interface)
        except ValueError:
            return
        if is_loopback(ip.packed):
            kind = TCP4ServerEndpoint if ip.version == 4 else TCP6ServerEndpoint
            self.endpoint = lambda reactor: kind(reactor, port, backlog, interface)


def metrics_where(text: str) -> MetricsWhere | None:
    """What ``--metrics=`` means; ``None`` if it is empty, which is the default.

    :raises UsageError: if it is not an endpoint, if others could reach it, or if ``prometheus_client`` is missing
    """
    if not text:
        return None
    recorder = _Recorder(_OWNERS)
    try:
        if _KINDS.match(text):
            serverFromString(recorder, text).listen(None)
    except (ValueError, TypeError, LookupError, OSError) as error:
        raise UsageError(f"--metrics={text}: not a Twisted server endpoint: {error}") from None
    if recorder.endpoint is None:
        raise UsageError(
            f"--metrics={text}: whoever reaches it may read it, so it must be on this machine alone: give"
            " tcp:PORT:interface=127.0.0.1, tcp6:PORT:interface=\\:\\:1 or unix:PATH"
        )
    _load()
    return MetricsWhere(text, recorder.endpoint)


def _load() -> Any:
    try:
        return import_module("torpydo.taps.exposition")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "prometheus_client":
            raise
        remedy = "pip install 'torpydo[metrics]', or leave --metrics out"
        raise UsageError(f"--metrics needs the package prometheus_client: {remedy}") from None


class MetricsService(Service):
    """Serves the figures of one process.

    :param kind: ``node``, ``pool``, ``client`` or ``service``
    :param take: the figures at this moment
    """

    log = Logger()

    def __init__(self, reactor: Any, kind: str, where: MetricsWhere, take: Callable[[], Iterable[Figure]]) -> None:
        self._where = where
        self._reactor = reactor
        self._delayed = Delayed(reactor, take)
        self._take = take
        exposition = _load()
        render = exposition.exposition(kind, __version__, self._figures)
        self._factory = MetricsFactory(reactor, render, exposition.CONTENT_TYPE)
        self._port: IListeningPort | None = None

    def _figures(self) -> list[Figure]:
        return [*(figure for figure in self._take() if figure.step is None), *self._delayed.figures]

    def startService(self) -> None:
        """Listen, and begin to take snapshots.

        :raises ListenError: if the address cannot be listened on
        """
        failed: list[ListenError] = []

        def deaf(failure: Failure) -> None:
            error = failure.value
            reason = error.socketError if isinstance(error, CannotListenError) else error
            remedy = "stop what uses it, or choose another address"
            failed.append(ListenError(f"cannot listen on {self._where.words} for --metrics: {reason}; {remedy}"))

        # These endpoints listen, or fail, at once.
        self._where.endpoint(self._reactor).listen(self._factory).addCallbacks(self._listening, deaf)
        if failed:
            raise failed[0]
        self._delayed.start()
        Service.startService(self)

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        self.log.info("metrics are served on {where}", where=self._where.words)

    def stopService(self) -> Deferred[None]:
        """Listen no more, and end the connections."""
        Service.stopService(self)
        self._delayed.stop()
        port, self._port = self._port, None
        closed: Deferred[Any] = succeed(None) if port is None else maybeDeferred(port.stopListening)
        self._factory.close()
        return closed.addCallback(lambda ignored: None)


def metrics_services(reactor: Any, kind: str, text: str, take: Callable[[], Iterable[Figure]]) -> list[MetricsService]:
    """The service that ``--metrics=`` asks for, or none."""
    where = metrics_where(text)
    return [] if where is None else [MetricsService(reactor, kind, where, take)]

"""``twistd torpydo-service``: local programs as an onion service. Called by twistd.

The service gets ready by itself and keeps trying while pools are down; what cannot get better by waiting (a key file
that others may read, a state directory of somebody else) ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.python.usage import UsageError

from torpydo.apps.onionservice import HostedService, read_port
from torpydo.client import Client, ClientLimits, ClientStatus
from torpydo.errors import ConfigurationError, TorpydoError
from torpydo.net import harden_process, keep_quiet, settle_collector, use_steady_clock
from torpydo.onion import DHPublicKey, parse_client_key
from torpydo.taps.ending import EndingService
from torpydo.taps.figures import Figure
from torpydo.taps.metrics import METRICS_OPTION, metrics_services, metrics_where
from torpydo.taps.networkoptions import THRESHOLD_OPTION, NetworkOptions
from torpydo.taps.notready import tell_not_ready
from torpydo.taps.process import ProcessService
from torpydo.taps.servicefigures import client_figures
from torpydo.taps.statussocket import Source, StatusService

__all__ = ["OnionHost", "Options", "ServiceConfig", "makeService"]

DEFAULT_STATE = "~/.local/state/torpydo/service"
KEY_FILE = "service.key"


@attrs.frozen
class ServiceConfig:
    """What an operator chooses.

    :ivar pools: pool URLs
    :ivar threshold: how many of them must list a node; ``None`` is the majority
    :ivar state_dir: where listings, the guard and the key survive
    :ivar ports: what has the streams of each port, such as ``80:127.0.0.1:8000``
    :ivar key_file: where the service's identity is
    :ivar clients: keys of those who may come; without any everybody may
    :ivar limits: what the client bounds
    """

    pools: tuple[str, ...]
    threshold: int | None
    state_dir: str
    ports: tuple[str, ...]
    key_file: str
    clients: tuple[DHPublicKey, ...] = ()
    limits: ClientLimits = attrs.Factory(ClientLimits)


class Options(NetworkOptions):
    """What an operator can choose."""

    role = "service"
    synopsis = "--pool=URL --port=80:127.0.0.1:8000 [options]"
    longdesc = (
        "Lets local programs be an onion service: whoever has its name reaches them, and nobody learns where they are."
        " The name stays the same as long as the key file does; 'torpydo status' shows it."
    )
    optParameters = [
        THRESHOLD_OPTION,
        ["state-dir", None, DEFAULT_STATE, "Where listings, the guard and the key are kept; made if it is missing."],
        ["key-file", None, None, f"The service's identity; made if it is missing. By default {KEY_FILE} in state-dir."],
        METRICS_OPTION,
    ]

    def __init__(self) -> None:
        NetworkOptions.__init__(self)
        self["ports"] = []
        self["clients"] = []

    def opt_port(self, text: str) -> None:
        """PORT, PORT:PORT, PORT:HOST:PORT or PORT:unix:PATH: a port of the service and where its streams go; may be
        repeated."""
        try:
            read_port(text)
        except ConfigurationError as error:
            raise UsageError(str(error)) from None
        self["ports"].append(text)

    def opt_client(self, text: str) -> None:
        """The key of somebody who may come; may be repeated. Without any everybody may come who knows the name."""
        try:
            self["clients"].append(parse_client_key(text))
        except ConfigurationError as error:
            raise UsageError(str(error)) from None

    def postOptions(self) -> None:
        """Check everything while twistd still turns an error into one line."""
        self.config()
        metrics_where(self["metrics"])

    def config(self) -> ServiceConfig:
        """The options as the service takes them.

        :raises UsageError: if one of them cannot be used
        """
        pools, threshold = self.network()
        if not self["ports"]:
            raise UsageError("which program? give --port=80:127.0.0.1:8000 for one that listens on port 8000 here")
        ports = [read_port(port)[0] for port in self["ports"]]
        if len({*ports}) < len(ports):
            raise UsageError("--port: one port of the service stands there twice")
        state_dir = os.path.expanduser(self["state-dir"])
        return ServiceConfig(
            pools=pools,
            threshold=threshold,
            state_dir=state_dir,
            ports=tuple(self["ports"]),
            key_file=self["key-file"] or os.path.join(state_dir, KEY_FILE),
            clients=tuple(self["clients"]),
            limits=self.client_limits(),
        )


@attrs.frozen
class HostStatus:
    """The service at one moment.

    :ivar name: under which it is reached; ``None`` before the key is read
    :ivar reachable: whether clients can find it
    :ivar introduction_points: the beginnings of the ids of the nodes that it has for them
    """

    name: str | None
    reachable: bool
    introduction_points: tuple[str, ...]


class OnionHost(Service):
    """A client that runs one onion service.

    :param reactor: keeps time and connects
    :param start: makes a client that gets ready by itself; for tests
    """

    log = Logger()

    def __init__(self, reactor: Any, config: ServiceConfig, start: Callable[..., Client] = Client.start) -> None:
        self._reactor = reactor
        self._config = config
        self._start = start
        self._client: Client | None = None
        self._service: HostedService | None = None

    def startService(self) -> None:
        """Open the state and the key, and begin.

        :raises TorpydoError: if one of them cannot be used; nothing stays open then
        """
        config = self._config
        client = self._client = self._start(
            self._reactor,
            config.pools,
            config.state_dir,
            pool_threshold=config.threshold,
            limits=config.limits,
        )
        try:
            self._service = service = client.host_onion_service(
                config.ports, key_file=config.key_file, clients=config.clients, progress=self._progress
            )
        except TorpydoError:
            client.close()
            raise
        Service.startService(self)
        self.log.info("the onion service is {name}", name=service.name)
        client.when_ready().addErrback(self._not_ready)

    def _progress(self, percent: int, tag: str, summary: str) -> None:
        self.log.info("{summary}", summary=summary)

    def _not_ready(self, failure: Failure) -> None:
        tell_not_ready(self.log, "service", failure, running=bool(self.running))

    def status(self) -> ClientStatus | None:
        """The client at this moment; ``None`` while it does not run."""
        return None if self._client is None else self._client.status()

    def host_status(self) -> HostStatus:
        """The service at this moment."""
        service = self._service
        if service is None:
            return HostStatus(None, reachable=False, introduction_points=())
        points = tuple(node_id.short for node_id in service.introduction_points)
        return HostStatus(service.name, service.is_reachable, points)

    def stopService(self) -> Deferred[None]:
        """End the service and close the client."""
        Service.stopService(self)
        client, self._client, self._service = self._client, None, None
        return succeed(None) if client is None else client.close()


def makeService(options: Options, reactor: Any = None) -> IService:
    """The service that twistd runs.

    :param reactor: by default Twisted's
    :raises UsageError: if an option cannot be used
    """
    if reactor is None:
        # Only now: twistd may still choose a reactor while this module is imported.
        reactor = namedAny("twisted.internet.reactor")
        use_steady_clock(reactor)
        settle_collector(reactor)
        harden_process()
        reactor.callWhenRunning(keep_quiet, globalLogPublisher, reactor.seconds)
    process = ProcessService(reactor)
    config = options.config()
    host = OnionHost(reactor, config)

    def figures() -> list[Figure]:
        return [*process.figures(), *client_figures(host.status())]

    return EndingService(
        host,
        reactor,
        process,
        StatusService(reactor, config.state_dir, host, Source(host.host_status), process),
        *metrics_services(reactor, "client", options["metrics"], figures),
    )

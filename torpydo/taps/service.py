"""``twistd torpydo-service``: local programs as an onion service. Called by twistd.

The service gets ready by itself and keeps trying while pools are down; what cannot get better by waiting (a key file
that others may read, a state directory of somebody else) ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError

from torpydo.apps.onionservice import HostedService, parse_port, read_port
from torpydo.apps.programs import Program, ProgramRefusal
from torpydo.client import Client, ClientLimits
from torpydo.errors import ConfigurationError, TorpydoError
from torpydo.net import FileBudget, Refusals
from torpydo.onion import DHPublicKey, parse_client_key
from torpydo.taps.ending import EndingService
from torpydo.taps.figures import Figure
from torpydo.taps.metrics import METRICS_OPTION, metrics_services, metrics_where
from torpydo.taps.options import THRESHOLD_OPTION, NetworkOptions
from torpydo.taps.ownprocess import own_process
from torpydo.taps.process import ProcessService
from torpydo.taps.runningclient import RunningClient
from torpydo.taps.servicefigures import client_figures, host_figures
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
        state_dir = os.path.expanduser(self.state_dir())
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
    :ivar refused: what it and its client have refused since the start, by cause (``ProgramRefusal`` and
        ``ClientRefusal`` in small letters)
    """

    name: str | None
    reachable: bool
    introduction_points: tuple[str, ...]
    refused: Mapping[str, int]


class OnionHost(RunningClient):
    """A client that runs one onion service.

    :param reactor: keeps time and connects
    :param start: makes a client that gets ready by itself; for tests
    :param files: the file descriptors of the process; by default they are not counted
    :ivar refusals: visitors who did not reach the program
    """

    role = "service"

    def __init__(
        self,
        reactor: Any,
        config: ServiceConfig,
        start: Callable[..., Client] = Client.start,
        files: FileBudget | None = None,
    ) -> None:
        super().__init__(reactor, start)
        self.refusals = Refusals(ProgramRefusal, reactor.seconds)
        self._files = FileBudget(reactor.seconds) if files is None else files
        self._config = config
        self._service: HostedService | None = None

    def startService(self) -> None:
        """Open the state and the key, and begin.

        :raises TorpydoError: if one of them cannot be used; nothing stays open then
        """
        config = self._config
        client = self._open(config)
        try:
            ports = [self._program(port) for port in config.ports]
            self._service = service = client.host_onion_service(
                ports, key_file=config.key_file, clients=config.clients, progress=self._progress
            )
        except TorpydoError:
            self._close()
            raise
        Service.startService(self)
        self.log.info("the onion service is {name}", name=service.name)
        client.when_ready().addErrback(self._not_ready)

    def _program(self, text: str) -> tuple[int, Program]:
        port, endpoint = parse_port(self._reactor, text)
        return port, Program(endpoint, self.refusals.add, self._files.grant)

    def _progress(self, percent: int, tag: str, summary: str) -> None:
        self.log.info("{summary}", summary=summary)

    def host_status(self) -> HostStatus:
        """The service at this moment."""
        service, client = self._service, self.status()
        # One field of the answer, of which the client has causes of its own.
        refused = {**({} if client is None else client.refused), **self.refusals.counts()}
        if service is None:
            return HostStatus(None, reachable=False, introduction_points=(), refused=refused)
        points = tuple(node_id.short for node_id in service.introduction_points)
        return HostStatus(service.name, service.is_reachable, points, refused)

    def stopService(self) -> Deferred[None]:
        """End the service and close the client; done within 5 s."""
        Service.stopService(self)
        self._service = None
        return self._close()


def makeService(options: Options, reactor: Any = None) -> IService:
    """The service that twistd runs.

    :param reactor: by default Twisted's
    :raises UsageError: if an option cannot be used
    """
    files = None
    if reactor is None:
        reactor, files = own_process()
    process = ProcessService(reactor)
    config = options.config()
    host = OnionHost(reactor, config, files=files)

    def figures() -> list[Figure]:
        now = host.host_status()
        own = host_figures(reachable=now.reachable, introduction_points=len(now.introduction_points))
        return [*process.figures(), *client_figures(host.status(), host.refusals.counts()), *own]

    return EndingService(
        host,
        reactor,
        process,
        StatusService(reactor, config.state_dir, host, Source(host.host_status), process),
        *metrics_services(reactor, "service", options["metrics"], figures),
    )

"""``twistd torpydo-client``: the options of a client with its proxies, and how they become a service. Called by twistd.

The client gets ready by itself and keeps trying while pools are down; the proxies listen at once, and what they are
asked to open waits. What cannot get better by waiting (a busy port, a state directory of somebody else) ends the
process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.application.service import IService, Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from torpydo.apps.front import FrontFactory
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.refusals import ProxyRefusal
from torpydo.apps.socks import SocksFactory
from torpydo.client import DEFAULT_LIMITS, Client, ClientLimits
from torpydo.directory import MAX_HOPS, is_loopback
from torpydo.errors import ConfigurationError, ListenError, OnionNameError, TorpydoError
from torpydo.net import (
    FileBudget,
    Refusals,
    lengthen_backlog,
    read_dh_key_file,
)
from torpydo.onion import OnionName
from torpydo.taps.ending import EndingService
from torpydo.taps.figures import Figure
from torpydo.taps.metrics import METRICS_OPTION, metrics_services, metrics_where
from torpydo.taps.options import THRESHOLD_OPTION, NetworkOptions, listen_endpoint
from torpydo.taps.ownprocess import own_process
from torpydo.taps.process import ProcessService
from torpydo.taps.runningclient import RunningClient
from torpydo.taps.servicefigures import client_figures
from torpydo.taps.statussocket import Source, StatusService
from torpydo.taps.unixsocket import PRIVATE
from torpydo.tpdp import Address

__all__ = ["ClientConfig", "ClientService", "Options", "makeService"]

DEFAULT_STATE = "~/.local/state/torpydo/client"


@attrs.frozen
class ClientConfig:
    """What a user chooses.

    :ivar pools: pool URLs
    :ivar threshold: how many of them must list a node; ``None`` is the majority
    :ivar state_dir: where listings and the guard survive
    :ivar socks: where the SOCKS proxy listens, and the same in words; ``None`` is nowhere
    :ivar http: the same for the HTTP proxy
    :ivar hops: nodes in a circuit
    :ivar limits: what the client and its proxies bound
    :ivar safe_socks: whether SOCKS refuses IP addresses as destinations
    :ivar connect_only: whether the HTTP proxy refuses all but CONNECT
    :ivar isolate_ports: whether streams to different destination ports never share a circuit
    :ivar service_keys: names of onion services that let in invited clients only, and the file with the key for each
    :ivar allow_remote: whether a proxy may listen where other machines reach it
    """

    pools: tuple[str, ...]
    threshold: int | None
    state_dir: str
    socks: tuple[IStreamServerEndpoint, str] | None
    http: tuple[IStreamServerEndpoint, str] | None
    hops: int = 3
    limits: ClientLimits = DEFAULT_LIMITS
    safe_socks: bool = False
    connect_only: bool = False
    isolate_ports: bool = False
    allow_remote: bool = False
    service_keys: tuple[tuple[str, str], ...] = ()


def _endpoint(reactor: Any, option: str, description: str) -> tuple[IStreamServerEndpoint, str] | None:
    if not description:
        return None
    # A proxy has no password; by its mode a Unix socket is for this user alone.
    return listen_endpoint(reactor, option, description, PRIVATE), description


class Options(NetworkOptions):
    """What a user can choose."""

    role = "client"
    synopsis = "--pool=URL [options]"
    longdesc = (
        "Runs a client of an onion network with a SOCKS (4, 4a, 5) and an HTTP proxy. It keeps trying while pools or"
        " nodes are down. Programs must send names, not addresses, to the proxy: curl --socks5-hostname, for example."
    )
    optParameters = [
        THRESHOLD_OPTION,
        ["state-dir", None, DEFAULT_STATE, "Where listings and the guard are kept; made if it is missing."],
        ["socks", None, "tcp:9050:interface=127.0.0.1", "Where the SOCKS proxy listens; empty: nowhere."],
        ["http", None, "tcp:8118:interface=127.0.0.1", "Where the HTTP proxy listens; empty: nowhere."],
        ["hops", None, 3, f"Nodes in a circuit, 1 to {MAX_HOPS}.", int],
        METRICS_OPTION,
    ]
    optFlags = [
        ["safe-socks", None, "Refuse IP addresses in SOCKS requests: who gives one may have asked the DNS for it."],
        ["http-connect-only", None, "Let the HTTP proxy take CONNECT only: what is not https is read by the exit."],
        ["isolate-ports", None, "Never let streams to different destination ports share a circuit."],
        ["allow-remote", None, "Let the proxies listen where other machines reach them; they have no password."],
    ]

    def __init__(self) -> None:
        NetworkOptions.__init__(self)
        self["service-keys"] = []

    def opt_service_key(self, text: str) -> None:
        """NAME.torpydo:FILE is the key by which that onion service knows this client; 'torpydo identity client FILE'
        makes one. May be repeated."""
        name, _, path = text.partition(":")
        try:
            self["service-keys"].append((str(OnionName.parse(name)), path))
        except OnionNameError as error:
            raise UsageError(f"--service-key={text}: {error}") from None
        if not path:
            raise UsageError(f"--service-key={text}: a file is missing; write NAME.torpydo:FILE")

    def postOptions(self) -> None:
        """Check everything while twistd still turns an error into one line."""
        # Built-in endpoints are only described here, so they need no reactor yet.
        self.config(None)
        metrics_where(self["metrics"])

    def config(self, reactor: Any) -> ClientConfig:
        """The options as the service takes them.

        :raises UsageError: if one of them cannot be used
        """
        pools, threshold = self.network()
        if not 1 <= self["hops"] <= MAX_HOPS:
            raise UsageError(f"--hops={self['hops']}: a circuit has 1 to {MAX_HOPS} nodes")
        if not self["socks"] and not self["http"]:
            raise UsageError("--socks and --http are both empty, so nobody could use this client")
        return ClientConfig(
            pools=pools,
            threshold=threshold,
            state_dir=self.state_dir(),
            socks=_endpoint(reactor, "socks", self["socks"]),
            http=_endpoint(reactor, "http", self["http"]),
            hops=self["hops"],
            limits=self.client_limits(),
            safe_socks=bool(self["safe-socks"]),
            connect_only=bool(self["http-connect-only"]),
            isolate_ports=bool(self["isolate-ports"]),
            allow_remote=bool(self["allow-remote"]),
            service_keys=tuple(self["service-keys"]),
        )


@attrs.frozen
class ProxiesStatus:
    """The proxies at one moment.

    :ivar refused: what they and the client have refused since the start, by cause (``ProxyRefusal`` and
        ``ClientRefusal`` in small letters)
    """

    refused: Mapping[str, int]


class ClientService(RunningClient):
    """A client with its proxies.

    :param reactor: keeps time, connects, listens
    :param start: makes a client that gets ready by itself; for tests
    :param files: the file descriptors of the process; by default they are not counted
    :ivar refusals: what the proxies have refused
    """

    def __init__(
        self,
        reactor: Any,
        config: ClientConfig,
        start: Callable[..., Client] = Client.start,
        files: FileBudget | None = None,
    ) -> None:
        super().__init__(reactor, start)
        self.refusals = Refusals(ProxyRefusal, reactor.seconds)
        self._files = files
        self._config = config
        self._fronts: list[FrontFactory] = []
        self._ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Open the state, start the client, listen.

        :raises TorpydoError: if the state or an address cannot be used; nothing stays open then
        """
        config = self._config
        client = self._open(config, hops=config.hops)
        shared: dict[str, Any] = {
            "limits": config.limits,
            "refused": self.refusals.add,
            "isolate_ports": config.isolate_ports,
        }
        if self._files is not None:
            shared["grant"] = self._files.grant
        try:
            for name, path in config.service_keys:
                # One that was made now would be known to no service.
                client.onions.authorise(name, read_dh_key_file(path))
            if config.socks is not None:
                socks = SocksFactory(client, self._reactor, refuse_addresses=config.safe_socks, **shared)
                self._serve("SOCKS", *config.socks, socks)
            if config.http is not None:
                http = HTTPProxyFactory(client, self._reactor, connect_only=config.connect_only, **shared)
                self._serve("HTTP", *config.http, http)
        except TorpydoError:
            self._stop()
            raise
        Service.startService(self)
        client.when_ready().addCallbacks(self._ready, self._not_ready)

    def proxies_status(self) -> ProxiesStatus:
        """The proxies at this moment."""
        client = self.status()
        # One field of the answer, of which the client has causes of its own.
        return ProxiesStatus({**({} if client is None else client.refused), **self.refusals.counts()})

    def _serve(self, kind: str, endpoint: IStreamServerEndpoint, words: str, front: FrontFactory) -> None:
        self._fronts.append(front)
        failed: list[TorpydoError] = []

        def listening(port: IListeningPort) -> None:
            self._ports.append(port)
            lengthen_backlog(port)
            remote = self._tell_where(kind, port)
            if remote is not None:
                fail(remote)

        def refused(failure: Failure) -> None:
            error = failure.value
            reason = error.socketError if isinstance(error, CannotListenError) else error
            remedy = "stop what uses it, or choose another address"
            fail(ListenError(f"cannot listen on {words} for the {kind} proxy: {reason}; {remedy}"))

        def fail(error: TorpydoError) -> None:
            failed.append(error)
            if self.running:
                # Built-in endpoints fail at once and end the process with a status; one that fails later just ends it.
                self.log.critical("{error}", error=str(failed[0]))
                self._reactor.stop()

        maybeDeferred(endpoint.listen, front).addCallbacks(listening, refused)
        if failed:
            raise failed[0]

    def _tell_where(self, kind: str, port: IListeningPort) -> ConfigurationError | None:
        """Say where a proxy listens, or why it may not listen there (SECURITY S3)."""
        address = port.getHost()
        if not isinstance(address, IPv4Address | IPv6Address):
            self.log.info("the {kind} proxy listens on {address}", kind=kind, address=str(address))
            return None
        where = Address.parse(address.host or "0.0.0.0", address.port)
        if not is_loopback(where.ip) and not self._config.allow_remote:
            return ConfigurationError(
                f"the {kind} proxy would listen on {where}, where other machines could use it without a password;"
                " add :interface=127.0.0.1, or --allow-remote if that is meant"
            )
        self.log.info("the {kind} proxy listens on {address}", kind=kind, address=str(where))
        if not is_loopback(where.ip):
            self.log.warn(
                "the {kind} proxy has no password: everybody who reaches {address} can use it and learns what goes"
                " through it; listen on 127.0.0.1 instead",
                kind=kind,
                address=str(where),
            )
        return None

    def _ready(self, client: Client) -> None:
        self.log.info("the client is ready")

    def stopService(self) -> Deferred[None]:
        """Listen no more, tear what is open, close the client; done within 5 s."""
        Service.stopService(self)
        return self._stop()

    def _stop(self) -> Deferred[None]:
        ports, self._ports = self._ports, []
        ends: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in ports]
        fronts, self._fronts = self._fronts, []
        for front in fronts:
            front.abort_connections()
        return self._close(*ends)


def makeService(options: Options, reactor: Any = None) -> IService:
    """The service that twistd runs.

    :param reactor: by default Twisted's
    :raises UsageError: if an option cannot be used
    """
    files = None
    if reactor is None:
        reactor, files = own_process()
    process = ProcessService(reactor)
    client = ClientService(reactor, options.config(reactor), files=files)

    def figures() -> list[Figure]:
        return [*process.figures(), *client_figures(client.status(), client.refusals.counts())]

    return EndingService(
        client,
        reactor,
        process,
        StatusService(reactor, options["state-dir"], client, Source(client.proxies_status), process),
        *metrics_services(reactor, "client", options["metrics"], figures),
    )

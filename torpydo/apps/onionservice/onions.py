"""Everything about onion services that one client has: the way to those of others, and its own.

Made by the client, by name, when the first name or service is asked for; so a program that uses none loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, IStreamServerEndpoint

from torpydo.apps.dht import ClientDHT
from torpydo.apps.onionservice.connector import OnionConnector
from torpydo.apps.onionservice.forwarding import FactoryTarget, ForwardTarget, OnionAddress
from torpydo.apps.onionservice.hosting import HostedService, OnionEndpoint, ProgressFunction, Target
from torpydo.apps.onionservice.service import OnionService, ServiceLimits
from torpydo.client import Client, FirstData, World
from torpydo.errors import ConfigurationError
from torpydo.onion import DHPublicKey, DHSecretKey, OnionName, Secret, SigningKey

__all__ = ["Onions", "PortSpec", "parse_port", "read_port"]

PortSpec = str | tuple[int, IStreamClientEndpoint | IProtocolFactory]
"""A port and what has its streams: ``"80"``, ``"80:8000"``, ``"80:127.0.0.1:8000"``, ``"80:unix:/run/web"``, or a pair
of the port and an endpoint or a factory."""


class Onions:
    """A client's.

    :param reactor: connects and keeps time
    :param world: time and randomness
    """

    def __init__(self, reactor: Any, client: Client, world: World) -> None:
        self._reactor = reactor
        self._client = client
        self._world = world
        self.dht = ClientDHT(reactor, client, rng=world.rng, wall_clock=world.wall_clock)
        self._connector = OnionConnector(
            reactor, client, self.dht, rng=world.rng, wall_clock=world.wall_clock, shuffle=_shuffler(world.randbelow)
        )
        self._services: dict[bytes, HostedService] = {}
        self._closed = False

    # -- Those of others

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, isolation: Hashable, first_data: bytes | FirstData
    ) -> Deferred[IProtocol]:
        """See :meth:`OnionConnector.open_stream`."""
        return self._connector.open_stream(factory, host, port, isolation, first_data)

    def authorise(self, name: str, key: DHSecretKey) -> None:
        """Use *key* for the service *name*, which lets in whom it knows only.

        :raises OnionNameError: if it is no name
        """
        self._connector.client_keys[OnionName.parse(name)] = key

    def new_identity(self) -> None:
        """Streams from now on share nothing with those before."""
        self._connector.new_identity()

    # -- Its own

    def host(
        self,
        ports: Iterable[PortSpec],
        private_key: SigningKey | None,
        clients: Sequence[DHPublicKey],
        limits: ServiceLimits | None,
        progress: ProgressFunction | None,
    ) -> HostedService:
        """See :meth:`torpydo.client.Client.host_onion_service`."""
        made = [self._target(spec) for spec in ports]
        if not made:
            raise ConfigurationError("an onion service has at least one port, such as '80:127.0.0.1:8000'")
        key = private_key or SigningKey(Secret(self._world.rng(32)))
        if bytes(key.public) in self._services:
            raise ConfigurationError("this client runs a service with that key already")
        service = HostedService(key, self._forget)
        for port, target in made:
            service.add_port(port, target)
        self._run(service, clients, limits, progress)
        return service

    def _shared(self, key: SigningKey, limits: ServiceLimits | None) -> HostedService:
        service = self._services.get(bytes(key.public))
        if service is None:
            service = HostedService(key, self._forget)
            self._run(service, (), limits, None)
        return service

    def endpoint(
        self, port: int, key: Callable[[], SigningKey], limits: ServiceLimits | None
    ) -> IStreamServerEndpoint:
        """See :meth:`torpydo.client.Client.onion_endpoint`."""
        return OnionEndpoint(lambda: self._shared(key(), limits), port)

    def _run(
        self,
        service: HostedService,
        clients: Sequence[DHPublicKey],
        limits: ServiceLimits | None,
        progress: ProgressFunction | None,
    ) -> None:
        if self._closed:
            raise ConfigurationError("the client is closed; make another one")
        key = service.private_key
        if progress is not None:
            service.watch(progress)
        running = OnionService(
            self._reactor,
            self._client,
            key,
            self.dht,
            service.incoming,
            rng=self._world.rng,
            randbelow=self._world.randbelow,
            wall_clock=self._world.wall_clock,
            clients=clients,
            changed=service.changed,
            limits=limits or ServiceLimits(),
        )
        self._services[bytes(key.public)] = service
        service.tell(40, "introduction", "looking for introduction points")
        service.run(running)

    def _forget(self, service: HostedService) -> None:
        del self._services[bytes(service.private_key.public)]

    def _target(self, spec: PortSpec) -> tuple[int, Target]:
        if isinstance(spec, str):
            port, endpoint = parse_port(self._reactor, spec)
            return port, ForwardTarget(endpoint, self._reactor)
        port, what = spec
        if IStreamClientEndpoint.providedBy(what):
            return port, ForwardTarget(what, self._reactor)
        return port, FactoryTarget(what, OnionAddress("", port))

    def close(self) -> None:
        """End all services, and give up what is under way."""
        self._closed = True
        for service in list(self._services.values()):
            service.remove()
        self._connector.close()
        self.dht.close()


def parse_port(reactor: Any, spec: str) -> tuple[int, IStreamClientEndpoint]:
    """Read what :func:`read_port` does.

    :return: the service's port, and where its streams go
    :raises ConfigurationError: if it is no such text
    """
    port, where, last = read_port(spec)
    if last is None:
        return port, UNIXClientEndpoint(reactor, where)
    if isIPAddress(where):
        return port, TCP4ClientEndpoint(reactor, where, last)
    kind = TCP6ClientEndpoint if isIPv6Address(where) else HostnameEndpoint
    return port, kind(reactor, where, last)


def read_port(spec: str) -> tuple[int, str, int | None]:
    """Read ``PORT``, ``PORT:PORT``, ``PORT:HOST:PORT`` or ``PORT:unix:PATH``.

    :return: the service's port, and the host and the port that its streams go to; a path and ``None`` for a Unix socket
    :raises ConfigurationError: if it is none of these
    """
    port, short, rest = spec.partition(":")
    host, named, last = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if named else "127.0.0.1"
    path = rest.removeprefix("unix:")
    if not host or not path and short:
        raise _no_port(spec)
    if path != rest:
        return _number(port, spec), path, None
    return _number(port, spec), host, _number(last if short else port, spec)


def _number(text: str, spec: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise _no_port(spec)
    return int(text)


def _no_port(spec: str) -> ConfigurationError:
    return ConfigurationError(
        f"{spec!r} is no port of a service; write PORT, PORT:PORT, PORT:HOST:PORT or PORT:unix:PATH, such as"
        " 80:127.0.0.1:8000"
    )


def _shuffler(randbelow: Callable[[int], int]) -> Callable[[list[Any]], None]:
    """Puts a list into a random order, each as likely as any other."""

    def shuffle(items: list[Any]) -> None:
        for last in range(len(items) - 1, 0, -1):
            other = randbelow(last + 1)
            items[last], items[other] = items[other], items[last]

    return shuffle

"""The endpoint strings ``torpydo:HOST:PORT[:hops=][:pool=][:stateDir=][:isolation=]``, for connections, and
``torpydo-service:PORT[:keyFile=][:pool=][:stateDir=]``, for onion services.

A client is made at the first ``connect`` or ``listen`` and shared by all strings with the same pools and state
directory in one reactor; it lives as long as the reactor. Called by ``clientFromString`` and ``serverFromString``
through the plugins, which hold the one parser of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.client.client import Client
from torpydo.client.endpoints import CircuitEndpoint
from torpydo.client.world import World
from torpydo.directory import PoolURL
from torpydo.errors import CircuitError, ConfigurationError, StateError, TorpydoError
from torpydo.net import open_key_file

CreateFunction = Callable[..., Deferred[Client]]
"""Called like :meth:`Client.create`."""

FIRST_PAUSE: Final = 5.0
LAST_PAUSE: Final = 300.0
"""Seconds until a client that did not get ready is made again for a service: doubled each time."""


@attrs.frozen
class _Key:
    """What makes two strings share a client."""

    pools: tuple[str, ...]
    state_dir: str | None


class _SharedClient:
    """One client for many endpoints: made when the first needs it, given up when nobody waits for it any more."""

    def __init__(self, create: Callable[[], Deferred[Client]]) -> None:
        self._create = create
        self._client: Client | None = None
        self._making: Deferred[None] | None = None
        self._waiting: list[Deferred[Client]] = []

    def get(self) -> Deferred[Client]:
        """The client; cancellable. After a failure the next call tries again."""
        if self._client is not None:
            return succeed(self._client)
        waiter: Deferred[Client] = Deferred(lambda cancelled: self._leave(waiter))
        self._waiting.append(waiter)
        if self._making is None:
            making = self._create()
            self._making = making.addCallbacks(self._made, self._failed)
        return waiter

    def close(self) -> Deferred[None] | None:
        """Close the client, if there is one."""
        if self._making is not None and self._client is None:
            self._making.cancel()
        client, self._client = self._client, None
        return None if client is None else client.close()

    def _leave(self, waiter: Deferred[Client]) -> None:
        self._waiting.remove(waiter)
        if not self._waiting and self._making is not None:
            self._making.cancel()

    def _made(self, client: Client) -> None:
        self._client = client
        for waiter in self._take_waiting():
            waiter.callback(client)

    def _failed(self, failure: Failure) -> None:
        self._making = None
        for waiter in self._take_waiting():
            waiter.errback(failure)

    def _take_waiting(self) -> list[Deferred[Client]]:
        waiting, self._waiting = self._waiting, []
        return waiting


class SharedClients:
    """The clients of all strings.

    :param create: for tests
    """

    def __init__(self, create: CreateFunction = Client.create) -> None:
        self._create = create
        self._clients: WeakKeyDictionary[Any, dict[_Key, _SharedClient]] = WeakKeyDictionary()

    def __len__(self) -> int:
        """Clients of all reactors."""
        return sum(len(clients) for clients in self._clients.values())

    def get(self, reactor: Any, pool: str, state_dir: str) -> _SharedClient:
        """The client of a string.

        :raises ConfigurationError: if no pool is named, and it is not clear which client is meant
        :raises PoolURLError: if one is named that is none
        """
        clients = self._clients.setdefault(reactor, {})
        if not pool:
            if len(clients) != 1:
                raise ConfigurationError(
                    "pool= may be left out only while exactly one torpydo client is in use; "
                    "write the pool's URL, with ':' as '\\:', several separated by commas"
                )
            return next(iter(clients.values()))
        # Sorted, so that the order in which pools are written makes no second client.
        urls = tuple(sorted(str(PoolURL.parse(text)) for text in pool.split(",")))
        key = _Key(urls, state_dir or None)
        if key not in clients:
            shared = clients[key] = _SharedClient(lambda: self._create(reactor, urls, state_dir or None))
            reactor.addSystemEventTrigger("before", "shutdown", shared.close)
        return clients[key]


def _port(text: str, where: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ConfigurationError(f"the port in {where} is 1 to 65535, not {text!r}")
    return int(text)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class TorpydoStringParser:
    """Makes client endpoints from strings.

    :param clients: those of all strings
    """

    prefix = "torpydo"

    def __init__(self, clients: SharedClients) -> None:
        self._clients = clients

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """See ``IStreamClientEndpointStringParserWithReactor``."""
        return self._parse(reactor, *args, **kwargs)

    def _parse(
        self,
        reactor: Any,
        host: str,
        port: str,
        *,
        hops: str = "3",
        pool: str = "",
        stateDir: str = "",
        isolation: str = "",
    ) -> IStreamClientEndpoint:
        number = _port(port, "torpydo:HOST:PORT")
        if not hops.isascii() or not hops.isdigit() or not 1 <= int(hops) <= 8:
            raise ConfigurationError(f"hops= is 1 to 8, not {hops!r}")
        shared = self._clients.get(reactor, pool, stateDir)

        def open_stream(factory: IProtocolFactory, host: str, port: int) -> Deferred[IProtocol]:
            def connect(client: Client) -> Deferred[IProtocol]:
                return client.open_stream(factory, host, port, isolation=isolation or None, hops=int(hops))

            return shared.get().addCallback(connect)

        return CircuitEndpoint(open_stream, host, number)


@implementer(IStreamServerEndpoint)
class _ServiceEndpoint:
    """A port of an onion service of a client that is made when it is needed.

    It keeps trying: nobody would listen again for a program that was started before the network could be reached.
    """

    log = Logger()

    def __init__(self, reactor: Any, shared: _SharedClient, port: int, key_file: str | None) -> None:
        self._reactor = reactor
        self._shared = shared
        self._port = port
        self._key_file = key_file

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Be a service.

        :return: fires when clients can find it; cancellable; fails with :class:`ConfigurationError` or
            :class:`StateError`, at once if the key file or the state directory cannot be used: Twisted ends a process
            for that, but only logs what comes later
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        key = None if self._key_file is None else open_key_file(self._key_file, World().rng)
        client = await self._ready()
        return await client.onion_endpoint(self._port, private_key=key).listen(factory)

    async def _ready(self) -> Client:
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._shared.get()
            except (ConfigurationError, StateError):
                raise
            except TorpydoError as error:
                # A log does not name the guard (SECURITY I1).
                reason = "no circuit can be built" if isinstance(error, CircuitError) else str(error)
                self.log.warn("the onion service is not ready and keeps trying: {reason}", reason=reason)
            await deferLater(self._reactor, pause, lambda: None)
            pause = min(2 * pause, LAST_PAUSE)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class TorpydoServiceStringParser:
    """Makes server endpoints from strings.

    :param clients: those of all strings
    """

    prefix = "torpydo-service"

    def __init__(self, clients: SharedClients) -> None:
        self._clients = clients

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """See ``IStreamServerEndpointStringParser``."""
        return self._parse(reactor, *args, **kwargs)

    def _parse(
        self, reactor: Any, port: str, *, keyFile: str = "", pool: str = "", stateDir: str = ""
    ) -> IStreamServerEndpoint:
        number = _port(port, "torpydo-service:PORT")
        return _ServiceEndpoint(reactor, self._clients.get(reactor, pool, stateDir), number, keyFile or None)

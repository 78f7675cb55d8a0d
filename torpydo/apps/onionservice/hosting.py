"""Services of a client, with their ports: what ``Client.create_onion_service`` and endpoints give.

A service with several ports is one service: all that listen under one key share it, and it ends with the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from torpydo.apps.onionservice.forwarding import FactoryTarget, OnionAddress
from torpydo.apps.onionservice.service import OnionService
from torpydo.client import IncomingStream
from torpydo.errors import CircuitError, ConfigurationError
from torpydo.onion import NodeId, OnionName, SigningKey

__all__ = ["HostedService", "OnionEndpoint", "Target"]

ProgressFunction = Callable[[int, str, str], object]
"""Called with percent, tag and summary."""


class Target(Protocol):
    """What takes the streams of one port."""

    def take(self, stream: IncomingStream) -> None:
        """Accept or refuse it, now or later."""


class HostedService:
    """A service that a client runs.

    :ivar private_key: its identity; whoever has it can be this service
    """

    log = Logger()

    def __init__(self, private_key: SigningKey, stopped: Callable[[HostedService], None]) -> None:
        self.private_key = private_key
        self._name = OnionName.of(private_key)
        self._stopped = stopped
        self._ports: dict[int, Target] = {}
        self._service: OnionService | None = None
        self._waiting: list[Deferred[HostedService]] = []
        self._progress: list[ProgressFunction] = []

    @property
    def name(self) -> str:
        """Under which clients reach it, with ``.torpydo``."""
        return str(self._name)

    @property
    def ports(self) -> Sequence[int]:
        """That it has now."""
        return tuple(sorted(self._ports))

    @property
    def is_reachable(self) -> bool:
        """Whether clients can find it now."""
        return self._service is not None and self._service.is_reachable

    @property
    def introduction_points(self) -> Sequence[NodeId]:
        """The nodes that it has for them now."""
        return () if self._service is None else self._service.introduction_points

    def run(self, service: OnionService) -> None:
        """Begin to be *service*."""
        self._service = service
        service.start()

    def when_reachable(self) -> Deferred[HostedService]:
        """Fires when clients can find it, or at once; fails with :class:`CircuitError` if it is removed before."""
        if self.is_reachable:
            return succeed(self)
        if self._service is None:
            return fail(_removed())
        waiter: Deferred[HostedService] = Deferred(lambda _: self._waiting.remove(waiter))
        self._waiting.append(waiter)
        return waiter

    def watch(self, progress: ProgressFunction) -> None:
        """Tell *progress* how far it is."""
        self._progress.append(progress)

    def add_port(self, port: int, target: Target) -> None:
        """Let *target* have the streams to *port*.

        :raises ConfigurationError: if the port is none, or taken
        """
        if not 1 <= port <= 65535:
            raise ConfigurationError(f"a port of an onion service is 1 to 65535, not {port}")
        if port in self._ports:
            raise ConfigurationError(f"port {port} of {self.name} is taken; choose another one, or stop what has it")
        self._ports[port] = target

    def remove_port(self, port: int) -> None:
        """Nobody listens there any more; without a port left the service ends."""
        self._ports.pop(port, None)
        self.remove_unused()

    def remove_unused(self) -> None:
        """End it if it has no port."""
        if not self._ports:
            self.remove()

    def remove(self) -> None:
        """End it: its streams are torn, and its introduction points forget it."""
        service, self._service = self._service, None
        if service is None:
            return
        self._stopped(self)
        service.stop()
        while self._waiting:
            self._waiting.pop().errback(_removed())

    # -- What the service says

    def incoming(self, stream: IncomingStream) -> None:
        """A client has opened a stream."""
        target = self._ports.get(stream.port)
        if target is None:
            stream.refuse()
        else:
            target.take(stream)

    def changed(self, reachable: bool) -> None:
        """Clients can find it, or cannot any more."""
        if reachable:
            self.tell(100, "reachable", f"{self.name} can be reached")
            while self._waiting and self.is_reachable:
                self._waiting.pop(0).callback(self)
        else:
            self.tell(70, "unreachable", "the service cannot be found at present")

    def tell(self, percent: int, tag: str, summary: str) -> None:
        """Say how far it is."""
        for progress in self._progress:
            try:
                progress(percent, tag, summary)
            except Exception:
                # Whoever is told may have a terminal that has gone; the service goes on without his hearing of it.
                self.log.failure("progress could not be told")


def _removed() -> CircuitError:
    return CircuitError("the onion service was removed")


@implementer(IListeningPort)
class OnionPort:
    """One port of a service that a factory listens on."""

    def __init__(self, service: HostedService, port: int, factory: IProtocolFactory) -> None:
        self._service = service
        self._port = port
        self._factory = factory
        self._listening = False

    def startListening(self) -> None:
        """Take streams.

        :raises ConfigurationError: if somebody else has the port
        """
        self._service.add_port(self._port, FactoryTarget(self._factory, self.getHost()))
        self._listening = True
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Take no more; streams that are open stay, unless the service ends with its last port."""
        if self._listening:
            self._listening = False
            self._service.remove_port(self._port)
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        """The service's name and this port."""
        return OnionAddress(self._service.name, self._port)


@implementer(IStreamServerEndpoint)
class OnionEndpoint:
    """A port of an onion service as an endpoint.

    :param host: gives the service
    """

    log = Logger()

    def __init__(self, host: Callable[[], HostedService], port: int) -> None:
        self._host = host
        self._port = port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Be a service.

        :return: fires when clients can find it; cancellable; fails with :class:`ConfigurationError` or
            :class:`StateError`
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: Any) -> IListeningPort:
        service = self._host()
        port = OnionPort(service, self._port, factory)
        try:
            port.startListening()
            await service.when_reachable()
        except BaseException:
            await port.stopListening()
            # It may have been begun for this port alone.
            service.remove_unused()
            raise
        # Whoever gave no key file has no other way to know the name.
        self.log.info("port {port} of the onion service {name} can be reached", port=self._port, name=service.name)
        return port

"""The SOCKS proxy on Twisted: the factory that a listener is given.

All decisions are made by :class:`~torpydo.apps.socks.connection.SocksConnection`; this file adds the resolving of names
through the client, and the one warning about applications that resolve names themselves.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.events import OpenTunnel, ResolveName
from torpydo.apps.front import FrontFactory, FrontProtocol
from torpydo.apps.needs import NetworkClient
from torpydo.apps.socks.connection import SocksConnection

__all__ = ["SocksFactory", "SocksProtocol"]


class SocksFactory(FrontFactory):
    """A SOCKS 4, 4a and 5 listener.

    :param client: opens the streams
    :param reactor: gives the time
    :param refuse_addresses: refuse IP addresses as destinations, so that an application that resolves names by
        itself does not work instead of leaking them
    :param options: those of :class:`~torpydo.apps.front.FrontFactory`
    """

    log = Logger()

    def __init__(
        self,
        client: NetworkClient,
        reactor: IReactorTime,
        *,
        refuse_addresses: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(client, reactor, **options)
        self.refuse_addresses = refuse_addresses
        self._warned = False

    def buildProtocol(self, addr: IAddress | None) -> SocksProtocol | None:
        """One connection; ``None`` closes it."""
        return SocksProtocol(self) if self.admits() else None

    def warn_of_addresses(self) -> None:
        """Say once that an application gives IP addresses."""
        if not self._warned:
            self._warned = True
            self.log.warn(
                "An application gave an IP address to the SOCKS proxy. If it resolved a name for it, that question "
                "went out beside the network; let it send names (socks5h in curl, 'remote DNS' in browsers). "
                "This is said once."
            )


class SocksProtocol(FrontProtocol[SocksConnection]):
    """One SOCKS connection."""

    def __init__(self, factory: SocksFactory) -> None:
        def make_core(now: float) -> SocksConnection:
            return SocksConnection(
                allow_private=factory.allows_private,
                refuse_addresses=factory.refuse_addresses,
                now=now,
                request_time=factory.limits.request_time,
                open_time=factory.limits.open_time,
            )

        super().__init__(factory, make_core)
        self._factory = factory
        self.handlers[ResolveName] = self._resolve

    def _open_tunnel(self, event: OpenTunnel) -> None:
        if event.destination.literal and not event.destination.private:
            self._factory.warn_of_addresses()
        super()._open_tunnel(event)

    def _resolve(self, event: ResolveName) -> None:
        def resolved(answers: list[tuple[str, int]]) -> None:
            self.pump(self.core.name_resolved(answers, self.now))

        def failed(failure: Failure) -> None:
            self.note(failure)
            self.pump(self.core.open_failed(failure.value, self.now))

        key = self.isolation_key(event.credentials, event.destination.port)
        resolving = maybeDeferred(self.settings.client.resolve, event.destination.host, isolation=key)
        self._opening = resolving
        resolving.addCallbacks(resolved, failed)

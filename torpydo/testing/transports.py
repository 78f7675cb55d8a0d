"""Twisted's own TCP transports, given simulated sockets instead of real ones. Nothing else is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import ClientFactory, P
from twisted.internet.tcp import Client, Connector, Port

from torpydo.testing.connections import Kernel, ListeningSocket, StreamSocket
from torpydo.testing.sockets import Host


class SimulatedPort(Port):
    """A listening port."""

    def __init__(
        self, port: int, factory: IProtocolFactory, backlog: int, interface: str, host: Host, kernel: Kernel
    ) -> None:
        super().__init__(port, factory, backlog, interface, host)
        self._host = host
        self._kernel = kernel

    # Twisted promises a real socket here; what it uses of it, these have.
    def createInternetSocket(self) -> Any:
        """See :class:`Port`."""
        return ListeningSocket(self._kernel, self._host, self.addressFamily)


class SimulatedConnector(Connector):
    """A connection that can be made again and again."""

    def __init__(
        self,
        host: str,
        port: int,
        factory: ClientFactory[P],
        timeout: float,
        bind_address: tuple[str, int] | None,
        own: Host,
        kernel: Kernel,
    ) -> None:
        super().__init__(host, port, factory, timeout, bind_address, own)
        self.own = own
        self.kernel = kernel

    def _makeTransport(self) -> Client:
        make: Callable[..., Client] = SimulatedClient
        return make(self.host, self.port, self.bindAddress, self, self.reactor)


class SimulatedClient(Client):
    """The transport of the end that connected."""

    def createInternetSocket(self) -> Any:
        """See :class:`Client`."""
        # The transport does not know its reactor yet when this is called.
        connector = cast(SimulatedConnector, self.connector)
        return StreamSocket(connector.kernel, connector.own, self.addressFamily)

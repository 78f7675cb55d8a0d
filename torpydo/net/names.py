"""Names, looked up in threads that nobody waits for: a resolver that hangs must not make a program hang when it ends,
nor keep one name from being asked for because others are.

Twisted's own resolver has few threads, a queue without a bound before them, and waits for both when a program ends.
Installed by main programs; who asks for names of strangers bounds how many.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

__all__ = ["LooseResolver", "Resolution"]


@implementer(IHostResolution)
@attrs.define(eq=False)
class Resolution:
    """A question that can be taken back.

    :ivar cancelled: whether it was
    """

    name: str
    cancelled: bool = False

    def cancel(self) -> None:
        """The answer is not wanted any more; the thread ends by itself."""
        self.cancelled = True


@implementer(IHostnameResolver)
class LooseResolver:
    """Asks the system's resolver.

    :param call_from_thread: ``reactor.callFromThread``
    :param getaddrinfo: for tests
    """

    def __init__(
        self, call_from_thread: Callable[..., object], getaddrinfo: Callable[..., Any] = socket.getaddrinfo
    ) -> None:
        self._call_from_thread = call_from_thread
        self._getaddrinfo = getaddrinfo

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Begin; the receiver hears of the addresses, or of none."""
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def tell(addresses: list[IAddress]) -> None:
            if not resolution.cancelled:
                for address in addresses:
                    resolutionReceiver.addressResolved(address)
                resolutionReceiver.resolutionComplete()

        def ask() -> None:
            try:
                found = self._getaddrinfo(hostName, portNumber, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                found = []
            kinds = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}
            addresses = [kinds[one[0]]("TCP", one[4][0], portNumber) for one in found if one[0] in kinds]
            self._call_from_thread(tell, addresses)

        try:
            Thread(target=ask, daemon=True).start()
        except RuntimeError:
            # The system lets this process have no more threads.
            self._call_from_thread(tell, [])
        return resolution

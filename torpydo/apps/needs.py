"""What the apps need from a client and from a transport, declared here so that nothing is imported for it.

``torpydo.client.Client`` fits :class:`NetworkClient`; so does any double in a test. The transports are those of
Twisted: a local connection on one side, a stream through a circuit on the other.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProducer, IStreamClientEndpoint

from torpydo.client import FirstData

__all__ = ["NetworkClient", "PipeTransport"]


class NetworkClient(Protocol):
    """The part of the public client API that a proxy uses."""

    @property
    def allows_private_destinations(self) -> bool:
        """Whether this is a test network, in which destinations like 127.0.0.1 make sense."""
        ...

    def endpoint(
        self, host: str, port: int, *, isolation: Hashable = None, first_data: bytes | FirstData = b""
    ) -> IStreamClientEndpoint:
        """An endpoint for a destination; streams with different *isolation* never share a circuit.

        What *first_data* holds is sent before the stream is open.
        """
        ...

    def resolve(self, host: str, *, isolation: Hashable = None) -> Deferred[list[tuple[str, int]]]:
        """Resolve a name at an exit, to pairs of IP address and seconds of validity."""
        ...


class PipeTransport(Protocol):
    """The calls of a Twisted stream transport that a pipe makes."""

    def write(self, data: bytes) -> object: ...

    def loseConnection(self) -> object: ...

    def abortConnection(self) -> object: ...

    def registerProducer(self, producer: IProducer, streaming: bool) -> object: ...

    def unregisterProducer(self) -> object: ...

    def pauseProducing(self) -> object: ...

    def resumeProducing(self) -> object: ...

    def getPeer(self) -> IAddress: ...

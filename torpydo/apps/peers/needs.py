"""What the table needs of a client: :class:`torpydo.client.Client`, or a double of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.web.iweb import IAgent

__all__ = ["PeerClient"]


class PeerClient(Protocol):
    """Connects to onion services, and fetches from the web, through circuits."""

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, isolation: Hashable = None
    ) -> Deferred[IProtocol]:
        """See :meth:`torpydo.client.Client.open_stream`."""

    def web_agent(self, *, isolation: Hashable = None) -> IAgent:
        """See :meth:`torpydo.client.Client.web_agent`."""

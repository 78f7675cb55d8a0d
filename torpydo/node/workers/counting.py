"""A router that counts what it relays, tells of links that close, and has only a share of the node's memory.

Called by worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol
from torpydo.node.router import Router
from torpydo.tpdp import CellsReceived, LinkEvent

__all__ = ["CountingRouter"]


class CountingRouter(Router):
    """The router of a worker.

    :param memory: bytes that may wait in it
    :param closed: told of each link that is gone
    :ivar relayed: bytes of cells that ever arrived
    """

    def __init__(self, *args: Any, memory: int, closed: Callable[[LinkProtocol], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self.relayed = 0
        self._tell_closed = closed
        self._waiting.most = memory

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Take what one read brought, in order."""
        for event in events:
            if type(event) is CellsReceived:
                self.relayed += sum([len(body) for _, body in event.cells])
        super().link_events(link, events)

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """A link is gone, and with it its circuits."""
        super().link_closed(link, error)
        self._tell_closed(link)

"""Where descriptors are kept, as far as services and their clients see it: something that takes and gives items."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from torpydo.dht import Item

__all__ = ["DescriptorStore"]


class DescriptorStore(Protocol):
    """The DHT, or a double of it."""

    def put(self, item: Item) -> Deferred[int]:
        """Have *item* kept; fires with how many keep it."""

    def get(self, target: bytes) -> Deferred[Item | None]:
        """Look for the newest item; fires as soon as there is one that holds."""

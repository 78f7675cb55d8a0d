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

    def get(self, target: bytes, *, newest: bool = False) -> Deferred[Item | None]:
        """Look for an item; fires with the first that holds, or with none.

        :param newest: wait for all who may keep it, for the one with the highest sequence
        """

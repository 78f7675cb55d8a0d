"""Items and contacts for tests."""

from __future__ import annotations

from torpydo.crypto import Secret, SigningKey
from torpydo.dht import Contact, Item, place_of

NOW = 1_700_000_000
DAY = 86_400


def owner(number: int = 1) -> SigningKey:
    """Somebody who has items."""
    return SigningKey(Secret(number.to_bytes(32, "big")))


def item(
    number: int = 1, sequence: int = 1, value: bytes = b"value", salt: bytes = b"", expires: int = NOW + DAY
) -> Item:
    """An item of that owner's."""
    key = owner(number)
    return Item.make(key, key.public, salt, sequence, expires, value)


def contact(number: int, network: bytes = b"") -> Contact:
    """A node."""
    node_id = number.to_bytes(32, "big")
    return Contact(node_id, place_of(node_id), network)


def contacts(count: int, first: int = 1) -> list[Contact]:
    """Several."""
    return [contact(number) for number in range(first, first + count)]

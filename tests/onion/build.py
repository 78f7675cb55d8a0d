"""Keys and documents of services for tests."""

from __future__ import annotations

import random

from torpydo.crypto import DHSecretKey, NodeId, Secret, SigningKey, VerifyKey
from torpydo.onion import IntroductionPoint, OnionName, ServiceDescriptor

SERVICE = SigningKey(Secret(b"service key of the tests, 32 byt"))
NAME = OnionName.of(SERVICE)


def secret(number: int) -> DHSecretKey:
    """An X25519 key."""
    return DHSecretKey(Secret(number.to_bytes(32, "big")))


def node(number: int) -> NodeId:
    """A node."""
    return SigningKey(Secret(number.to_bytes(32, "big"))).node_id


def point(number: int) -> IntroductionPoint:
    """An introduction point."""
    key = SigningKey(Secret((number + 100).to_bytes(32, "big")))
    return IntroductionPoint(node(number), VerifyKey(key.public), secret(number + 200).public, bytes([number]) * 32)


def document(points: int = 3, effort: int = 0) -> ServiceDescriptor:
    """What a service says."""
    return ServiceDescriptor(tuple(map(point, range(1, points + 1))), effort)


def rng(seed: int = 0) -> random.Random:
    """Numbers that are the same each time."""
    return random.Random(seed)

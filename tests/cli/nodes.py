"""Descriptors for tests of the command."""

from __future__ import annotations

from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.directory import Descriptor, ExitPolicy
from torpydo.tpdp import Address


def node(number: int, nickname: str) -> Descriptor:
    """A node of this machine."""
    key = SigningKey(bytes([number]) * 32)
    return Descriptor(
        node_id=key.node_id,
        onion_keys=(DHSecretKey(bytes([number + 100]) * 32).public,),
        address=Address.parse("127.0.0.1", 6000 + number),
        exit_policy=ExitPolicy.closed(),
        family=frozenset(),
        nickname=nickname,
        bandwidth=1,
        version="1",
        protocols=(1,),
        sequence=1,
        published=1,
    )

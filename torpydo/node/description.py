"""What a node says of itself: its descriptor, signed anew whenever something in it changes. Called by service."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from torpydo import __version__
from torpydo.crypto import DHPublicKey, NodeId, SigningKey
from torpydo.directory import REPUBLISH_AFTER, Descriptor, ExitPolicy, Services, sign_descriptor
from torpydo.tpdp import Address

__all__ = ["Description"]

PROTOCOLS = (1,)
"""TPDP versions that this node speaks."""


@attrs.define(eq=False)
class Description:
    """The node's descriptor.

    :param key: the node's identity
    :param wall_clock: seconds since 1970
    :ivar descriptor: the last one; ``None`` until an address is known
    :ivar document: its signed bytes
    """

    _key: SigningKey
    _wall_clock: Callable[[], float]
    exit_policy: ExitPolicy
    family: frozenset[NodeId]
    nickname: str
    bandwidth: int
    services: Services
    descriptor: Descriptor | None = None
    document: bytes | None = None

    def update(self, address: Address, onion_keys: Sequence[DHPublicKey], stamp: bytes = b"") -> bool:
        """Sign a new descriptor if the last one is not right any more, or is getting old; tell whether it was."""
        last, now = self.descriptor, self._wall_clock()
        keys = tuple(onion_keys)
        if (
            last is not None
            and (last.address, last.onion_keys, last.stamp) == (address, keys, stamp)
            and 0 <= now - last.published < REPUBLISH_AFTER
        ):
            return False
        descriptor = Descriptor(
            node_id=self._key.node_id,
            onion_keys=keys,
            address=address,
            exit_policy=self.exit_policy,
            family=self.family - {self._key.node_id},
            nickname=self.nickname,
            bandwidth=self.bandwidth,
            version=__version__,
            protocols=PROTOCOLS,
            # A clock that went back must not make the new one look older.
            sequence=max(int(now * 1000), 1 if last is None else last.sequence + 1),
            published=int(now),
            services=self.services,
            stamp=stamp,
        )
        self.document = sign_descriptor(descriptor, self._key)
        self.descriptor = descriptor
        return True

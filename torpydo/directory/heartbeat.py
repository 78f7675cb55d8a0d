"""Heartbeats: a node tells a pool that it is alive (docs/protocol-directory, section Heartbeat).

A heartbeat is document ‖ time u64 ms ‖ signature(64); the signature is over pool key ‖ time ‖ hash of the
document, so it cannot be shown to another pool. What needs memory (a time that does not rise, an equal
sequence with other bytes) is refused by the pool's store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self

import attrs

from torpydo.crypto import SIGNATURE_SIZE, PoolId, Purpose, SigningKey, document_hash
from torpydo.directory.descriptor import (
    MAX_DESCRIPTOR,
    Descriptor,
    check_descriptor_times,
    parse_descriptor,
)
from torpydo.errors import BadSignature, DescriptorError, DirectoryError, RemoteProtocolError
from torpydo.wire import NeedMore, Reader, Writer

__all__ = ["MAX_HEARTBEAT", "Heartbeat", "HeartbeatAnswer", "parse_heartbeat", "sign_heartbeat"]

_TIME_SIZE: Final = 8
_TRAILER: Final = _TIME_SIZE + SIGNATURE_SIZE
MAX_HEARTBEAT: Final = MAX_DESCRIPTOR + _TRAILER
"""Bytes of a heartbeat: where a pool stops reading a request."""
MAX_SKEW: Final = 300
"""Seconds that a heartbeat's time may be off: it bounds how long a recorded one can be replayed."""
_MIN_DELAY: Final = 1.0
_MAX_DELAY: Final = 300.0
_MAX_TIME: Final = 2**43
"""Milliseconds since the epoch, as in listings: the year 2248."""


@attrs.frozen
class Heartbeat:
    """A heartbeat that was checked.

    :ivar descriptor: the node's descriptor
    :ivar document: its signed bytes
    :ivar time_ms: when the node signed the heartbeat, by its own clock
    """

    descriptor: Descriptor
    document: bytes
    time_ms: int


def _signed_bytes(document: bytes, pool_id: PoolId, time_ms: int) -> bytes:
    return Writer().put(pool_id.raw).u64(time_ms).put(document_hash(document)).getvalue()


def sign_heartbeat(document: bytes, pool_id: PoolId, time_ms: int, key: SigningKey) -> bytes:
    """The bytes that a node posts to the pool *pool_id*.

    :param document: the node's signed descriptor
    :param time_ms: milliseconds since the epoch, later than in the last heartbeat
    """
    signature = key.sign(Purpose.HEARTBEAT, _signed_bytes(document, pool_id, time_ms))
    return Writer().put(document).u64(time_ms).put(signature).getvalue()


def parse_heartbeat(
    data: bytes, pool_id: PoolId, now: float, *, known: Callable[[bytes], Descriptor | None] = lambda document: None
) -> Heartbeat:
    """Read a heartbeat and check all that needs no memory.

    :param pool_id: the pool that received it
    :param now: seconds since the epoch
    :param known: gives the descriptor of a document that was checked before, byte for byte: a node sends the same
        one for hours, and checking it takes three times as long as all the rest
    :raises DescriptorError: if anything about it is wrong
    """
    if not _TRAILER < len(data) <= MAX_HEARTBEAT:
        raise DescriptorError(f"a heartbeat has {_TRAILER + 1} to {MAX_HEARTBEAT} bytes, not {len(data)}")
    document = data[:-_TRAILER]
    reader = Reader(data[-_TRAILER:])
    time_ms = reader.u64()
    off = time_ms / 1000 - now
    if abs(off) > MAX_SKEW:
        raise DescriptorError(f"the node's clock is off by {off:+.0f} s, and {MAX_SKEW} s is the most; set it")
    descriptor = known(document) or parse_descriptor(document)
    check_descriptor_times(descriptor, now)
    node_id = descriptor.node_id
    try:
        node_id.verify(Purpose.HEARTBEAT, _signed_bytes(document, pool_id, time_ms), reader.rest())
    except BadSignature:
        raise DescriptorError(f"the heartbeat of {node_id.short} is not signed by it for this pool") from None
    return Heartbeat(descriptor, document, time_ms)


def _clamp(delay: float) -> float:
    return min(max(delay, _MIN_DELAY), _MAX_DELAY)


@attrs.frozen
class HeartbeatAnswer:
    """What a pool answers. It is not signed: it only paces the node and lets it warn of a clock that is off.

    :ivar delay: seconds to the next heartbeat, always within 1..300
    :ivar pool_time: the pool's clock, seconds since the epoch
    """

    delay: float = attrs.field(converter=_clamp)
    pool_time: float

    def encode(self) -> bytes:
        """The answer's body: delay u32 ms ‖ time u64 ms."""
        return Writer().u32(round(self.delay * 1000)).u64(round(self.pool_time * 1000)).getvalue()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read an answer.

        :raises DirectoryError: if it is not 12 bytes, or says a time that no clock has
        """
        reader = Reader(data)
        try:
            delay, time = reader.u32(), reader.u64()
            reader.finish()
        except (NeedMore, RemoteProtocolError):
            raise DirectoryError("a pool's answer to a heartbeat has 12 bytes; it may not be a torpydo pool") from None
        if time > _MAX_TIME:
            raise DirectoryError(f"a pool says that it is {time} ms after 1970; its clock is broken")
        return cls(delay / 1000, time / 1000)

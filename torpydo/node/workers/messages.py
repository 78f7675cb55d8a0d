"""What supervisor and worker say to each other: u32 length ‖ msgpack of one message, in either direction.

Both are the same program and trust each other; what does not decode is a mistake that ends the worker. A
:class:`Connection` comes with a file descriptor, in the order of the messages. Knows no sockets. Called by supervisor
and worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec

from torpydo.crypto import KEY_SIZE, PoolId
from torpydo.directory import MAX_LISTING, Listing, ListingEntry, Parameter, PoolURL
from torpydo.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "MAX_MESSAGE",
    "AcceptedKeys",
    "Connection",
    "Drain",
    "Drained",
    "Leaving",
    "LogLine",
    "MessageReader",
    "NetworkChanged",
    "OwnAddresses",
    "PoolListing",
    "Setup",
    "Status",
    "Stop",
    "ToSupervisor",
    "ToWorker",
    "encode",
]

MAX_MESSAGE: Final = MAX_LISTING + 64 * 1024
"""Bytes of a message: the largest is a listing, with some words around it."""
MAX_LOG_TEXT: Final = 8192
"""Characters of a log line, which may be a traceback."""
_LENGTH: Final = 4

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]


# -- To a worker


class Setup(msgspec.Struct, tag=1, array_like=True, frozen=True):
    """The first message: what the operator chose.

    :ivar identity: the seed of the node's key
    :ivar pools: the URLs of all pools
    :ivar limits: those of this worker that are not the default, as ``--limit`` takes them
    """

    identity: _Key
    exit_policy: str
    allow_single_hop: bool
    aegis: bool
    pools: tuple[str, ...]
    limits: tuple[str, ...]

    def __repr__(self) -> str:
        # A key is in it.
        return "<Setup>"


class AcceptedKeys(msgspec.Struct, tag=2, array_like=True, frozen=True):
    """The onion keys that circuits may be made for from now on, the current one first."""

    keys: Annotated[tuple[_Key, ...], msgspec.Meta(min_length=1, max_length=2)]

    def __repr__(self) -> str:
        return f"<AcceptedKeys: {len(self.keys)}>"


class OwnAddresses(msgspec.Struct, tag=3, array_like=True, frozen=True):
    """The node is reached at these, and nowhere else any more: IP address and port."""

    addresses: tuple[
        tuple[
            Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)],
            Annotated[int, msgspec.Meta(ge=0, le=65535)],
        ],
        ...,
    ]


class PoolListing(msgspec.Struct, tag=4, array_like=True, frozen=True):
    """The listing of one pool, which the supervisor has verified; it counts from the next NetworkChanged on."""

    url: str
    pool_id: _Key
    sequence: _Count
    valid_after: _Count
    fresh_until: _Count
    valid_until: _Count
    parameters: Mapping[str, bool | int | str]
    entries: tuple[ListingEntry, ...]

    @classmethod
    def of(cls, url: PoolURL, listing: Listing) -> PoolListing:
        """The message for a listing."""
        return cls(
            str(url),
            listing.pool_id.raw,
            listing.sequence,
            listing.valid_after,
            listing.fresh_until,
            listing.valid_until,
            listing.parameters,
            listing.entries,
        )

    @property
    def listing(self) -> Listing:
        """The listing that the message is for."""
        parameters: Mapping[str, Parameter] = self.parameters
        return Listing(
            pool_id=PoolId(self.pool_id),
            sequence=self.sequence,
            valid_after=self.valid_after,
            fresh_until=self.fresh_until,
            valid_until=self.valid_until,
            parameters=parameters,
            entries=self.entries,
        )


class NetworkChanged(msgspec.Struct, tag=5, array_like=True, frozen=True):
    """Merge the listings again.

    :ivar now: the time that the supervisor did it at, so that both see the same network
    """

    now: float


class Connection(msgspec.Struct, tag=6, array_like=True, frozen=True):
    """Somebody has connected; the file descriptor comes along.

    :ivar family: of the socket, as ``socket`` numbers them
    """

    family: int


class Stop(msgspec.Struct, tag=7, array_like=True, frozen=True):
    """Destroy all circuits and end."""


class Drain(msgspec.Struct, tag=8, array_like=True, frozen=True):
    """Take no more circuits, and end those that fall idle within so many seconds; a :class:`Stop` follows."""

    seconds: float


ToWorker = Setup | AcceptedKeys | OwnAddresses | PoolListing | NetworkChanged | Connection | Stop | Drain


# -- To the supervisor


class Status(msgspec.Struct, tag=1, array_like=True, frozen=True):
    """A worker at one moment; the first one says that it is ready.

    :ivar taken: connections that have ever arrived
    :ivar still_open: how many of them are open
    :ivar links: of these and of those that it opened itself, the ones that are ready
    :ivar circuits: circuits through it
    :ivar streams: outside connections and lookups
    :ivar queued: bytes that wait
    :ivar pending: see ``NodeStatus``, and so on
    :ivar lag: seconds that the latest timer of the last minute was late
    """

    taken: _Count
    still_open: _Count
    links: _Count
    circuits: _Count
    streams: _Count
    queued: _Count
    pending: _Count
    files: _Count
    files_most: _Count
    received: _Count
    sent: _Count
    handshakes: _Count
    circuits_made: _Count
    refused: Mapping[str, _Count]
    lag: float = 0.0


class LogLine(msgspec.Struct, tag=2, array_like=True, frozen=True):
    """What a worker has to say to the operator.

    :ivar level: a name of ``twisted.logger.LogLevel``
    :ivar namespace: who says it
    """

    level: Literal["debug", "info", "warn", "error", "critical"]
    namespace: str
    text: Annotated[str, msgspec.Meta(max_length=MAX_LOG_TEXT)]


class Leaving(msgspec.Struct, tag=3, array_like=True, frozen=True):
    """It ends, asked or unasked, and takes no connections any more; no report comes after this."""


class Drained(msgspec.Struct, tag=4, array_like=True, frozen=True):
    """No circuit is left after a :class:`Drain`, or its time is over."""


ToSupervisor = Status | LogLine | Leaving | Drained


# -- Bytes

M = TypeVar("M", bound=msgspec.Struct)
_encoder: Final = msgspec.msgpack.Encoder()


def encode(message: ToWorker | ToSupervisor) -> bytes:
    """The bytes of a message.

    :raises LocalProtocolError: if it is too large
    """
    body = _encoder.encode(message)
    if len(body) > MAX_MESSAGE:
        raise LocalProtocolError(f"a message between processes has at most {MAX_MESSAGE} bytes, not {len(body)}")
    return len(body).to_bytes(_LENGTH, "big") + body


class MessageReader(Generic[M]):
    """Messages out of the bytes of a channel.

    :param kind: the union of the messages that may come
    """

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[M]:
        """Take what was read.

        :return: the messages that are whole
        :raises RemoteProtocolError: if that is not what the other process may say
        """
        buffer = self._buffer
        buffer += data
        messages: list[M] = []
        begin = 0
        while len(buffer) - begin >= _LENGTH:
            size = int.from_bytes(buffer[begin : begin + _LENGTH], "big")
            if size > MAX_MESSAGE:
                raise RemoteProtocolError(f"a message between processes has at most {MAX_MESSAGE} bytes, not {size}")
            end = begin + _LENGTH + size
            if len(buffer) < end:
                break
            messages.append(self._decode(bytes(buffer[begin + _LENGTH : end])))
            begin = end
        del buffer[:begin]
        return messages

    def _decode(self, body: bytes) -> M:
        try:
            # ValueError is msgspec's DecodeError and the UnicodeDecodeError that it lets through.
            return self._decoder.decode(body)
        except (ValueError, RecursionError):
            raise RemoteProtocolError("a message between processes that cannot be read") from None

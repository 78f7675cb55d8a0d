"""What the core tells its owner: frozen values, returned in the order in which things happened.

State has settled before an event is returned. What is told of streams and destinations is in no repr, so that a
traceback may show one (SECURITY I1). Called by nobody; made by link, ends, transit and origin.
"""

from __future__ import annotations

import attrs

from torpydo.crypto import NodeId
from torpydo.errors import TorpydoError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import EndReason
from torpydo.tpdp.messages import Type

Cell = tuple[int, bytes]
"""A cell without its circuit id: (command, body)."""


@attrs.frozen
class LinkReady:
    """The link is open in both directions.

    For the side that opened it: the node's identity is proven. For the other side: the first record has opened.
    """

    cipher: str
    """``secretbox`` or ``aegis256``."""
    clock: int | None = None
    """The node's clock in whole seconds; only the side that opened the link is told."""
    seen: Address | None = None
    """The address the node sees; a hint for people, nothing more."""


@attrs.frozen
class PeerAuthenticated:
    """The side that opened the link has proven that it is a node."""

    node_id: NodeId


@attrs.frozen
class CreateReceived:
    """The peer wants a circuit."""

    circ_id: int
    message: bytes
    """512 bytes."""


@attrs.frozen
class CreatedReceived:
    """The peer accepted a circuit."""

    circ_id: int
    message: bytes
    """512 bytes."""


@attrs.frozen
class CellsReceived:
    """All cells of one circuit that one read brought, in order."""

    circ_id: int
    cells: list[Cell]


@attrs.frozen
class DestroyReceived:
    """The peer destroyed a circuit; nothing more comes for it, nothing more may be sent."""

    circ_id: int


@attrs.frozen
class LinkClosed:
    """The link is closed with all its circuits. Always the last event."""

    error: TorpydoError


LinkEvent = (
    LinkReady | PeerAuthenticated | CreateReceived | CreatedReceived | CellsReceived | DestroyReceived | LinkClosed
)


@attrs.frozen
class StreamRequested:
    """Exit: the client wants a stream to *host*:*port*. Answer with ``connected`` or ``finish``."""

    stream: int
    host: str = attrs.field(repr=False)
    port: int = attrs.field(repr=False)


@attrs.frozen
class ResolveRequested:
    """Exit: the client wants the addresses of *host*. Answer with ``resolved`` or ``finish``."""

    stream: int
    host: str = attrs.field(repr=False)


@attrs.frozen
class StreamConnected:
    """Origin: the exit has connected the stream."""

    stream: int
    address: Address = attrs.field(repr=False)
    ttl: int


@attrs.frozen
class StreamResolved:
    """Origin: the addresses of a name. The stream is gone."""

    stream: int
    answers: tuple[tuple[bytes, int], ...] = attrs.field(repr=False)
    """Pairs of IP address (4 or 16 bytes) and time to live in seconds."""


@attrs.frozen
class StreamData:
    """All bytes of one stream that one read brought."""

    stream: int
    data: list[bytes] = attrs.field(repr=False)


@attrs.frozen
class StreamEOF:
    """The peer will send no more on this stream; it may still read."""

    stream: int


@attrs.frozen
class StreamEnded:
    """The stream is over, last event of a stream. Only DONE is a clean end."""

    stream: int
    reason: EndReason


@attrs.frozen
class StreamWritable:
    """What waited in the stream has fallen below the low mark; its producer may go on."""

    stream: int


@attrs.frozen
class Said:
    """The other side of a conversation said something; it is of the right size and in its place."""

    kind: Type
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class PongReceived:
    """Origin: the answer to a ``ping``."""

    rtt: float
    """Seconds."""


@attrs.frozen
class ExtendRequested:
    """A node is to extend the circuit. Answer with ``extended`` or ``extend_failed``."""

    node_id: NodeId
    address: Address
    message: bytes
    """512 bytes for the CREATE."""


@attrs.frozen
class HopAdded:
    """Origin: one more hop answered; *hop* is its place, 1 is the guard."""

    hop: int


@attrs.frozen
class ExtendRefused:
    """Origin: hop *hop* could not be reached; the circuit is of no more use."""

    hop: int
    status: int


EndEvent = (
    StreamRequested
    | ResolveRequested
    | StreamConnected
    | StreamResolved
    | StreamData
    | StreamEOF
    | StreamEnded
    | StreamWritable
    | Said
    | PongReceived
    | ExtendRequested
    | HopAdded
    | ExtendRefused
)
Event = LinkEvent | EndEvent


@attrs.frozen
class PassOn:
    """These cells go to the next hop."""

    cells: list[Cell]


@attrs.frozen
class Mine:
    """The cells were for this hop, and this is what they brought."""

    events: list[EndEvent]

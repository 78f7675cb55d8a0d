"""The client's end of a circuit, and the circuit itself as its builder sees it.

Source: docs/protocol, sections Circuits, Cells, Messages. Called by client/circuits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

import attrs

from torpydo.crypto import DHPublicKey, DHSecretKey, NodeId, Secret
from torpydo.errors import LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import (
    BODY_SIZE,
    BULK,
    BULK_SIZE,
    BULK_THRESHOLD,
    CELL,
    EARLY,
    FORWARD_OVERHEAD,
    MAC_SIZE,
    MAX_EARLY,
    MAX_HOPS,
    MESSAGE_HEADER,
    PROTOCOL_VERSION,
    EndReason,
    ExtendStatus,
)
from torpydo.tpdp.ends import CircuitEnd, SealCell
from torpydo.tpdp.events import (
    Cell,
    EndEvent,
    ExtendRefused,
    HopAdded,
    PongReceived,
    StreamConnected,
    StreamResolved,
)
from torpydo.tpdp.handshake import OPTION_VERSIONS, ClientHandshake, Proto, decode_options, encode_options
from torpydo.tpdp.layers import Layer, OriginLayers
from torpydo.tpdp.messages import (
    PING_SIZE,
    Extend,
    Extended,
    Type,
    decode_connected,
    decode_payload,
    decode_resolved,
    encode_begin,
    encode_message,
    encode_resolve,
    encode_wanted_size,
)
from torpydo.tpdp.streams import Phase, Stream
from torpydo.tpdp.windows import SizeChooser
from torpydo.wire import Malformed

VERSION = bytes((PROTOCOL_VERSION,))
HOP_OPTIONS = encode_options({OPTION_VERSIONS: VERSION})
"""The same bytes for all clients of this version: they must not tell clients apart."""


class OriginEnd(CircuitEnd):
    """The client's end."""

    __slots__ = ("_early", "_next_stream", "_pings", "_sizes", "built", "extended")

    is_origin = True

    def __init__(self, seal: SealCell, overhead: int, rng: Callable[[int], bytes], early: int) -> None:
        super().__init__(seal, overhead, rng)
        self._early = early
        self._next_stream = 1
        self._sizes = SizeChooser()
        self._pings: dict[bytes, float] = {}
        self.extended: Callable[[bytes], EndEvent] | None = None
        """Takes the data of the EXTENDED that is awaited."""
        self.built = False
        """Whether the last hop has answered: no hop before it may learn of a stream."""

    # -- Verbs

    def begin(self, host: str, port: int) -> int:
        """Ask the exit for a stream; data may be sent on it at once. Gives the stream's number.

        :param host: a name, which only the exit resolves, or an IP literal
        :raises ValueError: if *host* or *port* cannot be asked for
        """
        return self._open(Phase.REQUESTED, Type.BEGIN, encode_begin(host, port))

    def resolve(self, host: str) -> int:
        """Ask the exit for the addresses of *host*. Gives the stream's number.

        :raises ValueError: if *host* cannot be asked for
        """
        return self._open(Phase.RESOLVING, Type.RESOLVE, encode_resolve(host))

    def ping(self, now: float) -> None:
        """Ask the last hop for a sign of life; :class:`PongReceived` answers."""
        self._check_built()
        token = self._rng(PING_SIZE)
        self._pings[token] = now
        self._control.append(encode_message(Type.PING, 0, token))

    def extend(self, data: bytes) -> None:
        """Ask the last hop to extend the circuit."""
        self._control.append(encode_message(Type.EXTEND, 0, data))

    def _open(self, phase: Phase, kind: Type, data: bytes) -> int:
        self._check_built()
        number = self._next_stream
        self._next_stream += 1
        self._streams[number] = Stream(number, phase)
        self._control.append(encode_message(kind, number, data))
        return number

    def _send_end(self, stream: Stream, reason: EndReason) -> None:
        # Whatever the reason is here: it would tell the exit what the client is, or does (SECURITY Z2).
        super()._send_end(stream, EndReason.DONE if reason is EndReason.DONE else EndReason.MISC)

    def _check_built(self) -> None:
        if not self.built:
            raise LocalProtocolError("the circuit is not built")

    # -- Cells

    def receive_payload(self, command: int, payload: bytes, tag: bytes, now: float) -> None:
        """As every end; besides, EXTENDED must be the last message of its cell: its hop originates nothing more."""
        if self.extended is not None and any([kind is Type.EXTENDED for kind, _, _ in decode_payload(payload)[:-1]]):
            raise RemoteProtocolError("a message after EXTENDED")
        super().receive_payload(command, payload, tag, now)

    def _next_cell(self) -> tuple[int, bool]:
        if self._early:
            return EARLY, self.window.may_send(BODY_SIZE)
        if self._waiting(BULK_THRESHOLD):
            # Near the end of the window it waits for room rather than go on in small cells.
            return (BULK, True) if self.window.may_send(BULK_SIZE) else (CELL, False)
        return CELL, self.window.may_send(BODY_SIZE)

    def _sent_cell(self, command: int) -> None:
        if command == EARLY:
            self._early -= 1

    def _received_cell(self, command: int, messages: list[tuple[Type, int, bytes]], capacity: int) -> None:
        if all([kind is Type.DROP for kind, _, _ in messages]):
            raise RemoteProtocolError("a backward cell that says nothing")
        used = sum([MESSAGE_HEADER + len(data) for _, _, data in messages])
        wanted = self._sizes.received(command, used, capacity)
        if wanted is not None:
            self._control.append(encode_message(Type.WINDOW, 0, encode_wanted_size(wanted)))

    def _receive_other(self, command: int, kind: Type, number: int, data: bytes, now: float) -> None:
        if kind is Type.CONNECTED:
            stream = self._known(number)
            stream.admit(True, kind)
            address, ttl = decode_connected(data)
            stream.phase = Phase.OPEN
            self._tell(stream, StreamConnected(number, address, ttl))
        elif kind is Type.RESOLVED:
            stream = self._known(number)
            stream.admit(True, kind)
            answers = decode_resolved(data)
            stream.phase = Phase.RESOLVED
            self._tell(stream, StreamResolved(number, answers))
        elif kind is Type.PONG:
            sent_at = self._pings.pop(data, None)
            if sent_at is None:
                raise RemoteProtocolError("PONG without a PING")
            self._events.append(PongReceived(now - sent_at))
        elif kind is Type.EXTENDED and self.extended is not None:
            take, self.extended = self.extended, None
            self._events.append(take(data))
        else:
            super()._receive_other(command, kind, number, data, now)


@attrs.frozen
class Hop:
    """A node that a circuit is to go through, as its descriptor has it."""

    node_id: NodeId
    onion_key: DHPublicKey
    address: Address


class OriginState(Enum):
    """Where a circuit is in its life."""

    BUILDING = auto()
    BUILT = auto()
    REFUSED = auto()
    """A hop refused; it is to be destroyed."""


class OriginCircuit:
    """A circuit at its builder.

    Send :attr:`create_message` in a CREATE, give the answer to :meth:`created`, then all cells to
    :meth:`receive_cells`; after every call send what :meth:`cells_to_send` gives.

    :param path: the hops, guard first, 1..8
    :param rng: gives random bytes
    :raises BadKey: if a key of the first hop is refused
    """

    def __init__(self, path: Sequence[Hop], *, rng: Callable[[int], bytes]) -> None:
        if not 1 <= len(path) <= MAX_HOPS:
            raise LocalProtocolError(f"a circuit has 1 to {MAX_HOPS} hops, not {len(path)}")
        self.path = tuple(path)
        self.state = OriginState.BUILDING
        self._rng = rng
        self._layers = OriginLayers()
        self._handshake: ClientHandshake | None = None
        least = len(path) - 1
        # A fixed number of EARLY cells would tell a hop its place.
        early = least + int.from_bytes(rng(4), "big") % (MAX_EARLY - least + 1)
        self.end = OriginEnd(_sealing(self._layers, rng), FORWARD_OVERHEAD, rng, early)
        self.create_message = self._greet()

    @property
    def hops(self) -> int:
        """Hops that have answered."""
        return len(self._layers)

    # -- Building

    def created(self, message: bytes) -> list[EndEvent]:
        """The guard answered with *message*, 512 bytes.

        :raises CryptoError: if it is not from that node
        """
        if self.hops:
            raise RemoteProtocolError("a second CREATED")
        return [self._add_hop(message)]

    def _greet(self) -> bytes:
        hop = self.path[self.hops]
        ephemeral = DHSecretKey(Secret(self._rng(32)))
        self._handshake = ClientHandshake.start(Proto.HOP, hop.node_id, hop.onion_key, ephemeral, HOP_OPTIONS)
        return self._handshake.message

    def _add_hop(self, message: bytes) -> EndEvent:
        handshake, self._handshake = self._handshake, None
        assert handshake is not None
        keys, options = handshake.finish(message)
        # One that does not say which version holds is a node of this one: it is the first.
        if decode_options(options).get(OPTION_VERSIONS, VERSION) != VERSION:
            raise Malformed("the hop chose a version that was not offered")
        self._layers.add(Layer(keys.forward), Layer(keys.backward))
        if self.hops == len(self.path):
            self.state = OriginState.BUILT
            self.end.built = True
        else:
            hop = self.path[self.hops]
            self.end.extended = self._extended
            self.end.extend(Extend(hop.node_id, hop.address, self._greet()).encode())
        return HopAdded(self.hops)

    def _extended(self, data: bytes) -> EndEvent:
        answer = Extended.decode(data)
        if answer.status is ExtendStatus.OK:
            return self._add_hop(answer.message)
        self.state = OriginState.REFUSED
        return ExtendRefused(self.hops + 1, answer.status)

    # -- Cells

    def receive_cells(self, cells: list[Cell], now: float) -> list[EndEvent]:
        """Take the cells of one read.

        :raises TorpydoError: at anything that is not right; the circuit must be destroyed then
        """
        if not self.hops:
            raise RemoteProtocolError("cells before CREATED")
        for command, body in cells:
            if command == EARLY:
                raise RemoteProtocolError("a backward EARLY cell")
            payload, tag = self._layers.open_backward(command, body)
            self.end.receive_payload(command, payload, tag, now)
        return self.end.take_events()

    def cells_to_send(self, now: float) -> list[Cell]:
        """All cells that may go out now."""
        return self.end.cells_to_send(now) if self.hops else []


def _sealing(layers: OriginLayers, rng: Callable[[int], bytes]) -> SealCell:
    """How the end seals its cells: no method of the circuit, which would keep both until the cycle collector comes."""

    def seal(command: int, payload: bytes) -> tuple[bytes, bytes]:
        return layers.seal_forward(command, payload, rng(MAC_SIZE * (MAX_HOPS - len(layers))))

    return seal

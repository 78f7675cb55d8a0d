"""A circuit as its builder sees it.

Source: docs/protocol, sections Circuits, Cells, Messages. Called by client/circuits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

import attrs

from torpydo.crypto import DHPublicKey, DHSecretKey, NodeId, Secret, SigningKey
from torpydo.errors import LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import (
    EARLY,
    FORWARD_OVERHEAD,
    MAC_SIZE,
    MAX_EARLY,
    MAX_HOPS,
    PROTOCOL_VERSION,
    ExtendStatus,
)
from torpydo.tpdp.controller import JOINED_DELAY
from torpydo.tpdp.conversations import encode_establish_intro
from torpydo.tpdp.ends import SealCell
from torpydo.tpdp.events import Cell, EndEvent, ExtendRefused, HopAdded
from torpydo.tpdp.exitend import ServiceEnd
from torpydo.tpdp.handshake import (
    OPTION_VERSIONS,
    ClientHandshake,
    HandshakeKeys,
    Proto,
    decode_options,
    encode_options,
)
from torpydo.tpdp.joined import EndT, JoinedCircuit
from torpydo.tpdp.layers import Layer, OriginLayers
from torpydo.tpdp.messages import Extend, Extended, Type
from torpydo.tpdp.originend import OriginEnd
from torpydo.tpdp.windows import SendWindow
from torpydo.wire import Malformed

VERSION = bytes((PROTOCOL_VERSION,))
HOP_OPTIONS = encode_options({OPTION_VERSIONS: VERSION})
"""The same bytes for all clients of this version: they must not tell clients apart."""


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
    JOINED = auto()
    """It goes on into another circuit: a :class:`~torpydo.tpdp.joined.JoinedCircuit` stands in its place."""


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
        self._bind: Secret | None = None
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
            self._bind = keys.bind
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

    # -- Onion services

    def establish_intro(self, key: SigningKey) -> None:
        """Ask the last hop to be an introduction point, known by *key*."""
        if self._bind is None:
            raise LocalProtocolError("the circuit is not built")
        self.end.say(Type.ESTABLISH_INTRO, encode_establish_intro(key, self._bind))

    def join_as_client(self, keys: HandshakeKeys) -> JoinedCircuit[OriginEnd]:
        """The circuit from its RENDEZVOUS2 on: its end is the service's.

        :param keys: of the handshake with the service
        """
        end = self._join(keys.forward, lambda seal: OriginEnd(seal, FORWARD_OVERHEAD, self._rng, 0))
        joined = JoinedCircuit(self._layers, Layer(keys.backward), end)
        joined.end.built = True
        return joined

    def join_as_service(self, keys: HandshakeKeys) -> JoinedCircuit[ServiceEnd]:
        """The circuit from its RENDEZVOUS1 on, which must have been sent: its end is the client's.

        :param keys: of the handshake with the client
        """
        end = self._join(keys.backward, lambda seal: ServiceEnd(seal, FORWARD_OVERHEAD, self._rng))
        return JoinedCircuit(self._layers, Layer(keys.forward), end)

    def _join(self, key: Secret, make: Callable[[SealCell], EndT]) -> EndT:
        if self.state is not OriginState.BUILT:
            raise LocalProtocolError("only a circuit that is built can be joined")
        self.state = OriginState.JOINED
        end = make(_sealing_joined(self._layers, Layer(key), self._rng))
        end.window = SendWindow(delay=JOINED_DELAY)
        return end

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


def _sealing_joined(layers: OriginLayers, far: Layer, rng: Callable[[int], bytes]) -> SealCell:
    """The same for the other end of a joined circuit."""

    def seal(command: int, payload: bytes) -> tuple[bytes, bytes]:
        return layers.seal_joined(command, payload, rng(MAC_SIZE * (MAX_HOPS - len(layers))), far)

    return seal

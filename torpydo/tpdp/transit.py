"""A circuit as a node sees it, and the end that the last hop speaks for.

Source: docs/protocol, sections Circuits, Cells, Messages. A batch of forward cells is either for the next hop or
for this one: :class:`~torpydo.tpdp.events.PassOn` or :class:`~torpydo.tpdp.events.Mine`, nothing else. Called by
node/router.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from torpydo.crypto import DHSecretKey, NodeId, Secret
from torpydo.errors import BadKey, CryptoError, LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import (
    BACKWARD_OVERHEAD,
    BODY_SIZES,
    BULK,
    CELL,
    EARLY,
    FORWARD_HEAD,
    MAC_SIZE,
    MARK,
    MAX_EARLY,
    MAX_STREAMS,
    PROTOCOL_VERSION,
    EndReason,
    ExtendStatus,
)
from torpydo.tpdp.ends import CircuitEnd, SealCell
from torpydo.tpdp.events import (
    Cell,
    EndEvent,
    ExtendRequested,
    Mine,
    PassOn,
    ResolveRequested,
    StreamRequested,
)
from torpydo.tpdp.handshake import (
    OPTION_VERSIONS,
    HandshakeKeys,
    Proto,
    answer,
    decode_options,
    encode_options,
    open_hello,
)
from torpydo.tpdp.layers import Layer
from torpydo.tpdp.messages import (
    PING_SIZE,
    Extend,
    Extended,
    Type,
    decode_begin,
    decode_resolve,
    encode_connected,
    encode_message,
    encode_resolved,
)
from torpydo.tpdp.streams import Half, Phase, Stream
from torpydo.wire import Malformed

HOP_REPLY = encode_options({OPTION_VERSIONS: bytes((PROTOCOL_VERSION,))})


class ExitEnd(CircuitEnd):
    """The last hop's end."""

    __slots__ = ("_last", "_size", "extend")

    def __init__(self, seal: SealCell, overhead: int, rng: Callable[[int], bytes]) -> None:
        super().__init__(seal, overhead, rng)
        self._size = CELL
        self._last = 0
        self.extend: tuple[int, bytes] | None = None
        """Command and data of the EXTEND that came; there is never a second one."""

    @property
    def begun(self) -> bool:
        """Whether there ever was a stream: the circuit does not grow any more."""
        return self._last > 0

    # -- Verbs

    def connected(self, stream: int, address: Address, ttl: int) -> None:
        """The stream's outside connection is open to *address*; *ttl* is of the name, in seconds."""
        known = self._streams.get(stream)
        if known is None or known.sent is Half.ENDED:
            return
        if known.phase is not Phase.REQUESTED:
            raise LocalProtocolError("a stream is connected once")
        known.phase = Phase.OPEN
        self._control.append(encode_message(Type.CONNECTED, stream, encode_connected(address, ttl)))

    def resolved(self, stream: int, answers: list[tuple[bytes, int]]) -> None:
        """The addresses of the name that was asked for: pairs of IP and time to live, at least one."""
        known = self._streams.get(stream)
        if known is None or known.sent is Half.ENDED:
            return
        known.phase = Phase.RESOLVED
        self._control.append(encode_message(Type.RESOLVED, stream, encode_resolved(answers)))
        self._send_end(known, EndReason.DONE)

    def extended(self, data: bytes) -> None:
        """Tell the client what came of its EXTEND."""
        self._control.append(encode_message(Type.EXTENDED, 0, data))

    # -- Cells

    def _next_cell(self) -> tuple[int, bool]:
        return self._size, self.window.may_send(BODY_SIZES[self._size])

    def _receive_wanted_size(self, command: int) -> None:
        if command not in (CELL, BULK):
            raise Malformed("a size of cells that there is not")
        self._size = command

    def _receive_other(self, command: int, kind: Type, number: int, data: bytes, now: float) -> None:
        if kind is Type.BEGIN:
            host, port = decode_begin(data)
            if self._opened(number, Phase.REQUESTED):
                self._events.append(StreamRequested(number, host, port))
        elif kind is Type.RESOLVE:
            host = decode_resolve(data)
            if self._opened(number, Phase.RESOLVING):
                self._events.append(ResolveRequested(number, host))
        elif kind is Type.PING:
            if len(data) != PING_SIZE:
                raise Malformed("PING of a size that it does not have")
            self._control.append(encode_message(Type.PONG, 0, data))
        elif kind is Type.EXTEND and self.extend is None:
            self.extend = (command, data)
        else:
            super()._receive_other(command, kind, number, data, now)

    def _opened(self, number: int, phase: Phase) -> bool:
        if number <= self._last:
            raise RemoteProtocolError("a stream number that is not new")
        if len(self._streams) >= 2 * MAX_STREAMS:
            raise RemoteProtocolError("more streams than the client ends")
        self._last = number
        stream = self._streams[number] = Stream(number, phase)
        if len(self._streams) > MAX_STREAMS:
            self._send_end(stream, EndReason.RESOURCE_LIMIT)
            return False
        return True


class TransitState(Enum):
    """Which part this node has in a circuit.

    LAST ── EXTEND ──> EXTENDING ── CREATED ──> PASSING; a failed EXTEND goes back to LAST.
    """

    LAST = auto()
    EXTENDING = auto()
    PASSING = auto()


class TransitCircuit:
    """A circuit at one of its nodes. Make it with :meth:`accept`.

    A node may have ten thousand of them, mostly idle: there is no reference back to the circuit, and a circuit that
    goes on has no end of its own any more.
    """

    __slots__ = ("__weakref__", "_backward", "_early", "_forward", "end", "state")

    def __init__(self, keys: HandshakeKeys, rng: Callable[[int], bytes]) -> None:
        self._forward = Layer(keys.forward)
        self._backward = Layer(keys.backward)
        self._early = 0
        self.state = TransitState.LAST
        self.end: ExitEnd | None = ExitEnd(self._backward.seal_tagged, BACKWARD_OVERHEAD, rng)
        """What speaks to the client; ``None`` once the circuit goes on, for then nothing more may be said."""

    @classmethod
    def accept(
        cls, message: bytes, *, node_id: NodeId, onion_keys: Sequence[DHSecretKey], rng: Callable[[int], bytes]
    ) -> tuple[TransitCircuit, bytes]:
        """Answer a CREATE; gives the circuit and the 512 bytes for CREATED.

        :param onion_keys: the current key and, for its last day, the previous one
        :raises CryptoError: if *message* was made for none of them
        :raises RemoteProtocolError: if its options are malformed, or it speaks other versions only
        """
        for onion_key in onion_keys:
            try:
                client, first, options = open_hello(Proto.HOP, node_id, onion_key, message)
            except BadKey:
                raise
            except CryptoError:
                continue
            if PROTOCOL_VERSION not in decode_options(options).get(OPTION_VERSIONS, b""):
                raise Malformed("no version in common")
            ephemeral = DHSecretKey(Secret(rng(32)))
            keys, reply = answer(
                Proto.HOP, node_id, onion_key.public, ephemeral, message, client, first, HOP_REPLY
            )
            return cls(keys, rng), reply
        raise CryptoError("a CREATE that none of the onion keys opens")

    # -- Forward

    def receive_forward(self, cells: list[Cell], now: float) -> PassOn | Mine:
        """Take the cells of one read from the builder's side.

        :raises TorpydoError: at anything that is not right; the circuit must be destroyed then
        """
        end = self.end
        passing = end is None or self.state is TransitState.PASSING
        passed: list[Cell] = []
        for command, body in cells:
            if command == EARLY:
                self._early += 1
                if self._early > MAX_EARLY:
                    raise RemoteProtocolError(f"more than {MAX_EARLY} EARLY cells")
            opened = self._forward.open_forward(command, body)
            if opened.endswith(MARK) == passing:
                raise RemoteProtocolError("a cell for this hop on a circuit that goes on" if passing else "no next hop")
            if end is None or passing:
                passed.append((command, opened))
            else:
                end.receive_payload(command, opened[FORWARD_HEAD:-MAC_SIZE], body[-MAC_SIZE:], now)
        if end is None or passing:
            return PassOn(passed)
        events = end.take_events()
        if end.extend is not None and self.state is TransitState.LAST:
            events.insert(0, self._extend(*end.extend))
        if self.state is TransitState.EXTENDING and end.begun:
            raise RemoteProtocolError("a circuit grows before its first stream only")
        return Mine(events)

    def _extend(self, command: int, data: bytes) -> EndEvent:
        if command != EARLY:
            raise RemoteProtocolError("EXTEND outside an EARLY cell")
        request = Extend.decode(data)
        self.state = TransitState.EXTENDING
        return ExtendRequested(request.node_id, request.address, request.message)

    def extended(self, message: bytes) -> None:
        """The next hop answered with *message*, 512 bytes; the circuit goes on from here."""
        if self.state is not TransitState.EXTENDING:
            raise RemoteProtocolError("a CREATED that was not asked for")
        assert self.end is not None
        self.end.extended(Extended(ExtendStatus.OK, message).encode())
        self.state = TransitState.PASSING

    def extend_failed(self, status: ExtendStatus) -> None:
        """The next hop could not be reached."""
        if self.state is not TransitState.EXTENDING:
            raise LocalProtocolError("no EXTEND is pending")
        assert self.end is not None
        self.end.extended(Extended(status).encode())
        self.end.extend = None
        self.state = TransitState.LAST

    # -- Backward

    def receive_backward(self, cells: list[Cell]) -> list[Cell]:
        """Take cells from the next hop; gives them as they go to the previous one.

        :raises RemoteProtocolError: before this hop has told the client of the next, or at an EARLY cell
        """
        if self.state is not TransitState.PASSING:
            raise RemoteProtocolError("cells before CREATED")
        passed: list[Cell] = []
        for command, body in cells:
            if command == EARLY:
                raise RemoteProtocolError("a backward EARLY cell")
            passed.append((command, self._backward.pass_backward(command, body)))
        return passed

    def cells_to_send(self, now: float) -> list[Cell]:
        """All cells made here that may go backward now; call it at once after every verb and every receive."""
        end = self.end
        if end is None:
            return []
        cells = end.cells_to_send(now)
        if self.state is TransitState.PASSING:
            self.end = None
        return cells

    def take_events(self) -> list[EndEvent]:
        """What sending has made possible."""
        return [] if self.end is None else self.end.take_events()

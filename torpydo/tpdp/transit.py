"""A circuit as a node sees it.

Source: docs/protocol, sections Circuits, Cells, Messages. A batch of forward cells is either for the next hop or
for this one: :class:`~torpydo.tpdp.events.PassOn` or :class:`~torpydo.tpdp.events.Mine`, nothing else. Called by
node/router.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from torpydo.crypto import DHSecretKey, NodeId, Secret, VerifyKey
from torpydo.errors import BadKey, CryptoError, LocalProtocolError, RemoteProtocolError
from torpydo.tpdp.constants import (
    BACKWARD_OVERHEAD,
    EARLY,
    FORWARD_HEAD,
    MAC_SIZE,
    MARK,
    MAX_EARLY,
    PROTOCOL_VERSION,
    ExtendStatus,
)
from torpydo.tpdp.conversations import decode_establish_intro
from torpydo.tpdp.events import Cell, EndEvent, ExtendRequested, Mine, PassOn
from torpydo.tpdp.exitend import ExitEnd
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
from torpydo.tpdp.messages import Extend, Extended
from torpydo.wire import Malformed

HOP_REPLY = encode_options({OPTION_VERSIONS: bytes((PROTOCOL_VERSION,))})


class TransitState(Enum):
    """Which part this node has in a circuit.

    LAST ── EXTEND ──> EXTENDING ── CREATED ──> PASSING; a failed EXTEND goes back to LAST. A circuit that is joined
    with another one goes from LAST to PASSING.
    """

    LAST = auto()
    EXTENDING = auto()
    PASSING = auto()


class TransitCircuit:
    """A circuit at one of its nodes. Make it with :meth:`accept`.

    A node may have ten thousand of them, mostly idle: there is no reference back to the circuit, and a circuit that
    goes on has no end of its own any more.
    """

    __slots__ = ("__weakref__", "_backward", "_bind", "_early", "_forward", "end", "state")

    def __init__(self, keys: HandshakeKeys, rng: Callable[[int], bytes]) -> None:
        self._forward = Layer(keys.forward)
        self._backward = Layer(keys.backward)
        self._early = 0
        self._bind: Secret | None = keys.bind
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

    # -- Onion services

    def intro_key(self, data: bytes) -> VerifyKey:
        """The key in an ESTABLISH_INTRO that came on this circuit.

        :raises TorpydoError: if it was not made for this circuit; it must be destroyed then
        """
        assert self._bind is not None
        return decode_establish_intro(data, self._bind)

    def join(self) -> None:
        """The circuit goes on into another one from here, after what was said already.

        What :meth:`receive_forward` passes on is for the other's :meth:`receive_backward`.
        """
        if self.state is not TransitState.LAST:
            raise LocalProtocolError("a circuit that goes on cannot be joined")
        self.state = TransitState.PASSING

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
            self.end = self._bind = None
        return cells

    def take_events(self) -> list[EndEvent]:
        """What sending has made possible."""
        return [] if self.end is None else self.end.take_events()

"""Entry points of the two ends of a circuit that speak messages, each with an evil other end.

The layers are behind keys, so these entry points know them. A script says which cells come, what is in them, and what
the owner of the end does meanwhile; the owner keeps to its own rules, so no error of its making may come out
(docs/protocol, sections Circuits, Cells, Messages, Streams, Flow control).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from torpydo.errors import CryptoError, RemoteProtocolError
from torpydo.testing.fuzz.cursor import Cursor
from torpydo.testing.fuzz.ends import Owner
from torpydo.testing.fuzz.fixed import CLIENT_NODE, fixed_rng
from torpydo.testing.fuzz.hops import first_circuit, hop_reply, ready_keys
from torpydo.testing.fuzz.payloads import ACK, ANSWER, LONG_RAW, Due, make_payload, script_message, script_payload
from torpydo.testing.fuzz.target import Finding, Target, require
from torpydo.tpdp import (
    Address,
    Cell,
    EndEvent,
    ExtendRequested,
    ExtendStatus,
    Mine,
    OriginState,
    PongReceived,
    ResolveRequested,
    StreamRequested,
    StreamResolved,
    TransitCircuit,
    TransitState,
)
from torpydo.tpdp.constants import BODY_SIZES, BULK, CELL, EARLY, FORWARD_HEAD, FORWARD_OVERHEAD, MAC_SIZE, MARK
from torpydo.tpdp.handshake import HandshakeKeys
from torpydo.tpdp.layers import Layer, OriginLayers
from torpydo.tpdp.messages import Extend, Extended, Type, encode_message

__all__ = ["TARGETS"]

COMMANDS: Final = (CELL, BULK, EARLY, CELL)
HOLD, SPOIL, VERB = 0x04, 0x78, 0x80
"""Of an op: bring it together with the next cell; change a byte of the body; no cell at all, a verb of the owner."""
OUTSIDE: Final = Address(b"\x08\x08\x04\x04", 80)


def _spoiled(op: int, cell: Cell) -> Cell:
    command, body = cell
    return cell if op & SPOIL != SPOIL else (command, body[:-1] + bytes((body[-1] ^ 1,)))


@contextmanager
def _sound(what: str) -> Iterator[None]:
    """What the end under test has said is looked at by somebody honest: an error here is of its making.

    :raises Finding: instead of the errors that an evil other end is found out by
    """
    try:
        yield
    except (CryptoError, RemoteProtocolError) as error:
        raise Finding(f"{what} is not as it must be: {error}") from error


# -- The node's end


class _Node:
    """The last hop of a circuit, its owner, and the evil client."""

    def __init__(self) -> None:
        _, keys = ready_keys()
        self.circuit = TransitCircuit(keys, fixed_rng(b"node"))
        self.due = Due()
        self._layers = OriginLayers()
        self._layers.add(Layer(keys.forward), Layer(keys.backward))
        self._fill = fixed_rng(b"fill")
        assert self.circuit.end is not None
        self.owner = Owner(self.circuit.end)
        self._held: list[Cell] = []

    def step(self, script: Cursor) -> None:
        """One line of the script.

        :raises TorpydoError: if the client is found out
        """
        op = script.byte()
        if op & VERB:
            self._do(op & 0x0F, script)
        else:
            command = COMMANDS[op & 3]
            payload = make_payload(script, BODY_SIZES[command] - FORWARD_OVERHEAD, self.due)
            fill = self._fill(MAC_SIZE * (8 - len(self._layers)))
            body, _ = self._layers.seal_forward(command, payload, fill)
            self._held.append(_spoiled(op, (command, body)))
            if op & HOLD:
                return
            held, self._held = self._held, []
            result = self.circuit.receive_forward(held, self.owner.now)
            if isinstance(result, Mine):
                self._hear(result.events)
            else:
                require([command for command, _ in result.cells] == [command for command, _ in held], "cells got lost")
        self._send()

    def _hear(self, events: list[EndEvent]) -> None:
        self.owner.hear(events)
        for event in events:
            if isinstance(event, StreamRequested):
                require(1 <= event.port <= 65535, "a port that there is not")
                self.owner.asked.append(event.stream)
            elif isinstance(event, ResolveRequested):
                self.owner.lookups.append(event.stream)
            elif isinstance(event, ExtendRequested):
                require(len(event.message) == 512, "an EXTEND with a message of another size")
            else:
                continue
            host = getattr(event, "host", "x")
            require(1 <= len(host) <= 255 and host.isascii() and host.isprintable(), "a host that is none is told")

    def _do(self, verb: int, script: Cursor) -> None:
        end = self.circuit.end
        if verb == 8 and end is not None and self.owner.asked:
            stream = self.owner.asked.pop(0)
            end.connected(stream, OUTSIDE, 60)
            self.owner.writable.append(stream)
        elif verb == 9 and end is not None and self.owner.lookups:
            end.resolved(self.owner.lookups.pop(0), [(OUTSIDE.ip, 60), (bytes(16), 0)])
        elif verb == 10:
            # The next hop has answered, whether it was asked or not.
            self.circuit.extended(script.take(512).ljust(512, b"\0"))
            self._send()
            self._layers.add(Layer(b"2" * 32), Layer(b"3" * 32))
        elif verb == 11 and self.circuit.state is TransitState.EXTENDING:
            self.circuit.extend_failed(ExtendStatus.UNREACHABLE)
        elif verb == 12:
            command = COMMANDS[script.byte() & 3]
            passed = self.circuit.receive_backward([(command, bytes(BODY_SIZES[command]))])
            require(len(passed[0][1]) == BODY_SIZES[command], "a cell that was passed has another size")
        else:
            self.owner.do(verb, script)

    def _send(self) -> None:
        for command, body in self.circuit.cells_to_send(self.owner.now):
            require(command in (CELL, BULK) and len(body) == BODY_SIZES[command], "a backward cell of no known size")
            with _sound("a cell of the node"):
                payload, tag = self._layers.open_backward(command, body)
                self.due.heard(command, payload, tag)
        self._hear(self.circuit.take_events())


# -- The client's end


class _Client:
    """A circuit at its builder, its owner, and the evil last hop."""

    def __init__(self, hops: int) -> None:
        self.circuit = first_circuit(hops)
        self.due = Due()
        self.owner = Owner(self.circuit.end)
        self._forward: list[Layer] = []
        self._backward: list[Layer] = []
        self._held: list[Cell] = []
        reply, keys = ready_keys(hops)
        self._add(keys)
        self._hear(self.circuit.created(reply))
        self._send()

    def _add(self, keys: HandshakeKeys) -> None:
        self._forward.append(Layer(keys.forward))
        self._backward.append(Layer(keys.backward))

    def step(self, script: Cursor) -> None:
        """One line of the script.

        :raises TorpydoError: if the last hop is found out
        """
        op = script.byte()
        if op & VERB:
            self._do(op & 0x0F, script)
        else:
            command = COMMANDS[op & 3]
            payload = make_payload(script, BODY_SIZES[command] - MAC_SIZE, self.due)
            self._held.append(_spoiled(op, (command, self._seal(command, payload))))
            if op & HOLD:
                return
            held, self._held = self._held, []
            self._hear(self.circuit.receive_cells(held, self.owner.now))
        self._send()

    def _seal(self, command: int, payload: bytes) -> bytes:
        body = self._backward[-1].seal_backward(command, payload)
        for layer in reversed(self._backward[:-1]):
            body = layer.pass_backward(command, body)
        return body

    def _hear(self, events: list[EndEvent]) -> None:
        self.owner.hear(events)
        for event in events:
            if isinstance(event, StreamResolved):
                require(1 <= len(event.answers) <= 32, "an answer of no size that it may have")
            elif isinstance(event, PongReceived):
                require(event.rtt == event.rtt, "a round trip that is no number")

    def _do(self, verb: int, script: Cursor) -> None:
        end = self.circuit.end
        built = self.circuit.state is OriginState.BUILT
        if verb == 8 and built:
            self.owner.writable.append(end.begin("example.org", 80))
        elif verb == 9 and built:
            self.owner.lookups.append(end.resolve("example.org"))
        elif verb == 10 and built:
            end.ping(self.owner.now)
        elif verb == 11 and self.due.extends:
            # An honest answer to EXTEND, so that the circuit grows.
            with _sound("an EXTEND of the client"):
                reply, keys = hop_reply(Extend.decode(self.due.extends.popleft()).message)
            message = encode_message(Type.EXTENDED, 0, Extended(ExtendStatus.OK, reply).encode())
            body = self._seal(CELL, message.ljust(BODY_SIZES[CELL] - MAC_SIZE, b"\0"))
            self._hear(self.circuit.receive_cells([*self._held, (CELL, body)], self.owner.now))
            self._held.clear()
            self._add(keys)
        else:
            self.owner.do(verb, script)

    def _send(self) -> None:
        for command, body in self.circuit.cells_to_send(self.owner.now):
            require(command in (CELL, BULK, EARLY) and len(body) == BODY_SIZES[command], "a cell of no known size")
            with _sound("a cell of the client"):
                for layer in self._forward:
                    tag, body = body[-MAC_SIZE:], layer.open_forward(command, body)
                require(body.endswith(MARK), "a cell that is not for the last hop")
                self.due.heard(command, body[FORWARD_HEAD:-MAC_SIZE], tag)
        self._hear(self.circuit.end.take_events())


def _follow(side: _Node | _Client, script: Cursor) -> None:
    try:
        while not script.ended:
            side.step(script)
    except (CryptoError, RemoteProtocolError):
        # Found out: the circuit is destroyed, and nothing more is asked of its end.
        return


def _run_node(data: bytes) -> None:
    """The last hop of a circuit whose client says what it likes."""
    _follow(_Node(), Cursor(data))


def _run_client(data: bytes) -> None:
    """The client of a circuit, of one hop or two, whose last hop says what it likes."""
    script = Cursor(data)
    _follow(_Client(1 + script.byte() % 2), script)


def _cell(command: int, *messages: bytes, hold: bool = False) -> bytes:
    return bytes((COMMANDS.index(command) | HOLD * hold,)) + script_payload(*messages)


def _verb(verb: int, *choices: int) -> bytes:
    return bytes((VERB | verb, *choices))


_BEGIN: Final = b"\0\x50example.org"
_CONNECTED: Final = b"\4\1\2\3\4\0\x50\0\0\0\x3c"
_ACK: Final = bytes((ACK,))


def _node_seeds() -> Iterable[bytes]:
    begin = script_message(Type.BEGIN, 1, _BEGIN)
    yield b"".join((
        _cell(CELL, begin, script_message(Type.DATA, 1, b"GET")), _verb(8), _verb(1, 0, 40), _verb(4, 0),
        _cell(CELL, script_message(Type.CLOSE_WRITE, 1)), _verb(2, 0), _cell(CELL, script_message(Type.END, 1, b"\1")),
    ))  # fmt: skip
    data = script_message(Type.DATA, 1, 15000)
    yield b"".join((
        _cell(CELL, begin), _verb(8), _cell(BULK, data, hold=True), _cell(BULK, data), _verb(4, 0),
        _cell(CELL, script_message(Type.WINDOW, 0, b"\2\4")), _verb(1, 0, 255), _verb(1, 0, 255), _verb(1, 0, 255),
        _verb(0, 3), _cell(CELL, _ACK), _cell(CELL, script_message(Type.WINDOW, 1, b"\0\1\0\0")), _verb(3, 0, 0),
    ))  # fmt: skip
    yield b"".join((
        _cell(EARLY, script_message(Type.PING, 0, b"12345678"), script_message(Type.DROP)),
        _cell(CELL, script_message(Type.RESOLVE, 1, b"example.org")), _verb(9),
        _cell(CELL, script_message(Type.END, 1), script_message(Type.RESOLVE, 2, b"x")), _verb(3, 0, 2),
    ))  # fmt: skip
    # What EXTEND carries has 512 bytes at its end; its length takes two bytes, so it is zeros as a whole, or raw.
    extend = encode_message(Type.EXTEND, 0, CLIENT_NODE.public + b"\4\x14\1\1\1\x17\x70" + bytes(512))
    long = bytes((COMMANDS.index(EARLY), LONG_RAW)) + len(extend).to_bytes(2, "big") + extend
    yield long + _verb(10) + _cell(CELL, script_message(Type.DROP)) + _verb(12)
    yield long + _verb(11) + _cell(CELL, script_message(Type.PING, 0, b"12345678"))
    yield _cell(CELL, begin)[:1] + b"\0\7\x0d\0\0\0\0\0\0"
    for kind, stream, told in (
        (Type.DATA, 1, b""), (Type.DATA, 2, b"x"), (Type.WINDOW, 0, b"\1" + bytes(16)), (Type.WINDOW, 1, bytes(4)),
        (Type.PING, 0, b"short"), (Type.BEGIN, 1, _BEGIN), (Type.CLOSE_WRITE, 1, b"x"), (Type.END, 1, b"xx"),
        (Type.PONG, 0, b""),
    ):  # fmt: skip
        yield _cell(CELL, begin) + _verb(8) + _cell(CELL, script_message(kind, stream, told))


def _client_seeds() -> Iterable[bytes]:
    one, two = b"\0", b"\1"
    connected = script_message(Type.CONNECTED, 1, _CONNECTED)
    yield one + b"".join((
        _verb(8), _verb(1, 0, 9), _cell(CELL, connected, script_message(Type.DATA, 1, b"answer")), _verb(4, 0),
        _cell(CELL, script_message(Type.CLOSE_WRITE, 1)), _verb(2, 0), _cell(CELL, script_message(Type.END, 1, b"\1")),
    ))  # fmt: skip
    yield two + b"".join((
        _verb(11), _verb(9), _cell(CELL, script_message(Type.RESOLVED, 1, b"\4\1\2\3\4\0\0\0\7")),
        _cell(CELL, script_message(Type.END, 1, b"\1")), _verb(10), _verb(0, 2), _cell(CELL, bytes((ANSWER,))),
    ))  # fmt: skip
    yield one + b"".join((
        _verb(8), _cell(CELL, connected), *[_verb(1, 0, 255)] * 5, _verb(0, 3), _cell(CELL, _ACK),
        _cell(CELL, _ACK, script_message(Type.WINDOW, 1, b"\0\1\0\0")), _verb(3, 0, 0),
        _cell(CELL, script_message(Type.END, 1, b"\1")),
    ))  # fmt: skip
    full = _cell(CELL, script_message(Type.DATA, 1, 990))
    yield one + _verb(8) + _cell(CELL, connected) + full * 40 + _cell(BULK, script_message(Type.DATA, 1, 9000))
    yield two + _cell(CELL, script_message(Type.EXTENDED, 0, b"\2"))
    for kind, stream, told in (
        (Type.DATA, 1, b""), (Type.PONG, 0, b"12345678"), (Type.CONNECTED, 1, _CONNECTED), (Type.DROP, 0, b""),
        (Type.RESOLVED, 1, b"\4\1\2\3\4\0\0\0\7"), (Type.WINDOW, 0, b"\2\4"), (Type.BEGIN, 3, _BEGIN),
    ):  # fmt: skip
        yield one + _verb(8) + _verb(10) + _cell(CELL, connected) + _cell(CELL, script_message(kind, stream, told))
    yield two + _cell(CELL, script_message(Type.EXTENDED, 0, 513)) + _cell(CELL, script_message(Type.PONG, 0, b"12345"))


TARGETS: Final = (
    Target("cells-node", _run_node, _node_seeds, longest=1500),
    Target("cells-client", _run_client, _client_seeds, longest=1500),
)

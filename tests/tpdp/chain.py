"""A circuit in memory: an OriginCircuit and its TransitCircuits, joined by a loop that runs while cells move.

The chain does what owners of circuits do and nothing else; a test may stop it at any wire, change what is on it,
or speak for a hop with :meth:`Chain.say_forward` and :meth:`Chain.say_backward`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import (
    BACKWARD_OVERHEAD,
    BODY_SIZES,
    CELL,
    FORWARD_OVERHEAD,
    ExtendStatus,
)
from torpydo.tpdp.events import Cell, EndEvent, ExtendRequested, HopAdded, PassOn
from torpydo.tpdp.messages import Type, encode_message
from torpydo.tpdp.origin import Hop, OriginCircuit
from torpydo.tpdp.transit import TransitCircuit


class Node:
    """A node of the chain: its keys, and its circuit once there is one."""

    def __init__(self, place: int) -> None:
        self.identity = SigningKey(bytes([place + 1]) * 32)
        self.onion_key = DHSecretKey(bytes([place + 101]) * 32)
        self.hop = Hop(self.identity.node_id, self.onion_key.public, Address(bytes([10, 0, 0, place + 1]), 6000))


def filled(messages: list[bytes], size: int) -> bytes:
    """Messages and their fill."""
    return b"".join(messages).ljust(size, b"\0")


class Chain:
    """A builder and *hops* nodes. ``forward[i]`` is on its way to node i, ``backward[i]`` comes from it."""

    def __init__(self, hops: int = 3, *, seed: int = 0, build: bool = True, early: int | None = None) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.nodes = [Node(place) for place in range(hops)]
        self.origin = OriginCircuit([node.hop for node in self.nodes], rng=self.random.randbytes)
        if early is not None:
            self.origin.end._early = early
        self.transits: list[TransitCircuit] = []
        self.forward: list[list[Cell]] = [[] for _ in range(hops)]
        self.backward: list[list[Cell]] = [[] for _ in range(hops)]
        self.origin_events: list[EndEvent] = []
        self.exit_events: list[EndEvent] = []
        self.extend_answer: Callable[[int, ExtendRequested], None] = self.extend
        if build:
            self.build()

    @property
    def exit(self) -> TransitCircuit:
        """The last hop."""
        return self.transits[-1]

    # -- Building

    def build(self) -> None:
        """Create the first hop and extend to the others."""
        self.create()
        self.pump()

    def create(self) -> None:
        """Create the first hop."""
        circuit, reply = self.accept(0, self.origin.create_message)
        self.transits.append(circuit)
        self.origin_events += self.origin.created(reply)

    def accept(self, place: int, message: bytes) -> tuple[TransitCircuit, bytes]:
        """A node's answer to a CREATE."""
        node = self.nodes[place]
        return TransitCircuit.accept(
            message, node_id=node.identity.node_id, onion_keys=[node.onion_key], rng=self.random.randbytes
        )

    def extend(self, place: int, request: ExtendRequested) -> None:
        """Node *place* extends to the next one."""
        assert request.node_id == self.nodes[place + 1].identity.node_id
        circuit, reply = self.accept(place + 1, request.message)
        self.transits.append(circuit)
        self.transits[place].extended(reply)

    def refuse(self, place: int, request: ExtendRequested) -> None:
        """Node *place* does not reach the next one."""
        self.transits[place].extend_failed(ExtendStatus.UNREACHABLE)

    # -- Moving

    def origin_turn(self) -> bool:
        """The builder sends what it may."""
        cells = self.origin.cells_to_send(self.now)
        self.origin_events += self.origin.end.take_events()
        self.forward[0] += cells
        return bool(cells)

    def node_turn(self, place: int) -> bool:
        """A node sends what it has made."""
        cells = self.transits[place].cells_to_send(self.now)
        self.exit_events += self.transits[place].take_events()
        self.backward[place] += cells
        return bool(cells)

    def move_forward(self, place: int, count: int | None = None) -> bool:
        """Bring cells, all or the first *count*, to a node."""
        waiting = self.forward[place]
        cells = waiting[:count]
        self.forward[place] = waiting[len(cells) :]
        if not cells:
            return False
        outcome = self.transits[place].receive_forward(cells, self.now)
        if isinstance(outcome, PassOn):
            self.forward[place + 1] += outcome.cells
        else:
            for event in outcome.events:
                if isinstance(event, ExtendRequested):
                    self.extend_answer(place, event)
                else:
                    self.exit_events.append(event)
        self.node_turn(place)
        return True

    def move_backward(self, place: int, count: int | None = None) -> bool:
        """Bring cells of a node, all or the first *count*, to the node before it or to the builder."""
        cells, self.backward[place] = (
            self.backward[place][:count],
            self.backward[place][len(self.backward[place][:count]) :],
        )
        if not cells:
            return False
        if place:
            self.backward[place - 1] += self.transits[place - 1].receive_backward(cells)
        else:
            self.origin_events += self.origin.receive_cells(cells, self.now)
            self.origin_turn()
        return True

    def pump(self) -> None:
        """Move everything until nothing moves any more."""
        moved = True
        while moved:
            moved = self.origin_turn()
            for place in range(len(self.transits)):
                moved |= self.move_forward(place)
            for place in reversed(range(len(self.transits))):
                moved |= self.node_turn(place)
                moved |= self.move_backward(place)

    # -- Speaking for a hop, against the rules

    def say_forward(self, *messages: bytes, command: int = CELL) -> Cell:
        """A forward cell that the builder's end did not make; it is on its way to the first node."""
        body, _ = self.origin.end._seal(command, filled(list(messages), BODY_SIZES[command] - FORWARD_OVERHEAD))
        self.forward[0].append((command, body))
        return command, body

    def say_backward(self, *messages: bytes, command: int = CELL, place: int = -1) -> Cell:
        """A backward cell that the end of node *place* did not make; it is on its way to the node before it."""
        payload = filled(list(messages), BODY_SIZES[command] - BACKWARD_OVERHEAD)
        body, _ = self.transits[place]._backward.seal_tagged(command, payload)
        self.backward[place % len(self.transits)].append((command, body))
        return command, body

    # -- Asking

    def take_origin(self) -> list[EndEvent]:
        """What the builder was told since the last call, without the hops."""
        events, self.origin_events = self.origin_events, []
        return [event for event in events if not isinstance(event, HopAdded)]

    def take_exit(self) -> list[EndEvent]:
        """What the nodes were told since the last call."""
        events, self.exit_events = self.exit_events, []
        return events

    def open_stream(self) -> int:
        """A stream that the exit has connected."""
        stream = self.origin.end.begin("example.org", 80)
        self.pump()
        self.exit.end.connected(stream, Address(b"\x01\x02\x03\x04", 80), 60)
        self.pump()
        self.take_origin()
        self.take_exit()
        return stream


def message(kind: Type, stream: int = 0, data: bytes = b"") -> bytes:
    """One message."""
    return encode_message(kind, stream, data)

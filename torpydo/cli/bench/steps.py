"""Where the microseconds go: each step of a cell through the core, on one processor, without network or reactor.

``python -m torpydo.cli.bench.steps`` prints the table that docs/performance explains. What a process costs beyond these
steps is Twisted, the kernel, and waiting for a processor.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from statistics import median

import attrs

from torpydo.crypto import DHSecretKey, Person, Secret, SigningKey, aegis_seal, blake, seal
from torpydo.tpdp import (
    EXIT_READ,
    MAX_RECORD_FRAMES,
    Address,
    Cell,
    CellsReceived,
    EndEvent,
    ExitEnd,
    ExtendRequested,
    Hop,
    Link,
    Mine,
    OriginCircuit,
    PassOn,
    StreamData,
    StreamRequested,
    TransitCircuit,
)

__all__ = ["Step", "main", "measure"]

ROUNDS = 5
WARM = 200
"""Reads of the exit before anything is measured, so that the client has asked for large cells."""
SOMEWHERE = Address.parse("127.0.0.1", 1)


@attrs.frozen
class Step:
    """What something costs: *samples* in microseconds, one for each round."""

    what: str
    samples: tuple[float, ...]

    def __str__(self) -> str:
        low, middle, high = min(self.samples), median(self.samples), max(self.samples)
        return f"{self.what:58}{low:10.1f}{middle:10.1f}{high:10.1f}"


class Wire:
    """Both ends of a link that is open, and one circuit on it."""

    def __init__(self) -> None:
        key = SigningKey(Secret(os.urandom(32)))
        self.near = Link.initiator(key.node_id, rng=os.urandom, now=0.0)
        self.far = Link.responder(key, rng=os.urandom, now=0.0, wall_clock=time.time)
        for _ in range(2):
            self.far.receive_data(self.near.data_to_send(), 0.0)
            self.near.receive_data(self.far.data_to_send(), 0.0)
        self.circ_id = self.near.new_circuit_id()
        self.near.send_create(self.circ_id, bytes(512))
        self.far.receive_data(self.near.data_to_send(), 0.0)


class Path:
    """A client, three nodes and the links between them, with one stream; :attr:`spent` has seconds by step."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.wires = [Wire() for _ in range(3)]
        keys = [SigningKey(Secret(os.urandom(32))) for _ in range(3)]
        onions = [DHSecretKey(Secret(os.urandom(32))) for _ in range(3)]
        hops = [Hop(key.node_id, onion.public, SOMEWHERE) for key, onion in zip(keys, onions, strict=True)]
        self.origin = OriginCircuit(hops, rng=os.urandom)
        self.nodes: list[TransitCircuit] = []
        message = self.origin.create_message
        for key, onion in zip(keys, onions, strict=True):
            node, answer = TransitCircuit.accept(message, node_id=key.node_id, onion_keys=[onion], rng=os.urandom)
            if self.nodes:
                self.nodes[-1].extended(answer)
                self.backward(self.nodes[-1].cells_to_send(0.0))
            else:
                self.origin.created(answer)
            self.nodes.append(node)
            message = next((one.message for one in self.forward() if isinstance(one, ExtendRequested)), message)
        self.stream = self.origin.end.begin("example.org", 80)
        assert [type(event) for event in self.forward()] == [StreamRequested]
        self.exit.connected(self.stream, SOMEWHERE, 60)
        self.backward(self.nodes[-1].cells_to_send(0.0))

    @property
    def exit(self) -> ExitEnd:
        """What the last node says and hears."""
        end = self.nodes[-1].end
        assert end is not None
        return end

    def _add(self, step: str, began: float) -> float:
        now = time.perf_counter()
        self.spent[step] = self.spent.get(step, 0.0) + now - began
        return now

    def _carry(self, sender: Link, receiver: Link, circ_id: int, cells: list[Cell], who: tuple[str, str]) -> list[Cell]:
        """Over one link, in as many records as it takes."""
        at = time.perf_counter()
        sender.send_cells(circ_id, cells)
        arrived: list[Cell] = []
        while record := sender.data_to_send(MAX_RECORD_FRAMES):
            at = self._add(f"{who[0]}: queue, join, seal the record", at)
            for event in receiver.receive_data(record, 0.0):
                if isinstance(event, CellsReceived):
                    arrived += event.cells
            at = self._add(f"{who[1]}: open the record, sort by circuit", at)
        return arrived

    def forward(self) -> list[EndEvent]:
        """What the client has to send, as far as it goes."""
        at = time.perf_counter()
        cells = self.origin.cells_to_send(time.monotonic())
        self._add("client: acknowledgements into cells, three layers", at)
        events: list[EndEvent] = []
        names = ["client", "guard", "middle", "exit"]
        for place, node in enumerate(self.nodes):
            wire = self.wires[place]
            who = (f"{names[place]}, forward", names[place + 1])
            cells = self._carry(wire.near, wire.far, wire.circ_id, cells, who)
            at = time.perf_counter()
            outcome = node.receive_forward(cells, time.monotonic())
            self._add(f"{names[place + 1]}: forward layer", at)
            if isinstance(outcome, Mine):
                events = outcome.events
            elif isinstance(outcome, PassOn):
                cells = outcome.cells
        return events

    def backward(self, cells: list[Cell]) -> None:
        """Cells of the last node, to the client, whose application takes everything."""
        names = ["client", "guard", "middle", "exit"]
        for place in range(len(self.nodes), 0, -1):
            wire = self.wires[place - 1]
            who = (names[place], names[place - 1])
            cells = self._carry(wire.far, wire.near, wire.circ_id, cells, who)
            if place > 1:
                at = time.perf_counter()
                cells = self.nodes[place - 2].receive_backward(cells)
                self._add(f"{names[place - 1]}: backward layer", at)
        at = time.perf_counter()
        for event in self.origin.receive_cells(cells, time.monotonic()):
            if isinstance(event, StreamData):
                self.origin.end.consumed(event.stream, sum(map(len, event.data)))
        self._add("client: three layers, messages", at)

    def read(self, data: bytes) -> None:
        """The exit reads *data* from the destination, the client gets it, and its acknowledgements come back."""
        at = time.perf_counter()
        self.exit.send_data(self.stream, data)
        cells = self.nodes[-1].cells_to_send(time.monotonic())
        self._add("exit: bytes into cells, its layer", at)
        self.backward(cells)
        self.forward()


def _alone(action: Callable[[], object], times: int) -> tuple[float, ...]:
    """Microseconds of one *action*, in each round."""
    samples = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            action()
        samples.append((time.perf_counter() - began) / times * 1e6)
    return tuple(samples)


def _primitives(times: int) -> list[Step]:
    key, nonce = os.urandom(32), bytes(24)
    cell, bulk, frames = os.urandom(1024), os.urandom(16384), os.urandom(MAX_RECORD_FRAMES)
    mine, theirs = DHSecretKey(Secret(os.urandom(32))), DHSecretKey(Secret(os.urandom(32))).public
    identity, onion = SigningKey(Secret(os.urandom(32))), DHSecretKey(Secret(os.urandom(32)))
    hop = Hop(identity.node_id, onion.public, SOMEWHERE)
    create = OriginCircuit([hop], rng=os.urandom).create_message
    return [
        Step("SecretBox, 1 KiB", _alone(lambda: seal(cell, nonce, key), times)),
        Step("SecretBox, 16 KiB", _alone(lambda: seal(bulk, nonce, key), times)),
        Step("AEGIS-256, a record of 64 KiB", _alone(lambda: aegis_seal(frames, 1, key), times)),
        Step("SecretBox, a record of 64 KiB", _alone(lambda: seal(frames, nonce, key), times)),
        Step("BLAKE2b, the ratchet of a key", _alone(lambda: blake(b"", Person.RATCHET, key=key), times)),
        Step("X25519, one shared secret", _alone(lambda: mine.agree(theirs), times // 4)),
        Step(
            "a node answers CREATE (H7)",
            _alone(
                lambda: TransitCircuit.accept(create, node_id=identity.node_id, onion_keys=[onion], rng=os.urandom),
                times // 10,
            ),
        ),
    ]


def measure(reads: int, times: int) -> list[Step]:
    """Everything.

    :param reads: of 64 KiB by the exit, in each round
    :param times: that a primitive is repeated, in each round
    """
    path = Path()
    data = os.urandom(EXIT_READ)
    for _ in range(min(WARM, reads)):
        path.read(data)
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        path.spent = {}
        for _ in range(reads):
            path.read(data)
        rounds.append(path.spent)
    steps = [Step(what, tuple(one[what] / reads * 1e6 for one in rounds)) for what in sorted(rounds[0])]
    total = Step("together", tuple(sum(one.values()) / reads * 1e6 for one in rounds))
    return [*_primitives(times), *steps, total]


def main(arguments: list[str]) -> int:
    """Print the table; ``--short`` shows only that it works."""
    reads, times = (3, 20) if arguments == ["--short"] else (400, 2000)
    print(f"microseconds; a read is {EXIT_READ} bytes at the exit{'':20}{'min':>3}{'median':>10}{'max':>10}")
    for step in measure(reads, times):
        print(step)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

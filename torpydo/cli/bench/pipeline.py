"""The bare pipeline, the floor of what can be reached: ``python -m torpydo.cli.bench.pipeline PLACE PORT TO``.

A process for each place, client, guard, middle and exit, with Twisted between them, the network's cells and records,
and one SecretBox for each layer of a cell. No directory, no circuits, no flow control but TCP's, and keys that
everybody knows: it shows what the machine can do, and protects nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from torpydo.cli.constants import LOOPBACK
from torpydo.cli.running import run_to_end
from torpydo.crypto import (
    AEGIS_OVERHEAD,
    CELL_FORWARD,
    MAC_SIZE,
    aegis_open,
    aegis_seal,
    aegis_supported,
    cell_nonce,
    open_sealed,
    record_nonce,
    seal,
)

__all__ = ["PLACES", "Cells", "Layers", "LinkCodec", "RawCodec"]

# Sizes as in the protocol's section Frames, which the pipeline imitates and does not speak.
CELL, BULK = 3, 4
BODY_SIZES = {CELL: 1024, BULK: 16384}
HEADER = 5
LENGTH = 2
# Bytes that are read at once, and that wait to be written before the other side stops reading.
READ = 1 << 18
SEALED_LENGTH = 3 + MAC_SIZE
RECORD_CELLS = 4
# From here on a large cell carries more than small ones.
BULK_FROM = 4096

Cells = list[tuple[int, bytes]]
"""Command and body."""


class Codec(Protocol):
    """One end of a place: bytes of a connection, or records of a link, and the cells that they are."""

    def decode(self, data: bytes) -> Cells:
        """What came, as cells."""

    def encode(self, cells: Cells) -> bytes:
        """Cells, as what is sent."""


class RawCodec:
    """An application's bytes: a length, the bytes, zeros."""

    def decode(self, data: bytes) -> Cells:
        cells: Cells = []
        position = 0
        while position < len(data):
            command = BULK if len(data) - position >= BULK_FROM else CELL
            room = BODY_SIZES[command] - LENGTH
            piece = data[position : position + room]
            cells.append((command, len(piece).to_bytes(LENGTH) + piece + bytes(room - len(piece))))
            position += room
        return cells

    def encode(self, cells: Cells) -> bytes:
        return b"".join([body[LENGTH : LENGTH + int.from_bytes(body[:LENGTH])] for _, body in cells])


@attrs.define(eq=False)
class LinkCodec:
    """Records of a link: a sealed length and sealed frames, as TPDP/1 has them.

    :param key: of the link; both directions are derived from it
    :param opens: whether this end opened the link
    :param aegis: whether frames are sealed with AEGIS-256
    """

    key: bytes
    opens: bool
    aegis: bool
    _sent: int = 0
    _received: int = 0
    _buffer: bytearray = attrs.field(factory=bytearray)

    def _key(self, sends: bool) -> bytes:
        return self.key[:-1] + bytes((self.opens == sends,))

    def decode(self, data: bytes) -> Cells:
        key = self._key(sends=False)
        buffer = self._buffer
        buffer += data
        cells: Cells = []
        while len(buffer) >= SEALED_LENGTH:
            length = int.from_bytes(open_sealed(bytes(buffer[:SEALED_LENGTH]), record_nonce(self._received), key))
            end = SEALED_LENGTH + length + (AEGIS_OVERHEAD if self.aegis else MAC_SIZE)
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[SEALED_LENGTH:end])
            number = self._received + 1
            frames = aegis_open(body, number, key) if self.aegis else open_sealed(body, record_nonce(number), key)
            self._received += 2
            del buffer[:end]
            position = 0
            while position < len(frames):
                command = frames[position + HEADER - 1]
                start = position + HEADER
                position = start + BODY_SIZES[command]
                cells.append((command, frames[start:position]))
        return cells

    def encode(self, cells: Cells) -> bytes:
        key = self._key(sends=True)
        parts = []
        for first in range(0, len(cells), RECORD_CELLS):
            frames = b"".join([
                part for command, body in cells[first : first + RECORD_CELLS]
                for part in (bytes((0, 0, 0, 1, command)), body)
            ])  # fmt: skip
            number = self._sent + 1
            parts.append(seal(len(frames).to_bytes(3), record_nonce(self._sent), key))
            parts.append(aegis_seal(frames, number, key) if self.aegis else seal(frames, record_nonce(number), key))
            self._sent += 2
        return b"".join(parts)


@attrs.define(eq=False)
class Layers:
    """Puts layers on or takes them off, which is the same work: one SecretBox a layer.

    :param keys: one for each layer
    """

    keys: Sequence[bytes]
    _counter: int = 0

    def pass_through(self, cells: Cells) -> Cells:
        """The cells with all layers changed."""
        out: Cells = []
        for command, body in cells:
            nonce = cell_nonce(CELL_FORWARD, command, self._counter)
            self._counter += 1
            for key in self.keys:
                body = seal(body, nonce, key)[MAC_SIZE:]
            out.append((command, body))
        return out


@attrs.define(eq=False)
class End(TwistedProtocol):
    """One connection of a place."""

    codec: Codec
    layers: Layers
    other: End | None = None

    def join(self, other: End) -> None:
        """Pass everything on to *other* and back; each side stops reading while the other cannot send."""
        self.other, other.other = other, self
        mine: Any = self.transport
        theirs: Any = other.transport
        mine.registerProducer(theirs, True)
        theirs.registerProducer(mine, True)

    def dataReceived(self, data: bytes) -> None:
        assert self.other is not None and self.other.transport is not None
        cells = self.layers.pass_through(self.codec.decode(data))
        if cells:
            self.other.transport.write(self.other.codec.encode(cells))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        transport: Any = None if self.other is None else self.other.transport
        if transport is not None:
            transport.abortConnection()


@attrs.frozen
class Role:
    """What one place has on its two sides."""

    near: int | None
    """The number of the link that it accepts; ``None`` is an application."""
    far: int | None
    """The number of the link that it opens; ``None`` is the destination."""
    layers: Iterable[int]
    """Numbers of the hops whose layers it puts on and takes off."""


PLACES = {
    "client": Role(None, 1, (1, 2, 3)),
    "guard": Role(1, 2, (1,)),
    "middle": Role(2, 3, (2,)),
    "exit": Role(3, None, (3,)),
}
"""In the order in which a byte of an upload passes them."""


def _codec(link: int | None, opens: bool, aegis: bool) -> Codec:
    return RawCodec() if link is None else LinkCodec(bytes((link,)) * 32, opens, aegis)


@attrs.define(eq=False)
class Accepting(Factory):
    """Opens the far side for each connection of the near side."""

    reactor: Any
    role: Role
    target: int
    aegis: bool
    noisy = False

    def _layers(self, direction: int) -> Layers:
        return Layers([bytes((hop, direction)) * 16 for hop in self.role.layers])

    def buildProtocol(self, addr: object) -> TwistedProtocol:
        # A layer's key depends on the direction, so one end's layers are the same at every place of the path.
        near = Near(_codec(self.role.near, False, self.aegis), self._layers(0))
        near.factory = self
        return near

    def open_far(self, near: End) -> None:
        """Connect the far side, and join it."""
        far = End(_codec(self.role.far, True, self.aegis), self._layers(1))
        connected: Deferred[Any] = connectProtocol(TCP4ClientEndpoint(self.reactor, LOOPBACK, self.target), far)

        def opened(_: object) -> None:
            transport: Any = near.transport
            far_transport: Any = far.transport
            for one in (transport, far_transport):
                one.setTcpNoDelay(True)
                one.bufferSize = READ
            near.join(far)
            transport.resumeProducing()

        def failed(failure: Failure) -> None:
            transport: Any = near.transport
            transport.abortConnection()

        connected.addCallbacks(opened, failed)


class Near(End):
    """The side that was accepted: reads nothing until the far side is there."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()
        factory = self.factory
        assert isinstance(factory, Accepting)
        factory.open_far(self)


async def _serve(reactor: Any, options: argparse.Namespace) -> int:
    cpu = Path("/proc/cpuinfo")
    aegis = cpu.exists() and aegis_supported(cpu.read_text())
    factory = Accepting(reactor, PLACES[options.place], options.to, aegis)
    await TCP4ServerEndpoint(reactor, options.port, interface=LOOPBACK).listen(factory)
    await Deferred()
    return 0


def main(argv: Sequence[str]) -> int:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.pipeline", allow_abbrev=False)
    parser.add_argument("place", choices=list(PLACES))
    parser.add_argument("port", type=int, metavar="PORT", help="to listen on")
    parser.add_argument("to", type=int, metavar="TO", help="the port of the next place")
    options = parser.parse_args(argv)
    return run_to_end(lambda reactor: _serve(reactor, options), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

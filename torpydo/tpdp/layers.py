"""Onion layers: what each hop and the origin do to the body of a cell (docs/protocol, section Cells).

Small verbs at a hop (``open_forward``, ``pass_backward``, ``seal_backward``), two at the origin (``seal_forward``,
``open_backward``), and two more at both ends of a joined circuit (``seal_joined``, ``open_joined``). Every layer has
its own key, counter and ratchet. A failure is :class:`~torpydo.errors.DecryptionFailed`; after it the circuit must be
destroyed, for the counters have moved on.
"""

from __future__ import annotations

from torpydo.crypto import (
    CELL_BACKWARD_ORIGIN,
    CELL_BACKWARD_PASS,
    CELL_FORWARD,
    CELL_JOINED,
    MAC_SIZE,
    Person,
    blake,
    cell_nonce,
    open_sealed,
    seal,
)
from torpydo.errors import LocalProtocolError
from torpydo.tpdp.constants import EPOCH, FORWARD_HEAD, MARK, MAX_COUNTER, MAX_HOPS


class Layer:
    """One hop's key in one direction, with its counter; ratchets every 256 cells."""

    __slots__ = ("_counter", "_key")

    def __init__(self, key: bytes, counter: int = 0) -> None:
        """*key* is the key of the epoch that *counter* is in (a circuit starts at 0)."""
        self._key = bytes(key)
        self._counter = counter

    @property
    def counter(self) -> int:
        """How many cells this layer has seen."""
        return self._counter

    def _next(self) -> tuple[bytes, int]:
        """Key and counter of the next cell; moves on at once, so no nonce is ever used twice, whatever fails."""
        counter = self._counter
        if counter >= MAX_COUNTER:
            raise LocalProtocolError("a circuit has come to the end of its counter")
        key = self._key
        self._counter = counter + 1
        if self._counter % EPOCH == 0:
            self._key = blake(b"", Person.RATCHET, key=key)
        return key, counter

    def open_forward(self, command: int, body: bytes) -> bytes:
        """Take this hop's layer off a forward cell; the result is as long as the body.

        It ends in :data:`MARK` if the cell is for this hop.

        :raises DecryptionFailed: if the cell was altered, replayed or reordered
        """
        key, counter = self._next()
        return open_sealed(body[-MAC_SIZE:] + MARK + body[:-MAC_SIZE], cell_nonce(CELL_FORWARD, command, counter), key)

    def pass_backward(self, command: int, body: bytes) -> bytes:
        """Put this hop's layer on a backward cell, or (at the origin) take it off: it is its own inverse."""
        key, counter = self._next()
        return seal(body, cell_nonce(CELL_BACKWARD_PASS, command, counter), key)[MAC_SIZE:]

    def seal_backward(self, command: int, payload: bytes) -> bytes:
        """Make a backward cell of *payload* (body size - 16 bytes); its first 16 bytes are its MAC."""
        key, counter = self._next()
        return seal(payload, cell_nonce(CELL_BACKWARD_ORIGIN, command, counter), key)

    def seal_tagged(self, command: int, payload: bytes) -> tuple[bytes, bytes]:
        """As :meth:`seal_backward`; gives the MAC as well."""
        body = self.seal_backward(command, payload)
        return body, body[:MAC_SIZE]

    def open_origin(self, command: int, body: bytes) -> bytes:
        """Open what the last hop's :meth:`seal_backward` made.

        :raises DecryptionFailed: if anybody on the way altered it
        """
        key, counter = self._next()
        return open_sealed(body, cell_nonce(CELL_BACKWARD_ORIGIN, command, counter), key)

    def seal_joined(self, command: int, payload: bytes) -> bytes:
        """Seal *payload* for the other end of a joined circuit; 16 bytes longer, and the first 16 are its MAC."""
        key, counter = self._next()
        return seal(payload, cell_nonce(CELL_JOINED, command, counter), key)

    def open_joined(self, command: int, sealed: bytes) -> bytes:
        """Open what the other end's :meth:`seal_joined` made.

        :raises DecryptionFailed: if anybody on the way altered it
        """
        key, counter = self._next()
        return open_sealed(sealed, cell_nonce(CELL_JOINED, command, counter), key)


class OriginLayers:
    """All layers of a circuit at the client, first hop first."""

    __slots__ = ("_backward", "_forward")

    def __init__(self) -> None:
        self._forward: list[Layer] = []
        self._backward: list[Layer] = []

    def add(self, forward: Layer, backward: Layer) -> None:
        """One more hop; it is the last from now on."""
        if len(self._forward) == MAX_HOPS:
            raise LocalProtocolError(f"a circuit has at most {MAX_HOPS} hops")
        self._forward.append(forward)
        self._backward.append(backward)

    def __len__(self) -> int:
        return len(self._forward)

    def seal_forward(self, command: int, payload: bytes, fill: bytes) -> tuple[bytes, bytes]:
        """Make a forward cell for the last hop; gives the body and the MAC that the last hop checks.

        :param payload: body size - 144 bytes
        :param fill: 16 · (8 - hops) fresh random bytes; zeros would tell the exit how many hops there are
        """
        return self._wrap(command, fill, payload + MARK)

    def seal_joined(self, command: int, payload: bytes, fill: bytes, far: Layer) -> tuple[bytes, bytes]:
        """Make a forward cell for the other end of a joined circuit; gives the body and the MAC that the end checks.

        :param payload: body size - 144 bytes
        :param fill: as in :meth:`seal_forward`
        :param far: the layer that both ends share
        """
        sealed = far.seal_joined(command, payload)
        return self._wrap(command, fill, sealed)[0], sealed[:MAC_SIZE]

    def _wrap(self, command: int, fill: bytes, core: bytes) -> tuple[bytes, bytes]:
        """Put all layers around *core*, body size - 128 bytes; gives the MAC of the innermost, too."""
        # A_i = ks_i[:16] ‖ (A_{i-1} xor ks_i[16:]): right-aligned, that is one xor of whole numbers.
        head = 0
        sealings = []
        for place, layer in enumerate(self._forward, 1):
            key, counter = layer._next()
            nonce = cell_nonce(CELL_FORWARD, command, counter)
            head ^= int.from_bytes(seal(bytes(MAC_SIZE * place), nonce, key)[MAC_SIZE:], "big")
            sealings.append((nonce, key))
        body = head.to_bytes(MAC_SIZE * len(sealings), "big") + fill + core
        tag = b""
        for nonce, key in reversed(sealings):
            sealed = seal(body, nonce, key)
            if not tag:
                tag = sealed[:MAC_SIZE]
            body = sealed[2 * MAC_SIZE :] + sealed[:MAC_SIZE]
        return body, tag

    def open_backward(self, command: int, body: bytes) -> tuple[bytes, bytes]:
        """Take all layers off a backward cell; gives the payload and the MAC that was checked.

        :raises DecryptionFailed: if anybody on the way altered it
        """
        last = len(self._backward) - 1
        for layer in self._backward[:last]:
            body = layer.pass_backward(command, body)
        return self._backward[last].open_origin(command, body), body[:MAC_SIZE]

    def open_joined(self, command: int, body: bytes, far: Layer) -> tuple[bytes, bytes]:
        """Take all layers off a cell of the other end of a joined circuit; gives the payload and the MAC.

        :param far: the layer that both ends share
        :raises DecryptionFailed: if anybody on the way altered it
        """
        for layer in self._backward:
            body = layer.pass_backward(command, body)
        sealed = body[FORWARD_HEAD:]
        return far.open_joined(command, sealed), sealed[:MAC_SIZE]

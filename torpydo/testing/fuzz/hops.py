"""Entry points of the handshake of a hop: what a node reads in a CREATE, what a client reads in a CREATED."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from torpydo.crypto import DHSecretKey, Secret
from torpydo.errors import CryptoError, RemoteProtocolError
from torpydo.testing.fuzz.fixed import NODE, ONION, fixed_rng
from torpydo.testing.fuzz.target import Target, require
from torpydo.tpdp import Address, Hop, OriginCircuit, OriginState, TransitCircuit
from torpydo.tpdp.handshake import ClientHandshake, HandshakeKeys, Proto, encode_options, respond
from torpydo.tpdp.origin import HOP_OPTIONS

__all__ = ["HOP", "TARGETS", "first_circuit", "hop_reply", "ready_keys"]

HANDSHAKE: Final = 512
OPTIONS: Final = 464
PREVIOUS: Final = DHSecretKey(Secret(b"q" * 32))
"""The onion key before the current one."""
HOP: Final = Hop(NODE.node_id, ONION.public, Address(b"\x08\x08\x08\x08", 9001))
_EPHEMERAL: Final = DHSecretKey(Secret(b"e" * 32))


def first_circuit(hops: int = 1) -> OriginCircuit:
    """A circuit whose CREATE is on its way; the same bytes each time."""
    return OriginCircuit([HOP] * hops, rng=fixed_rng(b"origin"))


def hop_reply(message: bytes) -> tuple[bytes, HandshakeKeys]:
    """What an honest hop answers to a client message (512 bytes), and the keys that it has then."""
    keys, reply, _ = respond(Proto.HOP, NODE.node_id, ONION, _EPHEMERAL, message, HOP_OPTIONS)
    return reply, keys


@cache
def ready_keys(hops: int = 1) -> tuple[bytes, HandshakeKeys]:
    """The same for the CREATE of :func:`first_circuit`."""
    return hop_reply(first_circuit(hops).create_message)


def _sealed(options: bytes) -> bytes:
    return ClientHandshake.start(Proto.HOP, NODE.node_id, ONION.public, _EPHEMERAL, options).message


def _run_create(data: bytes) -> None:
    """The 512 bytes of a CREATE: as they are, or sealed options."""
    sealed, message = data[:1] == b"\1", data[1 : 1 + HANDSHAKE]
    message = _sealed(message[:OPTIONS].ljust(OPTIONS, b"\0")) if sealed else message.ljust(HANDSHAKE, b"\0")
    try:
        circuit, reply = TransitCircuit.accept(
            message, node_id=NODE.node_id, onion_keys=(PREVIOUS, ONION), rng=fixed_rng(b"transit")
        )
    except (CryptoError, RemoteProtocolError):
        return
    require(len(reply) == HANDSHAKE, "the reply has not the one size")
    require(circuit.cells_to_send(0.0) == [], "a new circuit says something")


def _run_created(data: bytes) -> None:
    """The 512 bytes of a CREATED: as they are, or sealed options."""
    sealed, reply = data[:1] == b"\1", data[1 : 1 + HANDSHAKE].ljust(HANDSHAKE, b"\0")
    circuit = first_circuit()
    if sealed:
        options = reply[:OPTIONS]
        reply = respond(Proto.HOP, NODE.node_id, ONION, _EPHEMERAL, circuit.create_message, options)[1]
    try:
        circuit.created(reply)
    except (CryptoError, RemoteProtocolError):
        require(circuit.state is OriginState.BUILDING, "a refused reply built a circuit")
        return
    require(circuit.state is OriginState.BUILT and circuit.hops == 1, "a reply was taken, and nothing was built")
    circuit.cells_to_send(0.0)


def _options_seeds() -> Iterable[bytes]:
    for options in ({1: b"\1"}, {1: b"\1\2", 9: b"unknown"}, {}):
        yield b"\1" + encode_options(options).rstrip(b"\0")


def _create_seeds() -> Iterable[bytes]:
    yield b"\0" + first_circuit().create_message
    yield from _options_seeds()


def _created_seeds() -> Iterable[bytes]:
    yield b"\0" + ready_keys()[0]
    yield from _options_seeds()


TARGETS: Final = (
    Target("hop-create", _run_create, _create_seeds, longest=600),
    Target("hop-created", _run_created, _created_seeds, longest=600),
)

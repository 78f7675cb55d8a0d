"""What a client or a service says to the last hop of a circuit without streams (docs/protocol-onion).

A circuit has one conversation at most. Which messages belong to it and which may follow which stands in two tables;
whatever is not in them destroys the circuit. Called by origin and transit.
"""

from __future__ import annotations

from typing import Final

from torpydo.crypto import KEY_SIZE, SIGNATURE_SIZE, Purpose, SigningKey, VerifyKey
from torpydo.errors import BadKey, RemoteProtocolError
from torpydo.tpdp.constants import COOKIE_SIZE, HANDSHAKE_SIZE
from torpydo.tpdp.messages import Type
from torpydo.wire import Malformed

OPENINGS: Final[dict[Type, frozenset[Type]]] = {
    Type.ESTABLISH_INTRO: frozenset({Type.INTRO_ESTABLISHED}),
    Type.INTRODUCE1: frozenset({Type.INTRODUCE_ACK}),
    Type.ESTABLISH_RENDEZVOUS: frozenset({Type.RENDEZVOUS_ESTABLISHED}),
    Type.RENDEZVOUS1: frozenset(),
}
"""What begins a conversation, and what the last hop may answer."""

NEXT: Final[dict[Type, frozenset[Type]]] = {
    Type.INTRO_ESTABLISHED: frozenset({Type.INTRODUCE2}),
    Type.INTRODUCE2: frozenset({Type.INTRODUCE2}),
    Type.INTRODUCE_ACK: frozenset(),
    Type.RENDEZVOUS_ESTABLISHED: frozenset({Type.RENDEZVOUS2}),
    Type.RENDEZVOUS2: frozenset(),
}
"""What the last hop may say after each of its messages."""

SIZES: Final[dict[Type, int]] = {
    Type.ESTABLISH_INTRO: KEY_SIZE + SIGNATURE_SIZE,
    Type.INTRO_ESTABLISHED: 0,
    Type.INTRODUCE1: KEY_SIZE + HANDSHAKE_SIZE,
    Type.INTRODUCE_ACK: 1,
    Type.INTRODUCE2: HANDSHAKE_SIZE,
    Type.ESTABLISH_RENDEZVOUS: COOKIE_SIZE,
    Type.RENDEZVOUS_ESTABLISHED: 0,
    Type.RENDEZVOUS1: COOKIE_SIZE + HANDSHAKE_SIZE,
    Type.RENDEZVOUS2: HANDSHAKE_SIZE,
}
"""Bytes of data in each."""


def check_size(kind: Type, data: bytes) -> None:
    """See that a message has the one size it may have.

    :raises Malformed: if it has not
    """
    if len(data) != SIZES[kind]:
        raise Malformed(f"{kind.name} of {len(data)} bytes")


def encode_establish_intro(key: SigningKey, bind: bytes) -> bytes:
    """ESTABLISH_INTRO: key ‖ signature over what binds it to this circuit alone (SECURITY O8).

    :param bind: what both ends of the circuit know and nobody else
    """
    return key.public + key.sign(Purpose.INTRODUCTION, bind)


def decode_establish_intro(data: bytes, bind: bytes) -> VerifyKey:
    """Read an ESTABLISH_INTRO of the right size: the key of the introduction point.

    :raises RemoteProtocolError: if it names no key
    :raises BadSignature: if it was not signed with that key, or for another circuit
    """
    try:
        key = VerifyKey(data[:KEY_SIZE])
    except BadKey:
        raise RemoteProtocolError("ESTABLISH_INTRO names no key") from None
    key.verify(Purpose.INTRODUCTION, bind, data[KEY_SIZE:])
    return key

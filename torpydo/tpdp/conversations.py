"""What a client or a service says to the last hop of a circuit without streams (docs/protocol-onion).

A circuit has one conversation at most. Which messages belong to it and which may follow which stands in tables;
whatever is not in them destroys the circuit. Called by origin and transit.
"""

from __future__ import annotations

from typing import Final, Self

import attrs

from torpydo.crypto import KEY_SIZE, SIGNATURE_SIZE, Purpose, SigningKey, VerifyKey
from torpydo.errors import BadKey, RemoteProtocolError
from torpydo.tpdp.constants import COOKIE_SIZE, HANDSHAKE_SIZE, NONCE_SIZE, SEED_SIZE
from torpydo.tpdp.messages import Type
from torpydo.wire import Malformed, Reader, Writer

OPENINGS: Final[dict[Type, frozenset[Type]]] = {
    Type.ESTABLISH_INTRO: frozenset({Type.INTRO_ESTABLISHED}),
    Type.INTRODUCE1: frozenset({Type.INTRODUCE_ACK}),
    Type.ESTABLISH_RENDEZVOUS: frozenset({Type.RENDEZVOUS_ESTABLISHED}),
    Type.RENDEZVOUS1: frozenset(),
}
"""What begins a conversation, and what the last hop may answer."""

LATER: Final[dict[Type, frozenset[Type]]] = {Type.ESTABLISH_INTRO: frozenset({Type.INTRO_PUZZLE})}
"""What the builder may say in a conversation that began so, any number of times."""

NEXT: Final[dict[Type, frozenset[Type]]] = {
    Type.INTRO_ESTABLISHED: frozenset({Type.INTRODUCE2}),
    Type.INTRODUCE2: frozenset({Type.INTRODUCE2}),
    Type.INTRODUCE_ACK: frozenset(),
    Type.RENDEZVOUS_ESTABLISHED: frozenset({Type.RENDEZVOUS2}),
    Type.RENDEZVOUS2: frozenset(),
}
"""What the last hop may say after each of its messages."""

PROOF_SIZE: Final = 4 + NONCE_SIZE

SIZES: Final[dict[Type, int]] = {
    Type.ESTABLISH_INTRO: KEY_SIZE + SIGNATURE_SIZE,
    Type.INTRO_ESTABLISHED: 0,
    Type.INTRODUCE1: KEY_SIZE + PROOF_SIZE + HANDSHAKE_SIZE,
    Type.INTRODUCE_ACK: 1,
    Type.INTRODUCE2: PROOF_SIZE + 4 + HANDSHAKE_SIZE,
    Type.ESTABLISH_RENDEZVOUS: COOKIE_SIZE,
    Type.RENDEZVOUS_ESTABLISHED: 0,
    Type.RENDEZVOUS1: COOKIE_SIZE + HANDSHAKE_SIZE,
    Type.RENDEZVOUS2: HANDSHAKE_SIZE,
    Type.INTRO_PUZZLE: SEED_SIZE,
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


@attrs.frozen
class Proof:
    """What a client says it has done to be heard: effort u32 ‖ nonce.

    :ivar effort: that the nonce is to prove; without any, nobody looks at the nonce
    """

    effort: int = 0
    nonce: bytes = bytes(NONCE_SIZE)

    def encode(self) -> bytes:
        """20 bytes."""
        return Writer().u32(self.effort).put(self.nonce).getvalue()

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it."""
        return cls(reader.u32(), reader.take(NONCE_SIZE))


@attrs.frozen
class Introduce1:
    """INTRODUCE1: introduction key ‖ proof ‖ client message.

    :ivar message: 512 bytes that only the service can open
    """

    key: bytes = attrs.field(repr=False)
    proof: Proof
    message: bytes = attrs.field(repr=False)

    def encode(self) -> bytes:
        """The data of the message."""
        return self.key + self.proof.encode() + self.message

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read data of the right size: any are one."""
        reader = Reader(data)
        return cls(reader.take(KEY_SIZE), Proof.read(reader), reader.take(HANDSHAKE_SIZE))


@attrs.frozen
class Introduce2:
    """INTRODUCE2: proof ‖ refused u32 ‖ client message.

    :ivar refused: 1 + the highest effort of those that the node has dropped since the last of these; 0 if none was
    :ivar message: 512 bytes
    """

    proof: Proof
    refused: int
    message: bytes = attrs.field(repr=False)

    def encode(self) -> bytes:
        """The data of the message."""
        return Writer().put(self.proof.encode()).u32(self.refused).put(self.message).getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read data of the right size: any are one."""
        reader = Reader(data)
        return cls(Proof.read(reader), reader.u32(), reader.take(HANDSHAKE_SIZE))

"""The one handshake of links and hops: one-way authenticated and forward secret (docs/protocol, section Handshake).

Pure functions on values; ephemeral keys come in as arguments and are used once. Called by link, origin and transit.
"""

from __future__ import annotations

from enum import Enum

import attrs

from torpydo.crypto import (
    ZERO_NONCE,
    DHPublicKey,
    DHSecretKey,
    NodeId,
    Person,
    Secret,
    blake,
    open_sealed,
    seal,
)
from torpydo.tpdp.constants import OPTIONS_SIZE
from torpydo.wire import Malformed, NeedMore, Reader, Writer


class Proto(Enum):
    """What the handshake is for; part of everything that it hashes."""

    LINK = b"TPDP/1 link"
    HOP = b"TPDP/1 hop"
    SERVICE = b"TPDP/1 service"


@attrs.frozen
class HandshakeKeys:
    """What a handshake yields. *forward* is for bytes from the initiator, *backward* for those towards it."""

    forward: Secret
    backward: Secret
    bind: Secret


@attrs.frozen
class ClientHandshake:
    """An initiator that waits for the reply. Drop it when the handshake ends."""

    proto: Proto
    node_id: NodeId
    node_key: DHPublicKey
    ephemeral: DHSecretKey
    first: Secret
    message: bytes

    @classmethod
    def start(
        cls, proto: Proto, node_id: NodeId, node_key: DHPublicKey, ephemeral: DHSecretKey, options: bytes
    ) -> ClientHandshake:
        """Make the client message for the node whose X25519 key is *node_key*.

        :raises BadKey: if *node_key* is refused
        """
        first = ephemeral.agree(node_key)
        key = _hello_key(proto, node_id, node_key, ephemeral.public.raw, first)
        message = ephemeral.public.raw + seal(options, ZERO_NONCE, key)
        return cls(proto, node_id, node_key, ephemeral, first, message)

    def finish(self, reply: bytes) -> tuple[HandshakeKeys, bytes]:
        """Take the node's reply; gives the keys and the node's options.

        :raises CryptoError: if the reply is not from that node, or was changed
        """
        public = DHPublicKey(reply[:32])
        second = self.ephemeral.agree(public)
        seed = _seed(self.proto, self.node_id, self.node_key, self.message, public.raw, self.first, second)
        options = open_sealed(reply[32:], ZERO_NONCE, _named(seed, Person.REPLY))
        return _keys(seed), options


def respond(
    proto: Proto, node_id: NodeId, node_key: DHSecretKey, ephemeral: DHSecretKey, message: bytes, options: bytes
) -> tuple[HandshakeKeys, bytes, bytes]:
    """The node's side; gives the keys, the relay message and the client's options.

    :raises CryptoError: if *message* was not made for this node and key
    """
    client, first, client_options = open_hello(proto, node_id, node_key, message)
    return answer(proto, node_id, node_key.public, ephemeral, message, client, first, options) + (client_options,)


def open_hello(
    proto: Proto, node_id: NodeId, node_key: DHSecretKey, message: bytes
) -> tuple[DHPublicKey, Secret, bytes]:
    """First half of the node's side: gives the client's ephemeral key, the first secret and the client's options.

    :raises CryptoError: if *message* was not made for this node and key
    """
    client = DHPublicKey(message[:32])
    first = node_key.agree(client)
    key = _hello_key(proto, node_id, node_key.public, client.raw, first)
    return client, first, open_sealed(message[32:], ZERO_NONCE, key)


def answer(
    proto: Proto,
    node_id: NodeId,
    node_key: DHPublicKey,
    ephemeral: DHSecretKey,
    message: bytes,
    client: DHPublicKey,
    first: Secret,
    options: bytes,
) -> tuple[HandshakeKeys, bytes]:
    """Second half of the node's side: gives the keys and the relay message.

    :raises BadKey: if *client* is refused
    """
    second = ephemeral.agree(client)
    seed = _seed(proto, node_id, node_key, message, ephemeral.public.raw, first, second)
    return _keys(seed), ephemeral.public.raw + seal(options, ZERO_NONCE, _named(seed, Person.REPLY))


def _hello_key(proto: Proto, node_id: NodeId, node_key: DHPublicKey, client: bytes, first: Secret) -> bytes:
    return blake(proto.value + node_id.raw + node_key.raw + client, Person.HELLO, key=first)


def _seed(
    proto: Proto, node_id: NodeId, node_key: DHPublicKey, message: bytes, reply: bytes, first: Secret, second: Secret
) -> bytes:
    transcript = blake(message, Person.MESSAGE)
    return blake(
        proto.value + second + first + node_id.raw + node_key.raw + message[:32] + reply + transcript,
        Person.SEED,
        size=64,
    )


def _named(seed: bytes, name: Person) -> bytes:
    return blake(b"", name, key=seed)


def _keys(seed: bytes) -> HandshakeKeys:
    return HandshakeKeys(
        Secret(_named(seed, Person.FORWARD)), Secret(_named(seed, Person.BACKWARD)), Secret(_named(seed, Person.BIND))
    )


# -- Options: type u8 ‖ length u16 ‖ value, zero-filled to 464 bytes.

OPTION_VERSIONS = 1
"""Versions of TPDP that the sender speaks, a byte each; in a reply the one that holds."""
OPTION_CIPHERS = 2
"""Record ciphers, a byte each, wanted most first; in a reply the one that was chosen."""
OPTION_CLOCK = 3
"""The node's clock, u64, whole seconds since 1970."""
OPTION_SEEN = 4
"""The address that the node sees: IP (4 or 16 bytes) ‖ port u16."""


def encode_options(options: dict[int, bytes]) -> bytes:
    """Write options, filled with zeros to 464 bytes."""
    writer = Writer()
    for kind in sorted(options):
        writer.u8(kind).u16(len(options[kind])).put(options[kind])
    data = writer.getvalue()
    if len(data) > OPTIONS_SIZE:
        raise ValueError(f"options of {len(data)} bytes do not fit in {OPTIONS_SIZE}")
    return data + bytes(OPTIONS_SIZE - len(data))


def decode_options(data: bytes) -> dict[int, bytes]:
    """Read options; a type 0 begins the fill. Unknown types are the caller's to ignore.

    :raises Malformed: if a length runs over the end, a type comes twice, or the fill is not zero
    """
    reader = Reader(data)
    options: dict[int, bytes] = {}
    try:
        while reader.remaining:
            kind = reader.u8()
            if kind == 0:
                reader.zeros()
                break
            if kind in options:
                raise Malformed("a handshake option comes twice")
            options[kind] = reader.take(reader.u16())
    except NeedMore:
        raise Malformed("a handshake option runs over the end") from None
    return options

"""The handshake of a link with its options: cipher, version, clock (docs/protocol, sections Handshake and Options).

The hop handshake has no options worth a file; this one negotiates. Called by link.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from torpydo.crypto import KEY_SIZE, SIGNATURE_SIZE, DHSecretKey, NodeId, Purpose, Secret, SigningKey
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import PROTOCOL_VERSION
from torpydo.tpdp.events import LinkReady
from torpydo.tpdp.handshake import (
    OPTION_CIPHERS,
    OPTION_CLOCK,
    OPTION_SEEN,
    OPTION_VERSIONS,
    ClientHandshake,
    HandshakeKeys,
    Proto,
    answer,
    decode_options,
    encode_options,
    open_hello,
)
from torpydo.tpdp.records import Cipher
from torpydo.wire import Malformed


@attrs.frozen
class LinkHello:
    """The initiator's half, waiting for the reply."""

    _handshake: ClientHandshake
    _aegis: bool

    @classmethod
    def start(cls, node_id: NodeId, *, rng: Callable[[int], bytes], aegis: bool) -> LinkHello:
        """Greet *node_id*, offering AEGIS-256 if *aegis*."""
        ciphers = [Cipher.AEGIS256, Cipher.SECRETBOX] if aegis else [Cipher.SECRETBOX]
        options = encode_options({OPTION_VERSIONS: bytes((PROTOCOL_VERSION,)), OPTION_CIPHERS: bytes(ciphers)})
        ephemeral = DHSecretKey(Secret(rng(32)))
        return cls(ClientHandshake.start(Proto.LINK, node_id, node_id.dh_key(), ephemeral, options), aegis)

    @property
    def node_id(self) -> NodeId:
        """Whom it greets."""
        return self._handshake.node_id

    @property
    def message(self) -> bytes:
        """512 bytes to send."""
        return self._handshake.message

    def finish(self, reply: bytes) -> tuple[HandshakeKeys, Cipher, LinkReady]:
        """Take the 512-byte reply.

        :raises CryptoError: if it is not from that node, or was changed
        :raises Malformed: if the node chose what was not offered
        """
        keys, raw_options = self._handshake.finish(reply)
        options = decode_options(raw_options)
        cipher = self._chosen(options.get(OPTION_CIPHERS, b""))
        if options.get(OPTION_VERSIONS) != bytes((PROTOCOL_VERSION,)):
            raise Malformed("the node chose a version that was not offered")
        clock = options.get(OPTION_CLOCK, b"")
        return (
            keys,
            cipher,
            LinkReady(
                cipher.name.lower(),
                int.from_bytes(clock, "big") if len(clock) == 8 else None,
                _decode_seen(options.get(OPTION_SEEN, b"")),
            ),
        )

    def _chosen(self, value: bytes) -> Cipher:
        if value == bytes((Cipher.AEGIS256,)) and self._aegis:
            return Cipher.AEGIS256
        if value == bytes((Cipher.SECRETBOX,)):
            return Cipher.SECRETBOX
        raise Malformed("the node chose a cipher that was not offered")


def answer_hello(
    identity: SigningKey,
    message: bytes,
    *,
    rng: Callable[[int], bytes],
    clock: int,
    aegis: bool,
    seen: Address | None,
) -> tuple[HandshakeKeys, Cipher, bytes]:
    """The responder's half: keys, cipher and the 512-byte reply.

    :param clock: seconds since 1970, for the initiator to compare
    :raises CryptoError: if *message* was not made for this identity
    :raises Malformed: if there is no version or cipher in common
    """
    node_id = identity.node_id
    client, first, raw_options = open_hello(Proto.LINK, node_id, identity.dh_key(), message)
    options = decode_options(raw_options)
    offered = options.get(OPTION_CIPHERS, b"")
    if PROTOCOL_VERSION not in options.get(OPTION_VERSIONS, b"") or Cipher.SECRETBOX not in offered:
        raise Malformed("no version or cipher in common")
    cipher = Cipher.AEGIS256 if aegis and Cipher.AEGIS256 in offered else Cipher.SECRETBOX
    reply = {
        OPTION_VERSIONS: bytes((PROTOCOL_VERSION,)),
        OPTION_CIPHERS: bytes((cipher,)),
        OPTION_CLOCK: clock.to_bytes(8, "big"),
    }
    if seen is not None:
        reply[OPTION_SEEN] = seen.ip + seen.port.to_bytes(2, "big")
    ephemeral = DHSecretKey(Secret(rng(32)))
    keys, relay_message = answer(
        Proto.LINK, node_id, node_id.dh_key(), ephemeral, message, client, first, encode_options(reply)
    )
    return keys, cipher, relay_message


def make_auth(identity: SigningKey, bind: bytes) -> bytes:
    """The start of an AUTH body: node id ‖ signature over the link's own key."""
    return identity.public + identity.sign(Purpose.AUTH, bind)


def check_auth(body: bytes, bind: bytes) -> NodeId:
    """Who an AUTH body proves the initiator to be.

    :raises CryptoError: if it proves nothing
    :raises Malformed: if the fill is not zero
    """
    node_id = NodeId(body[:KEY_SIZE])
    node_id.verify(Purpose.AUTH, bind, body[KEY_SIZE : KEY_SIZE + SIGNATURE_SIZE])
    if any(body[KEY_SIZE + SIGNATURE_SIZE :]):
        raise Malformed("AUTH with a fill that is not zero")
    return node_id


def _decode_seen(value: bytes) -> Address | None:
    if len(value) not in (6, 18):
        return None
    return Address(value[:-2], int.from_bytes(value[-2:], "big"))

"""The handshake of links and hops: the vectors, and that nothing else goes through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.vectors import load
from torpydo.crypto import DHPublicKey, DHSecretKey, NodeId, Person, Secret, SigningKey, blake
from torpydo.errors import BadKey, CryptoError, DecryptionFailed
from torpydo.tpdp.constants import HANDSHAKE_SIZE, OPTIONS_SIZE
from torpydo.tpdp.handshake import (
    OPTION_CIPHERS,
    OPTION_CLOCK,
    OPTION_SEEN,
    OPTION_VERSIONS,
    ClientHandshake,
    HandshakeKeys,
    Proto,
    decode_options,
    encode_options,
    open_hello,
    respond,
)
from torpydo.wire import Malformed

LOW_ORDER = [bytes.fromhex(point) for point in load("refused")["low_order_points"]]
IDENTITY = SigningKey(b"\x01" * 32)
ONION = DHSecretKey(b"\x02" * 32)
X = DHSecretKey(b"\x03" * 32)
Y = DHSecretKey(b"\x04" * 32)
EMPTY = encode_options({})


def hello(
    *,
    proto: Proto = Proto.HOP,
    node_id: NodeId = IDENTITY.node_id,
    node_key: DHPublicKey = ONION.public,
    ephemeral: DHSecretKey = X,
    options: bytes = EMPTY,
) -> ClientHandshake:
    """A client's first half towards IDENTITY and ONION; every argument can be changed."""
    return ClientHandshake.start(proto, node_id, node_key, ephemeral, options)


def reply_to(message: bytes, ephemeral: DHSecretKey = Y) -> tuple[HandshakeKeys, bytes, bytes]:
    """What the node answers."""
    return respond(Proto.HOP, IDENTITY.node_id, ONION, ephemeral, message, EMPTY)


class VectorTests(SynchronousTestCase):
    """The vectors of an independent program."""

    def test_vectors(self) -> None:
        """Both messages and every key, byte for byte, on both sides."""
        cases = load("handshake")
        self.assertGreaterEqual(len(cases), 10)
        for case in cases:
            raw = {name: bytes.fromhex(value) for name, value in case.items() if name != "proto"}
            proto, node_id = Proto(case["proto"].encode()), NodeId(raw["node_id"])
            secrets = ("relay_secret", "client_ephemeral", "relay_ephemeral")
            relay, x, y = (DHSecretKey(raw[name]) for name in secrets)
            client = ClientHandshake.start(proto, node_id, relay.public, x, raw["client_options"])
            self.assertEqual(client.message, raw["client_message"])
            keys, message, options = respond(proto, node_id, relay, y, client.message, raw["relay_options"])
            self.assertEqual((message, options), (raw["relay_message"], raw["client_options"]))
            self.assertEqual(client.finish(message), (keys, raw["relay_options"]))
            named = (keys.forward, keys.backward, keys.bind)
            self.assertEqual(named, (raw["forward_key"], raw["backward_key"], raw["bind_key"]))
            if proto is Proto.LINK:
                self.assertEqual(node_id.dh_key(), relay.public)

    def test_low_order_points_are_refused(self) -> None:
        """Each is refused as X, as Y and as B (row H2)."""
        for point in LOW_ORDER:
            self.assertRaises(BadKey, hello, node_key=DHPublicKey(point))
            self.assertRaises(BadKey, reply_to, point + bytes(480))
            self.assertRaises(BadKey, hello().finish, point + bytes(480))


class HandshakeTests(SynchronousTestCase):
    """What makes both sides agree, and what must not."""

    def test_both_sides_agree(self) -> None:
        """Equal keys, all different from each other; messages of 512 bytes."""
        client = hello()
        keys, message, _ = reply_to(client.message)
        self.assertEqual(client.finish(message)[0], keys)
        self.assertEqual(len({keys.forward, keys.backward, keys.bind}), 3)
        self.assertEqual((len(client.message), len(message)), (HANDSHAKE_SIZE, HANDSHAKE_SIZE))

    def test_every_flipped_byte_of_the_client_message_is_refused(self) -> None:
        """The node answers none of the 512 (row H1)."""
        message = hello().message
        for place in range(len(message)):
            changed = bytearray(message)
            changed[place] ^= 1
            self.assertRaises(CryptoError, open_hello, Proto.HOP, IDENTITY.node_id, ONION, bytes(changed))

    def test_every_flipped_byte_of_the_relay_message_is_refused(self) -> None:
        """The client takes none of the 512 (row H1). The top bit of Y is bound too."""
        client = hello()
        message = reply_to(client.message)[1]
        for place in range(len(message)):
            changed = bytearray(message)
            changed[place] ^= 0x80
            self.assertRaises(CryptoError, client.finish, bytes(changed))

    def test_every_prefix_is_refused(self) -> None:
        """Cut messages, on both sides, are a crypto error and nothing else."""
        client = hello()
        message = reply_to(client.message)[1]
        for size in (*range(64), 511):
            self.assertRaises(CryptoError, client.finish, message[:size])
            self.assertRaises(CryptoError, reply_to, client.message[:size])

    def test_everything_is_bound(self) -> None:
        """A hello for another protocol, node id or key is not opened."""
        other = SigningKey(b"\x09" * 32)
        for changed in (
            hello(proto=Proto.LINK),
            hello(node_id=other.node_id),
            hello(node_key=DHSecretKey(b"\x08" * 32).public),
        ):
            self.assertRaises(DecryptionFailed, reply_to, changed.message)

    def test_the_reply_is_for_one_hello(self) -> None:
        """A reply to the same X with other options is refused: the whole client message is in the seed."""
        one, other = hello(), hello(options=encode_options({1: b"\x02"}))
        self.assertRaises(CryptoError, one.finish, reply_to(other.message)[1])

    def test_replayed_hello_gives_other_keys(self) -> None:
        """A fresh Y each time makes what is recorded useless (row H5)."""
        message = hello().message
        answers = [reply_to(message, DHSecretKey(bytes([number]) * 32)) for number in range(1, 101)]
        self.assertEqual(len({keys.forward for keys, _, _ in answers}), 100)
        self.assertEqual(len({reply[:32] for _, reply, _ in answers}), 100)

    def test_forward_secrecy(self) -> None:
        """The transcript with the node's long-term keys does not give the seed: it lacks the second agreement."""
        client = hello()
        keys, reply, _ = reply_to(client.message)
        known = ONION.agree(DHPublicKey(client.message[:32]))
        ids = IDENTITY.node_id.raw + ONION.public.raw + client.message[:32] + reply[:32]
        for guess in (b"", known, Secret(bytes(32)), ONION.agree(DHPublicKey(reply[:32]))):
            data = Proto.HOP.value + guess + known + ids + blake(client.message, Person.MESSAGE)
            seed = blake(data, Person.SEED, size=64)
            self.assertNotEqual(blake(b"", Person.FORWARD, key=seed), keys.forward)
        second = Y.agree(DHPublicKey(client.message[:32]))
        data = Proto.HOP.value + second + known + ids + blake(client.message, Person.MESSAGE)
        self.assertEqual(blake(b"", Person.FORWARD, key=blake(data, Person.SEED, size=64)), keys.forward)

    def test_secrets_do_not_show(self) -> None:
        """Neither keys nor the waiting client print a secret."""
        client = hello()
        keys = reply_to(client.message)[0]
        shown = repr(client) + repr(keys)
        for secret in (keys.forward, keys.backward, keys.bind, client.first, X.raw):
            self.assertNotIn(repr(bytes(secret))[2:-1], shown)


class OptionsTests(SynchronousTestCase):
    """type u8 ‖ length u16 ‖ value, filled with zeros."""

    @given(st.dictionaries(st.integers(1, 255), st.binary(max_size=40), max_size=8))
    def test_round_trip(self, options: dict[int, bytes]) -> None:
        """Every dictionary comes back, in 464 bytes."""
        data = encode_options(options)
        self.assertEqual((decode_options(data), len(data)), (options, OPTIONS_SIZE))

    def test_numbers(self) -> None:
        """They are on the wire and never change (protocol, section Options)."""
        self.assertEqual((OPTION_VERSIONS, OPTION_CIPHERS, OPTION_CLOCK, OPTION_SEEN), (1, 2, 3, 4))

    def test_golden(self) -> None:
        """In the order of their types."""
        self.assertEqual(encode_options({2: b"ab", 1: b""}).hex(), "0100000200026162" + "00" * 456)

    def test_what_does_not_fit(self) -> None:
        """Our own mistake is a ValueError."""
        encode_options({1: bytes(461)})
        self.assertRaises(ValueError, encode_options, {1: bytes(462)})

    def test_without_fill(self) -> None:
        """Options may fill the space to the last byte."""
        self.assertEqual(decode_options(b"\x01\x01\xcd" + b"v" * 461), {1: b"v" * 461})

    def test_twice(self) -> None:
        """The same type twice could be read in two ways."""
        self.assertRaises(Malformed, decode_options, b"\x01\0\0\x01\0\0")

    def test_fill(self) -> None:
        """A byte other than 0 in the fill."""
        for place in range(1, 10):
            data = bytearray(10)
            data[place] = 1
            self.assertRaises(Malformed, decode_options, bytes(data))

    def test_over_the_end(self) -> None:
        """Every prefix of an option."""
        for size in range(1, 8):
            self.assertRaises(Malformed, decode_options, b"\x01\x00\x05hello"[:size])

    @given(st.binary(max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        """No bytes give another error."""
        try:
            decode_options(data)
        except Malformed:
            return

"""The options of a link's handshake: version and cipher are agreed, or there is no link."""

from __future__ import annotations

import random

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.tpdp.address import Address
from torpydo.tpdp.events import LinkReady
from torpydo.tpdp.greeting import LinkHello, answer_hello
from torpydo.tpdp.handshake import (
    OPTION_CIPHERS,
    OPTION_CLOCK,
    OPTION_SEEN,
    OPTION_VERSIONS,
    ClientHandshake,
    Proto,
    decode_options,
    encode_options,
    open_hello,
    respond,
)
from torpydo.tpdp.records import Cipher
from torpydo.wire import Malformed

NODE = SigningKey(b"\x01" * 32)
RNG = random.Random(5).randbytes


class HelloTests(SynchronousTestCase):
    """The initiator."""

    def finished(self, options: dict[int, bytes], *, aegis: bool = True) -> LinkReady:
        """What the initiator makes of a reply with *options*."""
        hello = LinkHello.start(NODE.node_id, rng=RNG, aegis=aegis)
        reply = respond(
            Proto.LINK, NODE.node_id, NODE.dh_key(), DHSecretKey(RNG(32)), hello.message, encode_options(options)
        )[1]
        return hello.finish(reply)[2]

    def test_only_options_in_the_first_message(self) -> None:
        """It has no forward secrecy, so it names versions and ciphers and nothing else (row H4)."""
        for aegis in (False, True):
            message = LinkHello.start(NODE.node_id, rng=RNG, aegis=aegis).message
            options = decode_options(open_hello(Proto.LINK, NODE.node_id, NODE.dh_key(), message)[2])
            self.assertEqual(options, {OPTION_VERSIONS: b"\x01", OPTION_CIPHERS: b"\x02\x01" if aegis else b"\x01"})

    def test_reply(self) -> None:
        """Clock and address are told; unknown options are ignored."""
        ready = self.finished(
            {
                OPTION_VERSIONS: b"\x01",
                OPTION_CIPHERS: b"\x02",
                OPTION_CLOCK: bytes(7) + b"\x09",
                99: b"x",
                OPTION_SEEN: b"\x01\x02\x03\x04\x00\x50",
            }
        )
        self.assertEqual(ready, LinkReady("aegis256", 9, Address(b"\x01\x02\x03\x04", 80)))

    def test_hints_that_cannot_be_read(self) -> None:
        """A clock or an address of another size is none: they are hints only."""
        for clock, seen in ((b"", b""), (b"\x01", b"\x01" * 7), (bytes(9), b"\x01" * 17)):
            ready = self.finished(
                {OPTION_VERSIONS: b"\x01", OPTION_CIPHERS: b"\x01", OPTION_CLOCK: clock, OPTION_SEEN: seen}
            )
            self.assertEqual(ready, LinkReady("secretbox", None, None))
        six = self.finished({OPTION_VERSIONS: b"\x01", OPTION_CIPHERS: b"\x01", OPTION_SEEN: bytes(18)})
        self.assertEqual(six.seen, Address(bytes(16), 0))

    def test_what_was_not_offered(self) -> None:
        """Another cipher, none, two, AEGIS without having offered it, another version, none: no link."""
        for cipher in (b"", b"\x03", b"\x01\x02"):
            self.assertRaises(Malformed, self.finished, {OPTION_VERSIONS: b"\x01", OPTION_CIPHERS: cipher})
        good = {OPTION_VERSIONS: b"\x01", OPTION_CIPHERS: b"\x02"}
        self.assertRaises(Malformed, self.finished, good, aegis=False)
        for version in ({}, {OPTION_VERSIONS: b""}, {OPTION_VERSIONS: b"\x02"}, {OPTION_VERSIONS: b"\x01\x02"}):
            self.assertRaises(Malformed, self.finished, {OPTION_CIPHERS: b"\x01"} | version)

    def test_node_id(self) -> None:
        """It knows whom it greets, and is frozen."""
        hello = LinkHello.start(NODE.node_id, rng=RNG, aegis=True)
        self.assertEqual(hello.node_id, NODE.node_id)
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, hello, "_aegis", False)


class AnswerTests(SynchronousTestCase):
    """The responder."""

    def answered(self, options: dict[int, bytes], *, aegis: bool = True, seen: Address | None = None) -> Cipher:
        """What the responder chooses."""
        client = ClientHandshake.start(
            Proto.LINK, NODE.node_id, NODE.node_id.dh_key(), DHSecretKey(RNG(32)), encode_options(options)
        )
        cipher, reply = answer_hello(NODE, client.message, rng=RNG, clock=7, aegis=aegis, seen=seen)[1:]
        named = decode_options(client.finish(reply)[1])
        self.assertEqual((named[OPTION_CIPHERS], named[OPTION_CLOCK]), (bytes([cipher]), bytes(7) + b"\x07"))
        self.assertEqual(named.get(OPTION_SEEN), seen and seen.ip + seen.port.to_bytes(2, "big"))
        return cipher

    def test_choice(self) -> None:
        """AEGIS if it is offered and wanted; the address only if it is known; unknown options are ignored."""
        both = {OPTION_VERSIONS: b"\x01\x02", OPTION_CIPHERS: b"\x02\x01\x63", 77: b"x"}
        self.assertIs(self.answered(both), Cipher.AEGIS256)
        self.assertIs(self.answered(both, aegis=False, seen=Address(b"\x01" * 16, 9)), Cipher.SECRETBOX)
        self.assertIs(self.answered(both | {OPTION_CIPHERS: b"\x01"}), Cipher.SECRETBOX)

    def test_nothing_in_common(self) -> None:
        """Another version, or SecretBox not offered (it is mandatory): no link."""
        for options in (
            {},
            {OPTION_VERSIONS: b"\x02", OPTION_CIPHERS: b"\x01"},
            {OPTION_VERSIONS: b"\x01", OPTION_CIPHERS: b"\x02"},
            {OPTION_CIPHERS: b"\x01"},
        ):
            self.assertRaises(Malformed, self.answered, options)

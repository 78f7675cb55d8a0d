"""Messages: round trips, golden bytes, and everything that must be refused."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.test_address import ADDRESSES
from torpydo.crypto import SigningKey
from torpydo.errors import RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import EndReason, ExtendStatus
from torpydo.tpdp.messages import (
    CIRCUIT_TYPES,
    MAX_ANSWERS,
    MAX_HOST,
    Extend,
    Extended,
    Type,
    check_host,
    decode_begin,
    decode_connected,
    decode_credit,
    decode_end,
    decode_payload,
    decode_resolve,
    decode_resolved,
    encode_ack,
    encode_begin,
    encode_connected,
    encode_credit,
    encode_end,
    encode_message,
    encode_resolve,
    encode_resolved,
    encode_wanted_size,
)
from torpydo.wire import Malformed

NODE = SigningKey(b"\x01" * 32).node_id
HERE = Address(b"\x7f\x00\x00\x01", 6000)
HOSTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=MAX_HOST)
STREAM_TYPES = sorted(set(Type) - CIRCUIT_TYPES - {Type.WINDOW})
MESSAGES = st.one_of(
    st.tuples(st.sampled_from(sorted(CIRCUIT_TYPES)), st.just(0), st.binary(max_size=40)),
    st.tuples(st.sampled_from(STREAM_TYPES), st.integers(1, 2**32 - 1), st.binary(max_size=40)),
    st.tuples(st.just(Type.WINDOW), st.integers(0, 2**32 - 1), st.binary(max_size=40)),
)


class PayloadTests(SynchronousTestCase):
    """type u8 ‖ stream u32 ‖ length u16 ‖ data, several to a cell, zero-filled."""

    def test_numbers(self) -> None:
        """The types never change their numbers."""
        names = (
            "EXTEND EXTENDED BEGIN CONNECTED DATA CLOSE_WRITE END WINDOW RESOLVE RESOLVED PING PONG DROP"
            " ESTABLISH_INTRO INTRO_ESTABLISHED INTRODUCE1 INTRODUCE_ACK INTRODUCE2"
            " ESTABLISH_RENDEZVOUS RENDEZVOUS_ESTABLISHED RENDEZVOUS1 RENDEZVOUS2 INTRO_PUZZLE"
        )
        self.assertEqual({kind.name: kind.value for kind in Type}, dict(zip(names.split(), range(1, 24), strict=True)))

    @given(st.lists(MESSAGES, max_size=6), st.integers(0, 40))
    def test_round_trip(self, messages: list[tuple[Type, int, bytes]], fill: int) -> None:
        """Any messages come back in order, with or without fill."""
        payload = b"".join(encode_message(*message) for message in messages) + bytes(fill)
        self.assertEqual(decode_payload(payload), messages)

    def test_golden(self) -> None:
        """Header and data (protocol, section Messages)."""
        self.assertEqual(encode_message(Type.DATA, 0x01020304, b"hi").hex(), "050102030400026869")
        self.assertEqual(encode_message(Type.CLOSE_WRITE, 1).hex(), "06000000010000")

    @given(st.binary(max_size=80))
    def test_any_bytes_are_decoded_or_malformed(self, payload: bytes) -> None:
        """No bytes give another error, and what is decoded fills the cell exactly (row C7)."""
        try:
            messages = decode_payload(payload)
        except Malformed:
            return
        again = b"".join(encode_message(*message) for message in messages)
        self.assertEqual(again + bytes(len(payload) - len(again)), payload)

    def test_every_prefix_of_a_message_is_refused(self) -> None:
        """A message that runs over the end of its cell, in its header or its data."""
        whole = encode_message(Type.DATA, 0x01010101, b"\x01" * 300)
        for size in range(1, len(whole)):
            self.assertRaises(Malformed, decode_payload, whole[:size])

    def test_junk_after_the_last_message_is_refused(self) -> None:
        """Every place in the fill, every one of its bits (a covert channel)."""
        for place in range(9):
            for bit in range(8):
                fill = bytearray(10)
                fill[1 + place] = 1 << bit
                self.assertRaises(Malformed, decode_payload, encode_message(Type.DROP, 0) + bytes(fill))

    def test_unknown_types_are_refused(self) -> None:
        """Every number that is no type."""
        for kind in range(24, 256):
            for stream in (0, 1):
                self.assertRaises(Malformed, decode_payload, encode_message(kind, stream))

    def test_stream_must_fit_the_type(self) -> None:
        """Messages of the circuit have stream 0, those of a stream have another."""
        for kind in CIRCUIT_TYPES:
            self.assertRaises(Malformed, decode_payload, encode_message(kind, 1))
        for kind in STREAM_TYPES:
            self.assertRaises(Malformed, decode_payload, encode_message(kind, 0))

    def test_malformed_is_the_peers_fault(self) -> None:
        """Its owner catches RemoteProtocolError."""
        self.assertTrue(issubclass(Malformed, RemoteProtocolError))


class CutTests(SynchronousTestCase):
    """Data of a wrong length."""

    def check(self, decode: Callable[[bytes], object], good: bytes, *, may_be: frozenset[int] = frozenset()) -> None:
        """Every prefix of *good*, but those of the lengths *may_be*, and *good* with a byte more, are refused."""
        decode(good)
        for size in set(range(len(good))) - may_be:
            self.assertRaises(Malformed, decode, good[:size])
        self.assertRaises(Malformed, decode, good + b"\x01")

    def test_extend(self) -> None:
        """EXTEND, with either kind of address."""
        self.check(Extend.decode, Extend(NODE, HERE, b"\x05" * 512).encode())
        self.check(Extend.decode, Extend(NODE, Address(b"\x01" * 16, 1), b"\x05" * 512).encode())

    def test_extended(self) -> None:
        """EXTENDED with a relay message, and one without."""
        self.check(Extended.decode, Extended(ExtendStatus.OK, b"\x05" * 512).encode())
        self.check(Extended.decode, Extended(ExtendStatus.TIMEOUT).encode())

    def test_connected(self) -> None:
        """CONNECTED, with either kind of address."""
        self.check(decode_connected, encode_connected(HERE, 60))
        self.check(decode_connected, encode_connected(Address(b"\x01" * 16, 1), 60))

    def test_resolved(self) -> None:
        """RESOLVED may only end where an answer does."""
        self.check(decode_resolved, encode_resolved([(b"\x01" * 4, 1), (b"\x01" * 16, 2)]), may_be=frozenset({9}))

    def test_credit(self) -> None:
        """WINDOW on a stream."""
        self.check(decode_credit, encode_credit(70000))


class ExtendTests(SynchronousTestCase):
    """EXTEND and EXTENDED."""

    @given(ADDRESSES, st.binary(min_size=512, max_size=512))
    def test_round_trip(self, address: Address, message: bytes) -> None:
        """An EXTEND comes back."""
        extend = Extend(NODE, address, message)
        self.assertEqual(Extend.decode(extend.encode()), extend)

    def test_golden(self) -> None:
        """node id ‖ kind ‖ ip ‖ port ‖ message."""
        data = Extend(NODE, HERE, b"m" * 512).encode()
        self.assertEqual(data, NODE.raw + bytes.fromhex("047f0000011770") + b"m" * 512)

    def test_address_kind(self) -> None:
        """Only 4 and 6 are kinds of address."""
        data = bytearray(Extend(NODE, HERE, b"m" * 512).encode())
        for kind in set(range(256)) - {4}:
            data[32] = kind
            self.assertRaises(Malformed, Extend.decode, bytes(data))

    def test_node_id_that_is_no_key(self) -> None:
        """A node id that does not convert is the peer's fault."""
        data = Extend(NODE, HERE, b"m" * 512).encode()
        self.assertRaises(Malformed, Extend.decode, bytes(32) + data[32:])

    def test_extended_round_trip(self) -> None:
        """Every status, and only OK has a message."""
        for status in ExtendStatus:
            answer = Extended(status, b"r" * 512 if status is ExtendStatus.OK else b"")
            self.assertEqual(Extended.decode(answer.encode()), answer)
            self.assertEqual(answer.encode()[0], status)
            wrong = Extended(status, b"" if status is ExtendStatus.OK else b"r" * 512)
            self.assertRaises(Malformed, Extended.decode, wrong.encode())

    def test_unknown_status(self) -> None:
        """Every other number is refused."""
        for status in range(7, 256):
            self.assertRaises(Malformed, Extended.decode, bytes([status]))


class HostTests(SynchronousTestCase):
    """BEGIN and RESOLVE."""

    @given(HOSTS, st.integers(1, 65535))
    def test_round_trip(self, host: str, port: int) -> None:
        """Host and port come back."""
        self.assertEqual(decode_begin(encode_begin(host, port)), (host, port))
        self.assertEqual(decode_resolve(encode_resolve(host)), host)

    def test_golden(self) -> None:
        """port ‖ host; the host alone."""
        self.assertEqual(encode_begin("ab", 443).hex(), "01bb6162")
        self.assertEqual(encode_resolve("ab").hex(), "6162")

    def test_hosts_that_cannot_be(self) -> None:
        """Nothing, too much, blanks, controls, other letters: our caller's ValueError, the peer's Malformed."""
        for host in ("", "a" * 256, "a b", "a\0", "a\n", "a\x7f", "\xe9.example", "\u0131"):
            self.assertRaises(ValueError, check_host, host)
            self.assertRaises(Malformed, decode_resolve, host.encode())
            self.assertRaises(Malformed, decode_begin, b"\0\x50" + host.encode())

    def test_ports_that_cannot_be(self) -> None:
        """Port 0, and what does not fit in 16 bits."""
        for port in (0, -1, 65536):
            self.assertRaises(ValueError, encode_begin, "a", port)
        self.assertRaises(Malformed, decode_begin, b"\0\0a")

    def test_every_prefix_of_begin(self) -> None:
        """BEGIN without a host is refused."""
        for size in range(3):
            self.assertRaises(Malformed, decode_begin, encode_begin("a", 80)[:size])


class AnswerTests(SynchronousTestCase):
    """CONNECTED, RESOLVED, END, WINDOW."""

    @given(ADDRESSES, st.integers(0, 2**32 - 1))
    def test_connected(self, address: Address, ttl: int) -> None:
        """Address and time to live come back."""
        self.assertEqual(decode_connected(encode_connected(address, ttl)), (address, ttl))

    @given(st.lists(st.tuples(ADDRESSES.map(lambda one: one.ip), st.integers(0, 2**32 - 1)), min_size=1, max_size=40))
    def test_resolved(self, answers: list[tuple[bytes, int]]) -> None:
        """Answers come back in order, 32 of them at the most."""
        self.assertEqual(decode_resolved(encode_resolved(answers)), tuple(answers[:MAX_ANSWERS]))

    def test_golden(self) -> None:
        """The bytes of each."""
        self.assertEqual(encode_connected(HERE, 60).hex(), "047f00000117700000003c")
        self.assertEqual(encode_resolved([(b"\x01\x02\x03\x04", 5)]).hex(), "040102030400000005")
        self.assertEqual(encode_end(EndReason.RESET).hex(), "09")
        self.assertEqual(encode_credit(65536).hex(), "00010000")
        self.assertEqual(encode_ack(b"\x07" * 16).hex(), "01" + "07" * 16)
        self.assertEqual(encode_wanted_size(4).hex(), "0204")

    def test_resolved_with_too_few_or_too_many(self) -> None:
        """None, and 33."""
        self.assertRaises(Malformed, decode_resolved, b"")
        self.assertRaises(Malformed, decode_resolved, encode_resolved([(bytes(4), 1)]) * 33)

    def test_end(self) -> None:
        """Every reason comes back; one that is not known, or none, is MISC and no error (row C7)."""
        for number in range(256):
            known = number in list(EndReason)
            self.assertEqual(decode_end(bytes([number])), EndReason(number) if known else EndReason.MISC)
        self.assertEqual(decode_end(b""), EndReason.MISC)
        self.assertRaises(Malformed, decode_end, b"\x01\x01")

    def test_reasons(self) -> None:
        """The reasons never change their numbers."""
        self.assertEqual([EndReason.DONE, EndReason.MISC, EndReason.RESOLVE_TIMEOUT], [1, 2, 11])
        self.assertEqual([encode_end(reason)[0] for reason in EndReason], list(range(1, 12)))

    def test_credit_of_nothing(self) -> None:
        """A WINDOW that grants nothing says nothing, and is refused."""
        self.assertRaises(Malformed, decode_credit, bytes(4))

    @given(st.integers(1, 2**32 - 1))
    def test_credit(self, amount: int) -> None:
        """Credit comes back."""
        self.assertEqual(decode_credit(encode_credit(amount)), amount)

"""Tests of torpydo.directory.descriptor."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, OPEN, descriptor, document, fields, key, node_id, resign
from torpydo.crypto import DHPublicKey, Purpose
from torpydo.directory import (
    MAX_AGE,
    MAX_DESCRIPTOR,
    REPUBLISH_AFTER,
    Descriptor,
    Services,
    check_descriptor_times,
    parse_descriptor,
    sign_descriptor,
)
from torpydo.errors import DescriptorError, LocalProtocolError
from torpydo.tpdp import Address

DESCRIPTORS = st.builds(
    lambda ip, port, policy, family, name, bandwidth, protocols, sequence, published, keys, services, stamp: descriptor(
        "any",
        policy=policy,
        family=family,
        address=Address(ip, port),
        nickname=name,
        bandwidth=bandwidth,
        protocols=tuple(sorted(protocols)),
        sequence=sequence,
        published=published,
        onion_keys=tuple(map(DHPublicKey, keys)),
        services=Services(services),
        stamp=stamp,
    ),
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    st.integers(1, 65535),
    st.sampled_from(["", OPEN, "accept 127.0.0.0/8:*, reject *:25, accept *:80-443", "accept [2a00::]/16:443"]),
    st.sets(st.integers(0, 9), max_size=4),
    st.text("abcXYZ019._-", max_size=32),
    st.integers(0, 10**12),
    st.sets(st.integers(0, 65535), min_size=1, max_size=8),
    st.integers(1, 2**53),
    st.integers(0, 2**43),
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=2),
    st.integers(0, 255),
    st.just(b"") | st.binary(min_size=24, max_size=24),
)


def changed(place: int, value: Any) -> bytes:
    """A descriptor with one field replaced, correctly signed."""
    values = fields(document())
    values[place] = value
    return resign(values, key(0), Purpose.DESCRIPTOR)


def with_services(value: Any) -> bytes:
    """A descriptor that offers *value*, correctly signed."""
    return resign([*fields(document())[:13], value], key(0), Purpose.DESCRIPTOR)


def refused(raw: bytes) -> bool:
    try:
        parse_descriptor(raw)
    except DescriptorError:
        return True
    return False


class RoundTripTests(SynchronousTestCase):
    @given(DESCRIPTORS)
    def test_round_trip(self, made: Descriptor) -> None:
        """What was signed is read again."""
        self.assertEqual(parse_descriptor(sign_descriptor(made, key("any"))), made)

    def test_golden(self) -> None:
        """The body is the array of the protocol document, byte for byte, behind the signature."""
        raw = document("golden", policy="accept *:443", bandwidth=5)
        expected = "9f01c420" + node_id("golden").raw.hex() + "91c420" + "07" * 32
        expected += "c40414000101cd1770ac616363657074202a3a34343390aa6e6f6465676f6c64656e05a5302e312e309101"
        expected += "cf" + (NOW * 1000).to_bytes(8, "big").hex() + "ce" + NOW.to_bytes(4, "big").hex() + "00c400"
        self.assertEqual(raw[64:].hex(), expected)
        node_id("golden").verify(Purpose.DESCRIPTOR, raw[64:], raw[:64])

    def test_name(self) -> None:
        """A node is called by its nickname, or else by the beginning of its id."""
        self.assertEqual(descriptor(3).name, "node3")
        self.assertEqual(descriptor(3, nickname="").name, node_id(3).short)

    def test_fields_of_later_versions(self) -> None:
        """A later version may append fields; they are skipped."""
        values = [*fields(document()), "later", {"deep": [1]}]
        self.assertEqual(parse_descriptor(resign(values, key(0), Purpose.DESCRIPTOR)), descriptor())


class ServicesTests(SynchronousTestCase):
    """What a node says that it does beside relaying."""

    def test_round_trip(self) -> None:
        """Each of them alone, and all."""
        for services in (Services.NONE, Services.ONION, Services.DHT, Services.ONION | Services.DHT):
            made = descriptor(services=services)
            self.assertEqual(parse_descriptor(sign_descriptor(made, key(0))).services, services)

    def test_the_byte(self) -> None:
        """Its bits are those of the protocol document."""
        both = fields(document(services=Services.ONION | Services.DHT))
        self.assertEqual(both[13], 3)
        self.assertEqual([int(one) for one in (Services.ONION, Services.DHT)], [1, 2])

    def test_an_older_encoder(self) -> None:
        """A document without the field is one of a node that only relays."""
        values = fields(document(services=Services.DHT))[:13]
        read = parse_descriptor(resign(values, key(0), Purpose.DESCRIPTOR))
        self.assertEqual((read.services, read), (Services.NONE, descriptor()))

    def test_bits_that_mean_something_later(self) -> None:
        """They are kept, and those that are known mean what they mean."""
        for value in (0x80, 0xFE, 0xFF):
            read = parse_descriptor(with_services(value))
            self.assertEqual(int(read.services), value)
            self.assertEqual(bool(read.services & Services.DHT), bool(value & 2))
            again = parse_descriptor(sign_descriptor(read, key(0)))
            self.assertEqual(int(again.services), value)

    def test_no_bits(self) -> None:
        """Anything but one byte is refused."""
        for value in (-1, 256, None, "3", 1.0, [], True):
            self.assertTrue(refused(with_services(value)), value)


class SignTests(SynchronousTestCase):
    def test_stamps_of_other_sizes(self) -> None:
        """A stamp has 24 bytes, or there is none."""
        for size in (1, 8, 23, 25):
            self.assertRaises(DescriptorError, sign_descriptor, descriptor(stamp=bytes(size)), key(0))

    def test_an_earlier_version(self) -> None:
        """A document without the last field is one of a node without a stamp."""
        raw = resign(fields(document())[:14], key(0), Purpose.DESCRIPTOR)
        self.assertEqual(parse_descriptor(raw), descriptor())

    def test_foreign_key(self) -> None:
        """A node cannot sign for another."""
        self.assertRaises(LocalProtocolError, sign_descriptor, descriptor(1), key(2))

    def test_nothing_is_signed_that_would_be_refused(self) -> None:
        """A descriptor that breaks a limit is not signed."""
        wrong: list[dict[str, Any]] = [
            {"nickname": "a b"},
            {"onion_keys": ()},
            {"protocols": (2, 1)},
            {"bandwidth": -1},
        ]
        for overrides in wrong:
            self.assertRaises(DescriptorError, sign_descriptor, descriptor(**overrides), key(0))


class RefusalTests(SynchronousTestCase):
    def test_every_flipped_byte(self) -> None:
        """No byte of a document can be changed."""
        raw = document()
        for place in range(len(raw)):
            bad = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
            self.assertRaises(DescriptorError, parse_descriptor, bad)

    def test_every_prefix_and_a_trailing_byte(self) -> None:
        """A document that ends early, or late, is refused."""
        raw = document()
        for size in range(len(raw)):
            self.assertRaises(DescriptorError, parse_descriptor, raw[:size])
        self.assertRaises(DescriptorError, parse_descriptor, raw + b"\0")

    def test_signature_for_another_purpose(self) -> None:
        """A signature counts only for what it was made for."""
        values = fields(document())
        self.assertRaises(DescriptorError, parse_descriptor, resign(values, key(0), Purpose.LISTING))

    def test_bad_fields(self) -> None:
        """Each field has its form and its bounds, and a wrong one is refused although it is signed."""
        for place, value in (
            (0, 2), (0, True), (1, bytes(31)), (1, bytes(32)), (2, []), (2, [bytes(32)] * 3), (2, [bytes(33)]),
            (3, bytes(3)), (3, bytes(5)), (3, bytes(17)), (3, "1.2.3.4"), (4, 0), (4, 65536), (4, 1.0), (4, None),
            (5, ""), (5, "accept"), (5, "accept *:80,accept *:81"), (5, "reject *:*, accept *:1"), (5, "a" * 6001),
            (6, [bytes(32)]), (6, [node_id(1).raw] * 2), (6, sorted((node_id(1).raw, node_id(2).raw), reverse=True)),
            (6, sorted(node_id(i).raw for i in range(33))), (7, "a" * 33), (7, "é"), (7, "a\n"), (8, -1),
            (8, 10**12 + 1), (9, "a" * 33), (9, "1 2"), (10, []), (10, [2, 1]),
            (10, [1, 1]), (10, [65536]), (10, list(range(9))),
            (11, 0), (11, 2**53 + 1), (12, -1), (12, 2**43 + 1), (12, "1"),
            (13, -1), (13, 256), (14, bytes(1)), (14, bytes(23)), (14, bytes(25)), (14, "a" * 24), (14, None),
        ):  # fmt: skip
            self.assertTrue(refused(changed(place, value)), (place, value))

    def test_bodies_that_make_decoders_stumble(self) -> None:
        """Deep nesting, bad UTF-8, huge lengths and other shapes are malformed, nothing worse."""
        good = document()[64:]
        for body in (
            b"", b"\xc0", b"\x90", b"\x80", b"\x91" * 15_000, good[:0] + b"\x9e" + good[1:] + b"\x91" * 15_000,
            b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", good.replace(b"node0", b"nod\xff\xfe"),
            b"\x9d\x01\xc6\xff\xff\xff\xff",
        ):  # fmt: skip
            signed = key(0).sign(Purpose.DESCRIPTOR, body) + body
            self.assertRaises(DescriptorError, parse_descriptor, signed)

    def test_size(self) -> None:
        """A document has at most 20 000 bytes; one more is refused."""
        raw = document()
        # Three bytes before the new field, and two more before an array of 16.
        room = MAX_DESCRIPTOR - len(raw) - 5
        fits = resign([*fields(raw), bytes(room)], key(0), Purpose.DESCRIPTOR)
        self.assertEqual(len(fits), MAX_DESCRIPTOR)
        parse_descriptor(fits)
        too_long = resign([*fields(raw), bytes(room + 1)], key(0), Purpose.DESCRIPTOR)
        self.assertRaises(DescriptorError, parse_descriptor, too_long)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes at all are a DescriptorError."""
        self.assertRaises(DescriptorError, parse_descriptor, data)

    @given(st.binary(max_size=200), st.integers(0, 200))
    def test_any_bytes_after_a_good_beginning(self, tail: bytes, keep: int) -> None:
        """Any signed body is refused, or is a descriptor of its own node that is in bounds."""
        body = document()[64:][:keep] + tail
        raw = key(0).sign(Purpose.DESCRIPTOR, body) + body
        if not refused(raw):
            read = parse_descriptor(raw)
            self.assertEqual(parse_descriptor(sign_descriptor(read, key(0))), read)


class TimesTests(SynchronousTestCase):
    def check(self, **overrides: Any) -> None:
        check_descriptor_times(descriptor(**overrides), NOW)

    def test_numbers(self) -> None:
        """Tor's, in seconds and bytes (SECURITY N4, D6)."""
        self.assertEqual((MAX_AGE, REPUBLISH_AFTER, MAX_DESCRIPTOR), (172_800, 64_800, 20_000))

    def test_within(self) -> None:
        """Up to 48 h old and up to 12 h from the future is taken."""
        self.check()
        self.check(published=NOW - 48 * 3600)
        self.check(published=NOW + 12 * 3600, sequence=(NOW + 12 * 3600) * 1000)

    def test_too_old(self) -> None:
        """More than 48 h is too old, and the error says how old it is."""
        error = self.assertRaises(DescriptorError, self.check, published=NOW - 50 * 3600)
        self.assertIn("50 h old", str(error))
        self.assertRaises(DescriptorError, self.check, published=NOW - 48 * 3600 - 1)

    def test_future(self) -> None:
        """More than 12 h ahead is refused, by either time: a sequence from the future could never be replaced."""
        error = self.assertRaises(DescriptorError, self.check, published=NOW + 25 * 3600)
        self.assertIn("25 h in the future", str(error))
        error = self.assertRaises(DescriptorError, self.check, sequence=(NOW + 12 * 3600) * 1000 + 1)
        self.assertIn("12 h in the future", str(error))

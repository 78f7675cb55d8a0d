"""The messages of SOCKS."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.isolation import Credentials
from torpydo.apps.socks.messages import (
    Method,
    Reply,
    Request,
    UnknownAddressKind,
    login_answer,
    method_answer,
    read_greeting,
    read_login,
    read_request4,
    read_request5,
    reply4,
    reply5,
)
from torpydo.wire import Malformed, NeedMore, Reader

GREETING = bytes.fromhex("05020002")
LOGIN = b"\x01\x05alice\x02pw"
NAME5 = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"
IPV4_5 = bytes.fromhex("05010001010203040050")
IPV6_5 = bytes.fromhex("0501000420010db80000000000000000000000011f90")
IPV4_4 = b"\x04\x01\x00\x50\x01\x02\x03\x04me\x00"
NAME4 = b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00example.org\x00"

GOLDEN: list[tuple[Callable[[Reader], object], bytes, object]] = [
    (read_greeting, GREETING, b"\x00\x02"),
    (read_login, LOGIN, Credentials(b"alice", b"pw")),
    (read_login, b"\x01\x00\x00", Credentials(b"", b"")),
    (read_request5, NAME5, Request(5, 1, "example.org", 443, None)),
    (read_request5, IPV4_5, Request(5, 1, "1.2.3.4", 80, None)),
    (read_request5, IPV6_5, Request(5, 1, "2001:db8::1", 8080, None)),
    (read_request4, IPV4_4, Request(4, 1, "1.2.3.4", 80, Credentials(b"me", b""))),
    (read_request4, NAME4, Request(4, 1, "example.org", 443, Credentials(b"me", b""))),
    (read_request4, IPV4_4.replace(b"me", b""), Request(4, 1, "1.2.3.4", 80, Credentials(b"", b""))),
]


class ParserTests(SynchronousTestCase):
    """What comes from an application."""

    def test_golden(self) -> None:
        """Every message is read, and the bytes behind it are left."""
        for parse, data, value in GOLDEN:
            reader = Reader(data + b"behind")
            self.assertEqual(parse(reader), value)
            self.assertEqual(reader.rest(), b"behind")

    def test_every_prefix(self) -> None:
        """Every prefix of a message asks for more."""
        for parse, data, _ in GOLDEN:
            for end in range(len(data)):
                self.assertRaises(NeedMore, parse, Reader(data[:end]))

    def test_other_versions(self) -> None:
        """A first byte that is not the version is refused."""
        for parse, data, _ in GOLDEN:
            for version in set(range(256)) - {data[0]}:
                self.assertRaises(Malformed, parse, Reader(bytes([version]) + data[1:]))

    def test_unknown_address_kind(self) -> None:
        """A kind of address that does not exist is refused as soon as it is seen."""
        for kind in set(range(256)) - {1, 3, 4}:
            self.assertRaises(UnknownAddressKind, read_request5, Reader(bytes([5, 1, 0, kind])))

    def test_names_that_are_not_ascii(self) -> None:
        """A name with other bytes than ASCII becomes one that cannot exist."""
        request = read_request5(Reader(b"\x05\x01\x00\x03\x02\xc3\xa4\x00\x50"))
        self.assertEqual(request.host, "\ufffd\ufffd")

    def test_zero_address_is_no_name(self) -> None:
        """0.0.0.0 is SOCKS 4's own address, not the mark of 4a."""
        request = read_request4(Reader(b"\x04\x01\x00\x50\x00\x00\x00\x00\x00"))
        self.assertEqual(request.host, "0.0.0.0")

    @given(st.binary(max_size=255), st.binary(max_size=255))
    def test_any_login(self, user: bytes, password: bytes) -> None:
        """Any pair is read as it was sent."""
        data = bytes([1, len(user)]) + user + bytes([len(password)]) + password
        self.assertEqual(read_login(Reader(data)), Credentials(user, password))

    @given(st.binary(max_size=600))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes give a message, a wish for more, or a refusal."""
        for parse in (read_greeting, read_login, read_request4, read_request5):
            try:
                parse(Reader(data))
            except (NeedMore, Malformed):
                pass


class ReplyTests(SynchronousTestCase):
    """What goes to an application."""

    def test_golden(self) -> None:
        """The bytes of every kind of answer."""
        self.assertEqual(method_answer(Method.PASSWORD).hex(), "0502")
        self.assertEqual(method_answer(Method.NOT_ACCEPTABLE).hex(), "05ff")
        self.assertEqual(login_answer(True).hex(), "0100")
        self.assertEqual(login_answer(False).hex(), "0101")
        self.assertEqual(reply5(Reply.SUCCEEDED).hex(), "05000001000000000000")
        self.assertEqual(reply5(Reply.REFUSED).hex(), "05050001000000000000")
        self.assertEqual(reply5(Reply.SUCCEEDED, "1.2.3.4").hex(), "05000001010203040000")
        self.assertEqual(reply5(Reply.SUCCEEDED, "::1").hex(), "05000004" + "00" * 15 + "01" + "0000")
        self.assertEqual(reply4(Reply.SUCCEEDED).hex(), "005a000000000000")
        self.assertEqual(reply4(Reply.REFUSED).hex(), "005b000000000000")

    @given(st.ip_addresses())
    def test_any_address(self, address: IPv4Address | IPv6Address) -> None:
        """An answer to RESOLVE holds the address."""
        self.assertEqual(reply5(Reply.SUCCEEDED, str(address))[4:-2], address.packed)

    def test_credentials_are_not_shown(self) -> None:
        """A password never reaches a log by way of repr."""
        self.assertNotIn("secret", repr(Credentials(b"secret", b"secret")))

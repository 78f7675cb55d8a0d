"""Addresses: IP literals and a port, nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.tpdp.address import Address

ADDRESSES = st.builds(
    Address,
    st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    st.integers(0, 65535),
)


class AddressTests(SynchronousTestCase):
    """An address."""

    @given(ADDRESSES)
    def test_text_round_trip(self, address: Address) -> None:
        """What is written is read back."""
        self.assertEqual(Address.parse_text(str(address)), address)
        self.assertEqual(Address.parse(address.host, address.port), address)

    def test_golden(self) -> None:
        """IPv6 stands in brackets."""
        four, six = Address(b"\x01\x02\x03\x04", 80), Address.parse("::1", 443)
        self.assertEqual((str(four), four.host, repr(four)), ("1.2.3.4:80", "1.2.3.4", "<Address 1.2.3.4:80>"))
        self.assertEqual((str(six), six.host, six.ip), ("[::1]:443", "::1", bytes(15) + b"\x01"))

    def test_what_is_no_literal(self) -> None:
        """A name, a missing port, a port in other digits, brackets around IPv4: refused."""
        wrong = ("localhost:80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:٣", "[1.2.3.4]:80", "::1:80x", "[::1]")
        for text in wrong:
            self.assertRaises(ValueError, Address.parse_text, text)
        self.assertRaises(ValueError, Address.parse, "example.org", 80)

    def test_sizes_and_ports(self) -> None:
        """An IP has 4 or 16 bytes, a port 16 bits."""
        for size in (0, 3, 5, 15, 17):
            self.assertRaises(ValueError, Address, bytes(size), 80)
        self.assertRaises(ValueError, Address, bytes(4), -1)
        self.assertRaises(ValueError, Address, bytes(4), 65536)
        self.assertRaises(ValueError, Address.parse_text, "1.2.3.4:65536")

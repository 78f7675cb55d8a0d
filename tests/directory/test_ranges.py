"""Tests of torpydo.directory.ranges."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.directory.ranges import embeds_ipv4, is_local, is_loopback, is_private, private_range, subnet

PRIVATE = [
    "0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "224.0.0.0/4", "240.0.0.0/4", "::/8", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::ffff:0:0/96",
    "64:ff9b::/96", "2002::/16", "2001::/32",
]  # fmt: skip


def packed(text: str) -> bytes:
    return ip_address(text).packed


class RangesTests(SynchronousTestCase):
    def test_edges_of_each_private_range(self) -> None:
        """The first and the last address of each range that exits must refuse are private."""
        for text in PRIVATE:
            network = ip_network(text)
            for address in (network.network_address, network.broadcast_address):
                self.assertTrue(is_private(address.packed), text)

    @given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
    def test_against_a_list(self, ip: bytes) -> None:
        """An address is private exactly if one of the listed networks holds it."""
        address = ip_address(ip)
        expected = any(address in network for network in map(ip_network, PRIVATE) if network.version == address.version)
        self.assertEqual(is_private(ip), expected)

    def test_public_neighbours(self) -> None:
        """The addresses beside a range are public."""
        for text in ("9.255.255.255", "11.0.0.0", "100.63.255.255", "172.32.0.0", "223.255.255.255", "2001:1::"):
            self.assertFalse(is_private(packed(text)), text)
        self.assertIsNone(private_range(packed("1.1.1.1")))

    def test_range_of_an_address(self) -> None:
        """The range that holds an address comes with its two ends."""
        self.assertEqual(private_range(packed("10.1.2.3")), (packed("10.0.0.0"), packed("10.255.255.255")))

    def test_embedded_ipv4(self) -> None:
        """v4-mapped, NAT64, Teredo and 6to4 addresses stand for IPv4 ones."""
        for text in ("::ffff:1.2.3.4", "64:ff9b::1.2.3.4", "64:ff9b:1::1", "2001::1", "2002:7f00:1::"):
            self.assertTrue(embeds_ipv4(packed(text)), text)
        self.assertFalse(embeds_ipv4(packed("::1")))
        self.assertFalse(embeds_ipv4(packed("1.2.3.4")))

    def test_local_is_not_all_private(self) -> None:
        """Multicast and reserved addresses are no place for a pool."""
        for text in ("127.0.0.1", "192.168.1.1", "::1", "fd00::1"):
            self.assertTrue(is_local(packed(text)), text)
        for text in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::ffff:127.0.0.1", "8.8.8.8"):
            self.assertFalse(is_local(packed(text)), text)

    def test_loopback(self) -> None:
        """127/8 and ::1 are this machine."""
        self.assertTrue(is_loopback(packed("127.9.9.9")))
        self.assertTrue(is_loopback(packed("::1")))
        self.assertFalse(is_loopback(packed("10.0.0.1")))

    def test_subnets(self) -> None:
        """A subnet is an IPv4 /16 or an IPv6 /32, and the two are never the same."""
        self.assertEqual(subnet(packed("1.2.3.4")), subnet(packed("1.2.200.1")))
        self.assertNotEqual(subnet(packed("1.2.3.4")), subnet(packed("1.3.3.4")))
        self.assertEqual(subnet(packed("2a00:1:2::")), subnet(packed("2a00:1:3::")))
        self.assertNotEqual(subnet(packed("2a00:1::")), subnet(packed("2a00:2::")))
        self.assertNotEqual(subnet(bytes(4)), subnet(bytes(16)))

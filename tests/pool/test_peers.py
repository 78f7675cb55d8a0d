"""Tests of torpydo.pool.peers."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import host_key
from torpydo.pool.peers import peer_key


class KeyTests(SynchronousTestCase):
    """Which addresses count as one."""

    def test_ipv4(self) -> None:
        """Each IPv4 address is a host."""
        self.assertNotEqual(host_key(bytes([1, 2, 3, 4])), host_key(bytes([1, 2, 3, 5])))

    def test_ipv6(self) -> None:
        """An IPv6 /64 is one host, the next one is another."""
        first, same, other = (ip_address(text).packed for text in ("2a00::1", "2a00::ffff:1", "2a00:0:0:1::1"))
        self.assertEqual(host_key(first), host_key(same))
        self.assertNotEqual(host_key(first), host_key(other))

    def test_mapped(self) -> None:
        """An IPv4 address in IPv6 form is the IPv4 host."""
        self.assertEqual(host_key(ip_address("::ffff:1.2.3.4").packed), bytes([1, 2, 3, 4]))

    def test_peers(self) -> None:
        """A connection has the key of its host; other ports and zones change nothing."""
        self.assertEqual(peer_key(IPv4Address("TCP", "1.2.3.4", 5)), bytes([1, 2, 3, 4]))
        self.assertEqual(peer_key(IPv6Address("TCP", "::ffff:1.2.3.4", 5)), bytes([1, 2, 3, 4]))
        self.assertEqual(peer_key(IPv6Address("TCP", "fe80::1%eth0", 5)), ip_address("fe80::").packed[:8])

    def test_this_machine(self) -> None:
        """This machine has no key: a reverse proxy speaks for everybody."""
        for address in (
            IPv4Address("TCP", "127.0.3.2", 5),
            IPv6Address("TCP", "::1", 5),
            IPv6Address("TCP", "::ffff:127.0.0.1", 5),
            UNIXAddress("/run/pool"),
            HostnameAddress(b"example.org", 5),
            IPv4Address("TCP", "not an address", 5),
            None,
        ):
            self.assertIsNone(peer_key(address))

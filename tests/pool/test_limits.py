"""Tests of torpydo.pool.limits."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.pool.limits import MAX_BUCKETS, Buckets, host_key, peer_key


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


class BucketsTests(SynchronousTestCase):
    """Token buckets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.buckets = Buckets(self.clock.seconds, rate=0.5, burst=3)

    def test_burst(self) -> None:
        """As many as the burst pass at once, and no more."""
        self.assertEqual([self.buckets.take(b"a") for _ in range(4)], [True, True, True, False])

    def test_refill(self) -> None:
        """Tokens come back at the rate, up to the burst."""
        for _ in range(3):
            self.buckets.take(b"a")
        self.clock.advance(1.9)
        self.assertFalse(self.buckets.take(b"a"))
        self.clock.advance(0.2)
        self.assertTrue(self.buckets.take(b"a"))
        self.clock.advance(1000)
        self.assertEqual([self.buckets.take(b"a") for _ in range(4)], [True, True, True, False])

    def test_keys_are_apart(self) -> None:
        """One key does not use another's tokens."""
        for _ in range(4):
            self.buckets.take(b"a")
        self.assertTrue(self.buckets.take(b"b"))

    def test_prune(self) -> None:
        """A bucket that is full again is forgotten, another is not."""
        self.buckets.take(b"a")
        self.clock.advance(4)
        self.buckets.take(b"b")
        self.clock.advance(2.5)
        self.buckets.prune()
        self.assertEqual(len(self.buckets), 1)

    def test_bounded(self) -> None:
        """Many keys over a long time are not kept."""
        for number in range(MAX_BUCKETS + 5):
            self.clock.advance(1)
            self.buckets.take(number.to_bytes(4, "big"))
        self.assertLess(len(self.buckets), 20)

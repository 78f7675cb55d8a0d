"""Tests of torpydo.node.config."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id, url
from torpydo.errors import ConfigurationError
from torpydo.node import Advertised, NodeConfig
from torpydo.testing import SimulatedReactor
from torpydo.tpdp import Address


class AdvertisedTests(SynchronousTestCase):
    """HOST:PORT as an operator writes it."""

    def test_name(self) -> None:
        """A name has no address yet."""
        made = Advertised.parse("node.example.org:6000")
        self.assertEqual((made.host, made.port, made.address), ("node.example.org", 6000, None))

    def test_ipv4(self) -> None:
        """An IPv4 address is one."""
        self.assertEqual(Advertised.parse("203.0.113.5:6000").address, Address.parse("203.0.113.5", 6000))

    def test_ipv6(self) -> None:
        """An IPv6 address stands in brackets."""
        made = Advertised.parse("[2001:db8::1]:6000")
        self.assertEqual(made.address, Address.parse("2001:db8::1", 6000))
        self.assertEqual(str(made), "[2001:db8::1]:6000")

    def test_refused(self) -> None:
        """Everything else is refused, and named."""
        for text in (
            "",
            "host",
            "host:",
            ":6000",
            "host:0",
            "host:65536",
            "host:x",
            "host:٣",
            "2001:db8::1:6000",
            "[203.0.113.5]:6000",
            "[host]:6000",
            "ho st:6000",
            "http://host:6000",
            "a" * 64 + ".org:6000",
        ):
            error = self.assertRaises(ConfigurationError, Advertised.parse, text)
            self.assertIn(repr(text), str(error))


class NodeConfigTests(SynchronousTestCase):
    """What cannot be used is refused before anything starts."""

    def make(self, **overrides: Any) -> NodeConfig:
        """A configuration that works, but for *overrides*."""
        values: dict[str, Any] = {
            "endpoint": TCP4ServerEndpoint(SimulatedReactor(), 6000),
            "listen": "tcp:6000",
            "pools": (url(),),
            "state_dir": None,
        }
        return NodeConfig(**values | overrides)

    def test_defaults(self) -> None:
        """Exits are closed by default."""
        self.assertFalse(self.make().exit_policy.is_open)

    def test_refused(self) -> None:
        """Each of these is a configuration error."""
        for overrides in (
            {"pools": ()},
            {"nickname": "a" * 33},
            {"nickname": "a b"},
            {"nickname": "ü"},
            {"family": frozenset(node_id(number) for number in range(33))},
            {"bandwidth": 0},
            {"bandwidth": -1},
            {"bandwidth": 10**12 + 1},
            {"workers": 0},
            {"workers": 65},
        ):
            self.assertRaises(ConfigurationError, self.make, **overrides)

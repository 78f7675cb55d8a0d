"""Tests of torpydo.pool.limits: what an operator reads is what counts."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import ConfigurationError
from torpydo.pool.limits import DEFAULT_LIMITS, PoolLimits

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "run-a-pool.rst"


class PoolLimitsTests(SynchronousTestCase):
    """The limits as options."""

    def test_documented(self) -> None:
        """The guide has every limit, with its default and its unit, and no other."""
        rows = re.findall(r"^    \* - ``([a-z-]+)``\n      - ([0-9.]+) (.+)\n", GUIDE.read_text(), re.MULTILINE)
        documented = {name: (float(default), unit) for name, default, unit in rows}
        known = {limit.name: (float(limit.default), limit.unit) for limit in PoolLimits.known()}
        self.assertEqual(documented, known)

    def test_parse(self) -> None:
        """A limit is changed by its name; the others keep their default."""
        limits = PoolLimits.parse(["nodes-per-host=5", "request-time=2.5", "header-bytes=8K"])
        self.assertEqual((limits.nodes_per_host, limits.request_time, limits.header_bytes), (5, 2.5, 8192))
        self.assertEqual(limits.connections, DEFAULT_LIMITS.connections)

    def test_refused(self) -> None:
        """What is no limit, or no value for one, is refused."""
        for words in ("nodes-per-host", "nodes-per-host=0", "nodes-per-host=2.5", "colour=red", "headers=3"):
            self.assertRaises(ConfigurationError, PoolLimits.parse, [words])

    def test_test_network(self) -> None:
        """A test network is without the limits by address, and only those."""
        lifted = {limit.name for limit in PoolLimits.known() if limit.lifted}
        self.assertEqual(
            lifted,
            {
                "connections-per-host",
                "heartbeats-per-host",
                "heartbeats-per-host-burst",
                "probes-per-host",
                "probes-per-host-burst",
                "probes-per-second",
                "probes-burst",
                "nodes-per-host",
            },
        )

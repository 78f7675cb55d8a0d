"""A node that does wrong among real processes: the same deeds as in tests/network/test_evil."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import LOOPBACK, Network, free_port

MEBIBYTE = 1 << 20
PROGRAM = Path(__file__).with_name("evil_bed.py")


class EvilTests(SynchronousTestCase):
    """A network of its own: nobody else should build circuits through that node."""

    def test_deeds(self) -> None:
        """As guard and in the middle: what it changes, repeats or swallows tears the stream; nothing looks whole."""
        network = Network(nodes=3)
        self.addCleanup(network.close)
        network.start()
        done = network.program(
            sys.executable, PROGRAM, network.pool_url, str(free_port()), LOOPBACK, str(network.web_port), timeout=120.0
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        for name, result in json.loads(done.stdout).items():
            if name.startswith("good"):
                self.assertEqual(result["ended"], "ConnectionDone", name)
                self.assertGreater(result["size"], MEBIBYTE, name)
            else:
                self.assertEqual(result["ended"], "ConnectionLost", name)
                self.assertLess(result["size"], MEBIBYTE, name)
                self.assertGreater(result["deeds"], 0, name)

"""A FaultProxy on real sockets does what it does in memory."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import ENVIRONMENT

DATA = bytes(range(100))


@functools.cache
def results() -> dict[str, Any]:
    """What the program has seen."""
    program, root = [sys.executable, "-m", "tests.integration.fault_bed"], Path(__file__).parents[2]
    done = subprocess.run(program, cwd=root, capture_output=True, env=ENVIRONMENT, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class RealSocketTests(SynchronousTestCase):
    """One fault after another, on 127.0.0.1."""

    def arrived(self, name: str) -> bytes:
        """What came through."""
        return bytes.fromhex(results()[name]["data"])

    def test_none(self) -> None:
        """Without a fault, and when the proxy listens again, everything arrives."""
        for name in ("none", "again"):
            self.assertEqual(self.arrived(name), DATA)
        self.assertEqual(results()["none"]["done"], 0)

    def test_time(self) -> None:
        """Delays and slow lines take their time; machines add what they like."""
        for name, seconds in (("delay", 0.3), ("rate", 0.2)):
            self.assertEqual(self.arrived(name), DATA)
            self.assertGreater(results()[name]["seconds"], seconds)
        self.assertEqual(self.arrived("split"), DATA)
        self.assertGreater(len(results()["split"]["pieces"]), 1)

    def test_bytes(self) -> None:
        """Changed, put in, left out, twice."""
        self.assertEqual(self.arrived("flip"), DATA[:7] + b"\x0f" + DATA[8:])
        self.assertEqual(self.arrived("insert"), DATA[:50] + b"xyz" + DATA[50:])
        self.assertEqual(self.arrived("drop"), DATA[:10] + DATA[15:])
        self.assertEqual(self.arrived("duplicate"), DATA[:15] + DATA[10:15] + DATA[15:])

    def test_ends(self) -> None:
        """What came before an end arrives, and the end is the right one, for both."""
        for name in ("truncate", "half-close", "reset", "black hole"):
            self.assertEqual(self.arrived(name), DATA[:40], name)
        self.assertEqual(results()["truncate"]["target"][:1], ["eof"])
        self.assertEqual((results()["half-close"]["target"], results()["half-close"]["source"]), (["eof"], []))
        reset = results()["reset"]
        self.assertEqual((reset["target"], reset["source"]), (["ConnectionLost"], ["ConnectionLost"]))
        self.assertEqual((results()["black hole"]["target"], results()["black hole"]["source"]), ([], []))

    def test_freeze(self) -> None:
        """Nothing is read; afterwards it is all there."""
        freeze = results()["freeze"]
        self.assertEqual((freeze["before"], freeze["read"], freeze["after"]), (0, 0, 4_000_000))

    def test_refuse(self) -> None:
        """By the kernel, as if nobody were there."""
        self.assertEqual(results()["refuse"], "refused")

    def test_records_of_a_link(self) -> None:
        """An end that gives its keys makes records known; the other end does not take them in another order."""
        link = results()["link"]
        self.assertEqual((link["owner"], link["done"]), (1, 1))
        self.assertEqual(len(link["node"]), 1)
        self.assertIn("does not open", link["node"][0])

    def test_stop(self) -> None:
        """Nothing is left, not even of connections that were held."""
        self.assertEqual(results()["stop"], {"left": 0, "connections": 0})
        self.assertEqual(results()["calls"], [])

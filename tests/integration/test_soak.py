"""The soak on real processes, for some seconds: its table, its exit status, and what it leaves behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Process, wait_for

ROOT = Path(__file__).parents[2]
# Seconds; the processors may be shared with other tests.
LONG = 110.0
# A small network on a machine that may be busy.
SMALL = ("--pools=1", "--nodes=5", "--clients=1", "--patience=8", "--seed=1")


class SoakTests(SynchronousTestCase):
    """``python -m tests.soak``."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def start(self, *options: str) -> Process:
        """Start it in a directory of its own, which has its output, too."""
        command = [sys.executable, "-m", "tests.soak", f"--directory={self.directory}", *SMALL, *options]
        process = Process("soak", self.directory, "env", f"PYTHONPATH={ROOT}", *command)
        # Its processes end with it, however it ends.
        self.addCleanup(process.end)
        return process

    def made(self) -> list[str]:
        """What is in the directory beside the output."""
        return [path.name for path in self.directory.iterdir() if path.name != "soak.log"]

    def processes(self) -> dict[int, str]:
        """The command lines of the processes that work in the directory, by their ids."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(self.directory) in line:
                found[int(path.parent.name)] = line
        return found

    def test_a_short_run(self) -> None:
        """It restarts nodes, makes faults, counts every transfer, passes, and leaves nothing."""
        process = self.start("--time=12s", "--faults=33")
        status, out = process.wait(LONG), process.output
        self.assertEqual(status, 0, out)
        counts = re.search(r"transfers: (\d+); (\d+) ok, \d+ failed with a correct error, \d+ wrong, 0 corrupt", out)
        assert counts is not None, out
        self.assertGreater(int(counts[2]), 10)
        restarts = re.search(r"restarts of nodes: (\d+)", out)
        assert restarts is not None, out
        self.assertGreaterEqual(int(restarts[1]), 3)
        self.assertRegex(out, r"\n  33 +streams opened and reset +held +50 x 2: ")
        self.assertRegex(out, r"\n  node1 +\d+ +\d+\.\d")
        self.assertTrue(out.endswith("passed\n"), out)
        self.assertEqual(self.made(), [])
        self.assertEqual(self.processes(), {})

    def test_a_process_that_ends(self) -> None:
        """It is a breach, it is started again, and the logs are kept; Ctrl-C ends the run with its table."""
        process = self.start("--time=1h", "--faults=none")
        wait_for(lambda: "the network is up" in process.output, "the network is up", LONG)
        [node] = [pid for pid, line in self.processes().items() if "--nickname=node1\0" in line]
        os.kill(node, signal.SIGKILL)
        wait_for(lambda: any(self.directory.glob("*/node1.2.log")), "the node is started again", LONG)
        os.kill(process.pid, signal.SIGINT)
        status, out = process.wait(LONG), process.output
        self.assertEqual(status, 130, out)
        self.assertRegex(out, r"BREACH: node1 ended by itself \(.*signal 9")
        self.assertRegex(out, r"\nfailed: \d+ breaches\n")
        logs = re.search(r"the logs are in (\S+)", out)
        assert logs is not None, out
        self.assertTrue((Path(logs[1]) / "node1.1.log").exists())
        self.assertEqual(self.processes(), {})

    def test_a_wrong_option(self) -> None:
        """It is said in one line, before anything starts."""
        process = self.start("--time=1d")
        status, out = process.wait(LONG), process.output
        self.assertEqual(status, 2, out)
        self.assertIn("'1d' is no time", out)
        self.assertEqual(self.made(), [])

"""A disk on which nothing can be written any more, not even the log: as a limit on the size of files (fault 21).

tests/network/test_full_disk looks at what each part says; here SQLite, the log and the processes are the real ones.
"""

from __future__ import annotations

import hashlib
import resource
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.processes import LOOPBACK, digest, missing, shared_network, wait_for


class FullDiskTests(SynchronousTestCase):
    """A network that runs."""

    skip = None if sys.platform == "linux" else "only Linux can limit other processes"

    def setUp(self) -> None:
        if (reason := missing("curl")) is not None:
            raise SkipTest(reason)
        self.network = shared_network()
        self.pids = [self.network.processes[name].pid for name in ("pool", "client", *self.network.node_ports)]

    def limit_files(self, size: int) -> None:
        """No file may become larger than that; what is there stays."""
        for pid in self.pids:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if size >= 0 else hard, hard))

    def fetch(self) -> None:
        """A mebibyte, whole."""
        done = self.network.curl(self.network.url(1))
        self.assertEqual((done.returncode, hashlib.sha256(done.stdout).hexdigest()), (0, digest(1)), done.stderr)

    def logs(self) -> dict[Path, int]:
        """How much each process has written."""
        return {process.log: process.log.stat().st_size for process in self.network.processes.values()}

    def listing(self) -> bytes:
        """What the pool signs now: every few seconds something else, for whoever asks."""
        done = self.network.program("curl", "-sSf", f"http://{LOOPBACK}:{self.network.pool_port}/v1/listing")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_everything_goes_on(self) -> None:
        """The pool signs, circuits are built and bytes go through them; nothing is written, and nobody falls."""
        self.limit_files(0)
        self.addCleanup(self.limit_files, -1)
        logs, before = self.logs(), self.listing()
        self.fetch()
        wait_for(lambda: self.listing() != before, "the pool signs another listing, whose sequence it cannot keep")
        self.fetch()
        self.assertEqual(self.logs(), logs)
        self.limit_files(-1)
        self.fetch()
        for name in ("pool", "client", *self.network.node_ports):
            self.assertIsNone(self.network.processes[name].status)
            self.assertNotIn("Traceback", self.network.processes[name].output)

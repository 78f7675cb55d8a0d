"""The processes of all commands, as another process of the same user sees them: there is nothing to see (SECURITY X5).

Root may look into everything, so here even root goes without the capability for that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import BIN, ENVIRONMENT, LOOPBACK, Process, accepts, free_port, wait_for
from tests.integration.test_workers import children
from torpydo.net import DEBUGGABLE

PLAIN = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 19, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_PTRACE: refused to who has none
if sys.argv[1] == "hardened":
    del os.environ["{DEBUGGABLE}"]
os.execvp(sys.argv[2], sys.argv[2:])
"""
LOOK = """
import os, sys
open(f"/proc/{sys.argv[1]}/environ", "rb").read(1)
open(f"/proc/{sys.argv[1]}/mem", "rb").close()
os.listdir(f"/proc/{sys.argv[1]}/fd")
"""


class HardeningTests(SynchronousTestCase):
    """Pool, node, worker and client."""

    skip = None if sys.platform == "linux" else "only Linux can do that"

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="torpydo-hardening-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def twistd(self, name: str, kind: str, *options: str) -> Process:
        """Start a service, hardened unless *kind* says otherwise, with no right to look into other processes."""
        state = f"--state-dir={self.directory / name}-state"
        service = f"torpydo-{name.rstrip('0123456789')}"
        command = [BIN / "twistd", "-n", "--pidfile=", service, state, *options]
        process = Process(name, self.directory, sys.executable, "-c", PLAIN, kind, *command)
        self.addCleanup(process.end)
        return process

    def pool(self, name: str, kind: str) -> Process:
        """A pool that listens."""
        port = free_port()
        process = self.twistd(name, kind, f"--listen=tcp:{port}:interface={LOOPBACK}", "--test-network")
        url = self.directory / f"{name}-state" / "pool.url"
        wait_for(lambda: (accepts(port) and url.exists()) or process.status is not None, "the pool listens")
        return process

    def can_be_seen(self, pid: int) -> bool:
        """Whether a process of the same user, with no more rights, sees its memory, environment and files."""
        command = [sys.executable, "-c", PLAIN, "prober", sys.executable, "-I", "-S", "-c", LOOK, str(pid)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=30.0, check=False)
        if done.returncode:
            self.assertIn(b"PermissionError", done.stderr)
        return done.returncode == 0

    def test_nobody_looks_in(self) -> None:
        """None of the four kinds of processes can be looked into, leaves a core file, or makes files for others."""
        pool = self.pool("pool1", "hardened")
        url = (self.directory / "pool1-state" / "pool.url").read_text().strip()
        listen = f"--listen=tcp:{free_port()}:interface={LOOPBACK}"
        node = self.twistd("node1", "hardened", f"--pool={url}", listen, "--workers=2")
        socks = free_port()
        proxy = f"--socks=tcp:{socks}:interface={LOOPBACK}"
        client = self.twistd("client1", "hardened", f"--pool={url}", "--http=", proxy)
        wait_for(lambda: " lists this node" in node.output or node.status is not None, "the node works")
        wait_for(lambda: accepts(socks) or client.status is not None, "the client works")
        self.assertEqual([(one.status, one.output) for one in (node, client) if one.status is not None], [])
        workers = children(node.pid)
        self.assertEqual(len(workers), 2)
        for pid in (pool.pid, node.pid, client.pid, *workers):
            self.assertFalse(self.can_be_seen(pid))
            limits = Path(f"/proc/{pid}/limits").read_text()
            self.assertRegex(limits, r"Max core file size +0 +0 +bytes")
            self.assertIn("Umask:\t0077", Path(f"/proc/{pid}/status").read_text())
        for process in (client, node, pool):
            self.assertEqual(process.end(), 0, process.output)

    def test_who_wants_to_look_in(self) -> None:
        """With the variable for it, which is also the proof that the other test could see something."""
        self.assertTrue(self.can_be_seen(self.pool("pool2", "debuggable").pid))

"""A node that may have few file descriptors, and is flooded with connections (SECURITY D4, D5, section 3 case 28)."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from unittest import TestCase

from tests.integration.processes import BIN, LOOPBACK, Process, accepts, free_port, wait_for

MOST = 128
CONNECTIONS = 500


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has kept it."""
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


class DescriptorTests(TestCase):
    """A node that nobody lists."""

    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, directory)
        self.port = free_port()
        options = (
            f"--listen=tcp:{self.port}:interface={LOOPBACK}",
            f"--pool=http://{LOOPBACK}:{free_port()}/",
            f"--state-dir={directory / 'state'}",
            # All of them come from one address, which would be refused after the first forty.
            "--limit=connects-burst=5000",
            "--limit=links-pending-per-host=1000",
        )
        command = f"ulimit -n {MOST}; exec {BIN}/twistd -n --pidfile= torpydo-node {' '.join(options)}"
        self.node = Process("node", directory, "/bin/sh", "-c", command)
        self.addCleanup(self.node.end)
        wait_for(lambda: accepts(self.port) or self.node.status is not None, "the node listens")

    def connect(self) -> socket.socket:
        """Begin a connection."""
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.setblocking(False)
        self.assertIn(connection.connect_ex((LOOPBACK, self.port)), (0, errno.EINPROGRESS))
        return connection

    def test_a_flood(self) -> None:
        """Who says nothing has a quarter of them; the node does not spin, logs no traceback, and goes on afterwards."""
        flood = [self.connect() for _ in range(CONNECTIONS)]
        before = processor_seconds(self.node.pid)
        time.sleep(3.0)
        self.assertLess(processor_seconds(self.node.pid) - before, 0.2 * 3.0)
        self.assertLessEqual(len([one for one in flood if is_open(one)]), MOST // 4)
        for one in flood:
            one.close()
        time.sleep(2.0)
        connection = self.connect()
        time.sleep(0.5)
        self.assertTrue(is_open(connection))
        self.assertEqual(self.node.end(), 0)
        self.assertIn("128 file descriptors only", self.node.output)
        self.assertIn("LimitNOFILE=", self.node.output)
        self.assertNotIn("Traceback", self.node.output)
        self.assertNotIn("EMFILE", self.node.output)

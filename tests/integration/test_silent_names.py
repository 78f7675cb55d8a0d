"""A node whose name server says nothing, and that is to stop (SECURITY Z3): it does not wait for an answer."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import LOOPBACK, Process, free_port, wait_for
from torpydo.crypto import Secret, SigningKey

SILENT = """
import socket, sys, time
def getaddrinfo(*question, **options):
    print("asked for", question[0], flush=True)
    time.sleep(60)
    raise socket.gaierror("no answer")
socket.getaddrinfo = getaddrinfo
from twisted.scripts.twistd import run
run()
"""


class SilentNamesTests(SynchronousTestCase):
    """A real process, because only there threads answer."""

    def test_stop(self) -> None:
        """In the usual time, while lookups run."""
        directory = Path(tempfile.mkdtemp(prefix="torpydo-names-"))
        self.addCleanup(shutil.rmtree, directory)
        pool = SigningKey(Secret(b"p" * 32)).node_id
        service = ["-n", "--pidfile=", "torpydo-node", f"--state-dir={directory / 'state'}"]
        where = [f"--listen=tcp:{free_port()}:interface={LOOPBACK}", "--advertise=node.example:6000"]
        options = [*where, f"--pool=http://{LOOPBACK}:{free_port()}/#{pool}"]
        node = Process("node", directory, sys.executable, "-c", SILENT, *service, *options)
        self.addCleanup(node.end)
        wait_for(lambda: "asked for node.example." in node.output or node.status is not None, "a lookup begins")
        os.kill(node.pid, signal.SIGTERM)
        self.assertEqual(node.wait(10), 0, node.output)

"""Tests of torpydo.taps.unixsocket."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.taps.unixsocket import OPEN, PRIVATE, UnixEndpoint, server_endpoint
from torpydo.testing import LeakGuard


class WordsTests(SynchronousTestCase):
    """What an operator may write."""

    def test_a_unix_socket(self) -> None:
        """Its mode is the one that is meant if none is said, in whatever way it can be said."""
        for text, mode in (
            ("unix:/run/x", 0o600), ("unix:address=/run/x", 0o600), ("unix:/run/x:mode=660", 0o660),
            ("unix:/run/x:666", 0o666), ("unix:/run/x:mode=666:lockfile=0", 0o666),
        ):  # fmt: skip
            self.assertEqual(server_endpoint(None, text, PRIVATE), UnixEndpoint(None, "/run/x", 50, mode), text)
        self.assertEqual(server_endpoint(None, "unix:/run/x:backlog=9"), UnixEndpoint(None, "/run/x", 9, OPEN))

    def test_anything_else(self) -> None:
        """It is Twisted's, and so is what is wrong with it."""
        self.assertIsInstance(server_endpoint(None, "tcp:9050"), TCP4ServerEndpoint)
        for text, error in (("unix:", ValueError), ("unix:/x:colour=red", TypeError), ("unix:/x:mode=rw", ValueError),
                            ("nonsense:1", ValueError), ("tcp", TypeError)):  # fmt: skip
            self.assertRaises(error, server_endpoint, None, text)


class ListenTests(SynchronousTestCase):
    """What is there already."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.directory = Path(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "x.sock"
        guard = LeakGuard()
        guard.allow_unix(str(self.path))
        self.enterContext(guard)

    def listen(self) -> None:
        """Listen there, without a lock that names a process."""
        self.successResultOf(server_endpoint(self.reactor, f"unix:{self.path}", PRIVATE).listen(Factory()))
        [(path, _, _, mode, lock)] = self.reactor.unixServers
        self.assertEqual((path, mode, lock), (str(self.path), PRIVATE, False))

    def bind(self) -> socket.socket:
        """Somebody else's socket, on which nobody listens yet."""
        bound = socket.socket(socket.AF_UNIX)
        self.addCleanup(bound.close)
        bound.bind(str(self.path))
        return bound

    def test_nothing(self) -> None:
        """That is how it should be."""
        self.listen()

    def test_what_a_killed_process_left(self) -> None:
        """It is removed, whatever process its lock names: that one is another by now."""
        self.bind().close()
        os.symlink("1", f"{self.path}.lock")
        self.listen()
        self.assertFalse(self.path.exists())

    def test_another_listens(self) -> None:
        """Its socket stays, and listening fails as it does with a port."""
        listener = self.bind()
        listener.listen(0)
        self.listen()
        self.assertTrue(self.path.is_socket())
        # That was one connection, and no other is taken now: it is not taken for nobody.
        self.reactor.unixServers.clear()
        self.listen()
        self.assertTrue(self.path.is_socket())

    def test_something_else(self) -> None:
        """No file is ever removed, nor what a link points to."""
        self.path.write_text("dear diary")
        self.listen()
        self.assertEqual(self.path.read_text(), "dear diary")
        self.path.rename(self.directory / "diary")
        self.path.symlink_to(self.directory / "diary")
        self.reactor.unixServers.clear()
        self.listen()
        self.assertTrue(self.path.is_symlink())

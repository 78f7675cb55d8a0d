"""Disks that are full or broken under everything that runs, and a disk that is well again (fault 21)."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from typing import Any

from twisted.internet.endpoints import connectProtocol
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from tests.net.test_statefaults import CHANGES
from tests.network.base import NetworkTestCase
from tests.network.oracle import Oracle
from tests.testing.recorders import Recorder
from torpydo.net import state as module
from torpydo.node.onionkeys import ROTATE_AFTER
from torpydo.node.parts import LOOK_AGAIN
from torpydo.testing import LocalNetwork


class BrokenDisk:
    """Stands in for ``os`` in the state directories: every change fails while it is broken.

    :ivar refused: how often each call failed
    """

    def __init__(self, code: int) -> None:
        self.code: int | None = None
        self.refused: Counter[str] = Counter()
        self._code = code

    def break_down(self, broken: bool = True) -> None:
        """From now on nothing can be written, or everything again."""
        self.code = self._code if broken else None

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGES or self.code is None:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            # Reading works: a disk that is full can be read.
            if name == "close" or (name == "open" and not arguments[1] & os.O_CREAT):
                return real(*arguments, **options)
            self.refused[name] += 1
            raise OSError(self.code, "broken")

        return call


@implementer(ILogObserver)
class Warnings:
    """Collects what operators and users are warned of."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if event["log_level"].name in ("warn", "error", "critical") and event["log_namespace"].startswith("torpydo."):
            self.events.append(event)


class FullDiskTests(NetworkTestCase):
    """A pool, nodes and a client that keep their state on a disk that fails while they run."""

    def setUp(self) -> None:
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.warnings = Warnings()

    def run_network(self, code: int) -> tuple[LocalNetwork, BrokenDisk]:
        """A network with files."""
        disk = BrokenDisk(code)
        self.patch(module, "os", disk)
        network = self.network = LocalNetwork(nodes=3)
        self.addCleanup(self.finish, network)
        for member in (network.pool, *network.nodes):
            member.state_dir = os.path.join(self.scratch, member.name)
        network.start_servers()
        network.success(network.add_client(state_dir=os.path.join(self.scratch, "client")))
        globalLogPublisher.addObserver(self.warnings)
        self.addCleanup(globalLogPublisher.removeObserver, self.warnings)
        return network, disk

    def files(self) -> dict[str, bytes]:
        """What is on the disk, but for the pool's database."""
        found = {}
        for folder, _, names in os.walk(self.scratch):
            for name in names:
                if "pool.db" not in name:
                    with open(os.path.join(folder, name), "rb") as file:
                        found[os.path.relpath(file.name, self.scratch)] = file.read()
        return found

    def transfer(self) -> None:
        """Something goes there and comes back."""
        client = self.network.clients[0].client
        assert client is not None
        endpoint = client.endpoint(*self.echo_at)
        recorder = self.network.success(connectProtocol(endpoint, Recorder()))
        recorder.tcp.write(b"hello")
        self.network.advance(1)
        self.assertEqual(recorder.data, b"hello")
        recorder.tcp.loseConnection()
        self.network.advance(1)

    def live_on(self, network: LocalNetwork) -> None:
        """Listings are fetched and made, circuits built, guards counted, nodes heard of."""
        for _ in range(2):
            network.advance(61)
            self.transfer()

    def check_code(self, code: int) -> None:
        """Everything goes on; each part says once that it keeps nothing; files are as they were; then all is well."""
        network, disk = self.run_network(code)
        self.echo_at = self.echo()
        before = self.files()
        self.assertIn("client/guards", before)
        disk.break_down()
        database = self.database_of(network)
        database.execute("PRAGMA query_only = 1")
        network.clients[0].client.new_identity()
        self.live_on(network)
        self.assertTrue(disk.refused["open"] or disk.refused["unlink"])
        self.assertEqual(self.files(), before)
        said = Counter((id(event["log_source"]), event["log_format"]) for event in self.warnings.events)
        self.assertEqual(set(said.values()), {1}, said)
        lines = " ".join(event["log_format"] for event in self.warnings.events)
        for words in ("listings are not kept", "{what} are not kept", "saving its sequence", "saving its nodes"):
            self.assertIn(words, lines)
        self.assertEqual([event for event in self.warnings.events if "log_failure" in event], [])
        disk.break_down(False)
        database.execute("PRAGMA query_only = 0")
        self.warnings.events.clear()
        self.live_on(network)
        self.assertNotEqual(self.files(), before)
        self.assertEqual(self.warnings.events, [])
        # What was not written yet may have come; nothing was left lying about.
        self.assertLessEqual(self.files().keys() - before.keys(), {"client/build-times"})
        Oracle(self, network).check()

    def database_of(self, network: LocalNetwork) -> sqlite3.Connection:
        """The pool's connection, to let it fail as a disk would: SQLite does not write through Python."""
        assert network.pool.service is not None and network.pool.service._running is not None
        return network.pool.service._running.store._connection

    def test_no_space(self) -> None:
        """The disk is full."""
        self.check_code(errno.ENOSPC)

    def test_input_output_error(self) -> None:
        """The disk is broken."""
        self.check_code(errno.EIO)

    def test_onion_keys_stay(self) -> None:
        """A new onion key that cannot be kept is not used; that is said once, and done when the disk is well again."""
        network, disk = self.run_network(errno.ENOSPC)
        path = os.path.join(network.nodes[0].state_dir or "", "onion.keys")
        with open(path, "rb") as file:
            before = file.read()
        disk.break_down()
        for node in network.nodes:
            # Time passes for their clocks alone: a week of heartbeats would take minutes.
            node.skew += ROTATE_AFTER
        network.advance(2 * LOOK_AGAIN)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        said = [event for event in self.warnings.events if "the onion key stays" in event["log_format"]]
        self.assertEqual(len(said), len(network.nodes))
        disk.break_down(False)
        network.advance(LOOK_AGAIN)
        with open(path, "rb") as file:
            self.assertNotEqual(file.read(), before)
        for node in network.nodes:
            # To a clock that is a week ahead no listing is of now, so an exit would know no node.
            node.skew -= ROTATE_AFTER
        Oracle(self, network).check()

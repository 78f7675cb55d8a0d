"""Tests of torpydo.taps.process and torpydo.taps.statussocket."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torpydo import __version__
from torpydo.taps.process import ProcessService, ProcessStatus
from torpydo.taps.statussocket import Source, StatusService


class ProcessTests(SynchronousTestCase):
    """What a process tells of itself."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.lost = 0.0
        self.process = ProcessService(self.reactor, lambda: self.reactor.seconds() + self.lost)
        self.process.startService()

    def test_status(self) -> None:
        """Version, age, and how late its event loop was (SECURITY section 3, case 30)."""
        self.reactor.pump([0.5] * 20)
        self.assertEqual(self.process.status(), ProcessStatus(__version__, 10.0, 0.0))
        self.lost += 1.25
        self.reactor.advance(0.5)
        self.assertEqual(self.process.status().loop_lag, 1.25)
        self.assertEqual([(one.name, one.value) for one in self.process.figures()], [("loop_lag_seconds", 1.25)])

    def test_stop(self) -> None:
        """No timer is left."""
        self.successResultOf(self.process.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class StatusServiceTests(SynchronousTestCase):
    """The socket of a node or a pool."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.known: ProcessStatus | None = ProcessStatus("1", 2.0, 3.0)
        self.service = StatusService(self.reactor, "/state", Source(lambda: self.known))

    def test_answers(self) -> None:
        """To its own user only, what there is to say at that moment."""
        self.service.startService()
        [(path, factory, _, mode, _)] = self.reactor.unixServers
        self.assertEqual((path, mode), ("/state/status.sock", 0o600))
        made: Any = factory
        transport = StringTransport()
        protocol = made.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.dataReceived(b"status\n")
        self.known = None
        protocol.dataReceived(b"status\n")
        said = [json.loads(line) for line in transport.value().splitlines()]
        self.assertEqual(said, [{"version": "1", "uptime": 2.0, "loop_lag": 3.0}, {}])

    def test_a_socket_that_cannot_be_made(self) -> None:
        """It costs the status, and one line, not the node."""

        def refuse(*arguments: object, **options: object) -> None:
            raise CannotListenError(None, "/state/status.sock", OSError("AF_UNIX path too long"))

        self.patch(self.reactor, "listenUNIX", refuse)
        with capturedLogs() as logs:
            self.service.startService()
        [line] = logs
        self.assertEqual(line["log_level"].name, "warn")
        said = line["log_format"].format(**line)
        for word in ("'torpydo status' will not work", "/state", "AF_UNIX path too long"):
            self.assertIn(word, said)
        self.successResultOf(self.service.stopService())

    def test_stop(self) -> None:
        """Twice does no harm."""
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.successResultOf(self.service.stopService())

"""A client that does what a test says, and the tests of every tap that runs one."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import CircuitBuildError, PoolUnreachable
from torpydo.taps.runningclient import STOP_TIME


@attrs.define(eq=False)
class ClientDouble:
    """A client that is ready when the test says so.

    :ivar figures: its status
    """

    figures: Any
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = attrs.field(factory=dict)
    ready: Deferred[Any] = attrs.field(factory=Deferred)
    closed: int = 0
    closing: Deferred[None] | None = None

    def start(self, *arguments: Any, **options: Any) -> Any:
        """Like ``Client.start``."""
        self.arguments, self.options = arguments, options
        return self

    def when_ready(self) -> Deferred[Any]:
        """Like ``Client.when_ready``."""
        return self.ready

    def status(self) -> Any:
        """Like ``Client.status``."""
        return self.figures

    def close(self) -> Deferred[None]:
        """Like ``Client.close``."""
        self.closed += 1
        return succeed(None) if self.closing is None else self.closing


def told(reactor: MemoryReactorClock, state: str) -> dict[str, Any]:
    """What whoever asks for the status gets, from a socket that is for one user only."""
    [(path, factory, _, mode, lock)] = reactor.unixServers
    assert (path, mode, lock) == (f"{state}/status.sock", 0o600, False)
    made: Any = factory
    protocol, transport = made.buildProtocol(None), StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"status\n")
    said: dict[str, Any] = json.loads(transport.value())
    return said


class RunningClientTests(SynchronousTestCase):
    """Start and stop, whatever the client is for.

    :ivar service: what runs :attr:`client`; ``setUp`` of the class that inherits makes both
    :cvar role: what the log calls it
    """

    reactor: MemoryReactorClock
    client: ClientDouble
    service: Service
    role = "client"

    def lines(self, level: str) -> list[str]:
        return [line["log_format"].format(**line) for line in self.logs if line["log_level"].name == level]

    def started(self) -> None:
        with capturedLogs() as logs:
            self.service.startService()
        self.logs = logs

    def not_ready(self, reason: Exception) -> None:
        with capturedLogs() as self.logs:
            self.client.ready.errback(reason)

    def test_not_ready_is_said_and_it_goes_on(self) -> None:
        """Pools that are down are no reason to end."""
        self.started()
        self.not_ready(PoolUnreachable("the pool is down"))
        self.assertEqual(self.lines("warn"), [f"the {self.role} is not ready and keeps trying: the pool is down"])
        self.assertEqual(self.client.closed, 0)

    def test_the_log_does_not_name_the_guard(self) -> None:
        """Whoever reads the log need not know through which node this process enters."""
        self.started()
        self.not_ready(CircuitBuildError(1, 3, "GUARDNAME", "no answer"))
        self.assertEqual(len(self.lines("warn")), 1)
        self.assertNotIn("GUARDNAME", str(self.logs))

    def test_a_reason_that_comes_after_the_stop_is_not_said(self) -> None:
        """Closing the client makes it "not ready", which is no news."""
        self.started()
        self.service.stopService()
        self.not_ready(PoolUnreachable("closed"))
        self.assertEqual(self.lines("warn"), [])

    def test_stop_ends_in_time(self) -> None:
        """Whatever a node does (SECURITY Z3)."""
        self.client.closing = Deferred()
        self.started()
        stopped: Any = self.service.stopService()
        self.reactor.advance(STOP_TIME - 1)
        self.assertNoResult(stopped)
        self.reactor.advance(1)
        self.successResultOf(stopped)

"""The SOCKS proxy on Twisted."""

from __future__ import annotations

import errno
from collections.abc import Hashable
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import FakeClient, FakeTransport, TLSLikeTransport, connect
from tests.apps.socks.test_connection import OK5, PLAIN, refusal, request5
from tests.apps.socks.test_messages import GREETING, IPV4_5, LOGIN, NAME5
from tests.net.test_resets import Connection
from torpydo.apps.socks import SocksFactory
from torpydo.apps.socks.connection import EARLY_LIMIT, LEAVING_TIMEOUT
from torpydo.client import DEFAULT_LIMITS, FirstData
from torpydo.errors import ConnectRefused


class SocksServerTests(SynchronousTestCase):
    """A listener, a client without a network, and transports that record."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = FakeClient()
        self.factory = SocksFactory(self.client, self.clock)

    def connect(self, data: bytes = PLAIN + NAME5) -> TLSLikeTransport:
        near = connect(self.factory)
        near.deliver(data)
        near.take()
        return near

    def test_tunnel(self) -> None:
        """The reply comes when the stream is open; then bytes flow both ways."""
        near = self.connect()
        (attempt,) = self.client.attempts
        self.assertEqual((attempt.host, attempt.port, near.take()), ("example.org", 443, b""))
        far = attempt.succeed()
        self.assertEqual(near.take(), OK5)
        near.deliver(b"question")
        far.deliver(b"answer")
        self.assertEqual((far.take(), near.take()), (b"question", b"answer"))

    def test_no_timer_is_left(self) -> None:
        """An open tunnel has no deadline."""
        self.connect()
        self.client.attempts[0].succeed()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_half_close(self) -> None:
        """A program that ends its side and then reads is served."""
        near = self.connect()
        far = self.client.attempts[0].succeed()
        near.deliver(b"question")
        near.end_reading()
        self.assertEqual((far.take(), far.calls), (b"question", ["half-close"]))
        far.deliver(b"answer")
        far.end_reading()
        self.assertEqual((near.take(), near.calls, far.calls[-1]), (OK5 + b"answer", ["close"], "close"))

    def test_a_reset_that_was_half_told(self) -> None:
        """A program that is torn off has not ended its side, whatever the reactor took it for."""
        near: Any = self.connect()
        near.socket = Connection(errno.ECONNRESET)
        far = self.client.attempts[0].succeed()
        near.deliver(b"half of it")
        near.end_reading()
        near.settle()
        self.assertEqual((near.calls, far.calls), (["abort"], ["abort"]))

    def test_instant_stream(self) -> None:
        """A stream that opens before the call that asks for it returns is no different."""
        far = FakeTransport()
        self.client.instant.append(far)
        near = connect(self.factory)
        near.deliver(PLAIN + NAME5 + b"early")
        far.deliver(b"answer")
        self.assertEqual((near.take(), far.take()), (b"\x05\x00" + OK5 + b"answer", b"early"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_socket_options(self) -> None:
        """A keystroke is not held back, and a dead peer is noticed some day."""
        near = FakeTransport()
        connect(self.factory, near)
        self.assertEqual(near.options, {"no delay": True, "keep alive": True})

    def test_early_data(self) -> None:
        """What came early is written as soon as the stream is open, and before what comes later."""
        near = self.connect(PLAIN + NAME5 + b"early ")
        near.deliver(b"too ")
        far = self.client.attempts[0].succeed()
        near.deliver(b"late")
        self.assertEqual(far.take(), b"early too late")

    def test_early_data_goes_ahead(self) -> None:
        """It goes to the network with the question for the stream, or as soon as it comes, and never twice."""
        near = self.connect(PLAIN + NAME5 + b"early ")
        attempt = self.client.attempts[0]
        self.assertEqual(attempt.ahead, [b"early "])
        near.deliver(b"too")
        self.assertEqual(attempt.ahead, [b"early ", b"too"])
        far = attempt.succeed()
        near.deliver(b" late")
        self.assertEqual((attempt.ahead, far.take()), ([b"early ", b"too"], b"early too late"))

    def test_early_data_of_an_attempt_that_failed(self) -> None:
        """What still comes after a refusal goes nowhere."""
        near = self.connect(PLAIN + NAME5 + b"early")
        self.client.attempts[0].fail(ConnectRefused())
        near.deliver(b"late")
        self.assertEqual(self.client.attempts[0].ahead, [b"early"])

    def test_early_data_is_bounded(self) -> None:
        """Reading stops at 64 KiB of early data and goes on when the tunnel is open."""
        near = self.connect(PLAIN + NAME5 + b"x" * EARLY_LIMIT)
        self.assertTrue(near.paused)
        far = self.client.attempts[0].succeed()
        self.assertEqual((near.paused, len(far.take())), (False, EARLY_LIMIT))

    def test_early_data_fills_the_stream(self) -> None:
        """A stream that early data fills holds the application until it drains."""

        class Full(FakeTransport):
            def write(self, data: bytes) -> None:
                super().write(data)
                self.fill()

        near = self.connect(PLAIN + NAME5 + b"x" * EARLY_LIMIT + b"more than goes before it is open")
        far = self.client.attempts[0].succeed(Full())
        self.assertTrue(near.paused)
        far.drain()
        self.assertFalse(near.paused)

    def test_early_end(self) -> None:
        """An EOF behind early data becomes the stream's EOF, and the answer comes back."""
        near = self.connect(PLAIN + NAME5 + b"all")
        near.end_reading()
        far = self.client.attempts[0].succeed()
        self.assertEqual((far.take(), far.calls), (b"all", ["half-close"]))
        far.deliver(b"answer")
        self.assertEqual(near.take(), OK5 + b"answer")

    def test_backpressure(self) -> None:
        """A full side holds the other one, in both directions."""
        near = self.connect()
        far = self.client.attempts[0].succeed()
        far.fill()
        self.assertTrue(near.paused)
        near.fill()
        self.assertTrue(far.paused)
        far.drain()
        near.drain()
        self.assertEqual((near.paused, far.paused), (False, False))

    def test_torn(self) -> None:
        """A stream that is torn resets the application's connection."""
        near = self.connect()
        self.client.attempts[0].succeed().tear()
        self.assertEqual(near.calls, ["abort"])

    def test_refused(self) -> None:
        """A failure is a reply; then the proxy ends writing, discards what comes, and closes."""
        near = self.connect()
        self.client.attempts[0].fail(ConnectRefused())
        self.assertEqual((near.take(), near.calls), (refusal(5), ["half-close"]))
        near.deliver(b"data that was on its way")
        self.clock.advance(LEAVING_TIMEOUT)
        self.assertEqual(near.calls, ["half-close", "close"])
        near.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_fallback(self) -> None:
        """After a failure nothing else is tried."""
        self.connect()
        self.client.attempts[0].fail(ConnectRefused())
        self.assertEqual(len(self.client.attempts), 1)

    def test_unexpected_error(self) -> None:
        """An error that is not the network's is logged in full, and is a general failure to the application."""
        near = self.connect()
        self.client.attempts[0].fail(ZeroDivisionError())
        self.assertEqual(near.take(), refusal(1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_synchronous_error(self) -> None:
        """A client that raises at once is no different."""

        class Raising(FakeClient):
            def endpoint(
                self, host: str, port: int, *, isolation: Hashable = None, first_data: bytes | FirstData = b""
            ) -> IStreamClientEndpoint:
                raise ConnectRefused

        near = connect(SocksFactory(Raising(), self.clock))
        near.deliver(PLAIN + NAME5)
        self.assertEqual(near.take(), b"\x05\x00" + refusal(5))

    def test_application_leaves(self) -> None:
        """When the application goes, the stream that is being opened is given up."""
        for leave in ("tear", "end_reading"):
            near = self.connect()
            getattr(near, leave)()
            near.settle()
            self.assertTrue(self.client.attempts[-1].cancelled)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late_stream(self) -> None:
        """A stream that opens although it was cancelled is torn."""
        near = self.connect()
        attempt = self.client.attempts[0]
        near.tear()
        far = FakeTransport()
        protocol = attempt.factory.buildProtocol(far.getPeer())
        assert protocol is not None
        far.attach(protocol)
        self.assertEqual(far.calls, ["abort"])

    def test_total_timeout(self) -> None:
        """After 120 seconds the attempt is cancelled and the application is told."""
        near = self.connect()
        self.clock.advance(DEFAULT_LIMITS.open_time - 1)
        self.assertEqual(near.take(), b"")
        self.clock.advance(1)
        self.assertEqual((near.take(), self.client.attempts[0].cancelled), (refusal(6), True))

    def test_handshake_timeout(self) -> None:
        """A connection that says nothing is closed after ten seconds."""
        near = connect(self.factory)
        self.clock.advance(DEFAULT_LIMITS.request_time)
        self.assertEqual(near.calls, ["close"])

    def test_resolve(self) -> None:
        """RESOLVE is answered by the client, with the same isolation."""
        near = self.connect(GREETING + LOGIN + request5(0xF0))
        ((host, isolation, result),) = self.client.lookups
        result.callback([("1.2.3.4", 60)])
        self.assertEqual((host, near.take().hex()), ("example.org", "05000001010203040000"))
        self.connect(GREETING + LOGIN + NAME5)
        self.assertEqual(self.client.attempts[0].isolation, isolation)

    def test_resolve_cancelled(self) -> None:
        """A RESOLVE whose application goes is cancelled."""
        near = self.connect(PLAIN + request5(0xF0))
        near.tear()
        self.assertEqual(self.client.cancelled_lookups, ["example.org"])

    def test_isolation(self) -> None:
        """Address, pair and listener keep streams apart; the port of the application does not."""

        def key(factory: SocksFactory, host: str, port: int, login: bytes) -> object:
            near = connect(factory, FakeTransport(IPv4Address("TCP", host, port)))
            near.deliver(GREETING + login + NAME5)
            return self.client.attempts[-1].isolation

        first = key(self.factory, "127.0.0.1", 1, LOGIN)
        self.assertEqual(first, key(self.factory, "127.0.0.1", 2, LOGIN))
        others = [
            key(self.factory, "127.0.0.2", 1, LOGIN),
            key(self.factory, "127.0.0.1", 1, LOGIN.replace(b"alice", b"bobby")),
            key(self.factory, "127.0.0.1", 1, LOGIN.replace(b"pw", b"qx")),
            key(self.factory, "127.0.0.1", 1, b"\x01\x06alicep\x01w"),
            key(SocksFactory(self.client, self.clock), "127.0.0.1", 1, LOGIN),
        ]
        self.assertEqual(len({first, *others}), 6)

    def test_isolation_of_ports(self) -> None:
        """Two destination ports share a circuit, unless they are to be kept apart."""
        for isolate, keys in ((False, 1), (True, 2)):
            factory = SocksFactory(self.client, self.clock, isolate_ports=isolate)
            for port in (80, 443, 80):
                connect(factory).deliver(PLAIN + request5(1, port=port))
            self.assertEqual(len({attempt.isolation for attempt in self.client.attempts[-3:]}), keys)

    def test_unix_socket(self) -> None:
        """A listener on a Unix socket works; its applications have no address."""
        near = connect(self.factory, TLSLikeTransport(UNIXAddress("/run/socks")))
        near.deliver(PLAIN + NAME5)
        self.assertEqual(len(self.client.attempts), 1)

    def test_private_destinations(self) -> None:
        """Whether 127.0.0.1 is a destination is what the client says at that moment, or what the option says."""
        local = PLAIN + request5(1, b"127.0.0.1", 80)
        self.connect(local)
        self.assertEqual(self.client.attempts, [])
        self.client.allows_private_destinations = True
        self.connect(local)
        self.assertEqual(len(self.client.attempts), 1)
        connect(SocksFactory(self.client, self.clock, allow_private=False)).deliver(local)
        self.assertEqual(len(self.client.attempts), 1)

    def test_warning_about_addresses(self) -> None:
        """An application that gives public IP addresses is warned about once, without the address."""
        with capturedLogs() as logs:
            self.connect(PLAIN + NAME5)
            self.assertEqual(logs, [])
            self.connect(PLAIN + IPV4_5)
            self.connect(PLAIN + IPV4_5)
        (warning,) = logs
        self.assertIs(warning["log_level"], LogLevel.warn)
        self.assertNotIn("1.2.3.4", str(warning))

    def test_nothing_is_logged_above_debug(self) -> None:
        """Neither a tunnel nor a failure says where it went, except at debug."""
        with capturedLogs() as logs:
            self.connect()
            self.client.attempts[0].succeed().tear()
            self.connect()
            self.client.attempts[1].fail(ConnectRefused("example.org refused"))
        self.assertEqual([log for log in logs if log["log_level"] > LogLevel.debug], [])

    def test_abort_connections(self) -> None:
        """A service that stops can tear what is open."""
        near, other = self.connect(), self.connect()
        self.client.attempts[0].succeed()
        self.factory.abort_connections()
        self.assertEqual((near.calls, other.calls), (["abort"], ["abort"]))
        near.settle()
        other.settle()
        self.assertEqual((self.factory.connections, self.clock.getDelayedCalls()), ({}, []))

    def test_quiet_factories(self) -> None:
        """No line is logged for a factory that starts or stops."""
        self.connect()
        self.assertFalse(self.factory.noisy)
        self.assertFalse(getattr(self.client.attempts[0].factory, "noisy", True))

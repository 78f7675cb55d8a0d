"""Tests of torpydo.taps.metrics and torpydo.taps.exposition."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from torpydo import __version__
from torpydo.errors import ListenError
from torpydo.taps.figures import DELAY, Figure, count, gauge, numbered, refused
from torpydo.taps.metrics import MetricsService, metrics_services, metrics_where

TCP = "tcp:9100:interface=127.0.0.1"
MISSING = None if find_spec("prometheus_client") else "prometheus_client is not installed"


@contextmanager
def not_installed(name: str) -> Iterator[None]:
    """A package, and what imports it, cannot be imported."""
    hidden = {module: sys.modules.pop(module) for module in list(sys.modules)
              if module.partition(".")[0] == name or module == "torpydo.taps.exposition"}  # fmt: skip
    sys.modules[name] = None
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(hidden)


class WhereTests(SynchronousTestCase):
    """What the option takes (SECURITY I3)."""

    skip = MISSING

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def listen(self, text: str) -> Any:
        """The reactor of a site that listens there."""
        where = metrics_where(text)
        assert where is not None
        self.successResultOf(where.endpoint(self.reactor).listen(IProtocolFactory))
        return self.reactor

    def test_loopback(self) -> None:
        """Addresses that only this machine reaches."""
        for text, interface in (
            (TCP, "127.0.0.1"), ("tcp:interface=127.9.9.9:port=9100:backlog=3", "127.9.9.9"),
            (r"tcp6:9100:interface=\:\:1", "::1"),
        ):  # fmt: skip
            [port, _, _, bound] = self.listen(text).tcpServers[-1]
            self.assertEqual((port, bound), (9100, interface))

    def test_a_unix_socket(self) -> None:
        """It is for its owner and group, whatever is said of its mode; no lock beside it names a process."""
        for text, mode in (("unix:/run/m", 0o660), ("unix:/run/m:mode=600", 0o600), ("unix:/run/m:777", 0o660)):
            path, _, _, bits, lock = self.listen(text).unixServers[-1]
            self.assertEqual((path, bits, lock), ("/run/m", mode, False))

    def test_anything_else(self) -> None:
        """What others could reach, or what cannot be told, is a usage error that says why and what to write."""
        for text in ("tcp:9100", "tcp:9100:interface=", "tcp:9100:interface=0.0.0.0", "tcp:9100:interface=192.0.2.1",
                     "tcp:9100:interface=10.0.0.1", "tcp:9100:interface=localhost", "tcp6:9100",
                     r"tcp6:9100:interface=\:\:", r"tcp6:9100:interface=\:\:ffff\:192.0.2.1", "unix:",
                     "systemd:domain=INET:index=0", f"haproxy:{TCP}", "nonsense", "9100"):  # fmt: skip
            with self.assertRaises(UsageError, msg=text) as caught:
                metrics_where(text)
            said = str(caught.exception)
            for word in (f"--metrics={text}:", "whoever reaches it may read it", "tcp:PORT:interface=127.0.0.1"):
                self.assertIn(word, said)

    def test_what_is_no_endpoint(self) -> None:
        """Twisted's own words are passed on."""
        for text in ("tcp:x:interface=127.0.0.1", "tcp:9100:colour=red", "tcp:", "unix:/run/m:mode=rw"):
            with self.assertRaises(UsageError, msg=text) as caught:
                metrics_where(text)
            self.assertIn("not a Twisted server endpoint", str(caught.exception))

    def test_nowhere(self) -> None:
        """The default serves nothing, and needs no package."""
        with not_installed("prometheus_client"):
            self.assertIsNone(metrics_where(""))
            self.assertEqual(metrics_services(self.reactor, "node", "", list), [])

    def test_without_the_package(self) -> None:
        """A usage error that names the extra."""
        with not_installed("prometheus_client"):
            error = self.assertRaises(UsageError, metrics_where, TCP)
        self.assertIn("pip install 'torpydo[metrics]'", str(error))
        self.assertIsNotNone(metrics_where(TCP))


class ServiceTests(SynchronousTestCase):
    """The service."""

    skip = MISSING

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.taken = 0

    def take(self) -> list[Figure]:
        """One figure of each kind."""
        self.taken += 1
        return [
            gauge("links", "Links.", 3), gauge("circuits", "Circuits.", 20, step=8), count("made", "Made.", 9, step=8),
            refused({"files": 0, "links_per_host": 2}), numbered("age_seconds", "Age.", [1.5, None, 3.0]),
        ]  # fmt: skip

    def start(self) -> MetricsService:
        """A service that listens."""
        [service] = metrics_services(self.reactor, "node", TCP, self.take)
        service.startService()
        return service

    def page(self) -> list[str]:
        """The lines that are served, without those that explain them."""
        factory: Any = self.reactor.tcpServers[0][1]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\n\r\n")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; "), head)
        return [line for line in body.decode().splitlines() if line.startswith("torpydo_")]

    def test_what_is_served_at_once(self) -> None:
        """All but what people do."""
        self.start()
        self.assertEqual(self.page(), [
            f'torpydo_info{{service="node",version="{__version__}"}} 1.0', "torpydo_links 3.0",
            'torpydo_refused_total{cause="files"} 0.0', 'torpydo_refused_total{cause="links_per_host"} 2.0',
            'torpydo_age_seconds{pool="1"} 1.5', 'torpydo_age_seconds{pool="3"} 3.0',
        ])  # fmt: skip

    def test_what_is_served_late(self) -> None:
        """Ten minutes later, and rounded (SECURITY I3)."""
        self.start()
        self.reactor.advance(DELAY - 1)
        self.assertEqual(len(self.page()), 6)
        self.reactor.advance(1)
        self.assertEqual(self.page()[-2:], ["torpydo_circuits 16.0", "torpydo_made_total 8.0"])

    def test_the_process(self) -> None:
        """Its memory, processor time and files, under the names that Prometheus gives them."""
        self.start()
        factory: Any = self.reactor.tcpServers[0][1]
        page = factory.render().decode()
        for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds"):
            self.assertRegex(page, rf"(?m)^process_{name} [0-9.e+]+$")

    def test_a_busy_port(self) -> None:
        """The error says what is in the way."""

        def busy(*arguments: object, **options: object) -> None:
            raise CannotListenError("127.0.0.1", 9100, OSError("Address already in use"))

        self.patch(self.reactor, "listenTCP", busy)
        error = self.assertRaises(ListenError, self.start)
        self.assertIn(f"cannot listen on {TCP} for --metrics: Address already in use", str(error))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """No timer, no connection, nothing that listens."""
        service = self.start()
        factory: Any = self.reactor.tcpServers[0][1]
        transport = StringTransport()
        factory.buildProtocol(None).makeConnection(transport)
        self.successResultOf(service.stopService())
        self.assertTrue(transport.disconnected)
        factory.connections.pop().connectionLost()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

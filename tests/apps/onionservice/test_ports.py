"""Tests of torpydo.apps.onionservice.onions, read_port and parse_port: what people write for a port of a service."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.onionservice import parse_port, read_port
from torpydo.errors import ConfigurationError


class PortTests(SynchronousTestCase):
    """PORT and what has its streams."""

    def dialled(self, spec: str) -> tuple[int, Any]:
        """The port, and where a stream to it goes."""
        reactor = MemoryReactorClock()
        port, endpoint = parse_port(reactor, spec)
        endpoint.connect(Factory.forProtocol(Protocol))
        if reactor.unixClients:
            return port, reactor.unixClients[0][0]
        return port, reactor.tcpClients[0][:2]

    def test_forms(self) -> None:
        """All of them; what is left out is this machine, and the same port."""
        for spec, expected in (
            ("80", (80, ("127.0.0.1", 80))),
            ("80:8000", (80, ("127.0.0.1", 8000))),
            ("80:127.0.0.1:8000", (80, ("127.0.0.1", 8000))),
            ("80:10.1.2.3:22", (80, ("10.1.2.3", 22))),
            ("80:[::1]:8000", (80, ("::1", 8000))),
            ("80:::1:8000", (80, ("::1", 8000))),
            ("65535:1", (65535, ("127.0.0.1", 1))),
            ("80:unix:/run/web", (80, "/run/web")),
            ("80:unix:/run/with:colon", (80, "/run/with:colon")),
        ):
            self.assertEqual(self.dialled(spec), expected, spec)

    def test_wrong(self) -> None:
        """The error shows what was written, and how it is written."""
        for spec in ("", ":", "0", "65536", "-1", "+80", " 80", "8_0", "\u0661", "http", ":80", "80:", "80::", "80:x:",
                     "80:0", "80:65536", "80:http", "80:127.0.0.1:0", "80:unix:", "80:unix", "unix:/x", "80:[::1]",
                     "80:[]:1", "80::1"):  # fmt: skip
            error = self.assertRaises(ConfigurationError, read_port, spec)
            for word in (repr(spec), "80:127.0.0.1:8000"):
                self.assertIn(word, str(error), spec)

    def test_read_only(self) -> None:
        """As options are checked before there is a reactor."""
        self.assertEqual(read_port("80"), (80, "127.0.0.1", 80))
        self.assertEqual(read_port("080:localhost:8000"), (80, "localhost", 8000))
        self.assertEqual(read_port("80:unix:/run/web"), (80, "/run/web", None))

    @given(st.text(max_size=30) | st.from_regex(r"[0-9:x.\[\]]{0,20}", fullmatch=True))
    def test_anything(self, spec: str) -> None:
        """Is a port, or a typed error."""
        try:
            port, _ = parse_port(MemoryReactorClock(), spec)
        except ConfigurationError:
            return
        self.assertTrue(1 <= port <= 65535)

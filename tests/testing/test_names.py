"""Tests for torpydo.testing.names."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.testing.recorders import Recorder, Servers
from torpydo.testing import SimulatedReactor, SimulationError


@implementer(IResolutionReceiver)
class Answers:
    """Collects a resolver's answers."""

    def __init__(self) -> None:
        self.began: IHostResolution | None = None
        self.addresses: list[IAddress] = []
        self.complete = 0

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self.began = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        self.complete += 1


class NameTableTests(SynchronousTestCase):
    """A resolver with a table."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()
        self.reactor.internet.names["both.example"] = ["10.0.0.1", "fd00::1"]
        self.answers = Answers()

    def test_found(self) -> None:
        """A name in the table is answered with all its addresses, with the port, in any case."""
        self.reactor.nameResolver.resolveHostName(self.answers, "Both.Example.", 80)
        self.reactor.flush()
        expected = [IPv4Address("TCP", "10.0.0.1", 80), IPv6Address("TCP", "fd00::1", 80)]
        self.assertEqual((self.answers.addresses, self.answers.complete), (expected, 1))

    def test_one_family(self) -> None:
        """Only the families that were asked for are answered."""
        self.reactor.nameResolver.resolveHostName(self.answers, "both.example", 80, [IPv6Address])
        self.reactor.flush()
        self.assertEqual(self.answers.addresses, [IPv6Address("TCP", "fd00::1", 80)])

    def test_unknown(self) -> None:
        """A name that is not in the table has no addresses."""
        self.reactor.nameResolver.resolveHostName(self.answers, "no.example")
        self.reactor.flush()
        self.assertEqual((self.answers.addresses, self.answers.complete), ([], 1))

    def test_lookups_are_written_down(self) -> None:
        """Names that were asked for can be counted; an IP literal is no lookup."""
        for name in ("both.example", "10.0.0.9", "::1", "no.example"):
            self.reactor.nameResolver.resolveHostName(self.answers, name)
        self.assertEqual(self.reactor.names.lookups, ["both.example", "no.example"])

    def test_forbidden(self) -> None:
        """Where no lookup may happen, one raises, and is written down."""
        self.reactor.names.forbid()
        resolve = self.reactor.nameResolver.resolveHostName
        self.assertRaises(SimulationError, resolve, self.answers, "both.example")
        self.assertEqual(self.reactor.names.lookups, ["both.example"])
        resolve(self.answers, "10.0.0.1")

    def test_delay(self) -> None:
        """Answers can take their time."""
        self.reactor.names.delay = 3
        self.reactor.nameResolver.resolveHostName(self.answers, "both.example")
        self.reactor.advance(2.9)
        self.assertEqual(self.answers.complete, 0)
        self.reactor.advance(0.1)
        self.assertEqual(self.answers.complete, 1)

    def test_silent(self) -> None:
        """Some names are never answered."""
        self.reactor.names.silent.add("both.example")
        self.reactor.nameResolver.resolveHostName(self.answers, "both.example")
        self.reactor.advance(1000)
        self.assertEqual(self.answers.complete, 0)

    def test_cancelled(self) -> None:
        """A resolution that is cancelled answers nothing more."""
        self.reactor.nameResolver.resolveHostName(self.answers, "both.example")
        assert self.answers.began is not None
        self.answers.began.cancel()
        self.reactor.flush()
        self.assertEqual((self.answers.addresses, self.answers.complete), ([], 0))

    def test_resolve(self) -> None:
        """The older call gives one IPv4 address, or fails."""
        self.assertEqual(self.reactor.success(self.reactor.resolve("both.example")), "10.0.0.1")
        self.assertRaises(DNSLookupError, self.reactor.success, self.reactor.resolve("no.example"))

    def test_hosts_have_their_own_count(self) -> None:
        """Each host counts its own lookups in the same table."""
        other = self.reactor.host("10.0.0.1")
        endpoint = HostnameEndpoint(other, "both.example", 80)
        other.listenTCP(80, Servers(), interface="10.0.0.1")
        other.success(connectProtocol(endpoint, Recorder()))
        self.assertEqual((other.names.lookups, self.reactor.names.lookups), (["both.example"], []))

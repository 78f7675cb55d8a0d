"""Tests of torpydo.node.exits: which destinations are opened, and what the client hears of the others."""

from __future__ import annotations

import errno

import attrs
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionRefusedError, NoRouteError, TCPTimedOutError
from twisted.internet.error import TimeoutError as ConnectTimedOut
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Server, Traveller, World
from torpydo.net import FileBudget
from torpydo.node.exits import connect_reason
from torpydo.node.limits import DEFAULT_LIMITS
from torpydo.node.resolver import NAME_LIFE
from torpydo.testing import Conditions
from torpydo.tpdp import Address, EndReason, StreamConnected, StreamEnded, StreamResolved

SITE = "203.0.113.1"
PRIVATE = (
    *("0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.168.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:a00:1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1"),
    *("2002:7f00:1::1", "2001:0:1::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1"),
)
"""An address of each range that is no part of the Internet, the clouds' metadata among them."""
OLD_SPELLINGS = (
    *("2130706433", "0x7f000001", "017700000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.1."),
    *("0x7f.0x0.0x0.0x1", "0177.0.0.01", "00000177.1", "167772161", "0xa000001", "10.1", "10.0.0.1."),
)
"""Loopback and private addresses as older resolvers read them."""


class Case(SynchronousTestCase):
    """An exit that clients may use directly, and a destination with a name."""

    policy = "accept *:*"

    def setUp(self) -> None:
        self.world = World()
        self.exit = self.world.relay(self.policy, allow_single_hop=True)
        self.server = self.world.server(SITE)
        self.names = self.exit.reactor.names
        self.tell_names({})
        self.traveller: Traveller = self.world.traveller(self.exit).build()

    def tell_names(self, names: dict[str, list[str]]) -> None:
        """Which names the exit can resolve, beside two."""
        self.names.table = {"localhost": ["127.0.0.1"], "example.org": [SITE]} | names

    def reason(self, host: str, port: int = 80, *, after: float = 0.0) -> EndReason | None:
        """Why a stream is refused, or nothing."""
        stream = self.traveller.begin(host, port)
        self.world.reactor.advance(after)
        ended = [event for event in self.traveller.of_kind(StreamEnded) if event.stream == stream]
        return ended[0].reason if ended else None

    def resolve(self, host: str) -> list[object]:
        """What a RESOLVE brings."""
        before = len(self.traveller.events)
        self.traveller.circuit.end.resolve(host)
        self.traveller.send()
        return list(self.traveller.events[before:])


class OpenTests(Case):
    """Destinations that are opened."""

    def test_an_address(self) -> None:
        """The client is told what was connected to."""
        self.assertIsNone(self.reason(SITE))
        expected = StreamConnected(1, Address.parse(SITE, 80), NAME_LIFE)
        self.assertEqual(self.traveller.of_kind(StreamConnected), [expected])

    def test_a_name(self) -> None:
        """It is resolved once, as an absolute name, and the address is dialled."""
        self.assertIsNone(self.reason("Example.ORG"))
        self.assertEqual(self.traveller.of_kind(StreamConnected)[0].address, Address.parse(SITE, 80))
        self.assertEqual(self.names.lookups, ["example.org."])

    def test_ipv6(self) -> None:
        """Both kinds of addresses work."""
        host = self.world.reactor.host("2001:db8:1::1")
        self.exit.reactor.addresses += ("2001:db8:2::1",)
        server = Server()
        host.listenTCP(80, server, interface="2001:db8:1::1")
        self.assertIsNone(self.reason("2001:db8:1::1"))
        self.assertEqual(self.traveller.of_kind(StreamConnected)[0].address, Address.parse("2001:db8:1::1", 80))
        self.assertEqual(len(server.connections), 1)

    def test_the_next_address(self) -> None:
        """If the first one refuses, the second one is tried."""
        self.tell_names({"two.example": ["203.0.113.9", SITE]})
        self.assertIsNone(self.reason("two.example"))

    def test_a_silent_first_address(self) -> None:
        """It does not use up the time of the second."""
        self.world.reactor.internet.ways.isolate("203.0.113.9")
        self.tell_names({"two.example": ["203.0.113.9", SITE]})
        self.assertIsNone(self.reason("two.example", after=DEFAULT_LIMITS.stream_connect))
        self.assertEqual(len(self.traveller.of_kind(StreamConnected)), 1)


class PolicyTests(Case):
    """The policy judges the address, after resolving (SECURITY E1, E2)."""

    policy = "reject 203.0.113.7:*, accept *:80"

    def setUp(self) -> None:
        super().setUp()
        for ip in ("127.0.0.1", "10.0.0.1", "203.0.113.7"):
            self.world.reactor.internet.ways.isolate(ip)

    def assert_refused(self, host: str, port: int = 80) -> None:
        """The client hears that it is the policy, and nothing was dialled."""
        before = len(self.exit.reactor.internet.connections)
        self.assertEqual(self.reason(host, port), EndReason.EXIT_POLICY, host)
        self.assertEqual(len(self.exit.reactor.internet.connections), before)

    def test_a_port(self) -> None:
        """One that no rule accepts."""
        self.assert_refused(SITE, 81)

    def test_an_address(self) -> None:
        """One that a rule rejects."""
        self.assert_refused("203.0.113.7")

    def test_private_addresses_in_all_spellings(self) -> None:
        """However they are written, they are refused or do not resolve."""
        names = {f"n{number}.example": [ip] for number, ip in enumerate(PRIVATE)}
        self.tell_names(names)
        spellings = [*PRIVATE, *names, "n1.EXAMPLE.", "localhost", "LOCALHOST.", "[::1]", "[::FFFF:127.0.0.1]"]
        for host in spellings:
            self.assert_refused(host)
        for host in OLD_SPELLINGS:
            self.assertEqual(self.reason(host), EndReason.RESOLVE_FAILED, host)
        self.assertGreaterEqual(len(spellings) + len(OLD_SPELLINGS), 60)
        # The system's resolver, which knows older spellings, was never asked for one.
        self.assertEqual(set(self.names.lookups), {f"{name}." for name in names} | {"localhost"})

    def test_a_name_that_leads_there(self) -> None:
        """The name does not matter."""
        self.tell_names({"inside.example": ["10.0.0.1"], "seven.example": ["203.0.113.7"]})
        self.assert_refused("inside.example")
        self.assert_refused("seven.example")

    def test_a_name_that_changes_its_mind(self) -> None:
        """What was judged is what is dialled: there is no second look at the name."""
        self.assertIsNone(self.reason("example.org"))
        self.tell_names({"example.org": ["127.0.0.1"]})
        self.assertIsNone(self.reason("example.org"))
        self.world.reactor.advance(NAME_LIFE + 1)
        self.assert_refused("example.org")

    def test_only_the_addresses_that_may(self) -> None:
        """Of several, those that the policy refuses are left out."""
        self.tell_names({"mixed.example": ["127.0.0.1", SITE]})
        self.assertIsNone(self.reason("mixed.example"))
        self.assertEqual(len(self.server.connections), 1)

    def test_this_node(self) -> None:
        """Its own address is refused, whatever the policy says, at every port."""
        self.assert_refused(self.exit.address.host, 80)

    def test_where_it_was_before(self) -> None:
        """An address that it had is not its own any more."""
        self.exit.exits.set_own([Address.parse(SITE, 1)])
        self.assert_refused(SITE)
        self.exit.exits.set_own([self.exit.address])
        self.assertIsNone(self.reason(SITE))

    def test_other_nodes(self) -> None:
        """Nobody enters the network again through an exit (SECURITY E4)."""
        self.exit.exits.network_changed([Address.parse(SITE, 80)], test_network=False)
        self.assert_refused(SITE)

    def test_answers_to_resolve(self) -> None:
        """Addresses of the operator's own network are not told."""
        self.tell_names({"inside.example": ["10.0.0.1"], "mixed.example": ["10.0.0.1", SITE]})
        self.assertEqual(self.resolve("inside.example"), [StreamEnded(1, EndReason.RESOLVE_FAILED)])
        ip = Address.parse(SITE, 1).ip
        self.assertEqual(self.resolve("mixed.example"), [StreamResolved(2, ((ip, NAME_LIFE),))])


class ClosedTests(Case):
    """A node without an exit policy."""

    policy = ""

    def test_streams(self) -> None:
        """They are refused before anything is resolved."""
        self.assertEqual(self.reason("example.org"), EndReason.EXIT_POLICY)
        self.assertEqual(self.names.lookups, [])

    def test_lookups(self) -> None:
        """So are lookups."""
        self.assertEqual(self.resolve("example.org"), [StreamEnded(1, EndReason.EXIT_POLICY)])


class PrivatePolicyTests(Case):
    """A policy that names a private range (a network on one machine)."""

    policy = "accept 127.0.0.0/8:*"

    def test_localhost(self) -> None:
        """The name is resolved by the exit, as it is."""
        server = Server()
        self.exit.reactor.addresses += ("127.0.0.1",)
        self.world.reactor.listenTCP(8000, server, interface="127.0.0.1")
        self.assertIsNone(self.reason("localhost", 8000))
        self.assertEqual(len(server.connections), 1)

    def test_nothing_else(self) -> None:
        """The rest stays closed."""
        self.assertEqual(self.reason(SITE), EndReason.EXIT_POLICY)


class FailureTests(Case):
    """Destinations that cannot be opened; the client is told why (DESIGN 4.6)."""

    def test_refused(self) -> None:
        """Nobody listens."""
        self.assertEqual(self.reason(SITE, 81), EndReason.CONNECT_REFUSED)

    def test_silent(self) -> None:
        """Ten seconds."""
        self.world.reactor.internet.ways.isolate(SITE)
        self.assertIsNone(self.reason(SITE, after=DEFAULT_LIMITS.stream_connect - 1))
        self.assertEqual(self.reason(SITE, after=DEFAULT_LIMITS.stream_connect + 1), EndReason.TIMEOUT)

    def test_unreachable(self) -> None:
        """Host and network are told apart."""
        for code, reason in (
            (errno.EHOSTUNREACH, EndReason.HOST_UNREACHABLE),
            (errno.ENETUNREACH, EndReason.NETWORK_UNREACHABLE),
        ):
            self.world.reactor.internet.ways.unreachable(SITE, code)
            self.assertEqual(self.reason(SITE), reason)

    def test_no_such_name(self) -> None:
        """The name does not exist."""
        self.assertEqual(self.reason("nowhere.example"), EndReason.RESOLVE_FAILED)
        self.assertEqual(self.resolve("nowhere.example"), [StreamEnded(2, EndReason.RESOLVE_FAILED)])

    def test_a_resolver_that_is_silent(self) -> None:
        """Three seconds, and other words than for a name that does not exist."""
        self.names.silent.add("slow.example.")
        self.assertIsNone(self.reason("slow.example", after=2.5))
        self.world.reactor.advance(1)
        self.assertEqual(self.traveller.of_kind(StreamEnded), [StreamEnded(1, EndReason.RESOLVE_TIMEOUT)])

    def test_every_reason(self) -> None:
        """What Twisted reports becomes what TPDP says."""
        for error, reason in (
            (ConnectionRefusedError(osError=errno.ECONNREFUSED), EndReason.CONNECT_REFUSED),
            (TCPTimedOutError(osError=errno.ETIMEDOUT), EndReason.TIMEOUT),
            (ConnectTimedOut(), EndReason.TIMEOUT),
            (NoRouteError(osError=errno.ENETUNREACH), EndReason.NETWORK_UNREACHABLE),
            (ConnectError(osError=errno.EHOSTUNREACH), EndReason.HOST_UNREACHABLE),
            (ConnectError(osError=errno.EMFILE), EndReason.RESOURCE_LIMIT),
            (ConnectError(osError=errno.EPERM), EndReason.MISC),
            (ConnectError("no number"), EndReason.MISC),
        ):
            self.assertEqual(connect_reason(error), reason, error)

    def test_nothing_stays(self) -> None:
        """After all failures the node counts no stream."""
        self.reason("nowhere.example")
        self.reason(SITE, 81)
        self.assertEqual(self.exit.router.status().streams, 0)


class LeavingTests(Case):
    """The client does not wait for the answer."""

    def test_while_it_is_resolved(self) -> None:
        """The lookup is forgotten, and nothing is dialled when its answer comes."""
        self.names.delay = 1.0
        stream = self.traveller.begin("example.org")
        self.traveller.circuit.end.finish(stream, EndReason.MISC)
        self.traveller.send()
        self.assertEqual(self.exit.router.status().streams, 0)
        self.world.reactor.advance(2)
        self.assertEqual(self.server.connections, [])

    def test_while_it_is_dialled(self) -> None:
        """The attempt is given up."""
        self.world.reactor.internet.ways.isolate(SITE)
        stream = self.traveller.begin(SITE)
        self.traveller.circuit.end.finish(stream, EndReason.MISC)
        self.traveller.send()
        self.assertEqual(self.exit.router.status().streams, 0)
        self.assertEqual(self.world.reactor.internet.connections_of(SITE), [])

    def test_with_its_circuit(self) -> None:
        """The same when the whole circuit goes."""
        self.names.delay = 1.0
        self.traveller.begin("example.org")
        self.traveller.circuit.end.resolve("example.org")
        self.traveller.send()
        self.assertEqual(self.exit.router.status().streams, 2)
        self.traveller.destroy()
        self.assertEqual(self.exit.router.status().streams, 0)
        self.world.reactor.advance(2)
        self.assertEqual(self.server.connections, [])


class DescriptorTests(Case):
    """File descriptors for destinations (SECURITY D4)."""

    def setUp(self) -> None:
        super().setUp()
        self.used = 0
        files = FileBudget(self.world.reactor.seconds, 128, lambda: self.used)
        self.exit.exits.bounds = attrs.evolve(self.exit.bounds, files=files)

    def test_few_are_left(self) -> None:
        """Destinations get none of those that links need, nor do questions for names."""
        self.used = 100
        self.assertEqual(self.reason(SITE), EndReason.RESOURCE_LIMIT)
        self.assertEqual(self.reason("nowhere.example"), EndReason.RESOURCE_LIMIT)
        self.assertEqual(self.resolve("nowhere.example"), [StreamEnded(3, EndReason.RESOURCE_LIMIT)])
        self.assertEqual(self.names.lookups, [])
        self.assertEqual(self.exit.refused(), {"streams_resource_limit": 3})
        self.used = 50
        self.world.reactor.advance(1)
        self.assertIsNone(self.reason(SITE))

    def test_half_of_them(self) -> None:
        """One client alone cannot have so many streams that nobody gets a link any more."""
        reasons = [self.reason(SITE) for _ in range(70)]
        self.assertEqual(reasons, [None] * 64 + [EndReason.RESOURCE_LIMIT] * 6)

    def test_others_get_their_share(self) -> None:
        """Who has the most gives those that were not used for the longest, until all have the same."""
        for _ in range(70):
            self.reason(SITE)
        self.world.reactor.advance(1)
        self.traveller.circuit.end.send_data(1, b"in use")
        self.traveller.send()
        self.server.connections[1].transport.write(b"in use, too")
        other = self.world.traveller(self.exit, host="198.51.100.2").build()
        for _ in range(40):
            other.begin(SITE)
        self.assertEqual((len(other.of_kind(StreamConnected)), len(other.of_kind(StreamEnded))), (32, 8))
        ended = self.traveller.of_kind(StreamEnded)[6:]
        self.assertEqual(ended, [StreamEnded(number, EndReason.RESOURCE_LIMIT) for number in range(3, 35)])
        torn = [one.ended is not None and not one.ended.check(ConnectionDone) for one in self.server.connections[:34]]
        self.assertEqual(torn, [False] * 2 + [True] * 32)
        self.assertEqual(self.exit.router.status().streams, 64)

    def test_last_bytes_make_room_too(self) -> None:
        """A destination that takes them slowly does not keep others out."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        end = self.traveller.circuit.end
        stream = self.traveller.begin(SITE)
        self.server.connections[0].transport.pauseProducing()
        end.send_data(stream, bytes(60_000))
        end.finish(stream, EndReason.DONE)
        self.traveller.send()
        self.world.reactor.advance(1)
        for _ in range(63):
            self.reason(SITE)
        other = self.world.traveller(self.exit, host="198.51.100.2").build()
        other.begin(SITE)
        self.assertEqual(len(other.of_kind(StreamConnected)), 1)
        self.assertEqual((self.exit.router.status().streams, self.exit.router.status().queued), (64, 0))
        # Nothing of it is left that would be ended later.
        self.world.reactor.advance(2 * DEFAULT_LIMITS.linger)
        self.assertEqual(self.exit.refused(), {"streams_resource_limit": 1})

    def test_lookups_are_no_streams(self) -> None:
        """Those that wait for a name do not cost others their connections."""
        self.names.silent.add("slow.example.")
        self.reason(SITE)
        other = self.world.traveller(self.exit, host="198.51.100.2").build()
        for _ in range(100):
            other.circuit.end.resolve("slow.example")
        other.send()
        self.assertEqual([self.reason(SITE) for _ in range(10)], [None] * 10)
        self.assertEqual(len(self.traveller.of_kind(StreamEnded)), 0)

    def test_names_of_one_circuit(self) -> None:
        """They leave some for others."""
        self.names.delay = 5
        for number in range(100):
            self.traveller.begin(f"n{number}.example")
        asked = len(self.names.lookups)
        self.assertLess(asked, 64)
        other = self.world.traveller(self.exit, host="198.51.100.2").build()
        other.begin("example.org")
        self.assertEqual(self.names.lookups[asked:], ["example.org."])


class RateTests(Case):
    """How many streams a circuit may ask for (SECURITY D2)."""

    def test_the_burst(self) -> None:
        """Beyond it streams are refused until time has passed."""
        end = self.traveller.circuit.end
        for _ in range(DEFAULT_LIMITS.streams_burst):
            end.finish(end.begin(SITE, 80), EndReason.MISC)
        self.traveller.send()
        self.assertEqual(self.reason(SITE), EndReason.RESOURCE_LIMIT)
        self.assertEqual(self.exit.refused(), {"streams_too_fast": 1})
        self.world.reactor.advance(1)
        self.assertIsNone(self.reason(SITE))

    def test_lookups_count(self) -> None:
        """They cost as much as streams."""
        for _ in range(DEFAULT_LIMITS.streams_burst):
            self.traveller.circuit.end.resolve(SITE)
        self.traveller.send()
        self.assertEqual(self.resolve(SITE), [StreamEnded(301, EndReason.RESOURCE_LIMIT)])
        self.assertEqual(self.reason(SITE), EndReason.RESOURCE_LIMIT)
        self.world.reactor.advance(0.02)
        self.assertEqual([self.reason(SITE) for _ in range(3)], [None] * 2 + [EndReason.RESOURCE_LIMIT])

    def test_in_a_test_network(self) -> None:
        """There benchmarks and test suites open streams faster than any person."""
        self.exit.knows(self.world.listing(test_network=True))
        for _ in range(DEFAULT_LIMITS.streams_burst + 50):
            self.traveller.circuit.end.resolve(SITE)
        self.traveller.send()
        self.assertEqual(len(self.traveller.of_kind(StreamResolved)), DEFAULT_LIMITS.streams_burst + 50)

    def test_open_at_one_time(self) -> None:
        """Beyond a bound they are refused, lookups as well, until one ends."""
        self.exit.restrict(streams_per_circuit=3)
        self.names.silent.add("slow.example.")
        streams = [self.traveller.begin(SITE) for _ in range(2)]
        self.traveller.circuit.end.resolve("slow.example")
        self.assertEqual(self.reason(SITE), EndReason.RESOURCE_LIMIT)
        self.assertEqual(self.resolve(SITE), [StreamEnded(5, EndReason.RESOURCE_LIMIT)])
        self.assertEqual(self.exit.refused(), {"streams_per_circuit": 2})
        self.traveller.circuit.end.finish(streams[0], EndReason.MISC)
        self.traveller.send()
        self.assertIsNone(self.reason(SITE))

    def test_as_many_as_the_protocol_allows(self) -> None:
        """A thousand (D2), however slowly they are opened."""
        self.exit.restrict(streams_burst=10_000)
        self.traveller.destroy()
        self.traveller = self.world.traveller(self.exit).build()
        end = self.traveller.circuit.end
        for _ in range(1000):
            end.begin(SITE, 80)
        self.traveller.send()
        self.assertEqual(self.exit.router.status().streams, 1000)
        self.assertEqual(self.reason(SITE), EndReason.RESOURCE_LIMIT)
        self.assertEqual(self.exit.router.status().streams, 1000)

    def test_another_circuit(self) -> None:
        """It has its own count."""
        self.test_the_burst()
        other = self.world.traveller(self.exit, host="198.51.100.2").build()
        other.begin(SITE)
        self.assertEqual(len(other.of_kind(StreamConnected)), 1)

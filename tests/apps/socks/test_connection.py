"""One SOCKS conversation, without I/O."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import feeds
from tests.apps.socks.test_messages import GREETING, IPV4_4, IPV4_5, IPV6_5, LOGIN, NAME4, NAME5
from torpydo.apps.destinations import Destination
from torpydo.apps.events import CloseNow, Event, HangUp, OpenTunnel, ResolveName
from torpydo.apps.isolation import NOBODY, Credentials
from torpydo.apps.socks.connection import (
    EARLY_LIMIT,
    LEAVING_TIMEOUT,
    SocksConnection,
    State,
)
from torpydo.apps.socks.help import HELP_PAGE
from torpydo.client import DEFAULT_LIMITS
from torpydo.errors import ConnectRefused, ConnectTimeout, ResolveFailed

PLAIN = b"\x05\x01\x00"
ALICE = Credentials(b"alice", b"pw")
EXAMPLE = Destination("example.org", 443, literal=False, private=False)
OK5 = bytes.fromhex("05000001000000000000")


def make(*, allow_private: bool = False, refuse_addresses: bool = False) -> SocksConnection:
    return SocksConnection(allow_private=lambda: allow_private, refuse_addresses=refuse_addresses, now=0.0)


def run(core: SocksConnection, pieces: list[bytes], now: float = 1.0) -> list[Event]:
    return [event for piece in pieces for event in core.receive_data(piece, now)]


def request5(command: int, host: bytes = b"example.org", port: int = 443) -> bytes:
    return bytes([5, command, 0, 3, len(host)]) + host + port.to_bytes(2, "big")


def refusal(code: int) -> bytes:
    return bytes([5, code]) + bytes.fromhex("0001000000000000")


class HandshakeTests(SynchronousTestCase):
    """From the first byte to the decision."""

    def assert_asks(self, data: bytes, event: Event, answers: bytes) -> None:
        for pieces in feeds(data):
            core = make()
            self.assertEqual(run(core, pieces), [event])
            self.assertEqual(core.data_to_send(), answers)
            self.assertIs(core.state, State.WAITING)

    def test_version_5(self) -> None:
        """A name is asked for without being resolved, however the bytes arrive."""
        self.assert_asks(PLAIN + NAME5, OpenTunnel(EXAMPLE, NOBODY), b"\x05\x00")

    def test_version_5_with_password(self) -> None:
        """The pair is accepted, whatever it is, and comes with the request."""
        self.assert_asks(GREETING + LOGIN + NAME5, OpenTunnel(EXAMPLE, ALICE), b"\x05\x02\x01\x00")

    def test_version_5_addresses(self) -> None:
        """IPv4 and IPv6 addresses are asked for as they are."""
        for data, host, port in ((IPV4_5, "1.2.3.4", 80), (IPV6_5, "2001:db8::1", 8080)):
            self.assert_asks(
                PLAIN + data, OpenTunnel(Destination(host, port, literal=True, private=False), NOBODY), b"\x05\x00"
            )

    def test_version_4(self) -> None:
        """SOCKS 4 has an address, and a user that isolates."""
        destination = Destination("1.2.3.4", 80, literal=True, private=False)
        self.assert_asks(IPV4_4, OpenTunnel(destination, Credentials(b"me", b"")), b"")

    def test_version_4a(self) -> None:
        """SOCKS 4a has a name."""
        self.assert_asks(NAME4, OpenTunnel(EXAMPLE, Credentials(b"me", b"")), b"")

    def test_resolve(self) -> None:
        """tor's RESOLVE asks for a name alone, in both versions; its port means nothing."""
        name = Destination("example.org", 0, literal=False, private=False)
        self.assert_asks(PLAIN + request5(0xF0, port=0), ResolveName(name, NOBODY), b"\x05\x00")
        data = b"\x04\xf0\x00\x00\x00\x00\x00\x01\x00example.org\x00"
        self.assert_asks(data, ResolveName(name, NOBODY), b"")

    def test_every_prefix_waits(self) -> None:
        """No prefix of a handshake is acted upon."""
        for data in (PLAIN + NAME5, GREETING + LOGIN + NAME5, IPV4_4, NAME4):
            for end in range(len(data)):
                core = make()
                self.assertEqual(run(core, [data[:end]]), [])
                self.assertIn(core.state, (State.GREETING, State.LOGIN, State.REQUEST))

    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Any bytes lead to one decision at most, and never to an error."""
        core = make()
        events = run(core, pieces)
        self.assertLessEqual(len(events), 1)
        core.data_to_send()

    @given(st.binary(max_size=200))
    def test_any_bytes_after_a_greeting(self, data: bytes) -> None:
        """The same holds for what follows a good beginning."""
        for start in (PLAIN, GREETING, GREETING + LOGIN, b"\x04\x01"):
            self.assertLessEqual(len(run(make(), [start + data])), 1)


class RefusalTests(SynchronousTestCase):
    """What is refused before the network is asked."""

    def assert_refused(self, data: bytes, answers: bytes, *, allow_private: bool = False) -> None:
        for pieces in feeds(data):
            core = make(allow_private=allow_private)
            self.assertEqual(run(core, pieces), [HangUp()], data)
            self.assertEqual(core.data_to_send(), answers, data)
            self.assertEqual(run(core, [b"whatever"]), [])

    def test_commands(self) -> None:
        """BIND, UDP ASSOCIATE, RESOLVE_PTR and unknown commands are not supported."""
        for command in (2, 3, 0xF1, 0, 0x77):
            self.assert_refused(PLAIN + request5(command), b"\x05\x00" + refusal(7))

    def test_commands_of_version_4(self) -> None:
        """BIND is rejected in SOCKS 4's words."""
        self.assert_refused(b"\x04\x02" + IPV4_4[2:], bytes.fromhex("005b000000000000"))

    def test_address_kind(self) -> None:
        """An unknown kind of address has its own code."""
        core = make()
        self.assertEqual(run(core, [PLAIN + b"\x05\x01\x00\x02"]), [HangUp()])
        self.assertEqual(core.data_to_send(), b"\x05\x00" + refusal(8))

    def test_methods(self) -> None:
        """A client that offers neither no login nor a password is told so."""
        self.assert_refused(b"\x05\x01\x01", b"\x05\xff")
        self.assert_refused(b"\x05\x00", b"\x05\xff")

    def test_private(self) -> None:
        """Private, local and special destinations never leave."""
        for host in (b"localhost", b"x.ONION.", b"x.exit", b"127.0.0.1", b"0x7f.1", b"[::1]"):
            self.assert_refused(PLAIN + request5(1, host), b"\x05\x00" + refusal(2))
        self.assert_refused(PLAIN + b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", b"\x05\x00" + refusal(2))
        self.assert_refused(PLAIN + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50", b"\x05\x00" + refusal(2))

    def test_special_in_a_test_network(self) -> None:
        """In a test network the special names stay refused and 127.0.0.1 is a destination."""
        self.assert_refused(PLAIN + request5(1, b"x.onion"), b"\x05\x00" + refusal(2), allow_private=True)
        (event,) = run(make(allow_private=True), [PLAIN + request5(1, b"127.0.0.1")])
        self.assertIsInstance(event, OpenTunnel)

    def test_malformed_names(self) -> None:
        """A name that cannot exist does not resolve; a port of 0 is a plain failure."""
        for host in (b"", b"a b", b"a\0b", b"\xff.org", b"x" * 64):
            self.assert_refused(PLAIN + request5(1, host), b"\x05\x00" + refusal(4))
        self.assert_refused(PLAIN + request5(1, port=0), b"\x05\x00" + refusal(1))

    def test_resolve_private(self) -> None:
        """RESOLVE obeys the same rules."""
        self.assert_refused(PLAIN + request5(0xF0, b"localhost"), b"\x05\x00" + refusal(2))

    def test_addresses_can_be_refused(self) -> None:
        """With the option on, IP addresses are refused and names are not."""
        core = make(refuse_addresses=True)
        self.assertEqual(run(core, [PLAIN + IPV4_5]), [HangUp()])
        self.assertEqual(core.data_to_send(), b"\x05\x00" + refusal(2))
        (event,) = run(make(refuse_addresses=True), [PLAIN + NAME5])
        self.assertIsInstance(event, OpenTunnel)

    def test_http(self) -> None:
        """A browser gets a page that says what this is, and no word of its own back."""
        for line in (b"GET /secret HTTP/1.1\r\n", b"HEAD ", b"POST ", b"CONNECT ", b"OPTIONS "):
            self.assert_refused(line, HELP_PAGE)
        self.assertTrue(HELP_PAGE.startswith(b"HTTP/1.0 501 "))
        self.assertEqual(len(HELP_PAGE.split(b"\r\n\r\n", 1)[1]), int(HELP_PAGE.split(b"Length: ")[1].split(b"\r")[0]))

    def test_not_socks(self) -> None:
        """What is no protocol known here gets no answer."""
        for first in (b"\x00", b"\x16\x03\x01", b"\x06", b"\xff", b"get"):
            core = make()
            self.assertEqual(run(core, [first]), [CloseNow()])
            self.assertEqual(core.data_to_send(), b"")

    def test_too_long(self) -> None:
        """A message of more than 512 bytes is refused while it is still coming."""
        core = make()
        self.assertEqual(run(core, [b"\x04\x01\x00\x50\x01\x02\x03\x04" + b"u" * 503]), [])
        self.assertEqual(run(core, [b"u"]), [HangUp()])
        self.assertEqual(core.data_to_send(), bytes.fromhex("005b000000000000"))

    def test_login_of_another_version(self) -> None:
        """A malformed login is refused in the login's words."""
        self.assert_refused(GREETING + b"\x02", b"\x05\x02\x01\x01")

    def test_request_of_another_version(self) -> None:
        """A request with another version is a failure."""
        self.assert_refused(PLAIN + b"\x04", b"\x05\x00" + refusal(1))


class OutcomeTests(SynchronousTestCase):
    """What the application hears of the network."""

    def waiting(self, data: bytes = PLAIN + NAME5) -> SocksConnection:
        core = make()
        run(core, [data])
        core.data_to_send()
        return core

    def test_open(self) -> None:
        """The reply says that bytes flow, with zeros for the exit's address."""
        core = self.waiting()
        self.assertEqual((core.tunnel_opened(2.0), core.data_to_send(), core.state), ([], OK5, State.TUNNEL))
        self.assertIsNone(core.next_deadline())

    def test_open_4(self) -> None:
        """SOCKS 4 has its own words for it."""
        core = self.waiting(NAME4)
        core.tunnel_opened(2.0)
        self.assertEqual(core.data_to_send().hex(), "005a000000000000")

    def test_failures(self) -> None:
        """The reply says how it failed."""
        for error, code in ((ConnectRefused(), 5), (ConnectTimeout(), 6), (ResolveFailed(), 4), (None, 1)):
            core = self.waiting()
            self.assertEqual(core.open_failed(error, 2.0), [HangUp()])
            self.assertEqual(core.data_to_send(), refusal(code))

    def test_one_outcome(self) -> None:
        """What comes after the outcome changes nothing."""
        core = self.waiting()
        core.open_failed(ConnectRefused(), 2.0)
        core.data_to_send()
        self.assertEqual(core.tunnel_opened(2.0) + core.open_failed(None, 2.0) + core.name_resolved([], 2.0), [])
        self.assertEqual(core.data_to_send(), b"")

    def test_resolved(self) -> None:
        """RESOLVE is answered with the first IPv4 address, or else the first IPv6 address."""
        for answers, expected in (
            ([("::1", 5), ("1.2.3.4", 5), ("5.6.7.8", 5)], "05000001010203040000"),
            ([("::2", 5)], "05000004" + "00" * 15 + "020000"),
            ([], "05040001000000000000"),
        ):
            core = self.waiting(PLAIN + request5(0xF0))
            self.assertEqual(core.name_resolved(answers, 2.0), [HangUp()])
            self.assertEqual(core.data_to_send().hex(), expected)

    def test_resolved_4(self) -> None:
        """SOCKS 4 has no room for an IPv6 address."""
        core = self.waiting(b"\x04\xf0\x00\x00\x00\x00\x00\x01\x00example.org\x00")
        core.name_resolved([("::1", 5)], 2.0)
        self.assertEqual(core.data_to_send().hex(), "005b000000000000")

    def test_resolve_of_an_address(self) -> None:
        """An address is its own answer, and nobody is asked."""
        core = make()
        self.assertEqual(run(core, [PLAIN + request5(0xF0, b"1.2.3.4")]), [HangUp()])
        self.assertEqual(core.data_to_send().hex(), "0500" + "05000001010203040000")


class EarlyDataTests(SynchronousTestCase):
    """Bytes that come before the reply."""

    def test_kept(self) -> None:
        """They are kept in their order, however they arrive."""
        for pieces in feeds(PLAIN + NAME5 + b"early data"):
            core = make()
            run(core, pieces)
            core.receive_data(b" and more", 1.0)
            core.tunnel_opened(2.0)
            self.assertEqual(core.early_data(), (b"early data and more", False))

    def test_bounded(self) -> None:
        """At 64 KiB the adapter is asked to stop reading; nothing is thrown away."""
        core = make()
        run(core, [PLAIN + NAME5, b"x" * (EARLY_LIMIT - 1)])
        self.assertTrue(core.wants_data)
        run(core, [b"yy"])
        self.assertFalse(core.wants_data)
        core.tunnel_opened(2.0)
        self.assertEqual(core.early_data(), (b"x" * (EARLY_LIMIT - 1) + b"yy", False))
        self.assertTrue(core.wants_data)

    def test_ahead(self) -> None:
        """They can be taken while the network is asked; the rest comes when the tunnel is open, nothing twice."""
        for pieces in feeds(PLAIN + NAME5 + b"early data"):
            core = make()
            ahead = b"".join(core.data_ahead(4) for piece in pieces for _ in run(core, [piece]) or [None])
            core.receive_data(b" and more", 1.0)
            core.tunnel_opened(2.0)
            self.assertEqual(core.data_ahead(100), b"")
            rest, _ = core.early_data()
            self.assertEqual(ahead + rest, b"early data and more")

    def test_ahead_of_the_request(self) -> None:
        """The handshake itself never goes to the network."""
        data = GREETING + LOGIN + NAME5
        core = make()
        for end in range(len(data)):
            core.receive_data(data[end : end + 1], 1.0)
            self.assertEqual(core.data_ahead(100), b"")

    def test_ahead_is_bounded(self) -> None:
        """What was taken counts as long as the tunnel is not open."""
        core = make()
        run(core, [PLAIN + NAME5])
        for _ in range(EARLY_LIMIT // 1024):
            self.assertTrue(core.wants_data)
            run(core, [bytes(1024)])
            core.data_ahead(1024)
        self.assertFalse(core.wants_data)

    def test_end_after_data_that_went_ahead(self) -> None:
        """An EOF behind them is not the end of a program that has said nothing."""
        core = make()
        run(core, [PLAIN + NAME5 + b"all"])
        core.data_ahead(100)
        self.assertEqual(core.receive_eof(1.0), [])
        core.tunnel_opened(2.0)
        self.assertEqual(core.early_data(), (b"", True))

    def test_end_after_early_data(self) -> None:
        """An EOF behind early data goes the same way."""
        core = make()
        run(core, [PLAIN + NAME5 + b"all"])
        self.assertEqual(core.receive_eof(1.0), [])
        core.tunnel_opened(2.0)
        self.assertEqual(core.early_data(), (b"all", True))

    def test_end_without_early_data(self) -> None:
        """A program that ends while it has said nothing has gone."""
        core = make()
        run(core, [PLAIN + NAME5])
        self.assertEqual(core.receive_eof(1.0), [CloseNow()])

    def test_end_in_the_handshake(self) -> None:
        """An EOF at any place of the handshake closes, once, and no deadline is left."""
        data = GREETING + LOGIN + NAME5
        for end in range(len(data)):
            core = make()
            run(core, [data[:end]])
            self.assertEqual(core.receive_eof(1.0), [CloseNow()])
            self.assertIsNone(core.next_deadline())


class DeadlineTests(SynchronousTestCase):
    """The times."""

    def test_handshake(self) -> None:
        """A handshake has ten seconds in all, however slowly its bytes drip."""
        data = GREETING + LOGIN + NAME5
        for end in range(len(data)):
            core = make()
            run(core, [data[:end]], now=9.0)
            self.assertEqual(core.next_deadline(), DEFAULT_LIMITS.request_time)
            self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.request_time - 1), [])
            self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.request_time + 1), [CloseNow()])

    def test_total(self) -> None:
        """The network has 120 seconds from the connection; then the reply says so."""
        core = make()
        run(core, [PLAIN + NAME5], now=9.0)
        core.data_to_send()
        self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.open_time - 1), [])
        self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.open_time + 1), [HangUp()])
        self.assertEqual(core.data_to_send(), refusal(6))

    def test_leaving(self) -> None:
        """After a refusal the connection is closed soon, or at the application's EOF."""
        for by_eof in (False, True):
            core = make()
            run(core, [PLAIN + request5(2)], now=1.0)
            self.assertEqual(core.next_deadline(), 1.0 + LEAVING_TIMEOUT)
            events = core.receive_eof(1.5) if by_eof else core.deadline_passed(1.0 + LEAVING_TIMEOUT)
            self.assertEqual(events, [CloseNow()])
            self.assertIsNone(core.next_deadline())

"""Tests of torpydo.directory.policy."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.directory import ExitPolicy
from torpydo.directory.policy import MAX_RULES, MAX_TEXT
from torpydo.errors import ConfigurationError


def allows(policy: str, host: str, port: int) -> bool:
    return ExitPolicy.parse(policy).allows(ip_address(host).packed, port)


class MatchTests(SynchronousTestCase):
    def test_closed_by_default(self) -> None:
        """Without a rule nothing is allowed."""
        for policy in (ExitPolicy.closed(), ExitPolicy.parse(""), ExitPolicy.parse("reject *:*")):
            self.assertEqual(policy, ExitPolicy.closed())
            self.assertFalse(policy.allows(bytes([8, 8, 8, 8]), 80))
            self.assertFalse(policy.is_open)
            self.assertFalse(policy.may_allow_port(80))

    def test_first_match_wins(self) -> None:
        """An earlier rule decides, whichever way."""
        self.assertFalse(allows("reject 8.8.0.0/16:*, accept *:443", "8.8.8.8", 443))
        self.assertTrue(allows("accept 8.8.8.8:443, reject 8.8.0.0/16:*", "8.8.8.8", 443))
        self.assertTrue(allows("reject 8.8.0.0/16:*, accept *:443", "8.9.8.8", 443))

    def test_edges_of_networks_and_ports(self) -> None:
        """The first and last address and port of a rule match, the next ones do not."""
        policy = "accept 8.8.0.0/15:80-82"
        for host, port, expected in (
            ("8.8.0.0", 80, True), ("8.9.255.255", 82, True), ("8.7.255.255", 80, False), ("8.10.0.0", 80, False),
            ("8.8.0.0", 79, False), ("8.8.0.0", 83, False), ("8.8.0.0", 81, True),
        ):  # fmt: skip
            self.assertIs(allows(policy, host, port), expected, (host, port))

    def test_ipv6(self) -> None:
        """IPv6 rules match IPv6 addresses, and ``*`` matches both."""
        self.assertTrue(allows("accept [2a00::]/16:80", "2a00:1::1", 80))
        self.assertFalse(allows("accept [2a00::]/16:80", "2b00::1", 80))
        self.assertFalse(allows("accept 0.0.0.0/0:80", "2a00::1", 80))
        self.assertFalse(allows("accept [::]/0:80", "8.8.8.8", 80))
        self.assertTrue(allows("accept *:80", "2a00::1", 80))

    def test_no_port_zero(self) -> None:
        """Port 0 is never allowed."""
        self.assertFalse(allows("accept *:*", "8.8.8.8", 0))


class PrivateTests(SynchronousTestCase):
    PRIVATE = (
        "0.0.0.0", "10.0.0.1", "127.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "224.0.0.1",
        "255.255.255.255", "::", "::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1", "::ffff:8.8.8.8",
        "64:ff9b::808:808", "2002:808:808::1", "2001::1",
    )  # fmt: skip

    def test_not_opened_by_wide_rules(self) -> None:
        """No rule that is not meant for private destinations opens one."""
        for policy in ("accept *:*", "accept *:80", "accept 0.0.0.0/0:*, accept [::]/0:*", "accept 0.0.0.0/1:80"):
            for host in self.PRIVATE:
                self.assertFalse(allows(policy, host, 80), (policy, host))

    def test_opened_by_name(self) -> None:
        """A rule that names a private range opens it, and only it."""
        policy = "accept *:*, accept 127.0.0.0/8:*, accept [::1]:8080, accept 192.168.7.0/24:80"
        self.assertTrue(allows(policy, "127.0.0.1", 8080))
        self.assertTrue(allows(policy, "::1", 8080))
        self.assertTrue(allows(policy, "192.168.7.255", 80))
        self.assertFalse(allows(policy, "::1", 8081))
        self.assertFalse(allows(policy, "192.168.8.0", 80))
        self.assertFalse(allows(policy, "10.0.0.1", 8080))

    def test_reject_before(self) -> None:
        """A reject rule before it closes it again."""
        self.assertFalse(allows("reject 127.0.0.1:*, accept 127.0.0.0/8:*", "127.0.0.1", 80))

    def test_embedded_addresses_are_never_opened(self) -> None:
        """Not even a rule for ::/8 opens the IPv6 spelling of an IPv4 address."""
        self.assertTrue(allows("accept [::]/8:*", "::1", 80))
        self.assertFalse(allows("accept [::]/8:*", "::ffff:127.0.0.1", 80))
        self.assertRaises(ConfigurationError, ExitPolicy.parse, "accept [::ffff:127.0.0.1]:*")
        self.assertRaises(ConfigurationError, ExitPolicy.parse, "accept [2002::]/16:80")
        self.assertRaises(ConfigurationError, ExitPolicy.parse, "reject [::ffff:0:0]/96:80")


class DefaultPortTests(SynchronousTestCase):
    REJECTED = (25, 119, 135, 139, 445, 563, 1214, 4661, 4666, 6346, 6429, 6699, 6881, 6999)

    def test_not_opened_by_star(self) -> None:
        """``*`` as port leaves mail, file sharing and the like closed."""
        for port in self.REJECTED:
            self.assertFalse(allows("accept *:*", "8.8.8.8", port), port)
            self.assertFalse(allows("accept 8.0.0.0/8:*", "8.8.8.8", port), port)
            self.assertFalse(ExitPolicy.parse("accept *:*").may_allow_port(port), port)

    def test_neighbours_are_open(self) -> None:
        """The ports beside those are open."""
        for port in (24, 26, 134, 140, 4660, 4667, 6345, 6430, 6880, 7000):
            self.assertTrue(allows("accept *:*", "8.8.8.8", port), port)

    def test_opened_by_name(self) -> None:
        """A port or a range of ports that is named is open."""
        self.assertTrue(allows("accept *:25", "8.8.8.8", 25))
        self.assertTrue(allows("accept *:20-30", "8.8.8.8", 25))
        self.assertFalse(allows("accept *:1-65535", "8.8.8.8", 25))

    def test_reject_star_rejects_them(self) -> None:
        """A reject rule means every port."""
        self.assertFalse(allows("reject 8.8.8.8:*, accept *:25", "8.8.8.8", 25))

    def test_private_rules_open_all_ports(self) -> None:
        """A rule for a private range means what it says."""
        self.assertTrue(allows("accept 127.0.0.0/8:*", "127.0.0.1", 6900))


class MayAllowTests(SynchronousTestCase):
    def test_any_destination_is_enough(self) -> None:
        """One open address is enough, unless only wide rules count."""
        policy = ExitPolicy.parse("accept 8.8.8.8:80, accept 127.0.0.0/8:*, accept 0.0.0.0/8:*, accept 9.0.0.0/8:443")
        self.assertTrue(policy.may_allow_port(80))
        self.assertFalse(policy.may_allow_port(80, wide=True))
        self.assertTrue(policy.may_allow_port(443, wide=True))
        self.assertTrue(ExitPolicy.parse("accept [2a00::]/16:22").may_allow_port(22, wide=True))

    def test_shadowed_rules(self) -> None:
        """A rule behind a reject of the same addresses and port allows nothing."""
        for policy, expected in (
            ("reject *:22, accept *:*", False),
            ("reject *:1-100, accept 8.8.8.8:22", False),
            ("reject 8.0.0.0/8:*, accept 8.8.8.8:22", False),
            ("reject 8.8.8.8:*, accept 8.0.0.0/8:22", True),
            ("reject 8.0.0.0/16:*, accept 8.0.0.0/8:22", True),
            ("reject 8.0.0.0/8:*, accept *:22", True),
            ("reject 8.0.0.0/8:*, accept [2a00::]/16:22", True),
            ("reject *:23, accept *:22", True),
        ):
            self.assertIs(ExitPolicy.parse(policy).may_allow_port(22), expected, policy)


NETWORKS = ["*", "0.0.0.0/0", "8.0.0.0/8", "8.8.8.8", "127.0.0.0/8", "10.1.0.0/16", "[::1]", "[2a00::]/16"]


class ParseTests(SynchronousTestCase):
    def test_canonical_text(self) -> None:
        """Rules are written in one way, whatever they were read from."""
        for text, expected in (
            (" ACCEPT  127.0.0.0/8:* ,\n\n reject *:25-25,", "accept 127.0.0.0/8:*, reject *:25"),
            ("accept 1.2.3.4/32:1-65535", "accept 1.2.3.4:*"),
            ("accept [2A00:0::1]/128:80", "accept [2a00::1]:80"),
            ("accept [2a00::]/16:80-81", "accept [2a00::]/16:80-81"),
            ("accept *:80, reject *:*, accept *:81", "accept *:80"),
            ("", "reject *:*"),
        ):
            policy = ExitPolicy.parse(text)
            self.assertEqual(str(policy), expected)
            self.assertEqual(ExitPolicy.parse(str(policy)), policy)

    def test_wrong_rules(self) -> None:
        """A wrong rule is refused, and the error shows it."""
        for rule in (
            "allow *:80", "accept", "accept *", "accept *:", "accept *:0", "accept *:65536", "accept *:9-8",
            "accept :80", "accept */8:80", "accept 10.0.0.1/8:80", "accept 1.2.3.4/33:80", "accept 1.2.3:80",
            "accept ::1:80",
            "accept [1.2.3.4]:80", "accept [::1/128]:80", "accept [::g]:80", "accept 010.0.0.1:80", "accept *:80 x",
            "accept 10.0.0.0/255.0.0.0:80", "accept *:٨٠", "accept [fe80::1%1]:80", "accept 999999:80",
        ):  # fmt: skip
            error = self.assertRaises(ConfigurationError, ExitPolicy.parse, "accept *:443, " + rule)
            self.assertIn(repr(rule), str(error))

    def test_bounds(self) -> None:
        """The number of rules and the length of the text have a bound."""
        self.assertEqual(len(ExitPolicy.parse("accept *:80," * MAX_RULES).rules), MAX_RULES)
        self.assertRaises(ConfigurationError, ExitPolicy.parse, "accept *:80," * (MAX_RULES + 1))
        self.assertEqual(ExitPolicy.parse(" " * MAX_TEXT), ExitPolicy.closed())
        self.assertRaises(ConfigurationError, ExitPolicy.parse, " " * (MAX_TEXT + 1))

    @given(st.text(max_size=60) | st.text("acepjrt *:[]/0123456789.,-\n", max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text is a policy that reads back, or a ConfigurationError."""
        try:
            policy = ExitPolicy.parse(text)
        except ConfigurationError:
            return
        self.assertEqual(ExitPolicy.parse(str(policy)), policy)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["accept", "reject"]),
                st.sampled_from(NETWORKS),
                st.sampled_from(["*", "80", "25", "20-100"]),
            ),
            max_size=6,
        ),
        st.sampled_from(["8.8.8.8", "8.1.1.1", "127.0.0.1", "10.1.1.1", "10.2.2.2", "::1", "2a00::1", "1.1.1.1"]),
        st.sampled_from([25, 80, 443]),
    )
    def test_what_is_allowed_may_be(self, parts: list[tuple[str, str, str]], host: str, port: int) -> None:
        """Whenever an address is allowed, its port may be; and the text means the same when read again."""
        policy = ExitPolicy.parse(", ".join(f"{verb} {net}:{ports}" for verb, net, ports in parts))
        ip = ip_address(host).packed
        allowed = policy.allows(ip, port)
        if allowed:
            self.assertTrue(policy.may_allow_port(port))
            self.assertTrue(policy.is_open)
        self.assertEqual(ExitPolicy.parse(str(policy)).allows(ip, port), allowed)

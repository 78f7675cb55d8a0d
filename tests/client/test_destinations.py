"""Tests of torpydo.client.destinations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.client.destinations import check_destination
from torpydo.errors import ExitPolicyRefused, ResolveFailed, StreamError

PRIVATE = """
    localhost LOCALHOST localhost. a.localhost 127.0.0.1 127.9.9.9 10.0.0.1 192.168.1.1 172.16.0.1 169.254.169.254
    0.0.0.0 100.64.0.1 224.0.0.1 255.255.255.255 ::1 [::1] [::1]. :: fe80::1 fc00::1 ::ffff:10.0.0.1 64:ff9b::8.8.8.8
""".split()
FOREIGN = "abc.onion ABC.ONION abc.onion. www.abc.Onion x.exit x.i2p printer.local x.torpydo onion".split()


class CheckTests(SynchronousTestCase):
    """What may be told to an exit."""

    def test_public_names_and_addresses_pass(self) -> None:
        """In every spelling, without dots and brackets that mean nothing."""
        for host, sent in (
            ("example.org", "example.org"),
            ("example.org.", "example.org"),
            ("8.8.8.8", "8.8.8.8"),
            ("[2600::1]", "2600::1"),
            ("[2600::1].", "2600::1"),
            ("onion.example.org", "onion.example.org"),
        ):
            self.assertEqual(check_destination(host, 80, private_allowed=False), sent)

    def test_private_destinations_are_refused(self) -> None:
        """Outside a test network."""
        for host in PRIVATE:
            with self.assertRaises(ExitPolicyRefused, msg=host):
                check_destination(host, 80, private_allowed=False)

    def test_private_destinations_pass_in_a_test_network(self) -> None:
        """There they are the point."""
        for host in PRIVATE:
            check_destination(host, 80, private_allowed=True)

    def test_names_of_other_networks_never_leave(self) -> None:
        """In no spelling, in no network."""
        for host in FOREIGN:
            for allowed in (False, True):
                with self.assertRaises(ResolveFailed, msg=host):
                    check_destination(host, 80, private_allowed=allowed)

    def test_what_no_host_can_be_is_refused(self) -> None:
        """Before anything is built for it."""
        for host in ("", ".", "a b", "a\r\nb", "\u2603\u0000.example", "x" * 256, "\u00fc" * 256):
            self.assertRaises(ResolveFailed, check_destination, host, 80, private_allowed=True)

    def test_brackets_hide_nothing(self) -> None:
        """Whatever is left of them an exit would take away, and find a private address; found by the fuzzer."""
        for host in ("[[::1]]", "[[::]]", "[[10.0.0.1]]", "[]", "[::1", "::1]", "a[b].example"):
            self.assertRaises(ResolveFailed, check_destination, host, 80, private_allowed=False)

    def test_international_names(self) -> None:
        """They are sent as the DNS has them, and judged after that: wide letters hide nothing."""
        for host, sent in (
            ("b\u00fccher.example", "xn--bcher-kva.example"),
            ("B\u00dcCHER.example.", "xn--bcher-kva.example"),
            ("\u4f8b\u3048.jp", "xn--r8jz45g.jp"),
        ):
            self.assertEqual(check_destination(host, 80, private_allowed=False), sent)
        for host in ("abc.\uff4f\uff4e\uff49\uff4f\uff4e", "x\u3002onion"):
            self.assertRaises(ResolveFailed, check_destination, host, 80, private_allowed=True)
        for host in ("\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54", "\uff11\uff12\uff17.0.0.1"):
            self.assertRaises(ExitPolicyRefused, check_destination, host, 80, private_allowed=False)

    def test_ports(self) -> None:
        """1 to 65535; none for a name alone."""
        for port in (0, 65536, -1):
            self.assertRaises(ExitPolicyRefused, check_destination, "example.org", port, private_allowed=True)
        self.assertEqual(check_destination("example.org", None, private_allowed=True), "example.org")

    @given(host=st.text(max_size=300), port=st.integers())
    def test_any_text_passes_or_is_a_stream_error(self, host: str, port: int) -> None:
        """Nothing else comes out, whatever goes in."""
        try:
            sent = check_destination(host, port, private_allowed=False)
        except StreamError:
            return
        self.assertTrue(sent.isascii() and 1 <= len(sent) <= 255)

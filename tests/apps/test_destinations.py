"""Which destinations leave this machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.destinations import Destination, Forbidden, Why, judge

PRIVATE = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.1.",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2002:7f00:1::1",
    "2001::1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "nas.home.arpa",
    "db.internal",
    "localhost.localdomain",
]
SPECIAL = [
    "x.onion",
    "X.ONION",
    "x.onion.",
    "www.x.onion",
    "onion",
    "x.exit",
    "x.i2p",
    "x.noconnect",
    "x.alt",
    "printer.local",
]
MALFORMED = [
    "",
    ".",
    "..",
    "a..b",
    "-a.example",
    "a-.example",
    "a b.example",
    "a\0.example",
    "a\r\nb",
    "ex\ufffdmple.org",
    "a/b",
    "a:b",
    "user@host",
    "x" * 64 + ".example",
    ("x" * 60 + ".") * 5,
    "[example.org]",
    "[1.2.3.4]",
    "[::1",
    "fe80::1%eth0",
    "1.2.3.4.5:",
    "1.2.3.256",
    "::12345",
    "0x",
    "example.org..",
]
PUBLIC = {
    "example.org": "example.org",
    "EXAMPLE.org.": "example.org",
    "_dmarc.example.org": "_dmarc.example.org",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "1.1.1.1": "1.1.1.1",
    "16843009": "1.1.1.1",
    "8.8.8.8.": "8.8.8.8",
    "2606:4700:4700::1111": "2606:4700:4700::1111",
    "[2606:4700:4700:0::1111]": "2606:4700:4700::1111",
    "onion.example.org": "onion.example.org",
    "notlocalhost": "notlocalhost",
    "intranet": "intranet",
    "name.invalid": "name.invalid",
    "1.2.3.4.5": "1.2.3.4.5",
    "3com.com": "3com.com",
}


class JudgeTests(SynchronousTestCase):
    """The one decision."""

    def test_private(self) -> None:
        """Private and local destinations are refused in every spelling."""
        for host in PRIVATE:
            self.assertEqual(judge(host, 80, allow_private=False), Forbidden(Why.PRIVATE), host)

    def test_private_in_a_test_network(self) -> None:
        """In a test network they are allowed, and known for what they are."""
        for host in PRIVATE:
            verdict = judge(host, 80, allow_private=True)
            self.assertTrue(isinstance(verdict, Destination) and verdict.private, host)

    def test_special(self) -> None:
        """Names outside the DNS never leave, not even in a test network."""
        for host in SPECIAL:
            for allow_private in (False, True):
                self.assertEqual(judge(host, 80, allow_private=allow_private), Forbidden(Why.SPECIAL), host)

    def test_onion_services(self) -> None:
        """The client finds them; there is no address that anybody could ask for."""
        for host in ("x.torpydo", "www.x.TORPYDO."):
            found = judge(host, 80, allow_private=False)
            self.assertEqual(found, Destination(host.lower().rstrip("."), 80, literal=False, private=False))
            self.assertEqual(judge(host, 0, allow_private=True, resolve_only=True), Forbidden(Why.SPECIAL), host)

    def test_malformed(self) -> None:
        """What is neither a name nor an address is refused."""
        for host in MALFORMED:
            self.assertEqual(judge(host, 80, allow_private=True), Forbidden(Why.MALFORMED), host)

    def test_public(self) -> None:
        """Other destinations go out in one spelling."""
        for host, canonical in PUBLIC.items():
            verdict = judge(host, 80, allow_private=False)
            self.assertTrue(isinstance(verdict, Destination), host)
            assert isinstance(verdict, Destination)
            self.assertEqual((verdict.host, verdict.private), (canonical, False))

    def test_literal(self) -> None:
        """A destination says whether it came as an address."""
        for host, literal in (("1.1.1.1", True), ("16843009", True), ("2606::1", True), ("example.org", False)):
            self.assertEqual(
                judge(host, 80, allow_private=False),
                Destination({"16843009": "1.1.1.1"}.get(host, host), 80, literal=literal, private=False),
            )

    def test_port(self) -> None:
        """A stream needs a port, a name alone does not."""
        for port in (0, -1, 65536, 99999):
            self.assertEqual(judge("example.org", port, allow_private=True), Forbidden(Why.PORT))
        self.assertIsInstance(judge("example.org", 0, allow_private=False, resolve_only=True), Destination)

    @given(st.text(max_size=60), st.integers(0, 70000))
    def test_anything(self, host: str, port: int) -> None:
        """Any text gets a verdict, and one that is allowed stays what it is."""
        verdict = judge(host, port, allow_private=False)
        if isinstance(verdict, Destination):
            self.assertEqual(judge(verdict.host, port, allow_private=False), verdict)
            self.assertTrue(verdict.host.isascii())

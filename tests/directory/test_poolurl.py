"""Tests of torpydo.directory.poolurl."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import key
from torpydo.directory import PoolURL
from torpydo.errors import PoolURLError

POOL = key("pool").pool_id


class PoolURLTests(SynchronousTestCase):
    def test_with_key(self) -> None:
        """Host, port and key are read, and written as they were."""
        text = f"http://pool.example.org:8080/#{POOL}"
        url = PoolURL.parse(text)
        self.assertEqual(url, PoolURL("pool.example.org", 8080, POOL))
        self.assertEqual(str(url), text)

    def test_other_spellings(self) -> None:
        """Case, a missing slash or port, and spaces around do not make another pool."""
        expected = PoolURL("pool.example.org", 80, POOL)
        for text in (
            f"HTTP://Pool.Example.ORG/#{POOL}",
            f"http://pool.example.org#{POOL}",
            f" http://pool.example.org:80/#{str(POOL).upper()}\n",
        ):
            self.assertEqual(PoolURL.parse(text), expected, text)

    def test_ipv6(self) -> None:
        """An IPv6 address stands in brackets and has one spelling."""
        url = PoolURL.parse(f"http://[2A00:0:0::1]:81/#{POOL}")
        self.assertEqual(url.host, "2a00::1")
        self.assertEqual(str(url), f"http://[2a00::1]:81/#{POOL}")

    def test_key_may_be_missing_on_loopback(self) -> None:
        """A loopback pool is pinned at first use."""
        for text in ("http://127.0.0.1:8080/", "http://127.3.2.1", "http://[::1]:1/", "http://localhost:8080/#"):
            url = PoolURL.parse(text)
            self.assertIsNone(url.pool_id)
            self.assertTrue(url.is_loopback)
            self.assertEqual(PoolURL.parse(str(url)), url)

    def test_key_missing_elsewhere(self) -> None:
        """Any other pool must come with its key, and the error says where to get it."""
        for text in ("http://10.0.0.1:8080/", "http://example.org/", "http://localhost.example.org/", "http://[::2]/"):
            error = self.assertRaises(PoolURLError, PoolURL.parse, text)
            self.assertIn("STATE/pool.url", str(error))

    def test_malformed(self) -> None:
        """Whatever is not a pool URL is refused."""
        for text in (
            "", "http://", "https://127.0.0.1/", "ftp://127.0.0.1/", "127.0.0.1:80", "http://127.0.0.1/x",
            "http://a b/",
            "http://u@127.0.0.1/", "http://127.0.0.1/?q", "http://127.0.0.1:x/", "http://127.0.0.1:0/", "http://[::1/",
            "http://127.0.0.1:65536/", "http://127.0.0.1/#short", "http://[::g]/", "http://[1::2::3]/", "http://a..b/",
            "http://.a/", f"http://{'a' * 64}.org/#{POOL}", f"http://127.0.0.1/#{POOL}x",
            "http://127.0.0.1/" + "#" * 600,
            f"http://127.0.0.1/#{'a' * 52}", "http://127.0.0.1/\n#", "http://[127.0.0.1%1]/", "http://é/", "http://１/",
        ):  # fmt: skip
            self.assertRaises(PoolURLError, PoolURL.parse, text)

    def test_numbers_that_resolvers_take_for_addresses(self) -> None:
        """A host that looks like a number must be a plain address: a reader must see where it goes."""
        for host in ("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "example.0x1", "1.2.3.4."):
            self.assertRaises(PoolURLError, PoolURL.parse, f"http://{host}/#{POOL}")

    def test_private(self) -> None:
        """An address of a private network is told from a public one; a name proves nothing."""
        for host, private in (("10.0.0.1", True), ("127.0.0.1", True), ("[fd00::1]", True), ("localhost", True),
                              ("8.8.8.8", False), ("pool.lan", False), ("0.0.0.0", False)):  # fmt: skip
            self.assertIs(PoolURL.parse(f"http://{host}/#{POOL}").is_private_or_loopback, private, host)

    @given(st.text(max_size=80) | st.text("htp:/[]#.0123456789abcdef@%", max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text is a URL that reads back, or a PoolURLError."""
        for candidate in (text, "http://" + text):
            try:
                url = PoolURL.parse(candidate)
            except PoolURLError:
                continue
            self.assertEqual(PoolURL.parse(str(url)), url)

"""Tests of torpydo.pool.page."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, descriptor, document, node_id
from tests.pool.build import POOL
from tests.pool.test_store import record
from torpydo.pool.page import CONTENT_SECURITY_POLICY, MAX_ROWS, render_page
from torpydo.pool.roster import ListedNode


def node(name: object = 0, **overrides: Any) -> ListedNode:
    """A listed node; every field of its descriptor can be overridden."""
    made = attrs.evolve(descriptor(name), **overrides)
    return ListedNode(record(name, document=document(name), last_heard=NOW - 7.4), made, 0.0, 0.0)


def page(*nodes: ListedNode, test_network: bool = False) -> str:
    """The page as text."""
    return render_page(POOL.pool_id, nodes, test_network=test_network, now=NOW).decode()


class PageTests(SynchronousTestCase):
    """What people see."""

    def test_a_node(self) -> None:
        """A row says who, where, since when, how fast, which version and policy, and when it was last heard."""
        text = page(node(7, bandwidth=12_500_000))
        for words in (
            "node7",
            str(node_id(7)),
            "20.7.1.1:6000",
            "2027-01-15 08:00",
            "7 s ago",
            "12.5 MB/s",
            "0.1.0",
            "reject *:*",
            "1 node is listed",
            str(POOL.pool_id),
        ):
            self.assertIn(words, text)

    def test_nobody(self) -> None:
        """An empty pool says so."""
        self.assertIn("0 nodes are listed", page())

    def test_escaped(self) -> None:
        """Whatever a node calls itself is text."""
        text = page(node(nickname="<script>alert(1)</script>", version='"><b>'))
        self.assertNotIn("<script", text)
        self.assertNotIn("<b>", text)
        self.assertIn("&lt;script&gt;", text)

    def test_braces(self) -> None:
        """Braces in a name are text too."""
        self.assertIn("{id} {0}", page(node(nickname="{id} {0}")))

    def test_test_network(self) -> None:
        """A test network is marked."""
        self.assertIn("test network", page(test_network=True))
        self.assertNotIn("test network", page())

    def test_bandwidths(self) -> None:
        """Rates have units that people read."""
        for bandwidth, words in ((0, "not said"), (999, "999 B/s"), (250_000, "250 kB/s"), (3 * 10**9, "3.0 GB/s")):
            self.assertIn(words, page(node(bandwidth=bandwidth)))

    def test_many(self) -> None:
        """A large pool shows the first rows and says so."""
        text = page(*[node()] * (MAX_ROWS + 1))
        self.assertEqual(text.count("<tr><td>"), MAX_ROWS)
        self.assertIn(f"{MAX_ROWS + 1} nodes are listed, the first {MAX_ROWS} of them below", text)

    def test_policy_fits_the_style(self) -> None:
        """The content security policy allows the page's own style and nothing else."""
        (style,) = re.findall("<style>(.*?)</style>", page(), re.DOTALL)
        digest = b64encode(sha256(style.encode()).digest()).decode()
        self.assertIn(f"style-src 'sha256-{digest}'", CONTENT_SECURITY_POLICY)
        self.assertTrue(CONTENT_SECURITY_POLICY.startswith("default-src 'none'"))

    def test_no_script_no_inline_style(self) -> None:
        """Nothing on the page needs more than that policy."""
        text = page(node())
        for word in ("<script", "style=", "onclick", "src=", "http:", "https:"):
            self.assertNotIn(word, text)

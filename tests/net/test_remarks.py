"""Tests of torpydo.net.remarks, and of what else people learn of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, listing, url
from torpydo.directory import TEST_NETWORK, NetDir, PoolURL
from torpydo.net.fetch import Fetched
from torpydo.net.listedpool import ListedPool, describe_skew, read_skew
from torpydo.net.remarks import Remarks

HOUR = 3600


class RemarksTests(SynchronousTestCase):
    """What is said once, and shown while it lasts."""

    def setUp(self) -> None:
        self.remarks = Remarks()
        self.pools: list[ListedPool] = []

    def look(self, contents: dict[str, Sequence[int]], now: float = NOW, **more: Any) -> list[str]:
        """What is said when the pools list these nodes."""
        urls = [PoolURL("pool.example.org", port, url(name).pool_id) for port, name in enumerate(contents, 1)]
        self.pools = []
        threshold = more.pop("threshold", None)
        for where, (name, nodes) in zip(urls, contents.items(), strict=True):
            pool = ListedPool(where, where.pool_id)
            pool.take(listing(name, [document(node) for node in nodes], **more), b"data")
            self.pools.append(pool)
        listings = {pool.url: pool.listing for pool in self.pools if pool.listing is not None}
        netdir = NetDir.merge(listings, urls, threshold, now)
        with capturedLogs() as lines:
            self.remarks.update(self.pools, netdir, now)
        return [str(formatEvent(line)) for line in lines]

    def test_nothing(self) -> None:
        """Pools that agree are not remarked on."""
        self.assertEqual(self.look({"a": range(9), "b": range(9), "c": range(9)}), [])
        self.assertEqual(self.remarks.texts, ())

    def test_one_pool(self) -> None:
        """One pool is one trust; that is said once (SECURITY N1)."""
        (said,) = self.look({"a": range(3)})
        self.assertIn("there is one pool", said)
        self.assertEqual(self.look({"a": range(4)}), [])
        self.assertEqual(self.remarks.texts, (said,))

    def test_threshold_of_one(self) -> None:
        """So is each of several where one is enough."""
        (said,) = self.look({"a": range(3), "b": range(3)}, threshold=1)
        self.assertIn("each of 2 pools alone", said)

    def test_test_network(self) -> None:
        """A test network has one pool by nature: its URL is local."""
        where = PoolURL("127.0.0.1", 8080, url("a").pool_id)
        made = listing("a", parameters={TEST_NETWORK: True})
        self.remarks.update([], NetDir.merge({where: made}, [where], None, NOW), NOW)
        self.assertEqual(self.remarks.texts, ())

    def test_expired(self) -> None:
        """Between its end and a day later a listing is used, and people are told (SECURITY N2)."""
        contents = {"a": range(3), "b": range(3), "c": range(3)}
        for age, remarks in ((3 * HOUR - 1, 0), (3 * HOUR, 3), (27 * HOUR, 3), (27 * HOUR + 1, 0)):
            self.look(contents, NOW + age)
            self.assertEqual(len([text for text in self.remarks.texts if "expired" in text]), remarks, age)
        said = self.look(contents, NOW + 5 * HOUR)
        self.assertIn("pool.example.org:1 expired 2.0 h ago", said[0])
        self.assertIn("not for more than 22.0 h", said[0])

    def test_a_pool_that_leaves_nodes_out(self) -> None:
        """It is named, with how many; a few may have come or gone between two listings."""
        self.assertEqual(self.look({"a": range(20), "b": range(20), "c": range(15)}), [])
        (said,) = self.look({"a": range(20), "b": range(20), "c": range(14)})
        self.assertIn("pool.example.org:3 does not list 6 of the 20 nodes", said)

    def test_a_pool_that_knows_nodes_alone(self) -> None:
        """It is named too."""
        self.assertEqual(self.look({"a": range(9), "b": range(9), "c": range(12)}), [])
        (said,) = self.look({"a": range(9), "b": range(9), "c": range(40)})
        self.assertIn("pool.example.org:3 lists 31 nodes that too few other pools list", said)

    def test_said_again(self) -> None:
        """What ends and begins again is said again."""
        bad, good = {"a": range(9), "b": range(9), "c": range(2)}, {"a": range(9), "b": range(9), "c": range(9)}
        self.assertEqual([len(self.look(each)) for each in (bad, bad, good, bad)], [1, 0, 0, 1])


class SkewTests(SynchronousTestCase):
    """Reading a clock, and saying how far it is off."""

    def test_read(self) -> None:
        """Seconds since 1970, with or without an end of line; nothing else is a time."""
        for body in (b"1799999000", b"1799999000\n"):
            self.assertEqual(read_skew(Fetched(200, body, None, False), NOW), 1000)
        for status, body in ((404, b"1799999000"), (200, b"1799999000 "), (200, b"1e9"), (200, b"9" * 13), (200, b"")):
            self.assertIsNone(read_skew(Fetched(status, body, None, False), NOW))

    def test_described(self) -> None:
        """From five minutes on, with the direction."""
        for skew, words in (
            (None, ""),
            (300, ""),
            (-600, "10 min behind"),
            (7320, "2 h 2 min ahead of"),
            (-10 * 86400, "240 h 0 min behind"),
        ):
            text = describe_skew(skew)
            self.assertEqual(bool(words), bool(text))
            self.assertIn(words, text)

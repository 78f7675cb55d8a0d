"""Tests of torpydo.directory.agreement: when enough pools say the same, and when a client had better wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, OPEN, document, listing, randbelow, url
from torpydo.directory import Descriptor, NetDir, choose_path
from torpydo.directory.agreement import Share
from torpydo.errors import PathError


def merge(contents: Mapping[str, Sequence[int]], pools: str = "abc", **more: Any) -> NetDir:
    """The view of a client of *pools*, of which those in *contents* gave a listing of these nodes, all exits."""
    urls = {pool: url(pool) for pool in pools}
    listings = {
        urls[pool]: listing(pool, [document(name, policy=OPEN, **more) for name in names])
        for pool, names in contents.items()
    }
    return NetDir.merge(listings, list(urls.values()), None, NOW)


def choose(netdir: NetDir) -> tuple[Descriptor, ...]:
    return choose_path(netdir, hops=3, port=443, randbelow=randbelow())


class ShareTests(SynchronousTestCase):
    def test_of_paths(self) -> None:
        """One factor for each position, the exit's its own; a longer path has no more positions."""
        share = Share(0.5, 0.25)
        self.assertEqual([share.of_paths(hops) for hops in (1, 2, 3, 8)], [0.25, 0.125, 0.0625, 0.0625])


class MissingPoolTests(SynchronousTestCase):
    """One of three pools gave no listing."""

    def test_the_others_agree(self) -> None:
        """Then nothing is missing."""
        netdir = merge({"a": range(10), "b": range(10)})
        self.assertEqual(netdir.path_share(3), 1)
        self.assertEqual(len(choose(netdir)), 3)

    def test_one_of_them_hides_nodes(self) -> None:
        """A pool that lists few nodes would choose those that a client uses: no path is chosen."""
        netdir = merge({"a": range(10), "c": range(3)})
        self.assertEqual(len(netdir.nodes), 3)
        self.assertAlmostEqual(netdir.path_share(3), 0.3**3)
        error = self.assertRaises(PathError, choose, netdir)
        self.assertIn("1 of 3 pools gave no listing", str(error))
        self.assertIn("hiding nodes", str(error))

    def test_sixty_percent(self) -> None:
        """Six nodes of seven leave 63 % of the paths; five of six 58 %, which is too few."""
        self.assertEqual(len(choose(merge({"a": range(7), "c": range(6)}))), 3)
        self.assertRaises(PathError, choose, merge({"a": range(6), "c": range(5)}))

    def test_weight_counts(self) -> None:
        """Hiding one node that carries as much as many others is seen."""
        urls = [url(pool) for pool in "abc"]
        big = [document(name, policy=OPEN, bandwidth=10**6) for name in range(6)]
        small = [document(name, policy=OPEN, bandwidth=10**3) for name in range(6, 10)]
        listings = {urls[0]: listing("a", [*big, *small]), urls[2]: listing("c", [*big[1:], *small])}
        netdir = NetDir.merge(listings, urls, None, NOW)
        self.assertEqual(len(netdir.nodes), 9)
        self.assertLess(netdir.path_share(3), 0.6)

    def test_exits_count_for_themselves(self) -> None:
        """Hiding most exits is seen, though they are few among all nodes."""
        urls = [url(pool) for pool in "abc"]
        exits = [document(name, policy=OPEN) for name in range(4)]
        others = [document(name) for name in range(10, 50)]
        listings = {urls[0]: listing("a", [*exits, *others]), urls[2]: listing("c", [exits[0], *others])}
        self.assertLess(NetDir.merge(listings, urls, None, NOW).path_share(3), 0.25)

    def test_with_five_pools_one_liar_changes_nothing(self) -> None:
        """Three of the four that answered agree: what the fourth leaves out or makes up does not count."""
        for lie in (range(1), range(100)):
            netdir = merge({"a": range(10), "b": range(10), "c": range(10), "d": lie}, pools="abcde")
            self.assertEqual(netdir.path_share(3), 1)
            self.assertEqual(len(netdir.nodes), 10)


class AllPoolsTests(SynchronousTestCase):
    """Every pool gave a listing."""

    def test_strangers_of_one_pool(self) -> None:
        """Anybody can register nodes with one pool only: that makes no client stop."""
        for contents in (
            {"a": range(40), "b": range(10), "c": range(10)},
            {"a": [*range(10), *range(100, 120)], "b": [*range(10), *range(200, 220)], "c": range(10)},
        ):
            netdir = merge(contents)
            self.assertEqual((len(netdir.nodes), netdir.path_share(3)), (10, 1))

    def test_a_pool_that_hides(self) -> None:
        """The two others are enough."""
        self.assertEqual(merge({"a": range(10), "b": range(10), "c": range(1)}).path_share(3), 1)

    def test_what_t_pools_list_must_be_usable(self) -> None:
        """Descriptors that are too old are missing from every pool's share."""
        netdir = merge({"a": range(10), "b": range(10), "c": range(10)}, published=NOW - 49 * 3600)
        self.assertEqual(netdir.path_share(3), 0)

    def test_one_pool(self) -> None:
        """A single pool that hides nodes cannot be found out."""
        self.assertEqual(merge({"a": range(3)}, pools="a").path_share(3), 1)


class PoolViewTests(SynchronousTestCase):
    def test_counts(self) -> None:
        """What each pool lists, how much of it is used, and what it leaves out."""
        netdir = merge({"a": range(10), "b": range(10), "c": [*range(8), 50, 51, 52]})
        counts = {view.pool_id: (view.listed, view.used, view.missing) for view in netdir.pools}
        self.assertEqual(counts[url("a").pool_id], (10, 10, 0))
        self.assertEqual(counts[url("c").pool_id], (11, 8, 2))

    def test_too_few_pools(self) -> None:
        """Below the threshold there is no share, and no path because there is no node."""
        netdir = merge({"a": range(10)})
        self.assertEqual((netdir.path_share(3), netdir.listed), (0, 0))
        self.assertRaises(PathError, choose, netdir)

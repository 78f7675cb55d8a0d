"""How the work of the directory grows with the network (SECURITY D7): function calls are counted, not seconds."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import cache
from types import FrameType

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, key, listing, network, node_id, randbelow, url
from torpydo.directory import ExitPolicy, NetDir, choose_path, parse_listing, sign_listing
from torpydo.directory.netdir import Destination

FEW = 60
MORE = 4
"""How many times as many nodes."""
LINEAR = 4.4
"""The growth that is allowed where each node is looked at: four times, and something for a logarithm."""


def calls(function: Callable[[], object], room: str = "") -> int:
    """How many functions *function* calls, in Python and in C.

    :param room: only those in modules whose name begins with it, and what they call in C
    """
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call") and frame.f_globals["__name__"].startswith(room)

    before = sys.getprofile()
    # A collection in between would call what watches dead objects.
    gc.disable()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def documents(count: int, **overrides: object) -> list[bytes]:
    """Descriptors of that many nodes, a third of them exits."""
    return [document(name, policy="" if name % 3 else "accept *:443", **overrides) for name in range(count)]


@cache
def sizes() -> list[list[bytes]]:
    """The descriptors of both, made once."""
    return [documents(FEW), documents(FEW * MORE)]


class GrowthTests(SynchronousTestCase):
    """A network, and one that is four times as large."""

    def assert_growth(self, work: Callable[[list[bytes]], Callable[[], object]], most: float) -> None:
        """The larger one takes at most *most* times as many calls."""
        few, many = (calls(work(each)) for each in sizes())
        self.assertLessEqual(many / few, most)

    def test_parse(self) -> None:
        """Reading a listing: nothing is called for a single entry."""

        def work(each: list[bytes]) -> Callable[[], object]:
            data = sign_listing(listing(documents=each), key("pool"))
            return lambda: parse_listing(data, key("pool").pool_id, NOW)

        self.assert_growth(work, 1.1)

    def test_merge(self) -> None:
        """Merging the listings of three pools that know the same nodes."""

        def work(each: list[bytes]) -> Callable[[], object]:
            listings = {url(pool): listing(pool, each) for pool in "abc"}
            return lambda: NetDir.merge(listings, list(listings), None, NOW)

        self.assert_growth(work, LINEAR)

    def test_merge_again(self) -> None:
        """Merging again what is known already."""

        def work(each: list[bytes]) -> Callable[[], object]:
            listings = {url(): listing(documents=each)}
            previous = NetDir.merge(listings, list(listings), None, NOW)
            return lambda: NetDir.merge(listings, list(listings), None, NOW, previous=previous)

        self.assert_growth(work, LINEAR)

    def test_choose_path(self) -> None:
        """Choosing a path does not grow, but for one more step of a bisection."""

        def work(each: list[bytes]) -> Callable[[], object]:
            netdir = network(each)
            for name in range(len(each)):
                netdir.get(node_id(name))
            draw = randbelow()
            return lambda: [choose_path(netdir, hops=3, port=443, randbelow=draw) for _ in range(50)]

        self.assert_growth(work, 1.3)

    def test_choose_path_for_a_rare_port(self) -> None:
        """Nor does it where hardly any exit will do."""

        def work(each: list[bytes]) -> Callable[[], object]:
            netdir = network([*each, document("rare", policy="accept *:25")])
            netdir.nodes.get(node_id("rare"))
            draw = randbelow()
            choose_path(netdir, hops=3, port=25, randbelow=draw)
            return lambda: [choose_path(netdir, hops=1, port=25, randbelow=draw) for _ in range(50)]

        self.assert_growth(work, 1.3)


@attrs.frozen
class CountedDestination(Destination):
    """A destination that notes which policies were asked."""

    asked: list[object] = attrs.field(factory=list, eq=False)

    def allowed_by(self, policy: ExitPolicy) -> bool:
        self.asked.append(policy)
        return super().allowed_by(policy)


class ExitTests(SynchronousTestCase):
    """Which exits will do."""

    def test_each_policy_is_judged_once(self) -> None:
        """However many nodes have it."""
        netdir = network([document(name, policy=f"accept *:{443 + name % 2}") for name in range(20)])
        destination = CountedDestination(443)
        self.assertEqual(len(netdir.exits_for(destination).nodes), 10)
        self.assertEqual(len(destination.asked), 2)

    def test_remembered(self) -> None:
        """The second time nothing is judged."""
        netdir = network([document(name, policy="accept *:443") for name in range(5)])
        destination = CountedDestination(443)
        self.assertEqual(netdir.exits_near(destination).nodes, netdir.exits.nodes)
        found = netdir.exits_for(destination)
        self.assertIs(netdir.exits_near(destination), found)
        self.assertEqual(len(destination.asked), 1)

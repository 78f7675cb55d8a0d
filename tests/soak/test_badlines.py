"""Tests of tests.soak.badlines."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, cast

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.soak.badlines import BadLines
from torpydo.testing import FaultProxy
from torpydo.testing.faultline import Line
from torpydo.testing.faults import Flip

COME = 10**9


@attrs.define
class Connection:
    """A connection that notes what is done to it; so many bytes have come from each side."""

    to_target: Line = attrs.field(factory=Line)
    to_source: Line = attrs.field(factory=Line)
    faults: tuple[list[Any], list[Any]] = ([], [])

    def __attrs_post_init__(self) -> None:
        for line in (self.to_target, self.to_source):
            line.received = COME

    def set(self, to_target: list[Any], to_source: list[Any]) -> None:
        self.faults = (to_target, to_source)


@attrs.define
class Proxy:
    """A proxy with two connections."""

    connections: dict[int, Connection] = attrs.field(factory=lambda: {1: Connection(), 2: Connection()})


class DrawTests(SynchronousTestCase):
    """What bad lines do."""

    def test_all_kinds(self) -> None:
        """Each is drawn sooner or later, and names the node; nothing is done at a place that is over."""
        kinds: Counter[str] = Counter()
        for seed in range(200):
            proxies = {"node7": Proxy(), "node8": Proxy()}
            proxy, what = BadLines(cast(dict[str, FaultProxy], proxies), Random(seed)).draw()
            kind, _, name = what.partition(" before ")
            self.assertIs(proxy, proxies[name])
            kinds[kind] += 1
            for connection in proxies[name].connections.values():
                faults = [fault for side in connection.faults for fault in side]
                self.assertTrue(faults or kind == "a black hole one way")
                self.assertTrue(all(fault.offset >= COME for fault in faults if isinstance(fault, Flip)))
        self.assertEqual(len(kinds), 11)

    def test_no_time_for_holes(self) -> None:
        """A short run would end in the middle of one."""
        kinds = set()
        for seed in range(200):
            proxies = cast(dict[str, FaultProxy], {"node7": Proxy()})
            kinds.add(BadLines(proxies, Random(seed), holes=False).draw()[1])
        self.assertEqual(len(kinds), 9)
        self.assertFalse([kind for kind in kinds if "hole" in kind])

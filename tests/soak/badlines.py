"""Bad lines to some of the nodes: each is a proxy that most of the time does nothing, and now and then does wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import attrs

from torpydo.testing import FaultProxy
from torpydo.testing.faultline import Line
from torpydo.testing.faults import BlackHole, Delay, Drop, Duplicate, Fault, Flip, Freeze, Insert, Rate, Reset, Split

__all__ = ["BadLines"]

SOON = 200_000
"""Bytes within which a change is made."""


@attrs.frozen
class BadLines:
    """The proxies.

    :param proxies: by the names of the nodes before which they are
    :param holes: whether there is time for black holes: what went into one is waited for until its link counts as dead
    """

    proxies: Mapping[str, FaultProxy]
    random: Random
    holes: bool = True

    def draw(self) -> tuple[FaultProxy, str]:
        """Let one of them do something wrong until it is healed; gives it, and what it does."""
        name = self.random.choice(sorted(self.proxies))
        proxy = self.proxies[name]
        kind, make = self.random.choice(self._kinds())
        # What is done at a place is done to each connection at a place that is still to come.
        for connection in proxy.connections.values():
            connection.set(make(connection.to_target), make(connection.to_source))
        return proxy, f"{kind} before {name}"

    def _kinds(self) -> list[tuple[str, Callable[[Line], list[Fault]]]]:
        random = self.random
        seconds, rate, size = random.uniform(0.02, 0.5), random.uniform(50_000, 2_000_000), random.randint(200, 5000)

        def at(line: Line) -> int:
            return line.received + random.randrange(SOON)

        def one_way(line: Line) -> list[Fault]:
            return [BlackHole()] if random.random() < 0.5 else []

        holes: list[tuple[str, Callable[[Line], list[Fault]]]] = [
            ("a black hole", lambda line: [BlackHole()]),
            ("a black hole one way", one_way),
        ]
        return [
            ("a delay", lambda line: [Delay(seconds)]),
            ("a low rate", lambda line: [Rate(rate)]),
            ("pieces", lambda line: [Split(size)]),
            ("a flipped bit", lambda line: [Flip(at(line), random.randrange(8))]),
            ("a byte too many", lambda line: [Insert(at(line), b"\0")]),
            ("a byte too few", lambda line: [Drop(at(line))]),
            ("bytes that come twice", lambda line: [Duplicate(at(line), size)]),
            ("a reset", lambda line: [Reset(at(line))]),
            ("a standstill", lambda line: [Freeze()]),
            *(holes if self.holes else []),
        ]

"""Lookups in a simulated DHT, in a process of its own: ``python -m torpydo.testing.dhtlookups --nodes=N ...``.

It prints JSON: for each lookup whether it has found what was stored, its steps, its questions, and its virtual seconds.
The same options give the same figures on every machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from enum import Enum
from functools import partial

import attrs

from torpydo.dht import REPUBLISH, Item
from torpydo.testing.dhtworld import TIMEOUT, DHTWorld, Member, Search

__all__ = ["Case", "measure"]

HOURS = 2
UNDER_WAY = 0.3
"""Virtual seconds that a lookup takes at the least."""


class Case(Enum):
    """What a share of the nodes does."""

    LIARS = "liars"
    """From some moment on they name each other alone and give no items, as if many nodes had been taken over."""
    SYBILS = "sybils"
    """The same, and they were there before anything was stored, and say that they keep what they are given."""
    LATE = "late"
    """As liars, and each answer comes shortly before a question would be given up."""
    FORGERS = "forgers"
    """As sybils, and they give what was stored with another value and a higher sequence: not signed by its owner."""
    STALE = "stale"
    """As sybils, and they give the version that was there before the newest."""
    RANDOM = "random"
    """As sybils, but they name any nodes, near or far, and some that there are not."""
    LEAVING = "leaving"
    """One after the other they go while a lookup is under way, and nobody has noticed or said anything again."""
    CHURN = "churn"
    """In each of two hours so many go at once, and as many new ones come."""
    CUT_OFF = "cut off"
    """They were cut off for an hour in which everything got a newer version, and have just come back."""


def measure(size: int, case: Case, share: float, lookups: int, seed: int) -> list[Search]:
    """Look for what honest nodes have stored, from honest nodes; what was not found has the item ``None``.

    :param size: nodes in all
    :param share: how many of them are those of *case*, from 0 to 1
    """
    world = DHTWorld(size, seed=seed)
    world.acquaint()
    special = world.random.sample(world.members, int(size * share))
    chosen = set(special)
    honest = [member for member in world.members if member not in chosen]
    # Each is looked for twice: a reader tells holders that are behind, and who looks again may be helped by that.
    items = [world.item(number) for number in range(1, lookups // 2 + 1)]
    if case in _THERE_BEFORE:
        _THERE_BEFORE[case](world, special, items)
    if case is Case.STALE:
        items = [world.item(number, 2, b"newer") for number in range(1, len(items) + 1)]
    for item in items:
        world.store(world.random.choice(honest), item)
    if case is Case.CHURN:
        honest = _change(world, len(special))
    elif case is Case.CUT_OFF:
        items = _cut_off(world, special, items)
        honest = world.members
    elif case is Case.LIARS:
        world.lie_about_nodes(special)
    elif case is Case.LATE:
        world.lie_about_nodes(special, late=0.8 * TIMEOUT)
    found = []
    for number in range(lookups):
        item = items[number % len(items)]
        if case is Case.LEAVING:
            # As many with each lookup that all are gone at the last.
            for member in special[number * len(special) // lookups : (number + 1) * len(special) // lookups]:
                world.later(world.random.uniform(0.0, UNDER_WAY), partial(setattr, member, "alive", False))
        search = world.search(world.random.choice(honest), item.target)
        found.append(search if search.item == item else Search(None, search.hops, search.questions, search.seconds))
    return found


def _sybils(world: DHTWorld, members: Sequence[Member], items: Sequence[Item]) -> None:
    world.lie_about_nodes(members)


def _forgers(world: DHTWorld, members: Sequence[Member], items: Sequence[Item]) -> None:
    forged = {item.target: attrs.evolve(item, sequence=item.sequence + 1, value=b"forged") for item in items}
    world.lie_about_nodes(members, item=forged.get)


def _stale(world: DHTWorld, members: Sequence[Member], items: Sequence[Item]) -> None:
    for item in items:
        world.store(world.random.choice(world.members), item)
    world.lie_about_nodes(members, item={item.target: item for item in items}.get)


def _at_random(world: DHTWorld, members: Sequence[Member], items: Sequence[Item]) -> None:
    world.lie_at_random(members)


_THERE_BEFORE = {Case.SYBILS: _sybils, Case.FORGERS: _forgers, Case.STALE: _stale, Case.RANDOM: _at_random}
"""Those who lie from the beginning, not only after something was stored."""


def _change(world: DHTWorld, share: int) -> list[Member]:
    """Who is alive in the end."""
    for hour in range(HOURS):
        if hour:
            world.advance(REPUBLISH)
            world.upkeep()
        alive = [member for member in world.members if member.alive]
        world.replace(world.random.sample(alive, share))
    return [member for member in world.members if member.alive]


def _cut_off(world: DHTWorld, members: Sequence[Member], items: Sequence[Item]) -> list[Item]:
    """The newer versions."""
    others = [member for member in world.members if member not in set(members)]
    for member in members:
        member.side = 1
    newer = [world.item(number, 2, b"newer") for number in range(1, len(items) + 1)]
    for item in newer:
        world.store(world.random.choice(others), item)
    world.advance(REPUBLISH)
    world.upkeep(members)
    for member in members:
        member.side = 0
    world.upkeep(members, rejoined=True)
    return newer


def main(argv: Sequence[str]) -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.testing.dhtlookups", allow_abbrev=False)
    parser.add_argument("--nodes", type=int, required=True, metavar="N")
    parser.add_argument("--case", choices=[case.value for case in Case], default=Case.LIARS.value)
    parser.add_argument("--percent", type=float, default=0.0, metavar="N", help="of the nodes")
    parser.add_argument("--lookups", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args(argv)
    found = measure(options.nodes, Case(options.case), options.percent / 100, options.lookups, options.seed)
    print(
        json.dumps(
            {
                "found": [search.item is not None for search in found],
                "hops": [search.hops for search in found],
                "questions": [search.questions for search in found],
                "seconds": [search.seconds for search in found],
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Building circuits, in a process of its own: ``python -m torpydo.cli.bench.circuits POOL --one-by-one N``.

It prints JSON: the seconds of each build, or the circuits built per second. Only our own network is measured here:
tor builds circuits over its control port.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from torpydo.cli.running import run_to_end
from torpydo.client import Client
from torpydo.crypto import NodeId
from torpydo.errors import CircuitError

__all__ = ["at_once", "one_by_one", "warm_up"]

HOPS = 3
# Builds before the first that counts: what runs for the first time has then run, and the links of these paths are open.
WARM_UP = 10

Path = Sequence[NodeId]


async def warm_up(client: Client, count: int) -> list[Path]:
    """Build *count* circuits as the client chooses them.

    :returns: their paths, each once. What is built along them needs no new link, which no number of builds along
        other paths can promise
    """
    paths: dict[Path, None] = {}
    for _ in range(count):
        circuit = await client.build_circuit(hops=HOPS)
        paths[tuple(node.node_id for node in circuit.path)] = None
        circuit.close()
    return list(paths)


async def one_by_one(reactor: Any, client: Client, count: int, paths: Sequence[Path]) -> list[float]:
    """Build *count* circuits along the *paths* in turn, each after the last is closed.

    :returns: the seconds of each, from asking for it to having it
    """
    taken = []
    for path in islice(cycle(paths), count):
        asked = reactor.seconds()
        circuit = await client.build_circuit(hops=HOPS, path=path)
        taken.append(reactor.seconds() - asked)
        circuit.close()
    return taken


async def at_once(reactor: Any, client: Client, count: int, paths: Sequence[Path]) -> float:
    """Ask for *count* circuits along the *paths* in one turn.

    :returns: circuits a second, until the last was built
    :raises CircuitError: if one of them could not be built
    """
    asked = reactor.seconds()
    builds: list[Deferred[Any]] = [
        client.build_circuit(hops=HOPS, path=path) for path in islice(cycle(paths), count)
    ]
    results: list[tuple[bool, Any]] = await DeferredList(builds, consumeErrors=True)
    taken: float = reactor.seconds() - asked
    failures = [result for built, result in results if not built]
    for built, circuit in results:
        if built:
            circuit.close()
    if failures:
        raise CircuitError(f"{len(failures)} of {count} circuits were not built: {failures[0].getErrorMessage()}")
    return count / taken


async def _run(reactor: Any, options: argparse.Namespace) -> int:
    client = await Client.create(reactor, [options.pool], None, hops=HOPS)
    try:
        paths = await warm_up(client, min(WARM_UP, options.one_by_one or options.at_once))
        if options.one_by_one:
            print(json.dumps(await one_by_one(reactor, client, options.one_by_one, paths)))
        else:
            print(json.dumps(await at_once(reactor, client, options.at_once, paths)))
    finally:
        await client.close()
    return 0


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.circuits", allow_abbrev=False)
    parser.add_argument("pool", metavar="URL", help="of the pool")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--one-by-one", type=int, metavar="N")
    way.add_argument("--at-once", type=int, metavar="N")
    options = parser.parse_args(argv)
    return run_to_end(lambda reactor: _run(reactor, options), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

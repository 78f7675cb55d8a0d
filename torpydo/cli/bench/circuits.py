"""Building circuits, in a process of its own: ``python -m torpydo.cli.bench.circuits POOL --one-by-one N``.

It prints JSON: the seconds of each build, or the circuits built per second. Only our own network is measured here:
tor builds circuits over its control port.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from torpydo.cli.running import run_to_end
from torpydo.client import Client
from torpydo.errors import CircuitError

__all__ = ["at_once", "one_by_one"]

HOPS = 3
# Builds before the first that counts: they open the links, and what runs for the first time.
WARM_UP = 10


async def one_by_one(reactor: Any, client: Client, count: int) -> list[float]:
    """Build *count* circuits, each after the last is closed.

    :returns: the seconds of each, from asking for it to having it
    """
    taken = []
    for _ in range(count):
        asked = reactor.seconds()
        circuit = await client.build_circuit(hops=HOPS)
        taken.append(reactor.seconds() - asked)
        circuit.close()
    return taken


async def at_once(reactor: Any, client: Client, count: int) -> float:
    """Ask for *count* circuits in one turn.

    :returns: circuits a second, until the last was built
    :raises CircuitError: if one of them could not be built
    """
    asked = reactor.seconds()
    builds: list[Deferred[Any]] = [client.build_circuit(hops=HOPS) for _ in range(count)]
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
        await one_by_one(reactor, client, min(WARM_UP, options.one_by_one or options.at_once))
        if options.one_by_one:
            print(json.dumps(await one_by_one(reactor, client, options.one_by_one)))
        else:
            print(json.dumps(await at_once(reactor, client, options.at_once)))
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

"""Many circuits, or many streams, from one client, in a process of its own.

``python -m torpydo.cli.bench.scalecircuits POOL --idle N`` builds N circuits, prints how many of them are open and
answer, and keeps them until it is ended. ``... --streams N --circuits M --server PORT`` prints when each stream was
over.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from torpydo.cli.bench.together import some_at_a_time
from torpydo.cli.running import run_to_end
from torpydo.client import Circuit, Client
from torpydo.crypto import NodeId
from torpydo.errors import CircuitError, TorpydoError

__all__ = ["main"]

HOPS = 3
# Circuits that are being built at one time.
AT_ONCE = 100
TRIES = 3
BYTES = 100 * 1024
# Seconds in which a circuit that is not kept would be lost.
SETTLE = 1.0
# Idle circuits that are asked whether every node still has them.
SAMPLED = 20


async def _build(client: Client, path: Sequence[NodeId] | None) -> Circuit:
    for _ in range(TRIES - 1):
        try:
            return await client.build_circuit(HOPS, path)
        except CircuitError:
            continue
    return await client.build_circuit(HOPS, path)


class _Receiver(Protocol):
    """Counts what comes; done when all of it is there."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.done: Deferred[bool] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(self._left == 0 and reason.check(ConnectionDone) is not None)


async def _idle(reactor: Any, client: Client, options: argparse.Namespace) -> None:
    circuits: list[Circuit] = []
    path = [NodeId(bytes.fromhex(text)) for text in options.path] or None

    async def build(number: int) -> None:
        circuits.append(await _build(client, path))

    await some_at_a_time(AT_ONCE, build, options.idle)
    await deferLater(reactor, SETTLE, lambda: None)
    # What was built and is gone again is not idle: the memory would be that of fewer circuits.
    still = sum(circuit.is_open for circuit in circuits)
    sampled = circuits[:: max(1, len(circuits) // SAMPLED)]
    answered = 0
    for circuit in sampled:
        try:
            await circuit.ping()
        except TorpydoError:
            continue
        answered += 1
    print(json.dumps({"open": still, "asked": len(sampled), "answered": answered}), flush=True)
    await Deferred()


async def _streams(reactor: Any, client: Client, options: argparse.Namespace) -> None:
    circuits = [await _build(client, None) for _ in range(options.circuits)]
    times: list[float] = []
    failures = 0

    async def fetch(number: int) -> None:
        nonlocal failures
        endpoint = circuits[number % len(circuits)].endpoint("127.0.0.1", options.server)
        try:
            receiver = await connectProtocol(endpoint, _Receiver(options.size))
            whole = await receiver.done
        except (ConnectError, TorpydoError):
            whole = False
        if whole:
            times.append(reactor.seconds() - began)
        else:
            failures += 1

    began = reactor.seconds()
    await some_at_a_time(options.streams, fetch, options.streams)
    print(json.dumps({"times": times, "failures": failures}))


@asynccontextmanager
async def _client(reactor: Any, pool: str) -> AsyncIterator[Client]:
    client = await Client.create(reactor, [pool], None, hops=HOPS)
    try:
        yield client
    finally:
        await client.close()


async def _run(reactor: Any, options: argparse.Namespace) -> int:
    async with _client(reactor, options.pool) as client:
        await (_idle if options.idle else _streams)(reactor, client, options)
    return 0


def main(argv: Sequence[str]) -> int:
    """Do it."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.scalecircuits", allow_abbrev=False)
    parser.add_argument("pool", metavar="URL")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--idle", type=int, metavar="N", help="circuits to build and to keep")
    way.add_argument("--streams", type=int, metavar="N", help="streams that are open at the same time")
    parser.add_argument("--path", nargs="*", default=[], metavar="HEX", help="node ids; by default any")
    parser.add_argument("--circuits", type=int, default=50, metavar="N", help="that the streams share")
    parser.add_argument("--size", type=int, default=BYTES, metavar="N", help="bytes of a stream")
    parser.add_argument("--server", type=int, metavar="PORT", help="sends them and closes the connection")
    options = parser.parse_args(argv)
    return run_to_end(lambda reactor: _run(reactor, options), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

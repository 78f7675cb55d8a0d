"""Opens circuits along one path with a download on each, says so, and goes on reading until it is stopped.

``python -m tests.soak.sniper POOL ... --threshold=N --server=PORT --circuits=N --path HEX HEX HEX``. Whoever started it
freezes it, so that what is under way to it waits in the node.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import react

from torpydo.cli.bench.together import some_at_a_time
from torpydo.client import Client
from torpydo.crypto import NodeId

SIZE = 1 << 40
AT_ONCE = 20


class Reader(Protocol):
    """Asks for more than it will ever read."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET 1 %d\n" % SIZE)

    def dataReceived(self, data: bytes) -> None:
        """It does not matter what it is."""


async def _run(reactor: Any, options: argparse.Namespace) -> None:
    client = await Client.create(reactor, options.pools, None, pool_threshold=options.threshold)
    path = [NodeId(bytes.fromhex(text)) for text in options.path]

    async def one(number: int) -> None:
        circuit = await client.build_circuit(len(path), path)
        await connectProtocol(circuit.endpoint("127.0.0.1", options.server), Reader())

    await some_at_a_time(AT_ONCE, one, options.circuits)
    print("open", flush=True)
    await Deferred()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.soak.sniper")
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--threshold", type=int)
    parser.add_argument("--server", type=int)
    parser.add_argument("--circuits", type=int)
    parser.add_argument("--path", nargs="+")
    parsed = parser.parse_args(sys.argv[1:])
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, parsed)), [])

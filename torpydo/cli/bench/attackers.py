"""Attackers of one node, in a process of their own, until it is ended.

``python -m torpydo.cli.bench.attackers KIND POOL --path HEX HEX HEX --count N`` prints ``{"ready": true}`` when the
attack is on. The attackers come from several addresses of 127.0.0.0/8, none of which anybody else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import LoopingCall, deferLater

from torpydo.cli.bench.server import SOURCE
from torpydo.cli.bench.together import some_at_a_time
from torpydo.cli.constants import LOOPBACK
from torpydo.cli.running import run_to_end
from torpydo.client import Circuit, Client, World
from torpydo.crypto import NodeId
from torpydo.directory import Descriptor
from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link, raise_file_limit
from torpydo.tpdp import Hop, LinkEvent, OriginCircuit

__all__ = ["KINDS", "main"]

ADDRESSES = tuple(f"127.0.2.{number}" for number in range(1, 11))
"""Where the attackers are."""
CONNECT_TIME = 5.0
"""Seconds for one connection."""
TICK = 0.02
"""Seconds between two batches."""
BACK = 0.5
"""Seconds until a connection that was closed is opened again."""

Attack = Callable[[Any, argparse.Namespace, Sequence[Descriptor]], Awaitable[None]]


# -- Slow connections, and many


class _Slow(Protocol):
    """Sends a byte a second, of what could be a hello."""

    def __init__(self, clock: Any, *, silent: bool) -> None:
        self._sender = LoopingCall(self._send)
        self._sender.clock = clock
        self._silent = silent

    def connectionMade(self) -> None:
        if not self._silent:
            self._sender.start(1.0)

    def connectionLost(self, reason: Any = None) -> None:
        if self._sender.running:
            self._sender.stop()

    def _send(self) -> None:
        assert self.transport is not None
        self.transport.write(os.urandom(1))


class _Again(ClientFactory):
    """Opens a connection again when it is closed."""

    noisy = False

    def __init__(self, reactor: Any, *, silent: bool) -> None:
        self._reactor = reactor
        self._silent = silent

    def buildProtocol(self, addr: Any) -> _Slow:
        return _Slow(self._reactor, silent=self._silent)

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        self._reactor.callLater(BACK, connector.connect)

    clientConnectionFailed = clientConnectionLost


async def _connections(reactor: Any, options: argparse.Namespace, path: Sequence[Descriptor]) -> None:
    port = path[0].address.port
    for source in islice(cycle(ADDRESSES), options.count):
        factory = _Again(reactor, silent=options.kind == "files")
        reactor.connectTCP(LOOPBACK, port, factory, timeout=CONNECT_TIME, bindAddress=(source, 0))
    await deferLater(reactor, options.settle, lambda: None)


# -- CREATEs


class _Nobody:
    """The owner of the links: what they bring does not matter."""

    def __init__(self, reactor: Any) -> None:
        self.turn = Turn(reactor)
        self.open: set[LinkProtocol] = set()

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """See :class:`torpydo.net.LinkOwner`."""

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """See :class:`torpydo.net.LinkOwner`."""
        self.open.discard(link)


async def _creates(reactor: Any, options: argparse.Namespace, path: Sequence[Descriptor]) -> None:
    node, owner = path[0], _Nobody(reactor)
    # One message for all: a replay costs the node as much, and the attacker nothing (H5).
    message = OriginCircuit([Hop(node.node_id, node.onion_keys[0], node.address)], rng=os.urandom).create_message
    owed = 0.0

    async def link(source: str) -> None:
        endpoint = TCP4ClientEndpoint(reactor, LOOPBACK, node.address.port, bindAddress=(source, 0))
        owner.open.add(await connect_link(reactor, endpoint, node.node_id, owner, rng=os.urandom))

    def send() -> None:
        nonlocal owed
        owed += options.count * TICK
        each = int(owed / max(len(owner.open), 1))
        owed -= each * len(owner.open)
        for one in list(owner.open):
            for _ in range(each):
                one.send_create(one.core.new_circuit_id(), message)

    await DeferredList([Deferred.fromCoroutine(link(source)) for source in ADDRESSES])
    sender = LoopingCall(send)
    sender.clock = reactor
    sender.start(TICK)


# -- Circuits that are not read


class _Glutton(Protocol):
    """Asks for bytes without an end."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(SOURCE)


def _world(source: str, links: list[LinkProtocol]) -> World:
    """A client at another address, whose links are remembered."""

    def connect(reactor: Any, endpoint: Any, node_id: NodeId, owner: Any, **options: Any) -> Deferred[LinkProtocol]:
        port = endpoint._port
        there = TCP4ClientEndpoint(reactor, LOOPBACK, port, bindAddress=(source, 0))

        def remember(link: LinkProtocol) -> LinkProtocol:
            links.append(link)
            return link

        return connect_link(reactor, there, node_id, owner, **options).addCallback(remember)

    return World(connect=connect)


async def _snipers(reactor: Any, options: argparse.Namespace, path: Sequence[Descriptor]) -> None:
    links: list[LinkProtocol] = []
    hops = [node.node_id for node in path]
    clients = [
        await Client.create(reactor, [options.pool], None, world=_world(source, links)) for source in ADDRESSES
    ]

    async def snipe(number: int) -> None:
        circuit: Circuit = await clients[number % len(clients)].build_circuit(len(hops), hops)
        await connectProtocol(circuit.endpoint(LOOPBACK, options.server), _Glutton())

    await some_at_a_time(len(clients), snipe, options.count)
    await deferLater(reactor, options.settle, lambda: None)
    for link in links:
        transport: Any = link.transport
        if transport is not None:
            transport.pauseProducing()


KINDS: dict[str, Attack] = {
    "slow": _connections,
    "files": _connections,
    "creates": _creates,
    "snipers": _snipers,
}


async def _run(reactor: Any, options: argparse.Namespace) -> int:
    raise_file_limit()
    hops = [NodeId(bytes.fromhex(text)) for text in options.path]
    client = await Client.create(reactor, [options.pool], None)
    try:
        circuit = await client.build_circuit(len(hops), hops)
    finally:
        await client.close()
    await KINDS[options.kind](reactor, options, circuit.path)
    print(json.dumps({"ready": True}), flush=True)
    await Deferred()
    return 0


def main(argv: Sequence[str]) -> int:
    """Attack."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.attackers", allow_abbrev=False)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("pool", metavar="URL")
    parser.add_argument("--path", required=True, nargs="+", metavar="HEX", help="node ids, that of the attacked first")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="connections, CREATEs/s, or circuits")
    parser.add_argument(
        "--settle", type=float, default=5.0, metavar="S", help="for connections to be refused, for windows to grow"
    )
    parser.add_argument("--server", type=int, metavar="PORT", help="where snipers download")
    options = parser.parse_args(argv)
    return run_to_end(lambda reactor: _run(reactor, options), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

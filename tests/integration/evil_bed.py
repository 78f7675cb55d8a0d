"""A program: joins a network of processes with a node that does wrong; says as JSON what a client sees of each deed.

``python evil_bed.py POOL_URL NODE_PORT WEB_HOST WEB_PORT``
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from torpydo.client import Client
from torpydo.crypto import NodeId, Secret, SigningKey
from torpydo.directory import ExitPolicy, PoolURL
from torpydo.node import NodeConfig
from torpydo.testing.evil import Deed, drop, evil_service, flip, replay

LOOPBACK = "127.0.0.1"
REQUEST = b"GET /1M HTTP/1.0\r\n\r\n"
PATIENCE = 60.0
STREAM_TIME = 20.0


class Download(Protocol):
    """Counts what comes."""

    def __init__(self) -> None:
        self.size = 0
        self.ended: Deferred[str] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(REQUEST)

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended.called:
            self.ended.callback(reason.type.__name__ if reason.type is not None else "?")


async def main(reactor: Any, pool: str, port: str, host: str, web: str) -> None:
    """Each deed once, at each of the first two places of a circuit."""
    key = SigningKey(Secret(bytes(range(32))))
    config = NodeConfig(
        endpoint=TCP4ServerEndpoint(reactor, int(port), interface=LOOPBACK),
        listen=f"{LOOPBACK} port {port}",
        pools=(PoolURL.parse(pool),),
        state_dir=None,
        exit_policy=ExitPolicy.closed(),
        nickname="evil",
        identity=key,
    )
    service, evil = evil_service(reactor, config)
    service.startService()
    client = await Client.create(reactor, [pool], state_dir=None)
    path = await nodes(reactor, client, key.node_id)
    results: dict[str, Any] = {}
    wrongs: dict[str, Deed | None] = {"good": None, "flip": flip(500), "replay": replay, "drop": drop}
    for place in (0, 1):
        hops = [key.node_id, *path] if place == 0 else [path[0], key.node_id, path[1]]
        for name, deed in wrongs.items():
            evil.be_good()
            circuit = await client.build_circuit(path=hops)
            download = Download()
            await connectProtocol(circuit.endpoint(host, int(web)), download)
            evil.backward = deed
            ended = await download.ended.addTimeout(STREAM_TIME, reactor)
            results[f"{name} {place}"] = {"size": download.size, "ended": ended, "deeds": evil.deeds}
            circuit.close()
    await client.close()
    await service.stopService()
    print(json.dumps(results))


async def nodes(reactor: Any, client: Client, evil: NodeId) -> list[NodeId]:
    """Two honest nodes, as soon as the client knows the evil one."""
    end = reactor.seconds() + PATIENCE
    while reactor.seconds() < end:
        known = client._run._listings.netdir
        if known is not None and known.get(evil) is not None:
            return [node_id for node_id in known.nodes if node_id != evil][:2]
        await deferLater(reactor, 0.5, lambda: None)
    raise SystemExit("the evil node was not listed")



if __name__ == "__main__":
    react(main, sys.argv[1:])

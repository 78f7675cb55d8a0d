"""A program: every fault of a FaultProxy once, on real sockets; prints what came of it as JSON. See test_faultproxy."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.integration.processes import LOOPBACK, free_port
from torpydo.crypto import Secret, SigningKey
from torpydo.net import LinkFactory, LinkProtocol, Turn, connect_link
from torpydo.testing import (
    BlackHole,
    Delay,
    Drop,
    Duplicate,
    FaultProxy,
    Flip,
    Freeze,
    HalfClose,
    Insert,
    Rate,
    Reset,
    Split,
    SwapRecords,
    Truncate,
)
from torpydo.testing.faults import Fault

DATA = bytes(range(100))
MUCH = 4_000_000
PATIENCE = 3.0
"""Seconds in which nothing more comes, at the most."""


@implementer(IHalfCloseableProtocol)
class End(Protocol):
    """One end: keeps what came and how it ended."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.pieces: list[int] = []
        self.ends: list[str] = []

    @property
    def tcp(self) -> Any:
        """The transport."""
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.pieces.append(len(data))

    def readConnectionLost(self) -> None:
        self.ends.append("eof")

    def writeConnectionLost(self) -> None:
        """It was asked for."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        kind = reason.check(ConnectionDone, ConnectionLost)
        self.ends.append("?" if kind is None else kind.__name__)


class Servers(Factory[End]):
    """Keeps those it builds."""

    noisy = False

    def __init__(self) -> None:
        self.built: list[End] = []

    def buildProtocol(self, addr: object) -> End:
        self.built.append(End())
        return self.built[-1]


class Owner:
    """Of links: hears of their ends."""

    def __init__(self, reactor: Any) -> None:
        self.turn = Turn(reactor)
        self.closed: list[str] = []

    def link_events(self, link: LinkProtocol, events: list[Any]) -> None:
        """See ``net.LinkOwner``."""

    def link_closed(self, link: LinkProtocol, error: Exception) -> None:
        """See ``net.LinkOwner``."""
        self.closed.append(str(error))


class Bed:
    """A server, a proxy before it, and whoever connects."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.servers = Servers()
        self.results: dict[str, Any] = {}

    async def start(self) -> None:
        """Listen."""
        listen = TCP4ServerEndpoint(self.reactor, 0, interface=LOOPBACK)
        self.port = await listen.listen(self.servers)
        self.at = free_port()
        self.proxy = FaultProxy(
            self.reactor,
            TCP4ServerEndpoint(self.reactor, self.at, interface=LOOPBACK),
            TCP4ClientEndpoint(self.reactor, LOOPBACK, self.port.getHost().port),
        )
        await self.proxy.start()

    def wait(self, seconds: float) -> Deferred[None]:
        """Let others run."""
        return deferLater(self.reactor, seconds, lambda: None)

    async def until(self, true: Any) -> None:
        """Until it is true, or time is up: what is compared afterwards says which."""
        end = self.reactor.seconds() + PATIENCE
        while not true() and self.reactor.seconds() < end:
            await self.wait(0.01)

    async def connect(self) -> tuple[End, End]:
        """Both ends of a connection."""
        before = len(self.servers.built)
        source = await connectProtocol(TCP4ClientEndpoint(self.reactor, LOOPBACK, self.at), End())
        await self.until(lambda: len(self.servers.built) > before)
        return source, self.servers.built[-1]

    async def send(self, name: str, faults: list[Fault], expect: int, data: bytes = DATA) -> tuple[End, End]:
        """The source sends; the result is what came and how both ends ended."""
        self.proxy.set(to_target=faults)
        source, target = await self.connect()
        begun = self.reactor.seconds()
        source.tcp.write(data)
        await self.until(lambda: len(target.data) >= expect)
        taken = self.reactor.seconds() - begun
        await self.wait(0.1)
        self.results[name] = {
            "data": target.data.hex() if data is DATA else len(target.data),
            "target": list(target.ends),
            "source": list(source.ends),
            "seconds": taken,
            "pieces": target.pieces,
            "done": sum(self.proxy.done.values()),
        }
        return source, target

    async def drop(self, *ends: End) -> None:
        """Close, and wait until the proxy has seen it."""
        self.proxy.heal()
        for end in ends:
            end.tcp.abortConnection()
        await self.until(lambda: not self.proxy.connections)

    async def faults(self) -> None:
        """One after another."""
        for name, faults, expect in (
            ("none", [], 100),
            ("delay", [Delay(0.3)], 100),
            ("rate", [Rate(400)], 100),
            ("split", [Split(30, pause=0.02)], 100),
            ("flip", [Flip(7, 3)], 100),
            ("insert", [Insert(50, b"xyz")], 103),
            ("drop", [Drop(10, 5)], 95),
            ("duplicate", [Duplicate(10, 5)], 105),
            ("truncate", [Truncate(40)], 40),
            ("half-close", [HalfClose(40)], 40),
            ("reset", [Reset(40)], 40),
            ("black hole", [BlackHole(40)], 40),
        ):
            await self.drop(*await self.send(name, list(faults), expect))

    async def freeze(self) -> None:
        """A sender is held up, and what it sent is there afterwards."""
        self.proxy.set(to_target=[Freeze()])
        source, target = await self.connect()
        source.tcp.write(bytes(MUCH))
        await self.wait(0.3)
        [connection] = self.proxy.connections.values()
        self.results["freeze"] = {"before": len(target.data), "read": connection.to_target.received}
        self.proxy.heal()
        await self.until(lambda: len(target.data) == MUCH)
        self.results["freeze"]["after"] = len(target.data)
        await self.drop(source, target)

    async def refuse(self) -> None:
        """Nobody listens; then somebody does again."""
        await self.proxy.refuse()
        try:
            await self.connect()
            self.results["refuse"] = "connected"
        except ConnectionRefusedError:
            self.results["refuse"] = "refused"
        await self.proxy.start()
        await self.drop(*await self.send("again", [], 100))

    async def link(self) -> None:
        """Records of a real link, of which this program is both ends."""
        identity = SigningKey(Secret(bytes(range(32))))
        owner, node = Owner(self.reactor), Owner(self.reactor)

        def rng(size: int) -> bytes:
            return bytes(size - 1) + b"\x07"

        factory = LinkFactory(identity, node, reactor=self.reactor, rng=rng, wall_clock=lambda: 1.8e9)
        port = await TCP4ServerEndpoint(self.reactor, 0, interface=LOOPBACK).listen(factory)
        target = TCP4ClientEndpoint(self.reactor, LOOPBACK, port.getHost().port)
        proxy = FaultProxy(self.reactor, TCP4ServerEndpoint(self.reactor, 0, interface=LOOPBACK), target)
        address: Any = await proxy.start()
        endpoint = TCP4ClientEndpoint(self.reactor, address.host, address.port)
        link = await connect_link(self.reactor, endpoint, identity.node_id, owner, rng=rng)
        await self.wait(0.2)
        [connection] = proxy.connections.values()
        connection.know(link.core)
        assert connection.to_target.records is not None
        connection.set([SwapRecords(connection.to_target.records.number + 1)])
        for _ in range(4):
            link.core.send_padding()
            link.flush()
            await self.wait(0.02)
        await self.until(lambda: node.closed and owner.closed)
        self.results["link"] = {"node": node.closed, "owner": len(owner.closed), "done": proxy.done[SwapRecords]}
        await proxy.stop()
        await port.stopListening()

    async def end(self) -> None:
        """Nothing is left of the proxy."""
        self.proxy.set([BlackHole()], [Freeze()])
        source, target = await self.connect()
        await self.proxy.stop()
        await self.until(lambda: source.ends and target.ends)
        left = [end for end in (source, target) if not end.ends]
        self.results["stop"] = {"left": len(left), "connections": len(self.proxy.connections)}
        await self.port.stopListening()


async def main(reactor: Any) -> None:
    """Run all, and print."""
    bed = Bed(reactor)
    await bed.start()
    await bed.faults()
    await bed.freeze()
    await bed.refuse()
    await bed.link()
    await bed.end()
    calls = [str(call) for call in reactor.getDelayedCalls()]
    print(json.dumps(bed.results | {"calls": calls}))


if __name__ == "__main__":
    react(main, [])

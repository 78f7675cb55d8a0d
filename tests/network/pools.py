"""A network with three pools, one of which may lie: for the tests of what pools can do to clients and nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.network.base import NetworkTestCase
from tests.network.oracle import Oracle
from torpydo.client import Client
from torpydo.crypto import SigningKey
from torpydo.directory import Listing, ListingEntry, PoolURL, parse_listing, sign_listing
from torpydo.net import fetch
from torpydo.testing import LocalNetwork
from torpydo.testing.members import POOL_PORT, ClientMember, Member, PoolMember

Answer = Iterator[bytes | float]
"""What is written to a reader, piece by piece, and the seconds between some of them; after the last comes nothing."""
Lie = Callable[["Question"], Answer]


def ok(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with its length."""
    return b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]) + b"\r\n\r\n" + body


@attrs.frozen
class Question:
    """What a lie is told to.

    :ivar path: what was asked for
    :ivar reader: the address of whoever asks
    :ivar now: the right time
    :ivar honest: the last good listing of this pool
    :ivar key: of this pool
    """

    path: str
    reader: str
    now: int
    honest: Listing
    key: SigningKey

    def sign(self, entries: Sequence[ListingEntry] | None = None, **overrides: Any) -> bytes:
        """A listing of now, with its times in order unless one is overridden."""
        made: dict[str, Any] = {
            "sequence": self.now * 1000,
            "valid_after": self.now,
            "fresh_until": self.now + 10,
            "valid_until": self.now + 10800,
            "entries": self.honest.entries if entries is None else tuple(entries),
            **overrides,
        }
        return sign_listing(attrs.evolve(self.honest, **made), self.key)


class _Answering(Protocol):
    """One connection to a lying pool."""

    def __init__(self, pool: LyingPool) -> None:
        self.pool = pool
        self.asked = b""
        self.reader = ""
        self.pieces: Answer = iter(())
        self.over = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.reader = cast(IPv4Address, self.transport.getPeer()).host

    def dataReceived(self, data: bytes) -> None:
        self.asked += data
        if b"\r\n\r\n" in self.asked:
            path = self.asked.split(b" ", 2)[1].decode()
            self.asked = b""
            self.pieces = self.pool.answer(path, self.reader)
            self.next()

    def next(self) -> None:
        """Write the next piece."""
        piece = next(self.pieces, None)
        if piece is None or self.over:
            return
        pause = 0.01
        if isinstance(piece, float):
            pause = piece
        else:
            assert self.transport is not None
            self.pool.written += len(piece)
            self.transport.write(piece)
        clock: IReactorTime = self.pool.reactor
        clock.callLater(pause, self.next)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.over = True


@attrs.define(eq=False)
class LyingPool(Member):
    """A pool's process whose operator, or whoever has the key, answers what he likes.

    :ivar victims: addresses of those who are lied to; others are answered in good order
    :ivar written: bytes of all answers
    """

    honest: Listing | None = None
    lie: Lie | None = None
    victims: frozenset[str] = frozenset()
    written: int = 0

    def start(self) -> None:
        """Listen where the pool did."""
        factory: Factory[_Answering] = Factory()
        factory.protocol = partial(_Answering, self)
        factory.noisy = False
        self.begin().listenTCP(POOL_PORT, factory, interface=self.ip)

    def answer(self, path: str, reader: str) -> Answer:
        """What *reader* gets."""
        assert self.honest is not None
        question = Question(path, reader, int(self.wall_clock()), self.honest, self.key())
        if path == "/v1/time":
            return iter([ok(b"%d" % question.now)])
        if path == "/v1/heartbeat":
            return iter([ok(b"no", status=b"503 Service Unavailable")])
        if self.lie is None or reader not in self.victims:
            return iter([ok(question.sign())])
        return self.lie(question)


class PoolsTestCase(NetworkTestCase):
    """A network in which nodes and clients use three pools."""

    pools: list[PoolMember]
    liars: list[LyingPool]
    oracle: Oracle

    def start_pools(self, *, clients: int = 1, nodes: int = 5) -> LocalNetwork:
        """Start the pools and nodes, and clients that are ready."""
        network = self.network = LocalNetwork(nodes=nodes)
        self.addCleanup(self.finish, network)
        self.oracle = Oracle(self, network, pools=3)
        others = [PoolMember(f"pool{number}", f"10.0.0.{number}", network.pool.world) for number in (2, 3)]
        self.pools, self.liars = [network.pool, *others], []
        for pool in others:
            pool.start()
        for node in network.nodes:
            node.pools = self.urls
        network.start_servers()
        for _ in range(clients):
            self.add_client()
        return network

    @property
    def urls(self) -> tuple[PoolURL, ...]:
        """Those of all pools."""
        return tuple(pool.url for pool in self.pools)

    def add_client(self, **options: Any) -> Client:
        """One more client, ready."""
        return self.network.success(self.make_client().connect(self.urls, hops=3, **options))

    def make_client(self) -> ClientMember:
        """A client that is not started yet."""
        number = len(self.network.clients) + 1
        member = ClientMember(f"client{number}", f"10.0.2.{number}", self.network.pool.world)
        self.network.clients.append(member)
        return member

    def client(self, number: int = 0) -> Client:
        """One of the clients."""
        client = self.network.clients[number].client
        assert client is not None
        return client

    def ask(self) -> None:
        """Let the client ask all pools, and wait until they have answered or time is over."""
        routing = self.client()._routing
        assert routing is not None
        self.network.success(routing._listings.refresh_now())

    def listing(self, pool: PoolMember) -> Listing:
        """What a pool lists now."""
        url = pool.url
        assert url.pool_id is not None
        answer = self.network.success(fetch(self.network.reactor, url.host, url.port, "/v1/listing"))
        return parse_listing(answer.body, url.pool_id, pool.wall_clock())

    def corrupt(self, pool: PoolMember) -> LyingPool:
        """Put a liar with its key in the place of a pool; as long as it is given no lie, it is honest."""
        honest = self.listing(pool)
        pool.kill()
        liar = LyingPool(pool.name, pool.ip, pool.world, honest=honest)
        liar.victims = frozenset(member.ip for member in self.network.clients)
        liar.start()
        self.liars.append(liar)
        return liar

    def finish(self, network: LocalNetwork) -> None:
        """Close the clients, then everything else."""
        for member in network.clients:
            network.success(member.stop())
        for node in network.nodes:
            network.success(node.stop())
        for pool in self.pools[1:]:
            network.success(pool.stop())
        for liar in self.liars:
            liar.kill()
        super().finish(network)

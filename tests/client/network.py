"""A whole network for one client, made of doubles: a pool that lists nodes, links at once, circuits by the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from tests.client.doubles import Builder, CircuitDouble, Cycle
from tests.directory.build import NOW, OPEN, document, url
from tests.net.pools import Pools, WallClock, signed
from torpydo.client.world import World
from torpydo.directory import Descriptor
from torpydo.errors import LinkError

URL = str(url())
HERE = ("127.0.0.1", 8080)


@attrs.define(eq=False)
class Link:
    """A link that closes at once."""

    owner: Any
    closed: bool = False

    def close(self) -> None:
        """Like ``LinkProtocol.close``."""
        if not self.closed:
            self.closed = True
            self.owner.link_closed(self, LinkError("closed"))


@attrs.define(eq=False)
class Network:
    """What a client sees of the world."""

    reactor: Clock = attrs.field(factory=Clock)
    pools: Pools = attrs.field(factory=Pools)
    wall: WallClock = attrs.field(factory=WallClock)
    builder: Builder = attrs.field(factory=Builder)
    links: list[Link] = attrs.field(factory=list)
    linked: list[object] = attrs.field(factory=list)
    dead: bool = False
    """True: no guard answers."""
    build_options: dict[str, Any] = attrs.field(factory=dict)

    def list_nodes(self, *names: int, policy: str = OPEN, **overrides: Any) -> None:
        """The pool lists these nodes from now on."""
        documents = [document(name, policy=policy) for name in names]
        self.pools.answers[HERE] = signed(documents=documents, **overrides)

    def connect(self, reactor: object, endpoint: object, node_id: object, owner: Any, **options: Any) -> Deferred[Any]:
        """Like ``net.connect_link``."""
        self.linked.append(node_id)
        if self.dead:
            return Deferred.fromCoroutine(self._refuse())
        link = Link(owner)
        self.links.append(link)
        return succeed(link)

    async def _refuse(self) -> None:
        raise LinkError("connection refused")

    def build(
        self, reactor: object, link: Link, path: Sequence[Descriptor], **options: Any
    ) -> Deferred[CircuitDouble]:
        """Like ``Circuit.build``."""
        self.build_options = options
        return self.builder(path)

    def lose_circuits(self) -> None:
        """Every circuit ends."""
        for one in list(self.builder.started):
            if one.circuit is not None:
                one.circuit.close()

    @property
    def world(self) -> World:
        """For ``Client``."""
        return World(
            rng=bytes,
            randbelow=Cycle(),
            wall_clock=self.wall,
            fetch=self.pools.fetch,
            connect=self.connect,
            build=self.build,
        )

    def advance(self, seconds: float) -> None:
        """Both clocks go on."""
        self.wall.now += seconds
        self.reactor.advance(seconds)


__all__ = ["HERE", "NOW", "URL", "Link", "Network"]

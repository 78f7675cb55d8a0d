"""Peers in memory on virtual time: hundreds of whole tables that exchange, with floods, churn and partitions.

It runs the real ``PeerTable`` of each; only the way between them is made up. A stream to a name takes a trip to open,
what is written takes one more, and a member that is dead or on the other side of a partition cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from random import Random
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.iweb import IAgent
from zope.interface import implementer

from torpydo.apps.peers import PeerTable, State
from torpydo.crypto import Secret, SigningKey
from torpydo.errors import ServiceUnreachable
from torpydo.onion import OnionName
from torpydo.peers import PORT, Claim, Hello, Presence, Records, Role, Search, frame
from torpydo.testing.memory import SimulatedReactor

__all__ = ["START", "Bringer", "Flood", "PeersMember", "PeersWorld"]

START = 1_700_000_000
TIMEOUT = 20.0
"""Virtual seconds until a member counts as not to be reached."""
TOPIC = "world"


@implementer(ITransport)
class _End:
    """One end of a stream."""

    def __init__(self, world: PeersWorld) -> None:
        self._world = world
        self._open = True
        self.other: _End | None = None
        self.protocol: IProtocol | None = None

    def write(self, data: bytes) -> None:
        if self._open:
            self._world.carried += len(data)
            self._pass(lambda end: end.take(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        self._end(ConnectionAborted())

    def getPeer(self) -> IAddress:
        return IPv4Address("TCP", "0.0.0.0", 0)

    def getHost(self) -> IAddress:
        return IPv4Address("TCP", "0.0.0.0", 0)

    def take(self, data: bytes) -> None:
        """Bytes have come."""
        if self._open and self.protocol is not None:
            self.protocol.dataReceived(data)

    def lose(self, reason: Exception) -> None:
        """The stream has ended."""
        if self._open and self.protocol is not None:
            self._open = False
            self.protocol.connectionLost(Failure(reason))

    def _end(self, reason: Exception) -> None:
        self._pass(lambda end: end.lose(ConnectionDone()))
        # As a reactor does: not while the protocol is at work.
        self._world.reactor.callLater(0, self.lose, reason)

    def _pass(self, what: Callable[[_End], None]) -> None:
        other = self.other
        if other is not None:
            self._world.reactor.callLater(self._world.latency, what, other)


class PeersMember:
    """One peer of a world, and the client that its table uses.

    :ivar side: which part of a partition it is in
    :ivar serves: what answers at its port, if not its table's own factory
    :ivar trouble: what its client fails with, whatever it is asked for
    :ivar skew: seconds by which its clock is ahead
    """

    def __init__(self, world: PeersWorld, number: int, options: dict[str, Any]) -> None:
        self._world = world
        self.key = SigningKey(Secret(number.to_bytes(32, "big")))
        self.name = str(OnionName.of(self.key))
        self.alive = True
        self.side = 0
        self.serves: IProtocolFactory | None = None
        self.trouble: Exception | None = None
        self.skew = 0.0
        self._options = options
        self.table = self.make_table()

    def make_table(self, **options: Any) -> PeerTable:
        """A table as it has, that knows nothing yet.

        :param options: what is different
        """
        world = self._world
        return PeerTable(
            self, world.reactor, TOPIC, key=self.key, rng=world.random.randbytes, randbelow=world.random.randrange,
            wall_clock=self.wall_clock, decode=world.decode, check=world.check, **{**self._options, **options},
        )  # fmt: skip

    def wall_clock(self) -> float:
        """The time of day, as it takes it."""
        return self._world.wall_clock() + self.skew

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, isolation: Hashable = None
    ) -> Deferred[IProtocol]:
        """Open a stream to another member."""
        if self.trouble is not None:
            return fail(self.trouble)
        return self._world.connect(self, factory, host, port)

    def web_agent(self, *, isolation: Hashable = None) -> IAgent:
        """Fetch from a web server in the simulated internet."""
        agent: IAgent = Agent(self._world.reactor)
        return agent

    def knows(self) -> set[str]:
        """The names that it takes for online."""
        return {peer.name for peer in self.table.known() if peer.state is State.ONLINE}


class PeersWorld:
    """All members, and the way between them.

    :param size: how many
    :param latency: virtual seconds of a trip
    :param difficulty: bits of work in their records
    :param options: what else every table is made with
    :ivar carried: bytes that were written to streams
    :ivar dialled: streams that were opened or tried
    """

    def __init__(
        self, size: int, *, seed: int = 0, latency: float = 0.25, difficulty: int = 4, **options: Any
    ) -> None:
        self.random = Random(seed)
        self.reactor = SimulatedReactor()
        self.latency = latency
        self.difficulty = difficulty
        self.carried = self.dialled = 0
        self._options = {"difficulty": difficulty, **options}
        self._decoded: dict[bytes, Presence] = {}
        self._checked: dict[bytes, OnionName] = {}
        self._by_name: dict[str, PeersMember] = {}
        self.members: list[PeersMember] = []
        for _ in range(size):
            self.add()

    def add(self, names: Sequence[str] = (), **options: Any) -> PeersMember:
        """One more.

        :param names: whom it knows
        :param options: what else its table is made with
        """
        member = PeersMember(self, len(self.members) + 1, {**self._options, "names": names, **options})
        self.members.append(member)
        self._by_name[member.name] = member
        return member

    def wall_clock(self) -> float:
        """The time of day."""
        return START + self.reactor.seconds()

    def decode(self, data: bytes) -> Presence:
        """Read a record, of which all members have the same object: a thousand tables have a million entries."""
        found = self._decoded.get(data)
        if found is None:
            found = self._decoded[data] = Presence.decode(data)
        return found

    def check(self, presence: Presence) -> OnionName:
        """Check a signature; of one record once for all members, which would take most of the time otherwise."""
        data = presence.encode()
        if data not in self._checked:
            self._checked[data] = presence.check()
        return self._checked[data]

    @property
    def announced(self) -> int:
        """Records that members have made, and that anybody has read."""
        keys = {member.key.public for member in self.members}
        return sum(one.claim.key in keys for one in self._decoded.values())

    def start(self, members: Iterable[PeersMember] | None = None, known: int = 1) -> None:
        """Start them; each knows the first *known* of all."""
        for member in self.members if members is None else members:
            member.table.meet(*[first.name for first in self.members[:known] if first is not member])
            member.table.start()

    def stop(self) -> None:
        """Stop all."""
        for member in self.members:
            member.table.stop()
        self.reactor.advance(1)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)

    def kill(self, member: PeersMember) -> None:
        """It is there no longer, and says nothing of it."""
        member.alive = False
        member.table.stop()

    def revive(self, member: PeersMember) -> None:
        """It is back, with what it knew."""
        member.alive = True
        member.table.start()

    def restart(self, member: PeersMember, **options: Any) -> None:
        """Its program was started anew: it knows what it has kept on disk, if anything.

        :param options: what its table is made with now
        """
        member.table.stop()
        member.table = member.make_table(**options)
        member.alive = True
        member.table.start()

    def connect(self, member: PeersMember, factory: IProtocolFactory, host: str, port: int) -> Deferred[IProtocol]:
        """Open a stream, after the trips that this takes."""
        opened: Deferred[IProtocol] = Deferred()
        self.dialled += 1

        def arrive() -> None:
            other = self._by_name.get(host)
            if other is None or port != PORT or not other.alive or other.side != member.side:
                self.reactor.callLater(TIMEOUT, refuse)
                return
            serves = other.table.factory if other.serves is None else other.serves
            there = serves.buildProtocol(IPv4Address("TCP", "0.0.0.0", 0))
            if there is None or opened.called:
                self.reactor.callLater(self.latency, refuse)
                return
            here = factory.buildProtocol(IPv4Address("TCP", "0.0.0.0", 0))
            assert here is not None
            ends = [_End(self), _End(self)]
            for end, other_end, protocol in zip(ends, reversed(ends), (here, there), strict=True):
                end.other, end.protocol = other_end, protocol
            for end in ends:
                assert end.protocol is not None
                end.protocol.makeConnection(end)
            opened.callback(here)

        def refuse() -> None:
            if not opened.called:
                opened.errback(ServiceUnreachable("no such member can be reached"))

        self.reactor.callLater(2 * self.latency, arrive)
        return opened

    # -- What a test asks

    def acquainted(self, members: Iterable[PeersMember] | None = None) -> float:
        """Which part of all pairs of those who are alive know each other."""
        chosen = [member for member in (self.members if members is None else members) if member.alive]
        names = {member.name for member in chosen}
        pairs = sum(len(names & member.knows()) for member in chosen)
        return pairs / (len(chosen) * (len(chosen) - 1))

    def record(self, seed: int, *, work: bool = True, signed: bool = True, **changes: Any) -> bytes:
        """A record of somebody who is no member.

        :param work: whether it has the work
        :param signed: whether it is signed by whoever has the name
        """
        key = SigningKey(Secret(seed.to_bytes(32, "big")[::-1]))
        known = {"topic": TOPIC.encode(), "roles": Role.PARTICIPANT, "timestamp": int(self.wall_clock()), "life": 3600}
        claim = Claim(key.public, **{**known, **changes})
        made = Presence.make(claim, key)
        if not signed:
            made = attrs.evolve(made, signature=self.random.randbytes(64))
        if not work:
            while made.has_work(self.difficulty):
                made = attrs.evolve(made, nonce=self.random.randbytes(8))
            return made.encode()
        search = Search(made, self.difficulty, self.random.randbytes(8))
        while (found := search.go_on(1000)) is None:
            pass
        return found.encode()

    def flood(self, member: PeersMember, records: Callable[[], Sequence[bytes]]) -> None:
        """Let *member* answer whoever asks with these."""
        factory = Factory.forProtocol(lambda: Flood(member, records))
        factory.noisy = False
        member.serves = factory


class Flood(Protocol):
    """Answers with its own record, which is right, and then with others."""

    def __init__(self, member: PeersMember, records: Callable[[], Sequence[bytes]]) -> None:
        self._member = member
        self._records = records

    def connectionMade(self) -> None:
        assert self.transport is not None
        own = self._member.table.own_record
        assert own is not None
        self.transport.write(frame(Hello(own.encode())) + frame(Records(tuple(self._records()))))


class Bringer(Protocol):
    """Comes as a stranger, says what he has to say, and does not care for the answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._data)

"""What must be true of a network after every fault, whatever it was (SECURITY section 3, the common oracle).

Everything is counted exactly: a node has the circuits that its clients know; nodes and clients have the links that
their connections are, one timed call for each link, and nothing else. See tests/faults for the faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Final

import attrs
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from tests.network.base import Echo
from tests.testing.recorders import Recorder
from torpydo.client import Client
from torpydo.testing import LocalNetwork
from torpydo.testing.connections import State
from torpydo.testing.members import ClientMember, Member, NodeMember

RECOVERY: Final = 60.0
"""Virtual seconds until all counters are back."""
TRANSFER_TIME: Final = 15.0
"""Virtual seconds in which an honest transfer succeeds."""
QUIET: Final = 5.0
"""Virtual seconds in which there is a moment when nobody is just fetching a listing or sending a heartbeat."""
STEP: Final = 0.21
DATA: Final = Random(4).randbytes(100_000)
HOST: Final = "oracle.example"
LINK_TIMER: Final = "LinkProtocol._deadline"
POOL_TIMERS: Final = ("ListingRefresh._again", "Heartbeats._begin")
"""Of which there is one for each pool."""


@attrs.define(eq=False)
class Oracle:
    """Looks at one network, for one test.

    :ivar pools: how many pools its nodes and clients ask
    """

    case: SynchronousTestCase
    network: LocalNetwork
    pools: int = 1

    def check(self, about: object = None, *, recovery: float = RECOVERY) -> None:
        """The fault is over: after *recovery* nothing of it is left, and the network works.

        :param about: what to say if that is not so
        """
        self.network.advance(recovery)
        end = self.network.reactor.seconds() + QUIET
        while (problems := list(self.problems())) and self.network.reactor.seconds() < end:
            self.network.advance(STEP)
        self.case.assertEqual(problems, [], about)
        self.case.assertEqual([failure.value for failure in self.case.flushLoggedErrors()], [], about)
        clients = self._clients()
        self.case.assertTrue(clients, "no client is left to make a transfer")
        for member in clients:
            self.transfer(member, about)

    def transfer(self, member: ClientMember, about: object = None) -> None:
        """An honest transfer of a client, there and back."""
        network, client = self.network, member.client
        assert client is not None
        if HOST not in network.destinations:
            network.serve(Factory.forProtocol(Echo), 7, HOST)
        start = network.reactor.seconds()
        recorder = network.success(connectProtocol(client.endpoint(HOST, 7), Recorder()), TRANSFER_TIME)
        recorder.tcp.write(DATA)
        while len(recorder.data) < len(DATA) and network.reactor.seconds() < start + TRANSFER_TIME:
            network.advance(STEP)
        self.case.assertEqual(sha256(recorder.data).digest(), sha256(DATA).digest(), about)
        recorder.tcp.loseConnection()
        network.advance(1.0)
        self.case.assertEqual([reason.__name__ for reason in recorder.lost], ["ConnectionDone"], about)

    # -- What is wrong

    def problems(self) -> Iterator[str]:
        """Everything that is not as it should be at this moment."""
        for member in self._members():
            yield from self._calls(member)
        for node in self.network.nodes:
            if node.alive:
                yield from self._node(node)
        for member in self._clients():
            yield from self._client(member)
        yield from self._connections()

    def _members(self) -> list[Member]:
        everybody: list[Member] = [self.network.pool, *self.network.nodes, *self.network.clients]
        return [member for member in everybody if member.alive]

    def _clients(self) -> list[ClientMember]:
        return [member for member in self.network.clients if member.alive and member.client is not None]

    def _links(self, member: Member) -> int:
        """Connections of a process, but for those to and from pools, which are over soon."""
        count = 0
        for connection in self.network.internet.connections:
            hosts = {connection.client.host, connection.server.host if connection.server is not None else None}
            count += member.reactor in hosts and connection.ends[1][1] != self.network.pool.port
        return count

    def _calls(self, member: Member) -> Iterator[str]:
        """Timed calls do not pile up: one for each link, one of some for each pool, and one of each kind besides."""
        kinds = Counter(
            getattr(call.func, "__qualname__", repr(call.func))
            for call in self.network.delayed_calls(member)
        )
        most = Counter({LINK_TIMER: self._links(member), **dict.fromkeys(POOL_TIMERS, self.pools)})
        for kind, count in kinds.items():
            if count > most.get(kind, 1):
                yield f"{member.name} waits for {count} calls of {kind}"

    def _node(self, node: NodeMember) -> Iterator[str]:
        status = node.status()
        if status.streams or status.queued:
            yield f"{node.name} has {status.streams} streams, and {status.queued} bytes wait in it"
        circuits = self._paths().count(node.name)
        if status.circuits != circuits:
            yield f"{node.name} has {status.circuits} circuits, its clients know of {circuits}"
        if status.links != self._links(node):
            yield f"{node.name} has {status.links} links on {self._links(node)} connections"

    def _paths(self) -> list[str]:
        """The names of all hops of all circuits."""
        clients: list[Client] = [member.client for member in self._clients() if member.client is not None]
        return [name for client in clients for circuit in client.status().circuits for name in circuit.path]

    def _client(self, member: ClientMember) -> Iterator[str]:
        assert member.client is not None
        status = member.client.status()
        streams = sum(circuit.streams for circuit in status.circuits)
        if streams or status.queued or status.pending:
            yield (
                f"{member.name} has {streams} streams, {status.pending} circuits are being built,"
                f" and {status.queued} bytes wait in it"
            )
        # The status does not say how many links there are.
        assert member.client._routing is not None
        links = len(member.client._routing.links)
        if links != self._links(member):
            yield f"{member.name} has {links} links on {self._links(member)} connections"

    def _connections(self) -> Iterator[str]:
        """Nobody holds one end of a connection whose other end is gone."""
        for connection in self.network.internet.connections:
            ends = (connection.client, connection.server)
            if any(end is None or end.state is not State.CONNECTED for end in ends):
                yield f"a connection is left over: {connection.ends}"

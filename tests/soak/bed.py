"""What a fault is given: the network, honest programs beside it, and ways to fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.soak.dialing import Door, HTTPDial, SOCKSDial
from tests.soak.network import Network
from tests.soak.outcomes import Ending, Outcome
from tests.soak.pacing import Pacer
from tests.soak.processes import Member
from tests.soak.sending import Echo, PingPong
from tests.soak.traffic import LOOPBACK, Transfers
from tests.soak.transfers import Download
from torpydo.client import Client

__all__ = ["Bed", "Fault", "FaultBroke", "Scale", "percentile"]

UNLIMITED = 1e12
HONEST_SIZE = 256 * 1024
HONEST_TIME = 15.0
"""Seconds in which a transfer succeeds after a fault (SECURITY section 3)."""


class FaultBroke(Exception):
    """What must happen in a fault did not."""


@attrs.frozen
class Scale:
    """How large the faults are.

    :ivar part: of the numbers in SECURITY section 3, 0 to 1; times that stand there for a limit never change
    :ivar long: whether there is time for the ones that take minutes
    :ivar gigabytes: of the one long transfer
    """

    part: float
    long: bool
    gigabytes: float

    def of(self, number: int, least: int = 1) -> int:
        """So many, scaled."""
        return max(least, round(number * self.part))


class Fault(Protocol):
    """One way to disturb the network. What must happen meanwhile is its own affair, what afterwards is the oracle's."""

    @property
    def number(self) -> str:
        """In SECURITY section 3."""

    @property
    def name(self) -> str:
        """In a few words."""

    def seconds(self, scale: Scale) -> float:
        """About how long it takes."""

    async def run(self, bed: Bed) -> str:
        """Do it, and mend what was broken on purpose.

        :returns: what was measured
        :raises FaultBroke: if something did not happen that must
        """


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of the values is."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


class Bed:
    """The means of all faults.

    :ivar patience: by how much a limit of time may be exceeded, for machines that have other work
    """

    def __init__(self, network: Network, transfers: Transfers, random: Random, scale: Scale) -> None:
        self.reactor: Any = network.reactor
        self.network = network
        self.transfers = transfers
        self.random = random
        self.scale = scale
        self.patience = network.patience
        self.pacer = Pacer(UNLIMITED, self.reactor.seconds)
        self._users = 0

    def now(self) -> float:
        """The time."""
        return float(self.reactor.seconds())

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await deferLater(self.reactor, seconds, lambda: None)

    def within(self, what: str, seconds: float, limit: float) -> None:
        """Hold *seconds* against a limit.

        :raises FaultBroke: if it took too long
        """
        if seconds > limit * self.patience:
            raise FaultBroke(f"{what} took {seconds:.1f} s, and not {limit:.0f}")

    async def until(self, true: Callable[[], bool], seconds: float, what: str) -> float:
        """Look until it is true.

        :returns: seconds that it took
        :raises FaultBroke: if it is not in time
        """
        began = self.now()
        while not true():
            self.within(what, self.now() - began, seconds)
            await self.pause(0.05)
        return self.now() - began

    def together(self, awaitables: Sequence[Awaitable[Any]]) -> list[Deferred[Any]]:
        """Start all of them."""

        async def one(awaitable: Awaitable[Any]) -> Any:
            return await awaitable

        return [Deferred.fromCoroutine(one(awaitable)) for awaitable in awaitables]

    # -- Honest programs

    def door(self, user: str | None = None, client: int = 0, *, http: bool = False) -> Door:
        """Into a client, by default as somebody who was never there before."""
        if user is None:
            self._users += 1
            user = f"fault{self._users}"
        ports = self.network.doors[client]
        server = self.network.port("destination")
        if http:
            return Door(ports.http, HTTPDial(LOOPBACK, server, user))
        return Door(ports.socks, SOCKSDial(LOOPBACK, server, user))

    def download(self, door: Door | None = None, size: int = HONEST_SIZE, **options: Any) -> Download:
        """One that is not run yet."""
        seed = self.random.getrandbits(63)
        return Download(door or self.door(), self.pacer, self.reactor, seed=seed, size=size, **options)

    def echo(self, door: Door, size: int) -> Echo:
        """So many bytes there and back, not run yet."""
        return Echo(door, self.pacer, self.reactor, seed=self.random.getrandbits(63), size=size)

    async def run(self, transfer: Any) -> Outcome:
        """Run a transfer to its end; a wrong one counts as in all other traffic."""
        outcome = await self.transfers.run(transfer)
        self.transfers.tally.add(outcome)
        return outcome

    async def honest(self, client: int = 0, limit: float = HONEST_TIME) -> float:
        """A program that tries until it succeeds.

        :returns: seconds until it did
        :raises FaultBroke: if that takes too long
        """
        began = self.now()
        while True:
            outcome = await self.transfers.run(self.download(self.door(client=client)))
            # What fails and says so is a part of the fault; nothing makes a wrong one right.
            if outcome.ending is not Ending.ERROR:
                self.transfers.tally.add(outcome)
            seconds = self.now() - began
            self.within(f"an honest transfer (the last one: {outcome.why or 'ok'})", seconds, limit)
            if outcome.ending is Ending.OK:
                return seconds
            await self.pause(0.2)

    async def trips(self, count: int, client: int = 0) -> list[float]:
        """How long small messages take there and back on one stream, in seconds.

        :raises FaultBroke: if the stream fails
        """
        times: list[float] = []
        seed = self.random.getrandbits(63)
        transfer = PingPong(
            self.door("trips", client), self.pacer, self.reactor, seed=seed, trips=count, message=64, tell=times.append
        )
        outcome = await self.run(transfer)
        if outcome.ending is not Ending.OK:
            raise FaultBroke(f"a stream beside it failed: {outcome.why}")
        return times

    @asynccontextmanager
    async def own_client(self) -> AsyncIterator[Client]:
        """A client in this process, which can build circuits along chosen paths; closed when the block is left."""
        client = await Client.create(
            self.reactor, self.network.pool_urls, None, pool_threshold=self.network.size.threshold
        )
        try:
            yield client
        finally:
            await client.close()

    async def path_in_use(self, client: int = 0) -> list[str]:
        """The names of the nodes of the one circuit that carries a stream.

        :raises FaultBroke: if there is none
        """
        for _ in range(50):
            paths = list(self.network.paths(await self.network.status(self.network.clients[client])))
            if paths:
                return paths[0]
            await self.pause(0.1)
        raise FaultBroke("the client shows no circuit with a stream")

    # -- Processes beside the network

    def helper(self, name: str, *command: str) -> Member:
        """A process for this fault alone: ``python COMMAND``; whoever starts it kills it."""
        self._users += 1
        member = Member(
            self.reactor, f"{name}{self._users}", self.network.directory, [self.network.python, *command],
            self.network.environment,
        )  # fmt: skip
        member.start()
        return member

    def resident(self, member: Member) -> float:
        """MiB that a process has in memory now; 0 if it is gone."""
        for line in self._status_lines(member):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def address_space(self, member: Member) -> int:
        """Bytes of address space that a process has."""
        for line in self._status_lines(member):
            if line.startswith("VmSize:"):
                return int(line.split()[1]) * 1024
        raise FaultBroke(f"{member.name} is gone")

    @staticmethod
    def _status_lines(member: Member) -> list[str]:
        try:
            return Path(f"/proc/{member.pid}/status").read_text().splitlines()
        except OSError:
            return []

"""An honest circuit through a node that is under attack: what it keeps of its speed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.soak.bed import Bed, FaultBroke, percentile
from tests.soak.processes import Member
from tests.soak.traffic import LOOPBACK
from tests.soak.truth import Check
from torpydo.client import Circuit, Client
from torpydo.crypto import NodeId
from torpydo.directory import Descriptor
from torpydo.errors import TorpydoError

__all__ = ["Beside", "Speed", "compare", "honest_circuit"]

TRIPS = 100
BETWEEN = 0.02
"""Seconds between two of them."""
SECONDS = 4.0
"""Of a download."""
KEPT = 0.5
"""Of the rate that must be left ..."""
LONGER = 2.0
"""... and how much longer a round trip may take (the acceptance of the whole) ..."""
UNFELT = 0.05
"""... if it takes so many seconds longer: on loopback a trip takes no longer than a turn of a processor."""
MEGABYTE = 1e6


@attrs.frozen
class Speed:
    """Of one circuit.

    :ivar rate: bytes a second of a download
    :ivar trip: seconds; of all round trips 95 in 100 are faster
    """

    rate: float
    trip: float

    def __str__(self) -> str:
        return f"{self.rate / MEGABYTE:.1f} MB/s with {1000 * self.trip:.0f} ms"


def compare(before: Speed, meanwhile: Speed) -> list[str]:
    """What a circuit has not kept."""
    lost = []
    if meanwhile.rate < KEPT * before.rate:
        share = meanwhile.rate / before.rate
        lost.append(f"an honest download keeps {share:.0%} of its {before.rate / MEGABYTE:.1f} MB/s")
    if meanwhile.trip > max(LONGER * before.trip, before.trip + UNFELT):
        lost.append(f"honest round trips take {1000 * meanwhile.trip:.0f} ms, {1000 * before.trip:.0f} before")
    return lost


class _Download(Protocol):
    """Takes what comes for some time, and checks it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.check = Check(seed, 1 << 40)
        self.lost: str | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(f"GET {self._seed} {1 << 40}\n".encode())

    def dataReceived(self, data: bytes) -> None:
        self.check.add(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason.getErrorMessage()


@attrs.define
class Beside:
    """The circuit.

    :ivar client: a client in this process
    :ivar nodes: the attacked node first
    :ivar path: their ids
    :ivar before: how fast it was when nobody attacked this node
    """

    bed: Bed
    client: Client
    circuit: Circuit
    nodes: Sequence[Member]
    path: Sequence[NodeId]
    before: Speed = attrs.field(init=False)

    async def speed(self) -> Speed:
        """Measure it.

        :raises FaultBroke: if the circuit is lost
        """
        bed, trips = self.bed, []
        try:
            for _ in range(TRIPS):
                trips.append(await self.circuit.ping())
                await bed.pause(BETWEEN)
            download = _Download(bed.random.getrandbits(63))
            endpoint = self.circuit.endpoint(LOOPBACK, bed.network.port("destination"))
            await connectProtocol(endpoint, download)
        except (TorpydoError, ConnectError) as error:
            raise FaultBroke(f"an honest circuit was lost: {error}") from error
        await bed.pause(SECONDS / 4)
        already, began = download.check.offset, bed.now()
        await bed.pause(SECONDS)
        rate = (download.check.offset - already) / (bed.now() - began)
        if download.lost is not None or download.check.wrong_at is not None:
            raise FaultBroke(f"an honest download failed: {download.lost}, wrong byte at {download.check.wrong_at}")
        download.transport.abortConnection()
        return Speed(rate, percentile(trips, 0.95))

    async def another(self) -> Circuit:
        """One more along the same path; it ends with the block."""
        return await self.client.build_circuit(len(self.path), self.path)

    async def described(self, node: Member) -> Descriptor:
        """What the pools say about a node."""
        circuit = await self.client.build_circuit(1, [self.bed.network.node_id(node)])
        circuit.close()
        return circuit.path[0]

    async def kept(self) -> str:
        """Measure it during the attack; gives what to say.

        :raises FaultBroke: if too little is left
        """
        now = await self.speed()
        lost = compare(self.before, now)
        if lost:
            raise FaultBroke("; ".join(lost))
        return f"honest circuit: {now} of {self.before}"

    async def builds(self, until: Deferred[None]) -> tuple[int, int]:
        """Build circuits along the same path until then; gives how many of how many were built."""
        built = tried = 0
        while not until.called:
            tried += 1
            try:
                (await self.client.build_circuit(len(self.path), self.path)).close()
                built += 1
            except TorpydoError:
                await self.bed.pause(0.1)
            await self.bed.pause(0.1)
        return built, tried


@asynccontextmanager
async def honest_circuit(bed: Bed, node: Member) -> AsyncIterator[Beside]:
    """A circuit that begins with *node*, measured; it ends with the block."""
    network = bed.network
    others = [one for one in network.unproxied if one is not node]
    nodes = (node, others[-1], others[0])
    path = [network.node_id(one) for one in nodes]
    async with bed.own_client() as client:
        beside = Beside(bed, client, await client.build_circuit(len(path), path), nodes, path)
        beside.before = await beside.speed()
        yield beside

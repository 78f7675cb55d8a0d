"""Faults of peers: those who ask for too much, too slowly, or go away at once."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from twisted.internet.defer import DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from tests.soak.bed import Bed, FaultBroke, Scale, percentile
from tests.soak.beside import Beside, honest_circuit
from tests.soak.outcomes import Ending
from tests.soak.processes import Limits, Member, read_process
from tests.soak.traffic import LOOPBACK
from torpydo.crypto import NodeId
from torpydo.directory import Descriptor
from torpydo.errors import DirectoryError, TorpydoError
from torpydo.net import fetch, probe_link
from torpydo.tpdp import Address

__all__ = ["CreateStorm", "FileShortage", "OpenedAndReset", "Slowloris", "SlowlorisOfServices"]

DRIP = 1.0
"""Seconds between two bytes of a slow connection."""
PENDING_TIME = 11.0
"""Seconds after which a connection that says nothing of use is closed (SECURITY L5 and row 8)."""
AGAIN = 2.0
"""Seconds until connections are accepted again when there are descriptors (SECURITY D4)."""
OFFERED = 0.9
"""The part of a storm that its own process must be able to send: a smaller one shows nothing."""


class _Slow(Protocol):
    """Sends a byte of *words* now and then."""

    def __init__(self, now: Callable[[], float], words: bytes) -> None:
        self._now = now
        self._words = words
        self._sent = 0
        self.began = now()
        self.closed_at: float | None = None

    def connectionMade(self) -> None:
        self.began = self._now()

    def drip(self) -> None:
        """One more byte."""
        if self.closed_at is None and self.transport is not None and self._sent < len(self._words):
            self.transport.write(self._words[self._sent : self._sent + 1])
            self._sent += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed_at = self._now()


class _Crowd:
    """Many slow connections to one port."""

    def __init__(self, bed: Bed, port: int, count: int, words: Callable[[], bytes]) -> None:
        self._bed = bed
        self._port = port
        self._count = count
        self._words = words
        self._all: list[_Slow] = []
        self._dripping = LoopingCall(self._drip)
        self._dripping.clock = bed.reactor

    async def connect(self) -> None:
        """Open all of them."""
        self._dripping.start(DRIP)
        for begin in range(0, self._count, 50):
            some = [self._one() for _ in range(min(50, self._count - begin))]
            await DeferredList(self._bed.together(some))

    async def _one(self) -> None:
        slow = _Slow(self._bed.now, self._words())
        self._all.append(slow)
        endpoint = TCP4ClientEndpoint(self._bed.reactor, LOOPBACK, self._port, timeout=10)
        try:
            await connectProtocol(endpoint, slow)
        except ConnectError:
            slow.closed_at = self._bed.now()

    def _drip(self) -> None:
        for slow in self._all:
            slow.drip()

    @property
    def open(self) -> int:
        """How many are not closed."""
        return sum(slow.closed_at is None for slow in self._all)

    @property
    def longest(self) -> float:
        """Seconds that the longest of the closed ones lived."""
        return max((slow.closed_at - slow.began for slow in self._all if slow.closed_at is not None), default=0.0)

    def close(self) -> None:
        """Reset what is left."""
        if self._dripping.running:
            self._dripping.stop()
        for slow in self._all:
            if slow.closed_at is None and slow.transport is not None:
                slow.transport.abortConnection()


async def _besiege(
    bed: Bed, port: int, words: Callable[[], bytes], honest: Callable[[], Awaitable[Any]], what: str,
    beside: Beside | None = None,
) -> str:  # fmt: skip
    """Slow connections to a port until all are closed, with honest ones beside them."""
    count = bed.scale.of(1000, 50)
    crowd = _Crowd(bed, port, count, words)
    times: list[float] = []
    try:
        await crowd.connect()
        kept = "" if beside is None else f"; {await beside.kept()}"
        began = bed.now()
        while crowd.open and bed.now() - began < (PENDING_TIME + 10.0) * bed.patience:
            before = bed.now()
            await honest()
            times.append(bed.now() - before)
            await bed.pause(0.2)
        if crowd.open:
            raise FaultBroke(f"{what}: {crowd.open} of {count} slow connections are still open")
        bed.within(f"{what}: the longest slow connection", crowd.longest, PENDING_TIME)
        if times:
            bed.within(f"{what}: the 95th of 100 honest ones", percentile(times, 0.95), 1.0)
    finally:
        crowd.close()
    slowest = max(times, default=0.0)
    return f"{what}: {count} closed in {crowd.longest:.1f} s, honest ones at most {slowest:.2f} s{kept}"


@attrs.frozen
class Slowloris:
    """Connections to a node that do not finish their handshake."""

    number: str = "7"
    name: str = "slow handshakes"

    def seconds(self, scale: Scale) -> float:
        return 25.0

    async def run(self, bed: Bed) -> str:
        node = bed.network.nodes[0]
        port, node_id = bed.network.port(node.name), bed.network.node_id(node)
        address = Address.parse(LOOPBACK, port)

        async def probe() -> None:
            try:
                await probe_link(bed.reactor, address, node_id, rng=bed.random.randbytes)
            except TorpydoError as error:
                raise FaultBroke(f"an honest link to the node failed: {error}") from error

        async with honest_circuit(bed, node) as beside:
            return await _besiege(bed, port, lambda: bed.random.randbytes(64), probe, "node", beside)


@attrs.frozen
class SlowlorisOfServices:
    """Connections to SOCKS, HTTP and a pool that never get to their point."""

    number: str = "8"
    name: str = "slow requests to SOCKS, HTTP, pool"

    def seconds(self, scale: Scale) -> float:
        return 75.0

    async def run(self, bed: Bed) -> str:
        network = bed.network
        doors = network.doors[0]
        socks = b"\x05\xff" + bytes(100)
        http = b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nX-Slow: " + b"x" * 100
        said = [await _besiege(bed, doors.socks, lambda: socks, lambda: self._transfer(bed, http=False), "SOCKS")]
        said.append(await _besiege(bed, doors.http, lambda: http, lambda: self._transfer(bed, http=True), "HTTP"))
        pool = network.port(network.pools[0].name)
        get = b"GET /v1/listing HTTP/1.1\r\nX-Slow: " + b"x" * 100
        said.append(await _besiege(bed, pool, lambda: get, lambda: self._ask(bed, pool), "pool"))
        return "; ".join(said)

    async def _transfer(self, bed: Bed, *, http: bool) -> None:
        outcome = await bed.run(bed.download(bed.door("steady", http=http), size=1024))
        if outcome.ending is not Ending.OK:
            raise FaultBroke(f"an honest transfer failed: {outcome.why}")

    async def _ask(self, bed: Bed, port: int) -> None:
        try:
            await fetch(bed.reactor, LOOPBACK, port, "/v1/time")
        except DirectoryError as error:
            raise FaultBroke(f"an honest question to the pool failed: {error}") from error


@attrs.frozen
class OpenedAndReset:
    """Streams that are opened and reset at once."""

    number: str = "33"
    name: str = "streams opened and reset"

    def seconds(self, scale: Scale) -> float:
        return 20 * scale.of(20) / 4.0

    async def run(self, bed: Bed) -> str:
        count, rounds = bed.scale.of(1000, 50), bed.scale.of(20, 2)
        endings = {ending: 0 for ending in Ending}
        for turn in range(rounds):
            transfers = [
                bed.download(bed.door(f"reset{number % 10}", turn % bed.network.size.clients), size=1 << 20, abort_at=0)
                for number in range(count)
            ]
            for outcome in [await done for done in bed.together([bed.run(transfer) for transfer in transfers])]:
                endings[outcome.ending] += 1
        if endings[Ending.OK] < count * rounds // 2:
            raise FaultBroke(f"only {endings[Ending.OK]} of {count * rounds} streams could be opened")
        return f"{count} x {rounds}: {endings[Ending.OK]} reset when open, {endings[Ending.ERROR]} refused"


@attrs.frozen
class FileShortage:
    """More connections than a node, and a client, have descriptors for."""

    number: str = "28"
    name: str = "descriptors used up"

    def seconds(self, scale: Scale) -> float:
        return 60.0

    async def run(self, bed: Bed) -> str:
        network = bed.network
        said = []
        for member in (network.nodes[2], network.clients[0]):
            await network.restart(member, signal.SIGTERM, Limits(files=128))
            await self._usable(bed, member)
            try:
                said.append(await self._shortage(bed, member))
            finally:
                await network.restart(member, signal.SIGTERM)
                await self._usable(bed, member)
        return "; ".join(said)

    async def _usable(self, bed: Bed, member: Member) -> None:
        await bed.network.listening(member)
        if member in bed.network.nodes:
            await bed.network.listed(member)
        else:
            await bed.network.ready(member)

    async def _shortage(self, bed: Bed, member: Member) -> str:
        if member in bed.network.clients:
            return await self._connect(bed, member, None)
        async with honest_circuit(bed, member) as beside:
            return await self._connect(bed, member, beside)

    async def _connect(self, bed: Bed, member: Member, beside: Beside | None) -> str:
        port = bed.network.port(member.name)
        sockets = [socket.socket() for _ in range(500)]
        try:
            for one in sockets:
                one.setblocking(False)
                one.connect_ex((LOOPBACK, port))
            await bed.pause(1.0)
            first = read_process(member.pid)
            await bed.pause(4.0)
            last = read_process(member.pid)
            if first is None or last is None:
                raise FaultBroke(f"{member.name} is gone")
            kept = "" if beside is None else f", {await beside.kept()}"
        finally:
            for one in sockets:
                one.close()
        share = (last.worked - first.worked) / 4.0
        if share > 0.2 * bed.patience:
            raise FaultBroke(f"{member.name} takes {share:.0%} of a processor while it has no descriptors")
        seconds = await (bed.honest(limit=AGAIN) if beside is None else self._accepts(bed, port, beside.path[0]))
        return f"{member.name} at {share:.0%} of a processor, accepts again after {seconds:.1f} s{kept}"

    async def _accepts(self, bed: Bed, port: int, node_id: NodeId) -> float:
        began = bed.now()
        while True:
            try:
                await probe_link(
                    bed.reactor, Address.parse(LOOPBACK, port), node_id, rng=bed.random.randbytes, timeout=AGAIN
                )
            except TorpydoError:
                bed.within("until the node accepts again", bed.now() - began, AGAIN)
                await bed.pause(0.1)
            else:
                return bed.now() - began


@attrs.frozen
class CreateStorm:
    """CREATEs, as fast as one client can send them, to a node that has honest circuits as well.

    The attacker is on this machine and takes processors from everybody, which he would not from elsewhere. So the
    honest circuit is compared with itself while the same storm is about a node that it does not use.
    """

    number: str = "16"
    name: str = "CREATE storm"
    rate: int = 5000

    def seconds(self, scale: Scale) -> float:
        return 75.0

    async def run(self, bed: Bed) -> str:
        node = bed.network.nodes[0]
        async with honest_circuit(bed, node) as beside:
            idle = beside.before
            spared = next(one for one in bed.network.unproxied if one not in beside.nodes)
            storm = self._start(bed, spared, await beside.described(spared))
            try:
                await bed.pause(1.0)
                beside.before = await beside.speed()
            finally:
                await storm.kill()
            storm = self._start(bed, node, await beside.described(node))
            try:
                await bed.pause(1.0)
                kept = await beside.kept()
                built, tried = await beside.builds(storm.child.when_ended())
            finally:
                await storm.kill()
            resident = bed.resident(node)
        told = json.loads(storm.child.last_line())
        offered, least = told["offered"] / told["seconds"], OFFERED * self.rate / bed.patience
        if offered < least:
            raise FaultBroke(f"only {offered:.0f} CREATEs a second were offered, and not {least:.0f}")
        if not tried or built * 2 < tried:
            raise FaultBroke(f"only {built} of {tried} honest circuits were built")
        return (
            f"{offered:.0f}/s offered on {told['links']} links, {told['created']} built, {told['destroyed']} refused;"
            f" {built} of {tried} honest ones built; {kept} while the storm is elsewhere ({idle} without one);"
            f" the node has {resident:.0f} MiB"
        )

    def _start(self, bed: Bed, node: Member, described: Descriptor) -> Member:
        return bed.helper(
            "storm", "-m", "tests.soak.storm", f"{LOOPBACK}:{bed.network.port(node.name)}",
            described.node_id.raw.hex(), described.onion_keys[0].raw.hex(), f"--rate={self.rate}", "--seconds=30",
        )  # fmt: skip

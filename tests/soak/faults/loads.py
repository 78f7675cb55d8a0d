"""Faults of size: much of what is allowed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence

import attrs
from twisted.internet.defer import TimeoutError

from tests.soak.bed import HONEST_TIME, Bed, FaultBroke, Scale, percentile
from tests.soak.beside import Beside, honest_circuit
from tests.soak.faults.memory import grown, watched
from tests.soak.outcomes import Ending
from tests.soak.processes import Limits, Member
from torpydo.client import Circuit
from torpydo.errors import TorpydoError

__all__ = ["IdleCircuits", "LongTransfer", "ManyStreams", "MemoryShortage", "unfair"]

MEBIBYTE = 1 << 20

SPREAD = 5.0
"""Of many streams the last takes so many times as long as the first (SECURITY section 3, 32) ..."""
UNFELT = 1.0
"""... if it takes longer than so many seconds, for a few are over in a moment ..."""
SHARE = 0.6
"""... and all together have this part of the rate of one ..."""
MANY = 1000
"""... if they are so many: fewer are over before their circuits have come to their speed."""
SINGLE = 3
"""Streams alone of which the median is that rate."""

READER = 80 * 1024
"""Bytes for each reader that does not read: less than the window of its circuit."""
CAP_FACTOR = 1.5
"""A node has so many times its cap in memory at the most, beside what it had at its start, and ..."""
CAP_MORE = 60
"""... so many MiB more (SECURITY F6)."""
RESERVED = 256 * MEBIBYTE
"""Bytes of address space that threads and the allocator reserve and do not use."""
HONEST = 20
"""Circuits of which ..."""
HONEST_KEPT = 0.95
"""... this part must be kept (SECURITY F6)."""
ANSWER = 5.0
"""Seconds in which a circuit answers that was kept."""

GROWTH = 20.0
"""MiB that a process may have more in the last third of a long transfer."""

TEARDOWN = 3.0
"""Seconds until all circuits of a link that was lost are gone (SECURITY section 3, 31) ..."""
STALL = 0.1
"""... and how long other circuits through the same nodes may stand still."""
PING_PAUSE = 0.002
"""Seconds between two round trips that look for a stall."""
NOT_THEIRS = 20
"""Circuits that clients may build meanwhile."""


def unfair(times: Sequence[float], rate: float, single: float) -> list[str]:
    """What many streams at once lack.

    :param times: when each of them was over
    :param rate: of all together
    :param single: of one alone
    """
    lost = []
    if max(times) > max(SPREAD * min(times), UNFELT):
        lost.append(f"the last stream ended after {max(times) / min(times):.1f} x the first")
    if len(times) >= MANY and rate < SHARE * single:
        lost.append(f"all together have {rate:.1f} MiB/s, one alone {single:.1f}")
    return lost


@attrs.frozen
class ManyStreams:
    """Streams to an echo at the same time over a few circuits.

    Before it they come as users who were never there, all in one moment: each must be let in, but how long a circuit
    takes to be built belongs to no rate.
    """

    number: str = "32"
    name: str = "many streams at once"

    def seconds(self, scale: Scale) -> float:
        return 30.0

    async def run(self, bed: Bed) -> str:
        count, users, size = bed.scale.of(1000, 50), bed.scale.of(50, 5), 100 * 1024
        began = bed.now()
        await self._all(bed, count, users, 1024)
        opening = bed.now() - began
        bed.within(f"{count} streams of users who were never there", opening, HONEST_TIME)
        rates = []
        for _ in range(SINGLE):
            began = bed.now()
            # As many bytes as all of them will have, on a circuit of theirs.
            await self._all(bed, 1, users, count * size)
            rates.append(count * size / (bed.now() - began) / MEBIBYTE)
        times = await self._all(bed, count, users, size)
        rate, single = count * size / max(times) / MEBIBYTE, percentile(rates, 0.5)
        lost = unfair(times, rate, single)
        if lost:
            raise FaultBroke("; ".join(lost))
        return (
            f"{count} x 100 KiB, {rate:.0f} MiB/s (one alone: {single:.0f}), last after"
            f" {max(times) / min(times):.1f} x the first; {count} of new users open and over in {opening:.1f} s"
        )

    async def _all(self, bed: Bed, count: int, users: int, size: int) -> list[float]:
        """Run so many at once; gives when each was over."""
        began = bed.now()
        times: list[float] = []
        failures: list[str] = []

        async def one(number: int) -> None:
            outcome = await bed.run(bed.echo(bed.door(f"many{number % users}"), size))
            if outcome.ending is Ending.OK:
                times.append(bed.now() - began)
            else:
                failures.append(outcome.why)

        for done in bed.together([one(number) for number in range(count)]):
            await done
        if failures:
            raise FaultBroke(f"{len(failures)} of {count} streams failed, the first one: {failures[0]}")
        return times


@attrs.frozen
class LongTransfer:
    """One download that goes beyond every counter that could turn over: in a run of one hour beyond 2**32 bytes."""

    number: str = "35"
    name: str = "one long transfer"

    def seconds(self, scale: Scale) -> float:
        return scale.gigabytes * 60.0

    async def run(self, bed: Bed) -> str:
        size = round(bed.scale.gigabytes * 1e9)
        pids = {member.name: member.pid for member in bed.network.members} | {"soak": os.getpid()}
        began = bed.now()
        with watched(bed.reactor, pids) as samples:
            outcome = await bed.run(bed.download(size=size))
        seconds = bed.now() - began
        if outcome.ending is not Ending.OK:
            raise FaultBroke(f"it ended after {outcome.size} of {size} bytes: {outcome.why}")
        more, name = grown(samples)
        if more > GROWTH:
            raise FaultBroke(f"{name} has {more:.0f} MiB more in the last third of it than in the first")
        return f"{size / 1e9:.1f} GB, {size / 1e6 / seconds:.0f} MB/s, {name} grew the most: {more:.1f} MiB"


async def _answers(bed: Bed, circuit: Circuit) -> bool:
    try:
        await circuit.ping().addTimeout(ANSWER * bed.patience, bed.reactor)
    except (TorpydoError, TimeoutError):
        return False
    return True


@attrs.frozen
class MemoryShortage:
    """A node with little memory, and readers who do not read: it destroys their circuits, and keeps the others.

    What may wait in the node is less than the readers' windows, and its address space ends where its memory must.
    """

    number: str = "29"
    name: str = "memory used up"

    def seconds(self, scale: Scale) -> float:
        return 60.0

    async def run(self, bed: Bed) -> str:
        network = bed.network
        node = network.nodes[1]
        readers = bed.scale.of(200, 20)
        cap = readers * READER
        limit = bed.address_space(node) + round(CAP_FACTOR * cap) + CAP_MORE * MEBIBYTE + RESERVED
        await network.restart(node, signal.SIGTERM, Limits(memory=limit), [f"--limit=memory={cap}"])
        await network.listed(node)
        try:
            async with honest_circuit(bed, node) as beside:
                return await self._beside(bed, node, beside, readers)
        finally:
            await network.restart(node, signal.SIGTERM)
            await network.listed(node)

    async def _beside(self, bed: Bed, node: Member, beside: Beside, readers: int) -> str:
        network = bed.network
        cap = readers * READER / MEBIBYTE
        honest = [await beside.another() for _ in range(HONEST)]
        before = bed.resident(node)
        sniper = bed.helper(
            "sniper", "-m", "tests.soak.sniper", *network.pool_urls, f"--threshold={network.size.threshold}",
            f"--server={network.port('destination')}", f"--circuits={readers}",
            "--path", *(node_id.raw.hex() for node_id in beside.path),
        )  # fmt: skip
        with watched(bed.reactor, {node.name: node.pid}) as samples:
            try:
                said = sniper.child.has_said
                await bed.until(lambda: said("open") or not sniper.is_alive, 60.0, "the readers' circuits")
                await bed.pause(3.0)
                sniper.send(signal.SIGSTOP)
                await bed.pause(2.0)
                kept = await beside.kept()
                answers = [await done for done in bed.together([_answers(bed, circuit) for circuit in honest])]
                destroyed = (await network.status(node)).get("refused", {}).get("memory", 0)
                await bed.honest()
                if not node.is_alive:
                    raise FaultBroke(f"the node ended: {node.child.last_line()}")
            finally:
                await sniper.kill()
        most = max(samples[node.name])
        if not destroyed:
            raise FaultBroke(f"{readers} circuits that are not read, and none was destroyed: {most:.0f} MiB")
        if most > before + CAP_FACTOR * cap + CAP_MORE:
            raise FaultBroke(f"the node had {most:.0f} MiB, {before:.0f} before, with a cap of {cap:.0f}")
        if sum(answers) < HONEST_KEPT * HONEST:
            raise FaultBroke(f"only {sum(answers)} of {HONEST} honest circuits were kept")
        return (
            f"{destroyed} of {readers} circuits that are not read destroyed, the node had {most:.0f} MiB"
            f" ({before:.0f} before, cap {cap:.0f}), {sum(answers)} of {HONEST} honest circuits kept; {kept}"
        )


@attrs.frozen
class IdleCircuits:
    """Circuits through the same three nodes that nobody uses, and all of them gone at once."""

    number: str = "31"
    name: str = "idle circuits"

    def seconds(self, scale: Scale) -> float:
        return 90.0

    async def run(self, bed: Bed) -> str:
        network = bed.network
        nodes = [network.unproxied[place] for place in (0, -1, 1)]
        path = [network.node_id(node) for node in nodes]
        count = bed.scale.of(10_000, 200)
        before = [bed.resident(node) for node in nodes]
        builder = bed.helper(
            "builder", "-m", "torpydo.cli.bench.scalecircuits", network.pool_urls[0], f"--idle={count}",
            "--path", *(node_id.raw.hex() for node_id in path),
        )  # fmt: skip
        try:
            said = builder.child.has_said
            built = await bed.until(
                lambda: said('"answered"') or not builder.is_alive, 180.0, f"to build {count} circuits"
            )
            if not builder.is_alive:
                raise FaultBroke(f"the builder ended: {builder.child.last_line()}")
            found = json.loads(builder.child.last_line())
            if found["open"] != count or found["answered"] != found["asked"]:
                raise FaultBroke(f"of {count} circuits {found['open']} are open; {found}")
            more = max(bed.resident(node) - was for node, was in zip(nodes, before, strict=True)) * 1024 / count
            if count >= 2000 and more > 12.0:
                raise FaultBroke(f"a circuit takes {more:.1f} KiB")
            times = []
            async with bed.own_client() as client:
                for _ in range(20):
                    began = bed.now()
                    (await client.build_circuit(3, path)).close()
                    times.append(bed.now() - began)
                bed.within("a new circuit, 95th of 100,", percentile(times, 0.95), 1.0)
                gone = await self._end(bed, nodes, count, builder, await client.build_circuit(3, path))
        finally:
            await builder.kill()
        return f"{count} built in {built:.0f} s, {more:.1f} KiB each; a new one in {max(times):.2f} s; {gone}"

    async def _end(self, bed: Bed, nodes: Sequence[Member], count: int, builder: Member, other: Circuit) -> str:
        """Kill whoever built them, and watch another circuit through the same nodes."""
        most = {node: await self._circuits(bed, node) - count + NOT_THEIRS for node in nodes}
        stall = bed.together([self._longest_trip(bed, other, TEARDOWN)])[0]
        try:
            began = bed.now()
            await builder.kill()
            for node in nodes:
                while (left := await self._circuits(bed, node)) > most[node]:
                    what = f"until {node.name} has dropped {count} circuits (it has {left})"
                    bed.within(what, bed.now() - began, TEARDOWN)
                    await bed.pause(0.05)
            gone = bed.now() - began
        finally:
            longest = await stall
        if longest > STALL * bed.patience:
            raise FaultBroke(f"another circuit stood still for {1000 * longest:.0f} ms while {count} were dropped")
        return f"gone in {gone:.1f} s, another stood still for {1000 * longest:.0f} ms"

    async def _circuits(self, bed: Bed, node: Member) -> int:
        status = await bed.network.status(node)
        if not status:
            raise FaultBroke(f"{node.name} does not answer")
        return int(status["circuits"])

    async def _longest_trip(self, bed: Bed, circuit: Circuit, seconds: float) -> float:
        end, longest = bed.now() + seconds, 0.0
        while bed.now() < end:
            try:
                longest = max(longest, await circuit.ping())
            except TorpydoError as error:
                raise FaultBroke(f"another circuit through the same nodes was lost: {error}") from error
            await bed.pause(PING_PAUSE)
        return longest

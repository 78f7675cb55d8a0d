"""Faults of size: much of what is allowed."""

from __future__ import annotations

import json
import signal

import attrs

from tests.soak.bed import Bed, FaultBroke, Scale, percentile
from tests.soak.beside import Beside, honest_circuit
from tests.soak.outcomes import Ending
from tests.soak.processes import Limits, Member

__all__ = ["IdleCircuits", "LongTransfer", "ManyStreams", "MemoryShortage"]

MEBIBYTE = 1 << 20
NODE_CAP = 256 * MEBIBYTE
"""Bytes that wait in a node at the most (SECURITY F6)."""


@attrs.frozen
class ManyStreams:
    """Streams at the same time over a few circuits."""

    number: str = "32"
    name: str = "many streams at once"

    def seconds(self, scale: Scale) -> float:
        return 20.0

    async def run(self, bed: Bed) -> str:
        count, users, size = bed.scale.of(1000, 50), bed.scale.of(50, 5), 100 * 1024
        began = bed.now()
        times: list[float] = []
        failures: list[str] = []

        async def one(number: int) -> None:
            outcome = await bed.run(bed.download(bed.door(f"many{number % users}"), size=size))
            if outcome.ending is Ending.OK:
                times.append(bed.now() - began)
            else:
                failures.append(outcome.why)

        for done in bed.together([one(number) for number in range(count)]):
            await done
        if failures:
            raise FaultBroke(f"{len(failures)} of {count} streams failed, the first one: {failures[0]}")
        rate = count * size / max(times) / MEBIBYTE
        return f"{count} x 100 KiB, {rate:.0f} MiB/s, last after {max(times) / min(times):.1f} x the first"


@attrs.frozen
class LongTransfer:
    """One download that goes beyond every counter that could turn over."""

    number: str = "35"
    name: str = "one long transfer"

    def seconds(self, scale: Scale) -> float:
        return scale.gigabytes * 60.0

    async def run(self, bed: Bed) -> str:
        size = round(bed.scale.gigabytes * 1e9)
        began = bed.now()
        outcome = await bed.run(bed.download(size=size))
        if outcome.ending is not Ending.OK:
            raise FaultBroke(f"it ended after {outcome.size} of {size} bytes: {outcome.why}")
        return f"{size / 1e9:.1f} GB, {size / 1e6 / (bed.now() - began):.0f} MB/s"


@attrs.frozen
class MemoryShortage:
    """A node that may have no more memory than half again its cap, and readers who do not read."""

    number: str = "29"
    name: str = "address space used up"

    def seconds(self, scale: Scale) -> float:
        return 45.0

    async def run(self, bed: Bed) -> str:
        network = bed.network
        node = network.nodes[1]
        limit = bed.address_space(node) + NODE_CAP * 3 // 2
        await network.restart(node, signal.SIGTERM, Limits(memory=limit))
        await network.listed(node)
        try:
            async with honest_circuit(bed, node) as beside:
                return await self._beside(bed, node, beside)
        finally:
            await network.restart(node, signal.SIGTERM)
            await network.listed(node)

    async def _beside(self, bed: Bed, node: Member, beside: Beside) -> str:
        network, count = bed.network, bed.scale.of(200, 20)
        sniper = bed.helper(
            "sniper", "-m", "tests.soak.sniper", *network.pool_urls, f"--threshold={network.size.threshold}",
            f"--server={network.port('destination')}", f"--circuits={count}",
            "--path", *(node_id.raw.hex() for node_id in beside.path),
        )  # fmt: skip
        try:
            await bed.until(lambda: sniper.child.has_said("open") or not sniper.is_alive, 60.0, "the readers' circuits")
            await bed.pause(3.0)
            sniper.send(signal.SIGSTOP)
            await bed.pause(2.0)
            kept = await beside.kept()
            most = bed.resident(node)
            await bed.honest()
            if not node.is_alive:
                raise FaultBroke(f"the node ended: {node.child.last_line()}")
        finally:
            await sniper.kill()
        return f"{count} circuits that are not read, the node has {most:.0f} MiB; {kept}"


@attrs.frozen
class IdleCircuits:
    """Circuits through the same three nodes that nobody uses, and all of them gone at once."""

    number: str = "31"
    name: str = "idle circuits"

    def seconds(self, scale: Scale) -> float:
        return 90.0

    async def run(self, bed: Bed) -> str:
        network = bed.network
        nodes = [network.nodes[0], network.nodes[-1], network.nodes[1]]
        path = [network.node_id(node) for node in nodes]
        count = bed.scale.of(10_000, 200)
        before = [bed.resident(node) for node in nodes]
        began = bed.now()
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
        finally:
            await builder.kill()
        return f"{count} built in {built:.0f} s, {more:.1f} KiB each; a new one in {max(times):.2f} s"

"""Measures the lines of ``scalelines``, each group with a network or a pool of its own.

``python -m torpydo.cli.bench.scale [GROUP ...] [--short]`` measures nothing else and prints the figures.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import attrs
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.memory import Memory, memory_of
from torpydo.cli.bench.report import scale_table
from torpydo.cli.bench.scalelines import CIRCUITS, GROWTH, SCALE_GROUPS, SCALE_KEYS, SCALE_LINES, SIZES, STREAMS, at
from torpydo.cli.bench.tasks import Tasks
from torpydo.cli.constants import LOOPBACK, MEGABYTE
from torpydo.cli.network import ProcessNetwork
from torpydo.cli.processes import ChildProcess, free_port, wait_until
from torpydo.cli.running import run_to_end
from torpydo.client import Circuit, Client
from torpydo.crypto import NodeId
from torpydo.errors import TorpydoError

__all__ = ["Scale", "ScalePlan"]

NODES = 3
# Seconds.
BUILD_TIME = 120.0
# Between two round trips that look for a stall: short beside what is looked for, and little work.
PING_PAUSE = 0.002
# As a pool is by default, and not as it is in a network that lives for a minute; but nodes that wait for their turn are
# silent for longer than such a pool is patient.
POOL_OPTIONS = ("--requested-delay=15", "--gc-cycle=10", "--deprecation-delay=600")


@attrs.frozen
class ScalePlan:
    """How much is measured."""

    keys: frozenset[str] = frozenset(SCALE_KEYS)
    circuits: int = CIRCUITS
    streams: int = STREAMS
    stream_circuits: int = 50
    sizes: tuple[int, ...] = SIZES
    runs: int = 5
    paths: int = 1000
    seconds: float = 3.0
    """Of heartbeats at a rate."""
    settle: float = 2.0
    """Seconds before memory is read."""
    watch: float = 5.0
    """Seconds in which the longest round trip is looked for."""

    @classmethod
    def short(cls, keys: Iterable[str] = SCALE_KEYS) -> ScalePlan:
        """Enough to show that it works."""
        return cls(frozenset(keys), 100, 40, 4, (50, 200), 1, 50, 0.3, 0.2, 0.5)

    def wants(self, group: str) -> bool:
        """Whether any line of the group is asked for."""
        return bool(self.keys & set(SCALE_GROUPS[group]))


class _Sender(Protocol):
    """Sends so many bytes and closes."""

    def __init__(self, block: bytes) -> None:
        self._block = block

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._block)
        self.transport.loseConnection()


class _Senders(Factory):
    noisy = False

    def __init__(self, block: bytes) -> None:
        self._block = block

    def buildProtocol(self, addr: object) -> _Sender:
        return _Sender(self._block)


@attrs.define(eq=False)
class Scale:
    """Measures.

    :param directory: an empty one, which is removed by whoever made it
    :param say: told what is measured next
    """

    reactor: Any
    directory: FilePath[str]
    plan: ScalePlan
    say: Callable[[str], None]
    figures: list[Figure] = attrs.field(factory=list)

    async def measure(self) -> list[Figure]:
        """Measure every group that the plan asks for; what was started is ended, whatever happens."""
        for group, run in (
            ("listing", self._listing),
            ("heartbeats", self._heartbeats),
            ("circuits", self._circuits),
            ("streams", self._streams),
        ):
            if self.plan.wants(group):
                self.say(f"measuring scale: {group}")
                place = self.directory.child(group)
                place.makedirs()
                network = ProcessNetwork(self.reactor, place, secrets.randbelow, time.time)
                try:
                    await run(network, Tasks(self.reactor, place))
                finally:
                    await network.processes.end()
        self.figures.sort(key=lambda figure: SCALE_KEYS.index(figure.key))
        return self.figures

    def _add(self, key: str, samples: Sequence[float], conditions: str) -> None:
        if key in self.plan.keys:
            self.figures.append(Figure(key, "torpydo", conditions, SCALE_LINES[key].unit, tuple(samples)))

    # -- The directory

    async def _listing(self, network: ProcessNetwork, tasks: Tasks) -> None:
        plan = self.plan
        found: Mapping[str, Mapping[str, list[float]]] = await tasks.run(
            "listings", "torpydo.cli.bench.scaledirectory", "--nodes", *map(str, plan.sizes),
            f"--runs={plan.runs}", f"--paths={plan.paths}",
        )  # fmt: skip
        for size in plan.sizes:
            samples = found[str(size)]
            self._add("scale_listing_ready", [1000 * value for value in samples["ready"]], at(size))
            if size // GROWTH in plan.sizes:
                # The smallest samples: what else the machine does only adds.
                smaller = min(found[str(size // GROWTH)]["ready"])
                self._add("scale_listing_growth", [min(samples["ready"]) / smaller], at(size))
            self._add("scale_path", [1000 * median(samples["path"])], at(size))
            self._add("scale_path_longest", [1000 * max(samples["path"])], at(size))

    # -- The pool

    async def _heartbeats(self, network: ProcessNetwork, tasks: Tasks) -> None:
        await network.start_pool(*POOL_OPTIONS)
        found: Mapping[str, Mapping[str, Mapping[str, float]]] = await tasks.run(
            "heartbeats", "torpydo.cli.bench.scaleheartbeats", network.pool_url,
            f"--port={free_port(secrets.randbelow)}", f"--seconds={self.plan.seconds}",
            "--nodes", *map(str, self.plan.sizes),
        )  # fmt: skip
        for size in self.plan.sizes:
            samples = found[str(size)]
            self._add("scale_heartbeats", [samples["offered"]["answered"]], at(size))
            self._add("scale_heartbeats_p50", [1000 * samples["offered"]["p50"]], at(size))
            self._add("scale_heartbeats_p99", [1000 * samples["offered"]["p99"]], at(size))
            self._add("scale_heartbeats_most", [samples["most"]["answered"]], at(size))
            self._add("scale_admission", [samples["admission"]["rate"]], at(size))

    # -- Circuits

    async def _nodes(self, network: ProcessNetwork) -> list[ChildProcess]:
        await network.start_pool()
        nodes = [network.start_node(f"scale{number}") for number in range(NODES)]
        await network.until_listed(NODES)
        await network.until_known(nodes)
        return nodes

    async def _circuits(self, network: ProcessNetwork, tasks: Tasks) -> None:
        nodes = await self._nodes(network)
        client = await Client.create(self.reactor, [network.pool_url], None)
        try:
            await self._idle_circuits(network, nodes, await client.build_circuit(NODES))
        finally:
            await client.close()

    async def _idle_circuits(self, network: ProcessNetwork, nodes: Sequence[ChildProcess], watch: Circuit) -> None:
        plan = self.plan
        await self._longest_trip(watch, plan.settle)
        path = [node.node_id for node in watch.path]
        # In the order of the path, so that the samples are those of a guard, a middle node and an exit.
        by_name = {node.name: node for node in nodes}
        nodes = [by_name[node.nickname] for node in watch.path]
        before = self._memory(nodes)
        builder = network.processes.start(
            "builder", "-m", "torpydo.cli.bench.scalecircuits", network.pool_url, f"--idle={plan.circuits}",
            "--path", *(self._hex(node_id) for node_id in path),
        )  # fmt: skip
        await wait_until(
            self.reactor, lambda: builder.has_said('"answered"'), timeout=BUILD_TIME,
            what=f"{plan.circuits} circuits are not built", alive=network.processes.check,
        )  # fmt: skip
        self._check_idle(json.loads(builder.last_line()))
        await deferLater(self.reactor, plan.settle, lambda: None)
        after = self._memory(nodes)
        calm = await self._longest_trip(watch, plan.watch)
        network.processes.check()
        builder.signal("KILL")
        stall = await self._longest_trip(watch, plan.watch)
        self._add("scale_node_memory", [one.resident for one in before], at(0))
        more = [now.own - then.own for then, now in zip(before, after, strict=True)]
        self._add("scale_circuits_memory", more, at(plan.circuits))
        self._add("scale_circuits_calm", [1000 * calm], at(plan.circuits))
        self._add("scale_circuits_stall", [1000 * stall], at(plan.circuits))

    def _check_idle(self, found: Mapping[str, int]) -> None:
        """Circuits that are gone again take no memory, and would make the figure look good."""
        if found["open"] != self.plan.circuits or found["answered"] != found["asked"]:
            raise TorpydoError(
                f"of {self.plan.circuits} idle circuits {found['open']} are open, and of {found['asked']} that were"
                f" asked {found['answered']} answered; their memory cannot be measured"
            )

    @staticmethod
    def _hex(node_id: NodeId) -> str:
        return node_id.raw.hex()

    async def _longest_trip(self, circuit: Circuit, seconds: float) -> float:
        end = self.reactor.seconds() + seconds
        longest = 0.0
        while self.reactor.seconds() < end:
            longest = max(longest, await circuit.ping())
            await deferLater(self.reactor, PING_PAUSE, lambda: None)
        return longest

    def _memory(self, nodes: Sequence[ChildProcess]) -> list[Memory]:
        return [memory_of(node.pid) for node in nodes]

    # -- Streams

    async def _streams(self, network: ProcessNetwork, tasks: Tasks) -> None:
        plan = self.plan
        await self._nodes(network)
        size = 100 * 1024
        listening = self.reactor.listenTCP(0, _Senders(bytes(size)), backlog=1024, interface=LOOPBACK)
        try:
            found: Mapping[str, Any] = await tasks.run(
                "streams", "torpydo.cli.bench.scalecircuits", network.pool_url, f"--streams={plan.streams}",
                f"--circuits={plan.stream_circuits}", f"--size={size}", f"--server={listening.getHost().port}",
            )  # fmt: skip
        finally:
            await listening.stopListening()
        times = found["times"]
        self._add("scale_streams_failed", [found["failures"]], at(plan.streams))
        if times:
            self._add("scale_streams_spread", [max(times) / min(times)], at(plan.streams))
            self._add("scale_streams_rate", [size * len(times) / max(times) / MEGABYTE], at(plan.streams))


async def _run(reactor: Any, options: argparse.Namespace) -> int:
    keys = [key for group in options.groups or SCALE_GROUPS for key in SCALE_GROUPS[group]]
    plan = ScalePlan.short(keys) if options.short else ScalePlan(frozenset(keys))
    with tempfile.TemporaryDirectory(prefix="torpydo-bench-") as directory:
        scale = Scale(reactor, FilePath(directory), plan, lambda text: print(text, flush=True))
        for line in scale_table(await scale.measure(), judged=not options.short):
            print(line)
    return 0


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.scale", allow_abbrev=False)
    parser.add_argument("groups", nargs="*", metavar="GROUP", choices=[*SCALE_GROUPS, []], help="by default all")
    parser.add_argument("--short", action="store_true", help="small: shows that it works")
    options = parser.parse_args(argv)
    return run_to_end(lambda reactor: _run(reactor, options), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Measures the lines of ``attacklines``: an honest client on a network of its own, alone and beside each attack.

Each attack meets a fresh network; the attacked node is the guard of the client. The limits by address, which a test
network lifts, are set again, and the attackers come from other addresses than everybody else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from torpydo.cli.bench.attacklines import (
    ATTACK_GROUPS,
    ATTACK_KEYS,
    ATTACK_LINES,
    ATTACKED,
    CREATES,
    FILES,
    HOLDERS,
    MEMORY,
    SLOW,
    SNIPERS,
)
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.marks import percentile
from torpydo.cli.bench.memory import memory_of
from torpydo.cli.bench.tasks import Tasks
from torpydo.cli.network import ProcessNetwork, until_listening
from torpydo.cli.processes import ChildProcess, ChildProcesses, free_port, wait_until
from torpydo.client import Circuit, Client
from torpydo.errors import CircuitError, LinkError, TorpydoError
from torpydo.net import probe_link
from torpydo.node import NodeLimits

__all__ = ["Attacks", "AttackPlan"]

NODES = 3
# Seconds.
READY_TIME = 60.0
AGAIN_TIME = 30.0
LOOK = 0.05
# Milliseconds: the time that a link may take. What is refused counts as much, however soon it is.
REFUSED = 10_000.0
# An honest client does not build more circuits than its address may.
BUILD_PAUSE = 0.4
LIMITS = tuple(
    f"--limit={one.name}={one.default + (1 if isinstance(one.default, int) else 0.1)}"
    for one in NodeLimits.known()
    if one.lifted
)
"""The limits that a test network lifts, but for those that were chosen; next to their defaults."""


@attrs.frozen
class AttackPlan:
    """How much is measured, and against how much."""

    keys: frozenset[str] = frozenset(ATTACK_KEYS)
    runs: int = 3
    seconds: float = 4.0
    """Of a download."""
    size: int = 1 << 40
    """Bytes of it, at the most."""
    trips: int = 200
    probes: int = 40
    """Links, or circuits, that another honest client opens beside the attack."""
    settle: float = 5.0
    """Seconds that an attack has to unfold."""
    counts: Mapping[str, int] = {"slow": SLOW, "creates": CREATES, "snipers": SNIPERS, "files": HOLDERS}

    @classmethod
    def short(cls, keys: Iterable[str] = ATTACK_KEYS) -> AttackPlan:
        """Enough to show that it works."""
        counts = {"slow": 40, "creates": 200, "snipers": 10, "files": 150}
        return cls(frozenset(keys), 1, 2.0, 1_000_000, 5, 3, 0.5, counts)

    def wants(self, group: str) -> bool:
        """Whether any line of the group is asked for."""
        return bool(self.keys & set(ATTACK_GROUPS[group]))


@attrs.frozen
class _Bed:
    """One network with its client, and what is attacked."""

    network: ProcessNetwork
    tasks: Tasks
    server_port: int
    socks_port: int
    client: Client
    circuit: Circuit
    """Its path begins with the guard of the client that is measured."""
    guard: ChildProcess

    @property
    def path(self) -> list[str]:
        """For the attackers."""
        return [node.node_id.raw.hex() for node in self.circuit.path]


@attrs.define(eq=False)
class Attacks:
    """Measures.

    :param directory: an empty one, which is removed by whoever made it
    :param say: told what is measured next
    """

    reactor: Any
    directory: FilePath[str]
    plan: AttackPlan
    say: Callable[[str], None]
    figures: list[Figure] = attrs.field(factory=list)

    async def measure(self) -> list[Figure]:
        """Measure every group that the plan asks for; what was started is ended, whatever happens."""
        beside: dict[str, Callable[[_Bed], Awaitable[None]]] = {
            "slow": self._connects,
            "creates": self._builds,
            "snipers": self._memory,
            "files": _nothing,
        }
        for kind, more in beside.items():
            if self.plan.wants(kind):
                self.say(f"measuring attacks: {kind}")
                await self._group(kind, more)
        self.figures.sort(key=lambda figure: ATTACK_KEYS.index(figure.key))
        return self.figures

    def _add(self, key: str, samples: Sequence[float]) -> None:
        if key in self.plan.keys:
            self.figures.append(Figure(key, "torpydo", ATTACKED, ATTACK_LINES[key].unit, tuple(samples)))

    async def _group(self, kind: str, more: Callable[[_Bed], Awaitable[None]]) -> None:
        place = self.directory.child(kind)
        place.makedirs()
        network = ProcessNetwork(self.reactor, place, secrets.randbelow, time.time)
        attackers = ChildProcesses(self.reactor, place)
        client = None
        try:
            port = await self._server(network)
            await self._nodes(network, kind)
            client = await Client.create(self.reactor, [network.pool_url], None)
            bed = await self._bed(network, port, client)
            before = await self._loads(bed)
            await self._begin(attackers, bed, kind)
            during = await self._loads(bed)
            self._add(f"attack_{kind}_rate", _shares(during["download"], before["download"]))
            self._add(f"attack_{kind}_trip", _shares(during["rtt_p95"], before["rtt_p95"]))
            await more(bed)
            await attackers.end()
            if kind == "files":
                await self._again(bed)
            network.processes.check()
        finally:
            if client is not None:
                await client.close()
            await attackers.end()
            await network.processes.end()

    # -- The network

    async def _server(self, network: ProcessNetwork) -> int:
        port = free_port(secrets.randbelow)
        network.processes.start("destination", "-m", "torpydo.cli.bench.server", str(port))
        await until_listening(self.reactor, port, "the destination does not listen", network.processes.check)
        return port

    async def _nodes(self, network: ProcessNetwork, kind: str) -> None:
        options = (*LIMITS, *([f"--limit=memory={MEMORY}"] if kind == "snipers" else []))
        files = FILES if kind == "files" else None
        await network.start_pool()
        nodes = [network.start_node(f"node{number}", *options, files=files) for number in range(1, NODES + 1)]
        await network.until_listed(NODES)
        await network.until_known(nodes)

    async def _bed(self, network: ProcessNetwork, server_port: int, client: Client) -> _Bed:
        socks_port = free_port(secrets.randbelow)
        await network.start_client(socks_port, free_port(secrets.randbelow))
        status = await network.until_status(
            "client", lambda now: bool(now.get("ready") and now.get("guard")), READY_TIME, "the client has no circuit"
        )
        circuit = await client.build_circuit(NODES)
        nodes = sorted(circuit.path, key=lambda node: node.nickname != status["guard"])
        circuit = await client.build_circuit(NODES, [node.node_id for node in nodes])
        guard = next(child for child in network.processes if child.name == status["guard"])
        return _Bed(network, Tasks(self.reactor, network.directory), server_port, socks_port, client, circuit, guard)

    # -- The loads

    async def _loads(self, bed: _Bed) -> dict[str, list[float]]:
        plan = self.plan
        found = await bed.tasks.run(
            "an attacked network", "torpydo.cli.bench.loads", "download", "rtt", f"--server={bed.server_port}",
            f"--socks={bed.socks_port}", f"--runs={plan.runs}", f"--seconds={plan.seconds}", f"--bytes={plan.size}",
            f"--trips={plan.trips}",
        )  # fmt: skip
        samples: dict[str, list[float]] = found["samples"]
        return samples

    async def _begin(self, attackers: ChildProcesses, bed: _Bed, kind: str) -> None:
        child = attackers.start(
            "attackers", "-m", "torpydo.cli.bench.attackers", kind, bed.network.pool_url, "--path", *bed.path,
            f"--count={self.plan.counts[kind]}", f"--server={bed.server_port}", f"--settle={self.plan.settle}",
        )  # fmt: skip
        await wait_until(
            self.reactor, lambda: child.has_said('"ready"'), timeout=READY_TIME, what="the attack is not on",
            alive=attackers.check,
        )  # fmt: skip

    async def _probe(self, bed: _Bed) -> bool:
        node = bed.circuit.path[0]
        try:
            await probe_link(self.reactor, node.address, node.node_id, rng=secrets.token_bytes)
        except LinkError:
            return False
        return True

    async def _connects(self, bed: _Bed) -> None:
        taken = []
        for _ in range(self.plan.probes):
            asked = self.reactor.seconds()
            opened = await self._probe(bed)
            taken.append(1000 * (self.reactor.seconds() - asked) if opened else REFUSED)
        self._add("attack_slow_connect", [percentile(taken, 0.95)])

    async def _builds(self, bed: _Bed) -> None:
        path = [node.node_id for node in bed.circuit.path]
        built = 0
        for _ in range(self.plan.probes):
            try:
                circuit = await bed.client.build_circuit(NODES, path)
            except CircuitError:
                continue
            built += 1
            circuit.close()
            await deferLater(self.reactor, BUILD_PAUSE, lambda: None)
        self._add("attack_creates_built", [built / self.plan.probes])

    async def _memory(self, bed: _Bed) -> None:
        self._add("attack_snipers_memory", [memory_of(bed.guard.pid).resident])

    async def _again(self, bed: _Bed) -> None:
        began = self.reactor.seconds()
        while not await self._probe(bed):
            if self.reactor.seconds() - began > AGAIN_TIME:
                raise TorpydoError(f"the node takes no links {AGAIN_TIME:.0f} seconds after the attack")
            await deferLater(self.reactor, LOOK, lambda: None)
        self._add("attack_files_again", [self.reactor.seconds() - began])


def _shares(during: Sequence[float], before: Sequence[float]) -> list[float]:
    """What was left: run by run, for the machine's speed changes."""
    return [now / then for now, then in zip(during, before, strict=True)]


async def _nothing(bed: _Bed) -> None:
    """Nothing more is measured."""

"""A run from its start to its table: traffic with restarts and disturbances, the faults, a steady part, the judge."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import CancelledError
from twisted.internet.task import LoopingCall, deferLater

from tests.soak.badlines import BadLines
from tests.soak.bed import Bed, Fault, FaultBroke
from tests.soak.judge import FaultResult, Restarts, Run
from tests.soak.network import STOP_TIME, Network
from tests.soak.oracle import Oracle
from tests.soak.plan import Plan
from tests.soak.processes import Member, read_process
from tests.soak.samples import Series
from tests.soak.traffic import Traffic, Transfers

__all__ = ["Soak"]

LOOPS = 6
# Seconds without a byte after which a transfer hangs: a frozen node is declared dead in 90.
STUCK = 150.0
# Of the restarts: in short runs one or the other comes late.
ON_TIME = 0.7
# Seconds in which sockets of transfers that are over are closed everywhere.
REST = 3.0


@attrs.define
class _Due:
    """Something that is done again and again while there is traffic.

    :ivar at: seconds of traffic after which it is done the next time
    """

    every: float
    do: Callable[[], Awaitable[None]]
    at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.at = self.every


class Soak:
    """One run.

    :param chosen: whether somebody chose the faults, and wants them however long they take
    :param rate: bytes a second of all transfers together
    :param say: told what happens
    """

    def __init__(
        self, network: Network, plan: Plan, faults: Sequence[Fault], random: Random, *, chosen: bool, rate: float,
        say: Callable[[str], object],
    ) -> None:  # fmt: skip
        self._network = network
        self._reactor: Any = network.reactor
        self._plan = plan
        self._faults = faults
        self._chosen = chosen
        self._random = random
        self._say = say
        self._rate = rate
        self._transfers = Transfers(self._reactor, STUCK * network.patience)
        self._bed = Bed(network, self._transfers, random, plan.scale)
        self._oracle = Oracle(self._bed)
        self._lines = BadLines(network.proxies, random, holes=plan.seconds >= STUCK)
        self._results: list[FaultResult] = []
        self._broken: list[str] = []
        self._series: dict[str, Series] = {}
        self._ended: list[Series] = []
        self._finished = False
        self._restarts = 0
        self._turn = 0
        self._steady = False
        self._began = 0.0
        self._traffic_time = 0.0
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = self._reactor
        self._due = [
            _Due(plan.restart_every, self._restart_node),
            _Due(plan.disturb_every, self._disturb),
            _Due(plan.rest_every, self._rest),
        ]

    # -- The run

    async def run(self) -> None:
        """Do all of it. However it ends, :meth:`judged` knows what was seen."""
        network = self._network
        closed = network.port("nothing")
        traffic = self._traffic = Traffic(
            self._transfers, self._random, network.doors, server=network.port("destination"), closed=closed,
            rate=self._rate, loops=LOOPS,
        )  # fmt: skip
        self._transfers.start()
        self._began = self._reactor.seconds()
        self._sampling.start(self._plan.sample_every)
        traffic.start()
        self._say("the network is up")
        try:
            traffic.go()
            await self._traffic_for(self._plan.warm_up)
            for fault in self._faults:
                await self._fault(fault)
            # Faults that somebody chose may have taken longer.
            left = max(self._plan.seconds - self._elapsed, self._plan.seconds / 2)
            await self._traffic_for(self._plan.settle)
            self._steady = True
            await self._traffic_for(left - self._plan.settle)
            await self._rest(go_on=False)
            self._finished = True
        finally:
            self._elapsed_at_end = self._elapsed
            self._sampling.stop()
            traffic.stop()
            self._transfers.stop()

    @property
    def _elapsed(self) -> float:
        return float(self._reactor.seconds() - self._began)

    async def end(self) -> None:
        """End the processes; what they do and say on their way out counts as well."""
        for member, seconds in (await self._network.end()).items():
            if self._began and member is not self._network.destination:
                self._told(member, seconds)
        for line in self._network.broken():
            self._break(line)

    def judged(self) -> Run | None:
        """What is known at the end; ``None`` if there was no network."""
        if not self._began:
            return None
        if not self._finished:
            self._break("the run did not come to its end")
        return Run(
            seconds=self._elapsed_at_end,
            tally=self._transfers.tally,
            faults=self._results,
            restarts=Restarts(self._restarts, int(ON_TIME * self._traffic_time / self._plan.restart_every)),
            series=[*self._ended, *(self._series[name] for name in self._names() if name in self._series)],
            broken=self._broken,
        )

    def _names(self) -> list[str]:
        return [*(member.name for member in self._network.members), "soak"]

    async def _pause(self, seconds: float) -> None:
        await deferLater(self._reactor, max(0.0, seconds), lambda: None)

    async def _traffic_for(self, seconds: float) -> None:
        """Have traffic, and what belongs to it, for so long."""
        end = self._traffic_time + seconds
        while True:
            due = min(self._due, key=lambda one: one.at)
            until = min(due.at, end)
            began = self._reactor.seconds()
            await self._pause(until - self._traffic_time)
            if due.at > end:
                self._traffic_time = end
                return
            await due.do()
            self._traffic_time += self._reactor.seconds() - began
            due.at = max(due.at + due.every, self._traffic_time)

    async def _rest(self, go_on: bool = True) -> None:
        """Let everything come to its end, look, and go on."""
        await self._traffic.rest()
        await self._pause(REST)
        statuses = {node.name: await self._network.status(node) for node in self._network.nodes}
        links = {name: int(one.get("links", 0)) + int(one.get("dht_links", 0)) for name, one in statuses.items()}
        self._sample(links)
        if go_on:
            self._traffic.go()

    # -- Looking

    def _sample(self, links: Mapping[str, int] | None = None) -> None:
        """Look at all processes.

        :param links: how many each node has; given in rest
        """
        for member in self._network.members:
            if member.is_alive:
                self._add(member.name, member.pid, member.since, links)
        self._add("soak", os.getpid(), self._began, links)
        self._look()

    def _add(self, name: str, pid: int, since: float, links: Mapping[str, int] | None) -> None:
        reading = read_process(pid)
        if reading is None:
            return
        series = self._series.get(name)
        if series is None or series.since != since:
            if series is not None and series.covered:
                self._ended.append(series)
            series = self._series[name] = Series(name, since)
        resting, own = links is not None, (links or {}).get(name, 0)
        series.add(self._reactor.seconds(), reading, steady=self._steady, resting=resting, links=own)

    def _look(self) -> None:
        """Whatever a process has said or done that it must not is said at once, and a breach; the others go on."""
        for line in self._network.broken():
            self._break(line)
        for member in self._network.members:
            if member.crashed:
                member.start()

    def _break(self, line: str) -> None:
        self._say(f"BREACH: {line}")
        self._broken.append(line)

    # -- What happens to the network while there is traffic

    async def _restart_node(self) -> None:
        """The next node, by SIGKILL and SIGTERM in turn.

        While there are faults it is any but the first. Then it is one exit and one other: the rest, pools and clients
        run on, so that what grows in them shows.
        """
        network = self._network
        nodes = [network.exits[-1], network.nodes[-1]] if self._steady else network.nodes[1:]
        node = nodes[self._turn % len(nodes)]
        while node.is_alive and not self._network.is_up(node):
            # On a slow machine it is still starting; it takes no signals yet.
            await self._pause(0.2)
        number = (signal.SIGKILL, signal.SIGTERM)[(self._turn + self._turn // len(nodes)) % 2]
        self._turn += 1
        seconds = await node.end(number, patience=2 * STOP_TIME * self._network.patience)
        if number == signal.SIGTERM:
            self._told(node, seconds)
        await self._pause(self._random.uniform(0.0, min(3.0, self._plan.restart_every / 4)))
        node.start()
        self._restarts += 1
        self._tell()

    def _told(self, member: Member, seconds: float) -> None:
        """Look at the end of a process that was told to end."""
        if member.child.ended_with != "exit status 0":
            self._break(f"{member.name} ended with {member.child.ended_with} after SIGTERM")
        elif seconds > STOP_TIME * self._network.patience:
            self._break(f"{member.name} took {seconds:.1f} s to end after SIGTERM")

    async def _disturb(self) -> None:
        """Something small."""
        small = [self._freeze_node, self._freeze_destination, self._hang_up, *3 * [self._bad_line]]
        if not self._steady:
            small.append(self._restart_pool)
        await self._random.choice(small)()

    async def _freeze_node(self) -> None:
        await self._freeze(self._random.choice(self._network.nodes))

    async def _freeze_destination(self) -> None:
        await self._freeze(self._network.destination)

    async def _freeze(self, member: Member) -> None:
        member.send(signal.SIGSTOP)
        try:
            await self._pause(self._random.uniform(0.5, min(8.0, self._plan.disturb_every / 4)))
        finally:
            member.send(signal.SIGCONT)

    async def _bad_line(self) -> None:
        proxy, what = self._lines.draw()
        self._say(f"{self._elapsed:.0f} s: {what}")
        await self._pause(self._random.uniform(1.0, min(15.0, self._plan.disturb_every / 2)))
        proxy.heal()

    async def _restart_pool(self) -> None:
        pool = self._network.pools[-1]
        self._told(pool, await pool.end(patience=2 * STOP_TIME * self._network.patience))
        pool.start()

    async def _hang_up(self) -> None:
        services = [service for service in self._network.services if self._network.is_up(service)]
        # Signals are taken a moment later.
        await self._pause(0.5)
        for _ in range(20):
            for member in services:
                member.send(signal.SIGHUP)
            await self._pause(0.01)

    def _tell(self) -> None:
        tally = self._transfers.tally
        counts = ", ".join(f"{count} {ending.value}" for ending, count in tally.endings.items())
        self._say(f"{self._elapsed:.0f} s: {tally.count} transfers ({counts}), {tally.size >> 20} MiB")

    # -- Faults

    async def _fault(self, fault: Fault) -> None:
        """One fault on a network in which nothing else goes on, and what must hold after it."""
        late = self._elapsed + fault.seconds(self._plan.scale) > self._plan.fault_time
        if late and not self._chosen:
            self._results.append(FaultResult(fault.number, fault.name, skipped="there is no time for it"))
            if self._plan.is_full:
                self._break(f"there is no time for fault {fault.number}, {fault.name}")
            return
        self._say(f"{self._elapsed:.0f} s: fault {fault.number}, {fault.name}")
        await self._rest(go_on=False)
        before = self._oracle.before()
        figures, breaches = "", []
        try:
            figures = await fault.run(self._bed)
        except FaultBroke as error:
            breaches.append(str(error))
        except CancelledError:
            # Somebody ends the run.
            raise
        except Exception as error:
            # Whatever a fault comes upon, the others are to be run as well, and the run has failed.
            breaches.append(f"{type(error).__name__}: {error}")
            self._say(traceback.format_exc())
        for member in self._network.members:
            if not member.is_alive:
                member.start()
        breaches += await self._oracle.after(before)
        for breach in breaches:
            self._say(f"BREACH: {breach}")
        self._say(f"{self._elapsed:.0f} s: {figures or 'no figures'}")
        self._results.append(FaultResult(fault.number, fault.name, figures, tuple(breaches)))
        self._traffic.go()
        await self._traffic_for(min(5.0, self._plan.restart_every / 2))

"""Faults of processes: killed, frozen, starved, told to end."""

from __future__ import annotations

import os
import signal
import socket

import attrs
from twisted.internet.defer import Deferred, DeferredList

from tests.soak.bed import Bed, FaultBroke, Scale
from tests.soak.outcomes import Ending, Outcome
from tests.soak.pacing import Pacer
from tests.soak.processes import Member
from tests.soak.traffic import LOOPBACK
from tests.soak.transfers import Download

__all__ = ["Frozen", "KilledInTransfer", "Shutdown", "Signals", "Starved"]

MEBIBYTE = 1 << 20
PLACES = ("guard", "middle node", "exit")


class _Marked(Download):
    """A download that tells when it has come to a place, or ended before it."""

    def __init__(self, *args: object, mark: int, **options: object) -> None:
        super().__init__(*args, **options)
        self.reached: Deferred[None] = Deferred()
        self._mark = mark

    def receive(self, data: bytes) -> None:
        super().receive(data)
        if self.size >= self._mark and not self.reached.called:
            self.reached.callback(None)

    def finish(self, ending: Ending, why: str = "", *, abort: bool = False) -> None:
        super().finish(ending, why, abort=abort)
        if not self.reached.called:
            self.reached.callback(None)


async def _begin(bed: Bed, size: int, mark: int) -> tuple[Deferred[Outcome], list[str]]:
    """A download that has come to *mark*, and the names of the nodes that carry it."""
    seed = bed.random.getrandbits(63)
    # Slow enough that there is time to see which nodes they are.
    pacer = Pacer(16 * MEBIBYTE, bed.reactor.seconds)
    transfer = _Marked(bed.door(), pacer, bed.reactor, seed=seed, size=size, mark=mark)
    done = bed.together([bed.run(transfer)])[0]
    await transfer.reached
    if transfer.is_over:
        outcome = await done
        raise FaultBroke(f"an honest transfer failed before the fault: {outcome.why}")
    return done, await bed.path_in_use()


def _torn(outcome: Outcome, what: str) -> None:
    if outcome.ending is not Ending.ERROR:
        raise FaultBroke(f"{what}: the transfer was {outcome.ending.value} {outcome.why}".rstrip())


@attrs.frozen
class KilledInTransfer:
    """Each node of a circuit in turn, somewhere in the middle of a download."""

    number: str = "1"
    name: str = "node killed mid-transfer"

    def seconds(self, scale: Scale) -> float:
        return 3 * scale.of(10) * 8.0

    async def run(self, bed: Bed) -> str:
        size = 50 * MEBIBYTE
        noticed: list[float] = []
        again: list[float] = []
        for turn in range(bed.scale.of(10)):
            for place, what in enumerate(PLACES):
                mark = bed.random.randrange(64 * 1024, size // 2)
                done, path = await _begin(bed, size, mark)
                node = bed.network.named(path[place])
                began = bed.now()
                await node.kill()
                outcome = await done
                noticed.append(bed.now() - began)
                _torn(outcome, f"the {what} was killed in turn {turn + 1}")
                bed.within(f"to hear that the {what} was killed", noticed[-1], 2.0)
                again.append(await bed.honest(limit=10.0))
                node.start()
                await bed.network.listed(node)
        return f"{len(noticed)} kills, noticed in {max(noticed):.1f} s, works again in {max(again):.1f} s"


@attrs.frozen
class Frozen:
    """A node stops without a word, and goes on when nobody waits for it any more."""

    number: str = "2"
    name: str = "node frozen"

    def seconds(self, scale: Scale) -> float:
        return (3 if scale.long else 1) * 110.0

    async def run(self, bed: Bed) -> str:
        places = range(3) if bed.scale.long else [bed.random.randrange(3)]
        noticed = []
        for place in places:
            done, path = await _begin(bed, 200 * MEBIBYTE, MEBIBYTE)
            node = bed.network.named(path[place])
            began = bed.now()
            node.send(signal.SIGSTOP)
            try:
                outcome = await done
                noticed.append(bed.now() - began)
                _torn(outcome, f"the {PLACES[place]} was frozen")
                bed.within(f"to declare a frozen {PLACES[place]} dead", noticed[-1], 95.0)
                await bed.honest()
            finally:
                node.send(signal.SIGCONT)
            await bed.pause(5.0)
        return "noticed after " + ", ".join(f"{seconds:.0f}" for seconds in noticed) + " s"


@attrs.frozen
class Starved:
    """Other programs want the processors more: nothing may take that for a failure."""

    number: str = "30"
    name: str = "processors busy with other work"

    def seconds(self, scale: Scale) -> float:
        return 30.0

    async def run(self, bed: Bed) -> str:
        before = max(await bed.trips(100))
        spinners = [bed.helper("busy", "-c", "while True: pass") for _ in range(2 * (os.cpu_count() or 1))]
        try:
            end = bed.now() + 25.0
            times: list[float] = []
            rounds = 0
            while bed.now() < end:
                times += await bed.trips(30)
                outcome = await bed.run(bed.download(size=2 * MEBIBYTE))
                if outcome.ending is not Ending.OK:
                    raise FaultBroke(f"a transfer failed while the processors were busy: {outcome.why}")
                rounds += 1
        finally:
            for spinner in spinners:
                await spinner.kill()
        lags = []
        for node in bed.network.nodes:
            status = await bed.network.status(node)
            if "loop_lag" not in status:
                raise FaultBroke(f"{node.name} does not say how late its loop is")
            lags.append(status["loop_lag"])
        return (
            f"{rounds} downloads, longest trip {1000 * max(times):.0f} ms ({1000 * before:.0f} without),"
            f" the nodes' loops were {1000 * max(lags):.0f} ms late"
        )


@attrs.frozen
class Signals:
    """A hundred hang-ups, and other signals that mean nothing to a service, to every process at once."""

    number: str = "39"
    name: str = "signal storm"

    def seconds(self, scale: Scale) -> float:
        return 5.0

    async def run(self, bed: Bed) -> str:
        services = bed.network.services
        await bed.until(lambda: all(map(bed.network.is_up, services)), 30.0, "all services are up")
        await bed.pause(0.5)
        done = bed.together([bed.run(bed.download(size=4 * MEBIBYTE))])[0]
        for _ in range(100):
            for member in services:
                for number in (signal.SIGHUP, signal.SIGWINCH, signal.SIGCONT, signal.SIGPIPE):
                    member.send(number)
            await bed.pause(0.01)
        outcome = await done
        gone = [member.name for member in services if not member.is_alive]
        if gone:
            for member in services:
                if not member.is_alive:
                    member.start()
            raise FaultBroke(f"ended by signals: {', '.join(gone)}")
        if outcome.ending is not Ending.OK:
            raise FaultBroke(f"a transfer failed meanwhile: {outcome.why}")
        return f"100 of each to {len(services)} processes"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


@attrs.frozen
class Shutdown:
    """A client, a node and a pool are told to end while they have much to do."""

    number: str = "39"
    name: str = "shutdown under load"

    def seconds(self, scale: Scale) -> float:
        return 30.0

    async def run(self, bed: Bed) -> str:
        network = bed.network
        times = []
        for member in (network.clients[0], network.nodes[1], network.pools[-1]):
            size = bed.scale.of(30) * MEBIBYTE
            load = [bed.together([bed.run(bed.download(size=size))])[0] for _ in range(8)]
            await bed.pause(0.5)
            times.append(await self._end(bed, member))
            outcomes = [outcome for _, outcome in await DeferredList(load)]
            member.start()
            await network.listening(member)
            if member in network.nodes:
                await network.listed(member)
            if member in network.clients:
                await network.ready(member)
            if not all(isinstance(outcome, Outcome) for outcome in outcomes):
                raise FaultBroke("a transfer has no outcome")
        return "ended in " + ", ".join(f"{seconds:.1f}" for seconds in times) + " s"

    async def _end(self, bed: Bed, member: Member) -> float:
        seconds = await member.end(patience=20.0 * bed.patience)
        bed.within(f"the end of {member.name}", seconds, 5.0)
        if member.child.ended_with != "exit status 0":
            raise FaultBroke(f"{member.name} ended with {member.child.ended_with}")
        if _listens(bed.network.port(member.name)):
            raise FaultBroke(f"something still listens on the port of {member.name}")
        return seconds

"""Mixed traffic through both clients, for as long as it is wanted, with rests in which nothing is open."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import LoopingCall, deferLater

from tests.soak.dialing import Door, HTTPDial, SOCKSDial
from tests.soak.outcomes import Ending, Outcome, Tally
from tests.soak.pacing import Pacer
from tests.soak.sending import Echo, PingPong, Upload
from tests.soak.transfers import Download, Refusal, Transfer

__all__ = ["Ports", "Transfers", "Traffic"]

LOOPBACK = "127.0.0.1"
KIBIBYTE = 1024
LARGEST = 20 * 1024 * KIBIBYTE
SMALL = 64 * KIBIBYTE
USERS = 12
# Seconds between two looks for transfers that do not move.
WATCH = 5.0
SLOW_RATE = 256 * KIBIBYTE
REFUSED = frozenset({"SOCKS 5", "HTTP 502 connect-refused"})
UNRESOLVED = frozenset({"SOCKS 4", "HTTP 502 resolve-failed"})


@attrs.frozen
class Ports:
    """Of one client."""

    socks: int
    http: int


@attrs.define(eq=False)
class Transfers:
    """Runs single transfers, and watches that each of them moves.

    :param stuck_after: seconds without a byte after which a transfer hangs, which is wrong
    """

    reactor: Any
    stuck_after: float
    tally: Tally = attrs.field(factory=Tally)
    running: set[Transfer] = attrs.field(factory=set)
    _watching: LoopingCall = attrs.field(init=False)

    def start(self) -> None:
        """Begin to watch."""
        self._watching = LoopingCall(self._watch)
        self._watching.clock = self.reactor
        self._watching.start(WATCH, now=False)

    def stop(self) -> None:
        """Tear what is left; it does not count."""
        self._watching.stop()
        for transfer in tuple(self.running):
            transfer.finish(Ending.OK, abort=True)

    def _watch(self) -> None:
        now = self.reactor.seconds()
        for transfer in tuple(self.running):
            if now - transfer.last_move > self.stuck_after:
                place = f"after {transfer.size} bytes" if transfer.is_open else "while the tunnel was opened"
                transfer.finish(Ending.WRONG, f"hangs: {self.stuck_after:.0f} s without a byte, {place}", abort=True)

    async def run(self, transfer: Transfer) -> Outcome:
        """Run *transfer* to its end."""
        endpoint = TCP4ClientEndpoint(self.reactor, LOOPBACK, transfer.port, timeout=self.stuck_after)
        try:
            await connectProtocol(endpoint, transfer)
        except ConnectError as error:
            return Outcome(Ending.WRONG, transfer.kind, f"the proxy's port: {error}", 0, None)
        self.running.add(transfer)
        try:
            return await transfer.done
        finally:
            self.running.discard(transfer)


class Traffic:
    """The mix.

    :param clients: their ports
    :param server: the destination's port
    :param closed: a port on which nothing listens
    :param rate: bytes a second of all transfers together
    """

    def __init__(
        self, transfers: Transfers, random: Random, clients: Sequence[Ports], *, server: int, closed: int, rate: float,
        loops: int,
    ) -> None:  # fmt: skip
        self._reactor = transfers.reactor
        self._transfers = transfers
        self._random = random
        self._clients = clients
        self._server = server
        self._closed = closed
        self._pacer = Pacer(rate, self._reactor.seconds)
        self._loops = loops
        self._users = 0
        self._active = 0
        self._wanted = False
        self._woken: list[Deferred[None]] = []
        self._idle: list[Deferred[None]] = []
        self._running: list[Deferred[None]] = []
        self._kinds: tuple[tuple[int, Callable[[], Transfer]], ...] = (
            (25, self._download), (15, self._upload), (12, self._echo), (12, self._ping_pong), (8, self._half_closed),
            (8, self._reset), (5, self._cut), (3, self._slow), (2, self._refused), (1, self._unresolved),
        )  # fmt: skip

    # -- When

    def start(self) -> None:
        """Begin; rests first."""
        self._running = [Deferred.fromCoroutine(self._loop()) for _ in range(self._loops)]

    def stop(self) -> None:
        """Begin nothing more, whatever is open."""
        for loop in self._running:
            loop.addErrback(lambda failure: failure.trap(CancelledError, FirstError))
            loop.cancel()

    def go(self) -> None:
        """Have traffic from now on."""
        self._wanted = True
        woken, self._woken = self._woken, []
        for deferred in woken:
            deferred.callback(None)

    async def rest(self) -> None:
        """Begin nothing more; returns when everything that was open is over."""
        self._wanted = False
        if self._active:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    async def _loop(self) -> None:
        while True:
            while not self._wanted:
                woken: Deferred[None] = Deferred()
                self._woken.append(woken)
                await woken
            self._active += 1
            try:
                if self._random.random() < 0.03:
                    await self._burst()
                else:
                    await self._one(self._draw())
            finally:
                self._active -= 1
                if not self._active:
                    idle, self._idle = self._idle, []
                    for deferred in idle:
                        deferred.callback(None)

    async def _one(self, transfer: Transfer) -> None:
        outcome = await self._transfers.run(transfer)
        self._transfers.tally.add(outcome)
        if outcome.ending is not Ending.OK and outcome.opening is None:
            # Whatever is down will be down for a moment; a program that asks again at once is of no use to anybody.
            await deferLater(self._reactor, self._random.uniform(0.1, 1.0), lambda: None)

    async def _burst(self) -> None:
        """Many small ones at once."""
        count = self._random.randint(10, 40)
        drawn = [self._random.choice((self._small, self._ping_pong, self._reset))() for _ in range(count)]
        runs = [Deferred.fromCoroutine(self._transfers.run(transfer)) for transfer in drawn]
        outcomes = await gatherResults(runs, consumeErrors=True)
        for outcome in outcomes:
            self._transfers.tally.add(outcome)

    # -- What

    def _draw(self) -> Transfer:
        weights = [weight for weight, _ in self._kinds]
        return self._random.choices(self._kinds, weights)[0][1]()

    def _door(self, port: int | None = None, host: str = LOOPBACK) -> Door:
        """Any client, any of its proxies, any user."""
        client = self._random.choice(self._clients)
        user = f"user{self._random.randrange(USERS)}"
        if self._random.random() < 0.05:
            # Nobody has come by this name, so it gets circuits of its own.
            self._users += 1
            user = f"once{self._users}"
        port = self._server if port is None else port
        if self._random.random() < 0.3:
            return Door(client.http, HTTPDial(host, port, user, hasty=self._random.random() < 0.3))
        return Door(client.socks, SOCKSDial(host, port, user, hasty=self._random.random() < 0.3))

    @property
    def _seed(self) -> int:
        return self._random.getrandbits(63)

    def _size(self, largest: int = LARGEST) -> int:
        """As many small ones as large ones."""
        return int(math.exp(self._random.uniform(math.log(KIBIBYTE), math.log(largest))))

    def _download(self) -> Transfer:
        return Download(self._door(), self._pacer, self._reactor, seed=self._seed, size=self._size())

    def _small(self) -> Transfer:
        return Download(self._door(), self._pacer, self._reactor, seed=self._seed, size=self._size(SMALL))

    def _slow(self) -> Transfer:
        size = self._random.randint(SLOW_RATE, 8 * SLOW_RATE)
        return Download(self._door(), self._pacer, self._reactor, seed=self._seed, size=size, slow=SLOW_RATE)

    def _half_closed(self) -> Transfer:
        return Download(
            self._door(), self._pacer, self._reactor, seed=self._seed, size=self._size(LARGEST // 10), half_close=True
        )

    def _reset(self) -> Transfer:
        size = self._size(LARGEST // 4)
        abort_at = self._random.choice((0, 1, self._random.randrange(size)))
        return Download(self._door(), self._pacer, self._reactor, seed=self._seed, size=size, abort_at=abort_at)

    def _cut(self) -> Transfer:
        size = self._size(LARGEST // 10)
        return Download(self._door(), self._pacer, self._reactor, seed=self._seed, size=size, cut=True)

    def _upload(self) -> Transfer:
        return Upload(self._door(), self._pacer, self._reactor, seed=self._seed, size=self._size())

    def _echo(self) -> Transfer:
        return Echo(self._door(), self._pacer, self._reactor, seed=self._seed, size=self._size(LARGEST // 4))

    def _ping_pong(self) -> Transfer:
        trips, message = self._random.randint(1, 50), self._random.randint(1, 2000)
        return PingPong(self._door(), self._pacer, self._reactor, seed=self._seed, trips=trips, message=message)

    def _refused(self) -> Transfer:
        return Refusal(self._door(self._closed), self._pacer, self._reactor, answers=REFUSED)

    def _unresolved(self) -> Transfer:
        return Refusal(self._door(80, "nowhere.invalid"), self._pacer, self._reactor, answers=UNRESOLVED)

"""The introduction points of a service: opened, replaced when they are lost or have served their time.

A point that is to be replaced stays in the descriptor until another one is there, and goes on for a while after that:
clients still use the descriptor that they have found before. Each has its own seed for puzzles, and another one now and
then, at a time of its own: two points shall not see that they are of one service. Called by service.
::

    LISTED ──(too old, too many introductions)──> AGEING ──(another is there)──> LEAVING ──(published, a while)──> gone
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client import Client, Conversation
from torpydo.errors import PathError, TorpydoError
from torpydo.onion import (
    SEED_SIZE,
    DHSecretKey,
    Introduce2,
    IntroductionPoint,
    NodeId,
    Proof,
    Secret,
    SigningKey,
    VerifyKey,
    proves,
)

__all__ = ["IntroductionPoints", "PointLife"]

TRIES: Final = 3
"""Circuits that are built for one point because others end at the same node."""
ANSWER: Final = 30.0
"""Seconds that a node may take to become one."""
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 60.0
"""Seconds until another introduction point is looked for after failures in a row: doubled each time."""


@attrs.frozen
class PointLife:
    """How long a point is used: a random time and number between these (SECURITY O3).

    :ivar seconds: least and most of them
    :ivar introductions: least and most of them
    :ivar overlap: seconds that it goes on after a descriptor without it was stored. Clients use one for half an hour
    :ivar seed: least and most seconds after which it has another seed: nobody has longer to solve puzzles in advance
    """

    seconds: tuple[int, int] = (18 * 3600, 24 * 3600)
    introductions: tuple[int, int] = (16_384, 32_768)
    overlap: float = 3600.0
    seed: tuple[int, int] = (5400, 9000)


class _Stage(Enum):
    LISTED = auto()
    AGEING = auto()
    LEAVING = auto()


@attrs.define(eq=False)
class _Point:
    """One of them.

    :ivar most: introductions after which it is replaced
    :ivar seeds: of its puzzles, the last one and the one before
    :ivar seen: what each introduction begins with; it is in memory only, as are the keys: after a restart an old
        introduction opens with none of them
    """

    conversation: Conversation
    key: SigningKey
    service_key: DHSecretKey
    most: int
    seeds: tuple[bytes, ...]
    stage: _Stage = _Stage.LISTED
    timer: IDelayedCall | None = None
    seed_timer: IDelayedCall | None = None
    seen: set[bytes] = attrs.field(factory=set)

    @property
    def public(self) -> IntroductionPoint:
        """What clients are told."""
        key = VerifyKey(self.key.public)
        return IntroductionPoint(self.conversation.node_id, key, self.service_key.public, self.seeds[0])

    def worth(self, message: bytes, proof: Proof) -> int:
        """The effort that *proof* shows. The node has looked, too; it may say what it likes."""
        return proof.effort if any(proves(seed, message, proof) for seed in self.seeds) else 0

    def after(self, reactor: Any, seconds: float, function: Callable[[_Point], None]) -> None:
        """Call *function* then, and nothing that was to be called before."""
        self.cancel()
        self.timer = reactor.callLater(seconds, function, self)

    def cancel(self) -> None:
        """Call nothing."""
        for timer in (self.timer, self.seed_timer):
            if timer is not None and timer.active():
                timer.cancel()


class IntroductionPoints:
    """Those of one service.

    :param wanted: how many
    :param rng: bytes of randomness
    :param randbelow: a uniform integer below its argument
    :param introduced: called with the service key of a point, each introduction by it, once, and the effort it proves
    :param refused: called with the node of a point and the highest effort of those that it has just refused
    :param changed: called when those for the descriptor have changed
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        client: Client,
        wanted: int,
        life: PointLife,
        *,
        rng: Callable[[int], bytes],
        randbelow: Callable[[int], int],
        introduced: Callable[[DHSecretKey, bytes, int], None],
        refused: Callable[[NodeId, int], None],
        changed: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._wanted = wanted
        self._life = life
        self._rng = rng
        self._randbelow = randbelow
        self._introduced = introduced
        self._refused = refused
        self._changed = changed
        self._points: list[_Point] = []
        self._opening: set[Deferred[None]] = set()
        self._establishing: list[NodeId] = []
        self._failures = 0
        self._retry: IDelayedCall | None = None
        self._stopped = False

    @property
    def listed(self) -> tuple[IntroductionPoint, ...]:
        """What the descriptor says."""
        return tuple(point.public for point in self._points if point.stage is not _Stage.LEAVING)

    def stop(self) -> None:
        """Leave all of them."""
        self._stopped = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        for deferred in list(self._opening):
            deferred.cancel()
        for point in list(self._points):
            self._leave(point)

    # -- Opening

    def fill(self) -> None:
        """Open those that are missing; goes on by itself until :meth:`stop`."""
        while self._missing and not self._stopped and (self._retry is None or not self._retry.active()):
            opening = Deferred.fromCoroutine(self._open())
            self._opening.add(opening)
            opening.addBoth(self._opened, opening)

    @property
    def _missing(self) -> bool:
        fresh = sum(point.stage is _Stage.LISTED for point in self._points)
        return fresh + len(self._opening) < self._wanted

    async def _open(self) -> None:
        conversation = await self._elsewhere()
        point = _Point(
            conversation,
            SigningKey(Secret(self._rng(32))),
            DHSecretKey(Secret(self._rng(32))),
            self._between(self._life.introductions),
            (self._rng(SEED_SIZE),),
        )
        self._establishing.append(conversation.node_id)
        try:
            established = conversation.establish_intro(point.key, lambda introduced: self._take(point, introduced))
            await established.addTimeout(ANSWER, self._reactor)
            conversation.set_puzzle(point.seeds[0])
        except BaseException:
            conversation.close()
            raise
        finally:
            self._establishing.remove(conversation.node_id)
        self._points.append(point)
        point.after(self._reactor, self._between(self._life.seconds), self._replace)
        self._reseed_later(point)
        self._unlist()
        conversation.when_closed().addCallback(lambda _: self._lost(point))
        self._changed()

    async def _elsewhere(self) -> Conversation:
        """A circuit to a node that is no introduction point of this service yet."""
        for _ in range(TRIES):
            try:
                conversation = await self._client.conversation(avoid=self._taken)
            except PathError:
                # In a network of a few nodes: two points at one node are better than none.
                break
            if conversation.node_id not in self._taken:
                return conversation
            # One that was opened at the same time has come to the same node.
            conversation.close()
        return await self._client.conversation()

    @property
    def _taken(self) -> set[NodeId]:
        return {point.conversation.node_id for point in self._points}.union(self._establishing)

    def _between(self, limits: tuple[int, int]) -> int:
        least, most = limits
        return least + self._randbelow(most - least + 1)

    def _opened(self, result: object, opening: Deferred[None]) -> None:
        self._opening.discard(opening)
        if self._stopped:
            return
        if not isinstance(result, Failure):
            self._failures = 0
        else:
            if result.check(TorpydoError, TimeoutError, CancelledError):
                self.log.debug("an introduction point could not be opened: {why}", why=result.getErrorMessage())
            else:
                self.log.failure("an introduction point could not be opened", result)
            self._later()
        self.fill()

    def _later(self) -> None:
        if self._retry is None or not self._retry.active():
            pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 16), LAST_PAUSE)
            self._failures += 1
            self._retry = self._reactor.callLater(pause, self.fill)

    # -- Puzzles

    def _reseed_later(self, point: _Point) -> None:
        point.seed_timer = self._reactor.callLater(self._between(self._life.seed), self._reseed, point)

    def _reseed(self, point: _Point) -> None:
        point.seeds = (self._rng(SEED_SIZE), point.seeds[0])
        # Before any client can know it.
        point.conversation.set_puzzle(point.seeds[0])
        self._reseed_later(point)
        self._changed()

    # -- Introductions

    def _take(self, point: _Point, introduced: Introduce2) -> None:
        message = introduced.message
        if introduced.refused:
            self._refused(point.conversation.node_id, introduced.refused - 1)
        # With the client's key, which is new for each introduction.
        first = message[:32]
        if first in point.seen:
            return
        point.seen.add(first)
        if len(point.seen) == point.most:
            self._replace(point)
        elif len(point.seen) == 2 * point.most:
            # Whoever floods must not fill the memory while nothing else can be had.
            self._leave(point)
        self._introduced(point.service_key, message, point.worth(message, introduced.proof))

    # -- Leaving

    def _replace(self, point: _Point) -> None:
        """Its time is over: another one first, or clients would find none for a moment."""
        if point.stage is _Stage.LISTED:
            point.stage = _Stage.AGEING
            self.fill()

    def _unlist(self) -> None:
        """There is another one: the oldest of those whose time is over is not needed any more."""
        listed = [point for point in self._points if point.stage is not _Stage.LEAVING]
        ageing = [point for point in listed if point.stage is _Stage.AGEING]
        for point in ageing[: max(0, len(listed) - self._wanted)]:
            point.stage = _Stage.LEAVING
            point.cancel()

    def published(self) -> None:
        """A descriptor with those that are listed now was stored: the others can go, a while later."""
        for point in self._points:
            if point.stage is _Stage.LEAVING and (point.timer is None or not point.timer.active()):
                point.after(self._reactor, self._life.overlap, self._leave)

    def _leave(self, point: _Point) -> None:
        point.conversation.close()

    def _lost(self, point: _Point) -> None:
        self._points.remove(point)
        point.cancel()
        if not self._stopped:
            if point.stage is not _Stage.LEAVING:
                self._changed()
            self.fill()

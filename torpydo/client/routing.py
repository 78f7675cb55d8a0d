"""Everything one client keeps running: listings, guard, links, circuits, and the way from nothing to "ready".

The bootstrap: state directory → listings (disk first, pools at once) → nodes → the first circuit. It goes on until it
succeeds; whoever does not want to wait is told of the first thing that failed (``when_ready``). Called by Client.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client.attempts import attempt
from torpydo.client.bootstrap import Bootstrap, ProgressFunction
from torpydo.client.builds import UsableCircuit
from torpydo.client.circuitpool import CircuitPool
from torpydo.client.destinations import check_destination
from torpydo.client.firstdata import FirstData
from torpydo.client.keeping import KeptTimes
from torpydo.client.limits import DEFAULT_LIMITS, ClientLimits
from torpydo.client.links import ClientLinks
from torpydo.client.paths import Paths, Want
from torpydo.client.refusals import ClientRefusal
from torpydo.client.status import (
    CACHED,
    CIRCUIT,
    LISTING,
    LOST,
    NODES,
    STARTING,
    STATE,
    ClientStatus,
    PoolStatus,
)
from torpydo.client.withoutexit import WithoutExit
from torpydo.client.world import World
from torpydo.crypto import NodeId
from torpydo.directory import Descriptor, NetDir, PoolURL, check_path
from torpydo.errors import CircuitBuildError, CircuitError, LinkError, NoExit, PathError, PoolUnreachable, TorpydoError
from torpydo.net import ListingRefresh, Participants, Refusals, StateDirectory

FIRST_TRIES = 6
"""Failed builds before a caller that waits for the first circuit is told."""
STALE_PAUSE = 5.0
"""Seconds between two early refreshes of the listings."""
NAMED_SKEW = 3600.0
"""Seconds between the guard's clock and ours that are worth a warning (SECURITY N8)."""


@attrs.frozen
class Settings:
    """What a user chooses."""

    urls: tuple[PoolURL, ...]
    threshold: int | None = None
    hops: int = 3
    limits: ClientLimits = DEFAULT_LIMITS


class Routing:
    """The running parts of a client and what they tell each other.

    :param reactor: connects and keeps time
    :param state: where listings and the guard survive; ``None`` keeps nothing
    :param progress: told how far the bootstrap is
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        state: StateDirectory | None,
        world: World,
        progress: ProgressFunction | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._state = state
        self._world = world
        self._bootstrap = Bootstrap(progress)
        self._closed = False
        self._first_round = True
        self._asked_at = 0.0
        self._asking: Deferred[Any] | None = None
        self._without_exit = WithoutExit(
            lambda: self.build_for(Want("", None, settings.hops, anywhere=True)),
            FIRST_TRIES,
            self._circuit_outcome,
            self._bootstrap.fail,
        )
        self._own: set[UsableCircuit] = set()
        self.participants = Participants()
        self._refusals = refusals = Refusals(ClientRefusal, reactor.seconds)
        self.links = ClientLinks(
            reactor, world.rng, limits=settings.limits, connect=world.connect, refused=refusals.add
        )
        times = KeptTimes(state, reactor)
        self._paths = Paths(state=state, clock=reactor, wall_clock=world.wall_clock, randbelow=world.randbelow)
        self._circuits = CircuitPool(
            reactor,
            self._paths,
            self.build,
            world.randbelow,
            times,
            hops=settings.hops,
            limits=settings.limits,
            stale=self._refresh_early,
            outcome=self._circuit_outcome,
            refused=refusals.add,
        )
        self._listings = ListingRefresh(
            reactor,
            settings.urls,
            state=state,
            threshold=settings.threshold,
            wall_clock=world.wall_clock,
            randbelow=world.randbelow,
            on_change=self._take_netdir,
            fetch=world.fetch,
        )

    # -- From nothing to ready

    def start(self) -> None:
        """Begin; goes on by itself until ``close``."""
        self._bootstrap.reach(STARTING)
        if self._state is not None:
            self._bootstrap.reach(STATE)
        self._bootstrap.reach(LISTING)
        self._asked_at = self._reactor.seconds()
        # What waits here is only told of, so a stop that cancels it is nobody's failure.
        self._listings.start().addErrback(lambda failure: failure.trap(CancelledError))
        self._refresh()

    def when_ready(self) -> Deferred[None]:
        """Fires when the first circuit is built; fails with the reason why that cannot be, once it is known."""
        return self._bootstrap.when_ready()

    def _refresh(self) -> None:
        self._asked_at = self._reactor.seconds()
        asking = self._asking = self._listings.refresh_now()
        asking.addCallbacks(self._refreshed, self._not_refreshed)
        asking.addErrback(lambda failure: self.log.failure("the listings were not refreshed", failure))

    def _refreshed(self, netdir: NetDir) -> None:
        self._asking = None
        self._first_round = False
        self._fail_for_want_of_a_path()

    def _not_refreshed(self, failure: Failure) -> None:
        self._asking = None
        self._first_round = False
        error = failure.value
        if isinstance(error, CancelledError):
            return
        if not isinstance(error, TorpydoError):
            failure.raiseException()
        elif self._listings.netdir is None or not self._listings.netdir.is_backed:
            self._bootstrap.fail(error)
        elif not self._bootstrap.ready:
            self._bootstrap.reach(CACHED)
            self._fail_for_want_of_a_path()

    def _fail_for_want_of_a_path(self) -> None:
        """What was missing before the pools were asked is still missing."""
        if isinstance(self._bootstrap.reason, PathError):
            self._give_up(self._bootstrap.reason)

    def _refresh_early(self) -> None:
        """No path can be chosen: look whether the pools know more by now."""
        now = self._reactor.seconds()
        if self._asking is None and now - self._asked_at >= STALE_PAUSE:
            self._refresh()

    def _take_netdir(self, netdir: NetDir) -> None:
        self._paths.netdir = netdir
        self.participants.network_changed(netdir)
        if not self._bootstrap.ready:
            self._bootstrap.start_over()
            self._bootstrap.reach(attrs.evolve(NODES, summary=f"{len(netdir.nodes)} nodes are known"))
            self._bootstrap.reach(CIRCUIT)
        self._circuits.work()

    def _circuit_outcome(self, outcome: UsableCircuit | TorpydoError) -> None:
        if self._bootstrap.ready:
            return
        if not isinstance(outcome, TorpydoError):
            self.log.info("circuits can be built")
            self._name_skew()
            self._bootstrap.finish()
            return
        self._bootstrap.reason = outcome
        self._bootstrap.failed_builds += 1
        # A path that cannot be chosen is final once the pools were asked; a build that fails may be bad luck.
        final = isinstance(outcome, PathError) or self._bootstrap.failed_builds >= FIRST_TRIES
        if final and self._asking is None and not self._first_round:
            self._give_up(outcome)

    def _give_up(self, error: TorpydoError) -> None:
        """No circuit for streams can be had now."""
        if isinstance(error, NoExit):
            self._without_exit.look()
        else:
            self._bootstrap.fail(error)

    def _name_skew(self) -> None:
        skew = self.skew
        if skew is not None and abs(skew) > NAMED_SKEW:
            self.log.warn("this computer's clock and the network's differ by {hours:.1f} h; set it", hours=skew / 3600)

    # -- Circuits and streams

    def build(self, path: Sequence[Descriptor], begun: Callable[[], None]) -> Deferred[Any]:
        """Build a circuit along *path*; fails with :class:`CircuitBuildError`.

        :param begun: called when there is a link and the guard is asked
        """
        return Deferred.fromCoroutine(self._build(path, begun))

    async def _build(self, path: Sequence[Descriptor], begun: Callable[[], None]) -> Any:
        # Again, whoever chose it and however long ago (SECURITY P2).
        check_path(path, test_network=self.test_network)
        try:
            link = await self.links.get(path[0])
        except LinkError as error:
            raise CircuitBuildError(1, len(path), path[0].name, str(error)) from error
        begun()
        return await self._world.build(
            self._reactor,
            link,
            path,
            rng=self._world.rng,
            build_timeout=self._settings.limits.build_time(len(path)),
            owner=self.links,
        )

    def build_own(self, hops: int, path: Sequence[NodeId] | None, port: int | None) -> Deferred[Any]:
        """A circuit that belongs to the caller alone: streams of the pool never use it."""
        if path is None:
            return self.build_for(Want("", port, hops))
        return Deferred.fromCoroutine(self._build_own(lambda: tuple(self._node(node_id) for node_id in path)))

    def build_for(self, want: Want) -> Deferred[Any]:
        """The same for *want*."""
        return Deferred.fromCoroutine(self._build_own(lambda: self._paths.choose(want)))

    async def _build_own(self, choose: Callable[[], Sequence[Descriptor]]) -> Any:
        if self._closed:
            raise CircuitError("the client is closed")
        chosen = choose()
        try:
            circuit = await self._build(chosen, lambda: None)
        except CircuitBuildError as error:
            self._paths.failed(chosen, error)
            raise
        self._paths.built(chosen)
        self._own.add(circuit)
        circuit.when_closed().addBoth(lambda ignored: self._own.discard(circuit))
        return circuit

    def _node(self, node_id: NodeId) -> Descriptor:
        netdir = self._paths.netdir
        node = None if netdir is None else netdir.get(node_id)
        if node is None:
            raise PathError(f"node {node_id.short} is not listed by enough pools")
        return node

    def open_stream(
        self,
        factory: IProtocolFactory,
        host: str,
        port: int,
        hops: int | None,
        isolation: Hashable,
        first_data: bytes | FirstData = b"",
    ) -> Deferred[IProtocol]:
        """Open a stream on whatever circuit is right for it."""
        return Deferred.fromCoroutine(self._open_stream(factory, host, port, hops, isolation, first_data))

    async def _open_stream(
        self,
        factory: IProtocolFactory,
        host: str,
        port: int,
        hops: int | None,
        isolation: Hashable,
        first_data: bytes | FirstData,
    ) -> IProtocol:
        first = FirstData(first_data) if isinstance(first_data, bytes) else first_data
        host = check_destination(host, port, private_allowed=self.test_network)
        want = Want(host, port, hops or self._settings.hops, isolation)
        return await attempt(
            self._circuits,
            self._reactor,
            want,
            lambda circuit: circuit.open_stream(factory, host, port, first_data=first),
            first,
            tries=self._settings.limits.tries,
        )

    def resolve(self, host: str, isolation: Hashable) -> Deferred[list[tuple[str, int]]]:
        """Ask an exit for the addresses of a name."""
        return Deferred.fromCoroutine(self._resolve(host, isolation))

    async def _resolve(self, host: str, isolation: Hashable) -> list[tuple[str, int]]:
        host = check_destination(host, None, private_allowed=self.test_network)
        want = Want(host, None, self._settings.hops, isolation)
        tries = self._settings.limits.tries
        return await attempt(self._circuits, self._reactor, want, lambda circuit: circuit.resolve(host), tries=tries)

    def new_identity(self) -> None:
        """Streams from now on use circuits that nothing has used before."""
        self._circuits.new_identity()

    # -- What is known, and the end

    @property
    def hops(self) -> int:
        """Nodes in a circuit, if nobody wants another number."""
        return self._settings.hops

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be built any more."""
        return self._closed

    @property
    def test_network(self) -> bool:
        """True if this is a test network: private destinations make sense."""
        return self._paths.netdir is not None and self._paths.netdir.test_network

    @property
    def skew(self) -> float | None:
        """Seconds that this computer's clock is ahead, by a guard's or a pool's clock."""
        if self.links.node_clock is None:
            return self._listings.skew
        clock, when = self.links.node_clock
        elapsed: float = self._reactor.seconds() - when
        return self._world.wall_clock() - clock - elapsed

    def status(self) -> ClientStatus:
        """The state at this moment."""
        now = self._world.wall_clock()
        netdir = self._paths.netdir
        guard = None if netdir is None or self._paths.guard is None else netdir.get(self._paths.guard)
        bootstrap, reason = self._bootstrap, self._why_not()
        return ClientStatus(
            percent=bootstrap.progress.percent,
            tag=bootstrap.progress.tag,
            summary=LOST if bootstrap.ready and reason is not None else bootstrap.progress.summary,
            ready=bootstrap.ready and reason is None,
            reason=None if reason is None else str(reason),
            pools=tuple(PoolStatus.of(url, self._listings, now) for url in self._settings.urls),
            nodes=0 if netdir is None else len(netdir.nodes),
            guard=None if guard is None else guard.name,
            circuits=self._circuits.status(),
            pending=self._circuits.pending,
            listing_digest=None if netdir is None else netdir.digest,
            skew=self.skew,
            test_network=self.test_network,
            queued=self.links.congestion.queued,
            warnings=(*self._paths.warnings(), *self._listings.remarks),
            refused=self._refusals.counts(),
        )

    def _why_not(self) -> TorpydoError | None:
        """Why no circuit can be built now, as far as is known."""
        if self._bootstrap.reason is not None or not self._bootstrap.ready:
            return self._bootstrap.reason
        netdir = self._paths.netdir
        if netdir is not None and not netdir.is_backed:
            return self._listings.trouble()
        return self._paths.why_not(self._settings.hops) or self._circuits.trouble

    def close(self) -> Deferred[None]:
        """Stop everything and free it; fires when the links are gone."""
        if self._closed:
            return succeed(None)
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()
        self._without_exit.cancel()
        self._bootstrap.fail(PoolUnreachable("the client was closed before it was ready"))
        self._circuits.close()
        for circuit in list(self._own):
            circuit.close()
        self._paths.save()
        ends = DeferredList([self._listings.stop(), self.links.close()])
        return ends.addCallback(self._release)

    def _release(self, ignored: object) -> None:
        if self._state is not None:
            self._state.close()

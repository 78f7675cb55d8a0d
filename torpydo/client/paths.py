"""Which nodes the next circuit goes through: the guard that is kept, and what was learned from failures.

The rules of a path are directory's (``choose_path``); this adds memory: the sticky guard with its file, vanguards,
nodes that failed a moment ago, exits that refused a port. Called by the circuit pool and by routing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from ipaddress import ip_address

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client.keptfile import KeptFile
from torpydo.client.vanguards import ANY_WAY, LEAST_HOPS, Vanguards
from torpydo.crypto import NodeId
from torpydo.directory import (
    ANY_PORT,
    Descriptor,
    GuardBias,
    GuardSample,
    NetDir,
    Services,
    check_view,
    choose_path,
)
from torpydo.errors import CircuitBuildError, PathError, TooFewNodes, TorpydoError
from torpydo.net import StateDirectory

GUARDS_FILE = "guards"
SUSPECT_LIFE = 60.0
"""Seconds that a node which failed a build is left out: about as long as a pool lists a dead node."""
COUNTERS_PAUSE = 60.0
"""Seconds between two writes of nothing but counters."""
REFUSAL_LIFE = 600.0
"""Seconds that an exit which refused a port is left out for that port."""


def ip_of(host: str) -> bytes | None:
    """The packed address of an IP literal, ``None`` for a name."""
    if ":" not in host and not host[-1:].isdigit():
        return None  # nearly every destination: no need to try and fail
    try:
        return ip_address(host).packed
    except ValueError:
        return None


@attrs.frozen
class Want:
    """What a stream wants of a circuit."""

    host: str
    port: int | None
    """``None``: only a name is to be resolved."""
    hops: int = 3
    isolation: Hashable = None
    refused: frozenset[NodeId] = frozenset()
    """Exits that already refused this very stream."""
    anywhere: bool = False
    """The last node need not be an exit: the circuit is to talk with it. Its second node is a vanguard."""
    last: NodeId | None = None
    """The last node, if it is to be that one."""
    services: Services = Services.NONE
    """What the last node is to offer, if it need not be an exit."""
    ip: bytes | None = attrs.field(init=False, eq=False)
    """The address, if the host is one. Read once: every circuit is asked whether it fits."""

    @ip.default
    def _ip(self) -> bytes | None:
        return ip_of(self.host) if self.host else None

    def fits(self, path: Sequence[Descriptor]) -> bool:
        """True if a circuit along *path* can serve it, as far as is known beforehand."""
        last = path[-1]
        if len(path) != self.hops or last.node_id in self.refused:
            return False
        policy = last.exit_policy
        if self.port is None:
            return policy.is_open
        return policy.may_allow_port(self.port) if self.ip is None else policy.allows(self.ip, self.port)


class Paths:
    """Chooses paths and learns from what became of them.

    :param state: where guards and vanguards survive a restart; ``None`` keeps nothing
    :param clock: for the memory of failures
    :param wall_clock: seconds since 1970, for the life of guards and vanguards
    """

    log = Logger()

    def __init__(
        self,
        *,
        state: StateDirectory | None,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        randbelow: Callable[[int], int],
    ) -> None:
        self._file = KeptFile(state, GUARDS_FILE, "the guards", "new guards are chosen")
        self._clock = clock
        self._wall_clock = wall_clock
        self._randbelow = randbelow
        self._counted = False
        self._saved_at = clock.seconds()
        self._suspects: dict[NodeId, float] = {}
        self._refusals: dict[tuple[NodeId, int], float] = {}
        self._guards = self._file.load(GuardSample.decode) or GuardSample()
        self._vanguards = Vanguards(state, wall_clock, randbelow)
        self.netdir: NetDir | None = None
        self.guard: NodeId | None = None
        """The guard of the last path."""

    def choose(self, want: Want) -> tuple[Descriptor, ...]:
        """A path for *want*.

        :raises PathError: if there is none
        """
        if self.netdir is None:
            raise TooFewNodes(want.hops, 0, "no listing yet")
        if not self.netdir.is_backed:
            raise TooFewNodes(want.hops, 0, "too few pools gave a listing that can be used")
        # Before the guards: they are kept for months, and must not be drawn from what one pool shows (SECURITY P3).
        check_view(self.netdir, want.hops)
        guards: tuple[NodeId, ...] = ()
        if want.hops > 1:
            guards = self._guards.order(self.netdir, self._wall_clock(), self._randbelow)
            self._save()
        # Who is to be the last is wanted, whatever became of the last try.
        soft = self._left_out(want.port).difference((want.last,))
        try:
            path = self._draw(self.netdir, want, guards, soft)
        except PathError:
            if not soft:
                raise
            # Better a node that failed a moment ago than no path at all.
            self._forget(want.port)
            path = self._draw(self.netdir, want, guards, frozenset())
        finally:
            self._tell_broken(self.netdir)
        self.guard = path[0].node_id
        return path

    def _tell_broken(self, netdir: NetDir) -> None:
        for node_id, error in netdir.nodes.take_broken():
            self.log.failure(
                "the descriptor of node {node}, which enough pools list, cannot be read and is not used",
                Failure(error),
                node=node_id.hex()[:8],
            )

    def _draw(
        self, netdir: NetDir, want: Want, guards: tuple[NodeId, ...], soft: frozenset[NodeId]
    ) -> tuple[Descriptor, ...]:
        exclude = want.refused | soft
        second_kept = want.anywhere and want.hops >= LEAST_HOPS
        ways = [ANY_WAY]
        if second_kept:
            ways = self._vanguards.ways(netdir, self._guards.primary, own_choice=want.last is None, cautious=bool(soft))
        failed: PathError | None = None
        # The next guard is used only where no path begins with the first: it may be the only exit for a destination.
        for guard in guards or (None,):
            why: PathError | None = None
            for second, avoided in ways:
                if second in exclude:
                    continue
                try:
                    path = choose_path(
                        netdir,
                        hops=want.hops,
                        port=None if want.anywhere else ANY_PORT if want.port is None else want.port,
                        randbelow=self._randbelow,
                        guard=guard,
                        # What is excluded is excluded as an exit or a middle: a guard stays the guard.
                        exclude=(exclude | avoided).difference((guard, second)),
                        exit_host_ip=want.ip,
                        last=want.last,
                        services=want.services,
                        second=second,
                    )
                except PathError as error:
                    why = error
                else:
                    if second_kept:
                        self._vanguards.keep(path)
                    return path
            failed = failed or why
        raise failed or PathError("all vanguards failed a moment ago")

    # -- What became of a path

    def built(self, path: Sequence[Descriptor]) -> None:
        """A circuit along *path* was built."""
        for node in path:
            self._suspects.pop(node.node_id, None)
        if len(path) > 1:
            self._guard_answered(path[0].node_id, built=True)

    def failed(self, path: Sequence[Descriptor], error: TorpydoError, *, late: bool = False) -> None:
        """A circuit along *path* could not be built.

        :param late: it had been given up before, because it took too long: that is held against no guard that answered
        """
        if not isinstance(error, CircuitBuildError) or not 1 <= error.hop <= len(path):
            return
        node_id = path[error.hop - 1].node_id
        self._suspects[node_id] = self._clock.seconds() + SUSPECT_LIFE
        if len(path) == 1:
            return
        if error.hop > 1:
            if not late:
                self._guard_answered(path[0].node_id, built=False)
        else:
            self._guards.failed(node_id, self._wall_clock())
            self._save()

    def _guard_answered(self, guard: NodeId, *, built: bool) -> None:
        self._guards.confirmed(guard, self._wall_clock())
        self._save()
        self._guards.circuit(guard, built)
        # Only counters changed: they are not worth a write for each circuit.
        self._counted = self._counted or self._guards.changed
        self._guards.changed = False
        if self._clock.seconds() - self._saved_at >= COUNTERS_PAUSE:
            self.save()

    def refused(self, exit_id: NodeId, port: int) -> None:
        """An exit whose policy seemed to allow *port* refused it."""
        self._refusals[exit_id, port] = self._clock.seconds() + REFUSAL_LIFE

    def _left_out(self, port: int | None) -> frozenset[NodeId]:
        now = self._clock.seconds()
        self._suspects = {node_id: until for node_id, until in self._suspects.items() if until > now}
        self._refusals = {key: until for key, until in self._refusals.items() if until > now}
        return frozenset(self._suspects) | {node_id for node_id, refused in self._refusals if refused == port}

    def avoids(self, exit_id: NodeId, port: int | None) -> bool:
        """True if another exit is better for *port*."""
        return port is not None and self._refusals.get((exit_id, port), 0.0) > self._clock.seconds()

    def _forget(self, port: int | None) -> None:
        self._suspects.clear()
        self._refusals = {key: until for key, until in self._refusals.items() if key[1] != port}

    def why_not(self, hops: int) -> PathError | None:
        """Why no path of so many hops can be chosen, as far as the nodes that are known decide that."""
        if self.netdir is None:
            return TooFewNodes(hops, 0, "no listing yet")
        try:
            check_view(self.netdir, hops)
        except PathError as error:
            return error
        known = len(self.netdir.nodes)
        return TooFewNodes(hops, known, self.netdir.left_out) if known < hops else None

    def biased(self) -> tuple[GuardBias, ...]:
        """Guards that lose so many circuits that a user should hear of it (SECURITY G3)."""
        return self._guards.biased()

    def warnings(self) -> tuple[str, ...]:
        """The same for people. The client stays with such a guard: the next one may be worse."""
        return tuple(map(_warning, self.biased()))

    # -- The file

    def _save(self) -> None:
        if self._guards.changed:
            self._counted = True
            self.save()

    def save(self) -> None:
        """Write what has not been written yet."""
        if not self._file.is_kept or not self._counted:
            return
        self._counted = self._guards.changed = False
        self._saved_at = self._clock.seconds()
        self._file.write(self._guards.encode())


def _warning(bias: GuardBias) -> str:
    text = f"guard {bias.node_id.short} lets only {bias.rate:.0%} of the circuits through it be built"
    if not bias.strong:
        return text
    return f"{text}: it may be choosing which ones; to leave it, move the file {GUARDS_FILE} away and start again"

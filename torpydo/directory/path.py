"""Path choice: which nodes a circuit goes through (SECURITY P1-P3; docs/protocol-directory, section Paths).

The exit is chosen first, because few nodes can be one, then the guard, then what lies between. Choosing
draws by weight and rejects what does not fit; only when that keeps failing are all nodes looked at, so a
choice does not grow with the network. Called by the client; its builder asks :func:`check_path` again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import combinations
from typing import Final

import attrs

from torpydo.crypto import NodeId
from torpydo.directory.descriptor import Descriptor, Services
from torpydo.directory.netdir import ANY_PORT, Destination, NetDir
from torpydo.directory.nodes import ListedNode, Lottery
from torpydo.directory.ranges import subnet
from torpydo.errors import ConfigurationError, NoExit, PathError, TooFewNodes

__all__ = ["MAX_HOPS", "check_path", "check_view", "choose_path", "draw_beside"]

MAX_HOPS: Final = 8
"""One CREATE and seven EXTEND: what nodes accept on a circuit."""
MIN_PATH_FRACTION: Final = 0.6
"""Share of all paths that must be usable (tor's min_paths_for_circs_pct), or someone may be hiding nodes."""
_DRAWS: Final = 48  # before all nodes are looked at: what a tenth of the nodes can be is missed once in 150 times
# A family that is not transitive can leave no middle between this guard and this exit: choose both anew.
# In a network of more nodes than this a dead end is no accident.
_SMALL: Final = 64
_ATTEMPTS: Final = {True: 16, False: 2}


def check_view(netdir: NetDir, hops: int) -> None:
    """Refuse to choose from a view in which too much is missing (SECURITY P3); guards are not sampled from it either.

    :raises PathError: if less than 60 % of all paths can be used. A view without nodes passes: it has no path
    """
    share = netdir.path_share(hops)
    if share >= MIN_PATH_FRACTION or not netdir.nodes.listed:
        return
    if netdir.pools_used < netdir.configured:
        silent = netdir.configured - netdir.pools_used
        why = f"{silent} of {netdir.configured} pools gave no listing, and the others do not list the same nodes"
    else:
        why = f"of {netdir.listed} listed nodes only {len(netdir.nodes)} have a descriptor that is valid now"
    raise PathError(
        f"only {share:.0%} of all paths can be used, {MIN_PATH_FRACTION:.0%} must be, or somebody may be hiding nodes:"
        f" {why}; the pools are asked again"
    )


def check_path(path: Sequence[Descriptor], *, test_network: bool) -> None:
    """Refuse a path that breaks the rules (SECURITY P1, P2), whoever chose it.

    :param test_network: whether hops may share a subnet
    :raises PathError: naming the two hops
    """
    if not 1 <= len(path) <= MAX_HOPS:
        raise ConfigurationError(f"a path has 1..{MAX_HOPS} hops, not {len(path)}")
    for (i, first), (j, second) in combinations(enumerate(path, 1), 2):
        if first.node_id == second.node_id:
            why = "are the same node"
        elif first.node_id in second.family and second.node_id in first.family:
            why = "are of one family"
        elif not test_network and subnet(first.address.ip) == subnet(second.address.ip):
            why = "are in the same subnet"
        else:
            continue
        raise PathError(f"hops {i} and {j} of the path, {first.name} and {second.name}, {why}; choose other nodes")


@attrs.define(eq=False)
class _Choice:
    """One path in the making.

    :ivar services: what the last node is to offer
    :ivar used: the nodes that are in it already
    """

    netdir: NetDir
    randbelow: Callable[[int], int]
    excluded: frozenset[bytes]
    services: Services = Services.NONE
    used: list[ListedNode] = attrs.field(factory=list)

    def fits(
        self, node: ListedNode, destination: Destination | None = None, services: Services = Services.NONE
    ) -> bool:
        """Whether *node* may stand beside those in use, and as an exit for *destination* or with *services*."""
        if services & ~node.best.body.services:
            return False
        if node.raw_id in self.excluded or node.raw_id in self.netdir.nodes.dead:
            return False
        lifted = self.netdir.test_network
        for other in self.used:
            if node.raw_id == other.raw_id or node.shares_family(other):
                return False
            if not lifted and node.shares_subnet(other):
                return False
        return destination is None or self.netdir.allows(node, destination)

    def _take(
        self, node: ListedNode, destination: Destination | None, services: Services = Services.NONE
    ) -> bool:
        return self.fits(node, destination, services) and self.netdir.nodes.open(node) is not None

    def pick(
        self, destination: Destination | None = None, services: Services = Services.NONE
    ) -> ListedNode | None:
        """Draw a node that fits; None if there is none."""
        lottery = self.netdir.everyone if destination is None else self.netdir.exits_near(destination)
        if not lottery.nodes:
            return None
        for _ in range(_DRAWS):
            node = lottery.draw(self.randbelow)
            if self._take(node, destination, services):
                return node
        if destination is not None:
            lottery = self.netdir.exits_for(destination)
        fitting = Lottery.of(node for node in lottery.nodes if self.fits(node, destination, services))
        if fitting.nodes:
            node = fitting.draw(self.randbelow)
            if self._take(node, destination, services):
                return node
            # A forged descriptor. There may be many: all are opened now, or each draw would meet the next.
            fitting = Lottery.of(node for node in fitting.nodes if self._take(node, destination, services))
        return fitting.draw(self.randbelow) if fitting.nodes else None

    def complete(self, hops: int, destinations: Sequence[Destination], last: ListedNode | None = None) -> bool:
        """Fill the path up: exit, guard unless it is given, middles; false if that fails.

        :param destinations: what the exit should allow, the best first; none: any node is fine
        :param last: the last node, if it is not to be chosen
        """
        if last is not None and not self._take(last, None):
            return False
        if last is None and not destinations:
            last = self.pick(services=self.services)
        for destination in destinations:
            last = last or self.pick(destination)
        if last is None:
            return False
        self.used.append(last)
        while len(self.used) < hops:
            node = self.pick()
            if node is None:
                return False
            # Order of choice: exit, guard, middles. Order of the path: guard, middles, exit.
            self.used.append(node)
        self.used.remove(last)
        self.used.append(last)
        return True


def _destinations(netdir: NetDir, port: int | None, ip: bytes | None) -> list[Destination]:
    if port is None:
        return []
    if port == ANY_PORT or ip is not None or netdir.test_network:
        return [Destination(port, ip)]
    # The address will be known only to the exit: one that opens a single network would mostly refuse.
    return [Destination(port, wide=True), Destination(port)]


def draw_beside(netdir: NetDir, others: Iterable[NodeId], randbelow: Callable[[int], int]) -> NodeId | None:
    """Draw a node by weight that may stand in a path with each of *others*; None if there is none."""
    listed = [netdir.nodes.listed[other.raw] for other in others if other.raw in netdir.nodes.listed]
    drawn = _Choice(netdir, randbelow, frozenset(), used=listed).pick()
    descriptor = None if drawn is None else netdir.nodes.open(drawn)
    return None if descriptor is None else descriptor.node_id


def _starts(
    netdir: NetDir, guard: NodeId | Sequence[NodeId] | None, excluded: frozenset[bytes]
) -> list[list[ListedNode]]:
    if guard is None:
        return [[]]
    wanted = [guard] if isinstance(guard, NodeId) else guard
    usable = [node_id.raw for node_id in wanted if netdir.get(node_id) and node_id.raw not in excluded]
    if not usable:
        raise PathError("the guard is not listed any more, or it is excluded; choose another one")
    return [[netdir.nodes.listed[raw_id]] for raw_id in usable]


def _with_second(starts: list[list[ListedNode]], second: NodeId, choice: _Choice) -> list[list[ListedNode]]:
    """Those of *starts* that *second* may stand behind, with it."""
    longer = []
    if choice.netdir.get(second) is not None:
        node = choice.netdir.nodes.listed[second.raw]
        for start in starts:
            choice.used = start
            if choice.fits(node):
                longer.append([*start, node])
    if not longer:
        raise PathError("the second node is not listed, is excluded, or is related to the guard; choose another one")
    return longer


def choose_path(
    netdir: NetDir,
    *,
    hops: int,
    port: int | None,
    randbelow: Callable[[int], int],
    guard: NodeId | Sequence[NodeId] | None = None,
    exclude: Collection[NodeId] = (),
    exit_host_ip: bytes | None = None,
    last: NodeId | None = None,
    services: Services = Services.NONE,
    second: NodeId | None = None,
) -> tuple[Descriptor, ...]:
    """Choose the nodes of a circuit, guard first, exit last.

    :param hops: 1..8; with 1 the guard is not used
    :param port: the destination's port, ``ANY_PORT`` for any exit, None if the last hop need not be one
    :param randbelow: gives a random number from 0 up to its argument, without it
    :param guard: the first hop; or several, the next one is used where no path begins with those before it
    :param exclude: nodes that must not be used
    :param exit_host_ip: the destination's address, if it is known
    :param last: the last hop, whatever it allows; *port* is None then
    :param services: what the last hop is to offer, if it is not given; *port* is None then
    :param second: the hop behind the guard; there is a guard then, and a hop behind this one
    :raises TooFewNodes: if there are not enough nodes, or they are too closely related
    :raises NoExit: if no node's exit policy allows the destination, or with ``ANY_PORT`` none is open
    """
    if not 1 <= hops <= MAX_HOPS:
        raise ConfigurationError(f"a path has 1..{MAX_HOPS} hops, not {hops}")
    if second is not None and (guard is None or hops < 3):
        raise ConfigurationError("a second node stands between a guard and another node")
    excluded = frozenset(node_id.raw for node_id in exclude)
    nodes = netdir.nodes
    known = len(nodes) - sum(raw_id in nodes.listed and raw_id not in nodes.dead for raw_id in excluded)
    if known < hops:
        raise TooFewNodes(hops, known, netdir.left_out)
    check_view(netdir, hops)
    destinations = _destinations(netdir, port, exit_host_ip)
    end = None if last is None else nodes.listed.get(last.raw)
    if last is not None and end is None:
        raise PathError(f"node {last.short} is not listed by enough pools")
    most = 0
    starts = _starts(netdir, guard if hops > 1 else None, excluded)
    if second is not None:
        starts = _with_second(starts, second, _Choice(netdir, randbelow, excluded))
    for start in starts:
        for _ in range(_ATTEMPTS[known <= _SMALL]):
            choice = _Choice(netdir, randbelow, excluded, services, list(start))
            if choice.complete(hops, destinations, end):
                return _checked(netdir, choice.used)
            most = max(most, len(choice.used))
            if len(choice.used) == len(start):
                break  # no exit goes with this guard: all were looked at, chance plays no part
    if destinations and not any(netdir.exits_for(destination).nodes for destination in destinations):
        raise NoExit(None if port == ANY_PORT else port, literal=exit_host_ip is not None)
    raise TooFewNodes(hops, most, "the others are excluded, no exits, or share a family or a subnet with these")


def _checked(netdir: NetDir, nodes: Sequence[ListedNode]) -> tuple[Descriptor, ...]:
    path = tuple(filter(None, map(netdir.nodes.open, nodes)))
    assert len(path) == len(nodes)
    check_path(path, test_network=netdir.test_network)
    return path

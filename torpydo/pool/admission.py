"""Which nodes a pool lists.

A node is listed when its heartbeat is in order and the pool itself has opened a link to it; it stays as long as
its heartbeats come and its links open. Knows no HTTP and no signature of listings. Called by service and web.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import NodeId, PoolId
from torpydo.directory import Descriptor, Heartbeat, HeartbeatAnswer, is_private, parse_heartbeat
from torpydo.errors import DescriptorError, LinkError
from torpydo.net import Buckets, Later, Slices
from torpydo.pool import refusal
from torpydo.pool.limits import PoolLimits
from torpydo.pool.probes import Probe, Probes
from torpydo.pool.refusal import PoolRefusal, Refused
from torpydo.pool.roster import ListedNode, Roster
from torpydo.pool.saving import Saving
from torpydo.pool.stamps import Asking, StampCheck, Stamps
from torpydo.pool.store import NodeRecord, Store

__all__ = ["Admission"]

PROBE_EVERY: Final = 1800.0
"""Seconds after which a node that is listed is probed again."""
PROBE_RETRY: Final = 30.0
MAX_FAILURES: Final = 2
"""Failed probes in a row, and seconds between them, until a listed node is dropped: one can be bad luck."""
FIRST_BACKOFF: Final = 15.0
LAST_BACKOFF: Final = 120.0
"""Seconds that a node which could not be reached waits before the pool tries it again; doubled each time."""
RESTART_GRACE: Final = 300.0
"""Seconds that the nodes of the last run stay listed: while a pool is down, nodes send heartbeats less often."""
RESTART_MEMORY: Final = 24 * 3600
"""Seconds without heartbeat after which a node of the last run is not listed again before it sends one."""
FORGET_AFTER: Final = 7 * 24 * 3600
"""Seconds without heartbeat after which a node's first-seen date is forgotten."""
COLLECT_SLICE: Final = 0.005
"""Seconds of looking for silent nodes after which requests have their turn."""


@attrs.define(eq=False)
class _Stranger:
    """A node whose probe has not succeeded: what its last heartbeat was, and when it may be tried again."""

    heartbeat: Heartbeat
    failures: int = 0
    retry_at: float = 0.0
    reason: str = ""


class Admission:
    """All nodes of a pool.

    :param store: where they survive a restart
    :param probe: opens a link to a node
    :param check: tells whether a stamp holds
    :param asking: how much work stamps must show
    :param clock: seconds that never go back: for life and death
    :param wall_clock: seconds since the epoch: for what is signed and stored
    :param later: calls something after so many seconds
    :param limits: those that count in this kind of network
    :param changed: called when the set of listed documents changes
    :raises StateError: if the store cannot be read
    :ivar heartbeats: how many were taken
    """

    log = Logger()

    def __init__(
        self,
        pool_id: PoolId,
        store: Store,
        probe: Probe,
        check: StampCheck,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        later: Later,
        limits: PoolLimits,
        asking: Asking,
        test_network: bool,
        requested_delay: float,
        deprecation_delay: float,
        changed: Callable[[], None],
    ) -> None:
        self._pool_id = pool_id
        self._clock = clock
        self._wall_clock = wall_clock
        self._limits = limits
        self._test_network = test_network
        self._requested_delay = requested_delay
        self._deprecation_delay = deprecation_delay
        self._changed = changed
        self._later = later
        self._stopped = False
        self.heartbeats = 0
        self._probes = Probes(probe, limits, clock=clock)
        self._stamps = Stamps(check, asking, limits, wall_clock=wall_clock)
        self._lines = Buckets(clock, 10 / 60, 10)
        self._saving = Saving(store, later)
        self._roster = Roster(self._saving, limits.nodes)
        self._strangers: OrderedDict[NodeId, _Stranger] = OrderedDict()
        self._load()

    def __len__(self) -> int:
        """How many nodes are remembered, listed or not."""
        return len(self._roster) + len(self._strangers)

    @property
    def pending(self) -> int:
        """How many of them were never listed."""
        return len(self._strangers)

    @property
    def probes(self) -> int:
        """How many links to nodes are being tried, or wait for their turn."""
        return len(self._probes)

    def count_listed(self) -> int:
        """How many nodes are in the listing."""
        return sum([node.record.listed for node in self._roster])

    def listed(self) -> list[ListedNode]:
        """The nodes of the listing, in the order of their ids."""
        listed = [node for node in self._roster if node.record.listed]
        return sorted(listed, key=lambda node: node.record.node_id.raw)

    def stop(self) -> None:
        """Cancel the checks, so that heartbeats which wait for one fail, and save what is not saved yet."""
        self._stopped = True
        self._probes.stop()
        self._stamps.stop()
        self._saving.stop()

    # -- Heartbeats

    def heartbeat(self, data: bytes) -> Deferred[HeartbeatAnswer]:
        """Take a heartbeat; when the node must be probed, answer only afterwards.

        :return: fails with :class:`Refused`
        """
        return Deferred.fromCoroutine(self._heartbeat(data))

    async def _heartbeat(self, data: bytes) -> HeartbeatAnswer:
        try:
            heartbeat = parse_heartbeat(data, self._pool_id, self._wall_clock(), known=self._roster.descriptor_of)
        except DescriptorError as error:
            raise Refused(refusal.BAD_REQUEST, PoolRefusal.HEARTBEAT_MALFORMED, str(error)) from None
        descriptor = heartbeat.descriptor
        node = self._roster.get(descriptor.node_id)
        self._refuse_replay(heartbeat, node)
        if node is not None and node.record.listed and _same_place(node.descriptor, descriptor):
            self._take(heartbeat, node)
            if self._clock() >= node.probe_at and descriptor.node_id not in self._probes:
                self._probe_again(node)
        else:
            self._refuse_by_rule(descriptor, node)
            # A node that was silent for a while needs no new proof before the last one is too old.
            proven = node is not None and _same_place(node.descriptor, descriptor) and self._clock() < node.probe_at
            if not proven:
                await self._prove(heartbeat)
                # Others may have come while the probe ran, and later heartbeats of this node from its old address.
                self._refuse_replay(heartbeat, self._roster.get(descriptor.node_id))
                self._refuse_by_rule(descriptor, self._roster.get(descriptor.node_id))
            node = self._take(heartbeat, self._roster.get(descriptor.node_id))
            self._make_way_for(node)
            if not proven:
                self._opened(node)
        self.heartbeats += 1
        return HeartbeatAnswer(self._requested_delay, self._wall_clock())

    def _refuse_replay(self, heartbeat: Heartbeat, node: ListedNode | None) -> None:
        stranger = self._strangers.get(heartbeat.descriptor.node_id)
        known = [] if node is None else [(node.record.heartbeat_ms, node.descriptor.sequence, node.record.document)]
        if stranger is not None:
            last = stranger.heartbeat
            known.append((last.time_ms, last.descriptor.sequence, last.document))
        for time_ms, sequence, document in known:
            if heartbeat.time_ms <= time_ms:
                why = "the heartbeat is not later than the last one of this node"
            elif heartbeat.descriptor.sequence < sequence:
                why = "the descriptor is older than the last one of this node"
            elif heartbeat.descriptor.sequence == sequence and heartbeat.document != document:
                why = "another descriptor has the same sequence; do two nodes use one key?"
            else:
                continue
            raise Refused(refusal.CONFLICT, PoolRefusal.HEARTBEAT_REPLAYED, why)

    def _refuse_by_rule(self, descriptor: Descriptor, node: ListedNode | None) -> None:
        """Refuse a node that may not be listed on its address, whether or not a link to it opens.

        :param node: the same node, if it was ever listed
        """
        host = descriptor.address.host
        if is_private(descriptor.address.ip) and not self._test_network:
            why = f"{host} is not a public address; only a pool with --test-network lists it"
            raise Refused(refusal.FORBIDDEN, PoolRefusal.ADDRESS_PRIVATE, why)
        if not self._stamps.suffices(descriptor.stamp, None if node is None else node.record.first_seen):
            raise self._stamps.refuse(descriptor.stamp)
        newest = self._newest_of_too_many(descriptor)
        if newest is not None and (node is None or node.seniority() > newest.seniority()):
            most = self._limits.nodes_per_host
            why = f"{most} other nodes on {host} were listed before this one; a pool lists no more on one address"
            raise Refused(refusal.FORBIDDEN, PoolRefusal.NODES_PER_HOST, why)

    def _make_way_for(self, node: ListedNode) -> None:
        """Drop who has come to the address of *node* after it: an absence costs a node its place for no longer."""
        newest = self._newest_of_too_many(node.descriptor)
        if newest is not None:
            self._drop(newest, "node {node} is dropped: its address has enough nodes that were listed before it")

    def _newest_of_too_many(self, descriptor: Descriptor) -> ListedNode | None:
        """Of the other nodes on an address the one that was listed last; ``None`` while there is room for one more."""
        ip, node_id = descriptor.address.ip, descriptor.node_id
        full = self._roster.listed_on(ip, node_id) >= self._limits.nodes_per_host
        return self._roster.newest_on(ip, node_id) if full else None

    async def _prove(self, heartbeat: Heartbeat) -> None:
        """Probe a node that may not be listed before that succeeds."""
        descriptor = heartbeat.descriptor
        node_id = descriptor.node_id
        if node_id in self._probes or node_id in self._stamps:
            why = "the pool is still checking this node; try again later"
            raise Refused(refusal.BUSY, PoolRefusal.PROBES, why, 10.0)
        # Before the probe: whoever has not worked for an identity cannot make the pool open links, or remember it.
        await self._stamps.prove(descriptor)
        stranger = self._remember(heartbeat)
        wait = stranger.retry_at - self._clock()
        if wait > 0:
            raise Refused(refusal.UNREACHABLE, PoolRefusal.UNREACHABLE, stranger.reason, wait)
        try:
            await self._probes.run(descriptor.address, node_id)
        except LinkError as error:
            stranger.failures += 1
            backoff = min(FIRST_BACKOFF * 2.0 ** min(stranger.failures - 1, 8), LAST_BACKOFF)
            stranger.retry_at = self._clock() + backoff
            stranger.reason = (
                f"the pool could not open a link to {descriptor.address}: {error}; check --advertise, --listen and the"
                " firewall in between"
            )
            raise Refused(refusal.UNREACHABLE, PoolRefusal.UNREACHABLE, stranger.reason, backoff) from None
        self._strangers.pop(node_id, None)

    def _remember(self, heartbeat: Heartbeat) -> _Stranger:
        node_id = heartbeat.descriptor.node_id
        stranger = self._strangers.setdefault(node_id, _Stranger(heartbeat))
        if not _same_place(stranger.heartbeat.descriptor, heartbeat.descriptor):
            stranger.retry_at = 0.0
        stranger.heartbeat = heartbeat
        self._strangers.move_to_end(node_id)
        if len(self._strangers) > self._limits.strangers:
            self._strangers.popitem(last=False)
        return stranger

    def _take(self, heartbeat: Heartbeat, node: ListedNode | None) -> ListedNode:
        """List a node, or keep it listed."""
        now, wall = self._clock(), self._wall_clock()
        same = node is not None and node.record.document == heartbeat.document
        record = NodeRecord(
            node_id=heartbeat.descriptor.node_id,
            # The bytes that are held already: a copy of each heartbeat's would be compared and counted again.
            document=heartbeat.document if node is None or not same else node.record.document,
            first_seen=int(wall) if node is None else node.record.first_seen,
            heartbeat_ms=heartbeat.time_ms,
            last_heard=wall,
            probed_at=wall if node is None else node.record.probed_at,
            listed=True,
        )
        news = node is None or not node.record.listed
        if node is None:
            if not self._roster.make_room():
                raise Refused(refusal.BUSY, PoolRefusal.NODES, "the pool is full", 3600.0)
            node = ListedNode(record, heartbeat.descriptor, now, now + PROBE_EVERY)
            self._roster.add(node)
        self._roster.change(node, record, heartbeat.descriptor)
        node.heard_at = now
        if news:
            self._say("node {node} is listed", node)
        if news or not same:
            self._changed()
        return node

    # -- Nodes that are listed

    def _probe_again(self, node: ListedNode) -> None:
        address = node.descriptor.address
        try:
            probing = self._probes.run(address, node.record.node_id)
        except Refused:
            node.probe_at = self._clock() + PROBE_RETRY
            return

        def failed(failure: Failure) -> None:
            failure.trap(LinkError)
            node.failures += 1
            node.probe_at = self._clock() + PROBE_RETRY
            if node.failures >= MAX_FAILURES and node.record.listed:
                # The next heartbeat has to wait for a probe that succeeds.
                node.probe_at = self._clock()
                self._drop(node, "node {node} is dropped: no link to it opens")

        probing.addCallbacks(lambda opened: self._opened(node), failed)
        probing.addErrback(lambda failure: failure.trap(CancelledError))
        probing.addErrback(lambda failure: self.log.failure("a probe failed in an unexpected way", failure))

    def collect(self) -> Deferred[None]:
        """Drop the nodes that have been silent for too long; there may be thousands after a break of the network."""
        return Deferred.fromCoroutine(self._collect())

    async def _collect(self) -> None:
        slices = Slices(self._later, self._clock, COLLECT_SLICE)
        now, wall = self._clock(), self._wall_clock()
        for node in self._roster:
            await slices.give_way()
            if self._stopped:
                return
            if self._roster.get(node.record.node_id) is not node:
                # Somebody else has taken its room meanwhile.
                continue
            if node.record.listed and now - node.heard_at > self._deprecation_delay:
                self._drop(node, "node {node} is dropped: no heartbeat")
            elif node.record.listed and not self._has_stamp(node.descriptor, node.record):
                self._drop(node, "node {node} is dropped: its stamp has too few bits")
            elif not node.record.listed and wall - node.record.last_heard > FORGET_AFTER:
                self._roster.forget(node)
        self._probes.prune()

    def _has_stamp(self, descriptor: Descriptor, record: NodeRecord) -> bool:
        return self._stamps.suffices(descriptor.stamp, record.first_seen)

    def _opened(self, node: ListedNode) -> None:
        node.failures, node.probe_at = 0, self._clock() + PROBE_EVERY
        self._roster.change(node, replace(node.record, probed_at=self._wall_clock()), node.descriptor)

    def _drop(self, node: ListedNode, why: str) -> None:
        self._roster.change(node, replace(node.record, listed=False), node.descriptor)
        self._say(why, node)
        self._changed()

    def _load(self) -> None:
        now, wall = self._clock(), self._wall_clock()
        for record, descriptor in sorted(self._roster.stored(), key=lambda pair: pair[0].first_seen):
            # The rules may have changed: a test network can become a public one.
            fits = self._has_stamp(descriptor, record)
            fits = fits and (self._test_network or not is_private(descriptor.address.ip))
            fits = fits and self._roster.listed_on(descriptor.address.ip, record.node_id) < self._limits.nodes_per_host
            recent = wall - record.last_heard < RESTART_MEMORY
            age = min(max(wall - record.probed_at, 0.0), PROBE_EVERY)
            grace = max(RESTART_GRACE - self._deprecation_delay, 0.0)
            record = replace(record, listed=record.listed and recent and fits)
            self._roster.add(ListedNode(record, descriptor, now + grace, now + PROBE_EVERY - age))

    def _say(self, line: str, node: ListedNode) -> None:
        if self._lines.take(b""):
            self.log.info(line, node=f"{node.descriptor.name} ({node.record.node_id.short})")


def _same_place(left: Descriptor, right: Descriptor) -> bool:
    """Whether a probe of one proves the other."""
    return (left.address, left.onion_keys, left.stamp) == (right.address, right.onion_keys, right.stamp)

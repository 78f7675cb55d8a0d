"""The links of a node: which there are, which may take a new circuit, and how one is opened.

A link is found by the identity that its other end has proven **and** by address (SECURITY L6). A link to an address
that no listing names is opened for one circuit alone (DESIGN 4.6). Knows circuits only by number. Called by router.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import NodeId, SigningKey
from torpydo.directory import NetDir
from torpydo.errors import LinkError, NodeOverloaded
from torpydo.net import LinkOwner, LinkProtocol, connect_link, host_key, link_endpoint
from torpydo.node.bounds import Bounds
from torpydo.node.refusal import NodeRefusal
from torpydo.tpdp import Address, LinkState

__all__ = ["ConnectFunction", "Neighbour", "Neighbours"]

ConnectFunction = Callable[..., Deferred[LinkProtocol]]
"""Called like :func:`torpydo.net.connect_link`."""

Key = tuple[NodeId, Address]
K = TypeVar("K")

ALONE_DIALS: Final = 1 / 2
"""The part of the links that are being opened that may be for one circuit alone, to where no listing names a node."""
ALONE_FILES: Final = 1 / 8
"""The part of the file descriptors that such links may have."""


@attrs.define(eq=False)
class Neighbour:
    """One open link.

    :ivar address: what was connected to, or where the connection came from
    :ivar dialled: whether this node opened it
    :ivar is_shared: whether circuits that did not ask for it may use it
    :ivar circuits: ids that are in use on it
    :ivar idle_since: when the last circuit left, on the reactor's clock
    :ivar taken: bytes that the link had taken when it last took some ...
    :ivar taken_at: ... and when that was seen
    """

    link: LinkProtocol
    address: Address | None
    dialled: bool
    is_shared: bool
    idle_since: float
    circuits: set[int] = attrs.field(factory=set)
    closing: bool = False
    taken: int = 0
    taken_at: float = 0.0

    @property
    def peer(self) -> NodeId | None:
        """The identity that the other end has proven, which need not be a listed node's; ``None`` for a client."""
        return self.link.core.peer

    @property
    def host(self) -> bytes | None:
        """What counts as the host at the other end."""
        return None if self.address is None else host_key(self.address.ip)

    def may_carry(self, node_id: NodeId, address: Address) -> bool:
        """Whether it leads to that node at that address. A node that connected has another port there."""
        here = self.address
        if self.peer != node_id or here is None:
            return False
        return here == address if self.dialled else here.ip == address.ip


@attrs.define(eq=False)
class _Dial:
    """A link that is being opened, and who waits for it.

    :ivar asker: the host of the client who was the first to want it
    """

    key: Key
    is_shared: bool
    asker: bytes | None
    attempt: Deferred[None] | None = None
    waiting: dict[Deferred[Neighbour], None] = attrs.field(factory=dict)


class Neighbours:
    """All links of a node.

    :param owner: takes their events (``net.LinkOwner``)
    :param identity: proven on each link that is opened
    :param connect: for tests
    :ivar netdir: the network, as soon as it is known
    :ivar made: links that became ready so far
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        owner: LinkOwner,
        identity: SigningKey,
        bounds: Bounds,
        *,
        rng: Callable[[int], bytes],
        aegis: bool,
        connect: ConnectFunction = connect_link,
    ) -> None:
        self._reactor = reactor
        self._owner = owner
        self._identity = identity
        self._bounds = bounds
        self._rng = rng
        self._aegis = aegis
        self._connect = connect
        self._table: dict[LinkProtocol, Neighbour] = {}
        self._dials: dict[Key, _Dial] = {}
        self._dialling: set[_Dial] = set()
        # Opened for one circuit alone.
        self._alone: set[Neighbour] = set()
        self.netdir: NetDir | None = None
        self._hosts: dict[bytes, set[Neighbour]] = {}
        self._nodes: dict[NodeId, set[Neighbour]] = {}
        self.made = 0
        # Of links that are closed.
        self._received = self._sent = 0

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(list(self._table.values()))

    def get(self, link: LinkProtocol) -> Neighbour | None:
        """The neighbour at the other end of *link*, if it is open."""
        return self._table.get(link)

    @property
    def received(self) -> int:
        """Bytes that came over all links so far."""
        return self._received + sum([link.received for link in self._table])

    @property
    def sent(self) -> int:
        """Bytes that went out over all links so far."""
        return self._sent + sum([link.sent for link in self._table])

    # -- Links that come and go

    def opened(self, link: LinkProtocol) -> Neighbour:
        """A link is ready; its dial may have been told before."""
        known = self._table.get(link)
        if known is not None:
            return known
        dialled = link.core.is_initiator
        # Whether a link that this node opens is shared is known when its dial ends.
        now = self._reactor.seconds()
        neighbour = Neighbour(link, link.peer_address, dialled, not dialled, now, taken_at=now)
        self._table[link] = neighbour
        self.made += 1
        if neighbour.peer is not None:
            self._nodes.setdefault(neighbour.peer, set()).add(neighbour)
        if not dialled and neighbour.host is not None:
            self._hosts.setdefault(neighbour.host, set()).add(neighbour)
        return neighbour

    def authenticated(self, link: LinkProtocol) -> None:
        """The other end of a link has proven an identity; whether it is a node's, the listing says."""
        neighbour = self._table.get(link)
        if neighbour is not None and neighbour.peer is not None:
            self._nodes.setdefault(neighbour.peer, set()).add(neighbour)

    def closed(self, link: LinkProtocol) -> Neighbour | None:
        """A link is gone."""
        neighbour = self._table.pop(link, None)
        if neighbour is not None:
            self._received += link.received
            self._sent += link.sent
            neighbour.closing = True
            self._alone.discard(neighbour)
            if not neighbour.dialled:
                self._remove(self._hosts, neighbour.host, neighbour)
            self._remove(self._nodes, neighbour.peer, neighbour)
        return neighbour

    @staticmethod
    def _remove(table: dict[K, set[Neighbour]], key: K | None, neighbour: Neighbour) -> None:
        if key is not None:
            group = table.get(key, set())
            group.discard(neighbour)
            if not group:
                table.pop(key, None)

    def is_node(self, neighbour: Neighbour) -> bool:
        """Whether the other end is a node that the network knows: anybody can prove an identity of his own making.

        Before the first listing every proven identity counts.
        """
        peer = neighbour.peer
        return peer is not None and (self.netdir is None or self.netdir.get(peer) is not None)

    def source(self, neighbour: Neighbour, *, test_network: bool) -> bytes:
        """Who is counted for what comes on a link: its host; in a test network, where all share one, a node's id."""
        if test_network and neighbour.peer is not None and self.is_node(neighbour):
            return neighbour.peer.raw
        return neighbour.host or b""

    def clients_at(self, host: bytes) -> list[Neighbour]:
        """The links that clients opened from one host."""
        return [one for one in self._hosts.get(host, ()) if not self.is_node(one)]

    def find(self, node_id: NodeId, address: Address) -> Neighbour | None:
        """An open link that takes new circuits for that node at that address."""
        now, limits = self._reactor.seconds(), self._bounds.limits
        for one in self._nodes.get(node_id, ()):
            if (
                one.is_shared
                and not one.closing
                and one.may_carry(node_id, address)
                and now - one.link.core.opened_at < limits.link_age
                and len(one.circuits) < limits.circuits_per_link
            ):
                return one
        return None

    # -- Opening one

    def reach(
        self, node_id: NodeId, address: Address, *, shared: bool, asker: Neighbour | None = None
    ) -> Deferred[Neighbour]:
        """A link to that node at that address: one that is open, or a new one.

        :param shared: ``False`` opens one for the caller alone
        :param asker: where whoever wants it comes from
        :return: cancellable; fails with :class:`LinkError` or :class:`NodeOverloaded`
        """
        if shared:
            found = self.find(node_id, address)
            if found is not None:
                return succeed(found)
        key = (node_id, address)
        dial = self._dials.get(key) if shared else None
        if dial is None:
            host = None if asker is None or self.is_node(asker) else asker.host
            if self._are_too_many(host, shared=shared):
                return fail(NodeOverloaded("too many links are open, or being opened"))
            if not self._bounds.files.grant():
                return fail(NodeOverloaded("no file descriptor is left for a link"))
            dial = _Dial(key, shared, host)
            self._dialling.add(dial)
            if shared:
                self._dials[key] = dial
        joined = dial
        waiter: Deferred[Neighbour] = Deferred(lambda cancelled: self._forget(joined, waiter))
        dial.waiting[waiter] = None
        if dial.attempt is None:
            self._dial(dial)
        return waiter

    def _are_too_many(self, asker: bytes | None, *, shared: bool) -> bool:
        """Whether one more may not be opened. What leads nowhere known must not keep others from the nodes."""
        limits, files, dialling = self._bounds.limits, self._bounds.files, self._dialling
        if len(dialling) >= limits.dials:
            return True
        if asker is not None and [one.asker for one in dialling].count(asker) >= limits.dials_per_host:
            return True
        if shared:
            return False
        alone = [one.is_shared for one in dialling].count(False)
        if alone >= limits.dials * ALONE_DIALS:
            return True
        return files.most is not None and (files.excess > 0 or alone + len(self._alone) >= files.most * ALONE_FILES)

    def stop(self) -> None:
        """Open no more links."""
        for dial in list(self._dialling):
            for waiter in list(dial.waiting):
                waiter.cancel()

    def _dial(self, dial: _Dial) -> None:
        node_id, address = dial.key
        timeout = self._bounds.limits.link_connect
        attempt = self._connect(
            self._reactor,
            link_endpoint(self._reactor, address, timeout),
            node_id,
            self._owner,
            identity=self._identity,
            rng=self._rng,
            aegis=self._aegis,
            timeout=timeout,
        )
        dial.attempt = attempt.addCallbacks(self._reached, self._failed, callbackArgs=(dial,), errbackArgs=(dial,))
        dial.attempt.addErrback(lambda failure: self.log.failure("a link could not be used", failure))

    def _forget(self, dial: _Dial, waiter: Deferred[Neighbour]) -> None:
        # It is not there any more if it is cancelled by one that was told before it.
        if waiter not in dial.waiting:
            return
        del dial.waiting[waiter]
        if not dial.waiting and dial.attempt is not None:
            # Nobody wants it any more: what the attempt holds is freed at once.
            self._over(dial)
            dial.attempt.cancel()

    def _over(self, dial: _Dial) -> None:
        self._dialling.discard(dial)
        if self._dials.get(dial.key) is dial:
            del self._dials[dial.key]

    def _reached(self, link: LinkProtocol, dial: _Dial) -> None:
        self._over(dial)
        if link.core.state is LinkState.CLOSED:
            self._failed(Failure(LinkError("the link was lost at once")), dial)
            return
        # Its events may come only after this.
        neighbour = self.opened(link)
        # What was connected to; no table has a dialled link by address.
        neighbour.address = dial.key[1]
        neighbour.is_shared = dial.is_shared
        if not dial.is_shared:
            self._alone.add(neighbour)
        waiting, dial.waiting = dial.waiting, {}
        if not waiting:
            # Everybody has left in the same moment.
            self.close(neighbour)
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(neighbour)

    def _failed(self, failure: Failure, dial: _Dial) -> None:
        self._over(dial)
        waiting, dial.waiting = dial.waiting, {}
        if failure.check(CancelledError):
            self._tell(waiting, LinkError("the link is not wanted any more"))
        elif isinstance(failure.value, LinkError):
            self._tell(waiting, failure.value)
        else:
            # One link that fails in a way nobody thought of costs those who wait for it (SECURITY Z1).
            self.log.failure("a link could not be opened", failure)
            self._tell(waiting, LinkError("the link could not be opened"))

    def _tell(self, waiting: Iterable[Deferred[Neighbour]], error: BaseException) -> None:
        for waiter in waiting:
            if not waiter.called:
                waiter.errback(error)

    # -- Circuits on a link

    def occupy(self, neighbour: Neighbour, circ_id: int) -> None:
        """A circuit uses the link."""
        neighbour.circuits.add(circ_id)

    def leave(self, neighbour: Neighbour, circ_id: int) -> None:
        """A circuit does not use it any more; a link for one circuit alone ends with it."""
        neighbour.circuits.discard(circ_id)
        if not neighbour.circuits:
            neighbour.idle_since = self._reactor.seconds()
            if not neighbour.is_shared:
                self.close(neighbour)

    def close(self, neighbour: Neighbour) -> None:
        """End a link."""
        if not neighbour.closing:
            neighbour.closing = True
            neighbour.link.close()

    def abort(self, neighbour: Neighbour, refusal: NodeRefusal) -> None:
        """End a link at once, for that reason."""
        if not neighbour.closing:
            neighbour.closing = True
            self._bounds.refuse(refusal)
            neighbour.link.abort(f"this node has closed {refusal.value}")

    def look(self) -> None:
        """End links without circuits, those that were idle for long and those that take none any more; and links whose
        other side takes nothing.
        """
        now, limits = self._reactor.seconds(), self._bounds.limits
        for one in self:
            old = now - one.link.core.opened_at >= limits.link_age
            if not one.circuits and (old or now - one.idle_since >= limits.link_idle):
                self.close(one)
            elif not one.link.paused or one.link.sent != one.taken:
                one.taken, one.taken_at = one.link.sent, now
            elif now - one.taken_at >= limits.link_stuck:
                self.abort(one, NodeRefusal.LINKS_STUCK)

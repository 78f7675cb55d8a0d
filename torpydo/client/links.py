"""The client's links to its guards: one a node, shared by all circuits, closed when nobody needs it.

Frames are sorted to their circuits here and nowhere else; what they mean is the circuits' matter. Called by the
circuits (to register) and by whoever builds one (to get a link).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client.congestion import Congestion
from torpydo.client.limits import DEFAULT_LIMITS, ClientLimits
from torpydo.client.refusals import RefusedFunction, uncounted
from torpydo.crypto import NodeId
from torpydo.directory import Descriptor
from torpydo.errors import LinkError, TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link, link_endpoint
from torpydo.tpdp import Address, CellsReceived, CreatedReceived, CreateReceived, DestroyReceived, Event, LinkReady

NEW_CIRCUITS_LIFE = 24 * 3600.0
"""Seconds after which a link takes no new circuits (DESIGN 4.3)."""

Key = tuple[NodeId, Address]
ConnectFunction = Callable[..., Deferred[LinkProtocol]]
"""Called like :func:`torpydo.net.connect_link`."""


class LinkUser(Protocol):
    """What a circuit is to its link."""

    def link_events(self, events: list[Event]) -> None:
        """Take the events of this circuit's id that one read brought, in order."""

    def link_lost(self, error: TorpydoError) -> None:
        """The link is closed. Exactly once, and nothing after it."""


@attrs.define(eq=False)
class _Guard:
    """One link, from the first attempt to its end."""

    key: Key
    attempt: Deferred[None] | None = None
    link: LinkProtocol | None = None
    opened_at: float = 0.0
    waiting: list[Deferred[LinkProtocol]] = attrs.field(factory=list)
    users: dict[int, LinkUser] = attrs.field(factory=dict)
    idle: IDelayedCall | None = None


class ClientLinks:
    """Keeps links to guards. It is the owner (``net.LinkOwner``) of all of them.

    :param reactor: connects and keeps time
    :param rng: bytes of randomness for the handshakes and the records
    :param limits: what it bounds
    :param connect: for tests
    :param refused: told of circuits that were closed because too much waited
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        rng: Callable[[int], bytes],
        *,
        limits: ClientLimits = DEFAULT_LIMITS,
        aegis: bool = True,
        connect: ConnectFunction = connect_link,
        refused: RefusedFunction = uncounted,
    ) -> None:
        self._reactor = reactor
        self._rng = rng
        self._aegis = aegis
        self._connect = connect
        self._newest: dict[Key, _Guard] = {}
        self._guards: dict[LinkProtocol, _Guard] = {}
        self._gone: dict[LinkProtocol, Deferred[None]] = {}
        self._closed = False
        self.turn = Turn(reactor)
        self.limits = limits
        self.congestion = Congestion(reactor, limits.memory, refused)
        self.node_clock: tuple[int, float] | None = None
        """What the last guard's clock showed, and when on the reactor's clock: to name a skew, for nothing else."""

    def __len__(self) -> int:
        return len(self._guards)

    # -- To get a link

    def get(self, descriptor: Descriptor) -> Deferred[LinkProtocol]:
        """A link that takes new circuits; one is opened if there is none.

        :return: cancellable; fails with :class:`LinkError`
        """
        if self._closed:
            return fail(LinkError("the client is closed"))
        key = (descriptor.node_id, descriptor.address)
        guard = self._newest.get(key)
        if guard is not None and guard.link is not None:
            if self._reactor.seconds() - guard.opened_at < NEW_CIRCUITS_LIFE:
                return succeed(guard.link)
            guard = None
        if guard is None:
            guard = self._newest[key] = _Guard(key)
        waiter: Deferred[LinkProtocol] = Deferred(lambda cancelled: self._forget(guard, waiter))
        guard.waiting.append(waiter)
        if guard.attempt is None:
            self._open(guard)
        return waiter

    def _open(self, guard: _Guard) -> None:
        node_id, address = guard.key
        attempt = self._connect(
            self._reactor,
            link_endpoint(self._reactor, address, self.limits.link_connect),
            node_id,
            self,
            rng=self._rng,
            aegis=self._aegis,
            timeout=self.limits.link_connect,
        )
        guard.attempt = attempt.addCallbacks(
            self._opened, self._refused, callbackArgs=(guard,), errbackArgs=(guard,)
        )

    def _forget(self, guard: _Guard, waiter: Deferred[LinkProtocol]) -> None:
        if waiter in guard.waiting:
            guard.waiting.remove(waiter)
        if not guard.waiting and guard.attempt is not None:
            # Nobody wants it any more: what the attempt holds is freed at once.
            guard.attempt.cancel()

    def _opened(self, link: LinkProtocol, guard: _Guard) -> None:
        guard.link = link
        guard.opened_at = self._reactor.seconds()
        self._guards[link] = guard
        self._watch(guard)
        while guard.waiting:
            guard.waiting.pop(0).callback(link)

    def _refused(self, failure: Failure, guard: _Guard) -> None:
        if self._newest.get(guard.key) is guard:
            del self._newest[guard.key]
        error = failure.value
        if not isinstance(error, TorpydoError):
            error = LinkError(f"no link to {guard.key[0].short}: {failure.getErrorMessage()}")
        while guard.waiting:
            guard.waiting.pop(0).errback(error)

    # -- Circuits of a link

    def register(self, link: LinkProtocol, circ_id: int, circuit: LinkUser) -> None:
        """*circuit* takes the events of *circ_id* from now on.

        :raises LinkError: if the link is closed already
        """
        guard = self._guards.get(link)
        if guard is None:
            raise LinkError("the link was lost")
        guard.users[circ_id] = circuit
        if guard.idle is not None:
            guard.idle.cancel()
            guard.idle = None

    def unregister(self, link: LinkProtocol, circ_id: int) -> None:
        """No more events for *circ_id*."""
        guard = self._guards.get(link)
        if guard is not None and guard.users.pop(circ_id, None) is not None:
            self._watch(guard)

    def _watch(self, guard: _Guard) -> None:
        if guard.users or guard.idle is not None:
            return
        old = self._newest.get(guard.key) is not guard
        guard.idle = self._reactor.callLater(0.0 if old else self.limits.link_idle, self._close_idle, guard)

    def _close_idle(self, guard: _Guard) -> None:
        guard.idle = None
        if self._newest.get(guard.key) is guard:
            del self._newest[guard.key]
        if guard.link is not None:
            guard.link.close()

    # -- net.LinkOwner

    def link_events(self, link: LinkProtocol, events: list[Event]) -> None:
        """Sort what one read brought to the circuits, in order."""
        batches: dict[int, list[Event]] = {}
        for event in events:
            if isinstance(event, (CellsReceived, CreatedReceived, DestroyReceived)):
                batches.setdefault(event.circ_id, []).append(event)
            elif isinstance(event, LinkReady):
                if event.clock is not None:
                    self.node_clock = (event.clock, self._reactor.seconds())
            elif isinstance(event, CreateReceived):
                # A client is no node: whoever asks it for a circuit is not to be trusted with ours.
                self.log.warn("a guard asked this client for a circuit; the link is closed")
                link.close()
                return
        guard = self._guards.get(link)
        if guard is None:
            return
        for circ_id, batch in batches.items():
            # Looked up now: what one circuit does may have ended another.
            circuit = guard.users.get(circ_id)
            if circuit is not None:
                circuit.link_events(batch)

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """Tell the circuits of a link that it is gone."""
        guard = self._guards.pop(link, None)
        if guard is not None:
            if self._newest.get(guard.key) is guard:
                del self._newest[guard.key]
            if guard.idle is not None:
                guard.idle.cancel()
                guard.idle = None
            for circuit in list(guard.users.values()):
                circuit.link_lost(error)
        gone = self._gone.pop(link, None)
        if gone is not None:
            gone.callback(None)

    def close(self) -> Deferred[None]:
        """Close every link; fires when the last is gone."""
        self._closed = True
        for guard in list(self._newest.values()):
            if guard.link is None and guard.attempt is not None:
                guard.attempt.cancel()
        for link in list(self._guards):
            self._gone[link] = Deferred()
        ends = DeferredList(list(self._gone.values()))
        for link in list(self._guards):
            link.close()
        return ends.addCallback(lambda _: None)

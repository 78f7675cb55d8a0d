"""How a link is opened, and how one is only tried. Called by client, node and pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from torpydo.crypto import NodeId, SigningKey
from torpydo.errors import CryptoError, LinkError, TorpydoError
from torpydo.net.links import LinkOwner, LinkProtocol, Rng
from torpydo.net.turn import Turn
from torpydo.tpdp import Address, Link, LinkEvent

__all__ = ["connect_link", "link_endpoint", "probe_link"]

LINK_TIMEOUT = 10.0
"""Seconds for connection and handshake (docs/threat-model, time-outs)."""


class _Connecting(Factory):
    noisy = False

    def __init__(self, make: Callable[[], LinkProtocol]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        return self._make()


def connect_link(
    reactor: Any,
    endpoint: IStreamClientEndpoint,
    node_id: NodeId,
    owner: LinkOwner,
    *,
    identity: SigningKey | None = None,
    rng: Rng,
    aegis: bool = True,
    timeout: float = LINK_TIMEOUT,
) -> Deferred[LinkProtocol]:
    """Open a link to *node_id*.

    :param identity: a node's own identity, which it proves to the other
    :return: fires when the handshake is done; cancellable; fails with :class:`LinkError`
    """

    def make() -> LinkProtocol:
        core = Link.initiator(node_id, rng=rng, now=reactor.seconds(), identity=identity, aegis=aegis)
        return LinkProtocol(core, owner, reactor)

    def failed(failure: Failure) -> Failure:
        if failure.check(CancelledError):
            why = f"no link handshake within {timeout:.0f} s"
        elif failure.check(CryptoError):
            why = "its identity is no key"
        else:
            why = failure.getErrorMessage()
        return Failure(LinkError(f"no link to node {node_id.short}: {why}"))

    deferred: Deferred[Any] = endpoint.connect(_Connecting(make))
    deferred.addCallback(lambda protocol: protocol.when_ready())
    timer = reactor.callLater(timeout, deferred.cancel)

    def done(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        return result

    return deferred.addBoth(done).addErrback(failed)


def link_endpoint(reactor: Any, address: Address, timeout: float = LINK_TIMEOUT) -> IStreamClientEndpoint:
    """The TCP endpoint of an address; nothing is resolved."""
    kind = TCP4ClientEndpoint if len(address.ip) == 4 else TCP6ClientEndpoint
    return kind(reactor, address.host, address.port, timeout=timeout)


class _Nobody:
    """The owner of a link that is only tried."""

    def __init__(self, reactor: Any) -> None:
        self.turn = Turn(reactor)

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Nothing is expected."""

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """Nothing depends on it."""


def probe_link(
    reactor: Any, address: Address, node_id: NodeId, *, rng: Rng, timeout: float = LINK_TIMEOUT
) -> Deferred[None]:
    """Try whether *node_id* answers at *address*: a whole handshake, then the link is closed.

    :return: cancellable; fails with :class:`LinkError`
    """
    endpoint = link_endpoint(reactor, address, timeout)
    return connect_link(reactor, endpoint, node_id, _Nobody(reactor), rng=rng, timeout=timeout).addCallback(
        lambda link: link.close()
    )

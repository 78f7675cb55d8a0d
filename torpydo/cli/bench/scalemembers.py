"""Nodes that exist only as keys and signed documents, and the one listener that answers for all of them.

Each has an address of its own in 127.0.0.0/8, so the address that a pool called tells which node is meant.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from torpydo.crypto import DHPublicKey, PoolId, SigningKey
from torpydo.directory import Descriptor, ExitPolicy, sign_descriptor, sign_heartbeat
from torpydo.net import LinkFactory, LinkOwner
from torpydo.tpdp import Address

__all__ = ["Answering", "Member", "make_members"]

# Every fourth node is an exit, with one of a few policies, as in a network of strangers.
EXIT_EVERY = 4
POLICIES = ("accept *:*", "accept *:80,accept *:443", "reject *:25,accept *:*")


def _loopback(number: int) -> bytes:
    # Not 127.0.x.x, where this machine's own services are.
    return bytes((127, 1 + (number >> 16), number >> 8 & 255, number & 255))


def _public(number: int) -> bytes:
    # A /16 for each of the first thousands, none of them private or reserved.
    return bytes((20 + number // 250 % 80, number % 250, 1 + number // 20_000, 1))


@attrs.frozen
class Member:
    """A node.

    :ivar host: its address
    """

    key: SigningKey
    host: str
    document: bytes

    def heartbeat(self, pool_id: PoolId, time_ms: int) -> bytes:
        """What it posts at *time_ms*."""
        return sign_heartbeat(self.document, pool_id, time_ms, self.key)


def make_members(count: int, now: float, *, port: int, public: bool) -> list[Member]:
    """Make nodes.

    :param now: seconds since the epoch
    :param public: whether their addresses look like those of a network of strangers; otherwise they are this machine's
    """
    onion_key = DHPublicKey(os.urandom(32))
    members = []
    for number in range(count):
        key = SigningKey(os.urandom(32))
        address = Address(_public(number) if public else _loopback(number), port)
        policy = POLICIES[number // EXIT_EVERY % len(POLICIES)] if number % EXIT_EVERY == 0 else ""
        descriptor = Descriptor(
            node_id=key.node_id,
            onion_keys=(onion_key,),
            address=address,
            exit_policy=ExitPolicy.parse(policy),
            family=frozenset(),
            nickname=f"node{number}",
            bandwidth=1_000_000 + number % 1000 * 10_000,
            version="0.1.0",
            protocols=(1,),
            sequence=int(now * 1000),
            published=int(now),
        )
        members.append(Member(key, address.host, sign_descriptor(descriptor, key)))
    return members


class _Answer(Protocol):
    """A link that becomes that of the node whose address was called."""

    _link: Any = None

    def __init__(self, factories: Mapping[str, LinkFactory]) -> None:
        self._factories = factories

    def connectionMade(self) -> None:
        assert self.transport is not None
        factory = self._factories.get(getattr(self.transport.getHost(), "host", ""))
        if factory is None:
            self.transport.loseConnection()
            return
        self._link = factory.buildProtocol(None)
        self._link.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self._link is not None:
            self._link.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._link is not None:
            self._link.connectionLost(reason)


class Answering(Factory):
    """Links to any of the *members*."""

    noisy = False

    def __init__(self, members: Sequence[Member], owner: LinkOwner, reactor: Any) -> None:
        self._factories = {
            member.host: LinkFactory(member.key, owner, reactor=reactor, rng=os.urandom, wall_clock=time.time)
            for member in members
        }

    def buildProtocol(self, addr: object) -> _Answer:
        return _Answer(self._factories)

"""A double of pools, as ``net.fetch`` sees them: heartbeats go in, what a test set comes out."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from tests.directory.build import NOW, key, listing
from torpydo.crypto import PoolId
from torpydo.directory import Heartbeat, HeartbeatAnswer, parse_heartbeat, sign_listing
from torpydo.errors import PoolUnreachable
from torpydo.net import Fetched


@attrs.define(eq=False)
class Pools:
    """Answers for every pool alike, but for those that are down.

    :ivar now: the wall clock of node and pools
    :ivar skew: seconds that the node's clock is ahead
    :ivar status: of the answers to heartbeats
    :ivar delay: that the pools ask for
    :ivar body: of the answers to heartbeats, if it is not the right one
    :ivar time: what they say the time is, if it is not the right one
    :ivar down: ports on which nobody answers
    :ivar silent: heartbeats are not answered at all
    :ivar broken: what every request raises
    :ivar cancelled: requests that were given up
    """

    now: float = NOW
    skew: float = 0.0
    status: int = 200
    delay: float = 15.0
    body: bytes | None = None
    time: bytes | None = None
    down: set[int] = attrs.field(factory=set)
    silent: bool = False
    broken: Exception | None = None
    cancelled: int = 0
    listing: bytes = attrs.field(factory=lambda: sign_listing(listing(), key("pool")))
    beats: list[tuple[int, bytes]] = attrs.field(factory=list)
    waiting: list[Deferred[Fetched]] = attrs.field(factory=list)

    def node_clock(self) -> float:
        """What the node takes for the time."""
        return self.now + self.skew

    def fetch(self, reactor: Any, host: str, port: int, path: str, **options: Any) -> Deferred[Fetched]:
        """Like ``net.fetch``."""
        if self.broken is not None:
            raise self.broken
        if port in self.down:
            return fail(PoolUnreachable(f"the pool at {host}:{port} cannot be asked"))
        if path == "/v1/time":
            body = str(int(self.now)).encode() if self.time is None else self.time
            return succeed(Fetched(200, body, None, False))
        if path == "/v1/listing":
            return succeed(Fetched(200, self.listing, None, False))
        assert path == "/v1/heartbeat" and options["method"] == b"POST"
        self.beats.append((port, options["body"]))
        if self.silent:
            self.waiting.append(Deferred(self._cancelled))
            return self.waiting[-1]
        body = HeartbeatAnswer(self.delay, self.now).encode() if self.body is None else self.body
        return succeed(Fetched(self.status, body, None, False))

    def _cancelled(self, request: Deferred[Fetched]) -> None:
        self.cancelled += 1

    def last(self, pool_id: PoolId | None = None) -> Heartbeat:
        """The last heartbeat, checked as its pool would."""
        return parse_heartbeat(self.beats[-1][1], pool_id or key("pool").pool_id, self.node_clock())

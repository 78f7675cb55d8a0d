"""Entry points of what listens on a machine besides the links: a pool's site, the status socket, the metrics site; and
of the answer to ``torpydo status``.

Each input is tried twice, cut as it says and in one piece: both must come to the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from torpydo.apps.status import StatusFactory, read_status
from torpydo.cli.status import outline
from torpydo.directory import sign_heartbeat
from torpydo.errors import StateError
from torpydo.net import Refusals
from torpydo.pool.admission import Admission
from torpydo.pool.limits import PoolLimits
from torpydo.pool.publisher import Publisher
from torpydo.pool.refusal import PoolRefusal
from torpydo.pool.site import PoolFactory
from torpydo.pool.stamps import Asking
from torpydo.pool.store import Store
from torpydo.pool.web import PoolResource
from torpydo.taps.metricsite import MetricsFactory
from torpydo.testing.fuzz.cursor import Cursor, cut, scripted
from torpydo.testing.fuzz.documents import make_document, node_key
from torpydo.testing.fuzz.fixed import NOW, POOL
from torpydo.testing.fuzz.target import Target, require, watched_log
from torpydo.testing.fuzz.wires import Wire

__all__ = ["TARGETS"]

MOST_ANSWERS: Final = 64 * 1024
"""Bytes that a site may say for one input, which holds a few dozen requests at the most."""
DATE: Final = re.compile(rb"\r\nDate: [^\r\n]*")
"""What Twisted takes from the computer's own clock."""


def _asked(build: Callable[[Clock], IProtocol | None], data: bytes) -> tuple[bytes, bytes]:
    """What a site says to an input, cut as it says and in one piece; no timer is left when the reader has gone."""
    script = Cursor(data)
    sizes, sent = script.short(), script.rest()
    said = []
    for pieces in (cut(sent, sizes), cut(sent, b"")):
        clock, wire = Clock(), Wire()
        with watched_log():
            protocol = build(clock)
            assert protocol is not None
            wire.attach(protocol)
            wire.feed(pieces)
            clock.advance(1.0)
            wire.end()
            wire.lose()
            clock.advance(10_000.0)
        require(not clock.getDelayedCalls(), "a timer is left behind")
        require(len(wire.written) <= MOST_ANSWERS, "a site says too much")
        said.append(bytes(wire.written))
    return said[0], said[1]


# -- A pool


class _Forgetful(Store):
    """Nodes are written later, and here that never comes; what is written at once is the sequence of a listing."""

    def sequence(self) -> int:
        return 0

    def reserve_sequence(self, sequence: int) -> None:
        """Forget it, so that the next input finds what this one found."""


@cache
def _store() -> Store:
    return _Forgetful.open(":memory:")


def _pool(clock: Clock) -> IProtocol | None:
    limits, refusals = PoolLimits(), Refusals(PoolRefusal, clock.seconds)
    times: dict[str, Any] = {
        "clock": clock.seconds, "wall_clock": lambda: NOW + clock.seconds(), "later": MemoryReactorClock().callLater,
    }  # fmt: skip
    admission = Admission(
        POOL.pool_id,
        _store(),
        lambda address, node_id: succeed(None),
        lambda node_id, stamp: succeed(True),
        limits=limits,
        asking=Asking(),
        test_network=True,
        requested_delay=15.0,
        deprecation_delay=30.0,
        changed=lambda: None,
        **times,
    )
    publisher = Publisher(POOL, _store(), lambda: [node.record for node in admission.listed()], parameters={}, **times)
    del times["later"]
    factory = PoolFactory(clock, limits, refusals)
    factory.open(
        PoolResource(POOL.pool_id, admission, publisher, limits=limits, refusals=refusals, test_network=True, **times)
    )
    channel: IProtocol | None = factory.buildProtocol(None)
    return channel


def _run_pool(data: bytes) -> None:
    """Requests to a pool."""
    in_pieces, at_once = [DATE.sub(b"", said) for said in _asked(_pool, data)]
    require(in_pieces == at_once, "cut another way, a pool answers something else")
    require(b"HTTP/1.1 500 " not in at_once, "a request that a pool cannot do")


def _pool_seeds() -> Iterable[bytes]:
    def request(line: str, *fields: str, body: bytes = b"") -> bytes:
        length = [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([f"{line} HTTP/1.1", "Host: pool", *fields, *length, "", ""]).encode("latin-1") + body

    document = make_document(0)
    heartbeat = request("POST /v1/heartbeat", body=sign_heartbeat(document, POOL.pool_id, NOW * 1000, node_key(0)))
    yield scripted(b"") + heartbeat + request("GET /v1/listing")
    yield scripted(b"\x31") + heartbeat
    yield scripted(b"") + request("GET /v1/listing", "Accept-Encoding: gzip;q=1, *", 'If-None-Match: W/"x", "y\xff"')
    yield scripted(b"\0") + request("GET /") + request("HEAD /v1/time", "Connection: close")
    yield scripted(b"") + request("POST /v1/heartbeat", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    yield scripted(b"") + request("POST /v1/heartbeat", "Content-Length: 99999999")
    yield scripted(b"") + request("PUT /nothing/here", "Expect: 100-continue")


# -- The status socket


@attrs.frozen
class _Status:
    """What a client might say of itself."""

    nodes: int = 3
    circuits: tuple[int, ...] = (1, 2)

    def status(self) -> _Status:
        """Itself."""
        return self


def _run_status(data: bytes) -> None:
    """Requests to the status socket."""
    in_pieces, at_once = _asked(lambda clock: StatusFactory(_Status(), clock).buildProtocol(None), data)
    # A line that is too long is found at once, or when it has become too long.
    require(in_pieces.startswith(at_once), "cut another way, the status is another one")


def _run_status_answer(data: bytes) -> None:
    """What answers to ``torpydo status``."""
    script = Cursor(data)
    sizes, ends, sent = script.short(), script.byte() & 1, script.rest()
    told = []
    for pieces in (cut(sent, sizes), cut(sent, b"")):
        reactor, wire, got = MemoryReactorClock(), Wire(), list[Any]()
        asking: Deferred[Any] = Deferred.fromCoroutine(read_status(reactor, "/state"))
        asking.addBoth(got.append)
        protocol = reactor.unixClients[0][1].buildProtocol(None)
        assert protocol is not None
        wire.attach(protocol)
        wire.feed(pieces)
        if ends:
            wire.end()
        reactor.advance(100.0)
        wire.lose()
        require(len(got) == 1 and not reactor.getDelayedCalls(), "an answer is waited for that never comes")
        if isinstance(got[0], Failure):
            if not isinstance(got[0].value, StateError):
                got[0].raiseException()
            told.append("refused")
        else:
            told.append(outline(got[0]))
    require(told[0] == told[1], "cut another way, the status is another one")
    require(all(line.isprintable() for line in told[0].split("\n")), f"{told[0]!r} is told to a terminal")


def _status_answer_seeds() -> Iterable[bytes]:
    for ends, answer in ((0, b'{"nodes": 3, "circuits": [{"hops": 3}, {"hops": 2}]}\n'), (1, b'{"x": "\\u001b[1m"}\n')):
        yield scripted(b"") + bytes((ends,)) + answer
        yield scripted(b"\x05") + bytes((ends,)) + answer
    yield scripted(b"") + b"\0" + b"[" * 1500 + b"\n"


# -- The metrics


def _run_metrics(data: bytes) -> None:
    """Requests to the metrics site."""
    in_pieces, at_once = _asked(
        lambda clock: MetricsFactory(clock, lambda: b"torpydo_nodes 3\n", "text/plain").buildProtocol(None), data
    )
    require(in_pieces == at_once, "cut another way, another answer")
    require(at_once.count(b"\r\n\r\n") <= 1, "several answers on one connection")
    require(b" 500 " not in at_once[:16], "a request that cannot be answered")


TARGETS: Final = (
    Target("site-pool", _run_pool, _pool_seeds, 2048),
    Target("site-status", _run_status, lambda: (
        scripted(b"") + b"status\n", scripted(b"\0") + b" status \r\nother\nstatus\n", scripted(b"\1") + bytes(110),
    ), 256),
    Target("site-status-answer", _run_status_answer, _status_answer_seeds, 2048),
    Target("site-metrics", _run_metrics, lambda: (
        scripted(b"") + b"GET /metrics HTTP/1.1\r\nHost: localhost:9100\r\n\r\n",
        scripted(b"\3") + b"HEAD /metrics?x HTTP/1.0\r\n\r\nmore",
        scripted(b"") + b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ), 1024),
)  # fmt: skip

"""Heartbeats of many nodes, in a process of its own: ``python -m torpydo.cli.bench.scaleheartbeats POOL ...``.

The nodes are admitted first, each after the pool has called it back; then their heartbeats, all signed beforehand, are
posted. It prints JSON: for each number of nodes how many were answered a second and how long that took.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from torpydo.cli.bench.marks import percentile
from torpydo.cli.bench.scalelines import OFFERED
from torpydo.cli.bench.scalemembers import Answering, Member, make_members
from torpydo.cli.bench.scaleposts import post_all
from torpydo.cli.bench.together import some_at_a_time
from torpydo.cli.running import run_to_end
from torpydo.crypto import PoolId
from torpydo.directory import PoolURL
from torpydo.errors import ConfigurationError, TorpydoError
from torpydo.net import LinkProtocol, Turn, fetch
from torpydo.tpdp import LinkEvent

__all__ = ["main"]

PATH = "/v1/heartbeat"
# A pool checks 16 nodes at a time and lets 32 wait.
ADMITTED_AT_ONCE = 32
CONNECTIONS = 32
# Heartbeats for the measurement of the most, in each second that is asked for and in all: fewer than what a pool takes
# at once, so that none is refused and only its work is measured.
MOST_RATE = 2500
MOST = 2500


class _Owner:
    """Of links that are opened by a pool to see that somebody is there."""

    def __init__(self, reactor: Any) -> None:
        self.turn = Turn(reactor)

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """A pool asks nothing."""

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """The pool has seen enough."""


async def _admit(reactor: Any, url: PoolURL, pool_id: PoolId, members: Sequence[Member]) -> None:
    async def admit(number: int) -> None:
        body = members[number].heartbeat(pool_id, int(time.time() * 1000))
        answer = await fetch(reactor, url.host, url.port, PATH, method=b"POST", body=body)
        if answer.status != 200:
            said = answer.body[:200].decode(errors="replace").strip()
            raise TorpydoError(f"the pool refused a node with status {answer.status}: {said}")

    await some_at_a_time(ADMITTED_AT_ONCE, admit, len(members))


class _Signed:
    """Heartbeats of nodes in turn, each with a later time than the last of its node."""

    def __init__(self, pool_id: PoolId) -> None:
        self._pool_id = pool_id
        self._time_ms = int(time.time() * 1000)

    def take(self, members: Sequence[Member], count: int) -> list[bytes]:
        rounds = -(-count // len(members))
        self._time_ms = max(self._time_ms + rounds, int(time.time() * 1000))
        first = self._time_ms - rounds
        return [
            members[number % len(members)].heartbeat(self._pool_id, first + 1 + number // len(members))
            for number in range(count)
        ]


def _figures(port: int, bodies: Sequence[bytes], rate: float | None) -> dict[str, float]:
    posted = post_all(port, PATH, bodies, connections=CONNECTIONS, rate=rate)
    if not posted.latencies:
        raise TorpydoError(f"the pool took no heartbeat: it answered {dict(posted.statuses)}")
    return {
        "answered": posted.statuses[200] / posted.seconds,
        "p50": percentile(posted.latencies, 0.5),
        "p99": percentile(posted.latencies, 0.99),
    }


async def _run(reactor: Any, options: argparse.Namespace) -> int:
    url = PoolURL.parse(options.pool)
    if url.pool_id is None:
        raise ConfigurationError("give the pool's URL with its key, from its STATE/pool.url")
    counts = sorted(options.nodes)
    members = make_members(counts[-1], time.time(), port=options.port, public=False)
    # No one address has all of 127.0.0.0/8; what is called on any other is closed at once.
    listening = reactor.listenTCP(options.port, Answering(members, _Owner(reactor), reactor), backlog=256)
    signed = _Signed(url.pool_id)
    found: dict[str, dict[str, dict[str, float]]] = {}
    admitted = 0
    try:
        for count in counts:
            began = time.perf_counter()
            await _admit(reactor, url, url.pool_id, members[admitted:count])
            taken = time.perf_counter() - began
            some = members[:count]
            offered = signed.take(some, round(options.rate * options.seconds))
            flood = signed.take(some, min(MOST, round(MOST_RATE * options.seconds)))
            found[str(count)] = {
                "offered": _figures(url.port, offered, options.rate),
                "most": _figures(url.port, flood, None),
                "admission": {"rate": (count - admitted) / taken},
            }
            admitted = count
    finally:
        await listening.stopListening()
    print(json.dumps(found))
    return 0


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.scaleheartbeats", allow_abbrev=False)
    parser.add_argument("pool", metavar="URL", help="with its key; on 127.0.0.1")
    parser.add_argument("--port", type=int, required=True, metavar="PORT", help="that all nodes advertise; free")
    parser.add_argument("--nodes", type=int, nargs="+", required=True, metavar="N")
    parser.add_argument("--rate", type=float, default=OFFERED, metavar="N", help="heartbeats a second that are offered")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S")
    options = parser.parse_args(argv)
    return run_to_end(lambda reactor: _run(reactor, options), verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

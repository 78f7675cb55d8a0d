"""Sends CREATEs to one node: ``python -m tests.soak.storm ADDRESS NODE-ID ONION-KEY --rate=N --seconds=N``.

Each is a good one, so that it costs the node as much as an honest client's. They come from an address where nobody else
is. A link that the node has closed is opened again. At the end it prints as JSON how many were offered, built, refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater, react

from torpydo.crypto import DHPublicKey, NodeId
from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link
from torpydo.tpdp import Address, CreatedReceived, DestroyReceived, Hop, LinkEvent, OriginCircuit

STEP = 0.02
# Good CREATEs that are sent again and again: a node does not tell, and this process has more time to send.
MESSAGES = 50
# CREATEs that wait for an answer at the most: what the node does not read is not offered.
WAITING = 8000
ATTACKER = "127.0.0.9"


class Storm:
    """One link after the other, and all that is asked for on them."""

    def __init__(self, reactor: Any, options: argparse.Namespace) -> None:
        self.turn = Turn(reactor)
        self.links = self.offered = self.created = self.destroyed = 0
        self._reactor = reactor
        self._address = Address.parse_text(options.address)
        self._node_id = NodeId(bytes.fromhex(options.node_id))
        hop = Hop(self._node_id, DHPublicKey(bytes.fromhex(options.onion_key)), self._address)
        self._messages = [OriginCircuit([hop], rng=os.urandom).create_message for _ in range(MESSAGES)]
        self._waiting = 0
        self._link: LinkProtocol | None = None

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Destroy what was built."""
        for event in events:
            if isinstance(event, CreatedReceived):
                self.created += 1
                self._waiting -= 1
                link.send_destroy(event.circ_id)
            elif isinstance(event, DestroyReceived):
                self.destroyed += 1
                self._waiting -= 1

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """The node has had enough of it."""
        self._link = None

    async def run(self, rate: int, seconds: float) -> None:
        """Offer so many a second."""
        began = self._reactor.seconds()
        while (passed := self._reactor.seconds() - began) < seconds:
            if self._link is None:
                await self._connect()
            due = passed * rate
            for _ in range(min(int(due) - self.offered, WAITING - self._waiting)):
                if self._link is not None:
                    self._link.send_create(self._link.core.new_circuit_id(), self._messages[self.offered % MESSAGES])
                    self.offered += 1
                    self._waiting += 1
            await deferLater(self._reactor, STEP, lambda: None)

    async def _connect(self) -> None:
        endpoint = TCP4ClientEndpoint(
            self._reactor, self._address.host, self._address.port, bindAddress=(ATTACKER, 0)
        )
        try:
            self._link = await connect_link(self._reactor, endpoint, self._node_id, self, rng=os.urandom)
        except TorpydoError:
            await deferLater(self._reactor, 10 * STEP, lambda: None)
        else:
            self._waiting = 0
            self.links += 1


async def _run(reactor: Any, options: argparse.Namespace) -> None:
    storm = Storm(reactor, options)
    began = reactor.seconds()
    await storm.run(options.rate, options.seconds)
    found = {
        "seconds": reactor.seconds() - began, "links": storm.links, "offered": storm.offered,
        "created": storm.created, "destroyed": storm.destroyed,
    }  # fmt: skip
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.soak.storm")
    parser.add_argument("address")
    parser.add_argument("node_id")
    parser.add_argument("onion_key")
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parsed = parser.parse_args(sys.argv[1:])
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, parsed)), [])

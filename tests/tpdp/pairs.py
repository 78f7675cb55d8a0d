"""Two links joined in memory."""

from __future__ import annotations

import random

from torpydo.crypto import SigningKey
from torpydo.tpdp.address import Address
from torpydo.tpdp.events import LinkEvent
from torpydo.tpdp.link import Link

NODE = SigningKey(b"\x01" * 32)
PEER = SigningKey(b"\x02" * 32)
SEEN = Address(b"\x0a\x00\x00\x07", 4321)
CLOCK = 1_800_000_000.9


class Pair:
    """An initiator and a responder; every byte that was on the wire is kept."""

    def __init__(
        self,
        *,
        identity: SigningKey | None = None,
        expected: SigningKey = NODE,
        aegis: tuple[bool, bool] = (True, True),
        padding: tuple[bool, bool] = (True, True),
        ready: bool = True,
    ) -> None:
        rng = random.Random(1).randbytes
        self.initiator = Link.initiator(
            expected.node_id, rng=rng, now=0.0, identity=identity, aegis=aegis[0], padding=padding[0]
        )
        self.responder = Link.responder(
            NODE, rng=rng, now=0.0, wall_clock=lambda: CLOCK, aegis=aegis[1], seen=SEEN, padding=padding[1]
        )
        self.now = 1.0
        self.wire = b""
        self.told: tuple[list[LinkEvent], list[LinkEvent]] = ([], [])
        if ready:
            self.pump()
            self.told = ([], [])

    def move(self, side: int, piece: int | None = None) -> bool:
        """Bring what *side* (0 = initiator) has to send to the other, in pieces of *piece* bytes."""
        link, other = (self.initiator, self.responder) if side == 0 else (self.responder, self.initiator)
        data = link.data_to_send()
        self.wire += data
        for start in range(0, len(data), piece or max(1, len(data))):
            part = data[start : start + piece] if piece else data
            self.told[1 - side].extend(other.receive_data(part, self.now))
        return bool(data)

    def pump(self, piece: int | None = None) -> None:
        """Until nothing moves."""
        while self.move(0, piece) | self.move(1, piece):
            pass

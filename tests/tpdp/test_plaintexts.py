"""What is in a cell may be anything: it is taken, or the circuit is destroyed; nothing else ever happens (SECURITY C7).

A million plaintexts with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, message
from tests.tpdp.meeting import Meeting
from torpydo.errors import RemoteProtocolError
from torpydo.tpdp.address import Address
from torpydo.tpdp.constants import BULK, CELL, EARLY, EndReason
from torpydo.tpdp.conversations import SIZES
from torpydo.tpdp.ends import CircuitEnd
from torpydo.tpdp.messages import (
    Extend,
    Type,
    encode_ack,
    encode_begin,
    encode_connected,
    encode_credit,
    encode_resolved,
    encode_wanted_size,
)

PLAINTEXTS = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 100_000
"""Of both ends together."""
FRESH = 60
"""How many one end gets at the most before there is another."""


class PlaintextTests(SynchronousTestCase):
    """Both ends of a circuit."""

    def setUp(self) -> None:
        self.random = random.Random(7)
        node = Chain(1, build=False).nodes[0]
        address = Address(b"\x01\x02\x03\x04", 80)
        extend = Extend(node.hop.node_id, node.hop.address, bytes(512)).encode()
        self.good = [
            *[message(Type.DATA, stream, b"some bytes") for stream in range(4)],
            *[message(Type.CLOSE_WRITE, stream) for stream in (1, 2)],
            *[message(Type.END, stream, bytes([reason])) for stream in (1, 3) for reason in (*EndReason, 0, 77)],
            *[message(Type.WINDOW, stream, encode_credit(5)) for stream in (1, 2)],
            *[message(Type.BEGIN, stream, encode_begin("a.example", 80)) for stream in (3, 4, 5, 2**32 - 1)],
            message(Type.RESOLVE, 6, b"a.example"),
            message(Type.CONNECTED, 2, encode_connected(address, 60)),
            message(Type.RESOLVED, 3, encode_resolved([(address.ip, 60), (bytes(16), 0)])),
            message(Type.WINDOW, 0, encode_wanted_size(BULK)),
            message(Type.WINDOW, 0, encode_ack(bytes(16))),
            message(Type.EXTEND, 0, extend),
            message(Type.EXTENDED, 0, b"\0" + bytes(512)),
            message(Type.EXTENDED, 0, b"\2"),
            message(Type.PING, 0, bytes(8)),
            message(Type.PONG, 0, bytes(8)),
            message(Type.DROP, 0, bytes(20)),
            b"",
        ]

    def plaintext(self) -> bytes:
        """Messages that are right in themselves, some of them spoilt, with fill, without, or with something else."""
        rng = self.random
        data = bytearray(b"".join(rng.choices(self.good, k=rng.choice((1, 1, 2, 3)))))
        how = rng.random()
        if how < 0.6 and data:
            for _ in range(rng.choice((1, 1, 2, 5))):
                # The first bytes are those that something depends on.
                place = min(rng.randrange(len(data)), rng.randrange(len(data)))
                data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how < 0.7:
            del data[rng.randrange(len(data) + 1) :]
        elif how < 0.75:
            data = bytearray(rng.randbytes(rng.randrange(60)))
        return bytes(data) + bytes(rng.choice((0, 0, 1, 6, 7, 30)))

    def ends(self) -> list[CircuitEnd]:
        """A builder's end with a stream in each phase, and the exit's end of a circuit like it."""
        ends: list[CircuitEnd] = []
        for _ in range(2):
            chain = Chain(1, early=0)
            for number in (1, 2, 3):
                chain.origin.end.begin("a.example", 80) if number < 3 else chain.origin.end.resolve("a.example")
            chain.pump()
            chain.exit.end.connected(1, Address(bytes(4), 80), 1)
            chain.pump()
            ends.append(chain.exit.end if ends else chain.origin.end)
        return ends

    def talking(self) -> list[CircuitEnd]:
        """Both ends of circuits with a conversation, begun or not, and of a joined one."""
        ends: list[CircuitEnd] = []
        for kind in (Type.ESTABLISH_INTRO, Type.INTRODUCE1, Type.ESTABLISH_RENDEZVOUS):
            chain = Chain(1, early=0)
            ends.append(chain.exit.end)
            chain.origin.end.say(kind, bytes(SIZES[kind]))
            ends.append(chain.origin.end)
        meeting = Meeting(1, 1)
        return [*ends, meeting.client.origin.end, meeting.service.origin.end]

    def test_nothing_else_happens(self) -> None:
        """A hundred thousand plaintexts: each is taken or refused as the peer's fault, and both occur often.

        An end that has taken some goes on with the next ones, so they meet it in many states; it can always say what
        it has to say.
        """
        self.try_all(self.ends, PLAINTEXTS, PLAINTEXTS // 25)

    def test_conversations(self) -> None:
        """The same for ends that may speak of introductions and rendezvous; they take less: more is out of place."""
        self.good += 3 * [message(kind, 0, bytes(size)) for kind, size in SIZES.items()]
        self.try_all(self.talking, PLAINTEXTS // 4, PLAINTEXTS // 200)

    def try_all(self, make: Callable[[], list[CircuitEnd]], most: int, least: int) -> None:
        """Give so many to fresh ends; taken and refused must be so many each."""
        outcomes = {"taken": 0, "refused": 0}
        count = 0
        while count < most:
            for end in make():
                for _ in range(FRESH):
                    count += 1
                    command = self.random.choice((CELL, CELL, BULK, EARLY))
                    try:
                        end.receive_payload(command, self.plaintext(), bytes(16), 1.0)
                    except RemoteProtocolError:
                        outcomes["refused"] += 1
                        # The owner would destroy the circuit; this end stays, and must not break either.
                        if self.random.random() < 0.03:
                            break
                    else:
                        outcomes["taken"] += 1
                    end.take_events()
                end.cells_to_send(1.0)
                end.take_events()
        self.assertGreater(min(outcomes.values()), least, outcomes)

    def test_truncate_is_not_supported(self) -> None:
        """There is no message that shortens a circuit, and none beside those of the protocol (row C10)."""
        self.assertNotIn("TRUNCATE", Type.__members__)
        self.assertEqual(sorted(Type), list(range(1, 24)))
        for end in self.ends():
            for kind in range(24, 256):
                for stream in (0, 1):
                    self.assertRaises(RemoteProtocolError, end.receive_payload, CELL, message(kind, stream), b"", 0.0)

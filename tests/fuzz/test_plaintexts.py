"""What is in a cell when the layers are off: any bytes at all, at both ends of a circuit (SECURITY C7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import RemoteProtocolError
from torpydo.testing.fuzz.fixed import fixed_rng
from torpydo.tpdp import CircuitEnd, ExitEnd, OriginEnd
from torpydo.tpdp.messages import encode_message

PLAINTEXTS = 50_000
"""At each of the two ends."""
CELL = 3
CAPACITY = 1008
# Lengths that mean something for some message, and others.
SIZES = (0, 0, 1, 2, 4, 5, 8, 9, 11, 16, 17, 23, 300, 513, 551)


def plaintexts(seed: int) -> Iterator[bytes]:
    """Random ones: some of random bytes, most of messages that are nearly right."""
    random = Random(seed)
    for _ in range(PLAINTEXTS):
        if random.random() < 0.1:
            yield random.randbytes(random.choice((0, 1, 6, 7, 8, 30, CAPACITY))).ljust(CAPACITY, b"\0")
            continue
        messages = []
        for _ in range(random.randrange(1, 4)):
            value = random.randbytes(random.choice(SIZES))
            # What begins like an address, a reason or a status is often one.
            value = bytes((random.choice((0, 1, 2, 4, 6)),)) + value[1:] if value else value
            messages.append(encode_message(random.randrange(1, 15), random.randrange(4), value))
        data = bytearray(b"".join(messages)[:CAPACITY].ljust(CAPACITY, b"\0"))
        if random.random() < 0.3:
            data[random.randrange(40)] = random.randrange(256)
        yield bytes(data)


def sealed(command: int, payload: bytes) -> tuple[bytes, bytes]:
    """Cells need no layers here."""
    return payload, bytes(16)


def exit_end() -> CircuitEnd:
    """The last hop's end, of a new circuit."""
    return ExitEnd(sealed, 16, fixed_rng())


def origin_end() -> CircuitEnd:
    """The client's end, with two streams and a lookup."""
    end = OriginEnd(sealed, 144, fixed_rng(), 0)
    end.built = True
    end.begin("example.org", 80)
    end.begin("example.org", 81)
    end.resolve("example.org")
    return end


class PlaintextTests(SynchronousTestCase):
    """A hundred thousand of them: each is taken, or is a violation that destroys the circuit. There is nothing else."""

    def feed(self, make: Callable[[], CircuitEnd], seed: int) -> tuple[int, int]:
        """How many were taken, and how many circuits were destroyed."""
        end = make()
        taken = destroyed = 0
        for plaintext in plaintexts(seed):
            try:
                end.receive_payload(CELL, plaintext, bytes(16), 1.0)
            except RemoteProtocolError:
                destroyed += 1
                end = make()
            else:
                taken += 1
                end.take_events()
                end.cells_to_send(1.0)
        return taken, destroyed

    def test_at_the_last_hop(self) -> None:
        """Both happen often, so that neither answer is the one to everything."""
        taken, destroyed = self.feed(exit_end, 1)
        self.assertGreater(min(taken, destroyed), PLAINTEXTS // 50)

    def test_at_the_client(self) -> None:
        """Here nearly everything is a violation: nothing may come that was not asked for."""
        taken, destroyed = self.feed(origin_end, 2)
        self.assertGreater(min(taken, destroyed), PLAINTEXTS // 500)

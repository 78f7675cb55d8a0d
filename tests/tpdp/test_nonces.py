"""No key is used twice with one nonce, over as many cells as there is time for (SECURITY C2).

A million cells with ``HYPOTHESIS_PROFILE=nightly``. What is recorded is what the core hands to the crypto room.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable

from twisted.trial.unittest import SynchronousTestCase

from torpydo.tpdp import layers, records
from torpydo.tpdp.constants import BULK, CELL, EARLY, EPOCH, RECORD_RATCHET
from torpydo.tpdp.layers import Layer, OriginLayers
from torpydo.tpdp.records import Cipher, RecordSealer

CELLS = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 100_000
HOPS = 3

Pair = tuple[bytes, bytes]


class Party:
    """Somebody who seals: no pair of key and nonce is its own twice."""

    def __init__(self) -> None:
        # Hashes, for a million pairs are a lot of bytes; that two of them are the same by chance will not happen.
        self.seen: set[int] = set()
        self.count = 0

    def used(self, pairs: Iterable[Pair]) -> None:
        """One cell was sealed with these."""
        made = {hash(pair) for pair in pairs}
        self.seen |= made
        self.count += len(made)

    @property
    def repeats(self) -> int:
        """How many were not new."""
        return self.count - len(self.seen)


class NonceTests(SynchronousTestCase):
    """Cells and records."""

    def setUp(self) -> None:
        self.calls: list[Pair] = []

    def record(self, where: object, name: str) -> None:
        """Note key and nonce of each call."""
        original: Callable[..., bytes] = getattr(where, name)

        def recording(data: bytes, nonce: bytes, key: bytes) -> bytes:
            self.calls.append((key, nonce))
            return original(data, nonce, key)

        self.patch(where, name, recording)

    def taken(self) -> list[Pair]:
        """What was used since the last time."""
        calls, self.calls[:] = self.calls[:], []
        return calls

    def test_cells(self) -> None:
        """Of all commands, both ways, at the builder and at each hop; the layers of one cell are sealed with different
        keys, and each key serves for 256 cells of its direction.
        """
        self.record(layers, "seal")
        self.record(layers, "open_sealed")
        rng = random.Random(2)
        builder = OriginLayers()
        hops = []
        for _ in range(HOPS):
            forward, backward = rng.randbytes(32), rng.randbytes(32)
            builder.add(Layer(forward), Layer(backward))
            hops.append((Layer(forward), Layer(backward)))
        parties = [Party() for _ in range(HOPS + 1)]
        fill = bytes(16 * (8 - HOPS))
        keys: set[bytes] = set()
        ways = [0, 0]
        for command in rng.choices((CELL, BULK, EARLY), k=CELLS):
            way = rng.random() < 0.5
            ways[way] += 1
            if way:
                body, _ = builder.seal_forward(command, b"payload", fill)
                sealed = self.taken()
                # The builder asks for the keystream of a layer and then seals with it: one use, for what it seals is
                # zeros where the keystream was.
                self.assertEqual((len(sealed), len(set(sealed))), (2 * HOPS, HOPS))
                parties[HOPS].used(sealed)
                keys.update(key for key, _ in sealed)
                for party, (ahead, _) in zip(parties, hops, strict=False):
                    body = ahead.open_forward(command, body)
                    party.used(self.taken())
            else:
                body = hops[-1][1].seal_backward(command, b"payload")
                parties[HOPS - 1].used(self.taken())
                for place in range(HOPS - 2, -1, -1):
                    body = hops[place][1].pass_backward(command, body)
                    parties[place].used(self.taken())
                builder.open_backward(command, body)
                opened = self.taken()
                self.assertEqual((len(opened), len(set(opened))), (HOPS, HOPS))
                parties[HOPS].used(opened)
                keys.update(key for key, _ in opened)
        self.assertEqual([party.repeats for party in parties], [0] * (HOPS + 1))
        self.assertEqual([party.count for party in parties], [CELLS] * HOPS + [HOPS * CELLS])
        self.assertEqual(len(keys), HOPS * sum(-(-count // EPOCH) for count in ways))

    def test_records(self) -> None:
        """Of either cipher, over a ratchet: two seals each, the second under a key of its own with AEGIS."""
        self.record(records, "seal")
        original = records.aegis_seal
        numbers: list[Pair] = []

        def recording(data: bytes, counter: int, key: bytes) -> bytes:
            numbers.append((key, counter.to_bytes(32, "big")))
            return original(data, counter, key)

        self.patch(records, "aegis_seal", recording)
        count = RECORD_RATCHET // 2 + 1000
        for cipher in Cipher:
            sealer = RecordSealer(bytes([cipher]) * 32, cipher)
            for _ in range(count):
                sealer.seal(b"frames")
            used = self.taken() + numbers
            self.assertEqual((len(used), len(set(used))), (2 * count, 2 * count))
            self.assertEqual(len({key for key, _ in used}), 2 if cipher is Cipher.SECRETBOX else 4)

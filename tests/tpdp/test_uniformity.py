"""What shows from outside: two lengths, and bytes that look like chance to everybody (SECURITY C1, C6, L2, section 1).

The bounds of chi^2 with 255 degrees of freedom are those of SECURITY C6: outside of 190..330 is one sample in a
thousand. Keys and fill are fixed, so the samples are always the same.
"""

from __future__ import annotations

import random
from collections import Counter
from math import log, log2

from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.chain import Chain, message
from tests.tpdp.pairs import PEER, Pair
from tests.tpdp.vectors import stream
from torpydo.tpdp.constants import (
    AUTH,
    BODY_SIZES,
    BULK,
    CELL,
    CREATE,
    CREATED,
    DESTROY,
    EARLY,
    HANDSHAKE_SIZE,
    PADDING,
)
from torpydo.tpdp.events import LinkClosed
from torpydo.tpdp.frames import ZERO_BODY, FrameQueue, pad_body
from torpydo.tpdp.layers import Layer, OriginLayers
from torpydo.tpdp.link import Link
from torpydo.tpdp.messages import Type

SMALL, LARGE = 1029, 16389
"""Bytes of a frame on the wire: docs/protocol, section Frames."""
RECORD_OVERHEADS = {False: 19 + 16, True: 19 + 32}
"""Bytes of a record that are no frames: the sealed length, and the MAC of SecretBox or AEGIS-256."""
CELLS = 400


def chi_squared(counts: Counter[int]) -> float:
    """Of byte values, against all of them alike."""
    expected = counts.total() / 256
    return sum((counts[value] - expected) ** 2 / expected for value in range(256))


class LengthTests(SynchronousTestCase):
    """The lengths of frames and records (row C1)."""

    def test_two_lengths(self) -> None:
        """A hundred thousand frames of all commands, in any order: each has one of two lengths."""
        rng = random.Random(1)
        bodies = {command: bytes(size) for command, size in BODY_SIZES.items()}
        commands = [PADDING, CREATE, CREATED, CELL, CELL, EARLY, DESTROY, AUTH] * 4 + [BULK]
        lengths: Counter[tuple[int, int]] = Counter()
        queue = FrameQueue()
        for _ in range(100):
            for command in rng.choices(commands, k=1000):
                queue.put(rng.randrange(1, 50), [(command, bodies[command])], patient=command == DESTROY)
            while len(queue):
                frame = queue.take(1)
                lengths[frame[4], len(frame)] += 1
        self.assertEqual(sum(lengths.values()), 100_000)
        self.assertEqual(set(lengths), {(command, LARGE if command == BULK else SMALL) for command in commands})

    def test_what_a_link_makes(self) -> None:
        """Whatever a link has to say becomes records of whole frames of these lengths; a handshake message has 512."""
        sums = {SMALL * small + LARGE * large for small in range(64) for large in range(5)}
        for aegis in (False, True):
            for identity in (None, PEER):
                pair = Pair(identity=identity, aegis=(aegis, aegis), ready=False)
                near, far = pair.initiator, pair.responder
                circ_id = near.new_circuit_id()
                self.assertEqual([self.said(near, far), self.said(far, near)], [HANDSHAKE_SIZE] * 2)
                lengths = [self.said(near, far)]
                near.send_padding()
                near.send_create(circ_id, bytes(512))
                lengths.append(self.said(near, far))
                far.send_created(circ_id, bytes(512))
                lengths.append(self.said(far, near))
                for cells in ([CELL, CELL, EARLY], [BULK, CELL], [BULK] * 4, [CELL]):
                    for link, other in ((near, far), (far, near)):
                        if other is far or EARLY not in cells:
                            link.send_cells(circ_id, [(command, bytes(BODY_SIZES[command])) for command in cells])
                            lengths.append(self.said(link, other))
                far.send_destroy(circ_id)
                lengths += [self.said(far, near), self.said(near, far)]
                self.assertEqual(len(lengths), 12)
                self.assertEqual({length - RECORD_OVERHEADS[aegis] for length in lengths} - sums, set())

    def said(self, link: Link, other: Link) -> int:
        """How many bytes a link has to say; the other one takes them."""
        data = link.data_to_send()
        events = other.receive_data(data, 1.0)
        self.assertNotIn(LinkClosed, [type(event) for event in events])
        return len(data)


class ChanceTests(SynchronousTestCase):
    """Bytes on the wire, and what each hop finds in a cell (rows L2, C6)."""

    def origin(self, hops: int) -> tuple[OriginLayers, list[Layer], list[Layer]]:
        """The builder's layers, and those of its hops, forward and backward."""
        layers = OriginLayers()
        keys = [(stream(f"forward/{hop}", 32), stream(f"backward/{hop}", 32)) for hop in range(hops)]
        for forward, backward in keys:
            layers.add(Layer(forward), Layer(backward))
        return layers, [Layer(forward) for forward, _ in keys], [Layer(backward) for _, backward in keys]

    def assert_chance(self, counts: Counter[int], about: object) -> None:
        """No byte value comes more often than chance has it."""
        self.assertTrue(190 < chi_squared(counts) < 330, (about, chi_squared(counts)))

    def test_forward_cells(self) -> None:
        """Every hop of 1, 3 and 8 gets cells that look like chance, though their payload is zeros."""
        for hops in (1, 3, 8):
            builder, layers, _ = self.origin(hops)
            seen: list[list[bytes]] = [[] for _ in range(hops)]
            heads = []
            for number in range(CELLS):
                body, _ = builder.seal_forward(CELL, bytes(880), stream(f"fill/{number}", 16 * (8 - hops)))
                for place, layer in enumerate(layers):
                    seen[place].append(body)
                    body = layer.open_forward(CELL, body)
                heads.append(body[:128])
            for place, bodies in enumerate(seen):
                self.assert_chance(Counter(b"".join(bodies)), ("forward", hops, place))
            # What the last hop finds before its payload says nothing of how many there are.
            self.assert_chance(Counter(b"".join(heads)), ("head", hops))

    def test_backward_cells(self) -> None:
        """So does every hop, and the builder, on the way back."""
        for hops in (1, 3, 8):
            _, _, layers = self.origin(hops)
            seen: list[list[bytes]] = [[] for _ in range(hops)]
            for _ in range(CELLS):
                body = layers[-1].seal_backward(CELL, bytes(1008))
                seen[-1].append(body)
                for place in range(hops - 2, -1, -1):
                    body = layers[place].pass_backward(CELL, body)
                    seen[place].append(body)
            for place, bodies in enumerate(seen):
                self.assert_chance(Counter(b"".join(bodies)), ("backward", hops, place))
        # Also if the next hop sends what does not: nobody further on can read its mark.
        _, _, [layer] = self.origin(1)
        self.assert_chance(Counter(b"".join(layer.pass_backward(CELL, bytes(1024)) for _ in range(CELLS))), "zeros")

    def test_a_link(self) -> None:
        """Nothing of ten million zeros shows, nor any of the words below, nor where a record or a frame begins: the
        entropy is 7.99 bits a byte at least.
        """
        words = [b"GET / HTTP/1.1", b"Host:", b"example.org", b"torpydo", b"TPDP/1", bytes(8)]
        total: Counter[int] = Counter()
        for aegis in (False, True):
            pair = Pair(aegis=(aegis, aegis))
            circ_id = pair.initiator.new_circuit_id()
            pair.initiator.send_create(circ_id, bytes(512))
            pair.pump()
            body = b"".join(words).ljust(16384, b"\0")
            pieces = []
            for _ in range(80):
                pair.initiator.send_cells(circ_id, [(BULK, body)] * 2 + [(CELL, ZERO_BODY)])
                pair.responder.send_cells(circ_id, [(BULK, body)] * 2 + [(CELL, ZERO_BODY)])
                pieces += [pair.initiator.data_to_send(), pair.responder.data_to_send()]
            wire = b"".join(pieces)
            self.assert_chance(counts := Counter(wire), "records")
            self.assertEqual([word for word in words if word in wire], [])
            # The first bytes of records are those that an observer would look at.
            self.assert_chance(Counter(b"".join(piece[:64] for piece in pieces)), "heads")
            total += counts
        self.assertGreater(total.total(), 10_000_000)
        entropy = -sum(count / total.total() * log2(count / total.total()) for count in total.values())
        self.assertGreater(entropy, 7.99)

    def test_handshakes(self) -> None:
        """Neither message shows its zero-filled options; X and Y are points, in which the top bit is not by chance."""
        seen = []
        for seed in range(150):
            chain = Chain(1, seed=seed, build=False)
            seen.append(chain.origin.create_message[32:])
            seen.append(chain.accept(0, chain.origin.create_message)[1][32:])
        self.assert_chance(Counter(b"".join(seen)), "handshake")
        self.assertEqual(len(pad_body(seen[0])), 1024)


class PositionTests(SynchronousTestCase):
    """A hop in the middle cannot tell its place from what it sees (SECURITY section 1, malicious middle)."""

    HOPS = 8
    PLACES = range(1, 7)
    """Hops 2 to 7."""

    def features(self, command: int, body: bytes) -> list[tuple[str, int]]:
        """What a classifier might go by: the size, single bytes where something is put together, sums, repetitions."""
        return [
            ("size", len(body) * 16 + command),
            ("first", body[0]),
            ("head", body[127]),
            ("payload", body[128]),
            ("mac", body[-16]),
            ("last", body[-1]),
            ("zeros", body.count(0)),
            ("ones", int.from_bytes(body[:256], "big").bit_count() // 16),
            ("halves", body[:16].count(body[-16])),
            ("sum", sum(body[112:144]) // 64),
        ]

    def seen(self, count: int, seed: int) -> list[tuple[int, list[tuple[str, int]]]]:
        """Cells that a circuit of eight hops carries, forward and backward, as hops 2 to 7 get them."""
        chain = Chain(self.HOPS, seed=seed)
        samples = []
        for number in range(count):
            body = chain.say_forward(message(Type.DROP, 0, bytes(number % 300)))[1]
            chain.forward[0].clear()
            for place, transit in enumerate(chain.transits[:-1]):
                if place in self.PLACES:
                    samples.append((place, self.features(CELL, body)))
                body = transit._forward.open_forward(CELL, body)
            body = chain.transits[-1]._backward.seal_backward(CELL, bytes(1008))
            for place in range(self.HOPS - 2, -1, -1):
                if place in self.PLACES:
                    samples.append((place, self.features(-CELL, body)))
                body = chain.transits[place]._backward.pass_backward(CELL, body)
        return samples

    def test_classifier(self) -> None:
        """One that has learned 25 000 cells guesses the place of 25 000 others no better than chance and one per cent;
        it does learn: told the place in a single byte it is always right.
        """
        train, test = self.seen(2100, 1), self.seen(2100, 2)
        self.assertGreater(len(train) + len(test), 50_000)
        self.assertLessEqual(self.accuracy(train, test), 1 / len(self.PLACES) + 0.01)
        train, test = ([(place, [*known, ("told", place)]) for place, known in part[:3000]] for part in (train, test))
        self.assertGreater(self.accuracy(train, test), 0.99)

    def accuracy(
        self, train: list[tuple[int, list[tuple[str, int]]]], test: list[tuple[int, list[tuple[str, int]]]]
    ) -> float:
        """Of naive Bayes with add-one smoothing."""
        counts: Counter[tuple[int, tuple[str, int]]] = Counter()
        for place, known in train:
            counts.update([(place, feature) for feature in known])
        scores = {
            feature: [log(counts[place, feature] + 1) for place in self.PLACES] for _, feature in list(counts)
        }
        neutral = [0.0] * len(self.PLACES)
        right = 0
        for place, known in test:
            sums = [sum(column) for column in zip(*[scores.get(one, neutral) for one in known], strict=True)]
            right += self.PLACES[sums.index(max(sums))] == place
        return right / len(test)
